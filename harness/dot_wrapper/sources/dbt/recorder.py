"""Records what dbt ran: nodes as DOTs, tests with the node they are attached to as candidates, invocations as runs.

It is somebody else's run, told by a file: every observation is SIMULATED_DRY_RUN, whatever happened, and no import can make a
candidate verified. A run is stored whole, header and components in one transaction, or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Final, Required, TypedDict, TypeVar

import psycopg
from uuid_utils.compat import uuid7

from dot_wrapper.client import calls
from dot_wrapper.client.calls import Observation, ObservedRun, Role
from dot_wrapper.client.errors import PayloadMismatch, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import chunk_by_chunk, pipelined, side_by_side
from dot_wrapper.sources.dbt.reader import WRAPPER_STATUS, DbtInput, Pair, PairRun, Result

ACTOR: Final = "dbt-import"
BATCH: Final = 1000
"""Runs that are recorded in one transaction: a third of what a batch takes, for the components are in it too."""

_T = TypeVar("_T")
Progress = Callable[[str, int], None]
"""Called with what is being imported and how many were done since the last call."""


class Dot(TypedDict, total=False):
    """What is registered of a node."""

    code: Required[str]
    category: str
    execution_engine: str
    file_path: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """One thing that was not recorded because something else is recorded in its place."""

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

    The catalogue comes first (role dot_cataloguer), then the runs (role dot_writer), over a second connection as well: each in
    transactions of at most ``CHUNK`` or ``BATCH``. Where one item of these is refused, they are done again item by item: the
    others are kept.

    Raises:
        DotWrapperError: anything but a refusal of a single item, a lost server for instance. What was committed stays; the
            same import again goes on where it stopped.
        DbtInputError: the results are not what they were when they were read. What was committed stays here too.
    """
    summary = ImportSummary(
        dots=len(given.nodes),
        candidates=len(given.pairs),
        runs=len(given.runs),
        never_observed=len(given.pairs),
        unpaired_results=given.unpaired_results,
        invocations=len(given.invocation_ids),
        sourceless_tests=given.sourceless_tests,
    )
    created: Counter[str] = Counter()
    counting = Lock()
    done = progress or (lambda _what, _count: None)

    def register(connection: psycopg.Connection[Any], dots: Sequence[Dot]) -> Counter[str]:
        made = (calls.register_dot(**dot) for dot in dots)
        return Counter(f"dots_{outcome}" for outcome in pipelined(connection, made))

    def define(connection: psycopg.Connection[Any], pairs: Sequence[Pair]) -> Counter[str]:
        made = (calls.define_candidate(pair.code, pair.producer, pair.verifier, actor) for pair in pairs)
        return Counter(candidates_created=sum(pipelined(connection, made)))

    def record(connection: psycopg.Connection[Any], runs: Sequence[PairRun]) -> Counter[str]:
        lines = [line for run in runs for line in _observations(run, actor)]
        (told,) = pipelined(connection, [calls.batch(lines, atomic=True)])
        return Counter(
            f"{'runs' if isinstance(line.observed, ObservedRun) else 'components'}_created"
            for line in told
            if line.observed and line.observed.created
        )

    # Every call has a key, or is the same when it is made again, so a transaction may be repeated; one counts once it is committed.
    def storing(
        through: Ledger, role: str, work: Callable[[psycopg.Connection[Any], Sequence[_T]], Counter[str]]
    ) -> Callable[[Sequence[_T]], None]:
        def store(some: Sequence[_T]) -> None:
            figures = through.transaction(role, lambda connection: work(connection, some), repeatable=True)
            with counting:
                created.update(figures)

        return store

    def conflict(what: str, refusal: Refusal) -> None:
        fields = refusal.fields if isinstance(refusal, PayloadMismatch) else ()
        reason = re.sub(r"^line \d+: ", "", refusal.reason)  # of a batch, which nobody sees
        summary.conflicts.append(Conflict(what, reason, fields))

    dots: list[Dot] = []
    for node in given.nodes:
        path = node.path if node.path is None or _is_prose(node.path) else None
        if path != node.path:
            summary.paths_left_out.append(node.unique_id)
        dots.append(Dot(code=node.unique_id, category=node.resource_type, execution_engine="dbt", file_path=path))
    register_dots = storing(ledger, "dot_cataloguer", register)
    for count in chunk_by_chunk(dots, register_dots, lambda dot, why: conflict(f"DOT {dot['code']}", why)):
        done("DOTs", count)
    define_pairs = storing(ledger, "dot_cataloguer", define)
    for count in chunk_by_chunk(given.pairs, define_pairs, lambda pair, why: conflict(f"candidate {pair.code}", why)):
        done("candidates", count)
    with closing(ledger.another()) as other:
        both = ledger, other

        def cancel() -> None:
            for one in both:
                one.cancel()

        for count in side_by_side(
            _counted(given.runs, summary),
            [storing(one, "dot_writer", record) for one in both],
            lambda run, why: conflict(f"{run.pair.code}, run {run.correlation_id}", why),
            size=BATCH,
            cancel=cancel,
        ):
            done("runs", count)
    summary.dots_created = created["dots_created"]
    summary.dots_updated = created["dots_updated"]
    summary.candidates_created = created["candidates_created"]
    summary.runs_created = created["runs_created"]
    summary.components_created = created["components_created"]
    return summary


def _counted(runs: Iterable[PairRun], summary: ImportSummary) -> Iterator[PairRun]:
    """The runs, each counted in the summary as it goes by."""
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


def _first_time(*said: str | None) -> datetime | None:
    """The first of dbt's times that is one, with its zone: what else dbt wrote in its place is in the evidence alone."""
    for text in filter(None, said):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            continue
        if time.utcoffset() is not None:
            return time
    return None


def _is_prose(path: str) -> bool:
    """Whether the catalogue stores a path (``dot.fn_is_line``): one line of printable ASCII, at most 1,024 bytes."""
    return len(path) <= 1024 and path.isascii() and path.isprintable() and not path.isspace()
