"""Commands that ask several ledgers, and show one list: ``--database-url``, again and again, or ``--ledgers FILE``.

Each ledger is asked by itself. Those that answer are shown; one that cannot be asked is told, and the command ends with exit code 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from dot_wrapper.cli.exit_codes import FAILED
from dot_wrapper.cli.output import print_error
from dot_wrapper.cli.session import connect_to_schema, given_url, open_ledger
from dot_wrapper.client.errors import DotWrapperError, InputError, Refusal
from dot_wrapper.client.ledger import Ledger

T = TypeVar("T")

DatabaseUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--database-url",
        help="Ask this database and not DATABASE_URL; once more for each further one. NAME=URL names it.",
        show_default=False,
    ),
]
LedgersFile = Annotated[
    Path | None,
    typer.Option(
        "--ledgers", exists=True, dir_okay=False, help="Ask the databases of this file, a line NAME=URL for each."
    ),
]

_KEYWORDS: Final = frozenset(one.keyword.decode() for one in pq.Conninfo.get_defaults())
"""What a connection string of libpq may begin with: no name of a ledger."""


class Ledgers:
    """The ledgers that a command asks.

    Attributes:
        are_named: whether they were named, so that what is shown says whose it is.
        failures: by name why a ledger could not be asked.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], *, are_named: bool) -> None:
        self.are_named = are_named
        self.failures: dict[str, DotWrapperError] = {}
        self._ledgers = ledgers

    def ask(self, question: Callable[[Ledger], T]) -> list[tuple[str | None, T]]:
        """The answer of each ledger that can be asked, after the name under which it was named.

        Raises:
            Refusal, InputError: a ledger cannot answer such a question.
            DotWrapperError: the ledger cannot be asked, where none was named.
        """
        answers = []
        for name, ledger in self._ledgers.items():
            try:
                answers.append((name if self.are_named else None, question(ledger)))
                self.failures.pop(name, None)
            except Refusal:
                raise
            except DotWrapperError as error:
                if not self.are_named:
                    raise
                self.failures[name] = error
        return answers

    def failed(self) -> list[dict[str, Any]]:
        """Of each that could not be asked a row for JSON."""
        return [
            {"ledger": name, "error": {"message": error.message, "hint": error.hint, "sqlstate": error.sqlstate}}
            for name, error in self.failures.items()
        ]

    def end(self, code: int = 0) -> None:
        """Ends the command, with exit code 1 where a ledger could not be asked."""
        for name, error in self.failures.items():
            print_error(f"error: ledger {name} could not be asked: {error.message}", style="bold red")
        if self.failures or code:
            raise typer.Exit(FAILED if self.failures else code)


@contextmanager
def open_ledgers(urls: list[str] | None, file: Path | None) -> Iterator[Ledgers]:
    """The ledgers of a command: those that its options name, else the one of ``DATABASE_URL``.

    Raises:
        InputError: a connection string or the file cannot be read, or two have one name.
    """
    named = _named(urls or [], file)
    with ExitStack() as opened:
        if not named:
            yield Ledgers({"": opened.enter_context(open_ledger())}, are_named=False)
            return
        ledgers = {name: opened.enter_context(Ledger(partial(connect_to_schema, url))) for name, url in named.items()}
        yield Ledgers(ledgers, are_named=True)


def labelled(ledger: str | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that says whose it is, where the ledger was named."""
    return {"ledger": ledger, **row} if ledger else dict(row)


def _named(urls: list[str], file: Path | None) -> dict[str, str]:
    """The connection strings by the names of their ledgers."""
    given = [("--database-url", *_split(text)) for text in urls]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file else []
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            place, (name, url) = f"{file}, line {number}", _split(line)
            if name is None:
                raise InputError(f"{place}: no NAME=URL, for instance payments=postgresql://host/payments")
            given.append((place, name, url))
    if file and not given:
        raise InputError(f"{file}: names no ledger")
    named: dict[str, str] = {}
    for place, name, url in given:
        target = given_url(url, place)
        key = name or _name_of(target)
        if key in named:
            raise InputError(f"{place}: {key} names two ledgers; give each a name of its own with NAME=URL")
        named[key] = target
    return named


def _split(text: str) -> tuple[str | None, str]:
    """The name, if there is one, and the connection string of NAME=URL."""
    name, equals, url = (part.strip() for part in text.partition("="))
    is_name = equals and re.fullmatch(r"[\w.-]+", name) and name not in _KEYWORDS
    return (name, url) if is_name else (None, text.strip())


def _name_of(url: str) -> str:
    """What a ledger without a name is called: its database, or the service of libpq that names it."""
    parts = conninfo_to_dict(url)
    return str(parts.get("dbname") or parts.get("service") or "default")
