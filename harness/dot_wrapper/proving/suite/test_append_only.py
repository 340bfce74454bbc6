"""What is stored stays as it is, for its owner and for a superuser too, and nothing but the ledger is written."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from dot_wrapper.proving.prepared import ROLES
from dot_wrapper.proving.support import (
    GATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    ledger_counts,
    observe_component,
    observe_run,
    poll_until,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
)

APPEND_ONLY = (
    "dot_config_audit",
    "dot_iu_command_run",
    "dot_mechanism_attestation",
    "event_outbox",
    "outbox_epoch",
    "preflight_attestation",
    "process_candidate",
    "process_component_observation",
    "process_run_observation",
)
KEPT = ("dot_iu_runtime_lease", "outbox_cursor")  # their rows move, and never go

RUN_ID = "018f3c1e-7b1a-7c3d-9e21-5a0c2f1b7d10"
EVERY_CALL = {
    "cataloguer": (
        f"dot.fn_dot_tool_register('{PRODUCER}')",
        f"dot.fn_dot_tool_register('{VERIFIER}', 'check')",
        f"dot.fn_dot_tool_register('{VERIFIER}', 'test')",
        f"dot.fn_process_candidate_define('{PAIR}', '{PRODUCER}', '{VERIFIER}', 'me')",
        "dot.fn_host_tools()",
    ),
    "gatekeeper": (
        *(f"dot.fn_dot_config_set('{gate}', 'true', 'me', 'for a test')" for gate in GATES),
        "dot.fn_event_type_set('process.run.started', true, 'me', 'for a test')",
        "dot.fn_event_type_set('process.component.step_completed', true, 'me', 'for a test')",
        "dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'me', 'a snapshot')",
        "dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none found')",
    ),
    "writer": (
        "dot.fn_dot_iu_operator_runtime_enabled()",
        "dot.fn_process_dot_runtime_execute_enabled()",
        "dot.fn_process_dot_runtime_real_run_enabled()",
        "dot.fn_preflight_guard()",
        "dot.fn_assert_safe_for_dot_action()",
        f"dot.fn_dot_iu_runtime_lease_acquire('dot_exec:{PAIR}', 'me', 600)",
        f"dot.fn_dot_iu_runtime_lease_renew('dot_exec:{PAIR}', 'me', 1, 600)",
        f"dot.fn_process_run_observe('{PAIR}', '{PRODUCER}', '{RUN_ID}', 'corr', 'REAL_RUN', false, 'started', 'me', 'key-1',"
        " p_lease_token => 1)",
        f"dot.fn_process_run_observe('{PAIR}', '{PRODUCER}', '{RUN_ID}', 'corr', 'REAL_RUN', false, 'started', 'me', 'key-1',"
        " p_lease_token => 1)",
        *(
            f"dot.fn_process_component_observe('{PAIR}', '{dot}', '{RUN_ID}', 'corr', '{role}', 'completed', 'me',"
            " p_lease_token => 1)"
            for role, dot in (("producer", PRODUCER), ("verifier", VERIFIER))
        ),
        f"dot.fn_process_run_observe('{PAIR}', '{PRODUCER}', gen_random_uuid(), 'corr', 'SIMULATED_DRY_RUN', true, 'prepared',"
        " 'me')",
        f"dot.fn_process_pair_observe('{PAIR}', '{PRODUCER}', '{VERIFIER}', gen_random_uuid(), 'corr', 'SIMULATED_DRY_RUN', true,"
        " 'failed', 'skipped', 'me')",
        f"dot.fn_process_observe_batch('{{{PAIR}}}', '{{{PRODUCER}}}', array[gen_random_uuid()], '{{corr}}', '{{null}}',"
        " '{SIMULATED_DRY_RUN}', '{true}', '{failed}', '{me}', '{null}', '{null}', '{null}', '{null}', '{null}',"
        " array['{}'::jsonb], '{null}', '{null}', false)",
        "dot.fn_dot_iu_command_log('dot_wrapper.execute', 'apply', 'completed', 'me')",
        f"dot.fn_dot_iu_runtime_lease_release('dot_exec:{PAIR}', 'me', 1)",
        f"dot.fn_process_run_begin('{PAIR}', '{PRODUCER}', gen_random_uuid(), 'corr', 'DRY_RUN', true, 'me', 'me', 600)",
    ),
    # A gatekeeper's, once there is a lease.
    "operator": (f"dot.fn_dot_iu_runtime_lease_end('dot_exec:{PAIR}', 'me', 'its login is gone')",),
    "relay": ("dot.fn_dot_outbox_poll()", "dot.fn_dot_outbox_prune()"),
    "reader": (
        "dot.fn_gate_status()",
        "dot.fn_preflight_attestation('fs_snapshot_present')",
        "dot.fn_gate_holders()",
        "dot.fn_database_identity()",
        "dot.fn_host_ledgers()",
        f"dot.fn_candidate_newest('{PAIR}')",
        "dot.fn_dot_iu_operator_runtime_enabled()",
        "dot.fn_process_dot_runtime_execute_enabled()",
        "dot.fn_process_dot_runtime_real_run_enabled()",
    ),
}


def fill(db: Database) -> None:
    """Puts a row into every table that keeps its rows."""
    ready_for_real_runs(db)
    with db.connect("gatekeeper") as gatekeeper, db.connect("writer") as writer:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'me', 'for a test')")
        gatekeeper.execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none found')")
        token = acquire(writer)
        run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")[
            "process_run_id"
        ]
        observe_component(writer, run_id, "producer", lease_token=token)
        writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.execute', 'apply', 'refused', 'me')")


def primary_key(owner: Connection, table: str) -> list[str]:
    query = (
        "select array_agg(a.attname::text) from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
        " and a.attnum = any(i.indkey) where i.indrelid = %s::regclass and i.indisprimary"
    )
    names: list[str] = value(owner, query, f"dot.{table}")
    return names


def plain_column(owner: Connection, table: str) -> str:
    """A column that is no identity: those refuse an UPDATE by themselves."""
    query = (
        "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 and attidentity = ''"
        " order by attnum desc limit 1"
    )
    return str(value(owner, query, f"dot.{table}"))


def rewrites(owner: Connection, table: str) -> dict[str, str]:
    """Every statement that would change a stored row."""
    key = primary_key(owner, table)
    column = plain_column(owner, table)
    on = " and ".join(f"t.{name} = s.{name}" for name in key)
    return {
        "update": f"update dot.{table} set {column} = {column}",
        "merge": f"merge into dot.{table} as t using dot.{table} as s on {on}"
        f" when matched then update set {column} = s.{column}",
        "upsert": f"insert into dot.{table} overriding system value select * from dot.{table}"
        f" on conflict ({', '.join(key)}) do update set {column} = excluded.{column}",
    }


def removals(owner: Connection, table: str) -> dict[str, str]:
    """Every statement that would remove a stored row."""
    on = " and ".join(f"t.{name} = s.{name}" for name in primary_key(owner, table))
    return {
        "delete": f"delete from dot.{table}",
        "merge delete": f"merge into dot.{table} as t using dot.{table} as s on {on} when matched then delete",
        "truncate cascade": f"truncate dot.{table} cascade",
        "truncate restart": f"truncate dot.{table} restart identity cascade",
    }


def test_the_tables_that_keep_their_rows_are_these_and_their_triggers_fire_always(db: Database) -> None:
    owner = db.connect("owner")
    # tgtype: 1 per row, 2 before, 8 delete, 16 update, 32 truncate
    guarded = rows(
        owner,
        "select c.relname as table, array_agg(t.tgtype::int order by t.tgtype) as types, bool_and(t.tgenabled = 'A') as always"
        " from pg_trigger t join pg_class c on c.oid = t.tgrelid"
        " where t.tgfoid in ('dot.fn_append_only_refuse'::regproc, 'dot.fn_event_outbox_refuse'::regproc) and not t.tgisinternal group by c.relname",
    )
    assert all(one["always"] for one in guarded)
    assert sorted(one["table"] for one in guarded if one["types"] == [1 + 2 + 8 + 16, 2 + 32]) == sorted(APPEND_ONLY)
    assert sorted(one["table"] for one in guarded if one["types"] == [1 + 2 + 8, 2 + 32]) == sorted(KEPT)
    assert len(guarded) == len(APPEND_ONLY) + len(KEPT)
    movable = {
        "dot_config",
        "dot_iu_command_catalog",
        "dot_tools",
        "event_type",
        "job_queue",
        "universal_edges",
    }
    assert set(ledger_counts(db)) - {"alembic_version", "alembic_version_amendment"} == {*APPEND_ONLY, *KEPT, *movable}


@pytest.mark.parametrize("who", ["owner", "superuser", "superuser in replica mode"])
def test_no_statement_changes_or_removes_what_is_stored(db: Database, who: str, subtests: pytest.Subtests) -> None:
    fill(db)
    owner = db.connect("owner")
    culprit = db.connect(who.split()[0])
    if who.endswith("replica mode"):
        culprit.execute("set session_replication_role = replica")
    before = {table: rows(owner, f"select ctid, xmin, t.* from dot.{table} t") for table in (*APPEND_ONLY, *KEPT)}
    assert all(before.values())
    for table in (*APPEND_ONLY, *KEPT):
        statements = removals(owner, table)
        if table in APPEND_ONLY:
            statements |= rewrites(owner, table)
        if table != "process_run_observation":  # its plain TRUNCATE is refused for the foreign key, before any trigger
            statements["truncate"] = f"truncate dot.{table}"
        for name, statement in statements.items():
            with subtests.test(table=table, statement=name), refused("23001", f"{table}_append_only", "append-only"):
                culprit.execute(statement)
    for table, stored in before.items():
        assert rows(owner, f"select ctid, xmin, t.* from dot.{table} t") == stored


def test_every_api_call_leaves_the_business_table_alone(db: Database, subtests: pytest.Subtests) -> None:
    owner = db.connect("owner")
    owner.execute("insert into dot.universal_edges (from_code, to_code, edge_type) values ('a', 'b', 'feeds')")
    canary = row(owner, "select ctid, xmin, xmax, e.* from dot.universal_edges e")
    called = set()
    for role, calls in EVERY_CALL.items():
        connection = db.connect(role)
        connection.execute("begin")
        for call in calls:
            connection.execute(f"select * from {call}")
            called.add(call.removeprefix("dot.").partition("(")[0])
        if role == "relay":
            *_, last = poll_until(connection, 5)
            connection.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (last["epoch"], last["xact_id"], last["id"]))
            called.add("fn_dot_outbox_ack")
        if role == "reader":
            for view in rows(
                owner,
                "select relname from pg_class where relnamespace = 'dot'::regnamespace and relname like 'v\\_%'"
                " and has_table_privilege('dot_reader', oid, 'select')",
            ):
                connection.execute(f"select * from dot.{view['relname']}")
        with subtests.test(role=role):
            touched = row(
                connection,
                "select seq_scan, coalesce(idx_scan, 0) as idx_scan, n_tup_ins, n_tup_upd, n_tup_del"
                " from pg_stat_xact_user_tables where schemaname = 'dot' and relname = 'universal_edges'",
            )
            assert set(touched.values()) == {0}
        connection.execute("commit")
    executable = rows(
        owner,
        "select distinct p.proname from pg_proc p, unnest(%s::text[]) as r (role)"
        " where p.pronamespace = 'dot'::regnamespace and has_function_privilege('dot_' || r.role, p.oid, 'execute')",
        list(ROLES),
    )
    assert called == {one["proname"] for one in executable}
    assert row(owner, "select ctid, xmin, xmax, e.* from dot.universal_edges e") == canary


def test_an_observation_inserts_into_ledger_and_outbox_and_writes_nothing_else(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    db.connect("owner").execute("update dot.event_type set active = true")
    token = acquire(db.connect("writer"))
    observe_run(db.connect("writer"))  # the first event of a database begins the outbox's epoch
    for evidence_type in ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN"):
        writer = db.connect("writer")  # its first transaction: the view below also counts earlier ones not yet reported
        writer.execute("begin")
        run_id: uuid.UUID = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
        for role in ("producer", "verifier"):
            observe_component(writer, run_id, role, lease_token=token)
        written: list[dict[str, Any]] = rows(
            writer,
            "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_user_tables"
            " where n_tup_ins + n_tup_upd + n_tup_del > 0 order by relname",
        )
        with subtests.test(evidence_type=evidence_type):
            assert [tuple(one.values()) for one in written] == [
                ("event_outbox", 3, 0, 0),
                ("process_component_observation", 2, 0, 0),
                ("process_run_observation", 1, 0, 0),
            ]
        writer.execute("commit")
