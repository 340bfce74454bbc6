"""Typed calls of the wrapper's functions: one method per function, one transaction per call, as the one role it needs.

Every rule is the database's. This module adds types (``dot_wrapper.client.calls``), exceptions (``dot_wrapper.client.errors``) and a bounded retry
of what is safe to repeat: serialization failures, deadlocks, and lost connections where the call carries an idempotency key.

``Ledger`` is for programs that wait, ``AsyncLedger`` for those on asyncio. Both make the same calls in the same way.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, Final, LiteralString, ParamSpec, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from dot_wrapper.client import calls, database
from dot_wrapper.client.calls import Call, Observation, ObservedLine, Parameters, Steps
from dot_wrapper.client.errors import DatabaseUnavailable, LedgerInUse, from_database, is_retryable, is_stale_plan

ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.05  # seconds before the second attempt; doubled for each further one

IN_USE: Final = "one ledger makes one call at a time: give each thread or task one of its own"

P = ParamSpec("P")
T = TypeVar("T")


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[Ledger, P], T]:
    """The method of ``Ledger`` that makes a call."""

    @wraps(build)
    def make(ledger: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return ledger.run(build(*args, **kwargs))

    return _with_self(make)


def _async_method(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncLedger, P], Coroutine[Any, Any, T]]:
    """The method of ``AsyncLedger`` that makes a call."""

    @wraps(build)
    async def make(ledger: AsyncLedger, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await ledger.run(build(*args, **kwargs))

    return _with_self(make)


_F = TypeVar("_F", bound=Callable[..., Any])


def _with_self(method: _F) -> _F:
    """help() and editors show the method's own signature, not that of the description of the call that `wraps` copies."""
    described = inspect.signature(method)
    of_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = described.replace(  # type: ignore[attr-defined]
        parameters=[of_self, *described.parameters.values()],
        return_annotation=str(described.return_annotation).removeprefix("Call[").removesuffix("]"),
    )
    return method


class Ledger:
    """A connection to a database with the wrapper. Use it as a context manager, or call ``close``.

    Args:
        connect: opens an autocommit connection, another one each time; ``dot_wrapper.client.database.connect`` by default. It is called
            again when the connection is lost.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]] = database.connect) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._connected_once = False
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def another(self) -> Ledger:
        """A ledger of the same database with a connection of its own, for another thread."""
        return Ledger(self._connect)

    def cancel(self) -> None:
        """Ends the statement that another thread waits for on this ledger: that thread's call raises StatementCancelled."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(psycopg.Error):  # whoever is not reached has nothing to end
                connection.cancel_safe(timeout=5)

    begin_run = _method(calls.begin_run)
    observe_run = _method(calls.observe_run)
    observe_component = _method(calls.observe_component)
    observe_pair = _method(calls.observe_pair)
    open_gates = _method(calls.open_gates)
    preflight = _method(calls.preflight)
    assert_preflight = _method(calls.assert_preflight)
    acquire_lease = _method(calls.acquire_lease)
    renew_lease = _method(calls.renew_lease)
    release_lease = _method(calls.release_lease)
    log_command = _method(calls.log_command)
    amendment_is_on = _method(calls.amendment_is_on)
    register_dot = _method(calls.register_dot)
    define_candidate = _method(calls.define_candidate)
    pair = _method(calls.pair)
    call = _method(calls.call)

    def observe_batch(self, observations: Iterable[Observation], *, atomic: bool = False) -> Iterator[ObservedLine]:
        """Records many observations, described by ``dot_wrapper.client.calls.observe_run`` and ``observe_component``; yields what became of
        each, in order. Anything that can be iterated over will do, a generator too: ``calls.BATCH`` are taken at a time, each a
        transaction of its own, and recorded when what they came to is asked for.

        Args:
            atomic: all or none, in one transaction, of at most 10,000: see ``dot_wrapper.client.calls.batch``.

        Raises:
            DotWrapperError: anything but the refusal of a line, or the first of them where atomic. What was yielded stays.
        """
        for some in _batches(observations, atomic):
            yield from self.run(calls.batch(some, atomic=atomic))

    def select(
        self, query: LiteralString, parameters: Parameters = (), *, role: str = "dot_reader"
    ) -> list[dict[str, Any]]:
        """Rows as dictionaries, by default of the views."""

        def work(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(query, parameters).fetchall()

        return self.transaction(role, work, repeatable=True)

    def run(self, call: Call[T]) -> T:
        """Makes one call in a transaction of its own."""
        rows = self.transaction(
            call.role,
            lambda connection: connection.execute(call.query, call.parameters).fetchall(),
            repeatable=call.repeatable,
        )
        return call.answer(rows)

    def walk(self, steps: Steps[T]) -> T:
        """Makes the calls of a sequence one after the other, each in a transaction of its own; what they come to."""
        try:
            call = next(steps)
            while True:
                try:
                    answer = self.run(call)
                except BaseException as error:  # an interrupt too: the steps may have a lease to give back
                    call = steps.throw(error)
                else:
                    call = steps.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    def transaction(
        self,
        role: str,
        work: Callable[[psycopg.Connection[Any]], T],
        *,
        repeatable: bool,
        attempts: int = ATTEMPTS,
    ) -> T:
        """Does some work in one transaction as a role; again, at most ``attempts`` times, on 40001 and 40P01.

        Args:
            repeatable: whether the work may be done twice, because its calls carry idempotency keys or only read. Then it is
                done again after a lost connection too, when nobody knows whether it was committed.
            attempts: 1 for work that cannot be done a second time at all, because it has read a stream for instance.

        Raises:
            LedgerInUse: another thread is in the middle of a call.
            DotWrapperError: the class for what the database said, see ``dot_wrapper.client.errors``.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise LedgerInUse(IN_USE)
        try:
            return self._transaction(role, work, repeatable, attempts)
        finally:
            self._one_at_a_time.release()

    def _transaction(
        self, role: str, work: Callable[[psycopg.Connection[Any]], T], repeatable: bool, attempts: int
    ) -> T:
        was_sent = False
        for attempt in range(1, attempts + 1):
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._connected_once = True
                _demand_idle(self._connection)
                with database.transaction(self._connection, role) as connection:
                    return work(connection)
            except psycopg.Error as error:
                # Where a connection was not had again nothing was sent, and anything may be tried again. The first one is
                # not waited for: what is wrong with it is most likely the address or the password.
                may_repeat = self._connected_once
                lost = self._connection is not None and self._connection.closed
                if lost:
                    self._connection, may_repeat, was_sent = None, repeatable, True
                elif is_stale_plan(error):
                    self.close()
                time.sleep(_pause(error, attempt, attempts, role, may_repeat=may_repeat, was_sent=was_sent))
        raise AssertionError("the last attempt returns or raises")


class AsyncLedger:
    """``Ledger`` for programs on asyncio: the same calls, awaited. Use it as an asynchronous context manager.

    One connection makes one call at a time: tasks that record at the same time each have a ledger of their own.

    Args:
        connect: opens an autocommit connection; ``dot_wrapper.client.database.connect_async`` by default.
    """

    def __init__(self, connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]] = database.connect_async) -> None:
        self._connect = connect
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connected_once = False
        self._in_use = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def another(self) -> AsyncLedger:
        """A ledger of the same database with a connection of its own, for another task."""
        return AsyncLedger(self._connect)

    async def cancel(self) -> None:
        """Ends the statement that another task waits for on this ledger: that task's call raises StatementCancelled."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(psycopg.Error):
                await connection.cancel_safe(timeout=5)

    begin_run = _async_method(calls.begin_run)
    observe_run = _async_method(calls.observe_run)
    observe_component = _async_method(calls.observe_component)
    observe_pair = _async_method(calls.observe_pair)
    open_gates = _async_method(calls.open_gates)
    preflight = _async_method(calls.preflight)
    assert_preflight = _async_method(calls.assert_preflight)
    acquire_lease = _async_method(calls.acquire_lease)
    renew_lease = _async_method(calls.renew_lease)
    release_lease = _async_method(calls.release_lease)
    log_command = _async_method(calls.log_command)
    amendment_is_on = _async_method(calls.amendment_is_on)
    register_dot = _async_method(calls.register_dot)
    define_candidate = _async_method(calls.define_candidate)
    pair = _async_method(calls.pair)
    call = _async_method(calls.call)

    async def observe_batch(
        self, observations: Iterable[Observation], *, atomic: bool = False
    ) -> AsyncIterator[ObservedLine]:
        """Records many observations: as ``Ledger.observe_batch``."""
        for some in _batches(observations, atomic):
            for line in await self.run(calls.batch(some, atomic=atomic)):
                yield line

    async def select(
        self, query: LiteralString, parameters: Parameters = (), *, role: str = "dot_reader"
    ) -> list[dict[str, Any]]:
        """Rows as dictionaries, by default of the views."""

        async def work(connection: psycopg.AsyncConnection[Any]) -> list[dict[str, Any]]:
            async with connection.cursor(row_factory=dict_row) as cursor:
                return await (await cursor.execute(query, parameters)).fetchall()

        return await self.transaction(role, work, repeatable=True)

    async def run(self, call: Call[T]) -> T:
        """Makes one call in a transaction of its own."""

        async def work(connection: psycopg.AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            return await (await connection.execute(call.query, call.parameters)).fetchall()

        return call.answer(await self.transaction(call.role, work, repeatable=call.repeatable))

    async def walk(self, steps: Steps[T]) -> T:
        """Makes the calls of a sequence one after the other, each in a transaction of its own; what they come to."""
        try:
            call = next(steps)
            while True:
                try:
                    answer = await self.run(call)
                except BaseException as error:  # an interrupt too: the steps may have a lease to give back
                    call = steps.throw(error)
                else:
                    call = steps.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    async def transaction(
        self,
        role: str,
        work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]],
        *,
        repeatable: bool,
        attempts: int = ATTEMPTS,
    ) -> T:
        """Does some work in one transaction as a role, and again where that is safe: as ``Ledger.transaction``."""
        if self._in_use:
            raise LedgerInUse(IN_USE)
        self._in_use = True
        try:
            return await self._transaction(role, work, repeatable, attempts)
        finally:
            self._in_use = False

    async def _transaction(
        self,
        role: str,
        work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]],
        repeatable: bool,
        attempts: int,
    ) -> T:
        was_sent = False
        for attempt in range(1, attempts + 1):
            try:
                if self._connection is None:
                    self._connection = await self._connect()
                    self._connected_once = True
                _demand_idle(self._connection)
                async with database.transaction_async(self._connection, role) as connection:
                    return await work(connection)
            except psycopg.Error as error:
                may_repeat = self._connected_once
                lost = self._connection is not None and self._connection.closed
                if lost:
                    self._connection, may_repeat, was_sent = None, repeatable, True
                elif is_stale_plan(error):
                    await self.close()
                await asyncio.sleep(_pause(error, attempt, attempts, role, may_repeat=may_repeat, was_sent=was_sent))
        raise AssertionError("the last attempt returns or raises")


def _batches(observations: Iterable[Observation], atomic: bool) -> Iterator[list[Observation]]:
    remaining = iter(observations)
    while some := list(islice(remaining, None if atomic else calls.BATCH)):
        yield some


def _demand_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Inside a transaction of somebody else's a call would be acknowledged and not committed."""
    if connection.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
        raise LedgerInUse(
            "the connection is in the middle of a transaction",
            hint="The ledger needs one of its own, in autocommit mode.",
        )


def _pause(error: psycopg.Error, attempt: int, attempts: int, role: str, *, may_repeat: bool, was_sent: bool) -> float:
    """The seconds to wait before the next attempt: longer each time, and not the same for everybody who failed together.

    Raises:
        DotWrapperError: there is no next attempt.
    """
    if attempt == attempts or not may_repeat or not is_retryable(error):
        failure = from_database(error, role)
        if isinstance(failure, DatabaseUnavailable):
            failure.was_sent = was_sent
        raise failure from error
    return FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311  not a secret
