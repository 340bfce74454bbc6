"""What the wrapper's functions are called with and what they answer, without a connection.

Each function below describes one call as a ``Call``: the role it is made as, the statement, its parameters, and how the rows
become an answer. ``Ledger`` and ``AsyncLedger`` (``dot_wrapper.client.ledger``) make the calls, and have a method of the same name and
arguments for each.

A sequence of calls that depend on each other is written once, for both, as a generator: ``answer = yield from a_call()``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Generic, Literal, LiteralString, TypeVar, cast
from uuid import UUID

from psycopg import sql
from psycopg.adapt import PyFormat
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int4

from dot_wrapper.client.errors import DotWrapperError, InvalidInput, UnknownReference, of_sqlstate

EvidenceType = Literal["SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"]
Status = Literal["prepared", "started", "completed", "failed", "skipped"]
RunStatus = Status | Literal["blocked"]
"""Only with the optional amendment a header may be blocked: it tells of a call that was refused."""
Role = Literal["producer", "verifier"]

GATES: Final = (
    "iu_core.operator_runtime_enabled",
    "process_dot_runtime.execute_enabled",
    "process_dot_runtime.real_run_enabled",
)

Rows = Sequence[tuple[Any, ...]]
Parameters = Mapping[str, object] | tuple[object, ...]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Steps = Generator["Call[Any]", Any, T]
"""Calls that depend on each other: yields each, is sent its answer or thrown its refusal, and returns what they come to."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One statement, made in one transaction as one role.

    Attributes:
        role: the wrapper's role it is made as.
        query: the statement, with psycopg's placeholders.
        parameters: its parameters.
        answer: makes the answer of the rows that come back.
        repeatable: whether it may be made twice, because it has an idempotency key or only reads. Then it is made again after
            a lost connection, when nobody knows whether it was committed.
    """

    role: str
    query: sql.Composed | LiteralString
    parameters: Parameters
    answer: Callable[[Rows], T_co]
    repeatable: bool = False

    def __iter__(self) -> Generator[Call[Any], Any, T_co]:
        """Lets a sequence of steps say ``answer = yield from call``."""
        answer: T_co = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Pair:
    """A process candidate: its code, and the DOTs that produce and verify."""

    code: str
    producer_dot_code: str
    verifier_dot_code: str


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """The run the caller goes on with; ``created`` is False where a call with the same key had stored it before."""

    process_run_id: UUID
    correlation_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A run that was begun, and what let it begin.

    Attributes:
        observed: the run the caller goes on with.
        lease_token: the fencing token under which it goes on.
        open_gates: the gates that were open, by key.
        preflight: the preflight checks, each PASS or WARN: check_name, verdict, detail.
    """

    observed: ObservedRun
    lease_token: int
    open_gates: tuple[str, ...]
    preflight: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class ObservedComponent:
    """A stored component row; ``created`` is False where a call with the same key had stored it before."""

    component_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class ObservedPair:
    """The run that a pair was recorded under, and its two rows; None for a part that was not to be recorded."""

    run: ObservedRun
    producer: ObservedComponent | None
    verifier: ObservedComponent | None


@dataclass(frozen=True, slots=True)
class ObservedLine:
    """What became of one observation of a batch.

    Attributes:
        observed: the run or component that is stored, as the call alone would have returned it; None where it was refused.
        refusal: why it was refused, which is not raised; None where it was not.
    """

    observed: ObservedRun | ObservedComponent | None
    refusal: DotWrapperError | None


Observation = Call[ObservedRun] | Call[ObservedComponent]
"""A call of ``observe_run`` or ``observe_component``, as a line of a batch."""

BATCH: Final = 1000
"""Observations that are sent at once; the database takes 10,000 at the most."""


# Observations (role dot_writer)


def observe_run(
    *,
    process_candidate_code: str,
    dot_code: str,
    process_run_id: UUID,
    correlation_id: str,
    evidence_type: EvidenceType,
    status: RunStatus,
    actor: str,
    idempotency_key: str | None = None,
    parent_run_id: UUID | None = None,
    input_ref: str | None = None,
    output_ref: str | None = None,
    error_ref: str | None = None,
    evidence_ref: Mapping[str, object] | None = None,
    lease_token: int | None = None,
    occurred_at: datetime | None = None,
) -> Call[ObservedRun]:
    """Records the header of a run (``fn_process_run_observe``, seed 03 "Layered design").

    Go on with what is returned: under a known key that is the run stored before. ``dry_run`` follows from the type.

    Args:
        evidence_ref: an object of at most 8 KB. Its key ``attempt``, an object too, tells of this attempt alone (a trace id, a
            process id): it is stored and not compared, where the same key is said again.
        occurred_at: when it happened, as the source says, with a time zone. It is shown, and enters no verdict.

    Raises:
        MissingInput, InvalidInput, UnknownReference, GateClosed, PreflightBlocked, LeaseNotLive, NotTheWriter, Superseded,
        PayloadMismatch, DuplicateObservation: see ``dot_wrapper.client.errors``; nothing was stored.
    """
    return _function(
        "dot_writer",
        "fn_process_run_observe",
        {
            "process_candidate_code": process_candidate_code,
            "dot_code": dot_code,
            "process_run_id": process_run_id,
            "correlation_id": correlation_id,
            "evidence_type": evidence_type,
            "dry_run": evidence_type != "REAL_RUN",
            "status": status,
            "actor": actor,
            "idempotency_key": idempotency_key,
            "parent_run_id": parent_run_id,
            "input_ref": input_ref,
            "output_ref": output_ref,
            "error_ref": error_ref,
            "evidence_ref": Jsonb(dict(evidence_ref or {})),
            "lease_token": lease_token,
            "occurred_at": _instant("occurred_at", occurred_at),
        },
        lambda rows: ObservedRun(*rows[0]),
        repeatable=idempotency_key is not None,
    )


def begin_run(
    *,
    process_candidate_code: str,
    dot_code: str,
    process_run_id: UUID,
    correlation_id: str,
    evidence_type: EvidenceType,
    actor: str,
    holder: str,
    ttl_seconds: int,
    idempotency_key: str | None = None,
    parent_run_id: UUID | None = None,
    input_ref: str | None = None,
    evidence_ref: Mapping[str, object] | None = None,
    occurred_at: datetime | None = None,
) -> Call[BegunRun]:
    """Does in one transaction what comes before the DOT: gates, preflight, lease, a started header (``fn_process_run_begin``).

    The same key and holder again give the same run under a new token.

    Args:
        holder: who is to hold the lease, for ``ttl_seconds`` of 1 to 3,600.

    Raises: as ``observe_run``, and LeaseHeld where a live different holder has the lease; nothing was stored, nor the lease taken.
    """
    return _function(
        "dot_writer",
        "fn_process_run_begin",
        {
            "process_candidate_code": process_candidate_code,
            "dot_code": dot_code,
            "process_run_id": process_run_id,
            "correlation_id": correlation_id,
            "evidence_type": evidence_type,
            "dry_run": evidence_type != "REAL_RUN",
            "actor": actor,
            "holder": holder,
            "ttl_seconds": Int4(ttl_seconds),
            "idempotency_key": idempotency_key,
            "parent_run_id": parent_run_id,
            "input_ref": input_ref,
            "evidence_ref": Jsonb(dict(evidence_ref or {})),
            "occurred_at": _instant("occurred_at", occurred_at),
        },
        _begun_run,
        repeatable=idempotency_key is not None,
    )


def _begun_run(rows: Rows) -> BegunRun:
    run_id, correlation_id, created, lease_token, open_gates, preflight = rows[0]
    return BegunRun(ObservedRun(run_id, correlation_id, created), lease_token, tuple(open_gates), tuple(preflight))


def observe_component(
    *,
    process_candidate_code: str,
    dot_code: str,
    process_run_id: UUID,
    correlation_id: str,
    component_role: Role,
    status: Status,
    actor: str,
    idempotency_key: str | None = None,
    input_ref: str | None = None,
    output_ref: str | None = None,
    error_ref: str | None = None,
    evidence_ref: Mapping[str, object] | None = None,
    lease_token: int | None = None,
    occurred_at: datetime | None = None,
) -> Call[ObservedComponent]:
    """Records the producer's or verifier's part of a run (``fn_process_component_observe``). Arguments as of ``observe_run``.

    Raises: as ``observe_run``; UnknownReference too where the run has no header, and OtherOutput where the candidate pins its output
        and ``input_ref`` of the verifier's end is not the producer's ``output_ref``.
    """
    return _function(
        "dot_writer",
        "fn_process_component_observe",
        {
            "process_candidate_code": process_candidate_code,
            "dot_code": dot_code,
            "process_run_id": process_run_id,
            "correlation_id": correlation_id,
            "component_role": component_role,
            "status": status,
            "actor": actor,
            "idempotency_key": idempotency_key,
            "input_ref": input_ref,
            "output_ref": output_ref,
            "error_ref": error_ref,
            "evidence_ref": Jsonb(dict(evidence_ref or {})),
            "lease_token": lease_token,
            "occurred_at": _instant("occurred_at", occurred_at),
        },
        lambda rows: ObservedComponent(*rows[0]),
        repeatable=idempotency_key is not None,
    )


def observe_pair(
    *,
    process_candidate_code: str,
    producer_dot_code: str,
    verifier_dot_code: str,
    process_run_id: UUID,
    correlation_id: str,
    evidence_type: EvidenceType,
    producer_status: Status | None,
    verifier_status: Status | None,
    actor: str,
    idempotency_key: str | None = None,
    parent_run_id: UUID | None = None,
    input_ref: str | None = None,
    evidence_ref: Mapping[str, object] | None = None,
    producer_output_ref: str | None = None,
    producer_error_ref: str | None = None,
    producer_evidence_ref: Mapping[str, object] | None = None,
    verifier_output_ref: str | None = None,
    verifier_error_ref: str | None = None,
    verifier_evidence_ref: Mapping[str, object] | None = None,
    lease_token: int | None = None,
    verifier_input_ref: str | None = None,
    occurred_at: datetime | None = None,
    producer_occurred_at: datetime | None = None,
    verifier_occurred_at: datetime | None = None,
) -> Call[ObservedPair]:
    """Records a whole run in one call: a started header, and how producer and verifier ended (``fn_process_pair_observe``).

    The same as ``observe_run`` and ``observe_component`` one after the other, with the keys of ``component_key``, but all or
    nothing. A status that is None is not recorded.

    Raises: as ``observe_run`` and ``observe_component``.
    """
    return _function(
        "dot_writer",
        "fn_process_pair_observe",
        {
            "process_candidate_code": process_candidate_code,
            "producer_dot_code": producer_dot_code,
            "verifier_dot_code": verifier_dot_code,
            "process_run_id": process_run_id,
            "correlation_id": correlation_id,
            "evidence_type": evidence_type,
            "dry_run": evidence_type != "REAL_RUN",
            "producer_status": producer_status,
            "verifier_status": verifier_status,
            "actor": actor,
            "idempotency_key": idempotency_key,
            "parent_run_id": parent_run_id,
            "input_ref": input_ref,
            "evidence_ref": Jsonb(dict(evidence_ref or {})),
            "producer_output_ref": producer_output_ref,
            "producer_error_ref": producer_error_ref,
            "producer_evidence_ref": Jsonb(dict(producer_evidence_ref or {})),
            "verifier_output_ref": verifier_output_ref,
            "verifier_error_ref": verifier_error_ref,
            "verifier_evidence_ref": Jsonb(dict(verifier_evidence_ref or {})),
            "lease_token": lease_token,
            "verifier_input_ref": verifier_input_ref,
            "occurred_at": _instant("occurred_at", occurred_at),
            "producer_occurred_at": _instant("producer_occurred_at", producer_occurred_at),
            "verifier_occurred_at": _instant("verifier_occurred_at", verifier_occurred_at),
        },
        _observed_pair,
        repeatable=idempotency_key is not None,
    )


def _observed_pair(rows: Rows) -> ObservedPair:
    run_id, correlation_id, created, *parts = rows[0]
    producer, verifier = (
        None if component_id is None else ObservedComponent(component_id, created)
        for component_id, created in (parts[:2], parts[2:])
    )
    return ObservedPair(ObservedRun(run_id, correlation_id, created), producer, verifier)


_BATCH_TYPES: Final[Mapping[str, LiteralString]] = {
    "process_candidate_code": "text",
    "dot_code": "text",
    "process_run_id": "uuid",
    "correlation_id": "text",
    "component_role": "text",
    "evidence_type": "text",
    "dry_run": "boolean",
    "status": "text",
    "actor": "text",
    "idempotency_key": "text",
    "parent_run_id": "uuid",
    "input_ref": "text",
    "output_ref": "text",
    "error_ref": "text",
    "evidence_ref": "jsonb",
    "lease_token": "bigint",
    "occurred_at": "timestamptz",
}
_BATCH: Final = sql.SQL("select * from dot.fn_process_observe_batch({}, p_atomic => {}) order by line").format(
    sql.SQL(", ").join(
        # In binary an array of text or JSON has nothing to escape: a third of the client's time.
        sql.SQL("{} => {}::{}[]").format(
            sql.Identifier(f"p_{name}"), sql.Placeholder(name, format=PyFormat.BINARY), sql.SQL(kind)
        )
        for name, kind in _BATCH_TYPES.items()
    ),
    sql.Placeholder("atomic"),
)


def batch(observations: Sequence[Observation], *, atomic: bool = False) -> Call[list[ObservedLine]]:
    """Records many observations in one call (``fn_process_observe_batch``), each described by ``observe_run`` or
    ``observe_component``; what became of each, in order.

    Components may follow their header in the same batch. Where a header was stored before under another run, they go on with that.

    Args:
        observations: 10,000 at the most.
        atomic: all or none; the first refusal is raised, its line from 1 named in its reason.

    Raises: as ``observe_run`` where atomic; else what no single line is refused for, for instance a NUL in the evidence of one, which
        cannot be sent.
    """
    described = [one.parameters if isinstance(one.parameters, Mapping) else {} for one in observations]
    parameters: dict[str, object] = {name: [line.get(name) for line in described] for name in _BATCH_TYPES}
    return Call(
        "dot_writer",
        _BATCH,
        {**parameters, "atomic": atomic},
        lambda rows: [_observed_line(*row) for row in rows],
        repeatable=all(one.repeatable for one in observations),
    )


def _observed_line(
    _line: int,
    run_id: UUID | None,
    correlation_id: str | None,
    component_id: UUID | None,
    created: bool | None,
    sqlstate: str | None,
    constraint: str | None,
    message: str | None,
    detail: str | None,
    hint: str | None,
) -> ObservedLine:
    if sqlstate is not None:
        kind = of_sqlstate(sqlstate, constraint)
        refusal = kind(message or "", sqlstate=sqlstate, constraint=constraint, detail=detail, hint=hint)
        return ObservedLine(None, refusal)
    if component_id is not None:
        return ObservedLine(ObservedComponent(component_id, bool(created)), None)
    return ObservedLine(ObservedRun(cast(UUID, run_id), cast(str, correlation_id), bool(created)), None)


# Gates, preflight, lease, command log (role dot_writer)


def open_gates() -> Call[dict[str, bool]]:
    """Which of the three gates are open now, by key: a plain read, for information."""
    return Call(
        "dot_writer",
        "select dot.fn_dot_iu_operator_runtime_enabled(), dot.fn_process_dot_runtime_execute_enabled(),"
        " dot.fn_process_dot_runtime_real_run_enabled()",
        (),
        lambda rows: dict(zip(GATES, rows[0], strict=True)),
        repeatable=True,
    )


def preflight() -> Call[list[dict[str, str]]]:
    """The preflight checks as they stand: check_name, verdict (PASS, WARN, BLOCK), detail (``fn_preflight_guard``)."""
    return Call(
        "dot_writer",
        "select check_name, verdict, detail from dot.fn_preflight_guard()",
        (),
        lambda rows: [dict(zip(("check_name", "verdict", "detail"), row, strict=True)) for row in rows],
        repeatable=True,
    )


def assert_preflight() -> Call[list[dict[str, str]]]:
    """The preflight checks, each PASS or WARN (``fn_assert_safe_for_dot_action``).

    Raises:
        PreflightBlocked: one is not; the message names all that block.
    """
    return _function("dot_writer", "fn_assert_safe_for_dot_action", {}, _value, repeatable=True)


def acquire_lease(process_candidate_code: str, holder: str, ttl_seconds: int) -> Call[int | None]:
    """Takes the candidate's lease for 1 to 3,600 seconds; its token, or None where a live different holder has it."""
    arguments = {"lease_key": lease_key(process_candidate_code), "holder": holder, "ttl_seconds": Int4(ttl_seconds)}
    # The same holder gets a new token, so a call that was perhaps answered already may be made again; the other two are bound
    # to their token.
    return _function("dot_writer", "fn_dot_iu_runtime_lease_acquire", arguments, _value, repeatable=True)


def renew_lease(process_candidate_code: str, holder: str, token: int, ttl_seconds: int) -> Call[bool]:
    """Moves the end of a live lease; False where it is not live under this holder and token any more."""
    arguments = {
        "lease_key": lease_key(process_candidate_code),
        "holder": holder,
        "token": token,
        "ttl_seconds": Int4(ttl_seconds),
    }
    return _function("dot_writer", "fn_dot_iu_runtime_lease_renew", arguments, _value, repeatable=True)


def release_lease(process_candidate_code: str, holder: str, token: int) -> Call[bool]:
    """Ends a live lease; False where it is not live under this holder and token any more."""
    arguments = {"lease_key": lease_key(process_candidate_code), "holder": holder, "token": token}
    return _function("dot_writer", "fn_dot_iu_runtime_lease_release", arguments, _value, repeatable=True)


def log_command(
    command_name: str, run_mode: str, run_status: str, actor: str, detail: Mapping[str, object] | None = None
) -> Call[UUID]:
    """Appends to the command log, where refusals are kept (``fn_dot_iu_command_log``); returns its run_id.

    Raises:
        UnknownReference: the command is not catalogued.
    """
    arguments = {
        "command_name": command_name,
        "run_mode": run_mode,
        "run_status": run_status,
        "actor": actor,
        "detail": Jsonb(dict(detail or {})),
    }
    return _function("dot_writer", "fn_dot_iu_command_log", arguments, _value)


def amendment_is_on() -> Call[bool]:
    """Whether the words of the optional amendment may be stored here."""
    return Call("dot_writer", "select a.is_on from dot.v_dot_amendment as a", (), _value, repeatable=True)


# Catalogue (role dot_cataloguer)


def register_dot(
    code: str,
    *,
    category: str | None = None,
    execution_engine: str | None = None,
    script_path: str | None = None,
    file_path: str | None = None,
    trigger_type: str | None = None,
) -> Call[str]:
    """Adds a DOT or updates what describes it; says created, updated or unchanged (``fn_dot_tool_register``)."""
    arguments = {
        "code": code,
        "category": category,
        "execution_engine": execution_engine,
        "script_path": script_path,
        "file_path": file_path,
        "trigger_type": trigger_type,
    }
    return _function("dot_cataloguer", "fn_dot_tool_register", arguments, _value, repeatable=True)


def define_candidate(
    code: str,
    producer_dot_code: str,
    verifier_dot_code: str,
    actor: str,
    description: str | None = None,
    *,
    producer_role: str | None = None,
    verifier_role: str | None = None,
    pins_output: bool = False,
    max_age: timedelta | str | None = None,
    supersedes: str | None = None,
    source_time: datetime | None = None,
) -> Call[bool]:
    """Names a pair, and what it asks for, for good; whether it is new (``fn_process_candidate_define``).

    Args:
        producer_role, verifier_role: the role of the server whose members alone record that part.
        pins_output: refuses an end of the verifier whose ``input_ref`` is not the producer's ``output_ref``.
        max_age: a verification that is older has a caveat; a duration, or text as PostgreSQL reads an interval, ``7 days``.
        supersedes: the candidate that this one follows; that one takes simulations only from now on.
        source_time: the time of what the candidate was made from, with a time zone: it orders the chain of those that follow each
            other, of which all have one or none.

    Raises:
        DefinitionConflict: the code is defined otherwise.
        UnknownReference: a DOT is not in the catalogue, a role not on the server, or the superseded candidate not defined.
    """
    arguments = {
        "code": code,
        "producer_dot_code": producer_dot_code,
        "verifier_dot_code": verifier_dot_code,
        "actor": actor,
        "description": description,
        "producer_role": producer_role,
        "verifier_role": verifier_role,
        "pins_output": pins_output,
        "max_age": max_age,
        "supersedes": supersedes,
        "source_time": _instant("source_time", source_time),
    }
    return _function(
        "dot_cataloguer",
        "fn_process_candidate_define",
        arguments,
        lambda rows: bool(rows[0][1]),
        repeatable=True,
    )


# Reading (role dot_reader) and the rest


def pair(process_candidate_code: str) -> Call[Pair]:
    """The DOTs of a candidate.

    Raises:
        UnknownReference: it is not defined.
    """

    def answer(rows: Rows) -> Pair:
        if not rows:
            raise UnknownReference(
                f"process candidate {process_candidate_code} is not defined",
                constraint="process_run_observation_process_candidate_code_fkey",
                hint="`dot-wrapper board` lists the candidates.",
            )
        return Pair(*rows[0])

    return Call(
        "dot_reader",
        "select process_candidate_code, producer_dot_code, verifier_dot_code from dot.v_process_candidate"
        " where process_candidate_code = %s",
        (process_candidate_code,),
        answer,
        repeatable=True,
    )


def call(role: str, function: str, arguments: Mapping[str, object]) -> Call[Any]:
    """Calls one of the other functions of schema ``dot`` by named arguments (without ``p_``), as a role; its value."""
    return _function(role, function, arguments, _value)


def lease_key(process_candidate_code: str) -> str:
    """The lease of a candidate (seed 03: ``dot_exec:<pair>``)."""
    return f"dot_exec:{process_candidate_code}"


def component_key(run_key: str | None, role: str, status: str) -> str | None:
    """The idempotency key of a component, from its run's (at most 240 bytes; a run's has at most 200)."""
    return None if run_key is None else f"{run_key}:{role}:{status}"


def _instant(name: str, time: datetime | None) -> datetime | None:
    """A time that means the same in every session.

    Raises:
        InvalidInput: it has no time zone: the database would take it for one of the session's.
    """
    if time is not None and time.utcoffset() is None:
        raise InvalidInput(f"{name} has no time zone", hint="Pass one, for instance datetime.now(UTC).")
    return time


def _function(
    role: str,
    function: str,
    arguments: Mapping[str, object],
    answer: Callable[[Rows], T],
    *,
    repeatable: bool = False,
) -> Call[T]:
    return Call(role, _statement(function, tuple(arguments)), arguments, answer, repeatable)


@cache
def _statement(function: str, arguments: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("select * from dot.{}({})").format(
        sql.Identifier(function),
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name)) for name in arguments
        ),
    )


def _value(rows: Rows) -> Any:
    return rows[0][0]
