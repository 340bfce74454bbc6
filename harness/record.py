"""Records the observations of an NDJSON file, one per line (``harness.observation``).

Lines are read, checked and sent in chunks, so memory does not grow with the file. Each line has an idempotency key, so a file
that is recorded again, or from the start after an interruption, ends in the same ledger.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final

import psycopg

from harness.bulk import chunk_by_chunk, pipelined
from harness.calls import Call, ObservedComponent, ObservedRun
from harness.errors import PayloadMismatch, Refusal, from_database
from harness.ledger import Ledger
from harness.observation import Line, LineProblem, parse

LINE_LIMIT: Final = 65_536
"""Bytes of the longest line: its evidence has at most 8 KB, a reference 1 KB."""

ROLE: Final = "dot_writer"

Progress = Callable[[int], None]
"""Called with how many bytes were done since the last call."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not recorded: its number from 1, the field at fault (None for the whole line), and why."""

    line: int
    field: str | None
    reason: str
    sqlstate: str | None = None
    constraint: str | None = None


@dataclass(slots=True)
class RecordSummary:
    """What became of the lines of a file. ``recorded_before`` counts replays, ``undone`` says that nothing was kept."""

    lines: int = 0
    runs_created: int = 0
    components_created: int = 0
    recorded_before: int = 0
    refused: int = 0
    undone: bool = False

    def as_dict(self) -> dict[str, int | bool]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    line: Line


class _Undo(Exception):
    """Ends the transaction of an atomic recording without keeping it."""


def record(
    ledger: Ledger,
    stream: BinaryIO,
    *,
    atomic: bool = False,
    refused: Callable[[RefusedLine], None],
    progress: Progress = lambda _bytes: None,
) -> RecordSummary:
    """Records each line; a line that is refused is told to ``refused`` and left out.

    Args:
        atomic: all lines or none, in one transaction. All are tried, so that each refusal is told.

    Raises:
        DotWrapperError: anything but the refusal of a line. Without ``atomic`` what was committed stays, and the same file
            again goes on; with it nothing was stored.
    """
    summary = RecordSummary()

    def refuse(line: RefusedLine) -> None:
        summary.refused += 1
        refused(line)

    def store_all(store: Callable[[Sequence[_Numbered]], Counter[str]]) -> None:
        def stored(some: Sequence[_Numbered]) -> None:
            for figure, count in store(some).items():
                setattr(summary, figure, getattr(summary, figure) + count)

        lines = _observations(stream, summary, refuse, progress)
        for _ in chunk_by_chunk(lines, stored, lambda one, refusal: refuse(_refused(one.number, refusal))):
            pass

    if not atomic:
        store_all(lambda some: ledger.transaction(ROLE, lambda connection: _store(connection, some), repeatable=True))
        return summary

    def at_once(connection: psycopg.Connection[Any]) -> None:
        def store(some: Sequence[_Numbered]) -> Counter[str]:
            try:
                with connection.transaction():  # a savepoint: a refused chunk is tried again line by line
                    return _store(connection, some)
            except psycopg.Error as error:
                # Not retried: what was read of the stream cannot be read again.
                raise from_database(error) from error

        store_all(store)
        if summary.refused:
            raise _Undo

    try:
        ledger.transaction(ROLE, at_once, repeatable=False)
    except _Undo:
        summary.undone = True
    return summary


def _store(connection: psycopg.Connection[Any], some: Sequence[_Numbered]) -> Counter[str]:
    figures: Counter[str] = Counter()
    made: list[Call[ObservedRun | ObservedComponent]] = [one.line.call() for one in some]
    for answer in pipelined(connection, made):
        kind = "runs_created" if isinstance(answer, ObservedRun) else "components_created"
        figures[kind if answer.created else "recorded_before"] += 1
    return figures


def _observations(
    stream: BinaryIO, summary: RecordSummary, refuse: Callable[[RefusedLine], None], progress: Progress
) -> Iterator[_Numbered]:
    """The lines that are observations; the others are refused. Blank ones are passed over."""
    number = 0
    while line := stream.readline(LINE_LIMIT + 1):
        number += 1
        progress(len(line))
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            summary.lines += 1
            refuse(RefusedLine(number, None, f"it is longer than {LINE_LIMIT} bytes"))
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE_LIMIT)
                progress(len(line))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors begin a file with
        if not line.strip():
            continue
        summary.lines += 1
        try:
            yield _Numbered(number, parse(line))
        except LineProblem as problem:
            refuse(RefusedLine(number, problem.field, problem.reason))


def _refused(number: int, refusal: Refusal) -> RefusedLine:
    return RefusedLine(number, _field(refusal), refusal.reason, refusal.sqlstate, refusal.constraint)


def _field(refusal: Refusal) -> str | None:
    """The field of the line that a refusal is about, from the constraint's name."""
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
    }.get(part, part)
