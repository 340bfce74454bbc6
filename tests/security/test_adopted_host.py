"""A host that is hostile or careless: its code never runs under the wrapper, and what it breaks is refused by name or blocks."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from support import (
    GATES,
    PAIR,
    PRODUCER,
    Connection,
    Database,
    acquire,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)
from support.hosts import DOTS, SWITCHES, Host, adopt, mapping_of, ready, switch

TABLES = {
    "near": {"catalogue": "public.dot_tools", "gates": "public.dot_config", "ledger": "public.dot_iu_command_run"},
    "far": {"catalogue": "automation.tools", "gates": "automation.settings", "ledger": "automation.command_runs"},
}
CODE = {"near": "code", "far": "dot_code"}

# What reads which seam.
READS = {
    "catalogue": ("v_dot_tool", "v_dot_funnel", "v_dot_funnel_total", "v_dot_execution_inventory"),
    "ledger": ("v_dot_execution_inventory",),
    "gates": (),
}


def put_policy(db: Database, table: str) -> None:
    """What the tables' owner may do, who is no superuser and has no role of the wrapper: a row policy is a function of its own. It
    notes that it ran where no rollback reaches, and tries to open the gates."""
    superuser = db.session("superuser")
    superuser.execute(
        "create schema if not exists hostile authorization host_app; grant usage on schema hostile to public; set role host_app;"
        " create sequence if not exists hostile.ran; grant all on hostile.ran to public;"
        " create or replace function hostile.policy() returns boolean language plpgsql volatile as $f$ begin"
        " perform nextval('hostile.ran');"
        " begin update dot.dot_config set value = 'true'; exception when others then null; end;"
        " return true; end $f$;"
        f" alter table {table} enable row level security;"
        f" create policy hostile on {table} using (hostile.policy()); reset role"
    )


def has_run(db: Database) -> bool:
    return bool(value(db.session("superuser"), "select is_called from hostile.ran"))


def attempt(connection: Connection, statement: str) -> str | None:
    """The SQLSTATE that a statement ends in."""
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def everybody_reads(db: Database, what: str) -> dict[str, str | None]:
    """Each view that reads a seam, by each who may, a superuser among them: the SQLSTATE it ends in."""
    found = {}
    for who in ("reader", "superuser", "owner"):
        for view in READS[what]:
            found[f"{who} {view}"] = attempt(db.session(who), f"select * from dot.{view}")
    return found


def test_a_policy_on_the_catalogue_never_runs_and_all_that_reads_it_is_refused(db: Database, near: Host) -> None:
    ready(db, near)
    put_policy(db, TABLES[near]["catalogue"])
    set_gates(db, "false")
    calls = {
        "writer": (
            f"select dot.fn_process_run_observe('{PAIR}', 'KG.001', gen_random_uuid(), 'c', 'SIMULATED_DRY_RUN', true, 'started',"
            " 'tester')",
            f"select dot.fn_process_pair_observe('{PAIR}', 'KG.001', 'KG.002', gen_random_uuid(), 'c', 'SIMULATED_DRY_RUN', true,"
            " 'completed', 'completed', 'tester')",
        ),
        "cataloguer": (
            "select dot.fn_dot_tool_register('KG.001')",
            "select dot.fn_process_candidate_define('c', 'KG.001', 'KG.002', 'tester')",
            "select * from dot.v_dot_tool",
        ),
    }
    for who, statements in calls.items():
        for statement in statements:
            with refused("55000", "host_readable_check", "dot-wrapper adopt --check"):
                db.session(who).execute(statement)
    assert set(everybody_reads(db, "catalogue").values()) == {"55000"}
    check = row(
        db.session("writer"),
        "select verdict, detail from dot.fn_preflight_guard() where check_name = 'catalogue_present'",
    )
    assert check["verdict"] == "BLOCK"
    assert "row-level security" in check["detail"]
    assert not has_run(db)
    assert value(db.session("owner"), "select bool_and(value = 'false') from dot.dot_config")


def test_a_policy_on_the_switches_never_runs_and_keeps_the_gates_closed(db: Database, near: Host) -> None:
    token = ready(db, near)
    put_policy(db, TABLES[near]["gates"])
    writer = db.session("writer")
    with refused("23514", "gate_operator_runtime_enabled_check", "what the host says of it cannot be read"):
        observe_run(writer, dot_code="KG.001", evidence_type="REAL_RUN", lease_token=token)
    assert observe_run(writer, dot_code="KG.001")["created"]
    for who in ("reader", "superuser"):
        shown = rows(db.session(who), "select is_open, is_governed_by_host, off_because from dot.v_dot_gate")
        assert {(one["is_open"], one["is_governed_by_host"]) for one in shown} == {(False, True)}
        assert all("row-level security" in one["off_because"] for one in shown)
    check = row(writer, "select verdict, detail from dot.fn_preflight_guard() where check_name = 'gates_readable'")
    assert check["verdict"] == "BLOCK"
    assert "row-level security" in check["detail"]
    for reader in ("fn_dot_iu_operator_runtime_enabled", "fn_process_dot_runtime_real_run_enabled"):
        assert value(db.session("reader"), f"select dot.{reader}()") is False
    assert not has_run(db)


def test_a_policy_on_a_ledger_never_runs_and_the_inventory_is_refused(db: Database, near: Host) -> None:
    put_policy(db, TABLES[near]["ledger"])
    assert set(everybody_reads(db, "ledger").values()) == {"55000"}
    assert attempt(db.session("reader"), "select * from dot.v_dot_tool") is None
    assert not has_run(db)


def test_where_a_superuser_let_dot_owner_pass_no_policy_runs_and_nothing_is_filtered(db: Database, near: Host) -> None:
    superuser = db.session("superuser")
    superuser.execute("alter role dot_owner bypassrls")
    try:
        token = ready(db, near)
        for table in TABLES[near].values():
            put_policy(db, table)
        observe_run(db.session("writer"), dot_code="KG.001", evidence_type="REAL_RUN", lease_token=token)
        assert set(everybody_reads(db, "catalogue").values()) == {None}
        for who in ("reader", "superuser"):
            assert value(db.session(who), "select count(*) from dot.v_dot_tool") == 303
        assert not has_run(db)
    finally:
        superuser.execute("alter role dot_owner nobypassrls")


def test_read_past_the_functions_a_seam_runs_a_policy_as_whoever_reads_it(db: Database, near: Host) -> None:
    """What is not prevented: no role is given a seam, and a superuser needs no grant."""
    put_policy(db, TABLES[near]["catalogue"])
    for who in ("reader", "writer", "cataloguer", "gatekeeper", "relay"):
        with refused("42501"):
            db.session(who).execute("select * from dot.v_host_tool")
    assert not has_run(db)
    db.session("superuser").execute("select * from dot.v_host_tool")
    assert has_run(db)


def test_code_that_the_planner_runs_has_the_rights_of_the_bridge_whoever_reads(db: Database, near: Host) -> None:
    """An index that the host makes later: to see whether it serves, the planner computes its predicate. `--check` names it."""
    superuser = db.session("superuser")
    superuser.execute(
        "create schema hostile authorization host_app; grant usage on schema hostile to public; set role host_app;"
        " create function hostile.says() returns boolean language plpgsql immutable as"
        " $f$ begin raise warning 'run as %', current_user; return true; end $f$;"
        " create index hostile on public.dot_tools (code) where hostile.says(); reset role"
    )
    ready(db, near)
    for who in ("writer", "reader", "superuser"):
        said: list[str | None] = []
        session = db.connect(who)
        session.add_notice_handler(lambda notice, said=said: said.append(notice.message_primary))  # type: ignore[misc]
        if who == "writer":
            observe_run(session, dot_code="KG.001")
        else:
            session.execute("select * from dot.v_dot_tool")
        assert set(said) == {"run as dot_bridge"}, (who, said)


def test_the_naive_version_that_asks_policies_runs_them(db: Database, near: Host) -> None:
    """With row_security on the bridge would be served by the policy, which runs with its rights."""
    put_policy(db, TABLES[near]["catalogue"])
    db.session("superuser").execute("alter function dot.fn_host_tools() set row_security = on")
    db.session("reader").execute("select * from dot.v_dot_tool")
    assert has_run(db)


# What a host breaks, and how: the statement, and whether catalogue or gates are lost by it.
BROKEN: dict[str, tuple[Callable[[Host], str], str]] = {
    "a right on the code is taken away": (
        lambda host: f"revoke select ({CODE[host]}) on {TABLES[host]['catalogue']} from dot_owner",
        "catalogue",
    ),
    "a right on the value is taken away": (
        lambda host: f"revoke select (value) on {TABLES[host]['gates']} from dot_owner",
        "gates",
    ),
    "the catalogue is dropped with all that stands on it": (
        lambda host: f"drop table {TABLES[host]['catalogue']} cascade",
        "catalogue",
    ),
    "the switches are dropped with all that stands on them": (
        lambda host: f"drop table {TABLES[host]['gates']} cascade",
        "gates",
    ),
    "a column of the catalogue is dropped with all that stands on it": (
        lambda host: f"alter table {TABLES[host]['catalogue']} drop column {CODE[host]} cascade",
        "catalogue",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_host_breaks_blocks_and_is_refused_by_name(db: Database, near: Host, name: str) -> None:
    token = ready(db, near)
    statement, lost = BROKEN[name]
    db.session("superuser").execute(statement(near))
    writer = db.session("writer")
    verdicts = {one["check_name"]: one["verdict"] for one in rows(writer, "select * from dot.fn_preflight_guard()")}
    assert verdicts["catalogue_present"] == ("BLOCK" if lost == "catalogue" else "PASS")
    assert verdicts["gates_readable"] == ("BLOCK" if lost == "gates" else "PASS")
    if lost == "catalogue":
        with refused("55000", "host_readable_check"):
            observe_run(writer, dot_code=DOTS[near][0])
        assert attempt(db.session("reader"), "select * from dot.v_dot_tool") == "55000"
    else:
        assert observe_run(writer, dot_code=DOTS[near][0])["created"]
        with refused("23514", "gate_operator_runtime_enabled_check", "what the host says of it cannot be read"):
            observe_run(writer, dot_code=DOTS[near][0], evidence_type="REAL_RUN", lease_token=token)
    shown = rows(db.session("reader"), "select is_open from dot.v_dot_gate where key = any (%s)", list(GATES))
    assert {one["is_open"] for one in shown} == {lost != "gates"}


def test_what_a_host_breaks_while_a_run_is_open_keeps_it_from_committing(db: Database, near: Host) -> None:
    token = ready(db, near)
    writer = db.session("writer")
    writer.execute("begin")
    observe_run(writer, dot_code=DOTS[near][0], evidence_type="REAL_RUN", lease_token=token)
    db.session("superuser").execute(f"revoke select (value) on {TABLES[near]['gates']} from dot_owner")
    with refused("23514", "gate_operator_runtime_enabled_check", "cannot be read"):
        writer.execute("commit")


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param("current_user::text::integer = 1", id="a text is no number"),
        pytest.param("(select said from generate_series(1, 2) as said) = 1", id="two rows stand where one belongs"),
    ],
)
def test_what_the_hosts_rows_make_fail_blocks_and_is_refused_by_name(db: Database, fails: str) -> None:
    """A seam computes with what the rows hold. Here it is made to fail, by hand."""
    ready_for_real_runs(db)
    owner, writer, reader = db.session("owner"), db.session("writer"), db.session("reader")
    token = acquire(writer)

    def make_fail(seam: str, query: str) -> None:
        owner.execute(
            f"create or replace view dot.{seam} with (security_barrier = true) as"
            f" select t.* from ({query.rstrip(';')}) as t where {fails}"
        )

    def blocked() -> set[str]:
        found = rows(writer, "select check_name from dot.fn_preflight_guard() where verdict = 'BLOCK'")
        return {one["check_name"] for one in found}

    make_fail("v_host_gate", f"select '{GATES[0]}' as key, 'true' as value")
    assert blocked() == {"gates_readable"}
    with refused("23514", "gate_operator_runtime_enabled_check", "what the host says of it cannot be read"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert not value(reader, "select bool_or(is_open) from dot.v_dot_gate")
    for seam in ("v_host_tool", "v_host_ledger"):
        make_fail(seam, value(owner, "select pg_get_viewdef(%s::regclass)", f"dot.{seam}"))
    assert blocked() == {"gates_readable", "catalogue_present"}
    for call in (
        lambda: observe_run(writer),
        lambda: db.session("cataloguer").execute("select dot.fn_dot_tool_register(%s)", (PRODUCER,)),
        lambda: reader.execute("select * from dot.v_dot_tool"),
        lambda: reader.execute("select * from dot.fn_host_ledgers()"),
    ):
        with refused("55000", "host_readable_check", "dot-wrapper adopt --check"):
            call()


def test_a_column_below_a_seam_is_not_altered_or_dropped_by_itself(db: Database, host: Host) -> None:
    superuser, table, code = db.session("superuser"), TABLES[host]["catalogue"], CODE[host]
    with refused("0A000"):
        superuser.execute(f"alter table {table} alter column {code} type text")
    with refused("2BP01"):
        superuser.execute(f"alter table {table} drop column {code}")
    superuser.execute(f"alter table {table} rename column {code} to other_code")
    superuser.execute(f"alter table {table} rename to other_name")
    assert value(db.session("reader"), "select count(*) from dot.v_dot_tool") == 303


def test_switches_that_have_moved_to_another_table_are_closed_until_they_are_adopted_anew(
    db: Database, host: Host
) -> None:
    """A view follows a table that is renamed, and would go on to show what stood there when the host moved away."""
    token = ready(db, host)
    superuser, table = db.session("superuser"), TABLES[host]["gates"]
    superuser.execute(f"alter table {table} rename to the_old_one")
    real = {"dot_code": DOTS[host][0], "evidence_type": "REAL_RUN", "lease_token": token}
    with refused("23514", "gate_operator_runtime_enabled_check", "it has no value"):
        observe_run(db.session("writer"), **real)
    old = f"{table.split('.')[0]}.the_old_one"
    superuser.execute(f"create table {table} (like {old} including all); insert into {table} select * from {old}")
    with refused("23514", "gate_operator_runtime_enabled_check", "it has no value"):
        observe_run(db.session("writer"), **real)
    superuser.execute(f"drop table {table}; alter table {old} rename to {table.split('.')[1]}")
    observe_run(db.session("writer"), **real)


def doubled(db: Database, host: Host, code: str) -> None:
    """A second row with the code, once the host has dropped what kept it unique."""
    superuser, table = db.session("superuser"), TABLES[host]["catalogue"]
    if host == "near":
        superuser.execute(f"alter table {table} drop constraint dot_tools_code_key")
        superuser.execute(f"insert into {table} (code, name) values (%s, 'again')", (code,))
    else:
        superuser.execute("drop index automation.tools_living_dot_code")
        superuser.execute(
            f"insert into {table} (dot_code, title, domain, run_by) values (%s, 'again', 'KG', 'SCRIPT')", (code,)
        )


def test_a_code_that_stands_twice_is_refused_also_beside_one_that_is_missing(db: Database, host: Host) -> None:
    ready(db, host)
    twice, once = DOTS[host]
    doubled(db, host, twice)
    with refused("23503", "process_run_observation_dot_code_fkey", "has to stand once"):
        observe_run(db.session("writer"), dot_code=twice)
    owner = db.session("owner")
    for codes in ([twice, "none"], [twice, once], [twice], [twice, once, "none"]):
        assert value(owner, "select dot.fn_host_events_wanted(%s, '{}')", codes) is None
    others = rows(owner, "select dot_code from dot.v_dot_tool where dot_code <> %s limit 3", twice)
    for number in (1, 3):
        codes = [one["dot_code"] for one in others[:number]]
        assert value(owner, "select dot.fn_host_events_wanted(%s, '{}')", codes) == []


def test_a_code_that_changes_leaves_its_verdict_and_takes_no_more_runs(db: Database, host: Host) -> None:
    ready(db, host)
    writer, code = db.session("writer"), DOTS[host][0]
    run = observe_run(writer, dot_code=code)["process_run_id"]
    db.session("superuser").execute(
        f"update {TABLES[host]['catalogue']} set {CODE[host]} = 'renamed' where {CODE[host]} = %s", (code,)
    )
    with refused("23503", "process_run_observation_dot_code_fkey"):
        observe_run(writer, dot_code=code)
    reader = db.session("reader")
    assert value(reader, "select process_run_id from dot.v_process_run") == run
    assert rows(reader, "select dot_code from dot.v_dot_funnel where dot_code = any (%s)", [code, "renamed"]) == [
        {"dot_code": "renamed"}
    ]


def test_a_switch_that_stands_twice_is_no_open_gate(db: Database, near: Host) -> None:
    token = ready(db, near)
    table, key = SWITCHES[near]
    superuser = db.session("superuser")
    superuser.execute(f"alter table {table} drop constraint dot_config_pkey")
    superuser.execute(f"insert into {table} ({key}, value) values (%s, 'true')", (GATES[0],))
    with refused("23514", "gate_operator_runtime_enabled_check", "more than one row"):
        observe_run(db.session("writer"), dot_code="KG.001", evidence_type="REAL_RUN", lease_token=token)


@pytest.mark.parametrize("name", ["near", "far"])
def test_another_spelling_is_another_dot_whatever_the_column_is_collated_by(
    db: Database, made: Callable[[Host], Host], name: Host
) -> None:
    """Of a column that takes upper and lower case for the same."""
    superuser = db.session("superuser")
    try:
        superuser.execute(
            "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("needs a server with ICU: Debian's have it")
    made(name)
    superuser.execute(f"alter table {TABLES[name]['catalogue']} alter column {CODE[name]} type text collate any_case")
    adopt(db.url, mapping_of(name))
    ready(db, name)
    code = DOTS[name][0]
    assert observe_run(db.session("writer"), dot_code=code)["created"]
    with refused("23503", "process_run_observation_dot_code_fkey"):
        observe_run(db.session("writer"), dot_code=code.swapcase())


def test_triggers_of_the_host_never_fire(db: Database, near: Host) -> None:
    token = ready(db, near)
    superuser = db.session("superuser")
    superuser.execute(
        "create schema hostile; create sequence hostile.ran; grant usage on schema hostile to public;"
        " grant all on hostile.ran to public;"
        " create function hostile.fires() returns trigger language plpgsql as"
        " $f$ begin perform nextval('hostile.ran'); return new; end $f$"
    )
    for table in TABLES[near].values():
        superuser.execute(
            f"create trigger hostile before insert or update or delete on {table} for each row execute function hostile.fires()"
        )
        superuser.execute(
            f"create trigger hostile_statement before insert or update or delete or truncate on {table}"
            " execute function hostile.fires()"
        )
    observe_run(db.session("writer"), dot_code="KG.001", evidence_type="REAL_RUN", lease_token=token)
    set_gates(db, "false")
    with refused("23514"):
        db.session("cataloguer").execute("select dot.fn_dot_tool_register('new')")
    assert not has_run(db)
    switch(db.url, near, "false", GATES[0])
    assert has_run(db)
