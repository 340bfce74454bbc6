"""Keeps a lease while its holder works, from a thread or a task of its own, over a connection of its own.

The lease may be short: it ends soon after a process that was killed, and not while one works. Where it is lost all the same, or what
the work needs is not allowed any more, the body is told by an event.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from dot_wrapper.client.calls import Steps
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.client.ledger import AsyncLedger, Ledger

BEATS: Final = 3
"""Renewals in the time of a lease: two may fail before it ends."""
END_SECONDS: Final = 5.0
"""How long the end of a body waits for a renewal that is under way. One that takes longer ends by itself."""

_log = logging.getLogger("dot_wrapper")

Beat = Callable[[], Steps[str | None]]
"""Renews; returns why the work must not go on, or None."""


@contextmanager
def beating(ledger: Ledger, beat: Beat, lease_seconds: float, lost: threading.Event) -> Iterator[None]:
    """Renews a lease while the block runs; sets ``lost`` where that fails for good."""
    ended = threading.Event()
    watch = _Watch(lease_seconds)

    def renew() -> None:
        with ledger.another() as other:
            other.retry_seconds = 0  # the next beat is the next attempt
            while not ended.wait(lease_seconds / BEATS):
                try:
                    why = other.walk(beat())
                except DotWrapperError as error:
                    why = watch.missed(error)
                else:
                    watch.renewed()
                if why is not None and not ended.is_set():
                    _log.warning("the work is told to end: %s", why)
                    lost.set()
                    return

    thread = threading.Thread(target=renew, name="dot_wrapper heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(END_SECONDS)  # no longer: a server that does not answer must not keep the program


@asynccontextmanager
async def beating_async(
    ledger: AsyncLedger, beat: Beat, lease_seconds: float, lost: asyncio.Event
) -> AsyncIterator[None]:
    """``beating`` for asyncio. A body that blocks the event loop keeps the task from renewing."""
    other = ledger.another()
    other.retry_seconds = 0
    watch = _Watch(lease_seconds)

    async def renew() -> None:
        while True:
            await asyncio.sleep(lease_seconds / BEATS)
            try:
                why = await other.walk(beat())
            except DotWrapperError as error:
                why = watch.missed(error)
            else:
                watch.renewed()
            if why is not None:
                _log.warning("the work is told to end: %s", why)
                lost.set()
                return

    task = asyncio.create_task(renew(), name="dot_wrapper heartbeat")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await other.close()


class _Watch:
    """Says when renewals have failed for as long as the lease was."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self.renewed()

    def renewed(self) -> None:
        self._end = time.monotonic() + self._lease_seconds

    def missed(self, error: DotWrapperError) -> str | None:
        """Why the work must end, where the lease is over; else None."""
        over = time.monotonic() >= self._end
        return f"the lease could not be renewed before it was over: {error.message}" if over else None
