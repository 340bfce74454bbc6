"""The caller path of document 03 as sequences of calls, for ``dot_wrapper.client.caller_path``."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypedDict, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from dot_wrapper.client import calls, reads
from dot_wrapper.client.calls import GATES, EvidenceType, ObservedComponent, Pair, Role, Status, Steps
from dot_wrapper.client.errors import DatabaseUnavailable, DotWrapperError, NotPermitted, PartFailed, Refusal
from dot_wrapper.client.lease import LeaseOptions, LeaseSteps
from dot_wrapper.client.reads import EndedPart, StoredRun

ROLES: Final[tuple[Role, ...]] = ("producer", "verifier")
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


class _Required(TypedDict):
    evidence_type: EvidenceType
    actor: str


class RunOptions(LeaseOptions, total=False):
    """What may be said of a run: the options of its lease, and these.

    ``correlation_id`` is by default a new one; the id of a trace fits. ``mint`` makes the ids. ``occurred_at``, with a time zone, and the
    key ``attempt`` of ``evidence_ref``, for what belongs to this attempt and not to the run, are as for ``Ledger.observe_run``.
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

    def fill(self, result: str | bool | Part | None) -> None:
        """Takes over what an author's function has returned.

        Raises:
            TypeError: that says nothing of a part.
        """
        match result:
            case Part():
                self.passed = result.passed
                self.output_ref = result.output_ref
                self.input_ref = result.input_ref or self.input_ref
                self.error_ref, self.evidence_ref = result.error_ref, result.evidence_ref
            case bool():
                self.passed = result
            case str() | None:
                self.output_ref = result
            case _:
                raise TypeError(
                    f"a {type(result).__name__} says nothing of a part: return an output_ref, a bool or a Part"
                )

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


class PathSteps(LeaseSteps):
    """The path as sequences of calls, the same for ``Run`` and ``AsyncRun``.

    Attributes:
        process_run_id, correlation_id: the run to go on with: a new one, or the one stored with the same key.
        created: whether this call stored the header.
        steps: the steps so far, for people.
    """

    process_run_id: UUID
    correlation_id: str
    created: bool = False

    def __init__(
        self, pair: Pair, evidence_type: EvidenceType, actor: str, idempotency_key: str | None, lease: LeaseOptions
    ) -> None:
        super().__init__(pair.code, lease)
        self.pair = pair
        self.evidence_type = evidence_type
        self.actor = actor
        self.idempotency_key = idempotency_key
        self.steps: list[Step] = []
        left_behind = None if lease.get("holder") else _left_behind.pop((pair.code, idempotency_key), None)
        self.holder = left_behind or self.holder
        self._takes_over = left_behind is not None
        self._ended: dict[Role, EndedPart] = {}
        self._unread: NotPermitted | None = None  # why it is not known which parts ended before
        self._recorded: BaseException | None = None  # what was recorded as the failure of a part, or tried to be
        self._server_is_away = False

    def __repr__(self) -> str:
        ends = ", ".join(f"{role} {part.status}" for role, part in self._ended.items()) or "no part has ended"
        run = getattr(self, "process_run_id", "not begun")
        return f"<{type(self).__name__} {self.pair.code} {run}, {self.evidence_type}: {ends}>"

    def ended(self, role: Role) -> EndedPart | None:
        """How a part ended, in this process or an earlier one; None where it has not.

        Raises:
            NotPermitted: the run is continued by a login that may not read it (role dot_reader).
        """
        if self._unread and role not in self._ended:
            raise self._unread
        return self._ended.get(role)

    def needs(self, role: Role) -> bool:
        """Whether this part is to be invoked: it has not ended, and of the verifier that the producer completed."""
        if role == "verifier":
            producer = self.ended("producer")
            if producer is None or producer.status != "completed":
                return False
        return self.ended(role) is None

    def _begun_part(self, role: Role) -> Part:
        """A part whose function is about to be called: the verifier looks at what the producer wrote, unless it says otherwise."""
        is_known = role == "verifier" and not self._unread
        return Part(input_ref=self.output_ref if is_known else None)

    def _produced(self) -> Part:
        """What the verifier is to look at."""
        ended = self.ended("producer")
        return Part(output_ref=ended.output_ref, evidence_ref=ended.evidence_ref) if ended else Part()

    def _completed(self, role: Role) -> EndedPart:
        """How a part ended that is not to be invoked.

        Raises:
            PartFailed: it did not complete.
        """
        ended = self.ended(role)
        if ended is None:
            raise PartFailed(f"the {role} of run {self.process_run_id} was not invoked: the producer has not completed")
        if ended.status != "completed":
            raise PartFailed(
                f"the {role} of run {self.process_run_id} {'failed' if ended.status == 'failed' else 'was skipped'}",
                hint="It is over under this key. With another key it is another run.",
            )
        return ended

    @property
    def output_ref(self) -> str | None:
        """What the producer wrote, where it has ended and named it: what the verifier is to look at."""
        producer = self.ended("producer")
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

    def _entering(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Makes the call that takes the lease."""
        try:
            return (yield from self._logged(self._until_free(attempt), {}))
        except BaseException as error:
            # If the answer was lost or not awaited, the lease may have been taken.
            if not isinstance(error, DotWrapperError) or (isinstance(error, DatabaseUnavailable) and error.was_sent):
                yield from self._give_up_lease(error)
            elif self._takes_over:
                self._leave_behind()
            raise

    def _remember(self) -> Steps[None]:
        """Reads which parts have ended: none of them is to be invoked again. A login that may not read can still record."""
        try:
            self._ended = yield from reads.ended_parts(self.pair.code, self.process_run_id)
        except NotPermitted as refused:
            self._unread = refused
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

    def _beat(self) -> Steps[str | None]:
        """Renews the lease; why the run must not go on, where its lease is over or a gate that it needs was closed."""
        over = yield from super()._beat()
        needed = NEEDED_GATES[self.evidence_type]
        if over or not needed:
            return over
        opened = yield from calls.open_gates()
        return next((f"gate {key} is closed" for key in needed if not opened[key]), None)

    def _leave(self) -> Steps[None]:
        released = yield from self._release()
        self._did("release", "released" if released else "was over already")

    def _abandon(self, error: BaseException) -> Steps[None]:
        """Ends a path whose body raised: records the failure of the part that was to end next, and releases the lease.

        An interrupt ends no part: the DOT may be invoked again under the same key. What the ledger refused is no failure of a DOT.
        """
        in_hand = None if self._unread else next((role for role in ROLES if self.needs(role)), None)
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
