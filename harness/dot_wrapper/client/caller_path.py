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
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack
from uuid import UUID

from uuid_utils.compat import uuid7

from dot_wrapper.client import calls, reads
from dot_wrapper.client.calls import GATES, Call, EvidenceType, ObservedComponent, Pair, Role, Status, Steps
from dot_wrapper.client.errors import DatabaseUnavailable, DotWrapperError, LeaseHeld, Refusal
from dot_wrapper.client.heartbeat import beating, beating_async
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.reads import EndedPart, StoredRun, Verdict
from dot_wrapper.client.steps import Pause

ROLES: Final[tuple[Role, ...]] = ("producer", "verifier")
LEASE_SECONDS: Final = 60
"""The default of a lease, which a heartbeat renews at each third of it. Two thirds outlast a failover of half a minute; a process that was
killed keeps the pair for no longer than all of it."""
LOOK_AGAIN_SECONDS: Final = 1.0
"""How long a path pauses before it asks again for a lease that it waits for."""

LOGGED_BYTES: Final = 4000
"""Evidence up to this size is logged with a refusal; the log takes 8 KB in all."""
NEEDED_GATES: Final[Mapping[EvidenceType, tuple[str, ...]]] = {
    "SIMULATED_DRY_RUN": (),
    "DRY_RUN": GATES[:2],
    "REAL_RUN": GATES,
}
"""The gates that a run of an evidence type needs."""

_left_behind: dict[tuple[str, str | None], str] = {}
"""The holders of leases that this process could not release, by candidate and idempotency key: the next path with that key takes the
lease again as the same holder, and does not wait for its end."""

T = TypeVar("T")


class _Lease(TypedDict, total=False):
    holder: str | None
    lease_seconds: int
    wait_seconds: float


class _Required(TypedDict):
    evidence_type: EvidenceType
    actor: str


class RunOptions(_Lease, total=False):
    """What may be said of a run.

    ``holder`` holds the lease, by default a name unique to this path: paths with the same holder take the lease from each other.
    ``lease_seconds`` is 1 to 3,600, by default ``LEASE_SECONDS``: a heartbeat renews the lease while the body works.
    ``wait_seconds`` is how long to wait for a lease that another holder has, by default not at all. ``correlation_id`` is by default a
    new one; the id of a trace fits. ``mint`` makes the ids. ``occurred_at``, with a time zone, and the key ``attempt`` of
    ``evidence_ref``, for what belongs to this attempt and not to the run, are as for ``Ledger.observe_run``.
    """

    correlation_id: str | None
    parent_run_id: UUID | None
    input_ref: str | None
    evidence_ref: Mapping[str, object] | None
    occurred_at: datetime | None
    mint: Callable[[], UUID]


class Options(RunOptions, _Required, total=False):
    """The options of a path: its run's, and these.

    ``evidence_type`` is never changed: when a gate is off, DRY_RUN and REAL_RUN are refused, and SIMULATED_DRY_RUN is not affected. The
    same ``idempotency_key`` continues the same run; after a path that lost the server it also takes over its lease, in the same process.
    """

    idempotency_key: str | None


class Refs(TypedDict, total=False):
    """References to a component's input, output and error, further evidence, and its time according to the source: as for
    ``Ledger.observe_component``."""

    input_ref: str | None
    output_ref: str | None
    error_ref: str | None
    evidence_ref: Mapping[str, object] | None
    occurred_at: datetime | None


@dataclass(slots=True)
class Part:
    """What a part of a run came to: what the body of ``Run.part`` fills in, and what ``produce`` and ``verify`` may return.

    Attributes:
        passed: whether the part is recorded as completed, or as failed.
        input_ref, output_ref, error_ref, evidence_ref: as of ``Ledger.observe_component``.
    """

    output_ref: str | None = None
    input_ref: str | None = None
    error_ref: str | None = None
    evidence_ref: Mapping[str, object] | None = None
    passed: bool = True

    @property
    def status(self) -> Literal["completed", "failed"]:
        return "completed" if self.passed else "failed"

    def refs(self) -> Refs:
        """The arguments of the observation."""
        return Refs(
            input_ref=self.input_ref,
            output_ref=self.output_ref,
            error_ref=self.error_ref,
            evidence_ref=self.evidence_ref,
        )


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
    created: bool = False
    _token: int | None = None

    def __init__(
        self, pair: Pair, evidence_type: EvidenceType, actor: str, idempotency_key: str | None, lease: _Lease
    ) -> None:
        self.pair = pair
        self.evidence_type = evidence_type
        self.actor = actor
        self.idempotency_key = idempotency_key
        self.lease_seconds = lease.get("lease_seconds", LEASE_SECONDS)
        self.steps: list[Step] = []
        given = lease.get("holder")
        taken_over = None if given else _left_behind.pop((pair.code, idempotency_key), None)
        self.holder = given or taken_over or f"path-{uuid7().hex[-12:]}"
        self._takes_over = taken_over is not None
        self._wait_seconds = lease.get("wait_seconds", 0.0)
        self._ended: dict[Role, EndedPart] = {}
        self._recorded: BaseException | None = None  # what was recorded as the failure of a part, or tried to be
        self._server_is_away = False

    def __repr__(self) -> str:
        ends = ", ".join(f"{role} {part.status}" for role, part in self._ended.items()) or "no part has ended"
        run = getattr(self, "process_run_id", "not begun")
        return f"<{type(self).__name__} {self.pair.code} {run}, {self.evidence_type}: {ends}>"

    @property
    def lease_token(self) -> int:
        """The fencing token of the path's lease."""
        assert self._token is not None, "the path has not been entered"  # noqa: S101  both context managers enter it first
        return self._token

    def ended(self, role: Role) -> EndedPart | None:
        """How a part ended, in this process or an earlier one; None where it has not."""
        return self._ended.get(role)

    def needs(self, role: Role) -> bool:
        """Whether this part is to be invoked: it has not ended, and of the verifier that the producer completed."""
        producer = self._ended.get("producer")
        if role == "verifier" and (producer is None or producer.status != "completed"):
            return False
        return role not in self._ended

    @property
    def output_ref(self) -> str | None:
        """What the producer wrote, where it has ended and named it: what the verifier is to look at."""
        producer = self._ended.get("producer")
        return producer.output_ref if producer else None

    # What precedes the DOT

    def _begin(self, options: Options) -> Steps[None]:
        """Everything that precedes the DOT of a run. If it is refused, the lease was not taken."""
        mint = options.get("mint", uuid7)
        self.process_run_id = mint()
        self.correlation_id = options.get("correlation_id") or str(mint())
        self._did("mint", f"run {self.process_run_id}")
        call = calls.begin_run(
            process_candidate_code=self.pair.code,
            dot_code=self.pair.producer_dot_code,
            process_run_id=self.process_run_id,
            correlation_id=self.correlation_id,
            evidence_type=self.evidence_type,
            actor=self.actor,
            holder=self.holder,
            ttl_seconds=self.lease_seconds,
            idempotency_key=self.idempotency_key,
            parent_run_id=options.get("parent_run_id"),
            input_ref=options.get("input_ref"),
            evidence_ref=options.get("evidence_ref"),
            occurred_at=options.get("occurred_at"),
        )
        begun = yield from self._entering(lambda: iter(call))
        self._token = begun.lease_token
        self.process_run_id, self.correlation_id = begun.observed.process_run_id, begun.observed.correlation_id
        self.created = begun.observed.created
        self._did("gates", _gates(begun.open_gates, self.evidence_type))
        self._did("preflight", ", ".join(f"{one['check_name']} {one['verdict']}" for one in begun.preflight))
        self._did("lease", f"token {begun.lease_token}")
        self._did("header", f"{_stored('started', self.created)} as {self.process_run_id}")
        if not self.created:
            yield from self._remember()

    def _take_up(self, stored: StoredRun) -> Steps[None]:
        """The lease of a run that is stored, and how far it came."""
        self.process_run_id, self.correlation_id = stored.process_run_id, stored.correlation_id
        self._did("run", f"{stored.end_state}, begun by {stored.actor}")
        self._token = yield from self._entering(self._acquire)
        self._did("lease", f"token {self._token}")
        yield from self._remember()

    def _acquire(self) -> Steps[int]:
        token = yield from calls.acquire_lease(self.pair.code, self.holder, self.lease_seconds)
        if token is None:
            raise LeaseHeld(
                f"another holder has the lease of {self.pair.code}", sqlstate="23514", constraint="lease_held"
            )
        return token

    def _entering(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Makes the call that takes the lease; again while another holder has it, for as long as the path waits."""
        end = time.monotonic() + self._wait_seconds

        def until_free() -> Steps[T]:
            while True:
                try:
                    return (yield from attempt())
                except LeaseHeld as held:
                    left = end - time.monotonic()
                    if left > 0:
                        yield from Pause(min(LOOK_AGAIN_SECONDS, left))
                        continue
                    with suppress(DotWrapperError):  # it says more where that can be read
                        held.holder, held.expires_at = (yield from reads.lease_holder(self.pair.code)) or (None, None)
                    raise

        try:
            return (yield from self._logged(until_free(), {}))
        except BaseException as error:
            # If the answer was lost or not awaited, the lease may have been taken.
            if not isinstance(error, DotWrapperError) or (isinstance(error, DatabaseUnavailable) and error.was_sent):
                yield from self._give_up_lease(error)
            elif self._takes_over:
                self._leave_behind()
            raise

    def _remember(self) -> Steps[None]:
        """Reads which parts have ended: none of them is to be invoked again."""
        try:
            self._ended = yield from reads.ended_parts(self.pair.code, self.process_run_id)
        except BaseException as error:
            yield from self._give_up_lease(error)
            raise

    # What is recorded

    def _component(self, role: Role, status: Status, refs: Refs) -> Steps[ObservedComponent]:
        call = calls.observe_component(
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
        component = yield from self._logged(iter(call), {"component_role": role, "status": status, **refs})
        if status in ("completed", "failed", "skipped"):
            self._ended[role] = EndedPart(status, refs.get("output_ref"), refs.get("evidence_ref") or {})
        self._did(role, _stored(status, component.created))
        return component

    def _failed(self, role: Role, error: BaseException, part: Part | None = None) -> Steps[None]:
        """Records that a part has failed, once for each error. The caller gets the error even if that is refused."""
        refs = (part or Part()).refs()
        refs["error_ref"] = refs["error_ref"] or type(error).__name__.encode("ascii", "backslashreplace").decode()
        self._recorded = error
        try:
            yield from self._component(role, "failed", refs)
        except DotWrapperError as refusal:
            self._server_is_away = isinstance(refusal, DatabaseUnavailable)
            error.add_note(f"and the failure of the {role} was not recorded: {refusal.message}")

    def _logged(self, steps: Steps[T], recording: Mapping[str, object]) -> Steps[T]:
        """Makes some steps, and logs a refusal, with what would have been recorded. The caller gets the refusal even if it cannot be
        logged."""
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
                **{name: _short(value) for name, value in recording.items() if value is not None},
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

    # The lease while the body works, and its end

    def _renew(self, ttl_seconds: int | None) -> Call[bool]:
        """Never shorter than the path's own lease."""
        seconds = max(ttl_seconds or 0, self.lease_seconds)
        return calls.renew_lease(self.pair.code, self.holder, self.lease_token, seconds)

    def _beat(self) -> Steps[str | None]:
        """Renews the lease; why the run must not go on, where its lease is over or a gate that it needs was closed."""
        if not (yield from self._renew(None)):
            return f"the lease of {self.pair.code} is over"
        needed = NEEDED_GATES[self.evidence_type]
        opened = (yield from calls.open_gates()) if needed else {}
        return next((f"gate {key} is closed" for key in needed if not opened[key]), None)

    def _leave(self) -> Steps[None]:
        released = yield from calls.release_lease(self.pair.code, self.holder, self.lease_token)
        self._did("release", "released" if released else "was over already")

    def _abandon(self, error: BaseException) -> Steps[None]:
        """Ends a path whose body raised: records the failure of the part that was to end next, and releases the lease.

        An interrupt ends no part: the DOT may be invoked again under the same key. What the ledger refused is no failure of a DOT.
        """
        in_hand = next(filter(self.needs, ROLES), None)
        is_of_the_body = isinstance(error, Exception) and not isinstance(error, DotWrapperError)
        if in_hand is not None and is_of_the_body and error is not self._recorded:
            yield from self._failed(in_hand, error)
        yield from self._give_up_lease(error)

    def _give_up_lease(self, error: BaseException) -> Steps[None]:
        """Releases the lease after an error. If that fails too, the caller still gets the first error."""
        try:
            if self._server_is_away:
                raise DatabaseUnavailable("the server is away")
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

    def _did(self, step: str, outcome: str) -> None:
        self.steps.append(Step(step, outcome))


class Run(_Path):
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
        self.ledger.walk(self._component(role, "started", {}))
        part = Part()
        try:
            yield part
        except DotWrapperError:  # what the ledger refused is no failure of a DOT
            raise
        except Exception as error:
            self.ledger.walk(self._failed(role, error, part))
            raise
        self.ledger.walk(self._component(role, part.status, part.refs()))

    def renew(self, ttl_seconds: int | None = None) -> bool:
        """Extends the lease, to ``lease_seconds`` from now or further; False if it is over, and with it the run. The heartbeat does."""
        return self.ledger.run(self._renew(ttl_seconds))

    def verdict(self) -> Verdict:
        """Whether this very run is verified, and why not (role dot_reader)."""
        return self.ledger.run(reads.verdict(self.pair.code, self.process_run_id))


class AsyncRun(_Path):
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
        await self.ledger.walk(self._component(role, "started", {}))
        part = Part()
        try:
            yield part
        except DotWrapperError:
            raise
        except Exception as error:
            await self.ledger.walk(self._failed(role, error, part))
            raise
        await self.ledger.walk(self._component(role, part.status, part.refs()))

    async def renew(self, ttl_seconds: int | None = None) -> bool:
        """Extends the lease: as ``Run.renew``."""
        return await self.ledger.run(self._renew(ttl_seconds))

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
    **lease: Unpack[_Lease],
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
    **lease: Unpack[_Lease],
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
        await _complete(run.ledger.walk(run._leave()))
    except BaseException as error:
        await _complete(run.ledger.walk(run._abandon(error)))
        raise


async def _complete(last: Coroutine[Any, Any, None]) -> None:
    """Completes the release of a lease before a cancellation of the task takes effect."""
    task = asyncio.ensure_future(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _path_of(options: Options) -> tuple[EvidenceType, str, str | None, _Lease]:
    """The options that every path has. A misspelt one must not silently be a missing idempotency key.

    Raises:
        TypeError: an option is unknown, or a required one is missing.
    """
    unknown = set(options) - Options.__required_keys__ - Options.__optional_keys__
    missing = Options.__required_keys__ - set(options)
    if unknown or missing:
        raise TypeError(f"caller_path: unknown {sorted(unknown)}, missing {sorted(missing)}")
    lease = _Lease(**{name: options[name] for name in _Lease.__optional_keys__ if name in options})  # type: ignore[literal-required, typeddict-item]
    return options["evidence_type"], options["actor"], options.get("idempotency_key"), lease


def _gates(opened: Collection[str], evidence_type: EvidenceType) -> str:
    """The state of the gates, for people."""
    if evidence_type == "SIMULATED_DRY_RUN":
        return f"no-execute ({len(GATES) - len(opened)} of {len(GATES)} off); a simulation needs none"
    return ", ".join(f"{key} on" for key in NEEDED_GATES[evidence_type])


def _stored(status: str, created: bool) -> str:
    return status if created else f"{status}, recorded before"


def _short(value: object) -> object:
    """A value for the log of refusals, which takes 8 KB in all: evidence that is too large is said to be so."""
    size = len(json.dumps(value, default=str))
    return str(value) if isinstance(value, datetime) else value if size <= LOGGED_BYTES else f"left out: {size} bytes"
