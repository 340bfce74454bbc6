"""What a host may do to its own tables, and why the ledger does not follow: regressions of a hostile review."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from dot_wrapper.deploy.transaction import Refused
from dot_wrapper.proving.databases import upgrade
from support import (
    Connection,
    Database,
    acquire,
    define_pair,
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
from support.catalog import query


def host_trigger(owner: Connection, table: str, body: str, when: str = "insert or update") -> None:
    """A trigger of the host's on one of its tables."""
    owner.execute(
        f"create function dot.host_trigger() returns trigger language plpgsql as $host$ begin {body} end $host$"
    )
    owner.execute(
        f"create trigger host_trigger before {when} on dot.{table} for each row execute function dot.host_trigger()"
    )


def test_a_trigger_cannot_turn_the_bridge_into_the_owner(db: Database) -> None:
    """dot_bridge owns its functions: it may make one run with the caller's rights, and the second call would be dot_owner."""
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")
    host_trigger(
        db.session("owner"),
        "event_outbox",
        "if current_user = 'dot_bridge' then"
        " alter function dot.fn_host_outbox_append(integer, text, text, text, jsonb) security invoker;"
        " else"
        " alter table dot.process_run_observation disable trigger user; delete from dot.process_run_observation;"
        " end if; return new;",
    )
    writer = db.session("writer")
    observe_run(writer)
    with refused("42501", "bridge_definer_check"):
        observe_run(writer)
    assert value(db.session("reader"), "select count(*) from dot.v_process_run") == 1


def test_every_bridge_function_refuses_to_run_as_anybody_else(db: Database) -> None:
    owner = db.session("owner")
    bridge = rows(
        owner,
        "select p.oid::regprocedure::text as signature, p.proname, (select coalesce(string_agg("
        "format('null::%s', t::regtype), ', '), '') from unnest(p.proargtypes) t) as nulls"
        " from pg_proc p where p.pronamespace = 'dot'::regnamespace and p.proname like 'fn\\_host\\_%' order by 1",
    )
    assert len(bridge) == 20
    for one in bridge:
        owner.execute(f"alter function {one['signature']} security invoker")
        with refused("42501", "bridge_definer_check"):
            owner.execute(f"select dot.{one['proname']}({one['nulls']})")


def test_what_is_missing_of_the_host_is_told_and_is_no_error(db: Database) -> None:
    owner = db.session("owner")
    look = "select config_readable, catalogue_present, leases_usable from dot.fn_host_preflight()"
    assert tuple(row(owner, look).values()) == (True, False, True)
    for table in ("dot_config", "v_host_tool", "dot_iu_runtime_lease"):
        owner.execute(f"alter table dot.{table} rename to {table}_elsewhere")
    assert tuple(row(owner, look).values()) == (False, None, False)


@pytest.mark.parametrize(
    ("table", "key", "stored", "call"),
    [
        (
            "dot_config",
            "key",
            "value",
            "select dot.fn_dot_config_set('process_dot_runtime.real_run_enabled', 'false', 'ana', 'stop')",
        ),
        (
            "event_type",
            "event_type",
            "active",
            "select dot.fn_event_type_set('process.run.started', true, 'ana', 'listen')",
        ),
    ],
)
@pytest.mark.parametrize(
    "body", ["return null;", "new.{key} := 'elsewhere'; return new;", "new.{stored} := null; return new;"]
)
def test_a_switch_that_the_host_did_not_store_is_an_error_and_not_audited(
    db: Database, table: str, key: str, stored: str, call: str, body: str
) -> None:
    set_gates(db)
    owner = db.session("owner")
    owner.execute(f"alter table dot.{table} alter {stored} drop not null")
    host_trigger(owner, table, body.format(key=key, stored=stored))
    before = value(owner, "select count(*) from dot.dot_config_audit")
    with db.connect("gatekeeper") as gatekeeper, refused("P0001", saying="the host did not store"):
        gatekeeper.execute(call)
    assert value(owner, "select count(*) from dot.dot_config_audit") == before


def test_an_event_or_refusal_that_the_host_did_not_store_is_an_error(db: Database) -> None:
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'ana', 'listen')")
    owner, writer = db.session("owner"), db.session("writer")
    host_trigger(owner, "event_outbox", "return null;")
    with refused("P0001", saying="the host did not store"):
        observe_run(writer)
    assert value(db.session("reader"), "select count(*) from dot.v_process_run") == 0
    owner.execute("create trigger host_trigger before insert on dot.dot_iu_command_run"
                  " for each row execute function dot.host_trigger()")  # fmt: skip
    with refused("P0001", saying="the host did not store"):
        writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'ana')")


@pytest.mark.parametrize("column", [None, "category", "execution_engine", "script_path", "file_path", "trigger_type"])
def test_a_dot_that_the_host_did_not_store_as_it_was_given_is_an_error(db: Database, column: str | None) -> None:
    owner = db.session("owner")
    owner.execute("insert into dot.dot_tools (code, category) values ('dot.alike', 'load')")
    host_trigger(owner, "dot_tools", f"new.{column} := 'host'; return new;" if column else "return null;")
    with db.connect("cataloguer") as cataloguer, refused("P0001", saying="the host did not store dot.x"):
        cataloguer.execute("select dot.fn_dot_tool_register('dot.x', 'load')")
    assert value(owner, "select count(*) from dot.dot_tools") == 1


@pytest.mark.parametrize("what", ["run", "component"])
def test_an_event_type_switched_on_while_an_observation_waits_gets_its_event(db: Database, what: str) -> None:
    """The switch and the gate are one transaction: the observation that waited for it must see both."""
    ready_for_real_runs(db)
    writer, gatekeeper = db.connect("writer"), db.connect("gatekeeper")
    token = acquire(writer)
    event_type, observe = (
        "process.run.started",
        partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token),
    )
    if what == "component":
        run = observe()["process_run_id"]
        event_type = "process.component.step_completed"
        observe = partial(observe_component, writer, run, "producer", lease_token=token)
    gatekeeper.execute("begin")
    gatekeeper.execute("select dot.fn_dot_config_set('queue.worker.enabled', 'true', 'ana', 'takes the latch')")
    gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'ana', 'listen')", (event_type,))
    with ThreadPoolExecutor(1) as pool:
        observed = waiting(writer, observe, pool, db)
        gatekeeper.execute("commit")
        assert observed.result()["created"]
    assert value(db.session("owner"), "select array_agg(type) from dot.event_outbox") == [event_type]


def test_the_owner_keeps_no_right_to_create_schemas(empty_url: str) -> None:
    upgrade(empty_url)
    (right,) = query(empty_url, "select has_database_privilege('dot_owner', current_database(), 'create')")
    assert list(right.values()) == [False]


def test_a_replay_in_an_old_snapshot_that_holds_the_gates_is_named_by_the_switch(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="k")
    writer.execute("begin isolation level repeatable read")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="k")
    pid = writer.info.backend_pid
    with db.connect("gatekeeper") as gatekeeper, refused("55P03", saying=f"Held by: {pid}"):
        gatekeeper.execute("select dot.fn_dot_config_set('process_dot_runtime.real_run_enabled', 'false', 'ana', 'x')")
    writer.execute("rollback")


def test_an_upgrade_into_a_schema_that_somebody_else_prepared_is_refused(db: Database, empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as creator:
        creator.execute(f"create schema dot authorization {db.login('outsider')}")
    with pytest.raises(Refused, match="does not belong to dot_owner"):
        upgrade(empty_url)


def test_an_upgrade_for_an_owner_that_can_log_in_is_refused(db: Database, empty_url: str) -> None:
    superuser = db.session("superuser")
    superuser.execute("alter role dot_owner login")
    try:
        with pytest.raises(Refused, match="can log in"):
            upgrade(empty_url)
    finally:
        superuser.execute("alter role dot_owner nologin")
