"""The server's roles with a right on all tables of a database reach no row of the wrapper's: row security, and views that are joins.

The tables, views and columns are those of the catalog, in both states.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from support import (
    GATES,
    IN_BOTH_STATES,
    PAIR,
    Connection,
    Database,
    acquire,
    attest,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    rows,
    set_gates,
    value,
)

WRITES, READS = "pg_write_all_data", "pg_read_all_data"

RELATIONS = (
    "select c.relname as name, c.relkind = 'v' as is_view, array("
    " select quote_ident(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    ") as columns from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'p', 'v') order by 1"
)


def relations(db: Database, *, views: bool = False) -> list[tuple[str, list[str]]]:
    found = rows(db.session("owner"), RELATIONS)
    assert {"process_run_observation", "dot_config_audit", "v_process_run"} < {one["name"] for one in found}
    return [(one["name"], one["columns"]) for one in found if one["is_view"] is views]


@pytest.fixture
def strangers(db: Database) -> Iterator[dict[str, Connection]]:
    """A login of its own for each of the two predefined roles, and one with both (``all``)."""
    superuser = db.connect("superuser")
    granted = {WRITES: [WRITES], READS: [READS], "all": [WRITES, READS]}
    logins = {what: (f"t_{secrets.token_hex(4)}", secrets.token_hex(8)) for what in granted}
    for what, (login, password) in logins.items():
        superuser.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(login), password))
        for role in granted[what]:
            superuser.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(login)))
    sessions = {
        what: psycopg.connect(
            make_conninfo(db.url, user=login, password=password), autocommit=True, row_factory=dict_row
        )
        for what, (login, password) in logins.items()
    }
    yield sessions
    for session in sessions.values():
        session.close()
    for login, _ in logins.values():
        superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))


def fill(db: Database) -> None:
    """A row in every table that ever holds one."""
    ready_for_real_runs(db)
    gatekeeper, writer = db.session("gatekeeper"), db.session("writer")
    gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")
    gatekeeper.execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'tester', 'looked')")
    writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'tester')")
    token = acquire(writer)
    run = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    observe_component(writer, run["process_run_id"], "producer", lease_token=token)
    owner = db.session("owner")
    owner.execute("insert into dot.job_queue (job_type, status) values ('a', 'done')")
    owner.execute("insert into dot.universal_edges (from_code, to_code, edge_type) values ('a', 'b', 'c')")


def contents(db: Database) -> dict[str, list[str]]:
    """All that stands in the tables, as their owner sees it."""
    owner = db.session("owner")
    found = {
        table: [one["line"] for one in rows(owner, f"select to_jsonb(t)::text as line from dot.{table} t order by 1")]
        for table, _ in relations(db)
    }
    assert all(found.values())
    return found


def writes(name: str, columns: list[str], line: str | None) -> dict[str, str]:
    """Every way to write a relation, none of which needs to read it; ``line`` is a row of it, as JSON."""
    asked = {
        "insert": f"insert into dot.{name} default values",
        "insert where it is new": f"insert into dot.{name} default values on conflict do nothing",
        "delete": f"delete from dot.{name}",
        "truncate": f"truncate dot.{name}",
        "merge that inserts": f"merge into dot.{name} using (values (1)) as s (n) on false"
        " when not matched then insert default values",
        "merge that deletes": f"merge into dot.{name} using (values (1)) as s (n) on true when matched then delete",
        "copy": f"copy dot.{name} from stdin",
    }
    if columns:
        defaults = ", ".join(f"{column} = default" for column in columns)
        asked["update"] = f"update dot.{name} set {defaults}"
        asked["merge that updates"] = (
            f"merge into dot.{name} using (values (1)) as s (n) on true when matched then update set {defaults}"
        )
    if line is not None:
        copied = f"select t.* from jsonb_populate_record(null::dot.{name}, {sql.quote(line)}) as t"
        asked["insert of a row like the last"] = f"insert into dot.{name} overriding system value {copied}"
    return asked


def written(session: Connection, statement: str) -> int:
    """How many rows the statement writes. COPY is told to write one, which a view refuses no sooner."""
    cursor = session.cursor()
    if not statement.startswith("copy "):
        return cursor.execute(statement).rowcount
    with cursor.copy(statement) as copy:
        copy.write("\n")
    return cursor.rowcount


@IN_BOTH_STATES
@pytest.mark.parametrize("login", [WRITES, "all"])
def test_a_login_that_may_write_all_data_writes_no_row_of_any_table(
    db: Database, strangers: dict[str, Connection], login: str
) -> None:
    fill(db)
    before = contents(db)
    done: list[tuple[object, ...]] = []
    for table, columns in relations(db):
        for verb, statement in writes(table, columns, before[table][-1] if before[table] else None).items():
            try:
                if written(strangers[login], statement) != 0:
                    done.append((table, verb))
            except psycopg.Error as error:
                # 0A000: COPY FROM where row security is on. Any other would be a statement that proves nothing.
                if error.sqlstate not in ("42501", "0A000"):
                    done.append((table, verb, error.sqlstate, str(error)))
    assert done == []
    assert contents(db) == before


@IN_BOTH_STATES
def test_a_login_that_may_write_all_data_writes_through_no_view(db: Database, strangers: dict[str, Connection]) -> None:
    fill(db)
    before = contents(db)
    for view, columns in relations(db, views=True):
        for verb, statement in writes(view, columns, None).items():
            with pytest.raises(psycopg.Error) as caught:
                written(strangers["all"], statement)
            # 42809: what is no table; 55000: what is no view of one table.
            assert caught.value.sqlstate in ("42501", "42809", "55000", "0A000"), (view, verb, caught.value)
    assert contents(db) == before


def test_a_login_that_may_write_all_data_opens_no_gate_and_forges_no_audit_row(
    db: Database, strangers: dict[str, Connection]
) -> None:
    define_pair(db)
    stranger, owner = strangers["all"], db.session("owner")
    audited = value(owner, "select count(*) from dot.dot_config_audit")
    assert stranger.execute("update dot.dot_config set value = 'true'").rowcount == 0
    for statement in (
        f"insert into dot.dot_config values ('{GATES[0]}', 'true') on conflict (key) do update set value = 'true'",
        "insert into dot.dot_config_audit (changed_at, system_identifier, key, new_value, actor, session_actor, reason)"
        f" values (now(), 1, '{GATES[0]}', 'true', 'a', 'a', 'a')",
        "insert into dot.preflight_attestation (attested_at, expires_at, check_name, verdict, finding, actor, session_actor)"
        " values (now(), now() + '1 hour', 'fs_snapshot_present', 'PASS', 'a', 'a', 'a')",
    ):
        with refused("42501", saying="row-level security"):
            stranger.execute(statement)
    assert rows(owner, "select key from dot.dot_config where value = 'true'") == []
    assert value(owner, "select count(*) from dot.dot_config_audit") == audited
    assert value(owner, "select count(*) from dot.preflight_attestation") == 0
    writer = db.session("writer")
    with refused("23514"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    # The gatekeeper goes on as before.
    set_gates(db)
    attest(db)


@IN_BOTH_STATES
@pytest.mark.parametrize("login", [READS, "all"])
def test_a_login_that_may_read_all_data_reads_no_row_of_any_table(
    db: Database, strangers: dict[str, Connection], login: str
) -> None:
    fill(db)
    stranger = strangers[login]
    for table, _ in relations(db):
        assert rows(stranger, f"select to_jsonb(t) from dot.{table} t") == []
        with stranger.cursor().copy(f"copy dot.{table} to stdout") as copied:
            assert list(copied) == []
    # As a backup reads.
    stranger.execute("set row_security = off")
    for table, _ in relations(db):
        with refused("42501", saying="row-level security"):
            stranger.execute(f"select * from dot.{table}")


def test_a_login_that_may_read_all_data_reads_what_the_server_keeps_beside_a_table(
    db: Database, strangers: dict[str, Connection]
) -> None:
    """Row security is of the table alone: not of its long values, nor of the values that ANALYZE has drawn from it."""
    define_pair(db)
    secret = secrets.token_hex(4000)
    for _ in range(2):
        observe_run(db.session("writer"), correlation_id="corr-secret", evidence_ref=Jsonb({"said": secret}))
    owner, stranger = db.connect("owner"), strangers[READS]
    owner.execute("analyze dot.process_run_observation")
    long_values = value(
        owner, "select reltoastrelid::regclass::text from pg_class where oid = 'dot.process_run_observation'::regclass"
    )
    chunks = b"".join(one["chunk_data"] for one in rows(stranger, f"select chunk_data from {long_values}"))
    assert secret[-100:].encode() in chunks
    drawn = (
        "select count(*) from pg_statistic where starelid = 'dot.process_run_observation'::regclass"
        " and stavalues1::text like '%corr-secret%'"
    )
    assert value(stranger, drawn) == 1
    assert rows(stranger, "select * from pg_stats where schemaname = 'dot'") == []
    assert rows(stranger, "select * from dot.process_run_observation") == []


def test_a_login_that_may_read_all_data_reads_of_the_views_what_a_reader_does_and_calls_no_function(
    db: Database, strangers: dict[str, Connection]
) -> None:
    """A view runs its functions with the rights of who reads it, so one that asks a function ends there."""
    fill(db)
    told = set()
    for view, _ in relations(db, views=True):
        query = f"select * from dot.{view}"
        if view == "gate_latch" or view.startswith("v_host_"):
            continue  # a lock, and what the bridge reads: no role does
        try:
            found = rows(strangers[READS], query)
        except psycopg.errors.InsufficientPrivilege as error:
            assert "permission denied for function" in str(error)
        else:
            told.add(view)
            assert found == rows(db.session("reader"), query)
    assert {"v_process_run", "v_process_run_verification_v3"} <= told
    assert told.isdisjoint({"v_dot_gate", "v_dot_tool", "v_process_verification_v3", "v_process_candidate"})


def test_a_session_that_has_row_security_off_is_served_by_the_bridge_as_any_other(db: Database) -> None:
    define_pair(db)
    gatekeeper, writer, cataloguer, relay = map(db.connect, ("gatekeeper", "writer", "cataloguer", "relay"))
    for session in (gatekeeper, writer, cataloguer, relay):
        session.execute("set row_security = off")
    gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")
    gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 600, 'tester', 'a snapshot')")
    for gate in GATES:
        gatekeeper.execute("select dot.fn_dot_config_set(%s, 'true', 'tester', 'for a test')", (gate,))
    cataloguer.execute("select dot.fn_dot_tool_register('another')")
    token = acquire(writer, PAIR)
    real = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)
    assert real()["created"]
    writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'tester')")
    relay.execute("select dot.fn_dot_outbox_poll(10)")
    gatekeeper.execute("select dot.fn_dot_config_set(%s, 'false', 'tester', 'for a test')", (GATES[0],))
    with refused("23514"):
        real()
