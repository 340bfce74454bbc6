"""A whole run in one call: the author's own two functions, between what records them.

The functions are the author's, and run in the author's process: the wrapper executes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

from dot_wrapper.client.caller_path import AsyncRun, Run, async_caller_path, caller_path
from dot_wrapper.client.calls import EvidenceType
from dot_wrapper.client.errors import DotWrapperError, PartFailed
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.path import ROLES, Part, RunOptions
from dot_wrapper.client.reads import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        verified: whether it is verified; ``reasons`` says what is missing, ``caveats`` what a reader should know beside it.
        run: the run of the last attempt.
        producer_invoked: whether this call invoked the producer, in any attempt; False where an earlier call had.
    """

    verified: bool
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]
    run: Run | AsyncRun
    producer_invoked: bool


def run_pair(
    ledger: Ledger,
    candidate: str,
    *,
    produce: Callable[[Run], str | Part | None],
    verify: Callable[[Run, Part], bool | Part],
    actor: str,
    key: str,
    evidence_type: EvidenceType = "REAL_RUN",
    attempts: int = 1,
    **options: Unpack[RunOptions],
) -> Outcome:
    """Runs a pair under a key: the producer, then the verifier, each recorded, and neither again where it has ended already.

    A heartbeat keeps the lease meanwhile. The same key goes on where an earlier call stood, also after a process was killed.

    Args:
        produce: does the producer's work; gets the run, for its id and for ``run.lost``. It returns the ``output_ref``, or a ``Part``.
        verify: looks at what was produced; gets the run, and a ``Part`` with the producer's ``output_ref`` and evidence, also where another
            process produced it. It returns whether that is right, or a ``Part``, whose ``input_ref`` is the producer's ``output_ref`` if it names no other.
        attempts: how often to run the pair at most, while a part fails or raises: each time after the first as a run of its own, whose
            parent is the one before. What the ledger refuses is not tried again.
        options: see ``RunOptions``.

    Raises:
        DotWrapperError: the ledger refused a call, or could not be asked. What had ended is recorded.
        Exception: what ``produce`` or ``verify`` raised in the last attempt. It is recorded as the failure of that part.
    """
    pair, producer_invoked = ledger.pair(candidate), False
    for attempt_key, is_last in _attempts(key, attempts):
        try:
            with caller_path(
                ledger, pair, evidence_type=evidence_type, actor=actor, idempotency_key=attempt_key, **options
            ) as run:
                producer_invoked |= run.needs("producer")
                with suppress(PartFailed):  # the verdict tells
                    run.invoke("producer", produce)
                    run.invoke("verifier", verify)
        except Exception as error:
            if is_last or isinstance(error, DotWrapperError):
                raise
        else:
            if is_last or not _has_failed(run):
                return _outcome(run, run.verdict(), producer_invoked)
        options["parent_run_id"] = run.process_run_id
    raise ValueError(f"attempts is {attempts}: at least one is needed")


async def async_run_pair(
    ledger: AsyncLedger,
    candidate: str,
    *,
    produce: Callable[[AsyncRun], Awaitable[str | Part | None]],
    verify: Callable[[AsyncRun, Part], Awaitable[bool | Part]],
    actor: str,
    key: str,
    evidence_type: EvidenceType = "REAL_RUN",
    attempts: int = 1,
    **options: Unpack[RunOptions],
) -> Outcome:
    """``run_pair`` for asyncio: ``produce`` and ``verify`` are awaited."""
    pair, producer_invoked = await ledger.pair(candidate), False
    for attempt_key, is_last in _attempts(key, attempts):
        try:
            async with async_caller_path(
                ledger, pair, evidence_type=evidence_type, actor=actor, idempotency_key=attempt_key, **options
            ) as run:
                producer_invoked |= run.needs("producer")
                with suppress(PartFailed):
                    await run.invoke("producer", produce)
                    await run.invoke("verifier", verify)
        except Exception as error:
            if is_last or isinstance(error, DotWrapperError):
                raise
        else:
            if is_last or not _has_failed(run):
                return _outcome(run, await run.verdict(), producer_invoked)
        options["parent_run_id"] = run.process_run_id
    raise ValueError(f"attempts is {attempts}: at least one is needed")


def _attempts(key: str, attempts: int) -> Iterator[tuple[str, bool]]:
    """The key of each attempt, and whether it is the last one."""
    for attempt in range(1, attempts + 1):
        yield (key if attempt == 1 else f"{key}/attempt-{attempt}"), attempt == attempts


def _has_failed(run: Run | AsyncRun) -> bool:
    return any(ended.status == "failed" for role in ROLES if (ended := run.ended(role)))


def _outcome(run: Run | AsyncRun, verdict: Verdict, producer_invoked: bool) -> Outcome:
    return Outcome(verdict.verified, verdict.reasons, verdict.caveats, run, producer_invoked)
