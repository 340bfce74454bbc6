"""Who may do what: the matrix of functions and roles, tried and read from the catalog, and ways around it that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from dot_wrapper.proving.prepared import OWN_ROLES, ROLES
from dot_wrapper.proving.support import (
    PAIR,
    PRODUCER,
    Connection,
    Database,
    acquire,
    define_pair,
    ledger_counts,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
)

GATE_READERS = {
    "fn_dot_iu_operator_runtime_enabled",
    "fn_process_dot_runtime_execute_enabled",
    "fn_process_dot_runtime_real_run_enabled",
}

# The design's table. Every other function is dot_owner's alone.
MAY_EXECUTE: dict[str, set[str]] = {
    "dot_writer": GATE_READERS
    | {
        "fn_process_run_begin",
        "fn_process_run_observe",
        "fn_process_component_observe",
        "fn_process_observe_batch",
        "fn_process_pair_observe",
        "fn_dot_iu_runtime_lease_acquire",
        "fn_dot_iu_runtime_lease_renew",
        "fn_dot_iu_runtime_lease_release",
        "fn_dot_iu_command_log",
        "fn_preflight_guard",
        "fn_assert_safe_for_dot_action",
        "fn_candidate_newest",
    },
    "dot_cataloguer": {"fn_dot_tool_register", "fn_process_candidate_define", "fn_candidate_newest", "fn_host_tools"},
    "dot_gatekeeper": {
        "fn_dot_config_set",
        "fn_event_type_set",
        "fn_preflight_attest",
        "fn_dot_mechanism_attest",
        "fn_dot_iu_runtime_lease_end",
        "fn_preflight_guard",
        "fn_gate_status",
        "fn_gate_holders",
        "fn_preflight_attestation",
        "fn_database_identity",
    },
    "dot_relay": {"fn_dot_outbox_poll", "fn_dot_outbox_ack", "fn_dot_outbox_prune"},
    # Beside the gates what the views ask with the reader's rights.
    "dot_reader": GATE_READERS
    | {
        "fn_gate_status",
        "fn_gate_holders",
        "fn_candidate_newest",
        "fn_database_identity",
        "fn_preflight_attestation",
        "fn_host_tools",
        "fn_host_ledgers",
    },
}

# dot_reader reads every view but those. What the other roles read is what they work with.
LATCH = "gate_latch"  # a lock: no role reads it
SEAMS = {"v_host_tool", "v_host_gate", "v_host_ledger"}  # what the bridge reads of a host
BRIDGE_READS = SEAMS | {"v_dot_event_type"}

MAY_SELECT: dict[str, set[str]] = {
    "dot_writer": {"v_dot_lease", "v_process_candidate", "v_dot_command", "v_dot_amendment"},
    "dot_cataloguer": {"v_dot_tool", "v_process_candidate"},
    "dot_gatekeeper": {
        "v_dot_gate",
        "v_dot_gate_holder",
        "v_dot_event_type",
        "v_dot_lease",
        "v_dot_config_audit",
        "v_preflight_attestation",
        "v_dot_mechanism_attestation",
        "v_dot_command_run",
    },
    "dot_relay": {"v_dot_outbox", "v_dot_event_type"},
}

HOST_TABLES = {
    "dot_tools",
    "dot_config",
    "dot_iu_command_catalog",
    "dot_iu_command_run",
    "dot_iu_runtime_lease",
    "job_queue",
    "event_type",
    "event_outbox",
    "universal_edges",
}

# What the bridge holds on host tables, whole or by column. On anything else, and for any other role, nothing.
BRIDGE_RIGHTS = {
    *(("dot_config", None, right) for right in ("SELECT", "INSERT", "UPDATE")),
    ("dot_iu_command_catalog", None, "SELECT"),
    *(("dot_iu_command_run", None, right) for right in ("SELECT", "INSERT")),
    *(("dot_iu_runtime_lease", None, right) for right in ("SELECT", "INSERT", "UPDATE")),
    *(("event_type", None, right) for right in ("SELECT", "UPDATE")),
    *(("event_outbox", None, right) for right in ("SELECT", "INSERT", "DELETE")),
    ("dot_tools", None, "SELECT"),
    *(
        ("dot_tools", column, right)
        for column in ("category", "execution_engine", "script_path", "file_path", "trigger_type")
        for right in ("INSERT", "UPDATE")
    ),
    ("dot_tools", "code", "INSERT"),
}

FUNCTIONS = "select p.proname as name, p.oid, p.oid::regprocedure::text as signature from pg_proc p" \
    " where p.pronamespace = 'dot'::regnamespace order by 1"  # fmt: skip

RELATIONS = (
    "select c.relname as name, c.relkind = 'v' as is_view from pg_class c"
    " where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v') order by 1"
)


@pytest.fixture
def outsider(db: Database) -> Iterator[Connection]:
    """A login without any role."""
    with psycopg.connect(db.url_as("outsider"), autocommit=True, row_factory=dict_row) as connection:
        yield connection


def expected_executors(function: str) -> set[str]:
    """Roles that may execute a function, of all the wrapper's roles and a login without one."""
    may = {"dot_owner"} | {role for role, functions in MAY_EXECUTE.items() if function in functions}
    if function.startswith("fn_host_") or function in ("fn_is_code", "fn_database_identity"):
        may.add("dot_bridge")
    return may


def attempt(connection: Connection, signature: str) -> str:
    """Calls a function with NULL for each argument and takes it back; '' or the SQLSTATE it was refused with."""
    name, _, arguments = signature.rstrip(")").partition("(")
    nulls = ", ".join(f"null::{kind}" for kind in arguments.split(",") if kind)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"select {name}({nulls})")
    except psycopg.Error as error:
        return error.sqlstate or "?"
    return ""


def refused_on(connection: Connection, statement: str, is_view: bool) -> None:
    """The statement must be refused for want of a right; a view may also be what cannot be written or truncated at all."""
    with pytest.raises(psycopg.Error) as caught, connection.transaction():
        connection.execute(statement)
    allowed = ("42501", "42809", "55000") if is_view else ("42501",)
    assert caught.value.sqlstate in allowed, (statement, caught.value)


def test_each_function_is_executable_by_exactly_the_roles_of_the_design(db: Database) -> None:
    owner = db.session("owner")
    logins = {f"dot_{role}": db.login(role) for role in ROLES}
    roles = ["dot_owner", "dot_bridge", db.login("outsider"), *MAY_EXECUTE, *logins.values()]
    functions = rows(owner, FUNCTIONS)
    assert set().union(*MAY_EXECUTE.values()) < {one["name"] for one in functions}
    wrong = {}
    for function in functions:
        expected = expected_executors(function["name"])
        expected |= {logins[role] for role in expected & MAY_EXECUTE.keys()}
        may = {
            role
            for role in roles
            if value(owner, "select has_function_privilege(%s, %s::oid, 'execute')", role, function["oid"])
        }
        if may != expected:
            wrong[function["signature"]] = may ^ expected
    assert wrong == {}


def test_a_call_of_a_function_that_is_not_the_roles_own_is_refused_and_its_own_is_let_in(
    db: Database, outsider: Connection
) -> None:
    functions = rows(db.session("owner"), FUNCTIONS)
    sessions = {f"dot_{role}": db.session(role) for role in ROLES} | {"outsider": outsider}
    wrong = []
    for role, session in sessions.items():
        for function in functions:
            sqlstate = attempt(session, function["signature"])
            if (sqlstate != "42501") != (role in expected_executors(function["name"])):
                wrong.append((role, function["signature"], sqlstate))
    assert wrong == []


def test_the_bridge_calls_nothing_but_its_own_functions_and_the_code_check(db: Database) -> None:
    owner = db.session("owner")
    functions = rows(owner, FUNCTIONS)
    owner.execute("set role dot_bridge")
    let_in = {one["name"] for one in functions if attempt(owner, one["signature"]) != "42501"}
    assert let_in == {name for name in (one["name"] for one in functions) if "dot_bridge" in expected_executors(name)}


def test_no_role_holds_a_right_on_a_table_view_or_sequence_but_those_listed(db: Database) -> None:
    owner = db.session("owner")
    held = rows(
        owner,
        "select c.relname as relation, null as column, a.grantee::regrole::text as grantee, a.privilege_type as right"
        " from pg_class c, aclexplode(c.relacl) a"
        " where c.relnamespace = 'dot'::regnamespace and a.grantee <> 'dot_owner'::regrole"
        " union all"
        " select c.relname, t.attname, a.grantee::regrole::text, a.privilege_type"
        " from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a"
        " where c.relnamespace = 'dot'::regnamespace and a.grantee <> 'dot_owner'::regrole",
    )
    views = {one["name"] for one in rows(owner, RELATIONS) if one["is_view"]}
    readers = {"dot_reader": views - SEAMS - {LATCH}, "dot_bridge": BRIDGE_READS, **MAY_SELECT}
    expected = {("dot_bridge", *right) for right in BRIDGE_RIGHTS} | {
        (role, view, None, "SELECT") for role, its_views in readers.items() for view in its_views
    }
    assert {(one["grantee"], one["relation"], one["column"], one["right"]) for one in held} == expected
    assert {table for table, *_ in BRIDGE_RIGHTS} < HOST_TABLES


def test_the_schema_can_be_used_by_the_roles_and_created_in_by_nobody_but_its_owner(db: Database) -> None:
    held = rows(
        db.session("owner"),
        "select a.grantee::regrole::text as grantee, a.privilege_type as right, a.is_grantable"
        " from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'dot' and a.grantee <> n.nspowner",
    )
    assert {tuple(one.values()) for one in held} == {(role, "USAGE", False) for role in ("dot_bridge", *MAY_EXECUTE)}


def test_public_holds_nothing_anywhere_and_new_functions_give_it_nothing(db: Database) -> None:
    owner = db.session("owner")
    held = rows(
        owner,
        "select 'schema' as kind, n.nspname::text as name from pg_namespace n,"
        " aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where n.nspname = 'dot' and a.grantee = 0"
        " union all select 'relation', c.relname from pg_class c,"
        " aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a"
        " where c.relnamespace = 'dot'::regnamespace and a.grantee = 0"
        " union all select 'column', t.attname from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a"
        " where c.relnamespace = 'dot'::regnamespace and a.grantee = 0"
        " union all select 'function', p.proname from pg_proc p,"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        " where p.pronamespace = 'dot'::regnamespace and a.grantee = 0"
        " union all select 'default privilege', d.defaclobjtype::text from pg_default_acl d, aclexplode(d.defaclacl) a"
        " where a.grantee = 0",
    )
    assert held == []
    owner.execute("create function dot.fn_forgot() returns integer language sql return 1")
    may = "select has_function_privilege(%s, 'dot.fn_forgot()', 'execute')"
    assert value(owner, may, db.login("outsider")) is False


def test_a_reader_reads_every_view_and_no_table_and_changes_nothing(db: Database) -> None:
    reader = db.session("reader")
    for relation in rows(db.session("owner"), RELATIONS):
        name = relation["name"]
        if relation["is_view"] and name not in (LATCH, *SEAMS):
            reader.execute(f"select * from dot.{name}")
        else:
            with refused("42501"):
                reader.execute(f"select * from dot.{name}")
        for statement in (f"delete from dot.{name}", f"insert into dot.{name} default values", f"truncate dot.{name}"):
            refused_on(reader, statement, relation["is_view"])


def test_another_role_reads_the_views_of_its_work_and_nothing_else(db: Database, outsider: Connection) -> None:
    relations = rows(db.session("owner"), RELATIONS)
    sessions = {role: db.session(role) for role in ROLES if role != "reader"} | {"outsider": outsider}
    for role, session in sessions.items():
        for relation in relations:
            if relation["name"] in MAY_SELECT.get(f"dot_{role}", ()):
                session.execute(f"select * from dot.{relation['name']}")
            else:
                with refused("42501"):
                    session.execute(f"select * from dot.{relation['name']}")


def test_no_login_becomes_the_owner_or_another_role(db: Database, outsider: Connection) -> None:
    sessions = {role: db.session(role) for role in ROLES} | {"outsider": outsider}
    superuser = value(outsider, "select rolname from pg_roles where oid = 10")
    for mine, session in sessions.items():
        for role in ("owner", "bridge", *ROLES):
            if role != mine:
                with refused("42501"):
                    session.execute(f"set role dot_{role}")
        with refused("42501"):
            session.execute(f'set session authorization "{superuser}"')
        with refused("42501"):
            session.execute(f"grant dot_owner to {db.login(mine)}")
        with refused("42501"):
            session.execute("create table dot.mine ()")


def test_no_role_but_the_owner_is_a_member_of_the_bridge_and_nobody_of_the_owner(db: Database) -> None:
    members = rows(
        db.session("owner"),
        "select m.roleid::regrole::text as role, m.member::regrole::text as member from pg_auth_members m"
        " where m.roleid::regrole::text in ('dot_owner', 'dot_bridge')",
    )
    found = [tuple(one.values()) for one in members]
    assert ("dot_bridge", "dot_owner") in found
    if db.server.own:  # on any other, a DBA may have granted more
        assert len(found) == 1
    attributes = rows(
        db.session("owner"),
        "select rolname from pg_roles where rolname = any (%s) and (rolcanlogin or rolsuper or rolcreaterole"
        " or rolcreatedb or rolreplication or rolbypassrls and rolname <> 'dot_owner')",  # for an adopted table, by a DBA
        list(OWN_ROLES),
    )
    assert attributes == []


def test_the_bridge_cannot_reach_the_ledger(db: Database) -> None:
    ready_for_real_runs(db)
    observe_run(db.session("writer"))
    owner = db.session("owner")
    relations = [one for one in rows(owner, RELATIONS) if one["name"] not in HOST_TABLES]
    before = ledger_counts(db)
    owner.execute("set role dot_bridge")
    for relation in relations:
        name = relation["name"]
        if name not in BRIDGE_READS:
            refused_on(owner, f"select * from dot.{name}", relation["is_view"])
        for statement in (
            f"delete from dot.{name}",
            f"truncate dot.{name}",
            f"alter table dot.{name} disable trigger all",
            f"drop table dot.{name}",
            f"lock table dot.{name} in row share mode",
        ):
            refused_on(owner, statement, relation["is_view"])
    with refused("42501"):
        owner.execute("select * from dot.universal_edges")
    with refused("42501"):
        owner.execute(f"update dot.dot_tools set usage_count = 1 where code = '{PRODUCER}'")
    owner.execute("reset role")
    assert ledger_counts(db) == before


# What a trigger of the host's on a host table may try: it runs as the login that writes that table.
REACHES = (
    "delete from dot.process_run_observation",
    "truncate dot.process_component_observation",
    "select count(*) from dot.process_run_observation",
    "alter table dot.process_run_observation disable trigger all",
    "drop table dot.process_component_observation",
    "insert into dot.dot_config_audit (key) values ('forged')",
    "insert into dot.process_candidate (code) values ('forged')",
    "lock table dot.gate_latch in exclusive mode",
    "update dot.outbox_cursor set outbox_id = 9",
    "select count(*) from dot.outbox_cursor",
    "insert into dot.outbox_epoch values (1, now(), 9, 1)",
    "select dot.fn_outbox_epoch(true)",
    "create table dot.mine ()",
    "grant select on dot.process_run_observation to public",
    "set role dot_owner",
    "reset role",
    "set session authorization dot_owner",
    "select dot.fn_gates_assert('REAL_RUN', false)",
    "select dot.fn_dot_config_set('process_dot_runtime.real_run_enabled', 'true', 'x', 'x')",
)


def test_a_trigger_of_the_host_runs_as_the_bridge_and_cannot_reach_the_ledger(db: Database) -> None:
    define_pair(db)
    owner, writer, cataloguer = db.session("owner"), db.session("writer"), db.session("cataloguer")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")
    # Each function that writes a host table, and the table. The host's function writes down who it ran as.
    doors: dict[str, Callable[[], object]] = {
        "dot_tools": lambda: cataloguer.execute("select dot.fn_dot_tool_register(gen_random_uuid()::text)"),
        "event_outbox": lambda: observe_run(writer),
        "dot_iu_runtime_lease": lambda: acquire(writer),
        "dot_iu_command_run": lambda: writer.execute(
            "select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'tester')"
        ),
    }
    host = db.session("creator")
    host.execute(
        "create schema host; grant usage on schema host to public; create table host.seen (who text, what text)"
    )
    host.execute("grant insert on host.seen to public")

    def install(table: str, statement: str) -> None:
        host.execute(
            "create or replace function host.reach() returns trigger language plpgsql as $reach$ begin"
            f" insert into host.seen values (current_user, {psycopg.sql.quote(statement)}); {_run(statement)}; return new;"
            " end $reach$"
        )
        owner.execute(
            f"create or replace trigger host_reach before insert or update on dot.{table}"
            " for each row execute function host.reach()"
        )

    for table, enter in doors.items():
        for statement in REACHES:
            install(table, statement)
            before = ledger_counts(db)
            with refused("42501"):
                enter()
            assert ledger_counts(db) == before, (table, statement)
        install(table, "select 1")
        enter()
        owner.execute(f"drop trigger host_reach on dot.{table}")
    seen = rows(host, "select distinct who, what from host.seen")
    assert [tuple(one.values()) for one in seen] == [("dot_bridge", "select 1")]
    assert value(host, "select count(*) from host.seen") == len(doors)


def _run(statement: str) -> str:
    return f"perform {statement.removeprefix('select ')}" if statement.startswith("select ") else statement


# Every name that a body could look up unqualified: operators, functions and types of pg_catalog that decide something.
SHADOWS = """
create schema mine;
create function mine.yes(text, text) returns boolean language sql immutable return true;
create operator mine.= (leftarg = text, rightarg = text, function = mine.yes);
create operator mine.<> (leftarg = text, rightarg = text, function = mine.yes);
create function mine.yes(bigint, bigint) returns boolean language sql immutable return true;
create operator mine.= (leftarg = bigint, rightarg = bigint, function = mine.yes);
create function mine.clock_timestamp() returns timestamptz language sql immutable return timestamptz 'epoch';
create function mine.current_setting(text) returns text language sql immutable return 'read committed';
create function mine.to_regclass(text) returns regclass language sql immutable return 'pg_class'::regclass;
create function mine.has_table_privilege(regclass, text) returns boolean language sql immutable return true;
create function mine.jsonb_build_object(variadic "any") returns jsonb language internal immutable as 'jsonb_build_object_noargs';
create function mine.split_part(text, text, integer) returns text language sql immutable return 'x';
create function mine.fn_host_gate_value(text, boolean) returns text language sql immutable return 'true';
create function mine.fn_gates_assert(text, boolean) returns jsonb language sql immutable return '{}'::jsonb;
create function mine.fn_assert_safe_for_dot_action() returns jsonb language sql immutable return '[]'::jsonb;
create function mine.fn_lease_assert(text, bigint, bigint, boolean) returns void language sql begin atomic end;
grant usage on schema mine to public;
"""


@pytest.fixture
def shadowed(db: Database) -> Connection:
    """A writer's session in which everything has a double: temporary tables named like every relation, with rows that
    say yes, functions and operators in a schema that comes first, and temporary functions."""
    ready_for_real_runs(db)
    superuser = db.session("superuser")
    superuser.execute("update dot.dot_config set value = 'false' where key <> 'queue.worker.enabled'")
    superuser.execute(SHADOWS)  # as a DBA might allow a writer a schema of its own
    superuser.execute(f"alter schema mine owner to {db.login('writer')}")
    relations = [one["name"] for one in rows(superuser, RELATIONS)]
    columns = {
        name: value(
            superuser,
            # A writer may not use the domains: its columns are of what is below them.
            "select string_agg(quote_ident(attname) || ' ' || format_type(coalesce(nullif(typbasetype, 0), atttypid), null),"
            " ', ' order by attnum)"
            " from pg_attribute join pg_type t on t.oid = atttypid where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            f"dot.{name}",
        )
        for name in relations
    }
    writer = db.session("writer")
    for name in relations:
        writer.execute(f"create temporary table {name} ({columns[name] or ''})")
    writer.execute(
        "insert into pg_temp.dot_config values ('iu_core.operator_runtime_enabled', 'true'),"
        " ('process_dot_runtime.execute_enabled', 'true'), ('process_dot_runtime.real_run_enabled', 'true')"
    )
    writer.execute("create function pg_temp.fn_host_gate_value(text, boolean) returns text language sql return 'true'")
    writer.execute("set search_path = pg_temp, mine, pg_catalog, dot")
    return writer


def test_no_shadow_opens_a_gate(db: Database, shadowed: Connection) -> None:
    assert value(shadowed, "select count(*) from dot_config where value = 'true'") == 3
    assert value(shadowed, "select 'a'::text = 'b'::text") is True
    token = acquire(shadowed)
    before = ledger_counts(db)
    for evidence_type in ("REAL_RUN", "DRY_RUN"):
        with refused("23514", "gate_operator_runtime_enabled_check"):
            observe_run(shadowed, evidence_type=evidence_type, lease_token=token)
    for reader in GATE_READERS:
        assert value(shadowed, f"select dot.{reader}()") is False
    assert ledger_counts(db) == before


def test_no_shadow_passes_the_preflight_or_a_lease_that_is_not_live(db: Database, shadowed: Connection) -> None:
    db.session("owner").execute("update dot.dot_config set value = 'true'")
    with refused("23514", "lease_live_check"):
        observe_run(shadowed, evidence_type="REAL_RUN", lease_token=7)
    token = acquire(shadowed)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'BLOCK', 60, 'tester', 'gone')")
    shadowed.execute(
        "insert into pg_temp.preflight_attestation (attestation_id, attested_at, expires_at, check_name, verdict)"
        " values (99, 'infinity', 'infinity', 'fs_snapshot_present', 'PASS')"
    )
    with refused("23514", "preflight_check"):
        observe_run(shadowed, evidence_type="REAL_RUN", lease_token=token)


def test_what_a_shadowed_session_records_is_what_was_said(db: Database, shadowed: Connection) -> None:
    run_id = observe_run(shadowed)["process_run_id"]
    stored = row(db.session("reader"), "select * from dot.v_process_run where process_run_id = %s", run_id)
    assert (stored["process_candidate_code"], stored["evidence_type"]) == (PAIR, "SIMULATED_DRY_RUN")
    assert (stored["session_actor"], stored["admission"]) == (db.login("writer"), None)
    assert stored["observed_at"].year > 1970
    for name in ("process_run_observation", "process_component_observation", "event_outbox"):
        assert value(shadowed, f"select count(*) from pg_temp.{name}") == 0


def test_the_shadow_works_where_a_function_has_no_guard(db: Database, shadowed: Connection) -> None:
    """The attack is real: a definer function without search_path, with an unqualified name, reads the attacker's table."""
    db.session("owner").execute(
        "create function dot.fn_unguarded() returns text language plpgsql security definer as $$ begin"
        " return (select min(value) from dot_config where key = 'process_dot_runtime.real_run_enabled'); end $$;"
        " grant execute on function dot.fn_unguarded() to dot_writer"
    )
    with pytest.raises(
        psycopg.errors.InsufficientPrivilege
    ):  # the owner has no right on the writer's table: it did look there
        shadowed.execute("select dot.fn_unguarded()")
    shadowed.execute("grant select on pg_temp.dot_config to public")
    assert value(shadowed, "select dot.fn_unguarded()") == "true"
