"""``upgrade`` and ``db``: the schema, and the embedded server."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import psycopg
import sqlalchemy.exc
import typer
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from harness import database, embedded
from harness.cli.output import Json, print_json, say
from harness.errors import from_database

ROOT = Path(__file__).resolve().parents[2]

db = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL: for a machine that has no server.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command()(upgrade)
    app.add_typer(db, name="db")


def upgrade(
    sql: Annotated[bool, typer.Option("--sql", help="Print the script instead of running it.")] = False,
    as_json: Json = False,
) -> None:
    """Install the wrapper or bring its schema to the newest revision (`alembic upgrade head`).

    Example: DATABASE_URL=postgresql://deployer@db/prod dot-wrapper upgrade
    """
    config = Config(str(ROOT / "alembic.ini"))
    if sql:
        command.upgrade(config, "head", sql=True)
        return
    try:
        before = _revision()
        with redirect_stdout(io.StringIO()):
            command.upgrade(config, "head")
    except psycopg.Error as error:
        raise from_database(error) from error
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise from_database(error.orig) from error
        raise
    after = ScriptDirectory.from_config(config).get_current_head()
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        say(f"The schema is at revision {after} already.")
    else:
        say(f"The schema is at revision {after} (before: {before or 'none'}).")


def _revision() -> str | None:
    """The revision the database is at: None where the wrapper is not installed, ``unknown`` where this login may not look."""
    with database.connect() as connection:
        installed = connection.execute("select to_regclass('dot.alembic_version') is not null").fetchone()
        if installed == (False,):
            return None
        try:
            with database.transaction(connection, "dot_owner"):
                found = connection.execute("select version_num from dot.alembic_version").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return "unknown"
    return str(found[0]) if found else None


@db.command()
def start(as_json: Json = False) -> None:
    """Start the embedded server; it runs until `dot-wrapper db stop`.

    Example: dot-wrapper db start
    """
    url = embedded.start()
    if as_json:
        print_json({"running": True, "url": url})
    else:
        say(f"running: {url}")


@db.command()
def stop(as_json: Json = False) -> None:
    """Stop the embedded server; its data stays.

    Example: dot-wrapper db stop
    """
    stopped = embedded.stop()
    if as_json:
        print_json({"running": False, "stopped": stopped})
    else:
        say("stopped" if stopped else "was not running")


@db.command()
def url(as_json: Json = False) -> None:
    """Print the connection URL of the embedded server, starting it where needed.

    Example: psql "$(dot-wrapper db url)"
    """
    found = embedded.start()
    if as_json:
        print_json({"url": found})
    else:
        typer.echo(found)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the embedded server; further arguments are psql's.

    Example: dot-wrapper db psql -c 'select * from dot.v_process_verification_v3'
    """
    program = embedded.bin_folder() / "psql"
    os.execv(program, [str(program), embedded.start(), *context.args])  # noqa: S606  psql takes this process's place
