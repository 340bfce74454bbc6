"""How commands print: a table, or JSON with ``--json``, on standard output; progress and messages on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def _choose_json(context: typer.Context, as_json: bool) -> bool:
    context.obj.as_json = as_json
    return as_json


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.", callback=_choose_json)]


def print_json(value: object) -> None:
    """Prints one JSON document on standard output; times in ISO 8601, ids as text."""
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


def counted(count: int, thing: str) -> str:
    """For instance `1 run`, `2 runs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def local(time: datetime) -> str:
    """A time without its zone, in the zone of this machine."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(time: datetime) -> str:
    """How long ago a time was, for instance ``3 h ago``; in whole units, rounded down."""
    seconds = max(int((datetime.now(UTC) - time).total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def short_name(code: str) -> str:
    """The name that people know a DOT or candidate by, in at most ``SHORT`` characters.

    Of dbt's ``test.PROJECT.NAME.HASH`` it is the name, of any other code all of it.
    """
    kind, *parts = code.split(".")
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
            return local(value)
        case list():
            return ", ".join(map(_cell, value))
        case dict():
            return ", ".join(f"{key} {_cell(one)}" for key, one in value.items())
        case _:
            return escape_control_characters(str(value), keep="\n")


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
