"""The lease of a candidate while a program holds it, and ``hold_lease`` for one that needs nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypedDict, TypeVar, Unpack

from uuid_utils.compat import uuid7

from dot_wrapper.client import calls, reads
from dot_wrapper.client.calls import Call, Steps
from dot_wrapper.client.errors import DotWrapperError, LeaseHeld
from dot_wrapper.client.heartbeat import beating, beating_async
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.steps import Pause

LEASE_SECONDS: Final = 60
"""The default of a lease, which a heartbeat renews at each third of it. Two thirds outlast a failover of half a minute; a process that was
killed keeps the candidate for no longer than all of it."""
LOOK_AGAIN_SECONDS: Final = 1.0
"""How long a program pauses before it asks again for a lease that it waits for."""

T = TypeVar("T")


class LeaseOptions(TypedDict, total=False):
    """``holder`` holds the lease, by default a name unique to this block: blocks with the same holder take the lease from each other.
    ``lease_seconds`` is 1 to 3,600, by default ``LEASE_SECONDS``: a heartbeat renews the lease while the body works. ``wait_seconds`` is
    how long to wait for a lease that another holder has, by default not at all."""

    holder: str | None
    lease_seconds: int
    wait_seconds: float


class LeaseSteps:
    """A lease as sequences of calls, the same for a program that waits and for one on asyncio.

    Attributes:
        candidate: whose lease it is.
        holder: who holds it; the fencing token is ``lease_token``.
    """

    _token: int | None = None

    def __init__(self, candidate: str, options: LeaseOptions) -> None:
        self.candidate = candidate
        self.holder = options.get("holder") or f"path-{uuid7().hex[-12:]}"
        self.lease_seconds = options.get("lease_seconds", LEASE_SECONDS)
        self._wait_seconds = options.get("wait_seconds", 0.0)

    @property
    def lease_token(self) -> int:
        """The fencing token of the lease."""
        assert self._token is not None, "the lease has not been taken"  # noqa: S101  the context managers take it first
        return self._token

    def _acquire(self) -> Steps[int]:
        """Takes the lease once; its token."""
        token = yield from calls.acquire_lease(self.candidate, self.holder, self.lease_seconds)
        if token is None:
            raise LeaseHeld(
                f"another holder has the lease of {self.candidate}", sqlstate="23514", constraint="lease_held"
            )
        return token

    def _until_free(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Makes what takes the lease; again while another holder has it, for as long as the options say."""
        end = time.monotonic() + self._wait_seconds
        while True:
            try:
                return (yield from attempt())
            except LeaseHeld as held:
                left = end - time.monotonic()
                if left > 0:
                    yield from Pause(min(LOOK_AGAIN_SECONDS, left))
                    continue
                with suppress(DotWrapperError):  # it says more where that can be read
                    held.holder, held.expires_at = (yield from reads.lease_holder(self.candidate)) or (None, None)
                raise

    def _renewal(self, ttl_seconds: int | None = None) -> Call[bool]:
        """Never shorter than the options say."""
        seconds = max(ttl_seconds or 0, self.lease_seconds)
        return calls.renew_lease(self.candidate, self.holder, self.lease_token, seconds)

    def _release(self) -> Call[bool]:
        return calls.release_lease(self.candidate, self.holder, self.lease_token)

    def _beat(self) -> Steps[str | None]:
        """Renews the lease; why the work must not go on, where it is over."""
        return None if (yield from self._renewal()) else f"the lease of {self.candidate} is over"


class Lease(LeaseSteps):
    """A lease that is held: what the body of ``hold_lease`` works with. ``lost`` is set when it is over."""

    def __init__(self, candidate: str, options: LeaseOptions) -> None:
        super().__init__(candidate, options)
        self.lost = threading.Event()


class AsyncLease(LeaseSteps):
    """As ``Lease``, for asyncio."""

    def __init__(self, candidate: str, options: LeaseOptions) -> None:
        super().__init__(candidate, options)
        self.lost = asyncio.Event()


@contextmanager
def hold_lease(ledger: Ledger, candidate: str, **options: Unpack[LeaseOptions]) -> Iterator[Lease]:
    """Holds the lease of a candidate for the length of the block, without a run: to take several steps of one's own, for instance.

    Args:
        options: see ``LeaseOptions``.

    Raises:
        LeaseHeld: another holder has it, and still after ``wait_seconds``.
        UnknownReference: there is no such candidate.
    """
    lease = Lease(candidate, options)
    lease._token = ledger.walk(lease._until_free(lease._acquire))
    try:
        with beating(ledger, lease._beat, lease.lease_seconds, lease.lost):
            yield lease
    finally:
        ledger.run(lease._release())


@asynccontextmanager
async def async_hold_lease(
    ledger: AsyncLedger, candidate: str, **options: Unpack[LeaseOptions]
) -> AsyncIterator[AsyncLease]:
    """``hold_lease`` for asyncio."""
    lease = AsyncLease(candidate, options)
    lease._token = await ledger.walk(lease._until_free(lease._acquire))
    try:
        async with beating_async(ledger, lease._beat, lease.lease_seconds, lease.lost):
            yield lease
    finally:
        await complete(ledger.run(lease._release()))


async def complete(last: Coroutine[Any, Any, object]) -> None:
    """Completes the release of a lease before a cancellation of the task takes effect."""
    task = asyncio.ensure_future(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
