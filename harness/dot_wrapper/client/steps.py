"""Drives a sequence of steps, in a program that waits or in one on asyncio.

What ``Ledger`` and ``AsyncLedger`` do in the same order is written once, as a generator: it yields a step, is sent the step's result
or thrown its exception, and returns the result of the whole. The two functions here perform the steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that waits so many seconds."""

    seconds: float

    def __iter__(self) -> Generator[Pause, Any, None]:
        """Allows ``yield from Pause(1)``."""
        yield self


def drive(steps: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Performs each step in turn; returns what the generator returns."""
    try:
        step = next(steps)
        while True:
            try:
                result = perform(step)
            except BaseException as error:  # an interrupt too: the steps may have a lease to release
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def drive_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """``drive`` for asyncio."""
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except BaseException as error:  # a cancellation too
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
