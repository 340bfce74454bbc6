"""Records what dbt ran: nodes as DOTs, tests with the node they are attached to as candidates, invocations as runs.

The files are a report of runs that the wrapper did not gate, so every observation is SIMULATED_DRY_RUN and no import can make a
candidate verified. A run is stored in one transaction with its components, or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any, Final, Required, TypedDict, TypeVar

import psycopg
from uuid_utils.compat import uuid7

from dot_wrapper.client import calls
from dot_wrapper.client.calls import Observation, ObservedRun, Role
from dot_wrapper.client.errors import PayloadMismatch, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import chunk_by_chunk, in_parallel, pipelined
from dot_wrapper.sources.dbt.reader import WRAPPER_STATUS, AttachedTest, DbtInput, Node, PairRun, Result

ACTOR: Final = "dbt-import"
RUNS_PER_TRANSACTION: Final = 1000
"""With their components at most 3,000 observations; the batch function takes 10,000."""

T = TypeVar("T")
Progress = Callable[[str, int], None]
"""Called with what is being imported and how many were done since the last call."""


class Dot(TypedDict, total=False):
    """The arguments of ``register_dot`` for a node."""

    code: Required[str]
    category: str
    execution_engine: str
    file_path: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """An item that was refused, and why; ``fields`` names the fields that differ from the stored payload."""

    what: str
    reason: str
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class ImportSummary:
    """What an import found and what it recorded."""

    dots: int
    candidates: int
    runs: int
    never_observed: int
    unpaired_results: int
    invocations: int
    correlated_pairs: int = 0
    verifiers_passed: int = 0
    verifiers_failed: int = 0
    verifiers_skipped: int = 0
    producer_only: int = 0
    verifier_only: int = 0
    dots_created: int = 0
    dots_updated: int = 0
    candidates_created: int = 0
    runs_created: int = 0
    components_created: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    paths_left_out: list[str] = field(default_factory=list)
    sourceless_tests: tuple[str, ...] = ()

    @property
    def nothing_new(self) -> bool:
        """Whether the database already held all of it."""
        created = self.dots_created + self.dots_updated + self.candidates_created + self.runs_created
        return created + self.components_created == 0 and not self.conflicts


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
    summary = ImportSummary(
        dots=len(given.nodes),
        candidates=len(given.pairs),
        runs=len(given.runs),
        never_observed=len(given.pairs),
        unpaired_results=given.unpaired_results,
        invocations=len(given.invocation_ids),
        sourceless_tests=given.sourceless_tests,
        paths_left_out=[node.unique_id for node in given.nodes if not _is_storable(node.path)],
    )
    recorder = _Recorder(summary, actor)
    store_dots = partial(recorder.store, ledger, "dot_cataloguer", _register)
    for count in chunk_by_chunk(
        map(_dot, given.nodes), store_dots, lambda dot, why: recorder.refused(f"DOT {dot['code']}", why)
    ):
        done("DOTs", count)
    store_tests = partial(recorder.store, ledger, "dot_cataloguer", recorder.define)
    for count in chunk_by_chunk(
        given.pairs, store_tests, lambda test, why: recorder.refused(f"candidate {test.code}", why)
    ):
        done("candidates", count)
    with closing(ledger.another()) as other:
        ledgers = (ledger, other)

        def cancel() -> None:
            for one in ledgers:
                one.cancel()

        for count in in_parallel(
            _counted(given.runs, summary),
            [partial(recorder.store, one, "dot_writer", recorder.record) for one in ledgers],
            lambda run, why: recorder.refused(f"{run.pair.code}, run {run.correlation_id}", why),
            size=RUNS_PER_TRANSACTION,
            cancel=cancel,
        ):
            done("runs", count)
    return summary


class _Recorder:
    """Stores items of an import and counts in its summary what was created and refused."""

    def __init__(self, summary: ImportSummary, actor: str) -> None:
        self._summary = summary
        self._actor = actor
        self._counting = Lock()

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
        made = (calls.define_candidate(test.code, test.producer, test.verifier, self._actor) for test in tests)
        return Counter(candidates_created=sum(pipelined(connection, made)))

    def record(self, connection: psycopg.Connection[Any], runs: Sequence[PairRun]) -> Counter[str]:
        observations = [one for run in runs for one in _observations(run, self._actor)]
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


def _dot(node: Node) -> Dot:
    path = node.path if _is_storable(node.path) else None
    return Dot(code=node.unique_id, category=node.resource_type, execution_engine="dbt", file_path=path)


def _register(connection: psycopg.Connection[Any], dots: Sequence[Dot]) -> Counter[str]:
    outcomes = pipelined(connection, (calls.register_dot(**dot) for dot in dots))
    return Counter(dots_created=outcomes.count("created"), dots_updated=outcomes.count("updated"))


def _counted(runs: Iterable[PairRun], summary: ImportSummary) -> Iterator[PairRun]:
    """Yields the runs, and counts each in the summary."""
    observed: set[str] = set()
    for run in runs:
        if run.pair.code not in observed:
            observed.add(run.pair.code)
            summary.never_observed -= 1
        if run.verifier is None:
            summary.producer_only += 1
        elif run.producer is None:
            summary.verifier_only += 1
        else:
            summary.correlated_pairs += 1
            status = WRAPPER_STATUS[run.verifier.status]
            summary.verifiers_passed += status == "completed"
            summary.verifiers_failed += status == "failed"
            summary.verifiers_skipped += status == "skipped"
        yield run


def _observations(run: PairRun, actor: str) -> Iterator[Observation]:
    run_id = uuid7()
    began = [_first_time(result.started_at, result.finished_at) for result in (run.producer, run.verifier) if result]
    yield calls.observe_run(
        process_candidate_code=run.pair.code,
        dot_code=run.pair.producer,
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
        ("producer", run.pair.producer, run.producer),
        ("verifier", run.pair.verifier, run.verifier),
    )
    for role, dot_code, result in parts:
        if result is not None:
            status = WRAPPER_STATUS[result.status]
            yield calls.observe_component(
                process_candidate_code=run.pair.code,
                dot_code=dot_code,
                process_run_id=run_id,
                correlation_id=run.correlation_id,
                component_role=role,
                status=status,
                actor=actor,
                idempotency_key=calls.component_key(run.idempotency_key, role, status),
                evidence_ref=_evidence(result),
                occurred_at=_first_time(result.finished_at, result.started_at),
            )


def _evidence(result: Result) -> dict[str, object]:
    times = {"started_at": result.started_at, "finished_at": result.finished_at}
    return {
        "source": "dbt",
        "status": result.status,
        "failures": result.failures,
        **{name: time for name, time in times.items() if time is not None},
    }


def _first_time(*texts: str | None) -> datetime | None:
    """The first of dbt's texts that is a time with a zone. Any other text is stored in the evidence only."""
    for text in filter(None, texts):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            continue
        if time.utcoffset() is not None:
            return time
    return None


def _is_storable(path: str | None) -> bool:
    """Whether the catalogue takes a path (``dot.fn_is_line``): none, or one line of printable ASCII of at most 1,024 bytes."""
    return path is None or (len(path) <= 1024 and path.isascii() and path.isprintable() and not path.isspace())
