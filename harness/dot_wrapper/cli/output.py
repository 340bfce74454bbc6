"""How commands print: a table, or JSON with ``--json``, on standard output; progress and messages on standard error."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from dot_wrapper.text import escape_control_characters

# Rich takes any digits for the width, and prints nothing in one of 0.
if not re.fullmatch(r"0*[1-9][0-9]*", os.environ.get("COLUMNS", "")):
    os.environ.pop("COLUMNS", None)

# Everything printed is data: nothing in it is read as markup or emoji code, or highlighted.
stdout = Console(markup=False, emoji=False, highlight=False)
stderr = Console(markup=False, emoji=False, highlight=False, stderr=True)


DBT_KINDS = frozenset(
    (
        "model",
        "seed",
        "snapshot",
        "source",
        "test",
        "unit_test",
        "analysis",
        "operation",
        "function",
        "exposure",
        "metric",
    )
)
"""What a code of a dbt node begins with."""

SHORT = 40
"""Characters of a short name: two lines of a column on a terminal of 80."""


@dataclass(slots=True)
class Format:
    """How the running command prints, errors included. It is the ``obj`` of the command's context."""

    as_json: bool = False


class _UntilTheReaderLeaves(io.FileIO):
    """A file descriptor whose output is dropped once it cannot be read any more: the pipe's reader has ended (``| head -1``), or the
    terminal is closed. What the command does, and its exit code, do not depend on who reads."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_terminal = self.isatty()

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE and not (error.errno == errno.EIO and self._is_terminal):
                raise
            _to_null(self.fileno())
            return len(data)


def open_streams() -> None:
    """Makes standard output and standard error of this process survive their readers. One that is closed from the start is dropped; a
    character that the terminal cannot show is printed as its escape."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _to_null(descriptor)
        raw = _UntilTheReaderLeaves(descriptor)
        unbuffered = stream is not None and stream.write_through
        # Unbuffered, the interpreter has the raw stream as the buffer, as here.
        buffer: Any = raw if unbuffered else io.BufferedWriter(raw)
        opened = io.TextIOWrapper(
            buffer,
            encoding=stream and stream.encoding,
            errors="backslashreplace",
            line_buffering=stream is not None and stream.line_buffering,
            write_through=unbuffered,
        )
        setattr(sys, name, opened)


def _to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)


def _choose_json(context: typer.Context, as_json: bool) -> bool:
    context.obj.as_json = as_json
    return as_json


# Eager: it is known before any other argument is found wrong.
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", callback=_choose_json, is_eager=True)
]


def print_json(value: object) -> None:
    """Prints one JSON document on standard output; times in ISO 8601 and UTC, ids as text."""
    typer.echo(json.dumps(value, indent=2, default=_jsonable))


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str | None = None,
    *,
    unfolded: str | None = None,
    lines: bool = False,
) -> None:
    """Prints a table of rows on standard output.

    Args:
        columns: keys of the rows, in order, and their headings.
        unfolded: the column that is never wrapped; the others are wrapped when the terminal is narrow.
        lines: draw a line between rows, for rows of several lines.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_lines=lines,
    )
    for key, heading in columns.items():
        table.add_column(heading, overflow="fold", no_wrap=key == unfolded)
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in columns))
    stdout.print(table)


def say(text: str, style: str | None = None) -> None:
    """Prints a line of text on standard output."""
    stdout.print(escape_control_characters(text, keep="\n"), style=style, soft_wrap=True)


def print_error(text: str, style: str | None = None) -> None:
    """Prints a line of text on standard error."""
    stderr.print(escape_control_characters(text, keep="\n"), style=style, soft_wrap=True)


def next_steps(hints: Iterable[str | None]) -> list[str]:
    """A line for each thing to do, once: many items are refused for one reason."""
    return [f"next: {hint}" for hint in dict.fromkeys(hints) if hint]


def counted(count: int, thing: str) -> str:
    """For instance `1 run`, `2 runs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def utc(time: datetime | str, precision: str = "seconds") -> str:
    """A time in UTC, which it says. What is no time of Python's comes as PostgreSQL's text, in UTC as well, see ``client.database``."""
    if isinstance(time, str):
        return time
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(' ', precision)} UTC"


def age(time: datetime) -> str:
    """How long ago a time was, for instance ``3 h ago``; in whole units, rounded down."""
    seconds = max(int((datetime.now(UTC) - time).total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def short_name(code: str) -> str:
    """The name that people know a DOT or candidate by, in at most ``SHORT`` characters.

    Of dbt's ``test.PROJECT.NAME.HASH`` it is the name, with or without the node that it is of, and of any other code all of it.
    """
    test, _, node = code.partition("@")
    kind, *parts = (test if node.split(".")[0] in DBT_KINDS else code).split(".")
    name = code
    if kind in DBT_KINDS and len(parts) > 1:
        name = ".".join(parts[1:2] if kind == "test" else parts[1:])
    return name if len(name) <= SHORT else f"{name[: SHORT - 1]}…"


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str, int], None]]:
    """Shows a progress bar on standard error if that is a terminal; yields a function to call with a label and a count."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, count: progress.update(task, description=what, advance=count)


@contextmanager
def byte_progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """``progress_bar`` for the bytes of a file; ``total`` is None for a stream of unknown length."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
        task = progress.add_task("record", total=total)
        yield lambda count: progress.update(task, advance=count)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return utc(value)
        case list():
            return ", ".join(map(_cell, value))
        case dict():
            return ", ".join(f"{key} {_cell(one)}" for key, one in value.items())
        case _:
            return escape_control_characters(str(value), keep="\n")


def _jsonable(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
