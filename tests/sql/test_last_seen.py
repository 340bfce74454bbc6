"""What was last seen of a candidate, in any run: the newest by when it occurred, and what it came to."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from support import (
    AMENDED,
    IN_BOTH_STATES,
    PAIR,
    Database,
    acquire,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
    row,
    rows,
)
from support.ledgers import store_candidate, store_run

OTHER = "shop.stock"
MONDAY, TUESDAY = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)


def last_seen(db: Database) -> dict[str, Any]:
    return row(db.session("reader"), "select * from dot.v_process_last_seen where process_candidate_code = %s", PAIR)


@IN_BOTH_STATES
@pytest.mark.parametrize(
    ("producer", "verifier", "evidence", "outcome"),
    [
        ("completed", "completed", {"status": "pass"}, "passed"),
        ("completed", "completed", {"status": "warn", "failures": 3}, "warned"),
        ("completed", "failed", {"status": "fail", "failures": 2}, "failed"),
        ("completed", "skipped", {"status": "skipped"}, "skipped"),
        ("completed", "skipped", {"status": "warn"}, "skipped"),
        ("failed", "skipped", {"status": "skipped"}, "failed"),
        ("failed", "completed", {"status": "warn"}, "failed"),
        ("failed", None, {}, "failed"),
        (None, "completed", {}, "passed"),
        (None, "failed", {}, "failed"),
        ("completed", None, {}, "open"),
        ("completed", "started", {}, "open"),
        (None, None, {}, "open"),
    ],
)
def test_what_a_run_came_to_is_its_verifier_s_end_or_that_a_part_failed(
    db: Database, producer: str | None, verifier: str | None, evidence: dict[str, object], outcome: str
) -> None:
    define_pair(db)
    writer = db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    if producer:
        observe_component(writer, run_id, "producer", status=producer)
    if verifier:
        # What the verifier began with is not what it ended with.
        observe_component(writer, run_id, "verifier", status="started", evidence_ref=Jsonb({"begun": True}))
        if verifier != "started":
            observe_component(writer, run_id, "verifier", status=verifier, evidence_ref=Jsonb(evidence))
    seen = last_seen(db)
    assert (seen["outcome"], seen["process_run_id"], seen["evidence_type"]) == (outcome, run_id, "SIMULATED_DRY_RUN")
    assert {key: seen["evidence_ref"].get(key) for key in (*evidence, "begun")} == {**evidence, "begun": None}
    assert (seen["actor"], seen["ran_at"]) == ("tester", seen["observed_at"])


def test_the_run_that_occurred_last_counts_in_whatever_order_the_reports_came(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    newer = observe_run(writer, occurred_at=TUESDAY)["process_run_id"]
    observe_component(writer, newer, "verifier")
    older = observe_run(writer, occurred_at=MONDAY)["process_run_id"]
    observe_component(writer, older, "verifier", status="failed")
    seen = last_seen(db)
    assert (seen["process_run_id"], seen["outcome"], seen["ran_at"]) == (newer, "passed", TUESDAY)
    assert seen["observed_at"] > seen["ran_at"]
    unsaid = observe_run(writer)["process_run_id"]  # it counts by when it was recorded
    assert (last_seen(db)["process_run_id"], last_seen(db)["outcome"]) == (unsaid, "open")
    after = observe_run(writer, occurred_at=datetime.now(UTC) + timedelta(hours=1))["process_run_id"]
    assert last_seen(db)["process_run_id"] == after


def test_of_runs_that_occurred_at_one_time_the_one_that_was_recorded_last_counts(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    greater, less = sorted((uuid.uuid4(), uuid.uuid4()), reverse=True)
    store_run(owner, at=1, run_id=greater, occurred=0)
    store_run(owner, at=2, run_id=less, occurred=0)
    assert last_seen(db)["process_run_id"] == less


def test_of_runs_that_occurred_and_were_recorded_at_one_time_the_greater_id_counts(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    ids = [uuid.uuid4() for _ in range(3)]
    for run_id in ids:
        store_run(owner, run_id=run_id)
    assert last_seen(db)["process_run_id"] == max(ids)


@IN_BOTH_STATES
def test_a_verifier_that_was_only_prepared_has_not_ended(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "verifier", status="prepared", evidence_ref=Jsonb({"status": "warn"}))
    assert (last_seen(db)["outcome"], last_seen(db)["evidence_ref"]) == ("open", {})
    observe_component(writer, run_id, "verifier", evidence_ref=Jsonb({"failures": 0}))
    assert last_seen(db)["outcome"] == "passed"


@AMENDED
def test_a_refused_call_that_was_told_of_is_no_run_that_was_seen(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    observe_run(writer, status="blocked", parent_run_id=run_id, error_ref="preflight_check")
    assert last_seen(db)["process_run_id"] == run_id


def test_a_candidate_without_a_run_was_never_seen_and_a_real_run_counts_like_any_other(db: Database) -> None:
    ready_for_real_runs(db)
    assert (last_seen(db)["outcome"], last_seen(db)["process_run_id"], last_seen(db)["evidence_ref"]) == (
        None,
        None,
        {},
    )
    writer = db.session("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    assert (last_seen(db)["outcome"], last_seen(db)["evidence_type"]) == ("open", "REAL_RUN")
    writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s::bigint)", (f"dot_exec:{PAIR}", token))
    assert last_seen(db)["outcome"] == "awaits_verifier"


def test_a_run_of_another_candidate_with_the_same_id_is_another_run(db: Database) -> None:
    define_pair(db)
    define_pair(db, OTHER)
    writer = db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "verifier")
    observe_run(writer, process_candidate_code=OTHER, process_run_id=run_id)
    observe_component(writer, run_id, "verifier", process_candidate_code=OTHER, status="failed")
    seen = rows(db.session("reader"), "select process_candidate_code, outcome from dot.v_process_last_seen order by 1")
    assert [tuple(one.values()) for one in seen] == [(PAIR, "passed"), (OTHER, "failed")]
    observe_run(writer, process_candidate_code=OTHER)
    assert last_seen(db)["process_run_id"] == run_id
