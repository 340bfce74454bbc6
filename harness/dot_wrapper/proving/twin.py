"""The ledger in the database and the ledger of the model, given the same calls: both must end alike, and show the same."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dot_wrapper.proving import model
from dot_wrapper.proving.support import GATES, PRODUCER, VERIFIER, Connection, Database, call, poll, rows

STRANGER = "dot.stranger"  # in the catalogue, of no candidate
STRICT = model.Candidate(
    *("", "", ""),
    verifier_role="dot_relay",
    pins_output=True,
    max_age=0,
    source_time=datetime(2026, 11, 21, tzinfo=UTC),
)
"""A candidate that asks for all it can. The operator alone is a member of the role, and a verification is too old at once."""

_ROLES = {"writer": ("dot_writer",), "operator": ("dot_writer", "dot_relay")}
OWN_WAIT = "55P03"

Outcome = tuple[Any, ...]
Identity = tuple[str, uuid.UUID, str, str]

_VIEWS = {
    "runs": ("v_process_run", "observed_at"),
    "components": ("v_process_run_component", "observed_at"),
    "real": ("v_process_run_runtime_v2", "observed_at"),
    "real_verdicts": ("v_process_run_verification_v3", "observed_at"),
    "runtime": ("v_process_runtime_v2", "process_candidate_code"),
    "verdicts": ("v_process_verification_v3", "process_candidate_code"),
    "counts": ("v_process_run_count", "process_candidate_code"),
}
_READ = "select " + ", ".join(
    f"(select coalesce(jsonb_agg(to_jsonb(v) order by v.{order}), '[]') from dot.{view} as v"
    f" where v.process_candidate_code = any(%(candidates)s)) as {name}"
    for name, (view, order) in _VIEWS.items()
)
_READ += """, (
    select coalesce(jsonb_agg(jsonb_build_array(v.lease_key, v.is_live, v.holder, v.session_actor, v.token)
        order by v.lease_key), '[]')
    from dot.v_dot_lease as v where v.process_candidate_code = any(%(candidates)s)
) as leases"""

_numbers = itertools.count(1)


class Differs(AssertionError):
    """The database does something else than the model says.

    Attributes:
        what: the call, or what is shown.
        model, database: what each says of it.
        look: the query that shows it, where it is no call.
    """

    def __init__(self, what: str, model: object, database: object, look: str | None = None) -> None:
        super().__init__(f"{what}: the model says {model}, the database {database}")
        self.what, self.model, self.database, self.look = what, model, database, look


class Twin:
    """Two candidates of their own in a database that others used before, and the model of them.

    New candidates are the cheap way to a fresh ledger, because the candidate is the shard key: defining two takes about 2 ms,
    emptying the tables as the owner 20 ms and more, with every plan of every session thrown away. What is not a candidate's,
    gates, event types and the attestation, is put back by the owner.

    ``writer`` may have a transaction open, in which each call has a savepoint of its own, as a careful program does it;
    ``operator``, another login, commits each call at once and waits 20 ms for no other.
    """

    def __init__(self, db: Database, *, second: model.Candidate | None = None) -> None:
        """``second``: what the second candidate asks for beside its pair."""
        number = next(_numbers)
        self.db = db
        self.candidates = [f"pair-{number}.a", f"pair-{number}.b"]
        plain = model.Candidate(self.candidates[0], PRODUCER, VERIFIER)
        strict = second or plain
        self.definitions = [plain, replace(strict, code=self.candidates[1], producer=VERIFIER, verifier=PRODUCER)]
        self.pending: list[model.Fact] | None = None
        """What the writer's open transaction has added so far; None while none is open."""
        self.savepoints: list[int] = []
        self.held_back: list[model.Fact] | None = None
        """What others added since the writer's open transaction wrote first: the relay is not shown it before that ends."""
        self.component_ids: dict[uuid.UUID, Identity] = {}
        self.delivered: list[dict[str, Any]] = []
        self.committed = model.History(self._facts_at_the_start(), now=1, amended=db.amended)
        db.session("operator").execute("set lock_timeout = '20ms'")
        # The first event of all begins the outbox's epoch, and others wait until that is committed.
        db.session("owner").execute("select dot.fn_outbox_epoch(true)")
        with db.looking():
            db.session("reader").execute("set plan_cache_mode = force_generic_plan")

    def _facts_at_the_start(self) -> tuple[model.Fact, ...]:
        dots = (PRODUCER, VERIFIER, STRANGER)
        cataloguer, owner = self.db.session("cataloguer"), self.db.session("owner")
        for dot in dots:
            cataloguer.execute("select dot.fn_dot_tool_register(%s)", (dot,))
        for one in self.definitions:
            self._define(one)
        for gate in GATES:  # by a decision: the one before it might have been to open it
            _value(self.db.session("gatekeeper"), "fn_dot_config_set", gate, "false", "tester", "for a test")
        owner.execute("update dot.event_type set active = false where active")
        self._store_expired_attestation()
        self.acknowledge()
        return (
            *map(model.Dot, dots),
            *self.definitions,
            *(model.Member(self.db.login(who), role) for who, roles in _ROLES.items() for role in roles),
            *(fact for gate in GATES for fact in model.set_gate(gate, "false").adds),
        )

    def _define(self, one: model.Candidate) -> None:
        arguments = {
            "code": one.code,
            "producer_dot_code": one.producer,
            "verifier_dot_code": one.verifier,
            "actor": "tester",
            "producer_role": one.producer_role,
            "verifier_role": one.verifier_role,
            "pins_output": one.pins_output,
            # The shortest time there is has passed before any look.
            "max_age": None if one.max_age is None else f"{one.max_age + 1} microseconds",
            "supersedes": one.supersedes,
            "source_time": one.source_time,
        }
        assert call(self.db.session("cataloguer"), "fn_process_candidate_define", arguments)["created"]

    def supersede(self, at: int, later: timedelta = timedelta(hours=1)) -> None:
        """A candidate of the same pair follows the one at this place. Where that one has a source's time, its own is so much later."""
        self.tick()
        before = self.committed.all(model.Candidate, code=self.candidates[at])[0]
        code = f"{before.code.rpartition('.')[0]}.{'abcdef'[len(self.candidates)]}"  # in the order of definition
        source_time = before.source_time and before.source_time + later
        pair = replace(before, code=code, supersedes=before.code, source_time=source_time)
        self._define(pair)
        self.candidates.append(pair.code)
        self._add("cataloguer", pair)

    def close(self) -> None:
        """Ends what is open."""
        if self.pending is not None:
            self.rollback()

    # --- Calls -------------------------------------------------------------------------------------------------------------

    def observe_run(self, who: str, **arguments: Any) -> Outcome:
        """fn_process_run_observe."""

        def rule(ledger: model.History) -> model.Answer:
            return model.observe_run(ledger, self.db.login(who), **arguments)

        def really(connection: Connection) -> Outcome:
            return tuple(call(connection, "fn_process_run_observe", _as_parameters(arguments)).values())

        return self._play(who, rule, really)

    def observe_component(self, who: str, **arguments: Any) -> Outcome:
        """fn_process_component_observe; a component is told by its natural key, because the database draws its id."""

        def rule(ledger: model.History) -> model.Answer:
            answer = model.observe_component(ledger, self.db.login(who), **arguments)
            component, created = answer.told
            return model.Answer((_identity(component), created), answer.adds)

        def really(connection: Connection) -> Outcome:
            told = call(connection, "fn_process_component_observe", _as_parameters(arguments))
            if told["created"]:
                assert told["component_id"] not in self.component_ids
                word, _ = model.as_stored(self.committed, model.COMPONENT_WORDS, arguments["status"], {})
                of = [arguments[name] for name in ("process_candidate_code", "process_run_id", "component_role")]
                self.component_ids[told["component_id"]] = (*of, word)
            return self.component_ids[told["component_id"]], told["created"]

        return self._play(who, rule, really)

    def begin_run(self, who: str, holder: str, seconds: int = 600, **arguments: Any) -> Outcome:
        """fn_process_run_begin."""

        def rule(ledger: model.History) -> model.Answer:
            answer = model.begin_run(ledger, self.db.login(who), holder, seconds, **arguments)
            *told, opened, verdicts = answer.told
            return model.Answer((*told, set(opened), verdicts), answer.adds)

        def really(connection: Connection) -> Outcome:
            given = {"holder": holder, "ttl_seconds": seconds, **_as_parameters(arguments)}
            *told, opened, checks = call(connection, "fn_process_run_begin", given).values()
            return *told, set(opened), {one["check_name"]: one["verdict"] for one in checks}

        return self._play(who, rule, really)

    def acquire(self, who: str, candidate: str, holder: str, seconds: int = 600) -> Outcome:
        """fn_dot_iu_runtime_lease_acquire."""
        key = f"dot_exec:{candidate}"
        return self._play(
            who,
            lambda ledger: model.acquire(ledger, self.db.login(who), key, holder, seconds),
            lambda connection: _value(connection, "fn_dot_iu_runtime_lease_acquire", key, holder, seconds),
        )

    def renew(self, who: str, candidate: str, holder: str, token: int, seconds: int = 600) -> Outcome:
        """fn_dot_iu_runtime_lease_renew."""
        key = f"dot_exec:{candidate}"
        return self._play(
            who,
            lambda ledger: model.renew(ledger, self.db.login(who), key, holder, token, seconds),
            lambda connection: _value(connection, "fn_dot_iu_runtime_lease_renew", key, holder, token, seconds),
        )

    def release(self, who: str, candidate: str, holder: str, token: int) -> Outcome:
        """fn_dot_iu_runtime_lease_release."""
        key = f"dot_exec:{candidate}"
        return self._play(
            who,
            lambda ledger: model.release(ledger, self.db.login(who), key, holder, token),
            lambda connection: _value(connection, "fn_dot_iu_runtime_lease_release", key, holder, token),
        )

    def set_gate(self, gate: str, value: str) -> Outcome:
        """fn_dot_config_set."""

        def really(connection: Connection) -> None:
            _value(connection, "fn_dot_config_set", gate, value, "tester", "for a test")

        return self._play("gatekeeper", lambda _: model.set_gate(gate, value), really)

    def set_event_type(self, name: str, active: bool) -> Outcome:
        """fn_event_type_set."""

        def really(connection: Connection) -> None:
            _value(connection, "fn_event_type_set", name, active, "tester", "for a test")

        return self._play("gatekeeper", lambda _: model.set_event_type(name, active), really)

    def attest(self, verdict: str, seconds: int = 3600) -> Outcome:
        """fn_preflight_attest."""

        def really(connection: Connection) -> None:
            _value(connection, "fn_preflight_attest", "fs_snapshot_present", verdict, seconds, "tester", "found")

        return self._play("gatekeeper", lambda ledger: model.attest(ledger, verdict, seconds), really)

    def _play(
        self, who: str, rule: Callable[[model.History], model.Answer], really: Callable[[Connection], Any]
    ) -> Outcome:
        """The call in both: the outcomes must be equal, but where the database would wait for the writer's transaction."""
        self.tick()
        inside = who == "writer" and self.pending is not None
        adds: tuple[model.Fact, ...] = ()
        try:
            answer = rule(self.seen_by(who))
        except model.Refused as refusal:
            # `evidence_ref` and the like are a set: which fields differ is the contract, not their order.
            expected: Outcome = ("refused", refusal.sqlstate, refusal.constraint, frozenset(refusal.differing))
        else:
            expected, adds = ("told", answer.told), answer.adds

        connection = self.db.session(who)
        if inside:
            connection.execute("savepoint this_call")
        try:
            found: Outcome = ("told", really(connection))
        except psycopg.Error as error:
            found = _refusal(error)
            if inside:
                connection.execute("rollback to savepoint this_call")
        if inside:
            connection.execute("release savepoint this_call")

        if not inside and found[:2] == ("refused", OWN_WAIT):
            assert self._waits(expected, adds), (found, expected)
            return found
        if found != expected:
            raise Differs("the last call", _said(expected), _said(found))
        assert inside or not self._waits_for_sure(adds), "the call should have waited for the writer's transaction"
        self._add(who, *adds)
        return found

    # --- What other sessions and time do ------------------------------------------------------------------------------------

    def let_lease_run_out(self, candidate: str) -> None:
        """The end of the lease passes."""
        self.tick()
        lease = self.committed.live_lease(f"dot_exec:{candidate}")
        if lease:
            self._store_lease(
                model.Lease(lease.key, lease.holder, lease.session_actor, lease.token, self.committed.now)
            )

    def put_lease_back(self, candidate: str) -> None:
        """The lease table is restored to an older state: the live token is lower than one that was used."""
        self.tick()
        lease = self.committed.live_lease(f"dot_exec:{candidate}")
        if lease and lease.token > 1:
            self._store_lease(
                model.Lease(lease.key, lease.holder, lease.session_actor, lease.token - 1, lease.expires_at)
            )

    def _store_lease(self, lease: model.Lease) -> None:
        live = lease.expires_at > self.committed.now
        self.db.session("owner").execute(
            "update dot.dot_iu_runtime_lease set token = %s,"
            " expires_at = clock_timestamp() + make_interval(secs => %s) where lease_key = %s",
            (lease.token, 600 if live else -1, lease.key),
        )
        self._add("owner", lease)

    def let_attestation_run_out(self) -> None:
        """The newest attestation is one that is over. The owner may add such a row; the functions cannot."""
        self.tick()
        newest = self.committed.newest(model.Attestation)
        self._store_expired_attestation(newest.verdict if newest else "PASS")
        self._add("owner", model.Attestation("PASS", self.committed.now))

    def _store_expired_attestation(self, verdict: str = "PASS") -> None:
        self.db.session("owner").execute(
            "insert into dot.preflight_attestation (attestation_id, attested_at, expires_at, system_identifier,"
            " database_oid, check_name, verdict, finding, actor, session_actor)"
            " select coalesce((select max(a.attestation_id) from dot.preflight_attestation as a), 0) + 1,"
            " now() - interval '2 h', now() - interval '1 h', i.system_identifier, i.database_oid,"
            " 'fs_snapshot_present', %s, 'old', 'tester', 'tester' from dot.fn_database_identity() as i",
            (verdict,),
        )

    def edit_gate(self, gate: str, value: str | None) -> None:
        """A login stores what the function would refuse."""
        self.tick()
        self._store_gate(gate, value)
        self._add("owner", model.Gate(gate, value))

    def _store_gate(self, gate: str, value: str | None) -> None:
        self.db.session("owner").execute(
            "insert into dot.dot_config (key, value) values (%s, %s) on conflict (key) do update set value = excluded.value",
            (gate, value),
        )

    # --- The writer's transaction -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Opens the writer's transaction."""
        self.db.session("writer").execute("begin")
        self.pending, self.savepoints, self.held_back = [], [], None

    def savepoint(self) -> None:
        """Sets a savepoint in it."""
        assert self.pending is not None
        self.savepoints.append(len(self.pending))
        self.db.session("writer").execute(f"savepoint s{len(self.savepoints)}")

    def rollback_to_savepoint(self) -> None:
        """Takes back what came after the last savepoint."""
        assert self.pending is not None
        self.db.session("writer").execute(f"rollback to savepoint s{len(self.savepoints)}")
        del self.pending[self.savepoints.pop() :]

    def commit(self) -> None:
        """What it added is there for all, as of now."""
        assert self.pending is not None
        self.db.session("writer").execute("commit")
        self.committed, self.pending, self.held_back = self.committed.after(*self.pending), None, None

    def rollback(self) -> None:
        """What it added was never there."""
        self.db.session("writer").execute("rollback")
        self.pending, self.held_back = None, None

    def tick(self) -> None:
        """Every call has a moment of its own."""
        self.committed = replace(self.committed, now=self.committed.now + 1)

    def seen_by(self, who: str) -> model.History:
        """What is committed, and for the writer what it added itself."""
        return self.committed.after(*(self.pending or ())) if who == "writer" else self.committed

    def _add(self, who: str, *facts: model.Fact) -> None:
        if who == "writer" and self.pending is not None:
            self.pending.extend(facts)
            if facts and self.held_back is None:
                self.held_back = []
        else:
            self.committed = self.committed.after(*facts)
            if self.held_back is not None:
                self.held_back.extend(facts)

    # --- Who waits for the writer's transaction: no rule of the ledger's, but PostgreSQL's --------------------------------------

    @property
    def holds_latch(self) -> bool:
        """Whether a switch of a gate would wait."""
        return any(isinstance(fact, model.Observation) and fact.admission for fact in self.pending or ())

    def holds_lease(self, candidate: str) -> bool:
        """Whether the lease's row is locked: by taking it, or by an observation that needed it."""
        return any(
            (isinstance(fact, model.Lease) and fact.key == f"dot_exec:{candidate}")
            or (isinstance(fact, model.Observation) and fact.admission and fact.process_candidate_code == candidate)
            for fact in self.pending or ()
        )

    def _waits_for_sure(self, adds: tuple[model.Fact, ...]) -> bool:
        """What is added needs a locked lease, or clashes with a row whose transaction has not ended."""
        return any(
            isinstance(new, model.Observation)
            and (
                (new.admission and self.holds_lease(new.process_candidate_code))
                or any(_clash(new, old) for old in self.pending or ())
            )
            for new in adds
        )

    def _waits(self, expected: Outcome, adds: tuple[model.Fact, ...]) -> bool:
        """A call that is refused in the end for a clash may have waited for another clash before."""
        return self._waits_for_sure(adds) or bool(self.pending and expected[:2] == ("refused", "23505"))

    # --- What is shown ------------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Every view shows what the model says, and the relay is shown each event once."""
        self.tick()
        with self.db.looking():
            self._compare_views()
            self._compare_events()

    def _compare_views(self) -> None:
        shown = self.db.session("reader").execute(_READ, {"candidates": list(self.candidates)}).fetchone()
        assert shown is not None
        moments = self._moments(shown)
        for name in _VIEWS:
            for one in shown[name]:
                for column in one:
                    if column.endswith("_at") and one[column] is not None:
                        time = datetime.fromisoformat(one[column])
                        one[column] = time if column == "occurred_at" else moments[time]
                if one.get("admission"):
                    checks = one["admission"]["preflight"]
                    one["admission"]["preflight"] = {row["check_name"]: row["verdict"] for row in checks}
                    assert len(checks) == len(one["admission"]["preflight"])
                if "component_id" in one:
                    one["component_id"] = self.component_ids[uuid.UUID(one["component_id"])]
        expected = self.expected()
        for name, found in shown.items():
            if found != expected[name]:
                view = _VIEWS[name][0] if name in _VIEWS else "v_dot_lease"
                one, other = _where_they_differ(expected[name], found)
                candidates = ", ".join(f"'{one}'" for one in self.candidates)
                look = f"select * from dot.{view} where process_candidate_code in ({candidates})"
                raise Differs(f"dot.{view}", one, other, look)

    def _moments(self, shown: dict[str, Any]) -> dict[datetime, int]:
        """Which moment of the model's each time is: the rows were observed in the same order."""
        real = sorted(datetime.fromisoformat(one["observed_at"]) for one in shown["runs"] + shown["components"])
        said = sorted(one.observed_at for one in self._observations())
        assert len(real) == len(said)
        return dict(zip(real, said, strict=True))

    def _observations(self) -> list[model.Observation]:
        return [fact for fact in self.committed.facts if isinstance(fact, model.Observation)]

    def expected(self) -> dict[str, Any]:
        """The views as the model has them, in the words of JSON."""
        ledger = self.committed
        runs = sorted(ledger.all(model.Run), key=lambda run: run.observed_at)
        components = sorted(ledger.all(model.Component), key=lambda one: one.observed_at)
        real = [model.run_verdict(ledger, run) for run in runs if model.is_real(run)]
        verdicts = [model.verdict(ledger, candidate) for candidate in self.candidates]
        leases = [ledger.newest(model.Lease, key=f"dot_exec:{candidate}") for candidate in self.candidates]
        return {
            "runs": [
                {
                    **_plain(vars(run)),
                    "end_state": model.end_state(ledger, run),
                    "components": len(mine := model.components_of(ledger, run)),
                    "last_observed_at": max(one.observed_at for one in (run, *mine)),
                }
                for run in runs
            ],
            "components": [{**_plain(vars(one)), "component_id": _identity(one)} for one in components],
            "real": [self._expected_real(one) for one in real],
            "real_verdicts": [
                {
                    **_named(one.run),
                    "observed_at": one.run.observed_at,
                    "verified": one.verified,
                    "reasons": list(one.reasons),
                    **_independence(one),
                    "producer_output_ref": one.produced and one.produced.output_ref,
                    "verifier_input_ref": one.checked and one.checked.input_ref,
                    "verifier_completed_at": one.checked and one.checked.observed_at,
                }
                for one in real
            ],
            "runtime": [
                {
                    "process_candidate_code": candidate,
                    **_latest(one),
                    "has_real_runtime": bool(one.latest and one.latest.has_real_runtime),
                    "cross_component_correlation": bool(one.latest and one.latest.cross_component_correlation),
                }
                for candidate, one in zip(self.candidates, verdicts, strict=True)
            ],
            "verdicts": [
                {
                    "process_candidate_code": pair.code,
                    "producer_dot_code": pair.producer,
                    "verifier_dot_code": pair.verifier,
                    "verified": one.verified,
                    **_latest(one),
                    "last_verified_run_id": one.last_verified and str(one.last_verified.process_run_id),
                    "last_verified_at": one.last_verified and one.last_verified.observed_at,
                    "reasons": list(one.reasons),
                    **_independence(one.latest),
                    "superseded_by": None if (newest := model.newest_of_chain(ledger, pair)) == pair else newest.code,
                }
                for pair, one in zip(ledger.all(model.Candidate), verdicts, strict=True)
            ],
            "counts": [
                {
                    "process_candidate_code": candidate,
                    "simulated_runs": one.runs[model.SIMULATED],
                    "dry_runs": one.runs[model.DRY],
                    "real_runs": one.runs[model.REAL],
                }
                for candidate, one in zip(self.candidates, verdicts, strict=True)
            ],
            "leases": [
                [one.key, one.expires_at > ledger.now, one.holder, one.session_actor, one.token]
                for one in leases
                if one
            ],
        }

    def _expected_real(self, one: model.RunVerdict) -> dict[str, Any]:
        """v_process_run_runtime_v2 with what its two columns are made of."""
        parts: dict[str, Any] = {}
        for role in ("producer", "verifier"):
            mine = [part for part in model.ingredients(self.committed, one.run) if part.component_role == role]
            completed = next((part for part in mine if part.status == "step_completed"), None)
            parts |= {
                f"{role}_seen": bool(mine),
                f"{role}_completed_at": completed and completed.observed_at,
                f"{role}_correlation_id": completed and completed.correlation_id,
                f"{role}_session_actor": completed and completed.session_actor,
            }
            looked_at = "output_ref" if role == "producer" else "input_ref"
            parts[f"{role}_{looked_at}"] = completed and getattr(completed, looked_at)
            if role == "verifier":
                parts["verifier_first_at"] = mine[0].observed_at if mine else None
        return {
            **_named(one.run),
            "observed_at": one.run.observed_at,
            "has_real_runtime": one.has_real_runtime,
            "cross_component_correlation": one.cross_component_correlation,
            **parts,
        }

    def acknowledge(self) -> None:
        """The relay delivers what it is shown."""
        relay = self.db.session("relay")
        with self.db.looking():
            events = poll(relay, 10000)
        if events:
            last = events[-1]
            relay.execute(
                "select dot.fn_dot_outbox_ack(%s, %s::text::xid8, %s)",
                (last["epoch"], str(last["xact_id"]), last["id"]),
            )
            self.delivered += self._of_mine(events)

    def _of_mine(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in events if one["payload"]["process_candidate_code"] in self.candidates]

    def _compare_events(self) -> None:
        """All are shown, each once, but none that has to wait for the writer's transaction, or for others on the server."""
        held_back = self.held_back or ()
        expected = [_plain_event(event) for event in self.committed.all(model.Event) if event not in held_back]
        deadline = time.monotonic() + 20
        while True:
            shown = poll(self.db.session("relay"), 10000)
            positions = [(one["epoch"], int(one["xact_id"]), one["id"]) for one in shown]
            assert positions == sorted(positions)
            found = [self._plain_shown(one) for one in self.delivered + self._of_mine(shown)]
            if not all(found.count(one) == 1 and one in expected for one in found):
                raise Differs("what the relay is shown", expected, found)
            if self.pending is not None or len(found) == len(expected):
                return
            if time.monotonic() > deadline:
                raise Differs("what the relay is shown", expected, found)

    def _plain_shown(self, event: dict[str, Any]) -> tuple[Any, ...]:
        payload = dict(event["payload"])
        if payload["occurred_at"] is not None:
            payload["occurred_at"] = datetime.fromisoformat(payload["occurred_at"])
        if "component_id" in payload:
            *_, role, status = self.component_ids[uuid.UUID(payload.pop("component_id"))]
            assert (role, status) == (payload["component_role"], payload["status"])
        return event["aggregatetype"], event["aggregateid"], event["type"], payload


def _said(outcome: Outcome) -> str:
    """An outcome in words."""
    if outcome[0] == "told":
        return f"answered with {outcome[1]!r}"
    _, sqlstate, constraint, differing = outcome
    fields = f", differing fields {', '.join(sorted(differing))}" if differing else ""
    return f"refused with {sqlstate} {constraint}{fields}"


def _where_they_differ(expected: list[Any], found: list[Any]) -> tuple[Any, Any]:
    """The first rows that differ; of rows of a view the columns that do."""
    one, other = next(pair for pair in itertools.zip_longest(expected, found) if pair[0] != pair[1])
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one or "no such row", other or "no such row"
    differing = [column for column in other if one.get(column) != other[column]]
    return tuple({column: row.get(column) for column in differing} for row in (one, other))  # type: ignore[return-value]


def _identity(component: model.Component) -> Identity:
    return (
        component.process_candidate_code,
        component.process_run_id,
        component.component_role,
        component.status,
    )


def _clash(new: model.Observation, old: model.Fact) -> bool:
    """Whether both cannot be in one table: the same key, the same row, or two ends of one component."""
    if type(old) is not type(new) or not isinstance(old, model.Observation):
        return False
    if old.process_candidate_code != new.process_candidate_code:
        return False
    if new.idempotency_key is not None and new.idempotency_key == old.idempotency_key:
        return True
    if new.process_run_id != old.process_run_id:
        return False
    if not isinstance(new, model.Component) or not isinstance(old, model.Component):
        return True
    return new.component_role == old.component_role and (
        new.status == old.status or {new.status, old.status} <= set(model.TERMINAL)
    )


def _as_parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """A document becomes jsonb; text and None are passed on as they are."""
    return {
        name: Jsonb(value) if name == "evidence_ref" and value is not None else value
        for name, value in arguments.items()
    }


def _value(connection: Connection, function: str, *arguments: object) -> Any:
    placeholders = ", ".join(["%s"] * len(arguments))
    return rows(connection, f"select dot.{function}({placeholders}) as told", *arguments)[0]["told"]


def _refusal(error: psycopg.Error) -> Outcome:
    named = re.search(r"Differing fields: (.*)\.", error.diag.message_detail or "")
    differing = frozenset(named.group(1).split(", ")) if named else frozenset()
    return "refused", error.sqlstate, error.diag.constraint_name, differing


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, uuid.UUID) else value for name, value in row.items()}


def _plain_event(event: model.Event) -> tuple[Any, ...]:
    return "process_run", str(event.observation.process_run_id), event.type, _plain(event.payload)


def _named(run: model.Run) -> dict[str, Any]:
    names = ("process_candidate_code", "process_run_id", "correlation_id")
    return _plain({name: getattr(run, name) for name in names})


def _latest(verdict: model.Verdict) -> dict[str, Any]:
    run = verdict.latest.run if verdict.latest else None
    return {"latest_real_run_id": run and str(run.process_run_id), "latest_real_run_at": run and run.observed_at}


def _independence(verdict: model.RunVerdict | None) -> dict[str, Any]:
    """What a stranger would ask of a verdict."""
    return {
        "independently_verified": bool(verdict and verdict.independently_verified),
        "caveats": list(verdict.caveats) if verdict else [],
        "producer_session_actor": verdict and verdict.produced and verdict.produced.session_actor,
        "verifier_session_actor": verdict and verdict.checked and verdict.checked.session_actor,
        "same_session_actor": verdict and verdict.same_session_actor,
    }
