"""The caller path of document 03, as a context manager::

    with caller_path(ledger, pair, evidence_type="SIMULATED_DRY_RUN", actor="ci", idempotency_key="2026-11-21") as run:
        ...                              # the DOT would be invoked here: deliberately not implemented
        run.producer("completed", output_ref="s3://bucket/out")
        run.verifier("completed")

Entering it does what comes before the DOT, in the seed's order: mint process_run_id and correlation_id, gates, preflight,
lease, header. Leaving it releases the lease. Each call commits by itself, so a process that dies leaves what it had recorded;
the same key takes the run up again: the same run, the same rows, none twice.

A refusal is raised as its own exception class, and recorded in a second transaction as a refused command, because whatever
the refusing function wrote is rolled back with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from harness.errors import DotWrapperError, GateClosed, LeaseHeld, Refusal
from harness.ledger import GATES, EvidenceType, Ledger, ObservedComponent, Pair, Role, Status

LEASE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the path and what came of it, for people."""

    name: str
    outcome: str


@dataclass(slots=True)
class Run:
    """A run in flight: what the body of ``caller_path`` works with."""

    ledger: Ledger
    pair: Pair
    evidence_type: EvidenceType
    actor: str
    holder: str
    lease_token: int
    process_run_id: UUID
    correlation_id: str
    created: bool
    idempotency_key: str | None
    steps: list[Step] = field(default_factory=list)

    def producer(
        self,
        status: Status,
        *,
        input_ref: str | None = None,
        output_ref: str | None = None,
        error_ref: str | None = None,
        evidence_ref: Mapping[str, object] | None = None,
    ) -> ObservedComponent:
        """Records how the producer stands. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self._component(
            "producer", self.pair.producer_dot_code, status, input_ref, output_ref, error_ref, evidence_ref
        )

    def verifier(
        self,
        status: Status,
        *,
        input_ref: str | None = None,
        output_ref: str | None = None,
        error_ref: str | None = None,
        evidence_ref: Mapping[str, object] | None = None,
    ) -> ObservedComponent:
        """Records how the verifier stands. Raises as ``Ledger.observe_component``; a refusal is logged."""
        return self._component(
            "verifier", self.pair.verifier_dot_code, status, input_ref, output_ref, error_ref, evidence_ref
        )

    def renew(self, ttl_seconds: int = LEASE_SECONDS) -> bool:
        """Keeps the lease for longer; False where it is over, and the run with it."""
        return self.ledger.renew_lease(self.pair.code, self.holder, self.lease_token, ttl_seconds)

    def _component(
        self,
        role: Role,
        dot_code: str,
        status: Status,
        input_ref: str | None,
        output_ref: str | None,
        error_ref: str | None,
        evidence_ref: Mapping[str, object] | None,
    ) -> ObservedComponent:
        key = None if self.idempotency_key is None else f"{self.idempotency_key}:{role}:{status}"
        with _refusals_logged(self.ledger, self.pair, self.evidence_type, self.actor, self.process_run_id):
            component = self.ledger.observe_component(
                process_candidate_code=self.pair.code,
                dot_code=dot_code,
                process_run_id=self.process_run_id,
                correlation_id=self.correlation_id,
                component_role=role,
                status=status,
                actor=self.actor,
                idempotency_key=key,
                input_ref=input_ref,
                output_ref=output_ref,
                error_ref=error_ref,
                evidence_ref=evidence_ref,
                lease_token=self.lease_token,
            )
        self.steps.append(Step(role, _stored(status, component.created)))
        return component


@contextmanager
def caller_path(
    ledger: Ledger,
    pair: Pair,
    *,
    evidence_type: EvidenceType,
    actor: str,
    holder: str | None = None,
    idempotency_key: str | None = None,
    parent_run_id: UUID | None = None,
    input_ref: str | None = None,
    evidence_ref: Mapping[str, object] | None = None,
    lease_seconds: int = LEASE_SECONDS,
    mint: Callable[[], UUID] = uuid7,
) -> Iterator[Run]:
    """Runs the caller path (seed 03 "Layered design") around the body.

    Args:
        evidence_type: what the caller asks for. It is never changed: where a gate is off, DRY_RUN and REAL_RUN are refused
            and SIMULATED_DRY_RUN goes on.
        holder: who holds the lease; the actor by default. Two processes must not share one.
        idempotency_key: the same key takes the same run up again.
        lease_seconds: 1 to 3,600.

    Raises:
        GateClosed, PreflightBlocked, LeaseHeld: before anything is recorded.
        All of ``Ledger.observe_run``: by the header.
    """
    holder = holder or actor
    run_id = mint()
    correlation_id = str(mint())
    steps = [Step("mint", f"run {run_id}")]
    with _refusals_logged(ledger, pair, evidence_type, actor, run_id):
        steps.append(Step("gates", _pass_gates(ledger, evidence_type)))
        checks = ledger.assert_preflight()
        steps.append(Step("preflight", ", ".join(f"{one['check_name']} {one['verdict']}" for one in checks)))
        token = ledger.acquire_lease(pair.code, holder, lease_seconds)
        if token is None:
            raise LeaseHeld(
                f"another holder has the lease of {pair.code}",
                constraint="lease_held",
                hint="One run of a pair is in flight at a time: wait for it to end, or for its lease to run out.",
            )
        steps.append(Step("lease", f"token {token}"))
    try:
        with _refusals_logged(ledger, pair, evidence_type, actor, run_id):
            header = ledger.observe_run(
                process_candidate_code=pair.code,
                dot_code=pair.producer_dot_code,
                process_run_id=run_id,
                correlation_id=correlation_id,
                evidence_type=evidence_type,
                status="started",
                actor=actor,
                idempotency_key=idempotency_key,
                parent_run_id=parent_run_id,
                input_ref=input_ref,
                evidence_ref=evidence_ref,
                lease_token=token,
            )
        steps.append(Step("header", f"{_stored('started', header.created)} as {header.process_run_id}"))
        yield Run(
            ledger=ledger,
            pair=pair,
            evidence_type=evidence_type,
            actor=actor,
            holder=holder,
            lease_token=token,
            process_run_id=header.process_run_id,
            correlation_id=header.correlation_id,
            created=header.created,
            idempotency_key=idempotency_key,
            steps=steps,
        )
    except BaseException as error:
        # What went wrong in the body is what the caller must see, whatever becomes of the lease.
        try:
            ledger.release_lease(pair.code, holder, token)
        except DotWrapperError as release:
            error.add_note(f"and the lease was not released, it runs out by itself: {release.message}")
        raise
    released = ledger.release_lease(pair.code, holder, token)
    steps.append(Step("release", "released" if released else "was over already"))


def _pass_gates(ledger: Ledger, evidence_type: EvidenceType) -> str:
    """Gates are read, not moved: off means no execution, and no other evidence type than the one asked for."""
    gates = ledger.open_gates()
    if evidence_type == "SIMULATED_DRY_RUN":
        closed = [key for key, is_open in gates.items() if not is_open]
        return f"no-execute ({len(closed)} of {len(gates)} off); a simulation needs none"
    needed = GATES[:2] if evidence_type == "DRY_RUN" else GATES
    for key in needed:
        if not gates[key]:
            raise GateClosed(
                f"{evidence_type} is refused: gate {key} is off",
                sqlstate="23514",
                constraint=f"gate_{key.split('.')[1]}_check",
                hint="SIMULATED_DRY_RUN needs no gate. A gatekeeper opens a gate with `dot-wrapper gates set`.",
            )
    return ", ".join(f"{key} on" for key in needed)


@contextmanager
def _refusals_logged(
    ledger: Ledger, pair: Pair, evidence_type: EvidenceType, actor: str, process_run_id: UUID
) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        command, mode = {
            "SIMULATED_DRY_RUN": ("dot_wrapper.rehearse", "plan"),
            "DRY_RUN": ("dot_wrapper.execute", "plan"),
            "REAL_RUN": ("dot_wrapper.execute", "apply"),
        }.get(evidence_type, ("dot_wrapper.execute", "apply"))
        detail = {
            "process_candidate_code": pair.code,
            "process_run_id": str(process_run_id),
            "evidence_type": evidence_type,
            "sqlstate": refusal.sqlstate,
            "constraint": refusal.constraint,
            "message": refusal.message[:1000],
        }
        try:
            ledger.log_command(command, mode, "refused", actor, detail)
        except DotWrapperError as error:
            # The refusal is what the caller must see; that it was not logged is said with it.
            refusal.add_note(f"and could not be logged: {error.message}")
        raise


def _stored(status: str, created: bool) -> str:
    return status if created else f"{status}, recorded before"
