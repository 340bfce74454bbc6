"""v_dot_state: each thing that rows can say and no definition, caused and told, and nothing told of what is well."""

from __future__ import annotations

import json

import pytest

from support import (
    IN_BOTH_STATES,
    PAIR,
    Database,
    acquire,
    attest,
    define_pair,
    observe_run,
    ready_for_real_runs,
    row,
    rows,
    set_gates,
    value,
)
from support.ledgers import store_candidate, store_run

# What is written here belongs to the second of two epochs. Its events follow.
SECOND_EPOCH = (
    "select dot.fn_outbox_epoch(true);"
    " insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at)"
    " select 2, system_identifier, database_oid, began_at from dot.outbox_epoch;"
    " insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
)


def told(db: Database) -> list[tuple[str, str]]:
    found = rows(db.session("reader"), "select finding, subject from dot.v_dot_state order by finding, subject")
    return [(one["finding"], one["subject"]) for one in found]


@IN_BOTH_STATES
def test_nothing_is_told_of_a_database_that_is_in_use(db: Database) -> None:
    assert told(db) == []
    ready_for_real_runs(db)
    attest(db)
    db.connect("gatekeeper").execute(
        "select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')"
    )
    writer = db.connect("writer")
    observe_run(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    assert told(db) == []


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (
            "delete from dot.dot_config where key = 'process_dot_runtime.real_run_enabled'",
            [("gate_missing", "process_dot_runtime.real_run_enabled")],
        ),
        (
            "update dot.dot_config set value = null where key = 'queue.worker.enabled'",
            [("gate_missing", "queue.worker.enabled")],
        ),
        (
            "delete from dot.event_type where event_type = 'process.run.started'",
            [("event_type_missing", "process.run.started")],
        ),
        (
            "delete from dot.event_type",
            [
                ("event_type_missing", f"process.{event}")
                for event in (
                    *("component.cancelled", "component.failed", "component.observed"),
                    *("component.step_completed", "component.step_started"),
                    *("run.cancelled", "run.completed", "run.failed", "run.observed", "run.started"),
                )
            ],
        ),
        (
            "set session_replication_role = replica;"
            " alter table dot.outbox_cursor disable trigger outbox_cursor_append_only; delete from dot.outbox_cursor",
            [("cursor_missing", "dot.outbox_cursor")],
        ),
        (
            "update dot.outbox_cursor set epoch = 1",  # which was never begun
            [("cursor_ahead", "dot.outbox_cursor")],
        ),
        (
            "select dot.fn_outbox_epoch(true);"
            " update dot.outbox_cursor set epoch = 1, xact_id = '99999999999', outbox_id = 1",
            [("cursor_ahead", "dot.outbox_cursor")],
        ),
        (
            "insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
            " values (1, '1', 'a', 'b', 'c', '{}')",
            [("event_ahead", "dot.event_outbox")],
        ),
        (
            "select dot.fn_outbox_epoch(true);"
            " insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
            " values (1, '99999999999', 'a', 'b', 'c', '{}')",
            [("event_ahead", "dot.event_outbox")],
        ),
        (
            "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at) values (1, 7, 7, now());"
            " insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
            " values (1, '99999999999', 'a', 'b', 'c', '{}');"
            " update dot.outbox_cursor set epoch = 1, xact_id = '99999999998'",
            [],  # it came with the database, and what is written here comes after it
        ),
        (
            "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at)"
            " select 1, system_identifier, 7, now() from dot.fn_database_identity();"
            " update dot.outbox_cursor set epoch = 1, xact_id = '99999999998'",
            [],  # it came with a copy of another database of this server's
        ),
        (
            "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at)"
            " select 1, system_identifier + 1, database_oid, now() from dot.fn_database_identity();"
            " update dot.outbox_cursor set epoch = 1, xact_id = '99999999998'",
            [],  # it came from another cluster, where the database had the same number
        ),
        (f"{SECOND_EPOCH} values (1, '99999999999', 'a', 'b', 'c', '{{}}'), (2, '1', 'a', 'b', 'c', '{{}}')", []),
        (
            f"{SECOND_EPOCH} values (2, '1', 'a', 'b', 'c', '{{}}');"
            " update dot.outbox_cursor set epoch = 1, xact_id = '99999999998'",
            [],  # its epoch is over
        ),
        (
            f"{SECOND_EPOCH} values (1, '99999999999', 'a', 'b', 'c', '{{}}'), (2, '1', 'a', 'b', 'c', '{{}}'),"
            " (2, '99999999998', 'a', 'b', 'c', '{}'), (2, '99999999997', 'a', 'b', 'c', '{}')",
            [("event_ahead", "dot.event_outbox")],  # once, of the newest event
        ),
    ],
)
def test_what_is_missing_or_ahead_is_told(db: Database, done: str, expected: list[tuple[str, str]]) -> None:
    db.connect("superuser").execute(done)
    assert told(db) == expected
    assert rows(db.session("reader"), "select finding from dot.v_dot_state where detail is null") == []


def test_a_position_is_ahead_from_the_next_transaction_on(db: Database) -> None:
    owner = db.connect("owner")
    owner.execute("select dot.fn_outbox_epoch(true)")
    with owner.transaction(force_rollback=True):  # with one snapshot: other sessions' transactions go on
        owner.execute("set transaction isolation level repeatable read")
        following = int(value(owner, "select pg_snapshot_xmax(pg_current_snapshot())::text"))
        for position, is_ahead in ((following, True), (following - 1, False)):
            owner.execute("update dot.outbox_cursor set epoch = 1, xact_id = %s::text::xid8", (position,))
            assert rows(owner, "select finding from dot.v_dot_state") == [{"finding": "cursor_ahead"}] * is_ahead


def test_a_sequence_behind_its_table_is_told(db: Database) -> None:
    define_pair(db)
    db.connect("gatekeeper").execute(
        "select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')"
    )
    attest(db)
    observe_run(db.connect("writer"))
    owner = db.connect("owner")
    owner.execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'tester', 'none')")
    owner.execute("insert into dot.job_queue (job_type, status) values ('a', 'b')")
    assert told(db) == []
    behind = [
        one["name"]
        for one in rows(
            owner,
            "select format('dot.%I', relname) as name from pg_class where relkind = 'S'"
            " and relnamespace = 'dot'::regnamespace and relname !~ '^(universal|event_outbox)' order by relname",
        )
    ]
    for name in behind:
        owner.execute(f"alter sequence {name} restart")
    assert told(db) == [("sequence_behind", name) for name in behind]
    for name in behind:
        owner.execute(f"select setval('{name}', 1, true)")  # goes on at 2, and the first is there
    assert told(db) == []
    owner.execute("insert into dot.job_queue (job_type, status) values ('a', 'b')")
    owner.execute("select setval('dot.job_queue_job_id_seq', 1, true)")
    assert told(db) == [("sequence_behind", "dot.job_queue_job_id_seq")]


def test_a_lease_that_is_lower_than_a_run_s_or_gone_is_told(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    superuser = db.connect("superuser")
    acquire(writer)
    for evidence_type in ("DRY_RUN", "DRY_RUN", "REAL_RUN"):
        token = acquire(writer)
        observe_run(writer, evidence_type=evidence_type, lease_token=token)
        superuser.execute("update dot.dot_iu_runtime_lease set token = %s", (token - 1,))
        assert told(db) == [("lease_behind", f"dot_exec:{PAIR}")]
        superuser.execute("update dot.dot_iu_runtime_lease set token = %s", (token,))
        assert told(db) == []
    superuser.execute("alter table dot.dot_iu_runtime_lease disable trigger dot_iu_runtime_lease_append_only")
    superuser.execute("delete from dot.dot_iu_runtime_lease")
    detail = value(db.connect("reader"), "select detail from dot.v_dot_state")
    assert detail == "it stands at token none, and a run was under 4"


def test_a_lease_that_is_gone_is_told_also_of_the_first_token(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    store_run(owner, lease_token=1)
    assert told(db) == [("lease_behind", f"dot_exec:{PAIR}")]


def test_a_run_is_compared_with_the_lease_of_its_own_candidate(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.other")
    writer = db.session("writer")
    for _ in range(2):
        token = acquire(writer)
    acquire(writer, "shop.other")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert told(db) == []


def test_a_gate_that_was_opened_on_another_cluster_is_told_until_it_is_moved_here(db: Database) -> None:
    gate = "process_dot_runtime.execute_enabled"
    set_gates(db, "true", gate)
    superuser = db.connect("superuser")
    superuser.execute("alter table dot.dot_config_audit disable trigger dot_config_audit_append_only")
    superuser.execute("update dot.dot_config_audit set system_identifier = 7")
    assert told(db) == [("gate_not_opened_here", gate)]
    set_gates(db, "false", gate)
    assert told(db) == []


def test_its_cost_does_not_grow_with_the_ledger(db: Database) -> None:
    """Pages read for 3,000 runs above a simulation and as many events, beside those for none."""
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    token = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)

    def pages() -> int:
        owner.execute("analyze dot.process_run_observation, dot.event_outbox, dot.process_candidate")
        plan = value(owner, "explain (analyze, buffers, format json) select * from dot.v_dot_state")
        top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])

    before = pages()
    one = row(owner, "select * from dot.process_run_observation limit 1")
    columns = ", ".join(name for name in one if name != "process_run_id")
    owner.execute(
        f"insert into dot.process_run_observation (process_run_id, {columns})"
        f" select gen_random_uuid(), {columns} from dot.process_run_observation, generate_series(1, 3000)"
    )
    owner.execute(
        "insert into dot.event_outbox (epoch, aggregatetype, aggregateid, type, payload)"
        " select 1, 'a', 'b', 'c', '{}' from generate_series(1, 3000)"
    )
    assert pages() <= before + 20
