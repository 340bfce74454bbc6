"""Descriptions of what a runner asks before it goes on: its run, how far it came, its verdict, and who has the lease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from dot_wrapper.client.calls import Call, EvidenceType, Role, Rows
from dot_wrapper.client.errors import UnknownReference

PartEnd = Literal["completed", "failed", "skipped"]
_ENDS: Mapping[str, PartEnd] = {
    "step_completed": "completed",
    "failed": "failed",
    "cancelled": "skipped",
    "skipped": "skipped",
}


@dataclass(frozen=True, slots=True)
class EndedPart:
    """How a part of a run ended, with what it referred to."""

    status: PartEnd
    output_ref: str | None
    evidence_ref: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one run is verified; what is missing for it; what a reader should know beside it (words of ``v_process_reason``)."""

    verified: bool
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The header of a run, and the state in which the run is."""

    process_candidate_code: str
    process_run_id: UUID
    correlation_id: str
    evidence_type: EvidenceType
    idempotency_key: str | None
    end_state: str
    actor: str
    observed_at: datetime


_STORED_RUN = (
    "select process_candidate_code, process_run_id, correlation_id, evidence_type, idempotency_key, end_state, actor, observed_at"
    " from dot.v_process_run as r where "
)


def stored_run(
    process_candidate_code: str, *, idempotency_key: str | None = None, process_run_id: UUID | None = None
) -> Call[StoredRun]:
    """A run of a candidate by its key or by its id.

    Raises:
        UnknownReference: there is no such run.
        TypeError: neither or both were given.
    """
    if (idempotency_key is None) == (process_run_id is None):
        raise TypeError("name the run by its key or by its id")
    column = "idempotency_key" if process_run_id is None else "process_run_id"
    value = idempotency_key if process_run_id is None else process_run_id

    def answer(rows: Rows) -> StoredRun:
        if not rows:
            raise UnknownReference(f"{value} is no run of {process_candidate_code}")
        return StoredRun(*rows[0])

    query = _STORED_RUN + f"process_candidate_code = %s and {column} = %s"
    return Call("dot_reader", query, (process_candidate_code, value), answer, repeatable=True)


def awaiting_verifier(process_candidate_code: str | None = None) -> Call[list[StoredRun]]:
    """The runs whose producer completed, whose verifier has not ended and which no lease holds, the oldest first; of one candidate or of all.

    A verifier that was killed has started and not ended: its run is ``stale`` then, and listed too.
    """
    query = _STORED_RUN + (
        "(end_state = 'awaits_verifier' or end_state = 'stale' and exists ("
        "select from dot.v_process_run_component as c where c.process_candidate_code = r.process_candidate_code"
        " and c.process_run_id = r.process_run_id and c.component_role = 'producer' and c.status = 'step_completed'))"
    )
    if process_candidate_code is not None:
        query += " and process_candidate_code = %(candidate)s"
    return Call(
        "dot_reader",
        query + " order by observed_at, process_run_id",
        {"candidate": process_candidate_code},
        lambda rows: [StoredRun(*row) for row in rows],
        repeatable=True,
    )


def ended_parts(process_candidate_code: str, process_run_id: UUID) -> Call[dict[Role, EndedPart]]:
    """The parts of a run that have ended, by role."""
    return Call(
        "dot_reader",
        "select component_role, status, output_ref, evidence_ref from dot.v_process_run_component"
        " where process_candidate_code = %s and process_run_id = %s and status = any (%s)",
        (process_candidate_code, process_run_id, list(_ENDS)),
        lambda rows: {role: EndedPart(_ENDS[status], output, evidence) for role, status, output, evidence in rows},
        repeatable=True,
    )


def verdict(process_candidate_code: str, process_run_id: UUID) -> Call[Verdict]:
    """The verdict of one run, of whatever evidence type: only a real one is verified."""

    def answer(rows: Rows) -> Verdict:
        ((verified, reasons, caveats),) = rows
        return Verdict(verified, tuple(reasons), tuple(caveats))

    return Call(
        "dot_reader",
        "select verified, reasons, caveats from dot.v_process_run_why"
        " where process_candidate_code = %s and process_run_id = %s",
        (process_candidate_code, process_run_id),
        answer,
        repeatable=True,
    )


def lease_holder(process_candidate_code: str) -> Call[tuple[str, datetime] | None]:
    """Who has the live lease of a candidate, and until when; None where none is live."""

    def answer(rows: Rows) -> Any:
        return rows[0] if rows else None

    return Call(
        "dot_writer",
        "select holder, expires_at from dot.v_dot_lease where process_candidate_code = %s and is_live",
        (process_candidate_code,),
        answer,
        repeatable=True,
    )
