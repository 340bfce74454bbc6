"""A gatekeeper ends a lease whose login is gone: audited, for one key, and nothing under its token goes on."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from support import (
    PAIR,
    Connection,
    Database,
    acquire,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
    wait_until,
    waiting,
)

KEY = f"dot_exec:{PAIR}"
TAKE = "select dot.fn_dot_iu_runtime_lease_acquire(%s, %s, 600)"
END = "select dot.fn_dot_iu_runtime_lease_end(%s, 'ana', 'its login was rotated')"
ENDED = "select * from dot.v_dot_config_audit where kind = 'lease' order by audit_id"


def end(session: Connection, key: str = KEY) -> bool:
    was_live: bool = value(session, END, key)
    return was_live


@pytest.fixture
def rotated(db: Database) -> str:
    """The name of a writer's login that took the candidate's lease and was dropped since, as a rotation does."""
    define_pair(db)
    superuser = db.connect("superuser")
    login, password = f"t_{secrets.token_hex(4)}", secrets.token_hex(8)
    superuser.execute(
        sql.SQL("create role {} login password {} in role dot_writer").format(sql.Identifier(login), password)
    )
    try:
        url = make_conninfo(db.url, user=login, password=password)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as session:
            acquire(session, holder="nightly")
    finally:
        superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))
    return login


def test_the_candidate_of_a_rotated_login_is_free_once_a_gatekeeper_ends_its_lease(db: Database, rotated: str) -> None:
    writer = db.session("writer")
    assert value(writer, TAKE, KEY, "nightly") is None
    assert end(db.session("gatekeeper")) is True
    assert value(writer, TAKE, KEY, "nightly") == 2
    audited = row(db.session("gatekeeper"), ENDED)
    assert audited["subject"] == KEY
    assert audited["old_value"] == f"login {rotated}, holder nightly"
    assert (audited["new_value"], audited["actor"], audited["reason"]) == ("ended", "ana", "its login was rotated")
    assert (audited["session_actor"], audited["made_here"]) == (db.login("gatekeeper"), True)


def test_what_ran_under_an_ended_lease_is_refused_from_then_on(db: Database) -> None:
    ready_for_real_runs(db)
    old, new = db.session("writer"), db.session("operator")
    token = acquire(old)
    run = observe_run(old, evidence_type="REAL_RUN", lease_token=token)
    assert end(db.session("gatekeeper")) is True
    with refused("23514", "lease_live_check"):
        observe_component(old, run["process_run_id"], "producer", lease_token=token)
    for function in ("renew(%s, 'tester', %s, 60)", "release(%s, 'tester', %s)"):
        assert value(old, f"select dot.fn_dot_iu_runtime_lease_{function}", KEY, token) is False
    later = acquire(new)
    assert later == token + 1
    with refused("23514", "lease_live_check"):
        observe_component(old, run["process_run_id"], "producer", lease_token=token)
    assert observe_component(new, run["process_run_id"], "producer", lease_token=later)["created"]


def test_one_lease_is_ended_and_no_other(db: Database) -> None:
    define_pair(db)
    define_pair(db, "shop.other")
    writer = db.session("writer")
    acquire(writer)
    other = acquire(writer, "shop.other")
    assert end(db.session("gatekeeper")) is True
    live = rows(db.session("gatekeeper"), "select lease_key from dot.v_dot_lease where is_live")
    assert [one["lease_key"] for one in live] == ["dot_exec:shop.other"]
    assert value(writer, "select dot.fn_dot_iu_runtime_lease_renew('dot_exec:shop.other', 'tester', %s, 60)", other)


@pytest.mark.parametrize("expires_at", ["clock_timestamp() - interval '1 s'", "clock_timestamp() + interval '2 hours'"])
def test_a_lease_that_is_over_is_not_ended_and_nothing_is_audited(db: Database, expires_at: str) -> None:
    define_pair(db)
    acquire(db.session("writer"))
    db.session("owner").execute(f"update dot.dot_iu_runtime_lease set expires_at = {expires_at}".encode())
    before = row(db.session("owner"), "select * from dot.dot_iu_runtime_lease")
    assert end(db.session("gatekeeper")) is False
    assert row(db.session("owner"), "select * from dot.dot_iu_runtime_lease") == before
    assert rows(db.session("gatekeeper"), ENDED) == []


def test_only_a_lease_that_there_is_is_ended_by_a_gatekeeper_who_says_why(db: Database) -> None:
    define_pair(db)
    acquire(db.session("writer"))
    gatekeeper = db.session("gatekeeper")
    before = ledger_counts(db)
    with refused("23503", "dot_iu_runtime_lease_lease_key_fkey", "v_dot_lease"):
        end(gatekeeper, "dot_exec:shop.unknown")
    call = "select dot.fn_dot_iu_runtime_lease_end(%s, %s, %s)"
    for argument, arguments in {
        "lease_key": ("", "ana", "why"),
        "actor": (KEY, " ", "why"),
        "reason": (KEY, "ana", " "),
    }.items():
        with refused("23514", f"dot_iu_runtime_lease_{argument}_check"):
            gatekeeper.execute(call, arguments)
        missing = [None if given.strip() == "" else given for given in arguments]
        with refused("23502", f"dot_iu_runtime_lease_{argument}_not_null"):
            gatekeeper.execute(call, missing)
    for role in ("writer", "cataloguer", "relay", "reader"):
        with refused("42501"):
            end(db.session(role))
    assert ledger_counts(db) == before
    assert value(db.session("reader"), "select is_live from dot.v_dot_lease")


def test_the_longest_lease_key_is_ended_and_audited_whole(db: Database) -> None:
    key = "k" * 240
    assert value(db.session("writer"), TAKE, key, "tester") == 1
    assert end(db.session("gatekeeper"), key) is True
    assert row(db.session("reader"), ENDED)["subject"] == key
    assert value(db.session("owner"), "select key from dot.dot_config_audit") == f"lease:{key}"


def test_an_end_waits_for_the_observation_in_flight_and_comes_after_it(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    gatekeeper = db.connect("gatekeeper")
    with ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
            ending = waiting(gatekeeper, lambda: end(gatekeeper), pool, db)
        assert ending.result() is True
    with refused("23514", "lease_live_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)


def test_a_lease_that_runs_out_while_its_end_waits_is_over_and_nothing_is_audited(db: Database) -> None:
    ready_for_real_runs(db)
    writer, gatekeeper, owner = db.session("writer"), db.connect("gatekeeper"), db.session("owner")
    acquire(writer, seconds=1)
    with ThreadPoolExecutor(1) as pool:
        with owner.transaction():
            owner.execute("select from dot.dot_iu_runtime_lease for update")
            ending = waiting(gatekeeper, lambda: end(gatekeeper), pool, db)
            wait_until(lambda: value(db.session("reader"), "select not is_live from dot.v_dot_lease"))
        assert ending.result() is False
    assert rows(gatekeeper, ENDED) == []


def test_an_end_waits_for_a_decision_in_flight(db: Database) -> None:
    """Both take the next number of the audit."""
    define_pair(db)
    acquire(db.session("writer"))
    deciding, gatekeeper = db.connect("gatekeeper"), db.session("gatekeeper")
    with ThreadPoolExecutor(1) as pool:
        with deciding.transaction():
            deciding.execute("select dot.fn_event_type_set('process.run.failed', true, 'tester', 'for a test')")
            ending = waiting(gatekeeper, lambda: end(gatekeeper), pool, db)
        assert ending.result() is True


def test_an_end_does_not_wait_for_ever(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    with writer.transaction():
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
        with refused("55P03"):
            end(db.session("gatekeeper"))
    assert value(db.session("reader"), "select is_live from dot.v_dot_lease")


def test_a_host_that_keeps_the_lease_alive_is_not_believed(db: Database) -> None:
    define_pair(db)
    acquire(db.session("writer"))
    owner = db.session("owner")
    owner.execute(
        "create function dot.fn_keep() returns trigger language plpgsql as $$ begin new.expires_at := old.expires_at;"
        " return new; end $$; create trigger keep before update on dot.dot_iu_runtime_lease for each row"
        " execute function dot.fn_keep(); grant execute on function dot.fn_keep() to dot_bridge"
    )
    with refused("P0001", saying="the host did not end the lease"):
        end(db.session("gatekeeper"))
    assert rows(db.session("gatekeeper"), ENDED) == []
