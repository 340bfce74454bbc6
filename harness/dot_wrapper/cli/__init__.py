"""The command line, ``dot-wrapper``. ``docs/reference/cli.md`` has each command with its output, its JSON, and the exit codes."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import psycopg
import typer

from dot_wrapper.cli import (
    catalogue,
    doctor,
    drift,
    outbox,
    recording,
    restored,
    runs,
    server,
    session,
    switches,
    verdicts,
)
from dot_wrapper.cli.exit_codes import BAD_INPUT, DONE, FAILED, FOUND, INTERRUPTED, REFUSED, TERMINATED
from dot_wrapper.cli.output import complain, print_json
from dot_wrapper.client.errors import DotWrapperError, InputError, NotInstalled, Refusal, from_database
from dot_wrapper.operations.drift import standing
from dot_wrapper.operations.embedded import EmbeddedServerError

__all__ = ["BAD_INPUT", "DONE", "FAILED", "FOUND", "REFUSED", "app", "main", "run"]

app = typer.Typer(
    name="dot-wrapper",
    help="Record what DOT runs did, and see what is verified. The database is DATABASE_URL, else an embedded PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (server, catalogue, recording, runs, verdicts, switches, outbox, doctor, drift, restored):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; nothing a user can cause ends in a traceback."""
    as_json = "--json" in arguments
    try:
        app(list(arguments), prog_name="dot-wrapper")
    except SystemExit as end:  # how Typer ends every command, good or bad
        code = end.code if isinstance(end.code, int) else DONE if end.code is None else FAILED
        if code in (INTERRUPTED, TERMINATED):
            complain("interrupted: what was committed stays, and the same command goes on from there")
        return code
    except InputError as error:
        _say("input", str(error), as_json)
        return BAD_INPUT
    except Refusal as refusal:
        _say("refused", refusal.message, as_json, refusal)
        return REFUSED
    except DotWrapperError as error:
        return _failed(error, as_json)
    except psycopg.Error as error:
        return _failed(from_database(error), as_json)
    except UnicodeDecodeError:
        _say("error", "a name in the catalog is in the encoding of another database of this server", as_json)
        return FAILED
    except UnicodeEncodeError as error:
        _say("input", f"{error.object!a} is not text that can be stored", as_json)
        return BAD_INPUT
    except (EmbeddedServerError, OSError) as error:
        _say("error", str(error), as_json)
        return FAILED
    return DONE


def main() -> None:
    """Entry point of ``dot-wrapper``. A terminal that cannot show a character gets its escape, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # What psycopg has to say of a connection that was lost is said by the error that follows, or was mended by a retry.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    signal.signal(signal.SIGTERM, _terminated)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # of what was buffered a full disk tells only now
        if code == DONE:
            _say("error", str(error), as_json=False)
            code = FAILED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter tries again as it ends
    sys.exit(code)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Ends as an error does, so that a lease is given back."""
    raise SystemExit(TERMINATED)


def _failed(error: DotWrapperError, as_json: bool) -> int:
    if isinstance(error, NotInstalled):
        error.hint = _advice() or error.hint
    _say("error", error.message, as_json, error)
    return FAILED


def _advice() -> str | None:
    """What exactly is missing, where something that was called is not there."""
    try:
        with session.connect() as connection:
            return standing(connection).advice
    except (psycopg.Error, EmbeddedServerError):
        return None


def _say(kind: str, message: str, as_json: bool, error: DotWrapperError | None = None) -> None:
    """Why a command ended: lines on standard error, and with --json the same for programs on standard output."""
    details = {name: getattr(error, name, None) for name in ("detail", "hint", "constraint", "sqlstate")}
    complain(f"{kind}: {message}", style="bold red")
    for label, name in (("detail", "detail"), ("next", "hint"), ("name", "constraint")):
        if details[name]:
            complain(f"{label}: {details[name]}")
    for note in getattr(error, "__notes__", ()):
        complain(note)
    if as_json:
        print_json({"error": {"kind": kind, "message": message, **details}})
