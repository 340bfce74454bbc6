"""The evidence ladder and the switch: only a stored ``true`` opens a gate, and nothing commits after one was closed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from support import (
    GATES,
    Connection,
    Database,
    acquire,
    attest,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
    waiting,
)

OPERATOR, EXECUTE, REAL = GATES
CONSTRAINTS = {
    OPERATOR: "gate_operator_runtime_enabled_check",
    EXECUTE: "gate_execute_enabled_check",
    REAL: "gate_real_run_enabled_check",
}
READERS = {
    OPERATOR: "fn_dot_iu_operator_runtime_enabled",
    EXECUTE: "fn_process_dot_runtime_execute_enabled",
    REAL: "fn_process_dot_runtime_real_run_enabled",
}
NOT_TRUE = (
    None, "", " ", "false", "TRUE", "True", "tRUE", "truE", "t", "T", "tr", "tru", "1", "-1", "yes", "y", "on", "ON", "enabled",
    " true", "true ", " true ", "\ttrue", "true\t", "true\n", "true\r\n", "\ntrue", "true\u00a0", "true\u200b", "\ufefftrue",
    "t\u200brue", "t\u00adrue", "\u202etrue", "\uff54\uff52\uff55\uff45", "tru\u0435", "tr\u1d1c\u0435", "true\u0301", '"true"',
    "'true'", "true;", "true, true", "truetrue", "not false", "null", "{true}", "true\\n", "true--", "f" * 10_000,
)  # fmt: skip
ISOLATED = ("repeatable read", "serializable")


def count(db: Database, table: str = "process_run_observation") -> int:
    return ledger_counts(db)[table]


def config_set(
    connection: Connection, key: str | None, to: str | None, actor: str | None = "me", reason: str | None = "why"
) -> Any:
    return value(connection, "select dot.fn_dot_config_set(%s, %s, %s, %s)", key, to, actor, reason)


def test_only_exactly_true_opens_a_gate(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    owner, writer, reader = db.connect("owner"), db.connect("writer"), db.connect("reader")
    token = acquire(writer)
    before = ledger_counts(db)
    assert len(NOT_TRUE) >= 27
    for gate in GATES:
        needing = ("REAL_RUN",) if gate == REAL else ("REAL_RUN", "DRY_RUN")

        def is_shut(gate: str = gate, needing: tuple[str, ...] = needing) -> None:
            for evidence_type in needing:
                with refused("23514", CONSTRAINTS[gate]):
                    observe_run(writer, evidence_type=evidence_type, lease_token=token)
            for connection in (writer, reader):
                assert value(connection, f"select dot.{READERS[gate]}()") is False
            assert value(reader, "select is_open from dot.v_dot_gate where key = %s", gate) is False

        for spelling in NOT_TRUE:
            owner.execute("update dot.dot_config set value = %s where key = %s", (spelling, gate))
            with subtests.test(gate=gate, value=spelling and spelling[:20]):
                is_shut()
        owner.execute("delete from dot.dot_config where key = %s", (gate,))
        with subtests.test(gate=gate, value="no row"):
            is_shut()
        owner.execute("insert into dot.dot_config (key, value) values (%s, 'true')", (gate,))
    assert ledger_counts(db) == before
    for evidence_type in ("REAL_RUN", "DRY_RUN"):
        assert observe_run(writer, evidence_type=evidence_type, lease_token=token)["created"]
    for gate in GATES:
        assert value(writer, f"select dot.{READERS[gate]}()") is True


def test_each_gate_alone_shuts_what_needs_it_and_nothing_else(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    for gate in GATES:
        set_gates(db, "false", gate)
        for evidence_type in ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"):
            call = partial(observe_run, writer, evidence_type=evidence_type, lease_token=token)
            if evidence_type == "SIMULATED_DRY_RUN" or (evidence_type, gate) == ("DRY_RUN", REAL):
                assert call()["created"]
            else:
                with refused("23514", CONSTRAINTS[gate], gate):
                    call()
        set_gates(db, "true", gate)
    assert observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["created"]


def test_a_closed_gate_says_whether_it_has_a_value(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    for stored, said in ((None, "it has no value"), ("TRUE", "its value is not exactly true")):
        owner.execute("update dot.dot_config set value = %s where key = %s", (stored, REAL))
        with refused("23514", CONSTRAINTS[REAL], said):
            observe_run(writer, evidence_type="REAL_RUN")


def test_an_evidence_type_that_is_missing_or_unknown_needs_every_gate(db: Database) -> None:
    owner = db.connect("owner")
    for gate in GATES:
        for unknown in (None, "", "dry_run"):
            with refused("23514", CONSTRAINTS[gate]):
                owner.execute("select dot.fn_gates_assert(%s, false)", (unknown,))
        set_gates(db, "true", gate)
    assert value(owner, "select dot.fn_gates_assert(null, false)") == dict.fromkeys(GATES, "true")


def test_gates_are_asked_before_the_preflight_and_the_preflight_before_the_lease(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    for evidence_type, needed in (("DRY_RUN", GATES[:2]), ("REAL_RUN", GATES)):
        call = partial(observe_run, writer, evidence_type=evidence_type)
        set_gates(db, "false")
        attest(db, "BLOCK")
        for gate in needed:
            with refused("23514", CONSTRAINTS[gate]):
                call()
            set_gates(db, "true", gate)
        with refused("23514", "preflight_check"):
            call()
        attest(db)
        with refused("23514", "lease_live_check"):
            call()
    assert count(db) == 0


def test_what_let_an_observation_in_is_stored_with_it_and_a_simulation_was_asked_nothing(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    attest(db, "WARN")
    writer, reader = db.connect("writer"), db.connect("reader")
    token = acquire(writer)
    checks = ("fs_snapshot_present", "gates_readable", "catalogue_present", "lease_table_usable")
    for evidence_type, asked in (("SIMULATED_DRY_RUN", None), ("DRY_RUN", GATES[:2]), ("REAL_RUN", GATES)):
        run_id = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
        observe_component(writer, run_id, "producer", lease_token=token)
        for view in ("v_process_run", "v_process_run_component"):
            with subtests.test(evidence_type=evidence_type, view=view):
                admission = value(reader, f"select admission from dot.{view} where process_run_id = %s", run_id)
                if asked is None:
                    assert admission is None
                    continue
                assert sorted(admission) == ["gates", "preflight"]
                assert admission["gates"] == dict.fromkeys(asked, "true")
                verdicts = {one["check_name"]: one["verdict"] for one in admission["preflight"]}
                assert verdicts == {**dict.fromkeys(checks, "PASS"), "fs_snapshot_present": "WARN"}


def test_a_run_whose_gate_closes_midway_gets_no_more_rows(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    for evidence_type, needed in (("DRY_RUN", GATES[:2]), ("REAL_RUN", GATES)):
        run_id = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
        observe_component(writer, run_id, "producer", lease_token=token)
        for gate in needed:
            set_gates(db, "false", gate)
            with refused("23514", CONSTRAINTS[gate]):
                observe_component(writer, run_id, "verifier", lease_token=token)
            set_gates(db, "true", gate)
        assert observe_component(writer, run_id, "verifier", lease_token=token)["created"]


def test_a_switch_waits_for_observations_in_flight_and_names_those_it_did_not_get_past(db: Database) -> None:
    ready_for_real_runs(db)
    writer, gatekeeper = db.connect("writer"), db.connect("gatekeeper")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    audited = count(db, "dot_config_audit")
    gatekeeper.execute("set statement_timeout = '20s'")  # a wait that never ends fails the test instead of hanging it
    writer.execute("begin")
    observe_component(writer, run_id, "producer", lease_token=token)
    with refused("55P03", saying=f"Held by: {writer.info.backend_pid}"):
        config_set(gatekeeper, REAL, "false")
    assert count(db, "dot_config_audit") == audited
    with ThreadPoolExecutor(1) as pool:
        switch = waiting(gatekeeper, partial(config_set, gatekeeper, REAL, "false"), pool, db)
        writer.execute("commit")
        assert switch.result() == "true"
    with refused("23514", CONSTRAINTS[REAL]):
        observe_component(writer, run_id, "verifier", lease_token=token)
    assert count(db, "process_component_observation") == 1


def test_a_switch_that_gives_up_names_each_backend_that_holds_it_up_once_and_nobody_else(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.returns")
    switching, snapshot = db.connect("operator"), db.connect("writer")
    updating, queueing, reading = db.connect("owner"), db.connect("owner"), db.connect("reader")
    tokens = [acquire(snapshot), acquire(switching, "shop.returns")]
    for session, level in ((switching, "read committed"), (snapshot, "repeatable read")):
        session.execute(f"begin isolation level {level}")
    observe_run(switching, evidence_type="REAL_RUN", lease_token=tokens[1], process_candidate_code="shop.returns")
    observe_run(snapshot, evidence_type="REAL_RUN", lease_token=tokens[0])  # holds the latch and the rows of the gates
    updating.execute("begin")
    updating.execute("update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'")
    reading.execute("begin")
    reading.execute("select * from dot.v_dot_gate")
    simulating, vacuuming = db.connect("writer"), db.connect("owner")
    simulating.execute("begin")
    observe_run(simulating)
    vacuuming.execute("begin")
    vacuuming.execute("lock table dot.dot_config in share update exclusive mode")
    queueing.execute("begin")
    with ThreadPoolExecutor(1) as pool:
        stuck = waiting(queueing, partial(queueing.execute, "lock table dot.gate_latch in exclusive mode"), pool, db)
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            config_set(switching, REAL, "false")
        for session in (switching, snapshot, updating):
            session.execute("rollback")
        stuck.result()
    named = str(caught.value.diag.message_detail).removeprefix("Held by: ").split(", ")
    assert sorted(map(int, named)) == sorted(session.info.backend_pid for session in (snapshot, updating))


def test_a_switch_names_whoever_locks_the_latch_and_says_where_no_backend_does(db: Database) -> None:
    ready_for_real_runs(db)
    gatekeeper, owner, writer = db.connect("gatekeeper"), db.connect("owner"), db.connect("writer")
    for mode in ("row exclusive", "share", "share row exclusive", "exclusive", "access exclusive"):
        owner.execute("begin")
        owner.execute(f"lock table dot.gate_latch in {mode} mode")
        with refused("55P03", saying=f"Held by: {owner.info.backend_pid}"):
            config_set(gatekeeper, REAL, "false")
        owner.execute("rollback")
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    prepared = f"dot_test_{uuid.uuid4().hex}"
    token = acquire(writer)
    writer.execute("begin")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    with refused("0A000"):
        writer.execute(f"prepare transaction '{prepared}'")
    assert config_set(gatekeeper, REAL, "false") == "true"


def test_a_switch_of_the_worker_names_who_writes_its_row(db: Database) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    owner.execute("begin")
    owner.execute("update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'")
    with refused("55P03", saying=f"Held by: {owner.info.backend_pid}"):
        config_set(gatekeeper, "queue.worker.enabled", "false")


def test_a_switch_that_is_held_up_by_none_that_shows_says_so(db: Database) -> None:
    owner = db.connect("owner")
    owner.execute(
        "create function dot.busy() returns trigger language plpgsql as"
        " $$ begin raise lock_not_available using message = 'busy'; end $$;"
        " create trigger busy before update on dot.dot_config for each row execute function dot.busy()"
    )
    with refused("55P03", saying="Held by: none that shows, it is gone since"):
        config_set(db.session("gatekeeper"), REAL, "false")


def test_a_switch_that_gives_up_names_no_backend_of_another_database(db: Database) -> None:
    """A copied database has the same oids, and pg_locks shows the whole server's: the hint would end a stranger's backend."""
    with db.server.database(str(conninfo_to_dict(db.url)["dbname"])) as twin_url:
        twin = Database(twin_url, db.server)
        holding = []
        for database in (db, twin):
            ready_for_real_runs(database)
            writer = database.connect("writer")
            token = acquire(writer)
            writer.execute("begin")
            observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
            holding.append(writer.info.backend_pid)
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            config_set(db.connect("gatekeeper"), REAL, "false")
        assert caught.value.diag.message_detail == f"Held by: {holding[0]}"
        twin.close()


def test_a_simulation_or_a_replay_in_flight_holds_no_switch_up(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    real = observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")["process_run_id"]
    observe_component(writer, real, "producer", lease_token=token, idempotency_key="key-1")
    writer.execute("begin")
    run_id = observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    assert not observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")["created"]
    component = partial(observe_component, writer, real, "producer", lease_token=token, idempotency_key="key-1")
    assert not component()["created"]
    set_gates(db, "false")
    # Nor the lease: another login may take it the moment it is over.
    owner = db.connect("owner")
    owner.execute("update dot.dot_iu_runtime_lease set expires_at = clock_timestamp()")
    assert acquire(db.connect("operator")) == token + 1
    writer.execute("commit")
    assert count(db) == 2


def test_a_real_run_that_waits_behind_a_switch_is_refused_once_the_switch_commits(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    writer, gatekeeper = db.connect("writer"), db.connect("gatekeeper")
    token = acquire(writer)
    header = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    run = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)
    component = partial(observe_component, writer, header, "producer", lease_token=token)
    for gate in GATES:
        for observe in (run, component):
            with subtests.test(gate=gate, observe=observe.func.__name__), ThreadPoolExecutor(1) as pool:
                gatekeeper.execute("begin")
                assert config_set(gatekeeper, gate, "false") == "true"
                late = waiting(writer, observe, pool, db)
                gatekeeper.execute("commit")
                with refused("23514", CONSTRAINTS[gate]):
                    late.result()
                set_gates(db)
    assert (count(db), count(db, "process_component_observation")) == (1, 0)
    with ThreadPoolExecutor(1) as pool:  # and goes on where the switch is taken back
        gatekeeper.execute("begin")
        config_set(gatekeeper, REAL, "false")
        late = waiting(writer, run, pool, db)
        gatekeeper.execute("rollback")
        assert late.result()["created"]


@pytest.mark.parametrize("level", ISOLATED)
def test_an_old_snapshot_takes_no_real_run_past_a_switch(db: Database, level: str, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    header = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    run = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)
    component = partial(observe_component, writer, header, "producer", lease_token=token)
    for gate in GATES:
        for observe in (run, component):
            with subtests.test(gate=gate, observe=observe.func.__name__):
                writer.execute(f"begin isolation level {level}")
                assert value(writer, f"select dot.{READERS[gate]}()") is True  # takes the snapshot
                set_gates(db, "false", gate)
                with pytest.raises(psycopg.Error) as caught:
                    observe()
                assert caught.value.sqlstate in ("40001", "23514")
                writer.execute("rollback")
                set_gates(db, "true", gate)
    assert (count(db), count(db, "process_component_observation")) == (1, 0)


@pytest.mark.parametrize("level", ISOLATED)
def test_an_old_snapshot_answers_no_replay_through_a_closed_gate(db: Database, level: str) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")
    run_id = run()["process_run_id"]
    component = partial(observe_component, writer, run_id, "producer", lease_token=token, idempotency_key="key-1")
    component()
    for observe in (run, component):
        writer.execute(f"begin isolation level {level}")
        value(writer, "select 1")  # takes the snapshot
        set_gates(db, "false", REAL)
        with pytest.raises(psycopg.Error) as caught:
            observe()
        assert caught.value.sqlstate in ("40001", "23514")
        writer.execute("rollback")
        set_gates(db)


def test_a_new_run_after_a_replay_in_an_old_snapshot_and_a_switch_wait_for_each_other_in_one_order(
    db: Database,
) -> None:
    ready_for_real_runs(db)
    writer, gatekeeper = db.connect("writer"), db.connect("gatekeeper")
    real = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    real(idempotency_key="replayed")
    writer.execute("begin isolation level repeatable read")
    assert not real(idempotency_key="replayed")["created"]
    with ThreadPoolExecutor(1) as pool:
        switched = waiting(gatekeeper, partial(config_set, gatekeeper, REAL, "false"), pool, db)
        assert real(idempotency_key="new")["created"]  # a deadlock, where the replay had locked the rows alone
        writer.execute("commit")
        assert switched.result() == "true"


@pytest.mark.parametrize(
    "decide",
    [
        lambda session, key: config_set(session, key, "true"),
        lambda session, _key: value(
            session, "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 60, 'me', 'a snapshot')"
        ),
        lambda session, _key: value(session, "select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none')"),
    ],
    ids=["a switch", "an attestation of the preflight", "an attestation of a mechanism"],
)
def test_what_is_decided_in_a_snapshot_before_another_decision_is_to_be_retried(
    db: Database, decide: Callable[[Connection, str], object]
) -> None:
    old = db.connect("gatekeeper")
    old.execute("begin isolation level repeatable read")
    value(old, "select count(*) from dot.v_dot_gate")
    decide(db.session("gatekeeper"), REAL)
    with refused("40001"):
        decide(old, EXECUTE)  # another gate: its row has not changed


@pytest.mark.parametrize(
    ("table", "number", "decide"),
    [
        ("dot_config_audit", "audit_id", lambda session: config_set(session, EXECUTE, "true")),
        (
            "preflight_attestation",
            "attestation_id",
            lambda session: value(
                session, "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 60, 'me', 'a snapshot')"
            ),
        ),
        (
            "dot_mechanism_attestation",
            "attestation_id",
            lambda session: value(session, "select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none')"),
        ),
    ],
    ids=["a switch", "an attestation of the preflight", "an attestation of a mechanism"],
)
def test_a_decision_whose_number_is_taken_past_the_functions_is_refused_whole(
    db: Database, table: str, number: str, decide: Callable[[Connection], object]
) -> None:
    owner, gatekeeper = db.connect("owner"), db.connect("gatekeeper")
    if table == "dot_config_audit":
        config_set(gatekeeper, REAL, "true")
    else:
        decide(gatekeeper)
    before = rows(owner, "select * from dot.dot_config order by key")
    stored = dict(row(owner, f"select * from dot.{table}"), **{number: 2})
    owner.execute("begin")
    owner.execute(
        f"insert into dot.{table} ({', '.join(stored)}) values ({', '.join(['%s'] * len(stored))})",
        tuple(stored.values()),
    )
    with ThreadPoolExecutor(1) as pool:
        late = waiting(gatekeeper, partial(decide, gatekeeper), pool, db)
        owner.execute("commit")
        with refused("40001"):
            late.result()
    assert rows(owner, "select * from dot.dot_config order by key") == before


def test_a_moved_gate_is_audited_with_who_when_why_old_and_new(db: Database) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    owner.execute("delete from dot.dot_config where key = %s", (REAL,))
    longest = "why " * 256
    for key, to, old in ((EXECUTE, "true", "false"), (EXECUTE, "true", "true"), (REAL, "false", None)):
        assert config_set(gatekeeper, key, to, "alice", longest) == old
        audited = row(
            owner,
            "select *, changed_at between statement_timestamp() - interval '1 minute' and clock_timestamp() as is_now"
            " from dot.dot_config_audit order by audit_id desc limit 1",
        )
        assert {
            name: audited[name] for name in ("key", "old_value", "new_value", "actor", "session_actor", "reason")
        } == {
            "key": key,
            "old_value": old,
            "new_value": to,
            "actor": "alice",
            "session_actor": db.login("gatekeeper"),
            "reason": longest,
        }
        assert audited["is_now"]
        assert audited["system_identifier"] == value(owner, "select system_identifier from pg_control_system()")
        assert value(owner, "select value from dot.dot_config where key = %s", key) == to


def test_the_audited_old_value_is_the_one_that_was_replaced_past_the_function_too(db: Database) -> None:
    owner, gatekeeper = db.connect("owner"), db.connect("gatekeeper")
    owner.execute("begin")
    owner.execute("update dot.dot_config set value = 'true' where key = %s", (REAL,))
    with ThreadPoolExecutor(1) as pool:
        late = waiting(gatekeeper, partial(config_set, gatekeeper, REAL, "false"), pool, db)
        owner.execute("commit")
        assert late.result() == "true"


def test_a_gate_is_moved_only_by_a_known_key_an_exact_value_an_actor_and_a_reason(
    db: Database, subtests: pytest.Subtests
) -> None:
    gatekeeper = db.connect("gatekeeper")
    before = ledger_counts(db)
    legal: dict[str, str | None] = {"key": REAL, "value": "true", "actor": "me", "reason": "why"}
    for argument in legal:
        with subtests.test(missing=argument), refused("23502", f"dot_config_{argument}_not_null"):
            config_set(gatekeeper, *{**legal, argument: None}.values())
    for argument, values in {
        "key": ("", "real_run_enabled", REAL.upper(), REAL + " ", "process.run.started", "log_statement"),
        "value": ("TRUE", "True", "", " true", "true\n", "1", "on", "FALSE", "null", "tru\u0435"),
        "actor": ("", " ", "a b", "me\n", "\u200b", "a" * 201),
        "reason": ("", " ", "\t", "\u00a0", "why\n", "line\nline", "\u202ewhy", "w" * 1025, "\x1b[2J"),
    }.items():
        for illegal in values:
            with subtests.test(**{argument: illegal}), refused("23514", f"dot_config_{argument}_check"):
                config_set(gatekeeper, *{**legal, argument: illegal}.values())
    assert ledger_counts(db) == before
    assert value(db.connect("owner"), "select bool_and(value = 'false') from dot.dot_config")


def event_type_set(
    connection: Connection, event_type: str | None, active: bool | None, actor: str | None, reason: str | None
) -> Any:
    return value(connection, "select dot.fn_event_type_set(%s, %s, %s, %s)", event_type, active, actor, reason)


def test_a_switched_event_type_is_audited_like_a_gate(db: Database) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    for active, old in ((True, False), (True, True), (False, True)):
        assert event_type_set(gatekeeper, "process.run.started", active, "alice", "for the relay") is old
        assert value(owner, "select active from dot.event_type where event_type = 'process.run.started'") is active
        audited = rows(owner, "select * from dot.dot_config_audit order by audit_id desc limit 1")[0]
        assert audited["key"] == "event_type:process.run.started"
        assert (audited["old_value"], audited["new_value"]) == (str(old).lower(), str(active).lower())
        assert (audited["actor"], audited["session_actor"], audited["reason"]) == (
            "alice",
            db.login("gatekeeper"),
            "for the relay",
        )
        assert audited["system_identifier"]


def test_switching_an_event_type_to_what_it_is_writes_no_row_of_the_host_s(db: Database) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    version = "select ctid, xmin from dot.event_type where event_type = 'process.run.started'"
    before = row(owner, version)
    assert event_type_set(gatekeeper, "process.run.started", False, "me", "why") is False
    assert row(owner, version) == before
    assert event_type_set(gatekeeper, "process.run.started", True, "me", "why") is False
    assert row(owner, version) != before


def test_the_audited_old_value_of_an_event_type_is_the_one_that_was_replaced(db: Database) -> None:
    first, second = db.connect("gatekeeper"), db.connect("gatekeeper")
    call = partial(event_type_set, event_type="process.run.started", active=True, actor="me", reason="why")
    first.execute("begin")
    assert call(first) is False
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(call, second), pool, db)
        first.execute("commit")
        assert late.result() is True


def test_the_audited_old_value_of_an_event_type_is_the_one_that_was_replaced_past_the_function_too(
    db: Database,
) -> None:
    owner, gatekeeper = db.connect("owner"), db.connect("gatekeeper")
    call = partial(event_type_set, event_type="process.run.started", active=False, actor="me", reason="why")
    owner.execute("begin")
    owner.execute("update dot.event_type set active = true where event_type = 'process.run.started'")
    with ThreadPoolExecutor(1) as pool:
        late = waiting(gatekeeper, partial(call, gatekeeper), pool, db)
        owner.execute("commit")
        assert late.result() is True


def test_only_a_known_process_event_type_is_switched_with_an_actor_and_a_reason(
    db: Database, subtests: pytest.Subtests
) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    owner.execute("insert into dot.event_type values ('billing.invoice.sent'), ('processor.started')")
    before = ledger_counts(db)
    legal: dict[str, Any] = {"event_type": "process.run.started", "active": True, "actor": "me", "reason": "why"}
    for argument in legal:
        with subtests.test(missing=argument), refused("23502", f"event_type_{argument}_not_null"):
            event_type_set(gatekeeper, *{**legal, argument: None}.values())
    for argument, values in {
        "event_type": ("", " ", "process.run.started\n", "\u200b", "process.run.*%"),
        "actor": ("", "a b", "me\n", "a" * 201),
        "reason": ("", " ", "why\n", "\u00a0", "w" * 1025),
    }.items():
        for illegal in values:
            with subtests.test(**{argument: illegal}), refused("23514", f"event_type_{argument}_check"):
                event_type_set(gatekeeper, *{**legal, argument: illegal}.values())
    for unknown in (
        "process.run.unknown",
        "process.",
        "PROCESS.RUN.STARTED",
        "billing.invoice.sent",
        "processor.started",
    ):
        with subtests.test(unknown=unknown), refused("23503", "event_type_event_type_fkey"):
            event_type_set(gatekeeper, *{**legal, "event_type": unknown}.values())
    assert ledger_counts(db) == before
    assert value(owner, "select bool_or(active) from dot.event_type") is False


def test_a_switch_is_audited_at_the_moment_it_was_made_not_when_its_transaction_began(db: Database) -> None:
    gatekeeper = db.connect("gatekeeper")
    gatekeeper.execute("begin")
    began = value(gatekeeper, "select now()")
    config_set(gatekeeper, GATES[0], "true")
    gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'me', 'why')")
    gatekeeper.execute("commit")
    for audited in rows(db.connect("owner"), "select key, changed_at from dot.dot_config_audit"):
        assert audited["changed_at"] > began, audited["key"]
