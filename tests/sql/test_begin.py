"""fn_process_run_begin: what the caller path does before the DOT, in one call, in its order, all or nothing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from support import (
    GATES,
    PAIR,
    PRODUCER,
    Connection,
    Database,
    acquire,
    attest,
    call,
    define_pair,
    ledger_counts,
    observe_component,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)


def begin(session: Connection, **replaced: object) -> dict[str, Any]:
    """Legal defaults: a simulation of the pair, a new run each time, no key."""
    defaults = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": uuid.uuid4(),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": replaced.get("evidence_type", "SIMULATED_DRY_RUN") != "REAL_RUN",
        "actor": "tester",
        "holder": "tester",
        "ttl_seconds": 60,
    }
    return call(session, "fn_process_run_begin", defaults, **replaced)


def test_a_run_is_begun_under_a_lease_of_its_own(db: Database) -> None:
    define_pair(db)
    attest(db)
    writer = db.connect("writer")
    parent, run_id = uuid.uuid4(), uuid.uuid4()
    begun = begin(
        writer, process_run_id=run_id, parent_run_id=parent, input_ref="in", evidence_ref='{"rows": 3}',
        occurred_at="2026-11-21T10:00:00Z", idempotency_key="key-1",
    )  # fmt: skip
    assert (begun["process_run_id"], begun["correlation_id"], begun["created"]) == (run_id, "corr-1", True)
    assert (begun["lease_token"], begun["open_gates"]) == (1, [])
    assert {one["verdict"] for one in begun["preflight"]} == {"PASS"}
    seen = row(db.connect("reader"), "select * from dot.v_process_run")
    assert (seen["status"], seen["parent_run_id"], seen["input_ref"], seen["evidence_ref"], seen["lease_token"]) == (
        "started", parent, "in", {"rows": 3}, 1,
    )  # fmt: skip
    assert seen["occurred_at"] == datetime(2026, 11, 21, 10, tzinfo=UTC)
    again = begin(
        writer, parent_run_id=parent, input_ref="in", evidence_ref='{"rows": 3}', occurred_at="2026-11-21T10:00:00Z",
        idempotency_key="key-1",
    )  # fmt: skip
    assert (again["process_run_id"], again["created"], again["lease_token"]) == (run_id, False, 2)
    observe_component(writer, run_id, "producer", lease_token=2)


def test_a_run_is_refused_in_the_order_of_the_caller_path_and_leaves_nothing(db: Database) -> None:
    define_pair(db)
    writer, other = db.connect("writer"), db.connect("operator")
    token = acquire(other, holder="another")
    before = ledger_counts(db)
    for gate in GATES:
        with refused("23514", f"gate_{gate.partition('.')[2]}_check"):
            begin(writer, evidence_type="REAL_RUN")
        set_gates(db, "true", gate)
    for evidence_type in ("REAL_RUN", "SIMULATED_DRY_RUN"):
        with refused("23514", "preflight_check"):
            begin(writer, evidence_type=evidence_type)
    attest(db)
    with refused("23514", "lease_held", "v_dot_lease"):
        begin(writer, evidence_type="REAL_RUN")
    other.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'another', %s)", (f"dot_exec:{PAIR}", token))
    with refused("23503", "process_run_observation_dot_code_fkey"):
        begin(writer, evidence_type="REAL_RUN", dot_code="dot.unknown")
    expected = {**before, "dot_config_audit": 3, "preflight_attestation": 1}
    assert ledger_counts(db) == expected
    lease = rows(db.connect("reader"), "select holder, token, is_live from dot.v_dot_lease")
    assert [tuple(one.values()) for one in lease] == [("another", token, False)], "the lease was not kept"
    begun = begin(writer, evidence_type="REAL_RUN")
    assert (begun["open_gates"], begun["lease_token"]) == (list(GATES), token + 1)
    assert value(db.connect("reader"), "select admission -> 'gates' from dot.v_process_run") == dict.fromkeys(
        GATES, "true"
    )


def test_an_argument_that_is_missing_or_illegal_is_named_before_anything_is_asked(
    db: Database, subtests: pytest.Subtests
) -> None:
    define_pair(db)
    writer = db.connect("writer")
    before = ledger_counts(db)
    for argument in ("process_candidate_code", "dot_code", "evidence_type", "dry_run", "actor", "correlation_id"):
        with subtests.test(argument=argument), refused("23502", f"process_run_observation_{argument}_not_null"):
            begin(writer, **{argument: None})
    with refused("23514", "process_run_observation_evidence_type_check"):
        begin(writer, evidence_type="real_run")
    assert ledger_counts(db) == before


def test_beginning_a_simulation_holds_no_switch_up(db: Database) -> None:
    define_pair(db)
    attest(db)
    writer = db.connect("writer")
    with writer.transaction():
        assert begin(writer)["created"]
        set_gates(db, "true")


def test_a_run_whose_lease_is_held_is_refused_without_a_wait_for_the_latch(db: Database) -> None:
    ready_for_real_runs(db)
    acquire(db.connect("operator"), holder="another")
    owner, writer = db.connect("owner"), db.connect("writer")
    writer.execute("set lock_timeout = '100ms'")
    with owner.transaction():
        owner.execute("lock table dot.gate_latch in exclusive mode")
        with refused("23514", "lease_held"):
            begin(writer, evidence_type="REAL_RUN")
