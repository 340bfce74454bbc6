"""The command line, ``dot-wrapper``. ``docs/reference/cli.md`` has each command with its output, its JSON, and the exit codes.

Each module of this package has one group of commands, as a Typer app of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import psycopg
import typer

from dot_wrapper.cli import (
    adopt,
    catalogue,
    doctor,
    drift,
    outbox,
    prove,
    recording,
    require,
    restored,
    review,
    runs,
    server,
    session,
    switches,
    verdicts,
)
from dot_wrapper.cli.exit_codes import (
    BAD_INPUT,
    DONE,
    FAILED,
    FOUND,
    HUNG_UP,
    INTERRUPTED,
    PARTLY,
    REFUSED,
    TERMINATED,
)
from dot_wrapper.cli.output import Format, open_streams, print_error, print_json
from dot_wrapper.client import database
from dot_wrapper.client.errors import DotWrapperError, InputError, NotInstalled, Refusal, from_database
from dot_wrapper.operations.drift import standing
from dot_wrapper.operations.embedded import EmbeddedServerError

__all__ = ["BAD_INPUT", "DONE", "FAILED", "FOUND", "PARTLY", "REFUSED", "app", "main", "run"]

app = typer.Typer(
    name="dot-wrapper",
    help="Record what DOT runs did, and see what is verified. The database is DATABASE_URL, else an embedded PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    server,
    catalogue,
    recording,
    runs,
    verdicts,
    require,
    switches,
    outbox,
    doctor,
    drift,
    prove,
    review,
    restored,
    adopt,
):
    app.add_typer(module.app)  # without a name: its commands become commands of this app


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code. No error that a user can cause ends in a traceback."""
    chosen = Format()
    try:
        app(list(arguments), prog_name="dot-wrapper", obj=chosen)
    except SystemExit as end:  # Typer ends every command with it, successful or not
        code = end.code if isinstance(end.code, int) else DONE if end.code is None else FAILED
        if code in (HUNG_UP, INTERRUPTED, TERMINATED):
            print_error("interrupted: what was committed stays, and the same command goes on from there")
        wrong = end.__context__
        if isinstance(wrong, typer.TyperException):  # a wrong command line, which Typer has told on standard error
            _report_as_json("input", wrong.format_message(), chosen)
        return code
    except InputError as error:
        _report("input", str(error), chosen)
        return BAD_INPUT
    except Refusal as refusal:
        _report("refused", refusal.message, chosen, refusal)
        return REFUSED
    except DotWrapperError as error:
        return _failed(error, chosen)
    except psycopg.Error as error:
        return _failed(from_database(error), chosen)
    except UnicodeDecodeError:
        _report("error", "a name in the catalog is in the encoding of another database of this server", chosen)
        return FAILED
    except UnicodeEncodeError as error:
        _report("input", f"{error.object!a} is not text that can be stored", chosen)
        return BAD_INPUT
    except (EmbeddedServerError, OSError) as error:
        _report("error", str(error), chosen)
        return FAILED
    return DONE


def main() -> None:
    """Entry point of ``dot-wrapper``."""
    open_streams()
    # psycopg logs lost connections. The error that follows reports them, or a retry has succeeded.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    logging.getLogger("dot_wrapper").addHandler(logging.StreamHandler())  # a call is repeated: the user waits
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup has it ignored
        signal.signal(signal.SIGHUP, _end)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk fails here, when the buffer is written
        if code == DONE:
            _report("error", str(error), Format())
            code = FAILED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more as it ends
    sys.exit(code)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwinds the stack, so that a lease is released."""
    if hasattr(signal, "SIGHUP"):  # a closed terminal sends it more than once, and must not end the release
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _failed(error: DotWrapperError, chosen: Format) -> int:
    if isinstance(error, NotInstalled):
        error.hint = _advice() or error.hint
    _report("error", error.message, chosen, error)
    return FAILED


def _advice() -> str | None:
    """What exactly is missing in the database, and the command that installs it."""
    try:
        with database.connect(session.database_url()) as connection:
            return standing(connection).advice
    except (psycopg.Error, EmbeddedServerError):
        return None


def _report(kind: str, message: str, chosen: Format, error: DotWrapperError | None = None) -> None:
    """Why a command failed: lines on standard error, and with --json a document on standard output."""
    print_error(f"{kind}: {message}", style="bold red")
    for label, name in (("detail", "detail"), ("next", "hint"), ("name", "constraint")):
        if said := getattr(error, name, None):
            print_error(f"{label}: {said}")
    for note in getattr(error, "__notes__", ()):
        print_error(note)
    _report_as_json(kind, message, chosen, error)


def _report_as_json(kind: str, message: str, chosen: Format, error: DotWrapperError | None = None) -> None:
    if chosen.as_json:
        details = {name: getattr(error, name, None) for name in ("detail", "hint", "constraint", "sqlstate")}
        with suppress(OSError):  # what failed may be standard output itself, which standard error says
            print_json({"error": {"kind": kind, "message": message, **details}})
