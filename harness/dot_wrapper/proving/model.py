"""The ledger's rules as an executable specification, to be read beside the SQL; it shares no code with it or the harness.

A history is a tuple of facts; of those about the same thing the newest counts. A call is a function of the history and its
arguments. It either raises ``Refused`` with the SQLSTATE and constraint of the first rule it breaks, and adds no fact; or it returns
an ``Answer``: what the caller is told, and the facts that the call adds. The facts of a rolled back transaction are not added.

Time is a number that the test increases. Locks are not modelled: which call waits for which is no rule of the ledger, only the state
that it finds when it continues.

Section numbers are those of the design; [seed] marks the lines that came with the task.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

# --- Words -----------------------------------------------------------------------------------------------------------------

SIMULATED, DRY, REAL = "SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"

_DRY_GATES = ("iu_core.operator_runtime_enabled", "process_dot_runtime.execute_enabled")
LADDER = {SIMULATED: (), DRY: _DRY_GATES, REAL: (*_DRY_GATES, "process_dot_runtime.real_run_enabled")}
"""Evidence ladder [seed]: the gates that each evidence type needs, in the order in which they are checked."""

_SAME = {"prepared": "observed", "failed": "failed", "skipped": "cancelled"}
RUN_WORDS = {**_SAME, "started": "started", "completed": "completed"}
COMPONENT_WORDS = {**_SAME, "started": "step_started", "completed": "step_completed"}
"""Status model [seed]: the wrapper's word and the one that is stored. `blocked` is no word: it is never stored."""

AMENDED = {"prepared", "skipped", "blocked"}
"""Words that only the optional amendment stores, unchanged; `blocked` is sent by the caller path alone. None of them is evidence."""

FLAGS: dict[str, dict[str, Any]] = {"prepared": {"wrapper_phase": "prepared"}, "skipped": {"skipped": True}}
"""What a word adds to the evidence when it is not stored itself. The keys are reserved: a caller that sends one is refused."""
RESERVED = {"wrapper_phase", "skipped"}

ATTEMPT = "attempt"
"""The key of the evidence that describes one attempt: an object, stored and not compared in a replay."""

TERMINAL = ("step_completed", "failed", "cancelled", "skipped")
"""A component ends once, with one of these."""

EVENT_TYPES = {
    *(f"process.run.{word}" for word in RUN_WORDS.values()),
    *(f"process.component.{word}" for word in COMPONENT_WORDS.values()),
}

# --- Facts (section 5, Tables) ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dot:
    code: str


@dataclass(frozen=True)
class Candidate:
    """Insert-only: one fact per code. What a definition asks for beside the pair is optional.

    ``producer_role`` and ``verifier_role`` may record that part and no login else; ``pins_output``: the verifier's end names what the
    producer wrote; ``max_age``: after so much time a verification has a caveat; ``supersedes``: the candidate that this one follows;
    ``source_time``: of what it was made from, which orders its chain. All of a chain have one, or none.
    """

    code: str
    producer: str
    verifier: str
    producer_role: str | None = None
    verifier_role: str | None = None
    pins_output: bool = False
    max_age: int | None = None
    supersedes: str | None = None
    source_time: datetime | None = None


@dataclass(frozen=True)
class Member:
    login: str
    role: str


@dataclass(frozen=True)
class Gate:  # what is stored, by whatever way
    key: str
    value: str | None


@dataclass(frozen=True)
class Decision:  # what the audit says: made by ``set_gate``, in this database of this cluster
    key: str
    value: str


@dataclass(frozen=True)
class EventType:
    name: str
    active: bool


@dataclass(frozen=True)
class Attestation:  # of fs_snapshot_present
    verdict: str
    expires_at: int


@dataclass(frozen=True)
class Lease:
    key: str
    holder: str
    session_actor: str
    token: int
    expires_at: int


@dataclass(frozen=True)
class Observation:
    """What a header and a component have in common."""

    process_candidate_code: str
    dot_code: str
    process_run_id: uuid.UUID
    correlation_id: str
    evidence_type: str
    status: str
    actor: str
    session_actor: str
    idempotency_key: str | None
    input_ref: str | None
    output_ref: str | None
    error_ref: str | None
    evidence_ref: dict[str, Any]
    lease_token: int | None
    occurred_at: datetime | str | None
    admission: dict[str, Any] | None
    observed_at: int


@dataclass(frozen=True)
class Run(Observation):
    """The header: one per run [seed]."""

    dry_run: bool
    parent_run_id: uuid.UUID | None


@dataclass(frozen=True)
class Component(Observation):
    """The producer's or the verifier's part of a run."""

    component_role: str


@dataclass(frozen=True)
class Event:
    """A row of the outbox, in the transaction of the observation that it tells of (section 5, Outbox)."""

    type: str
    observation: Run | Component

    @property
    def payload(self) -> dict[str, Any]:
        """What the relay delivers, without the component's id, which the database draws."""
        names = ["process_candidate_code", "process_run_id", "correlation_id", "dot_code"]
        names += ["evidence_type", "status", "actor", "occurred_at"]
        names += ["parent_run_id", "dry_run"] if isinstance(self.observation, Run) else ["component_role"]
        return {name: getattr(self.observation, name) for name in names}


Fact = Dot | Candidate | Member | Gate | Decision | EventType | Attestation | Lease | Run | Component | Event
F = TypeVar("F")


class Refused(Exception):
    """The first rule that a call breaks: SQLSTATE, constraint and, for another payload under a key, the fields."""

    def __init__(self, sqlstate: str, constraint: str, differing: tuple[str, ...] = ()) -> None:
        super().__init__(sqlstate, constraint, differing)
        self.sqlstate, self.constraint, self.differing = sqlstate, constraint, differing


@dataclass(frozen=True)
class Answer:
    """What a caller is told, and what the call adds to the ledger."""

    told: Any
    adds: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class History:
    """All facts, the oldest first, the time now, and whether the optional amendment is on."""

    facts: tuple[Fact, ...] = ()
    now: int = 0
    amended: bool = False

    def after(self, *facts: Fact) -> History:
        """The history with these facts added."""
        return replace(self, facts=self.facts + facts)

    def all(self, kind: type[F], **having: object) -> list[F]:
        """The facts of a kind that have these values, oldest first."""
        return [
            fact
            for fact in self.facts
            if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in having.items())
        ]

    def newest(self, kind: type[F], **having: object) -> F | None:
        """The newest fact of a kind that has these values; None if there is none."""
        return next(reversed(self.all(kind, **having)), None)

    def live_lease(self, key: str) -> Lease | None:
        """The lease of a key, if it has not expired. A lease is taken for an hour at most: one that ends later has expired too."""
        lease = self.newest(Lease, key=key)
        return lease if lease and self.now < lease.expires_at <= self.now + 3600 else None


# --- Domains (section 6, [seed] fail closed) -------------------------------------------------------------------------------


def is_code(text: str, most: int = 200) -> bool:
    """Only ASCII letters, digits and some marks, so that no two names look the same."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*", text) is not None and len(text) <= most


def is_ref(text: str) -> bool:
    """Printable ASCII without spaces, at most 1,024 bytes."""
    return re.fullmatch(r"[!-~]+", text) is not None and len(text) <= 1024


def is_time(value: datetime | str) -> bool:
    """A time that every program can hold in every zone. Text is a time that Python cannot hold, `infinity` for instance."""
    first, last = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    return not isinstance(value, str) and first <= value <= last


def is_run_id(value: uuid.UUID) -> bool:
    """Any uuid but nil and max."""
    return value.int not in (0, 2**128 - 1)


def is_evidence(document: object) -> bool:
    """An object of at most 8,192 bytes of text, whose numbers have at most 24 decimals and are at most 2^53 - 1 in size."""
    if not isinstance(document, dict):
        return False
    numbers = list(_numbers(document))
    if not all(abs(one) <= 2**53 - 1 and _decimals(one) <= 24 for one in numbers):
        return False
    # The server prints a number without an exponent.
    longer = sum(len(format(Decimal(repr(one)) + 0, "f")) - len(repr(one)) for one in numbers)
    return len(json.dumps(document, ensure_ascii=False).encode()) + longer <= 8192


def _numbers(node: object) -> Iterator[int | float]:
    if isinstance(node, int | float) and not isinstance(node, bool):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _numbers(inner)


def _decimals(number: int | float) -> int:
    exponent = Decimal(repr(number)).as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _refuse_first(table: str, problems: Iterator[str]) -> None:
    """The constraint of an argument is named after its table: 23502 if it is missing, 23514 if it is not legal."""
    for problem in problems:
        raise Refused("23502" if problem.endswith("_not_null") else "23514", f"{table}_{problem}")


# --- Observations (section 5, Functions; the order of checks is part of the contract) --------------------------------------

RUN, COMPONENT = "process_run_observation", "process_component_observation"

_REFS = ("input_ref", "output_ref", "error_ref")
_PAYLOAD = ("dot_code", "status", "actor", *_REFS, "occurred_at", "evidence_ref")
_OPTIONAL: dict[str, Any] = dict.fromkeys(("idempotency_key", *_REFS, "lease_token", "occurred_at"))
_OPTIONAL["evidence_ref"] = {}


def observe_run(history: History, session_actor: str, **arguments: Any) -> Answer:
    """``fn_process_run_observe``: records a header. Told: (process_run_id, correlation_id, created)."""
    call = {**_OPTIONAL, "parent_run_id": None, **arguments}

    # 1. NULLs, domains, reserved keys.
    words = RUN_WORDS | ({"blocked": "blocked"} if history.amended else {})
    _refuse_first(RUN, _run_problems(history, call, words))
    status, evidence = as_stored(history, words, call["status"], call["evidence_ref"])

    # 2. The DOT is known, the candidate is known, the DOT is its producer, and the login may say so.
    candidate = _candidate(history, RUN, call)
    if call["dot_code"] != candidate.producer:
        raise Refused("23514", f"{RUN}_producer_check")
    _require_role(history, session_actor, candidate, "producer")

    # 3. Gates, preflight, lease; a token that is given must be live whatever it is given for.
    admission = _admitted(history, session_actor, call["evidence_type"], candidate.code, call["lease_token"], None)

    # 4. A replay is answered with what is stored. It has passed 1 to 3 like a first call.
    run = Run(
        **{**call, "status": status, "evidence_ref": evidence},
        session_actor=session_actor,
        admission=admission,
        observed_at=history.now,
    )
    if run.evidence_type != SIMULATED:
        of_token = {"process_candidate_code": candidate.code, "evidence_type": run.evidence_type}
        run = replace(run, observed_at=_after(run, history.all(Run, lease_token=run.lease_token, **of_token)))
    stored = _stored_under_key(history, run)
    if isinstance(stored, Run):
        # Run id, correlation and token are the attempt's own; the caller goes on with those that are stored.
        payload = (*_PAYLOAD, "evidence_type", "parent_run_id")
        _require_same_payload(stored, run, payload)
        return Answer((stored.process_run_id, stored.correlation_id, False))

    # 5. Above a simulation a new run is of the newest of its chain: one that was begun before goes on to its end. And it comes after
    # the runs of its type: none of them has a higher token.
    if run.evidence_type != SIMULATED:
        if newest_of_chain(history, candidate) != candidate:
            raise Refused("23514", f"{RUN}_superseded_check")
        of_type = history.all(Run, process_candidate_code=candidate.code, evidence_type=run.evidence_type)
        if any((one.lease_token or 0) > (run.lease_token or 0) for one in of_type):
            raise Refused("23514", "lease_fencing_check")

    # 6. A run has one header, and what is new is one observation and, where it is wanted, one event.
    if history.newest(Run, process_candidate_code=candidate.code, process_run_id=run.process_run_id):
        raise Refused("23505", f"{RUN}_pkey")
    return Answer((run.process_run_id, run.correlation_id, True), (run, *_event(history, "run", run)))


def observe_component(history: History, session_actor: str, **arguments: Any) -> Answer:
    """``fn_process_component_observe``: records a part of a run. Told: (the component that is stored, created)."""
    call = {**_OPTIONAL, **arguments}

    # 1. NULLs, domains, reserved keys.
    _refuse_first(COMPONENT, _component_problems(history, call))
    status, evidence = as_stored(history, COMPONENT_WORDS, call["status"], call["evidence_ref"])

    # 2. The DOT is known, the candidate has it in that role, the login may say so, and the header is there, open, and of the same
    # correlation.
    candidate = _candidate(history, COMPONENT, call)
    if call["dot_code"] != {"producer": candidate.producer, "verifier": candidate.verifier}[call["component_role"]]:
        raise Refused("23514", f"{COMPONENT}_component_role_dot_check")
    _require_role(history, session_actor, candidate, call["component_role"])
    header = history.newest(Run, process_candidate_code=candidate.code, process_run_id=call["process_run_id"])
    if header is None:
        raise Refused("23503", f"{COMPONENT}_process_run_id_fkey")
    if call["correlation_id"] != header.correlation_id:
        raise Refused("23514", f"{COMPONENT}_correlation_id_header_check")
    if header.status in ("failed", "cancelled", "skipped", "blocked"):
        raise Refused("23514", f"{COMPONENT}_header_status_check")
    if call["status"] == "prepared" and header.evidence_type != SIMULATED:
        raise Refused("23514", f"{COMPONENT}_prepared_check")
    ends = call["component_role"] == "verifier" and call["status"] in ("completed", "failed")
    if candidate.pins_output and ends and call["input_ref"] not in _outputs(history, header):
        raise Refused("23514", f"{COMPONENT}_pinned_output_check")

    # 3. As for a header; the type is the header's, and the token may not be lower than the one the run began under.
    admission = _admitted(
        history, session_actor, header.evidence_type, candidate.code, call["lease_token"], header.lease_token
    )

    # 4. Replay. Only the token is the attempt's own.
    component = Component(
        **{**call, "status": status, "evidence_ref": evidence},
        evidence_type=header.evidence_type,
        session_actor=session_actor,
        admission=admission,
        observed_at=history.now,
    )
    component = replace(component, observed_at=_after(component, [header, *components_of(history, header)]))
    stored = _stored_under_key(history, component)
    if isinstance(stored, Component):
        payload = (*_PAYLOAD, "process_run_id", "correlation_id", "component_role")
        _require_same_payload(stored, component, payload)
        return Answer((stored, False))

    # 5 and 6. One row per run, role and status, and one end per run and role: a retry is a new run.
    siblings = [one for one in components_of(history, header) if one.component_role == component.component_role]
    if any(one.status == status for one in siblings):
        raise Refused("23505", f"{COMPONENT}_pkey")
    if status in TERMINAL and any(one.status in TERMINAL for one in siblings):
        raise Refused("23505", f"{COMPONENT}_terminal_key")
    return Answer((component, True), (component, *_event(history, "component", component)))


def begin_run(history: History, session_actor: str, holder: str, seconds: int, **arguments: Any) -> Answer:
    """``fn_process_run_begin``: gates, preflight for every evidence type, lease, a started header; all of it or nothing.

    Told: what ``observe_run`` tells, the token, which gates are open, and the verdicts of the preflight.
    """
    candidate, evidence_type = arguments["process_candidate_code"], arguments["evidence_type"]
    opened = [key for key in LADDER[REAL] if is_open(history, key)]
    _require_open_gates(history, evidence_type)
    verdicts = _require_preflight(history)
    lease = acquire(history, session_actor, f"dot_exec:{candidate}", holder, seconds)
    if lease.told is None:
        raise Refused("23514", "lease_held")
    header = observe_run(
        history.after(*lease.adds), session_actor, **arguments, status="started", lease_token=lease.told
    )
    return Answer((*header.told, lease.told, opened, verdicts), (*lease.adds, *header.adds))


def _after(new: Observation, others: Sequence[Observation]) -> int:
    """The time of an observation: later than the others, even when the clock went back."""
    return max([new.observed_at, *(one.observed_at + 1 for one in others)])


def _outputs(history: History, run: Run) -> set[str]:
    """The output that the producer of a run recorded: one or none."""
    ended = (one for one in components_of(history, run) if (one.component_role, one.status) == _PRODUCED)
    return {one.output_ref for one in ended if one.output_ref is not None}


def _require_role(history: History, session_actor: str, candidate: Candidate, part: str) -> None:
    role = {"producer": candidate.producer_role, "verifier": candidate.verifier_role}[part]
    if role is not None and not history.newest(Member, login=session_actor, role=role):
        raise Refused("23514", f"process_candidate_{part}_role_check")


def newest_of_chain(history: History, candidate: Candidate) -> Candidate:
    """The candidate of a chain whose source is the newest; of those with one time, or none, the one that was defined last."""
    chain: list[Candidate] = []
    root = candidate
    while root.supersedes is not None:
        root = history.all(Candidate, code=root.supersedes)[0]
    for one in history.all(Candidate):
        if one == root or any(one.supersedes == before.code for before in chain):
            chain.append(one)
    return sorted(chain, key=lambda one: one.source_time.timestamp() if one.source_time else 0.0)[-1]


def as_stored(
    history: History, words: Mapping[str, str], said: str, evidence: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The word and the evidence under which an observation is stored."""
    if history.amended and said in AMENDED:
        return said, evidence
    return words[said], evidence | FLAGS.get(said, {})


def _run_problems(history: History, call: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    yield from _shared_problems(history, call, words, longest_key=200)
    for name in ("evidence_type", "dry_run"):
        if call[name] is None:
            yield f"{name}_not_null"
    if call["evidence_type"] not in LADDER:
        yield "evidence_type_check"
    if call["dry_run"] is not (call["evidence_type"] != REAL):
        yield "dry_run_check"
    if call["parent_run_id"] is not None and not is_run_id(call["parent_run_id"]):
        yield "parent_run_id_check"
    # A blocked header reports a refused call, and must not take the key of the call itself.
    tells = call["parent_run_id"] not in (None, call["process_run_id"]) and call["error_ref"] is not None
    if call["status"] == "blocked" and not (
        tells and call["evidence_type"] == SIMULATED and call["idempotency_key"] is None
    ):
        yield "blocked_check"
    if call["status"] == "prepared" and call["evidence_type"] != SIMULATED:
        yield "prepared_check"


def _component_problems(history: History, call: Mapping[str, Any]) -> Iterator[str]:
    yield from _shared_problems(history, call, COMPONENT_WORDS, longest_key=240)
    if call["component_role"] is None:
        yield "component_role_not_null"
    if call["component_role"] not in ("producer", "verifier"):
        yield "component_role_check"


def _shared_problems(
    history: History, call: Mapping[str, Any], words: Mapping[str, str], longest_key: int
) -> Iterator[str]:
    required = ("process_candidate_code", "dot_code", "process_run_id", "correlation_id", "status", "actor")
    for name in (*required, "evidence_ref"):
        if call[name] is None:
            yield f"{name}_not_null"
    for name in required:
        if name == "process_run_id":
            legal = is_run_id(call[name])
        else:
            legal = call[name] in words if name == "status" else is_code(call[name])
        if not legal:
            yield f"{name}_check"
    if call["idempotency_key"] is not None and not is_code(call["idempotency_key"], longest_key):
        yield "idempotency_key_check"
    for name in _REFS:
        if call[name] is not None and not is_ref(call[name]):
            yield f"{name}_check"
    if not is_evidence(call["evidence_ref"]):
        yield "evidence_ref_check"
    if RESERVED & call["evidence_ref"].keys():
        yield "evidence_ref_reserved_check"
    if not isinstance(call["evidence_ref"].get(ATTEMPT, {}), dict):
        yield "evidence_ref_attempt_check"
    if call["occurred_at"] is not None and not is_time(call["occurred_at"]):
        yield "occurred_at_check"
    if not is_evidence(as_stored(history, words, call["status"], call["evidence_ref"])[1]):
        yield "evidence_ref_check"  # too long with the flag that is stored with it


def _candidate(history: History, table: str, call: Mapping[str, Any]) -> Candidate:
    if not history.newest(Dot, code=call["dot_code"]):
        raise Refused("23503", f"{table}_dot_code_fkey")
    candidate = history.newest(Candidate, code=call["process_candidate_code"])
    if candidate is None:
        raise Refused("23503", f"{table}_process_candidate_code_fkey")
    return candidate


def _stored_under_key(history: History, new: Observation) -> Observation | None:
    """Idempotent rerun [seed]: a key belongs to its candidate; without one nothing is deduplicated."""
    if new.idempotency_key is None:
        return None
    scope = {"process_candidate_code": new.process_candidate_code, "idempotency_key": new.idempotency_key}
    return history.newest(type(new), **scope)


def _require_same_payload(stored: Observation, new: Observation, payload: tuple[str, ...]) -> None:
    differing = tuple(name for name in payload if _distinct(_compared(stored, name), _compared(new, name)))
    if differing:
        raise Refused("23505", "idempotency_payload_mismatch", differing)


def _compared(observation: Observation, name: str) -> Any:
    if name != "evidence_ref":
        return getattr(observation, name)
    return {key: said for key, said in observation.evidence_ref.items() if key != ATTEMPT}


def _distinct(one: Any, other: Any) -> bool:
    """As jsonb compares: 1 is 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() != other.keys() or any(_distinct(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(_distinct, one, other))
    return isinstance(one, bool) is not isinstance(other, bool) or bool(one != other)


def _event(history: History, kind: str, observation: Run | Component) -> tuple[Event, ...]:
    # The amendment renames no event: a relay's subscription goes on.
    word = _SAME.get(observation.status, observation.status)
    wanted = history.newest(EventType, name=f"process.{kind}.{word}")
    return (Event(wanted.name, observation),) if wanted and wanted.active else ()


# --- What lets evidence above a simulation in (sections 4 and 5, Safety contract) ------------------------------------------


def _admitted(
    history: History,
    session_actor: str,
    evidence_type: str,
    candidate: str,
    token: int | None,
    header_token: int | None,
) -> dict[str, Any] | None:
    """The gates, then preflight, then single flight. What let it in is stored with it; a simulation was asked for nothing."""
    admission: dict[str, Any] | None = None
    if evidence_type != SIMULATED:
        _require_open_gates(history, evidence_type)
        verdicts = _require_preflight(history)
        admission = {"gates": dict.fromkeys(LADDER[evidence_type], "true"), "preflight": verdicts}
    if evidence_type != SIMULATED or token is not None:
        lease = history.live_lease(f"dot_exec:{candidate}")
        # A token is good for the login that took it.
        if lease is None or token != lease.token or session_actor != lease.session_actor:
            raise Refused("23514", "lease_live_check")
        if header_token is not None and token < header_token:
            raise Refused("23514", "lease_fencing_check")
    return admission


def _require_open_gates(history: History, evidence_type: str) -> None:
    for key in LADDER[evidence_type]:
        if not is_open(history, key):
            raise Refused("23514", f"gate_{key.split('.')[1]}_check")


def _require_preflight(history: History) -> dict[str, str]:
    verdicts = preflight(history)
    if "BLOCK" in verdicts.values():
        raise Refused("23514", "preflight_check")
    return verdicts


def gate_value(history: History, key: str) -> str | None:
    """A gate's stored value."""
    gate = history.newest(Gate, key=key)
    return gate.value if gate else None


def is_open(history: History, key: str) -> bool:
    """Only `true`, exactly, is on [seed], and only where the newest decision about the gate says so: no other way opens it."""
    decided = history.newest(Decision, key=key)
    return gate_value(history, key) == "true" and decided is not None and decided.value == "true"


def preflight(history: History) -> dict[str, str]:
    """The required checks. The newest attestation alone decides, while it lasts; what is missing is BLOCK."""
    attested = history.newest(Attestation)
    readable = all(gate_value(history, key) in ("true", "false") for key in LADDER[REAL])
    return {
        "fs_snapshot_present": attested.verdict if attested and attested.expires_at > history.now else "BLOCK",
        "gates_readable": "PASS" if readable else "BLOCK",
        "catalogue_present": "PASS" if history.all(Dot) else "BLOCK",
        "lease_table_usable": "PASS",  # asked of the catalog of the database, which has no counterpart here
    }


def set_gate(key: str, value: str) -> Answer:
    """``fn_dot_config_set``: the only way to move a gate."""
    if key not in (*LADDER[REAL], "queue.worker.enabled"):
        raise Refused("23514", "dot_config_key_check")
    if value not in ("true", "false"):
        raise Refused("23514", "dot_config_value_check")
    return Answer(None, (Gate(key, value), Decision(key, value)))


def set_event_type(name: str, active: bool) -> Answer:
    """``fn_event_type_set``."""
    if name not in EVENT_TYPES:
        raise Refused("23503", "event_type_event_type_fkey")
    return Answer(None, (EventType(name, active),))


def attest(history: History, verdict: str, seconds: int) -> Answer:
    """``fn_preflight_attest``, for at most seven days."""
    if verdict not in ("PASS", "WARN", "BLOCK"):
        raise Refused("23514", "preflight_attestation_verdict_check")
    if not 1 <= seconds <= 604800:
        raise Refused("23514", "preflight_attestation_valid_seconds_check")
    return Answer(None, (Attestation(verdict, history.now + seconds),))


# --- Leases (section 4) ----------------------------------------------------------------------------------------------------


def acquire(history: History, session_actor: str, key: str, holder: str, seconds: int) -> Answer:
    """Told: the token, or None where a live different holder has it. Taking it again ends one's own old token."""
    _refuse_first("dot_iu_runtime_lease", _lease_problems(key, holder, seconds))
    if key.startswith("dot_exec:"):
        _require_part(history, session_actor, key.removeprefix("dot_exec:"))
    last, live = history.newest(Lease, key=key), history.live_lease(key)
    if live and (live.holder, live.session_actor) != (holder, session_actor):
        return Answer(None)
    token = last.token + 1 if last else 1
    return Answer(token, (Lease(key, holder, session_actor, token, history.now + seconds),))


def _require_part(history: History, session_actor: str, code: str) -> None:
    """A candidate's lease is for a login that may record one of its parts."""
    candidate = history.newest(Candidate, code=code)
    if candidate is None:
        raise Refused("23503", "dot_iu_runtime_lease_process_candidate_code_fkey")
    roles = (candidate.producer_role, candidate.verifier_role)
    if not any(role is None or history.newest(Member, login=session_actor, role=role) for role in roles):
        raise Refused("23514", "dot_iu_runtime_lease_role_check")


def renew(history: History, session_actor: str, key: str, holder: str, token: int, seconds: int) -> Answer:
    """Told: whether the lease was live under this holder, login and token; one that is over does not come back."""
    _refuse_first("dot_iu_runtime_lease", _lease_problems(key, holder, seconds))
    live = history.live_lease(key)
    if live is None or (live.holder, live.session_actor, live.token) != (holder, session_actor, token):
        return Answer(False)
    return Answer(True, (replace(live, expires_at=history.now + seconds),))


def release(history: History, session_actor: str, key: str, holder: str, token: int) -> Answer:
    """Ends the lease now; its token stays, so that the next one is higher."""
    live = history.live_lease(key)
    renewed = renew(history, session_actor, key, holder, token, 1)
    return Answer(True, (replace(live, expires_at=history.now),)) if live and renewed.told else renewed


def _lease_problems(key: str, holder: str, seconds: int) -> Iterator[str]:
    if not is_code(key, 240):
        yield "lease_key_check"
    if not is_code(holder):
        yield "holder_check"
    if not 1 <= seconds <= 3600:
        yield "ttl_seconds_check"


# --- What the views say (section 5, Views) ---------------------------------------------------------------------------------


def components_of(history: History, run: Run) -> list[Component]:
    """The components of a run, in the order in which they were observed."""
    mine = history.all(Component, process_candidate_code=run.process_candidate_code, process_run_id=run.process_run_id)
    return sorted(mine, key=lambda one: one.observed_at)


_PRODUCED = ("producer", "step_completed")
_BOTH_COMPLETED = {_PRODUCED, ("verifier", "step_completed")}


def end_state(history: History, run: Run) -> str:
    """``v_process_run``: the first that holds. The header's status never proves an end once there are components."""
    components = components_of(history, run)
    said = {one.status for one in components} if components else {run.status}
    tokens = [one.lease_token for one in (run, *components) if one.lease_token is not None]
    live = history.live_lease(f"dot_exec:{run.process_candidate_code}")
    if run.status == "blocked":
        return "blocked"
    if "failed" in said:
        return "failed"
    if said & {"cancelled", "skipped"}:
        return "skipped"
    parts = {(one.component_role, one.status) for one in components}
    if parts >= _BOTH_COMPLETED:
        return "completed"
    if not components and run.status in ("observed", "prepared"):
        return "prepared"
    if run.evidence_type == SIMULATED or (live is not None and max(tokens) == live.token):
        return "open"
    if _PRODUCED in parts and "verifier" not in {role for role, _ in parts}:
        return "awaits_verifier"
    return "stale"


@dataclass(frozen=True)
class RunVerdict:
    """``v_process_run_runtime_v2`` and ``v_process_run_verification_v3`` of one REAL_RUN."""

    run: Run
    has_real_runtime: bool
    cross_component_correlation: bool
    reasons: tuple[str, ...]
    produced: Component | None
    """The producer's row where it completed, and the verifier's."""
    checked: Component | None
    caveats: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Computed, never claimed [seed]."""
        return self.has_real_runtime and self.cross_component_correlation

    @property
    def independently_verified(self) -> bool:
        """Verified, and nothing that a stranger would ask about."""
        return self.verified and not self.caveats

    @property
    def same_session_actor(self) -> bool | None:
        """Whether one login recorded both; unknown until both completed."""
        if self.produced is None or self.checked is None:
            return None
        return self.produced.session_actor == self.checked.session_actor


def ingredients(history: History, run: Run) -> list[Component]:
    """The components that a verdict looks at: none under a word of the amendment."""
    return [one for one in components_of(history, run) if one.status not in AMENDED]


def is_real(run: Run) -> bool:
    """Whether a verdict looks at a run at all: a REAL_RUN that is not stored as skipped."""
    return run.evidence_type == REAL and run.status not in AMENDED


def run_verdict(history: History, run: Run) -> RunVerdict:
    """The producer completed, the verifier completed, in one correlation, and the verifier began after that."""
    components = ingredients(history, run)
    producer = [one for one in components if one.component_role == "producer"]
    verifier = [one for one in components if one.component_role == "verifier"]
    produced = next((one for one in producer if one.status == "step_completed"), None)
    checked = next((one for one in verifier if one.status == "step_completed"), None)
    correlated = all(one.correlation_id == run.correlation_id for one in (produced, checked) if one)
    too_early = bool(produced and verifier and verifier[0].observed_at <= produced.observed_at)
    reasons = {
        "producer_missing": not producer,
        "producer_not_completed": bool(producer) and not produced,
        "verifier_missing": not verifier,
        "verifier_not_completed": bool(verifier) and not checked,
        "correlation_differs": not correlated,
        "verifier_not_after_producer": too_early,
    }
    found = RunVerdict(
        run,
        has_real_runtime=produced is not None,
        cross_component_correlation=bool(produced and checked and correlated and not too_early),
        reasons=tuple(word for word, holds in reasons.items() if holds),
        produced=produced,
        checked=checked,
    )
    if not (found.verified and produced and checked):
        return found
    max_age = history.all(Candidate, code=run.process_candidate_code)[0].max_age
    unnamed = produced.output_ref is None or checked.input_ref is None
    caveats = {
        "same_session_actor": produced.session_actor == checked.session_actor,
        "output_not_named": unnamed,
        "other_output": not unnamed and produced.output_ref != checked.input_ref,
        "older_than_max_age": max_age is not None and checked.observed_at < history.now - max_age,
    }
    return replace(found, caveats=tuple(word for word, holds in caveats.items() if holds))


@dataclass(frozen=True)
class Verdict:
    """``v_process_runtime_v2``, ``v_process_verification_v3`` and ``v_process_run_count`` of one candidate [seed]."""

    latest: RunVerdict | None
    last_verified: Run | None
    reasons: tuple[str, ...]
    runs: dict[str, int]

    @property
    def verified(self) -> bool:
        """By the latest REAL_RUN alone: an old success does not vouch for ever."""
        return self.latest is not None and self.latest.verified


def verdict(history: History, candidate: str) -> Verdict:
    """Nothing but REAL_RUN rows decides; only the choice between no_run and no_real_run looks at others. The latest is the one under
    the highest token: tokens only grow, whatever the clock does."""
    runs = [run for run in history.all(Run, process_candidate_code=candidate) if run.status != "blocked"]
    real = [run_verdict(history, run) for run in sorted(filter(is_real, runs), key=_by_token)]
    latest = real[-1] if real else None
    return Verdict(
        latest,
        last_verified=latest.run if latest and latest.verified else _verified_last(real),
        reasons=latest.reasons if latest else ("no_real_run",) if runs else ("no_run",),
        runs={word: sum(run.evidence_type == word for run in runs) for word in LADDER},
    )


def _verified_last(runs: Sequence[RunVerdict]) -> Run | None:
    """Of the verified runs the one whose verifier completed last."""
    ends = [(_by_token(one.checked), one.run) for one in runs if one.verified and one.checked]
    return max(ends, key=lambda end: end[0])[1] if ends else None


def _by_token(observation: Observation) -> tuple[int, int, uuid.UUID]:
    return observation.lease_token or 0, observation.observed_at, observation.process_run_id
