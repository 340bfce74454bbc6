"""No clock decides an order, and nothing that a clock ahead of time wrote lives on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
    wait_until,
)
from support.ledgers import store_component, store_run

VERDICT = "select verified, reasons from dot.v_process_verification_v3 where process_candidate_code = 'shop.orders'"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # what the tests' `moment` counts from


def seconds_from_now(**ahead: float) -> float:
    return (datetime.now(UTC) + timedelta(**ahead) - EPOCH).total_seconds()


def test_a_real_run_of_a_clock_that_was_ahead_does_not_vouch_for_one_that_failed_since(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    first = acquire(writer)
    ahead = seconds_from_now(days=400)
    run_id = store_run(owner, at=ahead, lease_token=first)
    store_component(owner, run_id, "producer", "step_completed", at=ahead + 1, lease_token=first)
    store_component(owner, run_id, "verifier", "step_completed", at=ahead + 2, lease_token=first)
    assert row(reader := db.connect("reader"), VERDICT)["verified"] is True
    token = acquire(writer)
    today = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, today, "producer", status="failed", lease_token=token)
    assert row(reader, VERDICT)["verified"] is False
    latest = "select latest_real_run_id from dot.{} where process_candidate_code = 'shop.orders'"
    for view in ("v_process_verification_v3", "v_process_runtime_v2"):
        assert value(reader, latest.format(view)) == today


def test_of_two_runs_under_one_token_the_later_call_decides_though_the_clock_went_back(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    token = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    ahead = store_run(owner, at=seconds_from_now(minutes=10), lease_token=token)
    later = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    times = {
        one["process_run_id"]: one["observed_at"]
        for one in rows(owner, "select process_run_id, observed_at from dot.process_run_observation")
    }
    assert times[later] == times[ahead] + timedelta(microseconds=1)
    assert value(db.connect("reader"), "select latest_real_run_id from dot.v_process_runtime_v2") == later


def test_the_parts_of_a_run_are_in_the_order_of_their_calls_though_the_clock_went_back(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    for evidence_type in ("REAL_RUN", "SIMULATED_DRY_RUN"):
        token = acquire(writer)
        run_id = store_run(
            owner,
            at=seconds_from_now(minutes=10),
            evidence_type=evidence_type,
            lease_token=token if evidence_type == "REAL_RUN" else None,
        )
        for role in ("producer", "verifier"):
            for status in ("started", "completed"):
                observe_component(writer, run_id, role, status=status, lease_token=token)
        went = [
            value(owner, "select observed_at from dot.process_run_observation where process_run_id = %s", run_id),
            *(
                value(
                    owner,
                    "select observed_at from dot.process_component_observation"
                    " where process_run_id = %s and component_role = %s and stage = %s",
                    run_id,
                    role,
                    stage,
                )
                for role in ("producer", "verifier")
                for stage in ("started", "ended")
            ),
        ]
        assert went == sorted(set(went)), evidence_type
    assert row(db.connect("reader"), VERDICT)["verified"] is True


def test_a_run_under_a_lower_token_than_the_latest_run_s_is_fenced_off(db: Database) -> None:
    """The lease table was put back to an older state: the run would never be the latest one."""
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    store_run(owner, lease_token=9)
    token = acquire(writer)
    assert token < 9
    with refused("23514", "lease_fencing_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    while token < 9:
        token = acquire(writer)
    assert observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["created"]


def test_a_lease_that_a_clock_ahead_of_time_wrote_is_over(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    owner.execute("update dot.dot_iu_runtime_lease set expires_at = clock_timestamp() + interval '400 days'")
    with refused("23514", "lease_live_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    renew = "select dot.fn_dot_iu_runtime_lease_renew(%s, 'tester', %s, 600)"
    assert value(writer, renew, f"dot_exec:{PAIR}", token) is False
    reader = db.connect("reader")
    assert value(reader, "select is_live from dot.v_dot_lease") is False
    assert value(reader, "select end_state from dot.v_process_run where process_run_id = %s", run_id) == "stale"
    assert acquire(db.connect("operator"), holder="another") == token + 1


def at_once(connection: Connection, *statements: str) -> Any:
    """The value that the last of these statements finds. They are sent together, and so have one statement_timestamp()."""
    cursor = connection.execute("; ".join(statements).encode())
    while cursor.nextset():
        pass
    (found,) = cursor.fetchall()
    return next(iter(found.values()))


@pytest.mark.parametrize(
    ("ends_in", "is_live"), [("0", False), ("1 microsecond", True), ("1 hour", True), ("1 hour 1 microsecond", False)]
)
def test_a_lease_is_shown_as_live_before_its_end_and_for_an_hour_at_the_most(
    db: Database, ends_in: str, is_live: bool
) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    moved = f"update dot.dot_iu_runtime_lease set expires_at = statement_timestamp() + interval '{ends_in}'"
    assert at_once(owner, moved, "select is_live from dot.v_dot_lease") is is_live
    assert at_once(owner, moved, "select end_state from dot.v_process_run") == ("open" if is_live else "stale")


@pytest.mark.parametrize(("age", "is_too_old"), [("1 hour", False), ("1 hour 1 microsecond", True)])
def test_a_verification_of_just_its_greatest_age_is_not_too_old(db: Database, age: str, is_too_old: bool) -> None:
    ready_for_real_runs(db)
    db.connect("cataloguer").execute(
        "select dot.fn_process_candidate_define('shop.hourly', %s, %s, 'tester', p_max_age => '1 hour')",
        (PRODUCER, VERIFIER),
    )
    writer = db.connect("writer")
    token, said = acquire(writer, "shop.hourly"), {"process_candidate_code": "shop.hourly"}
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token, **said)["process_run_id"]
    for role in ("producer", "verifier"):
        observe_component(writer, run_id, role, lease_token=token, **said)
    superuser = db.connect("superuser")
    for table in ("process_run_observation", "process_component_observation"):
        superuser.execute(f"alter table dot.{table} disable trigger {table}_append_only")
    superuser.execute("update dot.process_run_observation set observed_at = observed_at - interval '2 hours'")
    moved = """
        update dot.process_component_observation set observed_at = statement_timestamp() - case component_role
            when 'verifier' then interval '{}' else interval '90 minutes' end
    """
    caveats = "select caveats @> '{older_than_max_age}' from dot.v_process_run_verification_v3"
    assert at_once(superuser, moved.format(age), caveats) is is_too_old


def store_attestation(db: Database, ahead: timedelta) -> None:
    """The newest attestation, by a clock that was so far ahead."""
    db.connect("owner").execute(
        "insert into dot.preflight_attestation (attestation_id, attested_at, expires_at, system_identifier, database_oid,"
        " check_name, verdict, finding, actor, session_actor) select 99, clock_timestamp() + %(ahead)s,"
        " clock_timestamp() + %(ahead)s + interval '1 day', i.*, 'fs_snapshot_present', 'PASS', 'f', 'a', 's'"
        " from dot.fn_database_identity() as i",
        {"ahead": ahead},
    )


def test_an_attestation_that_a_clock_ahead_of_time_wrote_blocks(db: Database) -> None:
    ready_for_real_runs(db)
    store_attestation(db, timedelta(days=400))
    writer = db.connect("writer")
    token = acquire(writer)
    with refused("23514", "preflight_check", "ahead of the clock"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)


def test_an_attestation_of_a_clock_that_was_ahead_counts_once_the_clock_has_come_to_it(db: Database) -> None:
    ready_for_real_runs(db)
    store_attestation(db, timedelta(seconds=1))
    said = "select verdict from dot.fn_preflight_guard() where check_name = 'fs_snapshot_present'"
    writer = db.connect("writer")
    assert value(writer, said) == "BLOCK"
    wait_until(lambda: value(writer, said) == "PASS")


def test_from_an_old_snapshot_a_part_comes_after_the_last_that_the_snapshot_sees(db: Database) -> None:
    """The clock was ahead when the run began. The two parts have one time then, and the run is not verified."""
    ready_for_real_runs(db)
    owner, writer, old = db.connect("owner"), db.connect("writer"), db.connect("writer")
    token = acquire(writer)
    run_id = store_run(owner, at=seconds_from_now(minutes=10), lease_token=token)
    old.execute("begin isolation level repeatable read")
    old.execute("select count(*) from dot.fn_preflight_guard()")  # takes the snapshot
    observe_component(writer, run_id, "producer", lease_token=token)
    observe_component(old, run_id, "verifier", lease_token=token)
    old.execute("commit")
    assert value(owner, "select count(distinct observed_at) from dot.process_component_observation") == 1
    found = row(db.connect("reader"), VERDICT)
    assert (found["verified"], found["reasons"]) == (False, ["verifier_not_after_producer"])


def test_a_token_is_good_for_the_login_that_took_it_and_no_message_prints_it(db: Database) -> None:
    ready_for_real_runs(db)
    owner, writer, thief = db.connect("owner"), db.connect("writer"), db.connect("operator")
    acquire(writer)
    owner.execute("update dot.dot_iu_runtime_lease set token = 987654321")
    token = acquire(writer)
    assert token == 987654322
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    for session, given in ((thief, token), (thief, None), (writer, 987654321), (writer, 1), (writer, None)):
        for observe in (
            partial(observe_run, session, evidence_type="REAL_RUN"),
            partial(observe_component, session, run_id, "producer"),
        ):
            with pytest.raises(psycopg.errors.CheckViolation) as caught:
                observe(lease_token=given)
            assert caught.value.diag.constraint_name == "lease_live_check"
            assert "98765432" not in str(caught.value)
    owner.execute("update dot.dot_iu_runtime_lease set token = 123456789")
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        observe_component(writer, run_id, "producer", lease_token=123456789)
    assert caught.value.diag.constraint_name == "lease_fencing_check"
    assert not re.search("98765432|12345678", str(caught.value))
