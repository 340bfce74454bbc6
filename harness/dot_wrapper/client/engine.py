"""Lends psycopg connections of a SQLAlchemy engine's pool, each for one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, TimeoutError

from dot_wrapper.client import database
from dot_wrapper.client.errors import DatabaseUnavailable, DotWrapperError

if TYPE_CHECKING:  # its import needs greenlet, which a program that waits need not have
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

C = TypeVar("C", psycopg.Connection[Any], psycopg.AsyncConnection[Any])

_IS_DIRECT = "dot_wrapper_is_direct"
"""The key under which ``Connection.info`` keeps, for as long as the connection lives, that no pooler is in between."""


def engine_of_sessions(size: int, url: str | None) -> Engine:
    """An engine whose pool has at most ``size`` connections, each made by ``dot_wrapper.client.database.connect``."""
    return create_engine(
        "postgresql+psycopg://", creator=partial(database.connect, url), pool_size=size, max_overflow=0
    )


def engine_of_async_sessions(size: int, url: str | None) -> AsyncEngine:
    """``engine_of_sessions`` for asyncio."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def creator() -> psycopg.AsyncConnection[Any]:
        return await database.connect_async(url)

    return create_async_engine("postgresql+psycopg://", async_creator=creator, pool_size=size, max_overflow=0)


class EnginePool:
    """The pool of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lent: dict[psycopg.Connection[Any], tuple[Connection, int | None]] = {}

    def borrow(self) -> psycopg.Connection[Any]:
        """A connection that is in no transaction.

        Raises:
            psycopg.Error: the server cannot be reached.
            DatabaseUnavailable: no connection was free in time.
            DotWrapperError: the engine's driver is not psycopg, or its client encoding is not UTF-8.
        """
        with _as_psycopg():
            lent = self._engine.connect()
        try:
            connection = _psycopg(lent.connection.driver_connection, psycopg.Connection)
            threshold = connection.prepare_threshold
            if _IS_DIRECT not in lent.info:
                with connection.transaction():
                    lent.info[_IS_DIRECT] = database.is_direct(connection)
            if not lent.info[_IS_DIRECT]:
                connection.prepare_threshold = None
        except BaseException:
            lent.close()
            raise
        self._lent[connection] = (lent, threshold)
        return connection

    def give_back(self, connection: psycopg.Connection[Any]) -> None:
        """Gives a borrowed connection back to the pool, which forgets it if it was lost."""
        lent, connection.prepare_threshold = self._lent.pop(connection)
        if connection.closed:
            lent.invalidate()
        lent.close()


class AsyncEnginePool:
    """The pool of an asynchronous engine: as ``EnginePool``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lent: dict[psycopg.AsyncConnection[Any], tuple[AsyncConnection, int | None]] = {}

    async def borrow(self) -> psycopg.AsyncConnection[Any]:
        """A connection that is in no transaction: as ``EnginePool.borrow``."""
        with _as_psycopg():
            lent = await self._engine.connect()
        try:
            connection = _psycopg((await lent.get_raw_connection()).driver_connection, psycopg.AsyncConnection)
            threshold = connection.prepare_threshold
            info = lent.sync_connection.info if lent.sync_connection else {}
            if _IS_DIRECT not in info:
                async with connection.transaction():
                    info[_IS_DIRECT] = await database.is_direct_async(connection)
            if not info[_IS_DIRECT]:
                connection.prepare_threshold = None
        except BaseException:
            await lent.close()
            raise
        self._lent[connection] = (lent, threshold)
        return connection

    async def give_back(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Gives a borrowed connection back to the pool, which forgets it if it was lost."""
        lent, connection.prepare_threshold = self._lent.pop(connection)
        if connection.closed:
            await lent.invalidate()
        await lent.close()


@contextmanager
def _as_psycopg() -> Iterator[None]:
    """Raises the errors of psycopg that SQLAlchemy wraps."""
    try:
        yield
    except DBAPIError as error:
        raise error.orig or error from error
    except TimeoutError as error:
        raise DatabaseUnavailable(
            f"no connection of the engine's pool is free: {error.args[0]}",
            hint="Give it more: pool_size or max_overflow of an engine, size of Ledger.pool.",
        ) from error


def _psycopg(connection: object, kind: type[C]) -> C:
    """A connection of a pool, if it is one of psycopg and in UTF-8."""
    if not isinstance(connection, kind):
        raise DotWrapperError(
            "the engine's driver is not psycopg", hint="Use a URL that begins with postgresql+psycopg://."
        )
    if connection.info.encoding != "utf-8":
        raise DotWrapperError(
            f"the engine's connections use the encoding {connection.info.encoding}, and not UTF-8",
            hint="Pass client_encoding='utf8' to create_engine.",
        )
    return connection
