"""Records what dbt ran: nodes as DOTs, tests with the node they are of as candidates, invocations as runs.

The files are a report of runs that the wrapper did not gate, so every observation is SIMULATED_DRY_RUN and no import can make a
candidate verified. A run is stored in one transaction with its components, or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

import psycopg
from uuid_utils.compat import uuid7

from dot_wrapper.client import calls
from dot_wrapper.client.calls import Observation, ObservedRun, Role
from dot_wrapper.client.errors import PayloadMismatch, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import chunk_by_chunk, in_parallel, pipelined
from dot_wrapper.sources.dbt.chains import place_in, stored_chains
from dot_wrapper.sources.dbt.documents import instant
from dot_wrapper.sources.dbt.dots import dots_of, register, retire, standing_of
from dot_wrapper.sources.dbt.manifest import AttachedTest
from dot_wrapper.sources.dbt.names import line_of
from dot_wrapper.sources.dbt.reader import DbtInput
from dot_wrapper.sources.dbt.results import WRAPPER_STATUS, Result
from dot_wrapper.sources.dbt.runs import PairRun
from dot_wrapper.sources.dbt.summary import Conflict, ImportSummary, Successor
from dot_wrapper.text import escape_control_characters

ACTOR: Final = "dbt-import"
NAME_LENGTH: Final = 1000
"""Characters of a name in the evidence of a result, which may have 8 KB in all."""
RUNS_PER_TRANSACTION: Final = 1000
"""With their components at most 3,000 observations; the batch function takes 10,000."""

T = TypeVar("T")
Progress = Callable[[str, int], None]
"""Called with what is being imported and how many were done since the last call."""


def import_dbt(
    ledger: Ledger, given: DbtInput, *, actor: str = ACTOR, progress: Progress | None = None
) -> ImportSummary:
    """Imports what ``read_dbt`` read. The same input again records nothing.

    The catalogue comes first (role dot_cataloguer), then the runs (role dot_writer), over a second connection as well, in
    transactions of at most ``CHUNK`` items or ``RUNS_PER_TRANSACTION`` runs. When an item of a transaction is refused, its items are
    stored one by one, so that the others are stored.

    Raises:
        DotWrapperError: any error but the refusal of a single item, for instance a lost server. What was committed stays, and the
            same import continues where it stopped.
        DbtInputError: the file of results has changed since it was read. What was committed stays here too.
    """
    done = progress or (lambda _what, _count: None)
    summary = ImportSummary.of(given)
    recorder = _Recorder(summary, actor, given.generated_at)
    standing = ledger.transaction("dot_cataloguer", partial(standing_of, given=given), repeatable=True)
    store_dots = partial(recorder.store, ledger, "dot_cataloguer", register)
    for count in chunk_by_chunk(
        dots_of(given, standing), store_dots, lambda dot, why: recorder.refused(f"DOT {dot['code']}", why)
    ):
        done("DOTs", count)
    summary.retired = [dot["code"] for dot in standing.left]
    store_retired = partial(recorder.store, ledger, "dot_cataloguer", retire)
    for _ in chunk_by_chunk(standing.left, store_retired, lambda dot, why: recorder.refused(f"DOT {dot['code']}", why)):
        pass
    store_tests = partial(recorder.store, ledger, "dot_cataloguer", recorder.define)
    for count in chunk_by_chunk(
        given.pairs, store_tests, lambda test, why: recorder.refused(f"candidate {test.code}", why)
    ):
        done("candidates", count)
    summary.successors = list(recorder.successors.values())
    with closing(ledger.another()) as other:
        ledgers = (ledger, other)

        def cancel() -> None:
            for one in ledgers:
                one.cancel()

        for count in in_parallel(
            summary.counted(given.runs),
            [partial(recorder.store, one, "dot_writer", recorder.record) for one in ledgers],
            lambda run, why: recorder.refused(f"{recorder.candidate(run.pair)}, run {run.correlation_id}", why),
            size=RUNS_PER_TRANSACTION,
            cancel=cancel,
        ):
            done("runs", count)
    for outcome, count in given.runs.outcomes.items():
        summary.nodes.add(outcome, count)
    return summary


class _Recorder:
    """Stores items of an import and counts in its summary what was created and refused."""

    def __init__(self, summary: ImportSummary, actor: str, time: datetime | None) -> None:
        self._summary = summary
        self._actor = actor
        self._time = time
        self._counting = Lock()
        self._candidates: dict[str, str] = {}  # where it is not that of the test
        self.successors: dict[str, Successor] = {}  # by their code: a transaction may be made twice

    def candidate(self, pair: AttachedTest) -> str:
        """The code of the candidate that a pair is recorded under."""
        return self._candidates.get(pair.code, pair.code)

    def store(
        self,
        ledger: Ledger,
        role: str,
        work: Callable[[psycopg.Connection[Any], Sequence[T]], Counter[str]],
        items: Sequence[T],
    ) -> None:
        """Stores some items in one transaction, and counts what it created once it is committed.

        A repeated transaction is harmless: every call has an idempotency key or has the same effect when made again.
        """
        figures = ledger.transaction(role, lambda connection: work(connection, items), repeatable=True)
        with self._counting:
            for figure, count in figures.items():
                setattr(self._summary, figure, getattr(self._summary, figure) + count)

    def define(self, connection: psycopg.Connection[Any], tests: Sequence[AttachedTest]) -> Counter[str]:
        chains = stored_chains(connection, tests)
        placed = [(test, place_in(chains.get(test.code, ()), test, self._time)) for test in tests]
        new = [(test, place) for test, place in placed if not place.is_defined]
        made = (
            calls.define_candidate(
                place.code,
                test.producer_code,
                test.verifier_code,
                self._actor,
                None if test.code == test.verifier else line_of(f"dbt test {test.verifier}"),
                supersedes=place.supersedes,
                source_time=place.source_time,
            )
            for test, place in new
        )
        created = pipelined(connection, made)
        self._candidates |= {test.code: place.code for test, place in placed if place.code != test.code}
        self.successors |= {
            place.code: Successor(test.verifier, test.producer, place.code, place.supersedes)
            for (test, place), is_new in zip(new, created, strict=True)
            if is_new and place.supersedes is not None
        }
        return Counter(candidates_created=sum(created))

    def record(self, connection: psycopg.Connection[Any], runs: Sequence[PairRun]) -> Counter[str]:
        observations = [one for run in runs for one in _observations(run, self.candidate(run.pair), self._actor)]
        (lines,) = pipelined(connection, [calls.batch(observations, atomic=True)])
        return Counter(
            f"{'runs' if isinstance(line.observed, ObservedRun) else 'components'}_created"
            for line in lines
            if line.observed and line.observed.created
        )

    def refused(self, what: str, refusal: Refusal) -> None:
        fields = refusal.fields if isinstance(refusal, PayloadMismatch) else ()
        reason = re.sub(r"^line \d+: ", "", refusal.reason)  # a line of the batch, whose numbers are not shown
        self._summary.conflicts.append(Conflict(what, reason, fields))


def _observations(run: PairRun, candidate: str, actor: str) -> Iterator[Observation]:
    run_id = uuid7()
    began = [_first_time(result.started_at, result.finished_at) for result in (run.producer, run.verifier) if result]
    yield calls.observe_run(
        process_candidate_code=candidate,
        dot_code=run.pair.producer_code,
        process_run_id=run_id,
        correlation_id=run.correlation_id,
        evidence_type="SIMULATED_DRY_RUN",
        status="started",
        actor=actor,
        idempotency_key=run.idempotency_key,
        evidence_ref={"source": "dbt", "result_digest": run.result_digest},
        occurred_at=min(filter(None, began), default=None),
    )
    parts: tuple[tuple[Role, str, Result | None], ...] = (
        ("producer", run.pair.producer_code, run.producer),
        ("verifier", run.pair.verifier_code, run.verifier),
    )
    for role, dot_code, result in parts:
        if result is not None:
            status = WRAPPER_STATUS[result.status]
            yield calls.observe_component(
                process_candidate_code=candidate,
                dot_code=dot_code,
                process_run_id=run_id,
                correlation_id=run.correlation_id,
                component_role=role,
                status=status,
                actor=actor,
                idempotency_key=calls.component_key(run.idempotency_key, role, status),
                evidence_ref=_evidence(result, dot_code),
                occurred_at=_first_time(result.finished_at, result.started_at),
            )


def _evidence(result: Result, dot_code: str) -> dict[str, object]:
    name = escape_control_characters(result.unique_id[:NAME_LENGTH])
    optional = {
        "unique_id": None if result.unique_id == dot_code else name,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
    return {
        "source": "dbt",
        "status": result.status,
        "failures": result.failures,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _first_time(*texts: str | None) -> datetime | None:
    """The first of dbt's texts that is a time with a zone. Any other text is stored in the evidence only."""
    return next(filter(None, map(instant, texts)), None)
