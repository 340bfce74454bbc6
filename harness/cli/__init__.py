"""The command line, ``dot-wrapper``. ``docs/cli.md`` has each command with its output, its JSON, and the exit codes.

Exit codes: 0 done; 1 the database or the machine does not allow it; 2 bad use or bad input; 3 the wrapper refused.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import psycopg
import typer

from harness import database, schema
from harness.cli import catalogue, outbox, recording, runs, server, switches, verdicts
from harness.cli.output import stderr
from harness.embedded import EmbeddedServerError
from harness.errors import DotWrapperError, InputError, NotInstalled, Refusal

DONE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3

app = typer.Typer(
    name="dot-wrapper",
    help="Record what DOT runs did, and see what is verified. The database is DATABASE_URL, else an embedded PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (server, catalogue, recording, runs, verdicts, switches, outbox):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; nothing a user can cause ends in a traceback."""
    try:
        app(list(arguments), prog_name="dot-wrapper")
    except SystemExit as end:  # how Typer ends every command, good or bad
        return end.code if isinstance(end.code, int) else DONE if end.code is None else FAILED
    except InputError as error:
        _say("input", str(error))
        return BAD_INPUT
    except Refusal as refusal:
        _say("refused", refusal.message, refusal)
        return REFUSED
    except DotWrapperError as error:
        if isinstance(error, NotInstalled):
            error.hint = _advice() or error.hint
        _say("error", error.message, error)
        return FAILED
    except EmbeddedServerError as error:
        _say("error", str(error))
        return FAILED
    except UnicodeEncodeError as error:
        _say("input", f"{error.object!a} is not text that can be stored")
        return BAD_INPUT
    except OSError as error:
        _say("error", str(error))
        return FAILED
    return DONE


def main() -> None:
    """Entry point of ``dot-wrapper``. A terminal that cannot show a character gets its escape, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def _advice() -> str | None:
    """What exactly is missing, where something that was called is not there."""
    try:
        with database.connect() as connection:
            return schema.state(connection).advice
    except (psycopg.Error, EmbeddedServerError):
        return None


def _say(kind: str, message: str, error: DotWrapperError | None = None) -> None:
    stderr.print(f"{kind}: {message}", style="bold red", soft_wrap=True)
    for label, text in (
        ("detail", error and error.detail),
        ("next", error and error.hint),
        ("name", error and error.constraint),
    ):
        if text:
            stderr.print(f"{label}: {text}", soft_wrap=True)
    for note in getattr(error, "__notes__", ()):
        stderr.print(note, soft_wrap=True)
