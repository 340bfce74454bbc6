"""Ledgers made by hand: rows that the functions would refuse, inserted by the owner, at times that the test chooses."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from psycopg.types.json import Jsonb

from support import PAIR, PRODUCER, VERIFIER, Connection

_PHASES = {"observed": {"wrapper_phase": "prepared"}, "cancelled": {"skipped": True}}


def moment(second: float) -> datetime:
    """The given seconds after a fixed time in the past."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def store_candidate(owner: Connection, code: str, producer: str = PRODUCER, verifier: str = VERIFIER) -> None:
    owner.execute(
        "insert into dot.process_candidate (defined_at, code, producer_dot_code, verifier_dot_code, chain, chain_position,"
        " pins_output, actor, session_actor) values (%s, %s, %s, %s, %s, 1, false, 'tester', 'tester')",
        (moment(0), code, producer, verifier, code),
    )


def store_run(
    owner: Connection,
    code: str = PAIR,
    *,
    at: float = 0,
    evidence_type: str = "REAL_RUN",
    status: str = "started",
    correlation_id: str = "corr-1",
    lease_token: int | None = 1,
    dot_code: str = PRODUCER,
    run_id: uuid.UUID | None = None,
    parent_run_id: uuid.UUID | None = None,
    error_ref: str | None = None,
    occurred: float | None = None,
) -> uuid.UUID:
    """One header; a REAL_RUN under token 1 by default."""
    run_id = run_id or uuid.uuid4()
    simulated = evidence_type == "SIMULATED_DRY_RUN"
    owner.execute(
        "insert into dot.process_run_observation (process_candidate_code, process_run_id, observed_at, evidence_type, dry_run,"
        " status, correlation_id, lease_token, dot_code, actor, session_actor, evidence_ref, admission, parent_run_id,"
        " error_ref, occurred_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'tester', 'tester', %s, %s, %s, %s, %s)",
        (
            code,
            run_id,
            moment(at),
            evidence_type,
            evidence_type != "REAL_RUN",
            status,
            correlation_id,
            None if simulated else lease_token,
            dot_code,
            Jsonb(_PHASES.get(status, {})),
            None if simulated else Jsonb({}),
            parent_run_id,
            error_ref,
            None if occurred is None else moment(occurred),
        ),
    )
    return run_id


def store_component(
    owner: Connection,
    run_id: uuid.UUID,
    role: str,
    status: str = "step_completed",
    code: str = PAIR,
    *,
    at: float,
    evidence_type: str = "REAL_RUN",
    correlation_id: str = "corr-1",
    lease_token: int | None = 1,
    dot_code: str | None = None,
    session_actor: str | None = None,
    input_ref: str | None = None,
    output_ref: str | None = None,
    error_ref: str | None = None,
) -> None:
    """One component row; of a REAL_RUN under token 1 by default."""
    simulated = evidence_type == "SIMULATED_DRY_RUN"
    owner.execute(
        "insert into dot.process_component_observation (process_candidate_code, process_run_id, observed_at, component_role,"
        " stage, status, evidence_type, correlation_id, lease_token, dot_code, actor, session_actor, evidence_ref, admission,"
        " input_ref, output_ref, error_ref) values (%s, %s, %s, %s, dot.fn_component_stage(%s), %s, %s, %s, %s, %s, 'tester',"
        " %s, %s, %s, %s, %s, %s)",
        (
            code,
            run_id,
            moment(at),
            role,
            status,
            status,
            evidence_type,
            correlation_id,
            None if simulated else lease_token,
            dot_code or (PRODUCER if role == "producer" else VERIFIER),
            session_actor or f"login_of_{role}",
            Jsonb(_PHASES.get(status, {})),
            None if simulated else Jsonb({}),
            input_ref,
            output_ref,
            error_ref,
        ),
    )
