"""Runs alembic for both sections of alembic.ini: which database, which transaction, what is said meanwhile.

How a transaction begins and ends is SQL (``dot_wrapper.deploy.guards``). One that cannot have a table gives it up sooner than the
server would look for a deadlock, and is then repeated as a whole.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from alembic import context
from alembic.runtime.migration import RevisionStep
from alembic.util.exc import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dot_wrapper.client.database import FORMATS, PIN, connect_for_alembic, libpq
from dot_wrapper.client.errors import READ_ONLY_HINT, NoDatabase
from dot_wrapper.deploy.frozen_sql import statement
from dot_wrapper.deploy.guards import (
    ACT_AS_OWNER,
    BEGIN,
    BEGINS_AT,
    ENTER,
    GIVE_UP_EARLY,
    INSTALLED,
    LEAVE,
    ON_MAIN_LINE,
)
from dot_wrapper.operations import schema

PATIENCE = 60.0
"""Seconds for which a transaction that could not have a table is repeated."""

REPEATABLE = ("55P03", "40P01")
"""lock_not_available and deadlock_detected."""


class Refused(CommandError):
    """The server refused a migration. Alembic prints the message, what was found and what to do, and no SQL.

    Attributes:
        sqlstate: what it refused by; None where the server was lost.
        constraint: the name that tells refusals with one SQLSTATE apart.
    """

    def __init__(self, error: psycopg.Error | BaseException | None) -> None:
        diagnostics = error.diag if isinstance(error, psycopg.Error) else None
        self.sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
        self.constraint = diagnostics and diagnostics.constraint_name
        if diagnostics is None or diagnostics.message_primary is None:
            super().__init__(" ".join(str(error).split()))
            return
        hint = diagnostics.message_hint or (READ_ONLY_HINT if self.sqlstate == "25006" else None)
        said = (
            f"{diagnostics.message_primary} ({self.sqlstate})",
            diagnostics.message_detail and f"detail: {diagnostics.message_detail}",
            hint and f"next: {hint}",
        )
        super().__init__("\n".join(filter(None, said)))


def execute_all(*texts: str) -> None:
    """Executes SQL in this order."""
    for one in texts:
        context.execute(statement(one))


def direction() -> str:
    """``upgrade``, ``downgrade``, or what alembic calls the function of another command."""
    name: str = context.get_context().opts["fn"].__name__
    return name


def steps() -> Sequence[RevisionStep]:
    """What an upgrade or downgrade is about to do; any other command does nothing. Online the version table is read for it."""
    this = context.get_context()
    if direction() not in ("upgrade", "downgrade"):
        return []
    return list(this.opts["fn"](this.get_current_heads(), this))


def in_amendment() -> bool:
    """Whether this command is about the optional amendment (``alembic -n amendment``)."""
    return context.config.config_ini_section == "amendment"


def version_table() -> str:
    """The table in which the section of this command keeps its revision."""
    return "alembic_version_amendment" if in_amendment() else "alembic_version"


def begins_at(heads: Sequence[str]) -> None:
    """A script looks where the database is before it does anything; online alembic has looked."""
    if context.is_offline_mode() and direction() in ("upgrade", "downgrade"):
        revision = f"'{', '.join(heads)}'" if heads else "null::text"
        execute_all(BEGINS_AT.format(table=version_table(), revision=revision))


def enter_amendment() -> None:
    """Begins a transaction of the amendment."""
    execute_all(*BEGIN, ENTER, ACT_AS_OWNER)
    if direction() == "upgrade":
        execute_all(ON_MAIN_LINE.format(head=schema.head()))
    if direction() in ("do_stamp", "do_ensure_version"):
        execute_all(INSTALLED)
    execute_all(GIVE_UP_EARLY)


def next_transaction(after: str) -> None:
    """For a revision of the amendment that must not keep the locks of the one before: what was done so far is committed, and
    the next transaction begins. A program's own transaction goes on: it decides what is committed.

    Args:
        after: the revision that the database is at.

    Raises:
        CommandError: another command has moved the amendment between the two transactions.
    """
    execute_all(LEAVE)
    if not context.get_context().opts.get("in_callers_transaction"):
        execute_all("COMMIT")
        if context.is_offline_mode():
            execute_all("BEGIN")  # online the driver begins it
    enter_amendment()
    if not context.is_offline_mode() and context.get_context().get_current_heads() != (after,):
        raise CommandError("another command has moved the amendment meanwhile: run this one again")
    begins_at([after])


def start(run: Callable[[], None]) -> None:
    """Configures alembic for the database, or for a script, and runs.

    Args:
        run: a deploy, which may be repeated: a transaction that could not have its locks is done again. Nothing comes before it
            in its transaction.

    Raises:
        CommandError: no database is named, it cannot be reached, or the command has no meaning here.
        Refused: the server refused; what it said is the cause.
    """
    options: dict[str, Any] = {"version_table": version_table(), "version_table_schema": "dot"}
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, **options)
        with context.begin_transaction():
            run()
        return
    with _connection() as connection, _notices(connection):
        outside = connection.in_transaction()
        end = time.monotonic() + PATIENCE
        pause = 0.1
        while True:
            context.configure(connection=connection, in_callers_transaction=outside, **options)
            if direction() == "retrieve_migrations":
                raise CommandError(
                    "the wrapper has no SQLAlchemy models to compare a database with: its definition is sql/,"
                    " and `dot-wrapper drift` compares a database with it"
                )
            try:
                with context.begin_transaction():
                    run()
            except DBAPIError as error:
                refused = Refused(error.orig)
                if outside or refused.sqlstate not in REPEATABLE or time.monotonic() > end:
                    raise refused from error
                connection.rollback()
                _say(f"waiting for a lock: {_in_the_way(connection) or 'what held it has just ended'}")
                time.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                return


@contextmanager
def _connection() -> Iterator[Connection]:
    """The connection that a program gave, or one to the database that is named."""
    given = context.config.attributes.get("connection")
    if given is None:
        with connected(_url()) as connection:
            yield connection
        return
    if not isinstance(given, Connection) or given.dialect.name != "postgresql":
        raise CommandError('config.attributes["connection"] is not an SQLAlchemy connection to PostgreSQL')
    if given.in_transaction():
        # The program's own transaction goes on with the settings it had. SHOW looks no name up.
        before = {name: given.exec_driver_sql(f"show {name}").scalar_one() for name in LOCAL_SETTINGS}
        yield given
        for name, value in before.items():
            given.execute(_SET_LOCAL, {"name": name, "value": value})
        return
    try:
        yield given
    finally:
        given.rollback()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection for alembic: ``config.attributes["connection"]``.

    Raises:
        CommandError: the database cannot be reached.
    """
    engine = create_engine("postgresql+psycopg://", creator=partial(connect_for_alembic, url), poolclass=NullPool)
    try:
        connection = engine.connect()
    except DBAPIError as error:  # alembic prints this in one line, and anything else as a traceback
        raise CommandError(f"the database cannot be reached: {' '.join(str(error.orig).split())}") from error
    with connection:
        yield connection


def _url() -> str:
    """The database that this command was pointed at, by the first of these that is there."""
    given = context.get_x_argument(as_dictionary=True)
    if unknown := sorted(given.keys() - {"url"}):
        raise CommandError(f"-x {', '.join(unknown)} is not known: only -x url=... is")
    places = {
        "-x url=": given.get("url"),
        "sqlalchemy.url": context.config.get_main_option("sqlalchemy.url"),
        "DATABASE_URL": os.environ.get("DATABASE_URL"),
    }
    for place, url in places.items():
        if url is not None:
            try:
                return libpq(url, place)
            except NoDatabase as error:
                raise CommandError(f"{error.message}. {error.hint}") from error
    raise CommandError(
        'no database is named: give config.attributes["connection"], -x url=..., sqlalchemy.url in alembic.ini, or DATABASE_URL'
    )


@contextmanager
def _notices(connection: Connection) -> Iterator[None]:
    """What the server says while it works appears as it says it: what a deploy waits for, what it found."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        yield
        return

    def tell(notice: psycopg.errors.Diagnostic) -> None:
        hint = f" ({notice.message_hint})" if notice.message_hint else ""
        _say(f"{str(notice.severity).lower()}: {notice.message_primary}{hint}")

    driver.add_notice_handler(tell)
    try:
        yield
    finally:
        driver.remove_notice_handler(tell)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


LOCAL_SETTINGS = (
    "search_path",
    "standard_conforming_strings",
    "client_min_messages",
    "quote_all_identifiers",
    "lock_timeout",
)
_SET_LOCAL = text("select pg_catalog.set_config(:name, :value, true)")

# Who holds a lock on a table or view of the wrapper, and since when. A prepared transaction has no process.
_IN_THE_WAY = text("""
select string_agg(format('%s, open since %s, uses %s', h.holder, h.since::timestamptz(0), h.relations), '; ')
from (
    select coalesce(
            'prepared transaction ' || p.gid, format('pid %s (%s, %s)', l.pid, a.usename, a.application_name)
        ) as holder,
        coalesce(p.prepared, a.xact_start) as since,
        string_agg(distinct l.relation::regclass::text, ', ') as relations
    from pg_locks l
    join pg_class c on c.oid = l.relation and c.relkind in ('r', 'v')
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'dot'
    left join pg_stat_activity a on a.pid = l.pid
    left join pg_locks x on l.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
    left join pg_prepared_xacts p on p.transaction = x.transactionid
    where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
    group by 1, 2
) h
""")


def _in_the_way(connection: Connection) -> str | None:
    connection.exec_driver_sql(f"{PIN}; select {FORMATS}")
    found: str | None = connection.execute(_IN_THE_WAY).scalar()
    connection.rollback()
    return found
