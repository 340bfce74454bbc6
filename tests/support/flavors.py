"""The Python API in its two flavors behind one interface, so that a test holds both to the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from dot_wrapper.client import database
from dot_wrapper.client.caller_path import async_caller_path, async_take_up, caller_path, take_up
from dot_wrapper.client.calls import Pair
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.path import Part
from dot_wrapper.client.run_pair import Outcome, async_run_pair, run_pair

Connect = Callable[[], Any]
"""Opens a connection of the flavor: returns it, or on asyncio an awaitable of it."""


class Waiting:
    """``Ledger`` and ``caller_path`` as they are."""

    def connect(self, url: str, *, cut: bool = False) -> Any:
        """A connection; with ``cut`` one that is lost right after the server has committed a transaction."""
        return _Cut.connect(url, autocommit=True) if cut else database.connect(url)

    def ledger(self, connect: Connect) -> AbstractContextManager[Any]:
        return Ledger(connect)

    def caller_path(self, ledger: Any, pair: Pair, **options: Any) -> AbstractContextManager[Any]:
        return caller_path(ledger, pair, **options)

    def take_up(self, ledger: Any, candidate: str, **options: Any) -> AbstractContextManager[Any]:
        return take_up(ledger, candidate, **options)

    def written(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """An author's function as the author of this flavor writes it."""
        return function

    def run_pair(self, ledger: Any, candidate: str, **options: Any) -> Outcome:
        return run_pair(ledger, candidate, **options)

    @contextmanager
    def engine(self, **options: Any) -> Iterator[Any]:
        """An engine of SQLAlchemy."""
        engine = create_engine("postgresql+psycopg://", **options)
        try:
            yield engine
        finally:
            engine.dispose()

    def from_engine(self, engine: Any) -> Any:
        return Ledger.from_engine(engine)

    def execute(self, engine: Any, query: str) -> list[tuple[Any, ...]]:
        """What a program does with the engine: rows of a query."""
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


class Asyncio:
    """``AsyncLedger`` and ``async_caller_path``, each call awaited at once."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def connect(self, url: str, *, cut: bool = False) -> Any:
        return _AsyncCut.connect(url, autocommit=True) if cut else database.connect_async(url)

    @contextmanager
    def ledger(self, connect: Connect) -> Iterator[Any]:
        async def awaited() -> Any:
            return await connect()

        ledger = _Awaiting(AsyncLedger(awaited), self._runner)
        try:
            yield ledger
        finally:
            ledger.close()

    def caller_path(self, ledger: Any, pair: Pair, **options: Any) -> AbstractContextManager[Any]:
        return _entered(async_caller_path(ledger.awaited, pair, **options), self._runner)

    def take_up(self, ledger: Any, candidate: str, **options: Any) -> AbstractContextManager[Any]:
        return _entered(async_take_up(ledger.awaited, candidate, **options), self._runner)

    def run_pair(
        self, ledger: Any, candidate: str, *, produce: Callable[..., Any], verify: Callable[..., Any], **options: Any
    ) -> Outcome:
        pair = async_run_pair(
            ledger.awaited, candidate, produce=self.written(produce), verify=self.written(verify), **options
        )
        return self._runner.run(pair)

    def written(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*arguments: Any) -> Any:
            return function(*arguments)

        return awaited

    @contextmanager
    def engine(self, **options: Any) -> Iterator[Any]:
        engine = create_async_engine("postgresql+psycopg://", **options)
        try:
            yield engine
        finally:
            self._runner.run(engine.dispose())

    def from_engine(self, engine: Any) -> Any:
        return _Awaiting(AsyncLedger.from_engine(engine), self._runner)

    def execute(self, engine: Any, query: str) -> list[tuple[Any, ...]]:
        async def rows() -> list[tuple[Any, ...]]:
            async with engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(text(query))]

        return self._runner.run(rows())


Flavor = Waiting | Asyncio


class _Awaiting:
    """An asynchronous object whose methods are called like those of its synchronous twin."""

    def __init__(self, awaited: Any, runner: asyncio.Runner) -> None:
        self.awaited = awaited
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.awaited, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            result = found(*arguments, **options)
            if isinstance(result, AbstractAsyncContextManager):
                return _entered(result, self._runner)
            return self._runner.run(result) if inspect.iscoroutine(result) else result

        return call

    def another(self) -> _Awaiting:
        return _Awaiting(self.awaited.another(), self._runner)

    def transaction(self, role: str, work: Callable[[Any], Any], **options: Any) -> Any:
        async def awaited(connection: Any) -> Any:
            return await _result(work(connection))

        return self._runner.run(self.awaited.transaction(role, awaited, **options))


@contextmanager
def _entered(path: AbstractAsyncContextManager[Any], runner: asyncio.Runner) -> Iterator[Any]:
    """An asynchronous context manager as its synchronous twin."""
    entered = runner.run(_result(path.__aenter__()))
    try:
        yield entered if isinstance(entered, Part) else _Awaiting(entered, runner)
    except BaseException as error:
        if not runner.run(_result(path.__aexit__(type(error), error, error.__traceback__))):
            raise
    else:
        runner.run(_result(path.__aexit__(None, None, None)))


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class _Cut(psycopg.Connection[Any]):
    """The server commits; the answer is lost."""

    @contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with super().transaction(*args, **kwargs) as transaction:
            yield transaction
        self.close()
        raise psycopg.OperationalError("the connection was cut after COMMIT")


class _AsyncCut(psycopg.AsyncConnection[Any]):
    """The same on asyncio."""

    def transaction(self, *args: Any, **kwargs: Any) -> Any:
        outer = super().transaction(*args, **kwargs)
        connection = self

        class Cut:
            async def __aenter__(self) -> Any:
                return await outer.__aenter__()

            async def __aexit__(self, *exception: Any) -> None:
                await outer.__aexit__(*exception)
                await connection.close()
                raise psycopg.OperationalError("the connection was cut after COMMIT")

        return Cut()
