"""Whether candidates are verified, as a program asks before it goes on: ``dot-wrapper require``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from dot_wrapper.client.errors import InputError, UnknownReference
from dot_wrapper.client.ledger import Ledger

LOOK_AGAIN_SECONDS: Final = 2.0
"""How long a wait pauses between two looks."""

_IN_FLIGHT: Final = ("open", "awaits_verifier")
"""End states of a run that may still become ``completed``."""

# By its latest real run, or by the run that is named.
_VERDICTS: Final = """
select c.process_candidate_code, c.superseded_by, run.process_run_id, coalesce(v3.verified, false) as verified,
    coalesce(v3.reasons, array['no_real_run']) as reasons, coalesce(v3.caveats, '{}') as caveats,
    v3.verifier_completed_at as verified_at,
    run.evidence_type, run.end_state,
    coalesce(statement_timestamp() - v3.verifier_completed_at > %(max_age)s::interval, false) as too_old
from dot.v_process_candidate as c
left join dot.v_process_verification_v3 as latest on latest.process_candidate_code = c.process_candidate_code
left join dot.v_process_run as run
    on run.process_candidate_code = c.process_candidate_code
    and run.process_run_id = coalesce(%(run)s::uuid, latest.latest_real_run_id)
left join dot.v_process_run_verification_v3 as v3
    on v3.process_candidate_code = c.process_candidate_code and v3.process_run_id = run.process_run_id
where case
    when %(candidates)s::text[] is not null then c.process_candidate_code = any (%(candidates)s::text[])
    else c.superseded_by is null and (
        %(model)s::text is null or c.producer_dot_code = %(model)s
        or right(c.producer_dot_code, length(%(model)s) + 1) = '.' || %(model)s
    )
end
order by c.process_candidate_code
"""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for.

    Attributes:
        candidates: these candidates; None for each that no other follows.
        model: of all candidates those with this producer: its code, or the end of it after a dot.
        run: verified by this run, and not by the latest real run.
        max_age: not older than this, since the verifier completed.
        strict: without a caveat.
    """

    candidates: Sequence[str] | None = None
    model: str | None = None
    run: UUID | None = None
    max_age: timedelta | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found of one candidate.

    Attributes:
        run: the run that was looked at; None where it has not begun, or the one that was named is not this candidate's.
        missing: what keeps it from being accepted, as words of ``v_process_reason``, ``too_old`` or ``superseded``; empty where it is.
        verified_at: when the verifier completed; None where it did not.
        in_flight: whether a run may still bring what is missing.
        ledger: whose candidate it is, where several ledgers are asked.
    """

    candidate: str
    run: UUID | None
    missing: tuple[str, ...]
    caveats: tuple[str, ...]
    verified_at: datetime | None
    superseded_by: str | None
    in_flight: bool
    ledger: str | None = None


def examine(ledger: Ledger, demand: Demand) -> list[Answer]:
    """How each candidate of a demand that this ledger has stands now."""
    found = ledger.select(
        _VERDICTS,
        {
            "candidates": None if demand.candidates is None else list(demand.candidates),
            "model": demand.model,
            "run": demand.run,
            "max_age": demand.max_age,
        },
    )
    answers = []
    for one in found:
        missing = list(one["reasons"])
        missing += ["too_old"] * (one["verified"] and one["too_old"])
        missing += one["caveats"] if demand.strict else ()
        missing += ["superseded"] * (one["superseded_by"] is not None)
        answers.append(
            Answer(
                one["process_candidate_code"],
                one["process_run_id"],
                tuple(missing),
                tuple(one["caveats"]),
                one["verified_at"] if one["verified"] else None,
                one["superseded_by"],
                in_flight=not one["verified"] and not one["superseded_by"] and _may_complete(one, demand),
            )
        )
    return answers


def _may_complete(found: Mapping[str, Any], demand: Demand) -> bool:
    """Whether the run that was looked at may still complete as a real run, or one may begin. A named run has begun, or there is none."""
    if found["process_run_id"] is None:
        return demand.run is None
    return found["evidence_type"] == "REAL_RUN" and found["end_state"] in _IN_FLIGHT


def assert_found(demand: Demand, answers: Sequence[Answer], hints: Callable[[str], Iterable[str | None]]) -> None:
    """Checks that the answers, of all ledgers that were asked, are about what was demanded.

    Args:
        hints: what each ledger knows of a code that is none of a candidate.

    Raises:
        UnknownReference: a named candidate does not exist, or has no run with the id that was named.
        InputError: no candidate is meant at all, so that an empty list is never taken for a verdict.
    """
    unknown = sorted(set(demand.candidates or ()) - {one.candidate for one in answers})
    if unknown:
        raise UnknownReference(
            f"{', '.join(unknown)}: no such process candidate",
            hint=next(filter(None, hints(unknown[0])), "`dot-wrapper board` lists the candidates."),
        )
    if not answers:
        raise InputError("no candidate is meant: nothing was looked at")
    without = [one for one in answers if one.run is None]
    if demand.run is not None and without:
        of = ", ".join(f"{one.candidate} in {one.ledger}" if one.ledger else one.candidate for one in without)
        raise UnknownReference(
            f"{demand.run} is no run of {of}",
            hint=f"`dot-wrapper runs --candidate {without[0].candidate}` lists its runs.",
        )


def await_verdicts(
    look: Callable[[], Sequence[Answer]], wait: timedelta, waiting: Callable[[int], None] = lambda _count: None
) -> Sequence[Answer]:
    """Looks, and again while a run of a candidate that is not accepted is in flight, or none has begun, for at most ``wait``.

    Args:
        waiting: called before each pause with the number of candidates that are waited for.
    """
    end = time.monotonic() + wait.total_seconds()
    while True:
        answers = look()
        awaited = [one for one in answers if one.missing and one.in_flight]
        settled = [one for one in answers if one.missing and not one.in_flight]
        left = end - time.monotonic()
        if not awaited or settled or left <= 0:
            return answers
        waiting(len(awaited))
        time.sleep(min(LOOK_AGAIN_SECONDS, left))
