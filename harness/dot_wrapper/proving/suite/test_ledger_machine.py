"""Long stories of calls, told to the database and to the model: after each step both show the same."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dot_wrapper.proving import model
from dot_wrapper.proving.support import GATES, IN_BOTH_STATES, PRODUCER, VERIFIER, Database
from dot_wrapper.proving.twin import STRANGER, STRICT, Twin

RUN_IDS = [uuid.UUID(int=number) for number in range(1, 6)]


THEN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)

# A token is good for the login that took it: who has the lease gets further than others.
who = st.sampled_from(["holder", "holder", "holder", "writer", "operator"])
anyone = st.sampled_from(["writer", "writer", "operator"])
pair = st.sampled_from([0, 0, 0, 1])
run_ids = st.sampled_from(RUN_IDS)
which = st.integers(0, 3)
roles = st.sampled_from(["producer", "verifier"])
words = st.sampled_from(["prepared", "started", "started", "completed", "completed", "failed", "skipped"])
beginnings = st.sampled_from(["started", "started", "started", "completed", "failed", "skipped"])
ends = st.sampled_from(["completed", "completed", "completed", "failed", "skipped"])
outputs = st.sampled_from(["s3://out/1", "s3://out/1", "s3://out/1", "s3://out/2", None])
evidence_types = st.sampled_from([model.SIMULATED, model.DRY, model.REAL, model.REAL, model.REAL])
holder = st.sampled_from(["anna", "anna", "anna", "boris"])
token = st.sampled_from(["live", "live", "live", "stale", "none"])
key = st.sampled_from([None, "key-1", "key-2"])
dot = st.sampled_from(["right"] * 8 + ["swapped", "stranger", "unknown"])
verdicts = st.sampled_from(["PASS", "WARN", "BLOCK", None])
gate_values = st.sampled_from(["true", "true", "true", "false", "false", "TRUE", None])

parents = st.sampled_from([*RUN_IDS, None])
errors = st.sampled_from(["preflight_check", "preflight_check", None])
grades_of_a_refusal = st.sampled_from([model.SIMULATED, model.SIMULATED, model.SIMULATED, model.REAL])

# Another value for each field that a caller sends, so that a repeated call can differ in any one.
OTHER: dict[str, list[Any]] = {
    "process_candidate_code": [0, 1],
    "dot_code": [PRODUCER, VERIFIER, STRANGER],
    "process_run_id": RUN_IDS,
    "correlation_id": ["corr-1", "corr-2"],
    "evidence_type": list(model.LADDER),
    "dry_run": [True, False],
    "component_role": ["producer", "verifier"],
    "status": [*model.RUN_WORDS, "blocked"],
    "actor": ["anna", "boris"],
    "idempotency_key": ["key-1", "key-2", None],
    "parent_run_id": [None, RUN_IDS[0], RUN_IDS[1]],
    "input_ref": [None, "s3://in/1", "s3://in/2"],
    "output_ref": [None, "s3://out/1"],
    "error_ref": [None, "s3://err/1"],
    "evidence_ref": [
        *({}, {"rows": 1}, {"rows": 1.0}, {"rows": 1.5}, {"rows": True}, {"rows": "1"}, {"rows": 1, "more": [None]}),
        *({"rows": 1, "attempt": {"pid": 1}}, {"rows": 1, "attempt": {"pid": 2}}, {"attempt": None}),
    ],
    "occurred_at": [None, THEN, THEN.astimezone(timezone(timedelta(hours=1))), THEN + timedelta(seconds=1), "infinity"],
    "lease_token": [None, 0, 1, 2],
}
payload = st.fixed_dictionaries(
    {
        name: st.sampled_from(OTHER[name])
        for name in ("correlation_id", "actor", "idempotency_key", "input_ref", "evidence_ref", "occurred_at")
    }
)


class LedgerMachine(RuleBasedStateMachine):
    """One story. Who may wait for whom is kept out, but for calls that wait 20 ms for the writer's open transaction.

    Hypothesis picks rules evenly, so what shall happen often is a rule of its own, and what shall be rare shares one.
    """

    def __init__(self, db: Database) -> None:
        super().__init__()
        if db.story:
            db.story.begin()
        self.twin = Twin(db, second=STRICT)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def teardown(self) -> None:
        self.twin.close()

    @initialize(
        first=st.sampled_from([model.REAL, model.REAL, model.REAL, model.DRY, None]),
        key=key,
        events=st.lists(st.sampled_from(sorted(model.EVENT_TYPES)), unique=True, max_size=10),
    )
    def begin_story(self, first: str | None, key: str | None, events: list[str]) -> None:
        """Most begin with a run that was let in."""
        for name in events:
            self.twin.set_event_type(name, True)
        if first:
            self.make_ready(0, "anna")
            self.start_run("writer", 0, RUN_IDS[0], first, "started", key)

    @property
    def has_runs(self) -> bool:
        return bool(self.twin.seen_by("writer").all(model.Run))

    # --- Observations as a good caller makes them ---

    @precondition(lambda self: not self.twin.holds_latch)
    @rule(pair=pair, holder=holder)
    def make_ready(self, pair: int, holder: str) -> None:
        """All that a REAL_RUN needs, unless another holder has the lease."""
        for gate in GATES:
            if not model.is_open(self.twin.committed, gate):
                self.twin.set_gate(gate, "true")
        self.twin.attest("PASS")
        self.twin.acquire("writer", self.twin.candidates[pair], holder)

    @rule(who=anyone, pair=pair, run_id=run_ids, evidence_type=evidence_types, holder=holder, key=key)
    def begin_run(
        self, who: str, pair: int, run_id: uuid.UUID, evidence_type: str, holder: str, key: str | None
    ) -> None:
        """As the caller path does it: gates, preflight, lease, header in one call."""
        if who == "operator" and self.twin.holds_lease(self.twin.candidates[pair]):
            return
        arguments = self.run_arguments(who, pair, run_id, evidence_type, idempotency_key=key)
        for name in ("status", "output_ref", "error_ref", "lease_token"):
            del arguments[name]
        self.twin.begin_run(who, holder, **arguments)

    @rule(pair=pair)
    def hand_over(self, pair: int) -> None:
        """The lease goes from one login to the other."""
        candidate = self.twin.candidates[pair]
        live = self.twin.committed.live_lease(f"dot_exec:{candidate}")
        if live is None or self.twin.holds_lease(candidate):
            return
        one = self.login_of(pair)
        self.twin.release(one, candidate, live.holder, live.token)
        self.twin.acquire("operator" if one == "writer" else "writer", candidate, live.holder)

    @rule(pair=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1]), hours=st.integers(-1, 1))
    def supersede(self, pair: int, hours: int) -> None:
        """Once a story: what follows is refused above a simulation."""
        if len(self.twin.candidates) == 2 and self.calls:
            self.twin.supersede(pair, timedelta(hours=hours))

    @rule(who=who, pair=pair, run_id=run_ids, evidence_type=evidence_types, word=beginnings, key=key)
    def start_run(self, who: str, pair: int, run_id: uuid.UUID, evidence_type: str, word: str, key: str | None) -> None:
        arguments = self.run_arguments(who, pair, run_id, evidence_type, status=word, idempotency_key=key)
        self.observe("run", who, arguments)

    @precondition(lambda self: self.has_runs)
    @rule(who=who, which=which, role=roles, key=key)
    def complete_component(self, who: str, which: int, role: str, key: str | None) -> None:
        self.observe("component", who, self.component_arguments(who, which, role, idempotency_key=key))

    @precondition(lambda self: self.has_runs)
    @rule(who=who, which=which, ends=st.tuples(ends, ends), over=st.booleans(), named=st.tuples(outputs, outputs))
    def end_both(
        self, who: str, which: int, ends: tuple[str, str], over: bool, named: tuple[str | None, str | None]
    ) -> None:
        """Producer and verifier, by one login or by two, and what they say that was written and looked at."""
        for role, word, ref in zip(("producer", "verifier"), ends, named, strict=True):
            refs = {"output_ref" if role == "producer" else "input_ref": ref}
            self.observe("component", who, self.component_arguments(who, which, role, status=word, **refs))
            if over and role == "producer":
                self.hand_over(self.pair_of(which))

    @precondition(lambda self: self.has_runs)
    @rule(who=who, which=which, role=roles, word=words, payload=payload)
    def observe_component(self, who: str, which: int, role: str, word: str, payload: dict[str, Any]) -> None:
        self.observe("component", who, self.component_arguments(who, which, role, status=word, **payload))

    @rule(who=who, pair=pair, run_id=run_ids, parent=parents, error=errors, evidence_type=grades_of_a_refusal)
    def tell_of_a_refusal(
        self, who: str, pair: int, run_id: uuid.UUID, parent: uuid.UUID | None, error: str | None, evidence_type: str
    ) -> None:
        arguments = self.run_arguments(
            who, pair, run_id, evidence_type, status="blocked", parent_run_id=parent, error_ref=error
        )
        self.observe("run", who, arguments)

    # --- Observations as every writer makes them ---

    @rule(
        who=who,
        pair=pair,
        dot=dot,
        run_id=run_ids,
        evidence_type=evidence_types,
        word=words,
        token=token,
        payload=payload,
    )
    def observe_some_run(
        self,
        who: str,
        pair: int,
        dot: str,
        run_id: uuid.UUID,
        evidence_type: str,
        word: str,
        token: str,
        payload: dict[str, Any],
    ) -> None:
        arguments = self.run_arguments(
            who,
            pair,
            run_id,
            evidence_type,
            status=word,
            dot_code=self.dot_of(pair, "producer", dot),
            lease_token=self.token_of(who, pair, token),
            **payload,
        )
        self.observe("run", who, arguments)

    @precondition(lambda self: self.calls)
    @rule(who=who, which=which, token=st.sampled_from(["live", "as it was"]))
    def say_it_again(self, who: str, which: int, token: str) -> None:
        """The same call, with the token that is live now or the one it had."""
        kind, arguments = self.calls[-1 - which % len(self.calls)]
        with_token = self.with_live_token(who, arguments) if token == "live" else arguments  # noqa: S105  a lease's
        self.observe(kind, who, with_token)

    @precondition(lambda self: self.calls)
    @rule(who=who, which=which, data=st.data())
    def say_it_again_with_one_field_changed(self, who: str, which: int, data: st.DataObject) -> None:
        kind, arguments = self.calls[-1 - which % len(self.calls)]
        field = data.draw(st.sampled_from([name for name in OTHER if name in arguments]), label="field")
        value = data.draw(st.sampled_from(OTHER[field]), label="value")
        changed = self.with_live_token(who, arguments)
        changed[field] = self.twin.candidates[value] if field == "process_candidate_code" else value
        if field == "evidence_type":
            changed["dry_run"] = value != model.REAL
        self.observe(kind, who, changed)

    def observe(self, kind: str, who: str, arguments: dict[str, Any]) -> None:
        if who == "holder":
            code = arguments["process_candidate_code"]
            who = self.login_of(self.twin.candidates.index(code) if code in self.twin.candidates else 0)
        outcome = getattr(self.twin, f"observe_{kind}")(who, **arguments)
        if outcome[0] == "told" and arguments["idempotency_key"]:
            self.calls.append((kind, arguments))

    def run_arguments(
        self, who: str, pair: int, run_id: uuid.UUID, evidence_type: str, **replaced: Any
    ) -> dict[str, Any]:
        return {
            "process_candidate_code": self.twin.candidates[pair],
            "dot_code": self.dot_of(pair, "producer", "right"),
            "process_run_id": run_id,
            "correlation_id": "corr-1",
            "evidence_type": evidence_type,
            "dry_run": evidence_type != model.REAL,
            "status": "started",
            "actor": "anna",
            "idempotency_key": None,
            "parent_run_id": None,
            "input_ref": None,
            "output_ref": None,
            "error_ref": None,
            "evidence_ref": {},
            "occurred_at": None,
            "lease_token": None if evidence_type == model.SIMULATED else self.token_of(who, pair, "live"),
            **replaced,
        }

    def component_arguments(self, who: str, which: int, role: str, **replaced: Any) -> dict[str, Any]:
        """For a run that is there, even one that only the writer's transaction has; for any where there is none."""
        header = self.run_of(which)
        pair = self.pair_of(which)
        simulated = header is None or header.evidence_type == model.SIMULATED
        return {
            "process_candidate_code": self.twin.candidates[pair],
            "dot_code": self.dot_of(pair, role, "right"),
            "process_run_id": header.process_run_id if header else RUN_IDS[0],
            "correlation_id": header.correlation_id if header else "corr-1",
            "component_role": role,
            "status": "completed",
            "actor": "anna",
            "idempotency_key": None,
            "input_ref": None,
            "output_ref": None,
            "error_ref": None,
            "evidence_ref": {},
            "occurred_at": None,
            "lease_token": None if simulated else self.token_of(who, pair, "live"),
            **replaced,
        }

    def run_of(self, which: int) -> model.Run | None:
        runs = self.twin.seen_by("writer").all(model.Run)
        return runs[-1 - which % len(runs)] if runs else None

    def pair_of(self, which: int) -> int:
        header = self.run_of(which)
        return self.twin.candidates.index(header.process_candidate_code) if header else 0

    def login_of(self, pair: int) -> str:
        """Who has the lease, or had it last."""
        lease = self.twin.seen_by("writer").newest(model.Lease, key=f"dot_exec:{self.twin.candidates[pair]}")
        return "operator" if lease and lease.session_actor == self.twin.db.login("operator") else "writer"

    def with_live_token(self, who: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["lease_token"] is None:
            return dict(arguments)
        pair = self.twin.candidates.index(arguments["process_candidate_code"])
        return {**arguments, "lease_token": self.token_of(who, pair, "live")}

    def dot_of(self, pair: int, role: str, which: str) -> str:
        own = [PRODUCER, VERIFIER] if (pair == 0) == (role == "producer") else [VERIFIER, PRODUCER]
        return {"right": own[0], "swapped": own[1], "stranger": STRANGER, "unknown": "dot.unknown"}[which]

    def token_of(self, who: str, pair: int, which: str) -> int | None:
        seen = self.twin.seen_by("writer" if who == "holder" else who)
        lease = seen.newest(model.Lease, key=f"dot_exec:{self.twin.candidates[pair]}")
        token = lease.token if lease else 0
        return {"live": token, "stale": token - 1, "none": None}[which]

    # --- Leases, gates, event types, attestations ---

    @rule(who=anyone, pair=pair, holder=holder, what=st.sampled_from(["acquire", "renew", "release"]), token=token)
    def call_lease(self, who: str, pair: int, holder: str, what: str, token: str) -> None:
        candidate, number = self.twin.candidates[pair], self.token_of(who, pair, token) or 0
        if who == "operator" and self.twin.holds_lease(candidate):
            return  # it would wait half a second for the lease that the writer's transaction has: too long here
        match what:
            case "acquire":
                self.twin.acquire(who, candidate, holder)
            case "renew":
                self.twin.renew(who, candidate, holder, number)
            case "release":
                self.twin.release(who, candidate, holder, number)

    @rule(pair=pair, put_back=st.booleans())
    def lose_lease(self, pair: int, put_back: bool) -> None:
        candidate = self.twin.candidates[pair]
        if self.twin.holds_lease(candidate):
            return
        if put_back:
            self.twin.put_lease_back(candidate)
        else:
            self.twin.let_lease_run_out(candidate)

    @rule(gate=st.sampled_from([*GATES, None]), edited=st.booleans(), value=gate_values, verdict=verdicts)
    def switch(self, gate: str | None, edited: bool, value: str | None, verdict: str | None) -> None:
        if gate is None and verdict is None:
            self.twin.let_attestation_run_out()
        elif gate is None:
            self.twin.attest(str(verdict))
        elif edited or value is None:
            self.twin.edit_gate(gate, value)
        elif not self.twin.holds_latch:
            self.twin.set_gate(gate, value)

    @rule(name=st.sampled_from([*sorted(model.EVENT_TYPES), "process.run.blocked", None]), active=st.booleans())
    def outbox(self, name: str | None, active: bool) -> None:
        if name:
            self.twin.set_event_type(name, active)
        else:
            self.twin.acknowledge()

    # --- The writer's transaction ---

    @precondition(lambda self: self.twin.pending is None)
    @rule()
    def begin(self) -> None:
        self.twin.begin()

    @precondition(lambda self: self.twin.pending is not None)
    @rule(end=st.sampled_from(["commit", "commit", "rollback", "savepoint", "savepoint", "rollback to savepoint"]))
    def go_on(self, end: str) -> None:
        match end:
            case "commit":
                self.twin.commit()
            case "rollback":
                self.twin.rollback()
            case "savepoint":
                self.twin.savepoint()
            case "rollback to savepoint" if self.twin.savepoints:
                self.twin.rollback_to_savepoint()

    @invariant()
    def both_show_the_same(self) -> None:
        self.twin.compare()


@IN_BOTH_STATES
def test_the_database_does_what_the_model_says(db: Database, seeded: Callable[[type], type]) -> None:
    class OnThisDatabase(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(db)

    # A story has many calls: two thirds of the profile's examples, of up to forty steps, take 20 s on a quiet machine. The
    # amendment changes little: half as many tell of it.
    size = settings(max_examples=settings().max_examples * 2 // (6 if db.amended else 3), stateful_step_count=40)
    run_state_machine_as_test(seeded(OnThisDatabase), settings=size)
