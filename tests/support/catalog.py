"""What the migration tests share: alembic in this process and as a program, psql, and the catalog of a database."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from alembic import command
from alembic.config import CommandLine, Config
from psycopg.rows import dict_row

from dot_wrapper.deploy.frozen_sql import FrozenSql
from dot_wrapper.deploy.transaction import Refused
from dot_wrapper.files import ROOT
from dot_wrapper.operations import drift, embedded
from dot_wrapper.operations.drift_cures import Context
from tools.snapshot import dump, normalise

HEAD = "0005"
NEXT = f"{int(HEAD) + 1:04}"
"""The revision that a test adds."""


def catalog(url: str) -> str:
    """The catalog of a database as text: two are the same exactly where these are equal."""
    return normalise(dump(url))


def version(url: str, table: str = "alembic_version") -> list[str]:
    """The rows of a version table; none where it is not there."""
    if not query(url, "select 1 from pg_tables where schemaname = 'dot' and tablename = %s", table):
        return []
    return [one["version_num"] for one in query(url, f"select version_num from dot.{table}")]


def query(url: str, statement: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows of a statement in a connection of its own, as the login of the URL."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def in_process(run: Callable[[Config], object], url: str = "", section: str = "alembic") -> str:
    """Runs an alembic command in this process and returns what it prints: the script of ``--sql``, or of ``current``."""
    printed = io.StringIO()
    config = Config(str(ROOT / "alembic.ini"), ini_section=section, output_buffer=printed, stdout=printed)
    with pytest.MonkeyPatch.context() as patch, server_errors():
        if url:
            patch.setenv("DATABASE_URL", url)
        run(config)
    return printed.getvalue()


def downgrade(url: str, revision: str = "base", section: str = "alembic") -> None:
    """`alembic downgrade` of the database at the URL."""
    in_process(lambda config: command.downgrade(config, revision), url, section)


def upgrade_script(revisions: str = "head", section: str = "alembic") -> str:
    """What `alembic upgrade --sql` prints."""
    return in_process(lambda config: command.upgrade(config, revisions, sql=True), section=section)


def downgrade_script(revisions: str = "head:base", section: str = "alembic") -> str:
    """What `alembic downgrade --sql` prints."""
    return in_process(lambda config: command.downgrade(config, revisions, sql=True), section=section)


@contextmanager
def server_errors() -> Iterator[None]:
    """Raises what the server said where alembic and SQLAlchemy have wrapped it."""
    try:
        yield
    except Refused as error:
        assert isinstance(error.__cause__, sqlalchemy.exc.DBAPIError)
        assert error.__cause__.orig
        raise error.__cause__.orig from None


def run_alembic(*arguments: str, url: str = "", root: Path = ROOT) -> tuple[int, str]:
    """Runs alembic's command line in this process, as quickly as a function: its exit code, and what it prints."""
    printed = io.StringIO()
    program = CommandLine()
    options = program.parser.parse_args(["-c", str(root / "alembic.ini"), *arguments])
    config = Config(
        options.config[0], ini_section=options.name, cmd_opts=options, stdout=printed, output_buffer=printed
    )
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        if url:
            patch.setenv("DATABASE_URL", url)
        try:
            program.run_cmd(config, options)
        except SystemExit as left:
            return int(left.code or 0) & 255, printed.getvalue()
    return 0, printed.getvalue()


def start_alembic(*arguments: str, url: str, root: Path = ROOT) -> subprocess.Popen[str]:
    """Starts alembic as a program of its own, in a checkout."""
    return start_module("alembic", "-c", str(root / "alembic.ini"), *arguments, url=url, root=root)


def start_module(module: str, *arguments: str, url: str = "", root: Path = ROOT) -> subprocess.Popen[str]:
    """Starts ``python -m module`` in a checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={
            **os.environ,
            **({"DATABASE_URL": url} if url else {}),
            "PYTHONPATH": str(root / "harness"),  # the package of that checkout, not the installed one
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for a program: its exit code, and what it printed."""
    with process:
        printed, _ = process.communicate(timeout=300)
    return process.returncode, printed


def psql(url: str, script: str) -> tuple[int, str]:
    """Runs a script through psql as a DBA would (ON_ERROR_STOP): its exit code, and its errors and notices."""
    program = embedded.bin_folder(18) / "psql"
    done = subprocess.run(
        [str(program), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", url],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def psql_file(url: str, path: Path) -> tuple[int, str]:
    """Runs a file of this checkout through psql."""
    return psql(url, path.read_text(encoding="utf-8"))


def objects(url: str) -> set[str]:
    """Functions and views of schema dot, named by kind: ``functions/fn_is_ref``."""
    found = query(
        url,
        "select 'functions/' || p.proname as name from pg_proc p where p.pronamespace = 'dot'::regnamespace"
        " union select 'views/' || c.relname from pg_class c"
        " where c.relnamespace = 'dot'::regnamespace and c.relkind in ('v', 'm')",
    )
    return {one["name"] for one in found}


def disagreements(url: str, tree: FrozenSql, over: FrozenSql | None = None) -> list[str]:
    """The catalog guard: what of the functions and views in a database is not what ``sql/`` has; empty where all is well.

    Args:
        over: the tree of the amendment, where it is on: its files stand for those of the same name.
    """
    replaced = over.sources() if over else []
    files = {f"{name.partition('/')[0]}/{name.rpartition('/')[2]}": name for name in tree.sources()}
    found = objects(url)
    wrong = [f"{name} is in the database and has no file" for name in sorted(found - files.keys())]
    wrong += [f"sql/{files[name]}.sql is in no database" for name in sorted(files.keys() - found)]
    with psycopg.connect(url, autocommit=True) as connection:
        before = drift.rows(connection)
        with connection.transaction():
            connection.execute("set local role dot_owner")
            for name in tree.sources():
                folder = over.sql if over and name in replaced else tree.sql
                connection.execute((folder / f"{name}.sql").read_bytes())
        after = drift.rows(connection)
        here = Context(connection.info.server_version, connection.info.dbname)
    return wrong + [f"{one.kind} {one.identity}: {one.property}" for one in drift.compare(after, before, here)]
