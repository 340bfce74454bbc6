"""How commands print: a table for people, the same as JSON with ``--json``; progress and messages on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
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

# What is printed is data: no part of it is markup, an emoji code or a thing to highlight.
stdout = Console(markup=False, emoji=False, highlight=False)
stderr = Console(markup=False, emoji=False, highlight=False, stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: object) -> None:
    """One JSON document on standard output; times in ISO 8601, ids as text."""
    typer.echo(json.dumps(value, indent=2, default=_jsonable))


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str | None = None,
    *,
    unfolded: str | None = None,
    lines: bool = False,
) -> None:
    """A table of rows.

    Args:
        columns: keys of the rows, in order, and their headings.
        unfolded: the column whose lines are kept whole; the others fold where the terminal is narrow.
        lines: a line between rows, for rows of several lines.
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
    """A line of text for people, on standard output."""
    stdout.print(_obeyed_by_nobody(text), style=style, soft_wrap=True)


def complain(text: str, style: str | None = None) -> None:
    """A line of text for people, on standard error."""
    stderr.print(_obeyed_by_nobody(text), style=style, soft_wrap=True)


def _obeyed_by_nobody(text: str) -> str:
    """Text that somebody else may have written: what a terminal would obey is escaped."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def counted(count: int, thing: str) -> str:
    """For instance `1 run`, `2 runs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def local(time: datetime) -> str:
    """A time as people read it, in the zone of their terminal."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on standard error, only where that is a terminal; yields what to call with a label and a count."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, count: progress.update(task, description=what, advance=count)


@contextmanager
def byte_progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """The same for a file, by bytes; ``total`` is None for a stream whose end is not known."""
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
            return _obeyed_by_nobody(str(value))


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
