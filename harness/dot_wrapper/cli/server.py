"""``upgrade``, ``version`` and ``db``: the schema, and the embedded server."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from importlib import metadata
from typing import Annotated, Final

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from dot_wrapper.cli.exit_codes import FAILED
from dot_wrapper.cli.output import Json, print_error, print_json, say
from dot_wrapper.cli.session import connect, database_url
from dot_wrapper.client.errors import DotWrapperError, InputError, from_database
from dot_wrapper.files import ROOT
from dot_wrapper.operations import drift, embedded, schema

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL: for a machine that has no server.")
app.add_typer(db, name="db")


@app.command()
def upgrade(
    sql: Annotated[bool, typer.Option("--sql", help="Print the script instead of running it.")] = False,
    as_json: Json = False,
) -> None:
    """Install the wrapper or bring its schema to the newest revision (`alembic upgrade head`).

    Example: dot-wrapper upgrade --sql
    """
    if sql and as_json:
        raise InputError("--sql and --json exclude each other")
    # Imported here, because importing alembic takes half a second.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import DBAPIError

    from dot_wrapper.deploy import transaction as deploy

    config = Config(str(ROOT / "alembic.ini"))
    if sql:
        command.upgrade(config, "head", sql=True)
        return
    try:
        with connect() as connection:
            before = schema.state(connection).installed
        if before != schema.head():
            with deploy.connected(database_url()) as config.attributes["connection"], redirect_stdout(io.StringIO()):
                command.upgrade(config, "head")
    except psycopg.Error as error:
        raise from_database(error) from error
    except CommandError as error:
        if isinstance(error.__cause__, DBAPIError) and isinstance(error.__cause__.orig, psycopg.Error):
            raise from_database(error.__cause__.orig) from error
        raise DotWrapperError(str(error)) from error
    after = schema.head()
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        say(f"The schema is at revision {after} already.")
    else:
        say(f"The schema is at revision {after} (before: {before or 'none'}).")


@app.command()
def version(as_json: Json = False) -> None:
    """Print the versions of software and schema, and what to do when they do not match (exit code 1).

    Example: dot-wrapper version --json
    """
    with connect() as connection:
        standing = drift.standing(connection)
        server = connection.info.parameter_status("server_version")
    software = metadata.version("dot-wrapper")
    found = standing.state
    if as_json:
        print_json(
            {
                "software": software,
                "revision_needed": found.software,
                "revision_installed": found.installed,
                "in_step": standing.in_step,
                "differing": standing.differing,
                "amendment": found.amendment,
                "advice": standing.advice,
                "server_version": server,
            }
        )
    else:
        say(f"dot-wrapper {software}, schema revision {found.software}")
        say(f"database: schema revision {found.installed or 'none'}, PostgreSQL {server}")
        if found.amendment != "off":
            say(f"the optional amendment is {found.amendment}")
        say(standing.advice or "in step")
    if not standing.in_step:
        raise typer.Exit(FAILED)


@db.command()
def start(as_json: Json = False) -> None:
    """Start the embedded server; it runs until `dot-wrapper db stop`.

    Example: dot-wrapper db start
    """
    _warn_if_database_url()
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
    _warn_if_database_url()
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
    _warn_if_database_url()
    found = embedded.start()
    if as_json:
        print_json({"url": found})
    else:
        typer.echo(found)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the embedded server; further arguments are psql's.

    \b
    Example: dot-wrapper db psql \\
        -c 'select * from dot.v_process_verification_v3'
    """
    _warn_if_database_url()
    program = embedded.bin_folder() / "psql"
    server = conninfo_to_dict(embedded.start())
    # As psql's defaults, which -U and -d overrule: a connection string would overrule them.
    defaults = {_LIBPQ[name]: str(value) for name, value in server.items()}
    environment = {**embedded.without_libpq_settings(os.environ), **defaults}
    os.execve(program, [str(program), *context.args], environment)  # noqa: S606  psql replaces this process


_LIBPQ: Final = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}
"""The environment variable of each setting of the embedded server's connection string."""


def _warn_if_database_url() -> None:
    if "DATABASE_URL" in os.environ:
        print_error("this is the embedded server: DATABASE_URL is set, and `dot-wrapper db` does not use it")
