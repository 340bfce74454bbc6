"""Typed calls of the wrapper's functions: one method per function, one transaction per call, as the one role it needs.

A login that inherits this role, on a connection of the ledger's own, makes the call as itself and in one statement.

The database checks every rule. This module adds types (``dot_wrapper.client.calls``), exceptions (``dot_wrapper.client.errors``) and a
bounded retry of what is safe to repeat: serialization failures, deadlocks, and lost connections if the call has an idempotency key.

``Ledger`` is for programs that wait, ``AsyncLedger`` for programs on asyncio. The order of the work and the methods are written once;
each class adds how it connects, waits and makes one transaction.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from functools import partial, update_wrapper
from itertools import count, islice
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Generic, LiteralString, ParamSpec, Self, TypeVar, get_args, overload

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from dot_wrapper.client import calls, database, reads
from dot_wrapper.client.calls import Call, Observation, ObservedLine, Parameters, Steps
from dot_wrapper.client.errors import (
    DatabaseUnavailable,
    InputError,
    LedgerInUse,
    from_database,
    is_retryable,
    is_stale_plan,
)
from dot_wrapper.client.steps import Pause, drive, drive_async

if TYPE_CHECKING:
    from sqlalchemy import Engine, Select
    from sqlalchemy.ext.asyncio import AsyncEngine

RETRY_SECONDS: Final = 45.0
"""For how long a call is repeated by default: longer than the failover of a server takes, about half a minute."""
FIRST_PAUSE: Final = 0.05
"""Seconds before the second attempt; doubled for each further one, up to ``LONGEST_PAUSE``."""
LONGEST_PAUSE: Final = 2.0
MOST_RETRY_SECONDS: Final = 86_400
QUIET_ATTEMPTS: Final = 3
"""Attempts after which a further one is a warning in the log: the server has been away for a third of a second."""

_log = logging.getLogger("dot_wrapper")

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", psycopg.Connection[Any], psycopg.AsyncConnection[Any])
Operations = Generator[Callable[[], Any], Any, T]
"""Operations that wait for the server, to be made one after the other, and what they come to."""


class _Method(Generic[P, T]):
    """The method of both ledgers that makes a call; ``describe`` describes it (``dot_wrapper.client.calls``)."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe
        update_wrapper(self, describe)

    @property
    def __signature__(self) -> inspect.Signature:
        """For help(): the arguments of the description, and the type of the call's answer."""
        described = inspect.signature(self._describe, eval_str=True)
        ledger = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        (answer,) = get_args(described.return_annotation)
        return described.replace(parameters=[ledger, *described.parameters.values()], return_annotation=answer)

    @overload
    def __get__(self, ledger: Ledger, owner: type[Ledger]) -> Callable[P, T]: ...
    @overload
    def __get__(self, ledger: AsyncLedger, owner: type[AsyncLedger]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, ledger: None, owner: object) -> Self: ...
    def __get__(self, ledger: Ledger | AsyncLedger | None, owner: object) -> Any:
        return self if ledger is None else MethodType(self, ledger)

    def __call__(self, ledger: Ledger | AsyncLedger, *args: P.args, **kwargs: P.kwargs) -> Any:
        return ledger.run(self._describe(*args, **kwargs))


class _Calls(Generic[C]):
    """What both ledgers have: a connection, the calls, and the order of the work."""

    begin_run = _Method(calls.begin_run)
    observe_run = _Method(calls.observe_run)
    observe_component = _Method(calls.observe_component)
    observe_pair = _Method(calls.observe_pair)
    open_gates = _Method(calls.open_gates)
    preflight = _Method(calls.preflight)
    assert_preflight = _Method(calls.assert_preflight)
    acquire_lease = _Method(calls.acquire_lease)
    renew_lease = _Method(calls.renew_lease)
    release_lease = _Method(calls.release_lease)
    log_command = _Method(calls.log_command)
    amendment_is_on = _Method(calls.amendment_is_on)
    register_dot = _Method(calls.register_dot)
    define_candidate = _Method(calls.define_candidate)
    pair = _Method(calls.pair)
    hint_of_unknown = _Method(calls.hint_of_unknown)
    call = _Method(calls.call)
    awaiting_verifier = _Method(reads.awaiting_verifier)

    def __init__(
        self, connect: Callable[[], Any], give_back: Callable[[C], Any] | None, retry_seconds: float | None
    ) -> None:
        self.retry_seconds = _retry_seconds() if retry_seconds is None else retry_seconds
        self._connect = connect
        self._give_back: Callable[[C], Any] | None = give_back
        self._dispose: Callable[[], Any] | None = None
        self._connection: C | None = None
        self._connected_once = False
        self._in_use = threading.Lock()

    def another(self) -> Self:
        """A ledger of the same database with a connection of its own, for another thread or task."""
        return type(self)(self._connect, self._give_back, self.retry_seconds)

    def _attempts(
        self,
        make: Callable[[C], Any],
        pause: Callable[[float], Any],
        role: str,
        *,
        repeatable: bool,
        once: bool = False,
    ) -> Operations[Any]:
        """Makes a transaction, and again after what is safe to repeat; connects before it and gives the connection back after it."""
        shared = self._give_back is not None
        if not shared and not self._in_use.acquire(blocking=False):
            raise LedgerInUse("one ledger makes one call at a time: give each thread or task one of its own")
        connection = self._connection  # None where they are shared: each call borrows its own
        try:
            was_sent = False
            end = time.monotonic() + (0 if once else self.retry_seconds)
            for attempt in count():
                try:
                    if connection is None:
                        connection = yield self._connect
                        self._connected_once = True
                    _require_idle(connection)
                    return (yield partial(make, connection))
                except psycopg.Error as error:
                    # While there is no connection nothing is sent, so every call may be repeated. The first connection is not
                    # repeated: most likely the address or the password is wrong.
                    may_repeat = self._connected_once
                    if connection is not None and connection.closed:
                        may_repeat, was_sent = repeatable, True
                    elif connection is not None and is_stale_plan(error):
                        yield connection.close
                    may_repeat = may_repeat and time.monotonic() < end
                    seconds = _pause(error, attempt, role, may_repeat=may_repeat, was_sent=was_sent)
                finally:
                    connection = yield from self._kept(connection)
                yield partial(pause, seconds)
            raise AssertionError("each attempt returns, raises or is repeated")
        finally:
            if not shared:
                self._connection = connection
                self._in_use.release()

    def _kept(self, connection: C | None) -> Operations[C | None]:
        """The connection for the next attempt or call: None where this one was given back, or is closed."""
        if connection is not None and self._give_back:
            yield partial(self._give_back, connection)
            return None
        return None if connection is None or connection.closed else connection


class Ledger(_Calls[psycopg.Connection[Any]]):
    """Calls the wrapper in a database. Use it as a context manager, or call ``close``.

    A ledger with a connection of its own makes one call at a time. One that borrows its connections (``pool``, ``from_engine``) is shared
    by threads: a heartbeat borrows one too.

    Args:
        connect: the database, as a connection string; or what opens a connection in autocommit mode. By default what ``DATABASE_URL``
            names, opened by ``dot_wrapper.connect``. It is opened with the first call, and again after the connection was lost.
        give_back: called with the connection after each transaction, which is then not kept. By default it is kept.
        retry_seconds: for how long what is safe to repeat is repeated; by default ``DOT_WRAPPER_RETRY_SECONDS``, else 45.
    """

    def __init__(
        self,
        connect: str | Callable[[], psycopg.Connection[Any]] = database.connect,
        give_back: Callable[[psycopg.Connection[Any]], None] | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        opens = partial(database.connect, connect) if isinstance(connect, str) else connect
        super().__init__(opens, give_back, retry_seconds)

    @classmethod
    def from_engine(cls, engine: Engine) -> Self:
        """A ledger that shares the connection pool of a SQLAlchemy engine (``postgresql+psycopg``).

        Each transaction borrows a connection of the pool and gives it back without a role, lease or transaction. The login of the
        engine needs the wrapper's roles. What SQLAlchemy asks of a new connection runs with the engine's own ``search_path``.

        Raises, with each call:
            DatabaseUnavailable: no connection of the pool was free in time.
        """
        from dot_wrapper.client.engine import EnginePool

        pool = EnginePool(engine)
        return cls(pool.borrow, pool.give_back)

    @classmethod
    def pool(cls, size: int = 4, url: str | None = None) -> Self:
        """A ledger that several threads share: each call borrows a connection of a pool, for one transaction.

        Args:
            size: how many connections it opens at most, each when it is first needed. A call waits up to 30 s for a free one. A path
                needs a second one now and then, for its heartbeat.
            url: the database; by default what ``DATABASE_URL`` names.

        Raises, with each call:
            DatabaseUnavailable: no connection was free in time.
        """
        from dot_wrapper.client.engine import engine_of_sessions

        engine = engine_of_sessions(size, url)
        ledger = cls.from_engine(engine)
        ledger._dispose = engine.dispose
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection, or those of the ledger's own pool."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._dispose:
            self._dispose()

    def observe_batch(self, observations: Iterable[Observation], *, atomic: bool = False) -> Iterator[ObservedLine]:
        """Records many observations, described by ``observe_run`` and ``observe_component`` of ``dot_wrapper.client.calls``; yields the
        result of each, in order.

        The observations may come from a generator: ``calls.BATCH_SIZE`` are taken at a time and stored in one transaction, when
        the next result is asked for.

        Args:
            atomic: all or none, in one transaction, at most 10,000: see ``dot_wrapper.client.calls.batch``.

        Raises:
            DotWrapperError: any error but the refusal of a line; with ``atomic`` the first refusal too. What was yielded is stored.
        """
        for some in _batches(observations, atomic):
            yield from self.run(calls.batch(some, atomic=atomic))

    def select(
        self, query: LiteralString | Select[Any], parameters: Parameters = (), *, role: str = "dot_reader"
    ) -> list[dict[str, Any]]:
        """Rows as dictionaries, by default of the views.

        Args:
            query: SQL with psycopg's placeholders and ``parameters``, or a select of SQLAlchemy Core, which has its own.
        """
        text, values = _query(query, parameters)

        def work(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(text, values).fetchall()

        return self.transaction(role, work, repeatable=True)

    def run(self, call: Call[T]) -> T:
        """Makes one call in a transaction of its own."""

        def make(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
            with database.transaction_of_call(connection, call.role):
                return connection.execute(call.query, call.parameters).fetchall()

        operations = self._attempts(make, time.sleep, call.role, repeatable=call.repeatable)
        return call.answer(drive(operations, lambda operation: operation()))

    def walk(self, steps: Steps[T]) -> T:
        """Makes the calls of a sequence one after the other, each in a transaction of its own; returns the sequence's result."""
        return drive(steps, lambda step: time.sleep(step.seconds) if isinstance(step, Pause) else self.run(step))

    def transaction(
        self,
        role: str,
        work: Callable[[psycopg.Connection[Any]], T],
        *,
        repeatable: bool,
        once: bool = False,
    ) -> T:
        """Does some work in one transaction as a role; again, for ``retry_seconds``, on 40001 and 40P01.

        Args:
            repeatable: whether the work may be done twice, because its calls have idempotency keys or only read. Then it is also
                repeated after a lost connection, when it is unknown whether it was committed.
            once: for work that cannot be done twice, for instance because it reads a stream.

        Raises:
            LedgerInUse: another thread is making a call.
            DotWrapperError: the class for the error of the database, see ``dot_wrapper.client.errors``.
        """

        def make(connection: psycopg.Connection[Any]) -> T:
            with database.transaction(connection, role):
                return work(connection)

        operations: Operations[T] = self._attempts(make, time.sleep, role, repeatable=repeatable, once=once)
        return drive(operations, lambda operation: operation())


class AsyncLedger(_Calls[psycopg.AsyncConnection[Any]]):
    """``Ledger`` for programs on asyncio: the same calls, awaited. Use it as an asynchronous context manager.

    A ledger with a connection of its own makes one call at a time. One that borrows its connections is shared by tasks.

    Args:
        connect: as of ``Ledger``, by default ``dot_wrapper.connect_async``.
        give_back: called with the connection after each transaction, which is then not kept. By default it is kept.
        retry_seconds: for how long what is safe to repeat is repeated; by default ``DOT_WRAPPER_RETRY_SECONDS``, else 45.
    """

    def __init__(
        self,
        connect: str | Callable[[], Awaitable[psycopg.AsyncConnection[Any]]] = database.connect_async,
        give_back: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]] | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        opens = partial(database.connect_async, connect) if isinstance(connect, str) else connect
        super().__init__(opens, give_back, retry_seconds)

    @classmethod
    def from_engine(cls, engine: AsyncEngine) -> Self:
        """A ledger that shares the connection pool of an asynchronous SQLAlchemy engine: as ``Ledger.from_engine``."""
        from dot_wrapper.client.engine import AsyncEnginePool

        pool = AsyncEnginePool(engine)
        return cls(pool.borrow, pool.give_back)

    @classmethod
    def pool(cls, size: int = 4, url: str | None = None) -> Self:
        """A ledger that several tasks share: as ``Ledger.pool``. It needs greenlet, which ``sqlalchemy[asyncio]`` installs."""
        from dot_wrapper.client.engine import engine_of_async_sessions

        engine = engine_of_async_sessions(size, url)
        ledger = cls.from_engine(engine)
        ledger._dispose = engine.dispose
        return ledger

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, or those of the ledger's own pool."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        if self._dispose:
            await self._dispose()

    async def observe_batch(
        self, observations: Iterable[Observation], *, atomic: bool = False
    ) -> AsyncIterator[ObservedLine]:
        """Records many observations: as ``Ledger.observe_batch``."""
        for some in _batches(observations, atomic):
            for line in await self.run(calls.batch(some, atomic=atomic)):
                yield line

    async def select(
        self, query: LiteralString | Select[Any], parameters: Parameters = (), *, role: str = "dot_reader"
    ) -> list[dict[str, Any]]:
        """Rows as dictionaries, by default of the views: as ``Ledger.select``."""
        text, values = _query(query, parameters)

        async def work(connection: psycopg.AsyncConnection[Any]) -> list[dict[str, Any]]:
            async with connection.cursor(row_factory=dict_row) as cursor:
                return await (await cursor.execute(text, values)).fetchall()

        return await self.transaction(role, work, repeatable=True)

    async def run(self, call: Call[T]) -> T:
        """Makes one call in a transaction of its own."""

        async def make(connection: psycopg.AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            async with database.transaction_of_call_async(connection, call.role):
                return await (await connection.execute(call.query, call.parameters)).fetchall()

        operations = self._attempts(make, asyncio.sleep, call.role, repeatable=call.repeatable)
        return call.answer(await drive_async(operations, lambda operation: operation()))

    async def walk(self, steps: Steps[T]) -> T:
        """Makes the calls of a sequence one after the other, each in a transaction of its own; returns the sequence's result."""
        return await drive_async(
            steps, lambda step: asyncio.sleep(step.seconds) if isinstance(step, Pause) else self.run(step)
        )

    async def transaction(
        self,
        role: str,
        work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]],
        *,
        repeatable: bool,
        once: bool = False,
    ) -> T:
        """Does some work in one transaction as a role, and again if that is safe: as ``Ledger.transaction``."""

        async def make(connection: psycopg.AsyncConnection[Any]) -> T:
            async with database.transaction_async(connection, role):
                return await work(connection)

        operations: Operations[T] = self._attempts(make, asyncio.sleep, role, repeatable=repeatable, once=once)
        return await drive_async(operations, lambda operation: operation())


def _batches(observations: Iterable[Observation], atomic: bool) -> Iterator[list[Observation]]:
    remaining = iter(observations)
    while some := list(islice(remaining, None if atomic else calls.BATCH_SIZE)):
        yield some


def _query(query: LiteralString | Select[Any], parameters: Parameters) -> tuple[LiteralString | bytes, Parameters]:
    """A query as psycopg takes it."""
    if isinstance(query, str):
        return query, parameters
    from dot_wrapper.client.views import compiled

    return compiled(query)


def _require_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """A call inside a transaction of the program would be acknowledged but not committed."""
    if connection.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
        raise LedgerInUse(
            "the connection is in the middle of a transaction",
            hint="The ledger needs one of its own, in autocommit mode.",
        )


def _retry_seconds() -> float:
    """What ``DOT_WRAPPER_RETRY_SECONDS`` says, else the default.

    Raises:
        InputError: it is no number of seconds.
    """
    given = os.environ.get("DOT_WRAPPER_RETRY_SECONDS")
    if not given:
        return RETRY_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_RETRY_SECONDS:
        raise InputError(f"DOT_WRAPPER_RETRY_SECONDS: {given!a} is no number of seconds from 0 to {MOST_RETRY_SECONDS}")
    return seconds


def _pause(error: psycopg.Error, attempt: int, role: str, *, may_repeat: bool, was_sent: bool) -> float:
    """The seconds before the next attempt: longer each time, and random, so that clients that failed together do not retry together.

    Raises:
        DotWrapperError: there is no next attempt.
    """
    if not may_repeat or not is_retryable(error):
        failure = from_database(error, role)
        if isinstance(failure, DatabaseUnavailable):
            failure.was_sent = was_sent
        raise failure from error
    # A conflict and a connection that is opened again are ordinary; that a server stays away is something to know.
    level = logging.WARNING if attempt >= QUIET_ATTEMPTS and error.sqlstate not in ("40001", "40P01") else logging.INFO
    _log.log(level, "repeating a call as %s after %s", role, error.sqlstate or "a lost connection")
    longest = min(FIRST_PAUSE * 2.0 ** min(attempt, 10), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.5)  # noqa: S311  not a secret
