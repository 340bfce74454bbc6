"""A gate is open and an attestation counts only where they were decided: by its function, in this database of this cluster. And nothing
that cannot be ended holds a switch up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from psycopg.rows import dict_row

from dot_wrapper.proving.databases import database_url
from support import (
    GATES,
    Connection,
    Database,
    acquire,
    attest,
    define_pair,
    observe_component,
    observe_run,
    poll_until,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
    wait_until,
    waiting,
)
from support.servers import standby

ATTESTATION = "select verdict, detail from dot.fn_preflight_guard() where check_name = 'fs_snapshot_present'"
DEFINES_A_SUCCESSOR = "select dot.fn_process_candidate_define('shop.next', 'dot.load_orders', 'dot.check_orders', 'me', p_supersedes => 'shop.orders')"
ELSEWHERE = "it was opened in another database or cluster"


def why_off(db: Database) -> set[str | None]:
    return {one["off_because"] for one in rows(db.connect("reader"), "select off_because from dot.v_dot_gate") if one}


def attestation(db: Database) -> tuple[str, str]:
    found = row(db.connect("writer"), ATTESTATION)
    return found["verdict"], found["detail"]


@pytest.fixture
def clone(db: Database) -> Iterator[Database]:
    """A copy of a database in which everything is open, as CREATE DATABASE ... TEMPLATE makes it."""
    ready_for_real_runs(db)
    set_gates(db, "true", "queue.worker.enabled")
    db.close()
    name = psycopg.conninfo.conninfo_to_dict(db.url)["dbname"]
    with db.server.database(str(name)) as url:
        copy = Database(url, db.server)
        yield copy
        copy.close()


def test_a_clone_is_closed_until_its_gates_are_opened_and_its_snapshot_attested_in_it(clone: Database) -> None:
    writer = clone.connect("writer")
    assert {one["value"] for one in rows(clone.connect("reader"), "select value from dot.v_dot_gate")} == {"true"}
    assert why_off(clone) == {ELSEWHERE}
    assert attestation(clone) == ("BLOCK", "the newest attestation, by tester, was made in another database or cluster")
    token = acquire(writer)
    for gate in GATES:
        with refused("23514", f"gate_{gate.partition('.')[2]}_check", ELSEWHERE):
            observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
        set_gates(clone, "true", gate)
    with refused("23514", "preflight_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    attest(clone)
    assert observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["created"]


def test_a_gate_that_another_cluster_opened_is_off(db: Database) -> None:
    ready_for_real_runs(db)
    db.connect("owner").execute(
        "insert into dot.dot_config_audit (audit_id, changed_at, system_identifier, database_oid, key, old_value, new_value,"
        " actor, session_actor, reason) select max(audit_id) + 1, now(), 7, max(database_oid::bigint)::oid, %s, 'false',"
        " 'true', 'a', 's', 'r' from dot.dot_config_audit",
        (GATES[2],),
    )
    with refused("23514", "gate_real_run_enabled_check", ELSEWHERE):
        observe_run(db.connect("writer"), evidence_type="REAL_RUN")


def test_a_standby_records_nothing_and_answers_no_real_run(db: Database) -> None:
    """What it knows of the gates is a moment old: it does not even answer the call that was recorded."""
    if not db.server.own:
        pytest.skip("a standby is made of a server of the tests' own")
    ready_for_real_runs(db)
    writer = db.connect("writer")
    recorded = {"evidence_type": "REAL_RUN", "lease_token": acquire(writer), "idempotency_key": "run"}
    observe_run(writer, **recorded)
    with standby(db.server.url) as superuser:
        copy = db.server.url_as(database_url(superuser, writer.info.dbname), "writer")
        with psycopg.connect(copy, autocommit=True, row_factory=dict_row) as session:
            with refused("25006"):
                observe_run(session)
            with refused("25006", "gate_primary_check"):
                observe_run(session, **recorded)


def test_a_value_that_was_stored_past_the_function_opens_nothing(db: Database) -> None:
    ready_for_real_runs(db)
    for gate in GATES:
        set_gates(db, "false", gate)
        db.connect("owner").execute("update dot.dot_config set value = 'true' where key = %s", (gate,))
        with refused("23514", f"gate_{gate.partition('.')[2]}_check", "no gatekeeper opened it with fn_dot_config_set"):
            observe_run(db.connect("writer"), evidence_type="REAL_RUN")
        set_gates(db, "true", gate)


def test_closing_needs_nothing_but_the_gate_and_opening_needs_the_identity_of_the_cluster(db: Database) -> None:
    ready_for_real_runs(db)
    superuser = db.connect("superuser")
    superuser.execute("revoke execute on function pg_control_system() from public")
    assert why_off(db) - {"its value is not exactly true"} == {"dot_owner may not call pg_control_system()"}
    assert attestation(db) == ("BLOCK", "dot_owner may not call pg_control_system()")
    set_gates(db, "false")
    assert why_off(db) == {"its value is not exactly true"}
    set_gates(db, "true")
    with refused("23514", "gate_operator_runtime_enabled_check", "dot_owner may not call pg_control_system()"):
        observe_run(db.connect("writer"), evidence_type="REAL_RUN")
    superuser.execute("grant execute on function pg_control_system() to public")
    assert why_off(db) >= {"it was opened in another database or cluster"}, "what was not known then does not count now"


@pytest.mark.parametrize("newest", ["BLOCK", "PASS for a second"])
def test_an_attestation_that_is_over_when_the_lease_is_got_lets_no_run_in(db: Database, newest: str) -> None:
    """The call has passed gates and preflight, and waits for the lease that another transaction of its login holds."""
    ready_for_real_runs(db)
    holder, late = db.connect("writer"), db.connect("writer")
    token = acquire(holder)
    run_id = observe_run(holder, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    holder.execute("begin")
    observe_component(holder, run_id, "producer", lease_token=token)
    if newest != "BLOCK":
        attest(db, seconds=1)
    with ThreadPoolExecutor(1) as pool:
        call = partial(observe_run, late, evidence_type="REAL_RUN", lease_token=token)
        started = waiting(late, call, pool, db)
        if newest == "BLOCK":
            attest(db, "BLOCK")
        else:
            watcher = db.connect("writer")
            wait_until(lambda: row(watcher, ATTESTATION)["verdict"] == "BLOCK")
        holder.execute("commit")
        with refused("23514", "preflight_check", "It ran out or was taken back while this call waited."):
            started.result()


def taking(db: Database, session: Connection) -> dict[str, str]:
    """Every kind of call that takes the gate latch."""
    token = acquire(session)
    run = f"'{{}}', 'dot.load_orders', gen_random_uuid(), 'corr', 'REAL_RUN', false, 'started', 'me', p_lease_token => {token}"
    return {
        "an observation": f"select dot.fn_process_run_observe({run.format('shop.orders')})",
        "a switch": f"select dot.fn_dot_config_set('{GATES[2]}', 'true', 'me', 'again')",
        "an event type": "select dot.fn_event_type_set('process.run.failed', true, 'me', 'for a test')",
        "an attestation": "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 60, 'me', 'a snapshot')",
        "a mechanism": "select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none found')",
    }


def test_no_transaction_that_holds_the_latch_can_be_prepared(db: Database, subtests: pytest.Subtests) -> None:
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    ready_for_real_runs(db)
    operator = db.connect("operator")
    for kind, call in taking(db, operator).items():
        for before, after in (
            ("", ""),
            ("savepoint s", "release savepoint s"),
            ("listen mine", "unlisten *"),
        ):
            name = f"dot_test_{uuid.uuid4().hex}"
            with subtests.test(kind=kind, after=after):
                operator.execute("begin")
                for statement in filter(None, (before, call, after)):
                    operator.execute(statement)
                with refused("0A000"):
                    operator.execute(f"prepare transaction '{name}'")
                assert value(operator, "select count(*) from pg_prepared_xacts where gid = %s", name) == 0
        with subtests.test(kind=kind, after="commit"):
            operator.execute(call)
            assert rows(operator, "select pg_listening_channels()") == [], "no session is left listening"


def test_no_lease_is_taken_moved_or_ended_in_a_prepared_transaction(db: Database, subtests: pytest.Subtests) -> None:
    """It would keep the candidate from every other holder without end, and v_dot_lease would not show it."""
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    key = "'dot_exec:shop.orders', 'tester'"
    for call in (
        f"select dot.fn_dot_iu_runtime_lease_acquire({key}, 600)",
        f"select dot.fn_dot_iu_runtime_lease_renew({key}, {token}, 600)",
        f"select dot.fn_dot_iu_runtime_lease_release({key}, {token})",
    ):
        with subtests.test(call=call):
            writer.execute("begin")
            writer.execute(call)
            cannot_be_prepared(writer)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_no_transaction_that_locks_a_lease_because_its_snapshot_is_old_can_be_prepared(
    db: Database, level: str
) -> None:
    """A simulation under a token takes no latch. It locks the lease where its snapshot may show one that has ended."""
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run_id = observe_run(writer, lease_token=token)["process_run_id"]
    for call in (
        partial(observe_run, writer, lease_token=token),
        partial(observe_component, writer, run_id, "producer", lease_token=token),
    ):
        writer.execute(f"begin isolation level {level}")
        call()
        cannot_be_prepared(writer)


def test_no_definition_that_numbers_a_chain_can_be_prepared(db: Database) -> None:
    """It would keep every other successor waiting without end."""
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    define_pair(db)
    cataloguer = db.connect("cataloguer")
    cataloguer.execute("begin")
    cataloguer.execute(DEFINES_A_SUCCESSOR)
    cannot_be_prepared(cataloguer)


@pytest.mark.parametrize(
    ("who", "call"),
    [
        ("cataloguer", "select dot.fn_dot_tool_register('dot.load_orders', 'another')"),
        (
            "relay",
            "select dot.fn_dot_outbox_prune(), c.* from dot.fn_dot_outbox_poll(1) as p,"
            " dot.fn_dot_outbox_ack(p.epoch, p.xact_id, p.id) as c",
        ),
    ],
    ids=["a registration", "an acknowledgement"],
)
def test_who_waits_for_a_prepared_registration_or_acknowledgement_gives_up(db: Database, who: str, call: str) -> None:
    """Not covered, see docs/threats.md: these can be prepared, and every other one ends after two seconds."""
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")
    observe_run(db.connect("writer"))
    poll_until(db.connect("relay"), 1)
    first, name = db.connect(who), f"dot_test_{uuid.uuid4().hex}"
    first.execute("begin")
    first.execute(call.encode())
    first.execute(f"prepare transaction '{name}'")
    try:
        with refused("55P03"):
            db.connect(who).execute(call.encode())
    finally:
        first.execute(f"rollback prepared '{name}'")


def cannot_be_prepared(session: Connection) -> None:
    with refused("0A000"):
        session.execute(f"prepare transaction 'dot_test_{uuid.uuid4().hex}'")


def test_a_savepoint_that_is_rolled_back_takes_the_latch_with_it(db: Database) -> None:
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    ready_for_real_runs(db)
    writer, name = db.connect("writer"), f"dot_test_{uuid.uuid4().hex}"
    token = acquire(writer)
    writer.execute("begin")
    writer.execute("savepoint s")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    writer.execute("rollback to savepoint s")
    writer.execute(f"prepare transaction '{name}'")
    try:
        set_gates(db, "false")
    finally:
        writer.execute(f"rollback prepared '{name}'")


def test_a_prepared_transaction_that_locks_the_latch_past_the_functions_is_named_by_its_gid(db: Database) -> None:
    ready_for_real_runs(db)
    superuser = db.connect("superuser")
    name = f"dot_test_{uuid.uuid4().hex}"
    superuser.execute("begin")
    superuser.execute("lock table dot.gate_latch in access exclusive mode")
    superuser.execute("select pg_current_xact_id()")
    superuser.execute(f"prepare transaction '{name}'")
    try:
        with refused("55P03", saying=f"Held by: prepared transaction '{name}'"), db.connect("gatekeeper") as gatekeeper:
            gatekeeper.execute("select dot.fn_dot_config_set(%s, 'false', 'me', 'stop')", (GATES[2],))
        held = row(
            db.connect("reader"), "select prepared_gid, pid, login, lock_mode, locked_table from dot.v_dot_gate_holder"
        )
        assert tuple(held.values()) == (
            *(name, None, superuser.info.user),
            *("AccessExclusiveLock", "dot.gate_latch"),
        )
    finally:
        superuser.execute(f"rollback prepared '{name}'")
    set_gates(db, "false")


@pytest.mark.parametrize("holder", ["backend", "prepared transaction"])
def test_a_real_run_waits_five_seconds_for_a_rivals_key_and_what_it_waits_for_is_named(
    db: Database, holder: str
) -> None:
    """A simulation takes no latch, so it may stay open or be prepared. A real run of its key must not hold a switch up with it."""
    if holder == "prepared transaction" and not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    ready_for_real_runs(db)
    rival, writer, gatekeeper = db.connect("writer"), db.connect("writer"), db.connect("gatekeeper")
    token, name = acquire(writer), f"dot_test_{uuid.uuid4().hex}"
    rival.execute("begin")
    observe_run(rival, idempotency_key="key-1")
    named = f"waits for {rival.info.backend_pid}"
    if holder == "prepared transaction":
        rival.execute(f"prepare transaction '{name}'")
        named = "waits for a prepared transaction"
    real = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")
    try:
        with ThreadPoolExecutor(1) as pool:
            run = waiting(writer, real, pool, db)
            seen = row(db.connect("reader"), "select pid, waits_for from dot.v_dot_gate_holder")
            assert seen["pid"] == writer.info.backend_pid
            assert seen["waits_for"] == [0 if holder == "prepared transaction" else rival.info.backend_pid]
            with refused("55P03", saying=named):
                gatekeeper.execute("select dot.fn_dot_config_set(%s, 'false', 'me', 'stop')", (GATES[2],))
            with refused("55P03"):
                run.result()
        set_gates(db, "false")
    finally:
        rival.execute(f"rollback prepared '{name}'" if holder == "prepared transaction" else "rollback")


@pytest.mark.parametrize(("before", "after"), [("0", "5s"), ("1min", "5s"), ("5s", "5s"), ("300ms", "300ms")])
def test_who_has_the_latch_waits_no_longer_than_five_seconds_until_its_transaction_ends(
    db: Database, before: str, after: str
) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    writer.execute(f"set lock_timeout = '{before}'")
    writer.execute("begin")
    observe_run(writer)
    assert value(writer, "show lock_timeout") == before, "a simulation takes no latch"
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert value(writer, "show lock_timeout") == after
    writer.execute("commit")
    assert value(writer, "show lock_timeout") == before


def test_whoever_decides_registers_or_relays_waits_two_seconds_for_a_lock(db: Database) -> None:
    """Whatever the session has set. The statement's own time is over before the five seconds of the latch are."""
    ready_for_real_runs(db)
    operator = db.connect("operator")
    calls = taking(db, operator) | {
        "a definition": DEFINES_A_SUCCESSOR,
        "a DOT": "select dot.fn_dot_tool_register('dot.new')",
        "the end of a lease": "select dot.fn_dot_iu_runtime_lease_end('dot_exec:shop.orders', 'me', 'gone')",
        "an acknowledgement": "select dot.fn_dot_outbox_ack(1, '1', 1)",
        "a pruning": "select dot.fn_dot_outbox_prune()",
    }
    del calls["an observation"]
    sessions = [db.connect("operator") for _ in calls]
    for session in sessions:
        session.execute("set lock_timeout = 0; set statement_timeout = '4s'")
    owner = db.connect("owner")
    owner.execute(
        "begin; lock table dot.gate_latch, dot.dot_tools, dot.outbox_cursor, dot.dot_iu_runtime_lease;"
        " lock table dot.process_candidate in exclusive mode"
    )

    def refusal(session: Connection, call: str) -> str | None:
        with pytest.raises(psycopg.Error) as caught:
            session.execute(call)
        return caught.value.sqlstate

    with ThreadPoolExecutor(len(calls)) as pool:
        refusals = dict(zip(calls, pool.map(refusal, sessions, calls.values()), strict=True))
    assert refusals == dict.fromkeys(calls, "55P03")


def test_analyze_of_the_whole_database_holds_no_switch_up(db: Database) -> None:
    """Its owner may, in a transaction that stays open: ANALYZE locks tables until the end, and the latch is none."""
    ready_for_real_runs(db)
    superuser = db.connect("superuser")
    superuser.execute("begin")
    superuser.execute("analyze")
    set_gates(db, "false")
    assert superuser.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_a_reader_sees_who_holds_a_switch_up(db: Database) -> None:
    ready_for_real_runs(db)
    writer, reader = db.connect("writer"), db.connect("reader")
    token = acquire(writer)
    assert rows(reader, "select * from dot.v_dot_gate_holder") == []
    writer.execute("begin")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    held = rows(reader, "select pid, prepared_gid, login, lock_mode, locked_table from dot.v_dot_gate_holder")
    assert [tuple(one.values()) for one in held] == [
        (writer.info.backend_pid, None, db.login("writer"), "RowShareLock", "dot.gate_latch")
    ]
    writer.execute("commit")
    assert rows(reader, "select * from dot.v_dot_gate_holder") == []


def test_who_holds_a_switch_up_is_shown_by_backend_then_prepared_transaction_then_table(db: Database) -> None:
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    locks = "begin; lock table dot.gate_latch, dot.dot_config in row exclusive mode"
    sessions = [db.connect("owner"), db.connect("owner")]
    for session in sessions:
        session.execute(locks)
    gids = [f"dot_test_{uuid.uuid4().hex}" for _ in range(2)]
    superuser = db.connect("superuser")
    for gid in gids:
        superuser.execute(f"{locks}; select pg_current_xact_id(); prepare transaction '{gid}'")
    shown = rows(db.connect("reader"), "select pid, prepared_gid, locked_table from dot.v_dot_gate_holder")
    tables = sorted(
        ("dot.dot_config", "dot.gate_latch"), key=lambda name: value(superuser, "select %s::regclass::oid", name)
    )
    assert [tuple(one.values()) for one in shown] == [
        *((pid, None, table) for pid in sorted(one.info.backend_pid for one in sessions) for table in tables),
        *((None, gid, table) for gid in sorted(gids) for table in tables),
    ]


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("row exclusive", False),
        ("share", True),
        ("share row exclusive", True),
        ("exclusive", True),
        ("access exclusive", True),
    ],
)
def test_who_keeps_the_audit_of_a_switch_from_being_written_is_named(db: Database, mode: str, shown: bool) -> None:
    owner = db.connect("owner")
    owner.execute(f"begin; lock table dot.dot_config_audit in {mode} mode")
    held = rows(db.connect("reader"), "select pid, locked_table from dot.v_dot_gate_holder")
    assert [tuple(one.values()) for one in held] == [(owner.info.backend_pid, "dot.dot_config_audit")] * shown
    if shown:
        with refused("55P03", saying=f"Held by: {owner.info.backend_pid}"), db.connect("gatekeeper") as gatekeeper:
            gatekeeper.execute("select dot.fn_dot_config_set(%s, 'false', 'me', 'stop')", (GATES[2],))


def test_no_number_of_an_audit_row_or_attestation_comes_from_a_sequence(db: Database) -> None:
    """A subscriber that takes over has the rows and not the sequences: the switch must work at its first call."""
    behind = rows(
        db.connect("owner"),
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
        " left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum"
        " where c.relnamespace = 'dot'::regnamespace and c.relkind = 'r' and c.relname ~ 'audit|attestation'"
        " and (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~ 'nextval')",
    )
    assert behind == []


def test_audit_rows_and_attestations_are_numbered_from_one_without_a_gap(db: Database) -> None:
    ready_for_real_runs(db)
    attest(db)
    for _ in range(2):
        db.session("gatekeeper").execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none found')")
    for table, number, stored in (
        ("dot_config_audit", "audit_id", 3),
        ("preflight_attestation", "attestation_id", 2),
        ("dot_mechanism_attestation", "attestation_id", 2),
    ):
        found = rows(db.session("owner"), f"select {number} as number from dot.{table} order by 1")
        assert [one["number"] for one in found] == list(range(1, stored + 1)), table


@pytest.mark.parametrize("call", ["a switch", "an event type", "an attestation", "a mechanism"])
def test_a_decision_from_an_old_snapshot_is_to_be_retried(db: Database, call: str) -> None:
    ready_for_real_runs(db)
    operator = db.connect("operator")
    statement = taking(db, operator)[call]
    operator.execute("begin isolation level repeatable read")
    operator.execute("select 1 from dot.v_dot_gate")
    with psycopg.connect(db.url_as("operator"), autocommit=True, row_factory=dict_row) as other:
        other.execute(statement)
    with refused("40001"):
        operator.execute(statement)
    operator.execute("rollback")
    operator.execute(statement)


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_nothing_that_a_reader_may_ask_holds_a_switch_up(db: Database, level: str) -> None:
    ready_for_real_runs(db)
    reader = db.connect("reader")
    views = rows(
        reader,
        "select relname from pg_class where relnamespace = 'dot'::regnamespace and relname like 'v\\_%'"
        " and has_table_privilege(oid, 'select')",
    )
    functions = rows(
        reader,
        "select p.oid::regprocedure::text as signature from pg_proc p where p.pronamespace = 'dot'::regnamespace"
        " and has_function_privilege(p.oid, 'execute')",
    )
    reader.execute(f"begin isolation level {level}")
    for one in views:
        reader.execute(f"select * from dot.{one['relname']}")
    for one in functions:
        name, _, arguments = one["signature"].rstrip(")").partition("(")
        given = ", ".join(f"null::{kind}" if kind != "boolean" else "true" for kind in arguments.split(",") if kind)
        reader.execute(f"select {name}({given})")
    set_gates(db, "false")
    reader.execute("commit")
