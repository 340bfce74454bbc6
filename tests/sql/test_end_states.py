"""v_process_run: where each run ended, every branch and its precedence over the next."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta

from support import (
    PAIR,
    Connection,
    Database,
    acquire,
    observe_component,
    observe_run,
    ready_for_real_runs,
    row,
    rows,
    value,
)
from support.ledgers import moment, store_candidate, store_component, store_run

DONE, BEGUN = "step_completed", "step_started"
EVIDENCE_TYPES = ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN")


def end_state(db: Database, run_id: uuid.UUID) -> str:
    return str(value(db.session("reader"), "select end_state from dot.v_process_run where process_run_id = %s", run_id))


def store_lease(owner: Connection, token: int, *, live: bool, code: str = PAIR) -> None:
    """The candidate's lease as it stands, live for most of an hour or over since long."""
    owner.execute(
        "insert into dot.dot_iu_runtime_lease values (%s, %s, %s, %s, 'tester', 'tester') on conflict (lease_key)"
        " do update set token = excluded.token, expires_at = excluded.expires_at",
        (token, moment(0), datetime.now(UTC) + timedelta(minutes=50) if live else moment(1), f"dot_exec:{code}"),
    )


# Header status, components, and the end state of a simulation or of a run whose lease is live; and where no lease is live,
# the end state of a dry or real run. First match wins, so each row that is two things at once shows a precedence.
STATES: list[tuple[str, list[tuple[str, str]], str, str]] = [
    # failed: a component failed, whatever else is there
    ("started", [("producer", "failed")], "failed", "failed"),
    ("started", [("verifier", "failed")], "failed", "failed"),
    ("started", [("producer", DONE), ("verifier", "failed")], "failed", "failed"),
    ("started", [("producer", "failed"), ("verifier", DONE)], "failed", "failed"),
    ("started", [("producer", "failed"), ("verifier", "cancelled")], "failed", "failed"),
    ("started", [("producer", "cancelled"), ("verifier", "failed")], "failed", "failed"),
    ("completed", [("producer", BEGUN), ("producer", "failed")], "failed", "failed"),
    ("cancelled", [("producer", "failed")], "failed", "failed"),
    # ... or there is none and the header failed
    ("failed", [], "failed", "failed"),
    # skipped: a component was cancelled; or there is none and the header was cancelled
    ("started", [("producer", "cancelled")], "skipped", "skipped"),
    ("started", [("producer", DONE), ("verifier", "cancelled")], "skipped", "skipped"),
    ("started", [("producer", "cancelled"), ("verifier", "cancelled")], "skipped", "skipped"),
    ("started", [("producer", "cancelled"), ("verifier", DONE)], "skipped", "skipped"),
    ("failed", [("producer", "cancelled")], "skipped", "skipped"),
    ("cancelled", [], "skipped", "skipped"),
    # completed: producer and verifier completed
    ("started", [("producer", DONE), ("verifier", DONE)], "completed", "completed"),
    ("completed", [("producer", DONE), ("verifier", DONE)], "completed", "completed"),
    ("failed", [("producer", DONE), ("verifier", DONE)], "completed", "completed"),
    ("cancelled", [("producer", BEGUN), ("producer", DONE), ("verifier", DONE)], "completed", "completed"),
    # open, or without a live lease awaits_verifier (its producer completed, and of its verifier there is no row) or stale: everything
    # else; a header's word alone proves no end
    ("started", [], "open", "stale"),
    ("completed", [], "open", "stale"),
    ("started", [("producer", BEGUN)], "open", "stale"),
    ("started", [("producer", DONE)], "open", "awaits_verifier"),
    ("started", [("verifier", DONE)], "open", "stale"),
    ("started", [("producer", BEGUN), ("verifier", DONE)], "open", "stale"),
    ("started", [("producer", DONE), ("verifier", BEGUN)], "open", "stale"),
    ("completed", [("producer", DONE), ("verifier", BEGUN)], "open", "stale"),
    ("failed", [("producer", BEGUN)], "open", "stale"),
    ("cancelled", [("producer", BEGUN), ("producer", DONE)], "open", "awaits_verifier"),
]


def test_each_branch_and_its_precedence_over_the_next(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, "live")
    store_candidate(owner, "over")
    store_lease(owner, 1, live=True, code="live")
    store_lease(owner, 1, live=False, code="over")
    for code, evidence_type in itertools.product(("live", "over"), EVIDENCE_TYPES):
        for header, components, worked_on, left in STATES:
            run_id = store_run(owner, code, evidence_type=evidence_type, status=header)
            for second, (role, status) in enumerate(components, start=1):
                store_component(owner, run_id, role, status, code, at=second, evidence_type=evidence_type)
            expected = worked_on if code == "live" or evidence_type == "SIMULATED_DRY_RUN" else left
            assert end_state(db, run_id) == expected, (code, evidence_type, header, components)


def test_a_run_that_was_taken_up_is_worked_on_under_its_highest_token(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    store_lease(owner, 2, live=True)
    run_id = store_run(owner, lease_token=1)
    store_component(owner, run_id, "producer", BEGUN, at=1, lease_token=1)
    assert end_state(db, run_id) == "stale"
    store_component(owner, run_id, "producer", DONE, at=2, lease_token=2)
    assert end_state(db, run_id) == "open"


def test_a_prepared_run_is_prepared_until_it_has_a_component(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    for components, expected in (
        ([], "prepared"),
        ([("producer", "observed")], "open"),
        ([("producer", BEGUN)], "open"),
        ([("producer", "failed")], "failed"),
        ([("producer", "cancelled")], "skipped"),
        ([("producer", DONE), ("verifier", DONE)], "completed"),
    ):
        run_id = store_run(owner, evidence_type="SIMULATED_DRY_RUN", status="observed")
        for second, (role, status) in enumerate(components, start=1):
            store_component(owner, run_id, role, status, at=second, evidence_type="SIMULATED_DRY_RUN")
        assert end_state(db, run_id) == expected, components


def test_a_run_whose_highest_token_is_not_the_live_one_is_stale(db: Database) -> None:
    owner = db.session("owner")
    # The header's token, the component's, the lease's, whether it is live.
    for header, component, lease, live, expected in (
        (5, None, 5, True, "open"),
        (5, None, 5, False, "stale"),  # ran out
        (5, None, 6, True, "stale"),  # taken over
        (5, None, 4, True, "stale"),  # the lease table was put back to an older state
        (5, 6, 6, True, "open"),  # resumed under a new lease
        (5, 6, 6, False, "stale"),
        (5, 6, 7, True, "stale"),  # resumed, and taken over again
        (5, 6, 5, True, "stale"),  # the component's token is higher than the live one
        (6, 5, 6, True, "open"),  # the header's is the higher one
        (5, None, None, False, "stale"),  # never a lease at all
    ):
        for evidence_type in ("DRY_RUN", "REAL_RUN"):
            code = f"token.{uuid.uuid4()}"
            store_candidate(owner, code)
            run_id = store_run(owner, code, evidence_type=evidence_type, lease_token=header)
            if component is not None:
                store_component(
                    owner, run_id, "producer", BEGUN, code, at=1, evidence_type=evidence_type, lease_token=component
                )
            if lease is not None:
                store_lease(owner, lease, live=live, code=code)
            assert end_state(db, run_id) == expected, (evidence_type, header, component, lease, live)


def test_the_lease_of_another_candidate_keeps_no_run_open(db: Database) -> None:
    owner = db.session("owner")
    for code in ("one", "two"):
        store_candidate(owner, code)
    store_lease(owner, 1, live=True, code="two")
    run_id = store_run(owner, "one")
    assert end_state(db, run_id) == "stale"


def test_components_of_the_same_run_id_under_another_candidate_are_another_runs(db: Database) -> None:
    owner = db.session("owner")
    run_id = uuid.uuid4()
    for code in ("one", "two"):
        store_candidate(owner, code)
        store_run(owner, code, run_id=run_id, evidence_type="SIMULATED_DRY_RUN")
    store_component(owner, run_id, "producer", "failed", "one", at=1, evidence_type="SIMULATED_DRY_RUN")
    seen = rows(
        db.session("reader"), "select process_candidate_code, end_state, components from dot.v_process_run order by 1"
    )
    assert [tuple(one.values()) for one in seen] == [("one", "failed", 1), ("two", "open", 0)]


def test_the_highest_token_of_several_components_is_the_run_s(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    store_lease(owner, 6, live=True)
    run_id = store_run(owner, lease_token=4)
    store_component(owner, run_id, "producer", BEGUN, at=1, lease_token=6)
    store_component(owner, run_id, "verifier", BEGUN, at=2, lease_token=5)
    assert end_state(db, run_id) == "open"


def test_a_crashed_run_is_stale_and_open_again_when_it_is_resumed_under_a_new_lease(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="k")["process_run_id"]
    assert end_state(db, run_id) == "open"

    released = "select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)"
    assert value(writer, released, f"dot_exec:{PAIR}", token) is True
    assert end_state(db, run_id) == "stale"

    again = acquire(writer, holder="another")
    assert again > token
    assert end_state(db, run_id) == "stale", "a new lease alone resumes nothing"
    observe_component(writer, run_id, "producer", status="started", lease_token=again)
    assert end_state(db, run_id) == "open"

    observe_component(writer, run_id, "producer", lease_token=again)
    observe_component(writer, run_id, "verifier", lease_token=again)
    assert end_state(db, run_id) == "completed"
    assert value(writer, released, f"dot_exec:{PAIR}", again) is False, "another holder's"
    assert end_state(db, run_id) == "completed"


def test_the_same_holder_taking_the_lease_again_makes_its_earlier_run_stale(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    first = observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))["process_run_id"]
    second = observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))["process_run_id"]
    assert (end_state(db, first), end_state(db, second)) == ("stale", "open")


def test_a_simulation_is_never_stale_even_with_a_token(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    run_id = observe_run(writer, lease_token=acquire(writer))["process_run_id"]
    acquire(writer)
    assert end_state(db, run_id) == "open"


def test_each_run_is_one_row_with_its_header_and_the_time_of_its_last_row(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    store_candidate(owner, PAIR)
    run_id = store_run(owner, at=10, correlation_id="corr-9", lease_token=3)
    alone = store_run(owner, at=20, evidence_type="SIMULATED_DRY_RUN")
    store_component(owner, run_id, "producer", BEGUN, at=11, lease_token=3)
    store_component(owner, run_id, "producer", DONE, at=15, lease_token=3)
    store_component(owner, run_id, "verifier", BEGUN, at=14, lease_token=3)
    assert value(reader, "select count(*) from dot.v_process_run") == 2
    seen = row(reader, "select * from dot.v_process_run where process_run_id = %s", run_id)
    assert (seen["components"], seen["observed_at"], seen["last_observed_at"]) == (3, moment(10), moment(15))
    assert (seen["correlation_id"], seen["lease_token"], seen["evidence_type"]) == ("corr-9", 3, "REAL_RUN")
    seen = row(reader, "select * from dot.v_process_run where process_run_id = %s", alone)
    assert (seen["components"], seen["last_observed_at"]) == (0, moment(20))
    parts = rows(
        reader,
        "select component_role, status from dot.v_process_run_component where process_run_id = %s order by observed_at",
        run_id,
    )
    assert [(one["component_role"], one["status"]) for one in parts] == [
        ("producer", BEGUN),
        ("verifier", BEGUN),
        ("producer", DONE),
    ]
