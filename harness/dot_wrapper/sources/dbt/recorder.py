"""Records what dbt ran: nodes as DOTs, tests with the node they are of as candidates, invocations as runs.

The files are a report of runs that the wrapper did not gate, so every observation is SIMULATED_DRY_RUN and no import can make a
candidate verified. A run is stored in one transaction with its components, or not at all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from uuid_utils.compat import uuid7

from dot_wrapper.client import calls
from dot_wrapper.client.calls import Role
from dot_wrapper.client.errors import PayloadMismatch, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import Row, Stored, Work, answers, committing, observe, stored
from dot_wrapper.sources.dbt.chains import place_in, stored_chains
from dot_wrapper.sources.dbt.documents import instant
from dot_wrapper.sources.dbt.dots import Dot, dots_of, register, retire, standing_of
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

T = TypeVar("T")
Progress = Callable[[str, int], None]
"""Called with what is being imported and how many were done since the last call."""


def import_dbt(
    ledger: Ledger, given: DbtInput, *, actor: str = ACTOR, progress: Progress = lambda _what, _count: None
) -> ImportSummary:
    """Imports what ``read_dbt`` read. The same input again records nothing.

    The catalogue comes first (role dot_cataloguer), then the runs (role dot_writer), in transactions of at most ``CHUNK`` items. A
    refused item does not affect the others.

    Raises:
        DotWrapperError: any error but the refusal of a single item, for instance a lost server. What was committed stays, and the
            same import continues where it stopped.
        DbtInputError: the file of results has changed since it was read. What was committed stays here too.
    """
    summary = ImportSummary.of(given)
    recorder = _Recorder(actor, given.generated_at)

    def store(what: str, role: str, items: Iterable[T], work: Work[T], name: Callable[[T], str]) -> None:
        for part in stored(items, committing(ledger, role, work), summary):
            summary.conflicts += [_conflict(name(item), refusal) for item, refusal in part.refused]
            progress(what, part.items)

    def name_of_dot(dot: Dot) -> str:
        return f"DOT {dot['code']}"

    standing = ledger.transaction("dot_cataloguer", partial(standing_of, given=given), repeatable=True)
    store("DOTs", "dot_cataloguer", dots_of(given, standing), register, name_of_dot)
    store("DOTs that left", "dot_cataloguer", standing.left, retire, name_of_dot)
    summary.retired = [dot["code"] for dot in standing.left]
    store("candidates", "dot_cataloguer", given.pairs, recorder.define, lambda test: f"candidate {test.code}")
    summary.successors = list(recorder.successors.values())
    store(
        "runs",
        "dot_writer",
        summary.counted(given.runs),
        recorder.record,
        lambda run: f"{recorder.candidate(run.pair)}, run {run.correlation_id}",
    )
    summary.finish(given.runs)
    return summary


class _Recorder:
    """Defines the candidates, and records runs under them."""

    def __init__(self, actor: str, time: datetime | None) -> None:
        self._actor = actor
        self._time = time
        self._candidates: dict[str, str] = {}  # by the code of their pair
        self.successors: dict[str, Successor] = {}  # by their code: a transaction may be made twice

    def candidate(self, pair: AttachedTest) -> str:
        """The code of the candidate that a pair is recorded under; of one that was refused, its own."""
        return self._candidates.get(pair.code, pair.code)

    def define(self, connection: psycopg.Connection[Any], tests: Sequence[AttachedTest]) -> Stored[AttachedTest]:
        chains = stored_chains(connection, tests)
        placed = [(test, place_in(chains.get(test.verifier_code, ()), test, self._time)) for test in tests]
        new = [(test, place) for test, place in placed if not place.is_defined]
        made = [
            calls.define_candidate(
                place.code,
                test.producer_code,
                test.verifier_code,
                self._actor,
                None if test.verifier_code == test.verifier else line_of(f"dbt test {test.verifier}"),
                supersedes=place.joins,
                source_time=place.source_time,
            )
            for test, place in new
        ]
        created = answers(connection, made)
        self._candidates |= {test.code: place.code for test, place in placed}
        self.successors |= {
            place.code: Successor(test.verifier, test.producer, place.code, place.supersedes, place.superseded_by)
            for (test, place), is_new in zip(new, created, strict=True)
            if is_new and place.joins is not None
        }
        return Stored(len(tests), Counter(candidates_created=sum(created)))

    def record(self, connection: psycopg.Connection[Any], runs: Sequence[PairRun]) -> Stored[PairRun]:
        """Each run with its components, all of them or none."""
        rows = [row for run in runs for row in _rows(run, self.candidate(run.pair), self._actor)]
        created, _ = observe(connection, rows, atomic=True)
        return Stored(len(runs), created)


def _conflict(what: str, refusal: Refusal) -> Conflict:
    fields = refusal.fields if isinstance(refusal, PayloadMismatch) else ()
    reason = re.sub(r"^line \d+: ", "", refusal.reason)  # a line of the batch, whose numbers are not shown
    return Conflict(what, reason, fields, refusal.hint)


def _rows(run: PairRun, candidate: str, actor: str) -> Iterator[Row]:
    run_id, key = str(uuid7()), run.idempotency_key
    same = {
        "process_candidate_code": candidate,
        "process_run_id": run_id,
        "correlation_id": run.correlation_id,
        "actor": actor,
    }
    began = [_first_time(result.started_at, result.finished_at) for result in (run.producer, run.verifier) if result]
    yield {
        **same,
        "dot_code": run.pair.producer_code,
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": True,
        "status": "started",
        "idempotency_key": key,
        "evidence_ref": json.dumps({"source": "dbt", "result_digest": run.result_digest}),
        "occurred_at": min(filter(None, began), default=None),
    }
    parts: tuple[tuple[Role, str, Result | None], ...] = (
        ("producer", run.pair.producer_code, run.producer),
        ("verifier", run.pair.verifier_code, run.verifier),
    )
    for role, dot_code, result in parts:
        if result is not None:
            status = WRAPPER_STATUS[result.status]
            yield {
                **same,
                "dot_code": dot_code,
                "component_role": role,
                "status": status,
                "idempotency_key": calls.component_key(key, role, status),
                "evidence_ref": json.dumps(_evidence(result, dot_code)),
                "occurred_at": _first_time(result.finished_at, result.started_at),
            }


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
