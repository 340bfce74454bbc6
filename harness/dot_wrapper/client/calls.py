"""Descriptions of the calls of the wrapper's functions, without a connection.

Each function below describes one call as a ``Call``: its role, statement and parameters, and how its rows become an answer. ``Ledger``
and ``AsyncLedger`` (``dot_wrapper.client.ledger``) make the calls, and have a method of the same name and arguments for each.

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

from dot_wrapper.client.errors import DotWrapperError, InvalidInput, Refusal, UnknownReference, of_sqlstate
from dot_wrapper.client.steps import Pause
from dot_wrapper.text import is_storable

EvidenceType = Literal["SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"]
Status = Literal["prepared", "started", "completed", "failed", "skipped"]
RunStatus = Status | Literal["blocked"]
"""Only with the optional amendment a header may be blocked: it records that a call was refused."""
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
Steps = Generator["Call[Any] | Pause", Any, T]
"""Calls that depend on each other, and pauses: yields each, is sent its answer or thrown its refusal, returns the result of all."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One statement, made in one transaction as one role.

    Attributes:
        role: the role of the wrapper that makes it.
        query: the statement, with psycopg's placeholders.
        parameters: its parameters.
        answer: converts the rows of the result.
        repeatable: whether it may be made twice, because it has an idempotency key or only reads. Then it is repeated after a lost
            connection, when it is unknown whether it was committed.
    """

    role: str
    query: bytes | LiteralString
    parameters: Parameters
    answer: Callable[[Rows], T_co]
    repeatable: bool = False

    def __post_init__(self) -> None:
        """Checks the text among the parameters.

        Raises:
            InvalidInput: it cannot be sent.
        """
        for name, value in self.parameters.items() if isinstance(self.parameters, Mapping) else ():
            if isinstance(value, str) and not is_storable(value):
                raise InvalidInput(
                    f"{name} has a character that PostgreSQL cannot store: NUL, or half of a surrogate pair"
                )

    def __iter__(self) -> Steps[T_co]:
        """Allows ``answer = yield from call`` in a sequence of steps."""
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
    """The run to go on with; ``created`` is False if an earlier call with the same key had stored it."""

    process_run_id: UUID
    correlation_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A run that was begun, with the checks that admitted it.

    Attributes:
        observed: the run to go on with.
        lease_token: the fencing token of its lease.
        open_gates: the gates that were open, by key.
        preflight: the preflight checks, each PASS or WARN: check_name, verdict, detail.
    """

    observed: ObservedRun
    lease_token: int
    open_gates: tuple[str, ...]
    preflight: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class ObservedComponent:
    """A stored component; ``created`` is False if an earlier call with the same key had stored it."""

    component_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class ObservedPair:
    """The run of a pair and its two components; None for a part without a status."""

    run: ObservedRun
    producer: ObservedComponent | None
    verifier: ObservedComponent | None


@dataclass(frozen=True, slots=True)
class ObservedLine:
    """The result of one observation of a batch.

    Attributes:
        observed: the stored run or component, as the call alone would have returned it; None if it was refused.
        refusal: why it was refused, as an exception that is not raised; None if it was stored.
    """

    observed: ObservedRun | ObservedComponent | None
    refusal: DotWrapperError | None


Observation = Call[ObservedRun] | Call[ObservedComponent]
"""A call of ``observe_run`` or ``observe_component``, as a line of a batch."""

BATCH_SIZE: Final = 1000
"""Observations of one call of ``observe_batch``; the database takes 10,000."""


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

    Go on with the run that is returned: for a known key it is the run stored before. ``dry_run`` follows from the evidence type.

    Args:
        evidence_ref: an object of at most 8 KB. Its key ``attempt``, an object too, describes this attempt only, for instance by a
            trace id: it is stored, and not compared when the idempotency key is used again.
        occurred_at: the time according to the source, with a time zone. It is shown, and no verdict uses it.

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
            "evidence_ref": evidence_ref,
            "lease_token": lease_token,
            "occurred_at": occurred_at,
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
    """Does in one transaction what must precede the DOT: gates, preflight, lease, a started header (``fn_process_run_begin``).

    The same key and holder again give the same run under a new token.

    Args:
        holder: the holder of the lease, for ``ttl_seconds`` of 1 to 3,600.

    Raises: as ``observe_run``, and LeaseHeld if another holder has a live lease; nothing was stored, and the lease was not taken.
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
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
            "parent_run_id": parent_run_id,
            "input_ref": input_ref,
            "evidence_ref": evidence_ref,
            "occurred_at": occurred_at,
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

    Raises: as ``observe_run``; UnknownReference too if the run has no header, and OtherOutput if the candidate pins its output and
        ``input_ref`` of the verifier's end is not the producer's ``output_ref``.
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
            "evidence_ref": evidence_ref,
            "lease_token": lease_token,
            "occurred_at": occurred_at,
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

    Equivalent to ``observe_run`` and two ``observe_component`` with the keys of ``component_key``, but all or nothing. A component
    whose status is None is not recorded.

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
            "evidence_ref": evidence_ref,
            "producer_output_ref": producer_output_ref,
            "producer_error_ref": producer_error_ref,
            "producer_evidence_ref": producer_evidence_ref,
            "verifier_output_ref": verifier_output_ref,
            "verifier_error_ref": verifier_error_ref,
            "verifier_evidence_ref": verifier_evidence_ref,
            "lease_token": lease_token,
            "verifier_input_ref": verifier_input_ref,
            "occurred_at": occurred_at,
            "producer_occurred_at": producer_occurred_at,
            "verifier_occurred_at": verifier_occurred_at,
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
_BATCH: Final = sql.SQL("dot.fn_process_observe_batch({}, p_atomic => {})").format(
    sql.SQL(", ").join(
        # Binary, because escaping arrays of text or JSON takes a third of the client's time.
        sql.SQL("{} => {}::{}[]").format(
            sql.Identifier(f"p_{name}"), sql.Placeholder(name, format=PyFormat.BINARY), sql.SQL(kind)
        )
        for name, kind in _BATCH_TYPES.items()
    ),
    sql.Placeholder("atomic"),
)
_BATCH_LINES: Final = sql.SQL("select * from {} order by line").format(_BATCH).as_bytes()
_BATCH_OTHERS: Final = (
    sql.SQL(
        "select line, refused_sqlstate, refused_constraint, refused_message, refused_detail, refused_hint"
        " from {} where created is not true order by line"
    )
    .format(_BATCH)
    .as_bytes()
)


def batch(observations: Sequence[Observation], *, atomic: bool = False) -> Call[list[ObservedLine]]:
    """Records many observations in one call (``fn_process_observe_batch``), each described by ``observe_run`` or
    ``observe_component``; the answer has the result of each, in order.

    Components may follow their header in the same batch. If the header's key was stored before with another run, they belong to that.

    Args:
        observations: at most 10,000.
        atomic: all or none; the first refusal is raised, and its reason names the line, counted from 1.

    Raises: as ``observe_run`` if atomic; else only errors that are not the refusal of a line, for instance a NUL in its evidence, which
        cannot be sent.
    """
    described = [one.parameters if isinstance(one.parameters, Mapping) else {} for one in observations]
    return Call(
        "dot_writer",
        _BATCH_LINES,
        _columns(described, atomic),
        lambda rows: [_observed_line(*row) for row in rows],
        repeatable=all(one.repeatable for one in observations),
    )


def batch_of_rows(rows: Sequence[Mapping[str, object]], *, atomic: bool) -> Call[dict[int, Refusal | None]]:
    """``batch`` of observations that are described by the arguments of their functions, run ids and evidence as text.

    The answer has, by their index, those that were not created: why each was refused, or None where it was stored before.
    """
    return Call(
        "dot_writer",
        _BATCH_OTHERS,
        _columns(rows, atomic),
        lambda others: {line - 1: refused[0] and _refusal(*refused) for line, *refused in others},
    )


def _columns(rows: Sequence[Mapping[str, object]], atomic: bool) -> dict[str, object]:
    return {**{name: [row.get(name) for row in rows] for name in _BATCH_TYPES}, "atomic": atomic}


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
        return ObservedLine(None, _refusal(sqlstate, constraint, message, detail, hint))
    if component_id is not None:
        return ObservedLine(ObservedComponent(component_id, bool(created)), None)
    return ObservedLine(ObservedRun(cast(UUID, run_id), cast(str, correlation_id), bool(created)), None)


def _refusal(
    sqlstate: str, constraint: str | None, message: str | None, detail: str | None, hint: str | None
) -> Refusal:
    kind = of_sqlstate(sqlstate, constraint)
    refusal = kind(message or "", sqlstate=sqlstate, constraint=constraint, detail=detail, hint=hint)
    return cast(Refusal, refusal)  # the batch function tells of class 23 alone


# Gates, preflight, lease, command log (role dot_writer)


def open_gates() -> Call[dict[str, bool]]:
    """Whether each of the three gates is open now, by key. A plain read, for information."""
    return Call(
        "dot_writer",
        "select dot.fn_dot_iu_operator_runtime_enabled(), dot.fn_process_dot_runtime_execute_enabled(),"
        " dot.fn_process_dot_runtime_real_run_enabled()",
        (),
        lambda rows: dict(zip(GATES, rows[0], strict=True)),
        repeatable=True,
    )


def preflight() -> Call[list[dict[str, str]]]:
    """The preflight checks now: check_name, verdict (PASS, WARN, BLOCK), detail (``fn_preflight_guard``)."""
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
        PreflightBlocked: a check blocks; the message names all that block.
    """
    return _function("dot_writer", "fn_assert_safe_for_dot_action", {}, _value, repeatable=True)


def acquire_lease(process_candidate_code: str, holder: str, ttl_seconds: int) -> Call[int | None]:
    """Takes the candidate's lease for 1 to 3,600 seconds; its token, or None if another holder has a live lease."""
    arguments = {"lease_key": lease_key(process_candidate_code), "holder": holder, "ttl_seconds": ttl_seconds}
    # The same holder gets a new token, so the call may be repeated. `renew_lease` and `release_lease` name their token.
    return _function("dot_writer", "fn_dot_iu_runtime_lease_acquire", arguments, _value, repeatable=True)


def renew_lease(process_candidate_code: str, holder: str, token: int, ttl_seconds: int) -> Call[bool]:
    """Extends a live lease; False if it is not live under this holder and token any more."""
    arguments = {
        "lease_key": lease_key(process_candidate_code),
        "holder": holder,
        "token": token,
        "ttl_seconds": ttl_seconds,
    }
    return _function("dot_writer", "fn_dot_iu_runtime_lease_renew", arguments, _value, repeatable=True)


def release_lease(process_candidate_code: str, holder: str, token: int) -> Call[bool]:
    """Ends a live lease; False if it is not live under this holder and token any more."""
    arguments = {"lease_key": lease_key(process_candidate_code), "holder": holder, "token": token}
    return _function("dot_writer", "fn_dot_iu_runtime_lease_release", arguments, _value, repeatable=True)


def log_command(
    command_name: str, run_mode: str, run_status: str, actor: str, detail: Mapping[str, object] | None = None
) -> Call[UUID]:
    """Appends to the command log, which has the refusals too (``fn_dot_iu_command_log``); the entry's run_id.

    Raises:
        UnknownReference: the command is not catalogued.
    """
    arguments = {
        "command_name": command_name,
        "run_mode": run_mode,
        "run_status": run_status,
        "actor": actor,
        "detail": detail,
    }
    return _function("dot_writer", "fn_dot_iu_command_log", arguments, _value)


def amendment_is_on() -> Call[bool]:
    """Whether the optional amendment is on, so that its words may be stored."""
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
    """Adds a DOT or updates its description; created, updated or unchanged (``fn_dot_tool_register``)."""
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
    """Defines a candidate: a pair, and its rules. A definition is never changed. Whether it is new (``fn_process_candidate_define``).

    Args:
        producer_role, verifier_role: a role of the server; only its members may record that part.
        pins_output: refuses an end of the verifier whose ``input_ref`` is not the producer's ``output_ref``.
        max_age: an older verification has a caveat; a duration, or text that PostgreSQL reads as an interval, ``7 days``.
        supersedes: the candidate that this one follows, and that takes simulations only from now on.
        source_time: the time of the candidate's source, with a time zone. It orders the candidates of a chain; either all of them or
            none has one.

    Raises:
        DefinitionConflict: the code has another definition.
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
        "source_time": source_time,
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
        if rows and rows[0][0] == process_candidate_code:
            return Pair(*rows[0])
        raise UnknownReference(
            f"process candidate {process_candidate_code} is not defined",
            constraint="process_run_observation_process_candidate_code_fkey",
            hint=_hint(rows) or "`dot-wrapper board` lists the candidates.",
        )

    return Call("dot_reader", _MEANT, {"code": process_candidate_code}, answer, repeatable=True)


def hint_of_unknown(code: str) -> Call[str | None]:
    """What to do about a code that no candidate has, where it is that of a verifier: the test of dbt, say, and not the pair. None where no
    candidate has it as its verifier."""
    return Call("dot_reader", _MEANT, {"code": code}, _hint, repeatable=True)


# The candidate of a code, else some that have it as their verifier.
_MEANT: Final = """
with named as (
    select process_candidate_code, producer_dot_code, verifier_dot_code from dot.v_process_candidate
    where process_candidate_code = %(code)s
)
select * from named
union all
(
    select process_candidate_code, producer_dot_code, verifier_dot_code from dot.v_process_candidate
    where verifier_dot_code = %(code)s and not exists (select from named)
    order by superseded_by is not null, process_candidate_code
    limit 5
)
"""


def _hint(rows: Rows) -> str | None:
    return f"Name a candidate with this verifier: {', '.join(row[0] for row in rows)}" if rows else None


def call(role: str, function: str, arguments: Mapping[str, object]) -> Call[Any]:
    """Calls any function of schema ``dot`` by named arguments (without ``p_``), as a role; its value."""
    return Call(role, _statement(function, tuple(arguments)), arguments, _value)


def lease_key(process_candidate_code: str) -> str:
    """The key of a candidate's lease (seed 03: ``dot_exec:<pair>``)."""
    return f"dot_exec:{process_candidate_code}"


def component_key(run_key: str | None, role: str, status: str) -> str | None:
    """The idempotency key of a component, derived from its run's. At most 240 bytes; a run's has at most 200."""
    return None if run_key is None else f"{run_key}:{role}:{status}"


# The types of the arguments that are no text.
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "detail": (Mapping,),
    "dry_run": (bool,),
    "evidence_ref": (Mapping,),
    "lease_token": (int,),
    "max_age": (timedelta, str),
    "occurred_at": (datetime,),
    "parent_run_id": (UUID, str),
    "pins_output": (bool,),
    "process_run_id": (UUID, str),
    "producer_evidence_ref": (Mapping,),
    "producer_occurred_at": (datetime,),
    "source_time": (datetime,),
    "token": (int,),
    "ttl_seconds": (int,),
    "verifier_evidence_ref": (Mapping,),
    "verifier_occurred_at": (datetime,),
}


def _function(
    role: str,
    function: str,
    arguments: Mapping[str, object],
    answer: Callable[[Rows], T],
    *,
    repeatable: bool = False,
) -> Call[T]:
    sent = {name: _sent(name, value, _TYPES.get(name, (str,))) for name, value in arguments.items()}
    return Call(role, _statement(function, tuple(sent)), sent, answer, repeatable)


def _sent(name: str, value: object, types: tuple[type, ...]) -> object:
    """An argument as it is sent. It is checked here, because PostgreSQL looks a function up by the types of its arguments: of one that is
    passed another type it would say that it is not there.

    Raises:
        InvalidInput: it is of another type, too large an integer, or a time without a zone.
    """
    if types == (Mapping,) and value is None:
        value = {}
    # A bool is an int in Python, and none in PostgreSQL.
    if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        raise InvalidInput(
            f"{name} is of type {type(value).__name__}, not {' or '.join(one.__name__ for one in types)}"
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput(f"{name} is an integer of more than 64 bits")  # it would be sent as another type, numeric
    if isinstance(value, datetime) and value.utcoffset() is None:
        # PostgreSQL would read it in the zone of the session.
        raise InvalidInput(f"{name} has no time zone", hint="Pass one, for instance datetime.now(UTC).")
    if isinstance(value, Mapping):
        return Jsonb(dict(value))
    if isinstance(value, int) and name == "ttl_seconds":
        return Int4(value)
    return value


@cache
def _statement(function: str, arguments: tuple[str, ...]) -> bytes:
    """Bytes, because psycopg would put a composed statement together again for each call."""
    return (
        sql.SQL("select * from dot.{}({})")
        .format(
            sql.Identifier(function),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name)) for name in arguments
            ),
        )
        .as_bytes()
    )


def _value(rows: Rows) -> Any:
    return rows[0][0]
