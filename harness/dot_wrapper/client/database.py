"""Connections to the database that ``DATABASE_URL`` names.

It is a ``postgresql://`` URL or any libpq connection string, so ``sslmode``, sockets and ``PGSERVICE`` work as libpq has them.
Nothing else is ever connected to by default: only ``dot-wrapper`` and ``make run`` fall back to the embedded server (see
``dot_wrapper.cli.session``).
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

from dot_wrapper.client.errors import ForeignSchema, NoDatabase

AsyncConnection = psycopg.AsyncConnection[Any]

PIN: Final = "set local search_path = pg_catalog, pg_temp"
"""The first statement of every transaction of ours. A database's owner can put functions of its own where an unqualified name is
looked up first, and they would run with the rights of the login that looks. SET itself looks nothing up."""

# A stranger's schema of that name would run the stranger's code, and a role that is set for a transaction can be left by it.
_IS_OURS: Final = "not exists (select from pg_namespace n where n.nspname = 'dot' and n.nspowner is distinct from to_regrole('dot_owner'))"

FORMATS: Final = ", ".join(
    f"pg_catalog.set_config('{name}', '{value}', true)"
    for name, value in {
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "array_nulls": "on",
        "transform_null_equals": "off",
        "quote_all_identifiers": "off",
    }.items()
)
"""How values are sent, in every transaction of ours, whatever the database or the login has set: what psycopg reads, with nothing
lost, and times in UTC. For the transaction alone, because a session may be a pooler's. What a SELECT is made of."""

# Sent as one query, which is one transaction.
_BACKEND: Final = f"{PIN}; select pg_catalog.pg_backend_pid()"


class _Time(TimestamptzLoader):
    """A host's tables may hold times that Python has none for: ``infinity``, or a year outside 1 to 9999. They come as PostgreSQL's text,
    in UTC."""

    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


def conninfo() -> str:
    """The connection string in ``DATABASE_URL``.

    Raises:
        NoDatabase: it is not set, or empty.
    """
    url = os.environ.get("DATABASE_URL")
    if url is None:
        raise NoDatabase(
            "no database is named", hint="Set DATABASE_URL; the embedded server's is `dot-wrapper db url`."
        )
    return libpq(url, "DATABASE_URL")


def libpq(url: str, source: str) -> str:
    """A connection string as libpq takes it: SQLAlchemy's form names a driver, libpq's has none.

    Args:
        source: where the string was found, for the message.

    Raises:
        NoDatabase: it is empty, which libpq would take for its defaults.
    """
    if not url.strip():
        raise NoDatabase(f"{source} is empty: name a database (postgresql:// is libpq's default one), or leave it out")
    return re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", url)


def connect(url: str | None = None, application_name: str = "dot-wrapper") -> psycopg.Connection[tuple[Any, ...]]:
    """Opens a connection in autocommit mode: each ``transaction`` block below is one transaction, nothing is left open."""
    with _one_kind_of_failure():
        connection = psycopg.connect(
            _target(url), autocommit=True, client_encoding="utf8", application_name=application_name
        )
    connection.adapters.register_loader("timestamptz", _Time)
    try:
        cursor = connection.execute(_BACKEND)
        cursor.nextset()
        _prepare_unless_pooled(connection, cursor.fetchone())
    except psycopg.Error:
        connection.close()
        raise
    return connection


async def connect_async(url: str | None = None) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """``connect`` for asyncio."""
    with _one_kind_of_failure():
        connection = await psycopg.AsyncConnection.connect(
            _target(url), autocommit=True, client_encoding="utf8", application_name="dot-wrapper"
        )
    connection.adapters.register_loader("timestamptz", _Time)
    try:
        cursor = await connection.execute(_BACKEND)
        cursor.nextset()
        _prepare_unless_pooled(connection, await cursor.fetchone())
    except psycopg.Error:
        await connection.close()
        raise
    return connection


def _target(url: str | None) -> str:
    return conninfo() if url is None else libpq(url, "the connection string")


def connect_for_alembic(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection as SQLAlchemy expects one: transactions begin by themselves."""
    connection = connect(url, application_name="dot-wrapper alembic")
    connection.autocommit = False
    # In the transaction that stays open: what SQLAlchemy asks of a new connection runs in it.
    connection.execute(PIN)
    return connection


@contextmanager
def _one_kind_of_failure() -> Iterator[None]:
    """A connection string that libpq cannot read is a server that cannot be reached, as far as a caller is concerned."""
    try:
        yield
    except psycopg.ProgrammingError as error:
        raise psycopg.OperationalError(str(error)) from error


def _prepare_unless_pooled(
    connection: psycopg.Connection[Any] | AsyncConnection, backend: tuple[Any, ...] | None
) -> None:
    """A pooler answers with a process id of its own, and the next transaction may be another server process, where what was
    prepared is not known: then nothing is prepared."""
    if backend != (connection.info.backend_pid,):
        connection.prepare_threshold = None


@contextmanager
def reading(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """One transaction that reads what every login may read, as the login itself."""
    with connection.transaction():
        connection.execute(f"{PIN}; set transaction read only; select {FORMATS}")
        yield connection


@contextmanager
def transaction(connection: psycopg.Connection[Any], role: str) -> Iterator[psycopg.Connection[Any]]:
    """One transaction as one of the wrapper's roles.

    The role is set for the transaction alone: a session's would leak through a transaction pooler. An acknowledged write must
    survive a crash, so ``synchronous_commit`` is not left off, whatever the session says.
    """
    with connection.transaction():
        _demand_ours(connection.execute(_as_role(role)))
        yield connection


@asynccontextmanager
async def transaction_async(connection: AsyncConnection, role: str) -> AsyncIterator[AsyncConnection]:
    """``transaction`` for asyncio."""
    async with connection.transaction():
        _demand_ours(await connection.execute(_as_role(role)))
        yield connection


def _as_role(role: str) -> sql.Composed:
    return sql.SQL(
        "{}; set local role {}; select {}, case current_setting('synchronous_commit')"
        " when 'off' then set_config('synchronous_commit', 'on', true) end, {}"
    ).format(sql.SQL(PIN), sql.Identifier(role), sql.SQL(_IS_OURS), sql.SQL(FORMATS))


def _demand_ours(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Nothing of schema dot is read or called where it is not the wrapper's."""
    while cursor.nextset():
        pass
    if cursor.pgresult is None or cursor.pgresult.get_value(0, 0) != b"t":
        raise ForeignSchema(
            "schema dot does not belong to dot_owner: nothing of it was read or called",
            hint="It is a stranger's, or a restore gave it to another role: docs/howto/moving.md.",
        )
