"""A database that is adopted: the host's DOTs, gates and figures are what counts, and nothing of the host's is written."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from support import (
    GATES,
    Connection,
    Database,
    acquire,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)
from support.hosts import DOTS, SWITCHES, Host, adopt, beside, mapping_of, ready, switch

TABLES = {"near": "public.dot_tools", "far": "automation.tools"}


def everything_of(db: Database, host: Host) -> list[object]:
    """Each row of each table of the host's, with the transaction that wrote it and where it lies."""
    superuser = db.session("superuser")
    tables = rows(
        superuser,
        "select c.oid::regclass::text as name from pg_class c where c.relkind = 'r' and c.relnamespace = %s::regnamespace",
        SWITCHES[host][0].partition(".")[0],
    )
    assert len(tables) >= 6
    return [
        value(superuser, f"select array_agg((t.xmin, t.ctid, t.*)::text order by t.ctid) from {one['name']} t")
        for one in tables
    ]


def test_before_an_adoption_no_host_says_anything_of_a_gate(db: Database) -> None:
    owner = db.session("owner")
    assert rows(owner, "select * from dot.v_host_gate") == []
    assert rows(db.session("reader"), "select key from dot.v_dot_gate where is_governed_by_host is not false") == []
    seams = "select s.host from unnest(array['v_host_tool', 'v_host_gate', 'v_host_ledger']) n, dot.fn_seam_tables(n) s"
    assert [one["host"] for one in rows(owner, seams)] == [None] * 3


def test_the_figures_of_document_02_are_the_hosts(db: Database, host: Host) -> None:
    reader = db.session("reader")
    found = {
        one["position"]: one for one in rows(reader, "select * from dot.v_dot_execution_inventory order by position")
    }
    assert found[1]["verdict"] == "DECLARED, NEVER INVOKED"
    assert found[1]["figures"] == {"dots": 303, "agent_api_dots": 103, "executed": 0}
    assert found[2]["mechanism_exists"] == "119/303 have a path"
    assert found[2]["verdict"] == "NO RUNNER binds these to execution; usage_count 0 everywhere"
    assert found[3]["mechanism_exists"] == "LIVE (55 rows)"
    assert found[3]["can_inject_process_run_id"] == "NO"
    assert found[3]["figures"]["refused"] == 9
    assert found[3]["figures"]["plan"] in (18, 19)
    assert found[4]["mechanism_exists"] == "table LIVE; worker off"
    assert found[4]["can_inject_process_run_id"] == {"near": "partial", "far": "YES"}[host]
    assert found[4]["figures"] == {"jobs": 12, "worker_enabled": False}
    total = row(reader, "select declared_dots, executed_dots, backfilled_dots from dot.v_dot_funnel_total")
    assert total == {"declared_dots": 303, "executed_dots": 0, "backfilled_dots": 303}
    switch(db.url, host, "true", "queue.worker.enabled")
    worker = row(reader, "select verdict from dot.v_dot_execution_inventory where position = 4")
    assert worker == {"verdict": "ON"}


def test_nothing_of_the_host_is_written(db: Database, host: Host) -> None:
    token = ready(db, host)
    before = everything_of(db, host)
    writer, cataloguer, gatekeeper = db.session("writer"), db.session("cataloguer"), db.session("gatekeeper")
    for evidence, lease in (("SIMULATED_DRY_RUN", None), ("DRY_RUN", token), ("REAL_RUN", token)):
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'listen')")
        run = observe_run(writer, dot_code=DOTS[host][0], evidence_type=evidence, lease_token=lease)["process_run_id"]
        for role, code in zip(("producer", "verifier"), DOTS[host], strict=True):
            observe_component(writer, run, role, dot_code=code, lease_token=lease)
    set_gates(db, "false")
    with refused("23514"):
        cataloguer.execute("select dot.fn_dot_tool_register('new')")
    writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'tester')")
    for view in ("v_dot_tool", "v_dot_funnel", "v_dot_execution_inventory", "v_dot_gate", "v_dot_command_run"):
        db.session("reader").execute(f"select * from dot.{view}")
    assert everything_of(db, host) == before
    assert value(db.session("owner"), "select count(*) from dot.dot_tools") == 0
    # The host's log keeps its 55 rows: what was refused here stands in the wrapper's.
    seen = value(db.session("reader"), "select figures from dot.v_dot_execution_inventory where position = 3")
    assert seen["command_runs"] == 55


def test_a_run_of_the_hosts_dots_is_verified(db: Database, host: Host) -> None:
    token = ready(db, host)
    writer = db.session("writer")
    run = observe_run(writer, dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    for role, code in zip(("producer", "verifier"), DOTS[host], strict=True):
        observe_component(writer, run, role, dot_code=code, lease_token=token)
    reader = db.session("reader")
    assert value(reader, "select verified from dot.v_process_verification_v3")
    shown = rows(reader, "select dot_code, verified from dot.v_dot_funnel where observed order by dot_code")
    assert [(one["dot_code"], one["verified"]) for one in shown] == [(code, True) for code in DOTS[host]]


def test_a_dot_has_to_stand_in_the_hosts_catalogue_and_the_hint_names_it(db: Database, host: Host) -> None:
    """The two hints of fn_dot_tool_register's own catalogue would not help here."""
    cataloguer, producer = db.session("cataloguer"), DOTS[host][0]
    saying = f"It has to stand once in {TABLES[host]}, the host's catalogue."
    with refused("23503", "process_candidate_verifier_dot_code_fkey", saying):
        cataloguer.execute("select dot.fn_process_candidate_define('c', %s, 'dot.own', 'tester')", (producer,))
    ready(db, host)
    with refused("23503", "process_run_observation_dot_code_fkey", saying):
        observe_run(db.session("writer"), dot_code="dot.own")
    run = observe_run(db.session("writer"), dot_code=producer)["process_run_id"]
    with refused("23503", "process_component_observation_dot_code_fkey", saying):
        observe_component(db.session("writer"), run, "producer", dot_code="dot.own")


def test_registering_says_unchanged_of_what_the_host_has_and_refuses_all_else(db: Database, host: Host) -> None:
    cataloguer = db.session("cataloguer")
    stored = row(
        cataloguer,
        "select dot_code, category, execution_engine, script_path, file_path, trigger_type from dot.v_dot_tool"
        " where dot_code = %s",
        DOTS[host][0],
    )
    register = "select dot.fn_dot_tool_register(%s, %s, %s, %s, %s, %s)"
    assert value(cataloguer, register, *stored.values()) == "unchanged"
    for changed in ({name: "other"} for name in stored):
        with refused(
            "23514", "dot_tools_code_host_check", f"The owner of {TABLES[host]} adds or changes the DOT there."
        ):
            value(cataloguer, register, *{**stored, **changed}.values())
    assert value(db.session("owner"), "select count(*) from dot.dot_tools") == 0


@pytest.mark.parametrize("name", ["near", "far"])
def test_beside_the_hosts_dots_own_ones_count_and_the_host_wins_where_both_have_a_code(
    db: Database, made: Callable[[Host], Host], name: Host
) -> None:
    cataloguer = db.session("cataloguer")
    cataloguer.execute("select dot.fn_dot_tool_register(%s, 'own')", (DOTS[name][0],))
    made(name)
    adopt(db.url, beside(mapping_of(name)))
    assert value(cataloguer, "select dot.fn_dot_tool_register('dot.own', 'own')") == "created"
    shown = rows(
        cataloguer, "select category from dot.v_dot_tool where dot_code = any (%s)", ["dot.own", DOTS[name][0]]
    )
    assert sorted(one["category"] for one in shown) == ["KG", "own"]
    assert value(cataloguer, "select count(*) from dot.v_dot_tool") == 304
    with refused("23514", "dot_tools_code_host_check"):
        cataloguer.execute("select dot.fn_dot_tool_register(%s, 'own.again')", (DOTS[name][0],))
    saying = (
        f"stand once in {TABLES[name]}, the host's catalogue, or a cataloguer registers it with fn_dot_tool_register."
    )
    with refused("23503", saying=saying):
        cataloguer.execute("select dot.fn_process_candidate_define('c', %s, 'dot.x', 'tester')", (DOTS[name][0],))


def held_by(db: Database) -> tuple[bool, str | None]:
    gate = row(
        db.session("reader"),
        "select is_open, off_because from dot.v_dot_gate where key = %s",
        "iu_core.operator_runtime_enabled",
    )
    return gate["is_open"], gate["off_because"]


def test_a_gate_is_open_where_both_say_true_and_each_message_sends_to_who_can_open_it(db: Database, host: Host) -> None:
    token = ready(db, host)
    writer, table = db.session("writer"), SWITCHES[host][0]
    real = {"dot_code": DOTS[host][0], "evidence_type": "REAL_RUN", "lease_token": token}
    own, theirs = "its value is not exactly true", f"in {table}, the host's, its value is not exactly true"
    no_gate = "SIMULATED_DRY_RUN needs no gate."
    us, them = "A gatekeeper opens a gate with fn_dot_config_set.", "The host's owner opens the host's."
    for ours, host_says, because, hint in (
        ("true", "true", None, None),
        ("false", "true", own, f"{no_gate} {us}"),
        ("true", "false", theirs, f"{no_gate} {them}"),
        ("false", "false", f"{own}; {theirs}", f"{no_gate} {us} {them}"),
    ):
        set_gates(db, ours, GATES[0])
        switch(db.url, host, host_says, GATES[0])
        assert held_by(db) == (because is None, because)
        if because is None:
            observe_run(writer, **real)
            continue
        with pytest.raises(
            psycopg.errors.CheckViolation, match=r"gate iu_core\.operator_runtime_enabled is off"
        ) as caught:
            observe_run(writer, **real)
        diagnostic = caught.value.diag
        assert diagnostic.constraint_name == "gate_operator_runtime_enabled_check"
        assert (diagnostic.message_detail, diagnostic.message_hint) == (f"Gate {GATES[0]}: {because}.", hint)


# What a host may say instead of true.
NOT_TRUE = {"near": ("TRUE", " true", "1", "", None), "far": ('"true"', "1", "null", '{"enabled": true}', "[true]")}


def test_anything_but_exactly_true_closes_a_gate(db: Database, host: Host, subtests: pytest.Subtests) -> None:
    token = ready(db, host)
    superuser, (table, key) = db.session("superuser"), SWITCHES[host]
    for said in NOT_TRUE[host]:
        superuser.execute(f"update {table} set value = %s where {key} = %s", (said, GATES[0]))
        with subtests.test(said=said), refused("23514", "gate_operator_runtime_enabled_check"):
            observe_run(db.session("writer"), dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)
    superuser.execute(f"delete from {table} where {key} = %s", (GATES[0],))
    assert held_by(db) == (False, f"in {table}, the host's, it has no value")
    with refused("23514", "gate_operator_runtime_enabled_check", "it has no value"):
        observe_run(db.session("writer"), dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)


def test_what_the_host_says_of_its_gates_is_not_said_of_one_that_it_does_not_govern(
    db: Database, made: Callable[[Host], Host]
) -> None:
    adopt(db.url, beside(mapping_of(made("near"))))
    switch(db.url, "near", "false")
    told = rows(
        db.session("owner"),
        "select key, host_value, host_off_because is null as unsaid from dot.fn_gate_state(null, false)",
    )
    unsaid = {**dict.fromkeys(GATES, False), "queue.worker.enabled": True}
    assert {one["key"]: one["unsaid"] for one in told} == unsaid
    assert {one["key"]: one["host_value"] is None for one in told} == unsaid


def test_the_queues_worker_is_the_hosts_and_no_row_of_the_wrappers_moves_it(db: Database, host: Host) -> None:
    gatekeeper = db.session("gatekeeper")
    with refused("23514", "dot_config_key_host_check", f"The host's owner changes it in {SWITCHES[host][0]}."):
        gatekeeper.execute("select dot.fn_dot_config_set('queue.worker.enabled', 'true', 'tester', 'start it')")
    shown = "select is_open, is_governed_by_host, host_value from dot.v_dot_gate where key = 'queue.worker.enabled'"
    assert row(gatekeeper, shown) == {"is_open": False, "is_governed_by_host": True, "host_value": "false"}
    switch(db.url, host, "true", "queue.worker.enabled")
    assert row(gatekeeper, shown) == {"is_open": True, "is_governed_by_host": True, "host_value": "true"}


def test_a_gate_that_the_host_alone_closes_is_nothing_that_is_wrong(db: Database, host: Host) -> None:
    set_gates(db)
    assert rows(db.session("reader"), "select * from dot.v_dot_state") == []


def test_the_preflight_names_the_hosts_catalogue(db: Database, host: Host) -> None:
    look = "select verdict, detail from dot.fn_preflight_guard() where check_name = 'catalogue_present'"
    writer = db.session("writer")
    assert row(writer, look) == {"verdict": "PASS", "detail": "the catalogue holds DOTs"}
    db.session("superuser").execute(f"delete from {TABLES[host]}")
    assert row(writer, look) == {"verdict": "BLOCK", "detail": f"{TABLES[host]}, the host's catalogue, is empty"}


def scans(superuser: Connection, table: str) -> dict[str, int]:
    superuser.execute("select pg_stat_clear_snapshot()")
    return row(superuser, "select seq_scan, idx_scan from pg_stat_user_tables where relid = %s::regclass", table)


def test_a_dot_is_found_by_the_hosts_own_unique_index(db: Database, host: Host) -> None:
    ready(db, host)
    superuser, writer = db.session("superuser"), db.session("writer")
    superuser.execute("vacuum (analyze)")
    writer.execute("select pg_stat_force_next_flush()")
    before = scans(superuser, TABLES[host])
    for _ in range(20):
        observe_run(writer, dot_code=DOTS[host][0])
    writer.execute("select pg_stat_force_next_flush()")
    after = scans(superuser, TABLES[host])
    assert after["seq_scan"] == before["seq_scan"]
    assert after["idx_scan"] - before["idx_scan"] >= 20


def test_of_a_gate_that_a_seam_shows_twice_the_row_that_is_not_true_counts(db: Database) -> None:
    """No adoption makes such a seam. One that is made by hand must not open a gate by the order of its rows."""
    owner = db.session("owner")
    for values in (
        "('{0}', 'true'), ('{0}', null)",
        "('{0}', null), ('{0}', 'true')",
        "('{0}', 'false'), ('{0}', 'true')",
    ):
        owner.execute(
            "create or replace view dot.v_host_gate with (security_barrier = true) as"
            f" select g.key, g.value from (values {values.format(GATES[0])}) as g (key, value)"
        )
        assert row(
            db.session("reader"), "select is_governed_by_host, is_open from dot.v_dot_gate where key = %s", GATES[0]
        ) == {"is_governed_by_host": True, "is_open": False}
        said = value(owner, "select words ->> %s from dot.fn_host_gate_words(array[%s])", GATES[0], GATES[0])
        assert said != "true"


def test_a_host_is_not_asked_at_a_commit_of_a_gate_that_the_run_does_not_need(db: Database) -> None:
    """No adoption makes such a seam either."""
    ready_for_real_runs(db)
    db.session("owner").execute(
        "create or replace view dot.v_host_gate with (security_barrier = true) as"
        f" select g.key, g.value from (values ('{GATES[2]}', 'true')) as g (key, value)"
    )
    writer = db.session("writer")
    with writer.transaction():
        observe_run(writer, evidence_type="DRY_RUN", lease_token=acquire(writer))
        writer.execute("set constraints all immediate")  # which is refused where the host is asked


def test_what_was_stored_elsewhere_is_not_asked_for_the_hosts_gates(db: Database, host: Host) -> None:
    """A restore of the rows alone, or a replica: they were let in where they were stored."""
    token = ready(db, host)
    observe_run(db.session("writer"), dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)
    switch(db.url, host, "false")
    owner = db.session("owner")
    columns = value(
        owner,
        "select string_agg(attname, ', ' order by attnum) from pg_attribute"
        " where attrelid = 'dot.process_run_observation'::regclass and attnum > 0 and attname <> 'process_run_id'",
    )
    copied = (
        f"insert into dot.process_run_observation (process_run_id, {columns})"
        f" select gen_random_uuid(), {{}} from dot.process_run_observation limit 1"
    )
    owner.execute(copied.format(columns))
    with refused("23514", "gate_operator_runtime_enabled_check"):
        owner.execute(copied.format(columns.replace("xact_id", "pg_current_xact_id()")))
    assert value(db.session("reader"), "select count(*) from dot.v_process_run") == 2
