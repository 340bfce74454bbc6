"""Connections to the database that ``DATABASE_URL`` names, and transactions on them.

``DATABASE_URL`` is a ``postgresql://`` URL or any libpq connection string, so ``sslmode``, sockets and ``PGSERVICE`` work as in libpq.
There is no default: only ``dot-wrapper`` and ``make run`` fall back to the embedded server (see ``dot_wrapper.cli.session``).
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.datetime import TimestamptzLoader

from dot_wrapper.client.errors import ForeignSchema, NoDatabase

AsyncConnection = psycopg.AsyncConnection[Any]

PIN: Final = "set local search_path = pg_catalog, pg_temp"
"""The first statement of every transaction. A database's owner can create functions where unqualified names are looked up first, and
they would run with the rights of this login. SET itself looks up no name."""

# A foreign schema of that name would run foreign code, which can leave a role that is set for a transaction.
_IS_OURS: Final = "not exists (select from pg_namespace n where n.nspname = 'dot' and n.nspowner is distinct from to_regrole('dot_owner'))"

_FORMATS: Final = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
}
FORMATS: Final = ", ".join(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in _FORMATS.items())
"""How values are sent, in every transaction of ours, whatever the database or the login has set: what psycopg reads, with nothing
lost, and times in UTC. For the transaction alone, because a session may be a pooler's. What a SELECT is made of."""

# Sent as one query, which is one transaction.
_BACKEND: Final = f"{PIN}; select pg_catalog.pg_backend_pid()"

# The same for a whole session, which no pooler lends to another client; and the roles that its login has without SET ROLE. A
# superuser and the owner have every right: their calls are made as the one role that each needs.
_SESSION: Final = "; ".join(
    (
        "set search_path = pg_catalog, pg_temp",
        "select set_config('synchronous_commit', case setting when 'off' then 'on' else setting end, false)"
        " from pg_settings where name = 'synchronous_commit'",
        "select " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _FORMATS.items()),
        "select r.rolname from pg_namespace as n"
        " join pg_roles as r on starts_with(r.rolname, 'dot_') and pg_has_role(r.oid, 'usage')"
        " where n.nspname = 'dot' and n.nspowner = to_regrole('dot_owner') and not pg_has_role(n.nspowner, 'usage')",
    )
)


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection of the wrapper's own.

    Attributes:
        inherited: the wrapper's roles whose calls may be made as the login itself, each as one statement. The session then has the
            settings that ``transaction`` makes otherwise. Empty where a pooler is in between, and for the owner and superusers.
    """

    inherited: frozenset[str] = frozenset()


class AsyncSession(psycopg.AsyncConnection[tuple[Any, ...]]):
    """``Session`` for asyncio."""

    inherited: frozenset[str] = frozenset()


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
        NoDatabase: it is not set, empty, or no connection string.
    """
    url = os.environ.get("DATABASE_URL")
    if url is None:
        raise NoDatabase(
            "no database is named", hint="Set DATABASE_URL; the embedded server's is `dot-wrapper db url`."
        )
    return libpq(url, "DATABASE_URL")


def libpq(url: str, source: str) -> str:
    """A connection string for libpq: the name of the driver in SQLAlchemy's form is removed.

    Args:
        source: where the string was found, for the message.

    Raises:
        NoDatabase: it is empty, for which libpq would use its defaults; or it is mistyped. libpq's own message quotes what it cannot
            read, which may be the password, so the message here repeats nothing of the string.
    """
    if not url.strip():
        raise NoDatabase(
            f"{source} is empty", hint="Name a database (postgresql:// is libpq's default one), or leave it out."
        )
    target = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", url)
    if problem := _problem(target):
        raise NoDatabase(f"{source} {problem}", hint=_URL)
    return target


_URL: Final = (
    "A URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in user and password write % as %25, @ as %40, / as %2F,"
    " a space as %20."
)


def _problem(target: str) -> str | None:
    """What is wrong with a connection string; None where libpq reads it as it is meant."""
    begins = re.match(r"([\s'\"]*)([a-z][\w+.-]*)://", target, re.IGNORECASE)
    if begins and begins[1]:
        return "begins with a space or a quote"
    if begins and begins[2] not in ("postgresql", "postgres"):
        return "does not begin with postgresql://"
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(target).items()}
    except (psycopg.ProgrammingError, UnicodeEncodeError):
        return "cannot be read, neither as a URL nor as KEYWORD=VALUE"
    named = [parts.get(name, "") for name in ("host", "dbname", "user", "service")]
    if any("://" in one for one in named):
        return "has a URL in one of its parts"
    # An @ or / in a password ends it: libpq takes the rest for the host, the port or the database, which errors name.
    path = target[begins.end() :].partition("?")[0].partition("/")[2] if begins else ""
    hosts = parts.get("host", "").split(",")
    if "@" in path or any("@" in one[1:] for one in hosts) or not re.fullmatch(r"[\d,]*", parts.get("port", "")):
        return "has a port that is no number, or an @ or / in its password"
    return None


def connect(url: str | None = None, application_name: str = "dot-wrapper") -> Session:
    """Opens a connection in autocommit mode: each block of ``transaction`` is one transaction, and none stays open.

    Raises:
        NoDatabase: ``url`` is empty or no connection string; or it is None, and ``DATABASE_URL`` is not set, empty or none.
        psycopg.OperationalError: the server cannot be reached.
    """
    with _as_operational_error():
        session = Session.connect(
            _target(url), autocommit=True, client_encoding="utf8", application_name=application_name
        )
    session.adapters.register_loader("timestamptz", _Time)
    try:
        if is_direct(session):
            cursor = session.execute(_SESSION)
            while cursor.nextset():
                pass
            session.inherited = frozenset(name for name, *_ in cursor.fetchall())
        else:
            session.prepare_threshold = None
    except psycopg.Error:
        session.close()
        raise
    return session


async def connect_async(url: str | None = None) -> AsyncSession:
    """``connect`` for asyncio."""
    with _as_operational_error():
        session = await AsyncSession.connect(
            _target(url), autocommit=True, client_encoding="utf8", application_name="dot-wrapper"
        )
    session.adapters.register_loader("timestamptz", _Time)
    try:
        if await is_direct_async(session):
            cursor = await session.execute(_SESSION)
            while cursor.nextset():
                pass
            session.inherited = frozenset(name for name, *_ in await cursor.fetchall())
        else:
            session.prepare_threshold = None
    except psycopg.Error:
        await session.close()
        raise
    return session


def _target(url: str | None) -> str:
    return conninfo() if url is None else libpq(url, "the connection string")


def connect_for_alembic(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Opens a connection for SQLAlchemy: not in autocommit mode, so the first statement begins a transaction."""
    connection = connect(url, application_name="dot-wrapper alembic")
    connection.autocommit = False
    connection.execute(PIN)  # the transaction stays open: the first queries of SQLAlchemy run in it
    return connection


@contextmanager
def _as_operational_error() -> Iterator[None]:
    """Reports a setting of a connection string that psycopg cannot use as a server that cannot be reached."""
    try:
        yield
    except psycopg.ProgrammingError as error:
        raise psycopg.OperationalError(str(error)) from error


def is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether no pooler is between client and server.

    A pooler reports a process id of its own. Each transaction may run in another server process, which does not know the statements
    that were prepared before.
    """
    cursor = connection.execute(_BACKEND)
    cursor.nextset()
    return cursor.fetchone() == (connection.info.backend_pid,)


async def is_direct_async(connection: AsyncConnection) -> bool:
    """``is_direct`` for asyncio."""
    cursor = await connection.execute(_BACKEND)
    cursor.nextset()
    return await cursor.fetchone() == (connection.info.backend_pid,)


@contextmanager
def reading(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """One read-only transaction as the login itself."""
    with connection.transaction():
        connection.execute(f"{PIN}; set transaction read only; select {FORMATS}")
        yield connection


@contextmanager
def transaction(connection: psycopg.Connection[Any], role: str) -> Iterator[psycopg.Connection[Any]]:
    """One transaction as one of the wrapper's roles.

    The role is set for the transaction: a session's role would leak through a pool. An acknowledged write must survive a crash, so
    ``synchronous_commit`` is set to on if the session has it off.

    Raises:
        ForeignSchema: schema dot does not belong to dot_owner.
    """
    with connection.transaction():
        _require_own_schema(connection.execute(_as_role(role)))
        yield connection


@asynccontextmanager
async def transaction_async(connection: AsyncConnection, role: str) -> AsyncIterator[AsyncConnection]:
    """``transaction`` for asyncio."""
    async with connection.transaction():
        _require_own_schema(await connection.execute(_as_role(role)))
        yield connection


def transaction_of_call(connection: psycopg.Connection[Any], role: str) -> AbstractContextManager[object]:
    """``transaction`` for one statement, which is sent alone where the session allows it."""
    return nullcontext() if _is_inherited(connection, role) else transaction(connection, role)


def transaction_of_call_async(connection: AsyncConnection, role: str) -> AbstractAsyncContextManager[object]:
    """``transaction_of_call`` for asyncio."""
    return nullcontext() if _is_inherited(connection, role) else transaction_async(connection, role)


def _is_inherited(connection: psycopg.Connection[Any] | AsyncConnection, role: str) -> bool:
    return isinstance(connection, Session | AsyncSession) and connection.autocommit and role in connection.inherited


def _as_role(role: str) -> sql.Composed:
    return sql.SQL(
        "{}; set local role {}; select {}, case current_setting('synchronous_commit')"
        " when 'off' then set_config('synchronous_commit', 'on', true) end, {}"
    ).format(sql.SQL(PIN), sql.Identifier(role), sql.SQL(_IS_OURS), sql.SQL(FORMATS))


def _require_own_schema(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Checks that schema dot belongs to the wrapper, before anything in it is read or called."""
    while cursor.nextset():
        pass
    if cursor.pgresult is None or cursor.pgresult.get_value(0, 0) != b"t":
        raise ForeignSchema(
            "schema dot does not belong to dot_owner: nothing of it was read or called",
            hint="It is a foreign schema, or a restore gave it to another role: docs/howto/moving.md.",
        )
