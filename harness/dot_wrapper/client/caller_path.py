"""The caller path of document 03, as a context manager::

    with caller_path(ledger, pair, evidence_type="SIMULATED_DRY_RUN", actor="ci", idempotency_key="2026-11-21") as run:
        ...                              # the DOT would be invoked here: deliberately not implemented
        run.producer("completed", output_ref="s3://bucket/out")
        run.verifier("completed")

Entering it does what must precede the DOT, in the order of document 03: mint process_run_id and correlation_id, then in one call and
one transaction gates, preflight, lease, header. While the body works a heartbeat renews the lease; leaving the path releases it. Each
call commits by itself, so what a process recorded before it died stays. The same idempotency key continues the same run, and stores no
row twice: ``run.needs("producer")`` says what is still to do. An exception of the body is recorded as the failure of the part that was
to end next; an interrupt is not, so that the same key goes on.

A refusal is raised as its own exception class. It is also recorded as a refused command, with what the call would have recorded, in a
second transaction, because the transaction of the refused call is rolled back. If the optional amendment is on, a blocked header records
it too.

``take_up`` goes on with a run that another process began. ``async_caller_path`` and ``async_take_up`` are the same for asyncio: ``async
with``, and ``await run.producer(...)``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Unpack
from uuid import UUID

from dot_wrapper.client import reads
from dot_wrapper.client.calls import EvidenceType, ObservedComponent, Pair, Role, Status
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.client.heartbeat import beating, beating_async
from dot_wrapper.client.lease import LeaseOptions, complete
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.path import Options, Part, PathSteps, Refs
from dot_wrapper.client.reads import EndedPart, Verdict


class Run(PathSteps):
    """A run in flight: what the body of ``caller_path`` works with.

    ``lost`` is set by the heartbeat when the run must not go on: its lease was lost, or a gate that it needs was closed. The next call is
    then refused.
    """

    def __init__(self, ledger: Ledger, *path: Any) -> None:
        super().__init__(*path)
        self.ledger = ledger
        self.lost = threading.Event()

    def producer(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the producer. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self.ledger.walk(self._component("producer", status, refs))

    def verifier(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the verifier. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self.ledger.walk(self._component("verifier", status, refs))

    @contextmanager
    def part(self, role: Role) -> Iterator[Part]:
        """Records that a part has started, and at the end of the block what it came to, an exception as its failure."""
        part = self._begun_part(role)
        self.ledger.walk(self._component(role, "started", {}))
        try:
            yield part
        except DotWrapperError:  # what the ledger refused is no failure of a DOT
            raise
        except Exception as error:
            self.ledger.walk(self._failed(role, error, part))
            raise
        self.ledger.walk(self._component(role, part.status, part.refs()))

    def invoke(self, role: Role, function: Callable[..., str | bool | Part | None]) -> EndedPart:
        """Calls the author's function of a part where the part is still to do, and records its start and its end.

        Args:
            function: of the producer as ``produce`` of ``run_pair``, of the verifier as ``verify``.

        Returns:
            How the part ended, also in an earlier call under this key: the function is not called again.

        Raises:
            PartFailed: it did not complete, now or then; or it is the verifier, and the producer has not completed.
            Exception: what the function raised. It is recorded as the failure of the part.
        """
        if self.needs(role):
            with self.part(role) as part:
                part.fill(function(self) if role == "producer" else function(self, self._produced()))
        return self._completed(role)

    def renew(self, ttl_seconds: int | None = None) -> bool:
        """Extends the lease, to ``lease_seconds`` from now or further; False if it is over, and with it the run. The heartbeat does."""
        return self.ledger.run(self._renewal(ttl_seconds))

    def verdict(self) -> Verdict:
        """Whether this very run is verified, and why not (role dot_reader)."""
        return self.ledger.run(reads.verdict(self.pair.code, self.process_run_id))


class AsyncRun(PathSteps):
    """A run in flight: what the body of ``async_caller_path`` works with. As ``Run``, awaited."""

    def __init__(self, ledger: AsyncLedger, *path: Any) -> None:
        super().__init__(*path)
        self.ledger = ledger
        self.lost = asyncio.Event()

    async def producer(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the producer: as ``Run.producer``."""
        return await self.ledger.walk(self._component("producer", status, refs))

    async def verifier(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the verifier: as ``Run.verifier``."""
        return await self.ledger.walk(self._component("verifier", status, refs))

    @asynccontextmanager
    async def part(self, role: Role) -> AsyncIterator[Part]:
        """Records the start and the end of a part: as ``Run.part``."""
        part = self._begun_part(role)
        await self.ledger.walk(self._component(role, "started", {}))
        try:
            yield part
        except DotWrapperError:
            raise
        except Exception as error:
            await self.ledger.walk(self._failed(role, error, part))
            raise
        await self.ledger.walk(self._component(role, part.status, part.refs()))

    async def invoke(self, role: Role, function: Callable[..., Awaitable[str | bool | Part | None]]) -> EndedPart:
        """Awaits the author's function of a part where the part is still to do: as ``Run.invoke``."""
        if self.needs(role):
            async with self.part(role) as part:
                part.fill(await (function(self) if role == "producer" else function(self, self._produced())))
        return self._completed(role)

    async def renew(self, ttl_seconds: int | None = None) -> bool:
        """Extends the lease: as ``Run.renew``."""
        return await self.ledger.run(self._renewal(ttl_seconds))

    async def verdict(self) -> Verdict:
        """Whether this very run is verified: as ``Run.verdict``."""
        return await self.ledger.run(reads.verdict(self.pair.code, self.process_run_id))


@contextmanager
def caller_path(ledger: Ledger, pair: Pair, **options: Unpack[Options]) -> Iterator[Run]:
    """Runs the caller path (seed 03 "Layered design") around the body of the ``with`` statement.

    Args:
        options: see ``Options``; ``evidence_type`` and ``actor`` are required.

    Raises:
        As ``Ledger.begin_run``: only the refusal is recorded.
    """
    run = Run(ledger, pair, *_path_of(options))
    ledger.walk(run._begin(options))
    yield from _working(run)


@contextmanager
def take_up(
    ledger: Ledger,
    candidate: str,
    *,
    actor: str,
    key: str | None = None,
    run_id: UUID | None = None,
    **lease: Unpack[LeaseOptions],
) -> Iterator[Run]:
    """Goes on with a stored run, named by its key or its id, under a lease and an actor of one's own: its verifier for instance, hours
    later and by another login. Nothing is recorded before the body records it (roles dot_writer and dot_reader).

    Raises:
        UnknownReference: the candidate has no such run.
        LeaseHeld: another holder has the lease, and still after ``wait_seconds``.
    """
    stored = ledger.run(reads.stored_run(candidate, idempotency_key=key, process_run_id=run_id))
    run = Run(ledger, ledger.pair(candidate), stored.evidence_type, actor, stored.idempotency_key, lease)
    ledger.walk(run._take_up(stored))
    yield from _working(run)


def _working(run: Run) -> Iterator[Run]:
    """The body of a path, and what follows it."""
    try:
        with beating(run.ledger, run._beat, run.lease_seconds, run.lost):
            yield run
        run.ledger.walk(run._leave())  # inside the block, so that an interrupt here releases the lease too
    except BaseException as error:
        run.ledger.walk(run._abandon(error))
        raise


@asynccontextmanager
async def async_caller_path(ledger: AsyncLedger, pair: Pair, **options: Unpack[Options]) -> AsyncIterator[AsyncRun]:
    """``caller_path`` for asyncio: the same order, the same refusals."""
    run = AsyncRun(ledger, pair, *_path_of(options))
    await ledger.walk(run._begin(options))
    async with _working_async(run):
        yield run


@asynccontextmanager
async def async_take_up(
    ledger: AsyncLedger,
    candidate: str,
    *,
    actor: str,
    key: str | None = None,
    run_id: UUID | None = None,
    **lease: Unpack[LeaseOptions],
) -> AsyncIterator[AsyncRun]:
    """``take_up`` for asyncio."""
    stored = await ledger.run(reads.stored_run(candidate, idempotency_key=key, process_run_id=run_id))
    run = AsyncRun(ledger, await ledger.pair(candidate), stored.evidence_type, actor, stored.idempotency_key, lease)
    await ledger.walk(run._take_up(stored))
    async with _working_async(run):
        yield run


@asynccontextmanager
async def _working_async(run: AsyncRun) -> AsyncIterator[None]:
    try:
        async with beating_async(run.ledger, run._beat, run.lease_seconds, run.lost):
            yield
        await complete(run.ledger.walk(run._leave()))
    except BaseException as error:
        await complete(run.ledger.walk(run._abandon(error)))
        raise


def _path_of(options: Options) -> tuple[EvidenceType, str, str | None, LeaseOptions]:
    """The options that every path has. A misspelt one must not silently be a missing idempotency key.

    Raises:
        TypeError: an option is unknown, or a required one is missing.
    """
    unknown = set(options) - Options.__required_keys__ - Options.__optional_keys__
    missing = Options.__required_keys__ - set(options)
    if unknown or missing:
        raise TypeError(f"caller_path: unknown {sorted(unknown)}, missing {sorted(missing)}")
    lease = LeaseOptions(**{name: options[name] for name in LeaseOptions.__optional_keys__ if name in options})  # type: ignore[literal-required, typeddict-item]
    return options["evidence_type"], options["actor"], options.get("idempotency_key"), lease
