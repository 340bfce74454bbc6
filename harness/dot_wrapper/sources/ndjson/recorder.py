"""Records the observations of an NDJSON file, one per line (``dot_wrapper.sources.ndjson.reader``).

Lines are read, checked and sent in chunks, so memory does not grow with the file. Each line has an idempotency key, so recording a
file again, also after an interruption, stores nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import psycopg
from psycopg import sql
from uuid_utils.compat import uuid7

from dot_wrapper.client.errors import (
    DatabaseUnavailable,
    DotWrapperError,
    PayloadMismatch,
    Refusal,
    UnknownReference,
    from_database,
)
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import Store, Stored, committing, observe, stored
from dot_wrapper.sources.ndjson.reader import Line, LineProblem, RunLine, parse

LINE_LIMIT: Final = 65_536
"""Bytes of the longest line that is read. Its evidence may have 8 KB, each reference 1 KB."""

ROLE: Final = "dot_writer"
_NO_RUN: Final = "process_component_observation_process_run_id_fkey"
_STAGES: Final = {"prepared": 0, "started": 1}

Progress = Callable[[int], None]
"""Called with the number of bytes read since the last call."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not recorded: its number, counted from 1, the field at fault (None for the whole line), why, and what to do."""

    line: int
    field: str | None
    reason: str
    sqlstate: str | None = None
    constraint: str | None = None
    hint: str | None = None


@dataclass(slots=True)
class RecordSummary:
    """Figures about the lines of a file. ``recorded_before`` counts replays; ``undone`` is true when nothing was stored."""

    lines: int = 0
    runs_created: int = 0
    components_created: int = 0
    recorded_before: int = 0
    refused: int = 0
    undone: bool = False


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    line: Line


_Found = tuple[_Numbered, str]
"""A line, and the id of its run."""


class _Undo(Exception):
    """Rolls the transaction of an atomic recording back."""


def record(
    ledger: Ledger,
    stream: BinaryIO,
    *,
    atomic: bool = False,
    refused: Callable[[RefusedLine], None],
    progress: Progress = lambda _bytes: None,
) -> RecordSummary:
    """Records each line of a stream (role dot_writer; also dot_reader for lines that do not name their run).

    Args:
        atomic: store all lines or none, in one transaction. All lines are tried, so that each refusal is reported.
        refused: called with each refused line. The others are recorded.
        progress: called with the number of bytes read since the last call.

    Raises:
        DotWrapperError: any error but the refusal of a line. Without ``atomic``, what was committed stays, and recording the same
            file again continues; with it, nothing was stored.
    """
    summary = RecordSummary()

    def refuse(line: RefusedLine) -> None:
        summary.refused += 1
        refused(line)

    def store_all(store: Store[_Numbered]) -> None:
        for part in stored(_observations(stream, summary, refuse, progress), store, summary):
            for one, refusal in part.refused:
                refuse(_refused(one.number, refusal))

    if not atomic:
        try:
            store_all(committing(ledger, ROLE, _store))
        except DotWrapperError as error:
            may_have_been = isinstance(error, DatabaseUnavailable) and error.was_sent
            if may_have_been or summary.runs_created or summary.components_created or summary.recorded_before:
                error.add_note(f"lines read: {summary.lines}; what was recorded stays: record the same file again")
            raise
        return summary

    def at_once(connection: psycopg.Connection[Any]) -> None:
        def store(some: Sequence[_Numbered]) -> Stored[_Numbered]:
            try:
                with connection.transaction():  # a savepoint, for lines that cannot be sent
                    return _store(connection, some)
            except psycopg.Error as error:
                # Not retried: the stream cannot be read a second time.
                raise from_database(error) from error

        store_all(store)
        if summary.refused:
            raise _Undo

    try:
        ledger.transaction(ROLE, at_once, repeatable=False, once=True)
    except _Undo:
        summary.undone = True
    return summary


def _store(connection: psycopg.Connection[Any], some: Sequence[_Numbered]) -> Stored[_Numbered]:
    """Stores lines in their order. Where the header of a line without a run id is stored, it goes on with that run."""
    result: Stored[_Numbered] = Stored(len(some))
    runs = _stored_runs(connection, [one.line for one in some if one.line.process_run_id is None])
    found: list[_Found] = []
    for one in some:
        line, run = one.line, (one.line.process_candidate_code, one.line.run_key)
        run_id = line.process_run_id or runs.get(run)
        if isinstance(line, RunLine):
            run_id = run_id or str(uuid7())
            runs.setdefault(run, run_id)
        if run_id is None:
            result.refused.append((one, _no_run(line)))
        else:
            found.append((one, run_id))
    for batch in _batches(found):
        created, others = observe(connection, [one.line.row(run_id) for one, run_id in batch], atomic=False)
        result.figures += created
        for index, refusal in others.items():
            one, _ = batch[index]
            if refusal is None:
                result.figures["recorded_before"] += 1
            elif refusal.constraint == _NO_RUN and one.line.process_run_id is None:
                result.refused.append((one, _no_run(one.line)))  # the database names a run id that was made here
            else:
                result.refused.append((one, refusal))
    result.refused.sort(key=lambda refused: refused[0].number)
    return result


def _no_run(line: Line) -> Refusal:
    return UnknownReference(
        f"no run of {line.process_candidate_code} is recorded under key {line.run_key}",
        sqlstate="23503",
        constraint=_NO_RUN,
        hint="The line of a run comes before those of its components.",
    )


def _batches(found: Sequence[_Found]) -> Iterator[Sequence[_Found]]:
    """The lines in batches: first those of runs that were begun before, because a batch of new runs alone costs a third."""
    begun = {(one.line.process_candidate_code, run_id) for one, run_id in found if isinstance(one.line, RunLine)}
    for begins in (False, True):
        batch: list[_Found] = []
        ranks: dict[tuple[str, str], tuple[str, int]] = {}
        for one, run_id in found:
            run = one.line.process_candidate_code, run_id
            if (run in begun) is not begins:
                continue
            # A batch stores the lines of a run by their rank, so it ends before one that ranks below an earlier one.
            rank = one.line.role or "", _STAGES.get(one.line.status, len(_STAGES))
            if rank < ranks.get(run, rank):
                yield batch
                batch, ranks = [], {}
            batch.append((one, run_id))
            ranks[run] = rank
        if batch:
            yield batch


def _stored_runs(connection: psycopg.Connection[Any], lines: Sequence[Line]) -> dict[tuple[str, str], str]:
    """The stored runs by (candidate, key), for lines that do not name their run. Read as dot_reader within the open transaction, so
    that an atomic recording finds the runs that it has stored itself."""
    if not lines:
        return {}
    connection.execute("set local role dot_reader")
    found = connection.execute(
        """
        select distinct asked.candidate, asked.key, r.process_run_id::text
        from unnest(%s::text[], %s::text[]) as asked (candidate, key)
        join dot.v_process_run as r on r.process_candidate_code = asked.candidate and r.idempotency_key = asked.key
        """,
        ([line.process_candidate_code for line in lines], [line.run_key for line in lines]),
    ).fetchall()
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(ROLE)))
    return {(candidate, key): run_id for candidate, key, run_id in found}


def _observations(
    stream: BinaryIO, summary: RecordSummary, refuse: Callable[[RefusedLine], None], progress: Progress
) -> Iterator[_Numbered]:
    """Yields the lines that are observations and refuses the others. Skips blank lines."""
    number, read = 0, 0
    while line := stream.readline(LINE_LIMIT + 1):
        number += 1
        read += len(line)
        if read >= LINE_LIMIT:  # of each line it would take longer than to read it
            progress(read)
            read = 0
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            summary.lines += 1
            refuse(RefusedLine(number, None, f"it is longer than {LINE_LIMIT} bytes"))
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE_LIMIT)
                progress(len(line))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        if not line.strip():
            continue
        summary.lines += 1
        try:
            yield _Numbered(number, parse(line))
        except LineProblem as problem:
            refuse(RefusedLine(number, problem.field, problem.reason))
    progress(read)


def _refused(number: int, refusal: Refusal) -> RefusedLine:
    return RefusedLine(number, _field(refusal), refusal.reason, refusal.sqlstate, refusal.constraint, refusal.hint)


def _field(refusal: Refusal) -> str | None:
    """The field of the line at fault, derived from the name of the constraint."""
    if isinstance(refusal, PayloadMismatch):
        return ", ".join(refusal.fields)
    found = re.fullmatch(
        r"process_(?:run|component)_observation_(?:(\w+)_)?(?:check|not_null|fkey|pkey|key)", refusal.constraint or ""
    )
    if found is None:
        return None
    part = found.group(1) or "process_run_id"
    return {
        "producer": "dot_code",
        "component_role_dot": "dot_code",
        "component_role": "role",
        "prepared": "status",
        "terminal": "status",
        "header_status": "status",
        "correlation_id_header": "correlation_id",
        "evidence_ref_reserved": "evidence_ref",
        "evidence_ref_attempt": "evidence_ref",
        "pinned_output": "input_ref",
    }.get(part, part)
