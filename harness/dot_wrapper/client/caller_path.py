"""The caller path of document 03, as a context manager::

    with caller_path(ledger, pair, evidence_type="SIMULATED_DRY_RUN", actor="ci", idempotency_key="2026-11-21") as run:
        ...                              # the DOT would be invoked here: deliberately not implemented
        run.producer("completed", output_ref="s3://bucket/out")
        run.verifier("completed")

Entering it does what must precede the DOT, in the order of document 03: mint process_run_id and correlation_id, then in one call and
one transaction gates, preflight, lease, header. Leaving it releases the lease. Each call commits by itself, so what a process recorded
before it died stays. The same idempotency key continues the same run, and stores no row twice.

A refusal is raised as its own exception class. It is also recorded as a refused command, in a second transaction, because the
transaction of the refused call is rolled back. If the optional amendment is on, a blocked header records it too.

``async_caller_path`` is the same for asyncio: ``async with``, and ``await run.producer(...)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict, TypeVar, Unpack
from uuid import UUID

from uuid_utils.compat import uuid7

from dot_wrapper.client import calls
from dot_wrapper.client.calls import GATES, BegunRun, Call, EvidenceType, ObservedComponent, Pair, Role, Status, Steps
from dot_wrapper.client.errors import DatabaseUnavailable, DotWrapperError, Refusal
from dot_wrapper.client.ledger import AsyncLedger, Ledger

LEASE_SECONDS: Final = 300

_left_behind: dict[tuple[str, str | None], str] = {}
"""The holders of leases that this process could not release, by candidate and idempotency key: the next path with that key takes the
lease again as the same holder, and does not wait for its end."""

T = TypeVar("T")


class _Required(TypedDict):
    evidence_type: EvidenceType
    actor: str


class Options(_Required, total=False):
    """The options of a run.

    ``evidence_type`` is never changed: when a gate is off, DRY_RUN and REAL_RUN are refused, and SIMULATED_DRY_RUN is not affected.
    ``holder`` holds the lease, by default a name unique to this path: paths with the same holder take the lease from each other. The
    same ``idempotency_key`` continues the same run; after a path that lost the server it also takes over its lease, in the same process. ``lease_seconds`` is 1 to 3,600, by default ``LEASE_SECONDS``. ``mint`` makes the
    ids. ``occurred_at``, with a time zone, and the key ``attempt`` of ``evidence_ref`` are as for ``Ledger.observe_run``.
    """

    holder: str | None
    idempotency_key: str | None
    parent_run_id: UUID | None
    input_ref: str | None
    evidence_ref: Mapping[str, object] | None
    occurred_at: datetime | None
    lease_seconds: int
    mint: Callable[[], UUID]


class Refs(TypedDict, total=False):
    """References to a component's input, output and error, further evidence, and its time according to the source: as for
    ``Ledger.observe_component``."""

    input_ref: str | None
    output_ref: str | None
    error_ref: str | None
    evidence_ref: Mapping[str, object] | None
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the path and its outcome, for people."""

    name: str
    outcome: str


class _Path:
    """The path as sequences of calls, the same for ``Run`` and ``AsyncRun``.

    Attributes:
        process_run_id, correlation_id: the run to go on with: a new one, or the one stored with the same key.
        created: whether this call stored the header.
        holder: the holder of the lease, whose fencing token is ``lease_token``.
        steps: the steps so far, for people.
    """

    process_run_id: UUID
    correlation_id: str
    created: bool
    _token: int | None = None

    def __init__(self, pair: Pair, options: Options) -> None:
        # A misspelt option must not silently be a missing idempotency key.
        unknown = set(options) - Options.__required_keys__ - Options.__optional_keys__
        missing = Options.__required_keys__ - set(options)
        if unknown or missing:
            raise TypeError(f"caller_path: unknown {sorted(unknown)}, missing {sorted(missing)}")
        self.pair = pair
        self.evidence_type: EvidenceType = options["evidence_type"]
        self.actor = options["actor"]
        self.idempotency_key = options.get("idempotency_key")
        given = options.get("holder")
        taken_over = None if given else _left_behind.pop((pair.code, self.idempotency_key), None)
        self.holder = given or taken_over or f"path-{uuid7().hex[-12:]}"
        self._takes_over = taken_over is not None
        self.steps: list[Step] = []
        self._options = options

    def _enter(self) -> Steps[None]:
        """Everything that precedes the DOT. If it is refused, the lease was not taken."""
        mint = self._options.get("mint", uuid7)
        self.process_run_id, self.correlation_id = mint(), str(mint())
        self._did("mint", f"run {self.process_run_id}")
        try:
            begun = yield from self._logged(iter(self._begin()))
        except BaseException as error:
            # If the answer was lost or not awaited, the lease may have been taken.
            if not isinstance(error, DotWrapperError) or (isinstance(error, DatabaseUnavailable) and error.was_sent):
                yield from self._abandon(error)
            elif self._takes_over:
                self._leave_behind()
            raise
        self.process_run_id, self.correlation_id = begun.observed.process_run_id, begun.observed.correlation_id
        self.created = begun.observed.created
        self._token = begun.lease_token
        self._did("gates", _gates(begun.open_gates, self.evidence_type))
        self._did("preflight", ", ".join(f"{one['check_name']} {one['verdict']}" for one in begun.preflight))
        self._did("lease", f"token {begun.lease_token}")
        self._did("header", f"{_stored('started', self.created)} as {self.process_run_id}")

    def _begin(self) -> Call[BegunRun]:
        return calls.begin_run(
            process_candidate_code=self.pair.code,
            dot_code=self.pair.producer_dot_code,
            process_run_id=self.process_run_id,
            correlation_id=self.correlation_id,
            evidence_type=self.evidence_type,
            actor=self.actor,
            holder=self.holder,
            ttl_seconds=self._options.get("lease_seconds", LEASE_SECONDS),
            idempotency_key=self.idempotency_key,
            parent_run_id=self._options.get("parent_run_id"),
            input_ref=self._options.get("input_ref"),
            evidence_ref=self._options.get("evidence_ref"),
            occurred_at=self._options.get("occurred_at"),
        )

    def _component(self, role: Role, status: Status, refs: Refs) -> Steps[ObservedComponent]:
        component = yield from self._logged(
            iter(
                calls.observe_component(
                    process_candidate_code=self.pair.code,
                    dot_code=self.pair.producer_dot_code if role == "producer" else self.pair.verifier_dot_code,
                    process_run_id=self.process_run_id,
                    correlation_id=self.correlation_id,
                    component_role=role,
                    status=status,
                    actor=self.actor,
                    idempotency_key=calls.component_key(self.idempotency_key, role, status),
                    lease_token=self.lease_token,
                    **refs,
                )
            )
        )
        self._did(role, _stored(status, component.created))
        return component

    def _leave(self) -> Steps[None]:
        released = yield from calls.release_lease(self.pair.code, self.holder, self.lease_token)
        self._did("release", "released" if released else "was over already")

    def _abandon(self, error: BaseException) -> Steps[None]:
        """Releases the lease after an error. If that fails too, the caller still gets the first error."""
        try:
            # If the answer was lost, the token is unknown; the same holder can get another one.
            token = self._token or (yield from calls.acquire_lease(self.pair.code, self.holder, 1))
            if token is not None:
                yield from calls.release_lease(self.pair.code, self.holder, token)
        except DotWrapperError as release:
            self._leave_behind()
            error.add_note(f"and the lease was not released, it runs out by itself: {release.message}")

    def _leave_behind(self) -> None:
        """Keeps the holder for the next path with the same key."""
        if self.idempotency_key is not None:
            _left_behind[self.pair.code, self.idempotency_key] = self.holder

    def _logged(self, steps: Steps[T]) -> Steps[T]:
        """Makes some steps, and logs a refusal. The caller gets the refusal even if it cannot be logged."""
        try:
            return (yield from steps)
        except Refusal as refusal:
            command, mode = {
                "SIMULATED_DRY_RUN": ("dot_wrapper.rehearse", "plan"),
                "DRY_RUN": ("dot_wrapper.execute", "plan"),
                "REAL_RUN": ("dot_wrapper.execute", "apply"),
            }.get(self.evidence_type, ("dot_wrapper.execute", "apply"))
            detail = {
                "process_candidate_code": self.pair.code,
                "process_run_id": str(self.process_run_id),
                "evidence_type": self.evidence_type,
                "sqlstate": refusal.sqlstate,
                "constraint": refusal.constraint,
                "message": refusal.message[:1000],
            }
            try:
                yield from calls.log_command(command, mode, "refused", self.actor, detail)
            except DotWrapperError as error:
                refusal.add_note(f"and could not be logged: {error.message}")
            yield from self._tell_of(refusal)
            raise

    def _tell_of(self, refusal: Refusal) -> Steps[None]:
        """Stores a blocked header if the amendment is on and the ledger accepts it. It has no idempotency key, so that the run can still
        be recorded with its own."""
        if refusal.constraint is None:
            return
        try:
            if not (yield from calls.amendment_is_on()):
                return
            yield from calls.observe_run(
                process_candidate_code=self.pair.code,
                dot_code=self.pair.producer_dot_code,
                process_run_id=uuid7(),
                correlation_id=self.correlation_id,
                evidence_type="SIMULATED_DRY_RUN",
                status="blocked",
                actor=self.actor,
                parent_run_id=self.process_run_id,
                error_ref=refusal.constraint,
            )
        except DotWrapperError as error:
            refusal.add_note(f"and no blocked header tells of it: {error.message}")

    @property
    def lease_token(self) -> int:
        """The fencing token of the path's lease."""
        assert self._token is not None, "the path has not been entered"  # noqa: S101  both context managers enter it first
        return self._token

    def _did(self, step: str, outcome: str) -> None:
        self.steps.append(Step(step, outcome))


class Run(_Path):
    """A run in flight: what the body of ``caller_path`` works with."""

    def __init__(self, ledger: Ledger, pair: Pair, options: Options) -> None:
        super().__init__(pair, options)
        self.ledger = ledger

    def producer(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the producer. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self.ledger.walk(self._component("producer", status, refs))

    def verifier(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the verifier. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self.ledger.walk(self._component("verifier", status, refs))

    def renew(self, ttl_seconds: int = LEASE_SECONDS) -> bool:
        """Extends the lease; False if it has expired, and with it the run."""
        return self.ledger.renew_lease(self.pair.code, self.holder, self.lease_token, ttl_seconds)


class AsyncRun(_Path):
    """A run in flight: what the body of ``async_caller_path`` works with."""

    def __init__(self, ledger: AsyncLedger, pair: Pair, options: Options) -> None:
        super().__init__(pair, options)
        self.ledger = ledger

    async def producer(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the producer: as ``Run.producer``."""
        return await self.ledger.walk(self._component("producer", status, refs))

    async def verifier(self, status: Status, **refs: Unpack[Refs]) -> ObservedComponent:
        """Records the state of the verifier: as ``Run.verifier``."""
        return await self.ledger.walk(self._component("verifier", status, refs))

    async def renew(self, ttl_seconds: int = LEASE_SECONDS) -> bool:
        """Extends the lease; False if it has expired, and with it the run."""
        return await self.ledger.renew_lease(self.pair.code, self.holder, self.lease_token, ttl_seconds)


@contextmanager
def caller_path(ledger: Ledger, pair: Pair, **options: Unpack[Options]) -> Iterator[Run]:
    """Runs the caller path (seed 03 "Layered design") around the body of the ``with`` statement.

    Args:
        options: see ``Options``; ``evidence_type`` and ``actor`` are required.

    Raises:
        As ``Ledger.begin_run``: only the refusal is recorded.
    """
    run = Run(ledger, pair, options)
    ledger.walk(run._enter())
    try:
        yield run
        ledger.walk(run._leave())  # inside the block, so that an interrupt here releases the lease too
    except BaseException as error:
        ledger.walk(run._abandon(error))
        raise


@asynccontextmanager
async def async_caller_path(ledger: AsyncLedger, pair: Pair, **options: Unpack[Options]) -> AsyncIterator[AsyncRun]:
    """``caller_path`` for asyncio: the same order, the same refusals."""
    run = AsyncRun(ledger, pair, options)
    await ledger.walk(run._enter())
    try:
        yield run
        await _complete(ledger.walk(run._leave()))
    except BaseException as error:
        await _complete(ledger.walk(run._abandon(error)))
        raise


async def _complete(last: Coroutine[Any, Any, None]) -> None:
    """Completes the release of a lease before a cancellation of the task takes effect."""
    task = asyncio.ensure_future(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _gates(opened: Collection[str], evidence_type: EvidenceType) -> str:
    """The state of the gates, for people."""
    if evidence_type == "SIMULATED_DRY_RUN":
        return f"no-execute ({len(GATES) - len(opened)} of {len(GATES)} off); a simulation needs none"
    return ", ".join(f"{key} on" for key in (GATES[:2] if evidence_type == "DRY_RUN" else GATES))


def _stored(status: str, created: bool) -> str:
    return status if created else f"{status}, recorded before"
