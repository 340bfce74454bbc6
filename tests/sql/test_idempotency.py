"""One key, one row: a replay answers with what is stored, another payload is an error, and races end the same way."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

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
    value,
    waiting,
)

RUN, COMPONENT = "process_run_observation", "process_component_observation"
PARENT = uuid.uuid4()
FULL: dict[str, Any] = {
    "input_ref": "in",
    "output_ref": "out",
    "error_ref": "err",
    "evidence_ref": '{"rows": 3, "attempt": {"pid": 7}}',
    "occurred_at": "2026-11-21T10:00:00Z",
}

# What belongs to the attempt, what says which row it is, and what no legal second call can change.
NO_PAYLOAD_OF_A_RUN = {"process_run_id", "correlation_id", "lease_token", "process_candidate_code", "idempotency_key"}
NO_PAYLOAD_OF_A_COMPONENT = {"lease_token", "process_candidate_code", "idempotency_key"}
REFS_AND_ACTOR: tuple[tuple[str, dict[str, Any]], ...] = (
    ("actor", {"actor": "someone-else"}),
    ("input_ref", {"input_ref": "other"}),
    ("input_ref", {"input_ref": None}),
    ("output_ref", {"output_ref": "other"}),
    ("output_ref", {"output_ref": None}),
    ("error_ref", {"error_ref": "other"}),
    ("error_ref", {"error_ref": None}),
    ("evidence_ref", {"evidence_ref": '{"rows": 4}'}),
    ("evidence_ref", {"evidence_ref": "{}"}),
    ("occurred_at", {"occurred_at": "2026-11-21T10:00:01Z"}),
    ("occurred_at", {"occurred_at": None}),
    ("actor, input_ref", {"actor": "someone-else", "input_ref": "other"}),
)


@pytest.fixture
def writer(db: Database) -> Connection:
    define_pair(db)
    return db.connect("writer")


def arguments(db: Database, function: str) -> set[str]:
    names: list[str] = value(db.connect("owner"), "select proargnames from pg_proc where proname = %s", function)
    return {name.removeprefix("p_") for name in names if name.startswith("p_")}


def stored(db: Database, table: str) -> dict[str, Any]:
    return row(db.connect("owner"), f"select * from dot.{table}")


def count(db: Database, table: str) -> int:
    return ledger_counts(db)[table]


def test_a_replayed_run_is_answered_with_the_stored_run_and_correlation(db: Database, writer: Connection) -> None:
    first = observe_run(writer, idempotency_key="key-1", correlation_id="corr-1", **FULL)
    again = observe_run(writer, idempotency_key="key-1", correlation_id="corr-of-the-retry", **FULL)
    assert first["created"] is True
    assert again == {"process_run_id": first["process_run_id"], "correlation_id": "corr-1", "created": False}
    assert stored(db, RUN)["correlation_id"] == "corr-1"


def test_a_replayed_component_is_answered_with_the_stored_component(writer: Connection) -> None:
    run_id = observe_run(writer)["process_run_id"]
    first = observe_component(writer, run_id, "producer", idempotency_key="key-1", **FULL)
    again = observe_component(writer, run_id, "producer", idempotency_key="key-1", **FULL)
    assert first["created"] is True
    assert again == {"component_id": first["component_id"], "created": False}


def test_same_key_other_payload_of_a_run_is_refused_naming_the_fields(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    call = partial(observe_run, writer, idempotency_key="key-1", parent_run_id=PARENT, lease_token=token, **FULL)
    call()
    before = ledger_counts(db)
    flips = (
        *REFS_AND_ACTOR,
        ("status", {"status": "completed"}),
        ("status, evidence_ref", {"status": "skipped"}),
        ("status, evidence_ref", {"status": "prepared"}),
        ("parent_run_id", {"parent_run_id": uuid.uuid4()}),
        ("parent_run_id", {"parent_run_id": None}),
        ("evidence_type", {"evidence_type": "DRY_RUN"}),
        ("evidence_type", {"evidence_type": "REAL_RUN", "dry_run": False}),
    )
    for fields, flipped in flips:
        with (
            subtests.test(flipped=flipped),
            refused("23505", "idempotency_payload_mismatch", f"Differing fields: {fields}."),
        ):
            call(**flipped)
    assert ledger_counts(db) == before
    # dot_code cannot differ: a candidate has one producer for ever, and step 2 refuses every other.
    assert {name for _, flipped in flips for name in flipped} == (
        arguments(db, "fn_process_run_observe") - NO_PAYLOAD_OF_A_RUN - {"dot_code"}
    )


def test_same_key_other_payload_of_a_component_is_refused_naming_the_fields(
    db: Database, writer: Connection, subtests: pytest.Subtests
) -> None:
    run_id, same_correlation = (observe_run(writer)["process_run_id"] for _ in range(2))
    other_correlation = observe_run(writer, correlation_id="corr-2")["process_run_id"]
    call = partial(observe_component, writer, run_id, "producer", idempotency_key="key-1", **FULL)
    call()
    before = ledger_counts(db)
    flips: tuple[tuple[str, dict[str, Any]], ...] = (
        *REFS_AND_ACTOR,
        ("status", {"status": "started"}),
        ("status", {"status": "failed"}),
        ("status, evidence_ref", {"status": "skipped"}),
        ("process_run_id", {"process_run_id": same_correlation}),
        ("process_run_id, correlation_id", {"process_run_id": other_correlation, "correlation_id": "corr-2"}),
        ("component_role, dot_code", {"component_role": "verifier", "dot_code": "dot.check_orders"}),
    )
    for fields, flipped in flips:
        with (
            subtests.test(flipped=flipped),
            refused("23505", "idempotency_payload_mismatch", f"Stored for run {run_id}. Differing fields: {fields}."),
        ):
            call(**flipped)
    assert ledger_counts(db) == before
    assert {name for _, flipped in flips for name in flipped} == (
        arguments(db, "fn_process_component_observe") - NO_PAYLOAD_OF_A_COMPONENT
    )


def test_run_id_correlation_and_lease_token_belong_to_the_attempt(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run = partial(observe_run, writer, idempotency_key="key-1", evidence_type="REAL_RUN")
    run_id = run(lease_token=token)["process_run_id"]
    component = partial(observe_component, writer, run_id, "producer", idempotency_key="key-1")
    component_id = component(lease_token=token)["component_id"]
    newer = acquire(writer)
    assert run(lease_token=newer, process_run_id=uuid.uuid4(), correlation_id="corr-2")["process_run_id"] == run_id
    assert component(lease_token=newer) == {"component_id": component_id, "created": False}
    assert (stored(db, RUN)["lease_token"], stored(db, COMPONENT)["lease_token"]) == (token, token)


def test_without_a_key_nothing_is_deduplicated(db: Database, writer: Connection) -> None:
    runs = [observe_run(writer, **FULL) for _ in range(2)]
    components = [observe_component(writer, run["process_run_id"], "producer", **FULL) for run in runs]
    assert [one["created"] for one in runs + components] == [True] * 4
    assert (count(db, RUN), count(db, COMPONENT)) == (2, 2)


def test_a_key_is_its_candidate_s_own_and_so_is_its_replay(db: Database, writer: Connection) -> None:
    define_pair(db, "shop.other")
    runs: dict[str, uuid.UUID] = {}
    components: dict[str, uuid.UUID] = {}
    for created in (True, False):
        for code in (PAIR, "shop.other"):
            run = observe_run(writer, process_candidate_code=code, idempotency_key="key-1")
            component = observe_component(
                writer, run["process_run_id"], "producer", process_candidate_code=code, idempotency_key="key-1"
            )
            assert (run["created"], component["created"]) == (created, created)
            assert runs.setdefault(code, run["process_run_id"]) == run["process_run_id"]
            assert components.setdefault(code, component["component_id"]) == component["component_id"]
    assert len(set(runs.values())) == len(set(components.values())) == 2


def test_the_same_run_id_under_two_candidates_is_two_runs(db: Database, writer: Connection) -> None:
    define_pair(db, "shop.other")
    run_id = uuid.uuid4()
    codes = (PAIR, "shop.other")
    for code in codes:
        assert observe_run(writer, process_candidate_code=code, process_run_id=run_id, correlation_id=code)["created"]
    for code in codes:
        for role in ("producer", "verifier"):
            component = partial(observe_component, writer, run_id, role, process_candidate_code=code)
            assert component(correlation_id=code)["created"]


def test_a_second_header_for_a_run_is_refused_by_the_key_it_clashes_with(db: Database, writer: Connection) -> None:
    run_id = observe_run(writer, idempotency_key="key-1")["process_run_id"]
    before = ledger_counts(db)
    for key in (None, "key-2"):
        with refused("23505", "process_run_observation_pkey"):
            observe_run(writer, process_run_id=run_id, idempotency_key=key)
    assert ledger_counts(db) == before


def test_a_second_row_of_a_role_and_status_is_refused_by_the_key_it_clashes_with(
    db: Database, writer: Connection
) -> None:
    run_id = observe_run(writer)["process_run_id"]
    for status in ("prepared", "started", "completed"):
        observe_component(writer, run_id, "producer", status=status, idempotency_key=f"key-1:{status}")
        before = ledger_counts(db)
        for key in (None, "key-2"):
            with refused("23505", "process_component_observation_pkey"):
                observe_component(writer, run_id, "producer", status=status, idempotency_key=key)
        assert ledger_counts(db) == before
        assert observe_component(writer, run_id, "verifier", status=status)["created"]


def test_a_component_ends_once(db: Database, writer: Connection, subtests: pytest.Subtests) -> None:
    terminal = ("completed", "failed", "skipped")
    for first in terminal:
        run_id = observe_run(writer)["process_run_id"]
        observe_component(writer, run_id, "producer", status=first)
        before = ledger_counts(db)
        for second in set(terminal) - {first}:
            for key in (None, f"{first}:{second}"):
                with (
                    subtests.test(first=first, second=second, key=key),
                    refused("23505", "process_component_observation_terminal_key"),
                ):
                    observe_component(writer, run_id, "producer", status=second, idempotency_key=key)
        assert ledger_counts(db) == before
        assert observe_component(writer, run_id, "verifier", status=first)["created"]


def test_a_clash_is_told_of_the_row_that_it_is_with(db: Database, writer: Connection) -> None:
    """And of no row of another stage, role, run or candidate."""
    define_pair(db, "shop.other")
    first, second = uuid.uuid4(), uuid.uuid4()
    ends = {
        (PAIR, first): {"producer": "completed", "verifier": "failed"},
        (PAIR, second): {"producer": "failed", "verifier": "completed"},
        ("shop.other", first): {"producer": "failed", "verifier": "completed"},
    }
    for (code, run_id), parts in ends.items():
        observe_run(writer, process_candidate_code=code, process_run_id=run_id)
        for role, end in parts.items():
            for status in ("started", end):
                observe_component(writer, run_id, role, process_candidate_code=code, status=status)
    for (code, run_id), parts in ends.items():
        for role, end in parts.items():
            other = "failed" if end == "completed" else "completed"
            for status, key in (("started", "pkey"), (end, "pkey"), (other, "terminal_key")):
                with refused("23505", f"process_component_observation_{key}"):
                    observe_component(writer, run_id, role, process_candidate_code=code, status=status)


def test_a_component_is_later_than_the_rows_of_its_own_run_whatever_the_clock_says(
    db: Database, writer: Connection
) -> None:
    """And not than those of another run, or of another candidate's run with its id."""
    define_pair(db, "shop.other")
    own, another = uuid.uuid4(), uuid.uuid4()
    owner = db.session("owner")
    owner.execute("alter table dot.process_component_observation disable trigger user")
    ahead = "update dot.process_component_observation set observed_at = observed_at + interval '1 hour'"
    is_ahead = (
        "select observed_at > now() + interval '30 min' from dot.process_component_observation where component_id = %s"
    )

    def record(code: str, run_id: uuid.UUID, role: str) -> uuid.UUID:
        told = observe_component(writer, run_id, role, process_candidate_code=code)
        return uuid.UUID(str(told["component_id"]))

    for code, run_id in ((PAIR, own), (PAIR, another), ("shop.other", own)):
        observe_run(writer, process_candidate_code=code, process_run_id=run_id)
    for code, run_id in ((PAIR, another), ("shop.other", own)):
        record(code, run_id, "producer")
    owner.execute(ahead)
    produced = record(PAIR, own, "producer")
    assert value(owner, is_ahead, produced) is False
    owner.execute(f"{ahead} where component_id = %s", (produced,))
    assert value(owner, is_ahead, record(PAIR, own, "verifier")) is True


def test_rows_of_another_role_run_or_candidate_are_no_clash(db: Database, writer: Connection) -> None:
    define_pair(db, "shop.other")
    run_id, another = (observe_run(writer)["process_run_id"] for _ in range(2))
    observe_run(writer, process_candidate_code="shop.other", process_run_id=run_id)
    observe_component(writer, run_id, "producer", status="failed")
    observe_component(writer, another, "verifier", status="failed")
    observe_component(writer, run_id, "verifier", process_candidate_code="shop.other", status="failed")
    observe_component(writer, run_id, "verifier", status="started")
    observe_component(writer, run_id, "verifier", status="prepared")  # after another status, and after those of others
    observe_component(writer, another, "producer", status="prepared")
    observe_component(writer, run_id, "producer", process_candidate_code="shop.other", status="prepared")
    observe_component(writer, run_id, "producer", status="prepared")
    observe_component(writer, run_id, "verifier", status="completed")
    with refused("23505", "process_component_observation_terminal_key", "the verifier of run"):
        observe_component(writer, run_id, "verifier", status="failed")
    with refused("23505", "process_component_observation_pkey", "has its verifier row"):
        observe_component(writer, run_id, "verifier", status="prepared")


def test_a_clash_is_not_looked_for_under_the_key_of_another_candidate(db: Database, writer: Connection) -> None:
    define_pair(db, "shop.other")
    other = observe_run(writer, process_candidate_code="shop.other", idempotency_key="key-1")["process_run_id"]
    run_id = observe_run(writer)["process_run_id"]
    with refused("23505", "process_run_observation_pkey"):
        observe_run(writer, process_run_id=run_id, idempotency_key="key-1")
    observe_component(writer, other, "producer", process_candidate_code="shop.other", idempotency_key="key-1")
    observe_component(writer, run_id, "producer")
    with refused("23505", "process_component_observation_pkey"):
        observe_component(writer, run_id, "producer", idempotency_key="key-1")


def test_of_two_components_that_claim_one_key_at_once_the_second_is_refused(db: Database, writer: Connection) -> None:
    run_id = observe_run(writer)["process_run_id"]
    rival = db.connect("writer")
    writer.execute("begin")
    observe_component(writer, run_id, "producer", idempotency_key="key-1")
    call = partial(observe_component, rival, run_id, "verifier", idempotency_key="key-1")
    with ThreadPoolExecutor(1) as pool:
        late = waiting(rival, call, pool, db)
        writer.execute("commit")
        with refused("23505", "idempotency_payload_mismatch", "component_role"):
            late.result()


def test_evidence_that_says_the_same_in_other_words_is_the_same_payload(writer: Connection) -> None:
    run = partial(observe_run, writer, idempotency_key="key-1")
    first = run(evidence_ref='{"a": 1, "b": {"c": [1, 2]}}')["process_run_id"]
    component = partial(observe_component, writer, first, "producer", idempotency_key="key-1")
    component(evidence_ref='{"a": 1, "b": {"c": [1, 2]}}')
    for observe in (run, component):
        for same in (
            '{"b": {"c": [1, 2]}, "a": 1}',
            '{"a": 1.0, "b": {"c": [1.00, 2e0]}}',
            '{"a": 9, "a": 1, "b": {"c": [1,2]}}',
        ):
            assert observe(evidence_ref=same)["created"] is False
        for other in (
            '{"a": "1", "b": {"c": [1, 2]}}',
            '{"a": 1, "b": {"c": [2, 1]}}',
            '{"a": 1, "b": {"c": [1, 2]}, "d": null}',
        ):
            with refused("23505", "idempotency_payload_mismatch", "Differing fields: evidence_ref."):
                observe(evidence_ref=other)


def test_a_replay_writes_nothing_and_takes_no_transaction_id(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    owner, writer = db.connect("owner"), db.connect("writer")
    owner.execute("update dot.event_type set active = true")
    token = acquire(writer)
    for evidence_type in ("SIMULATED_DRY_RUN", "REAL_RUN"):
        for status in ("started", "skipped"):
            key = f"{evidence_type}:{status}"
            run = partial(
                observe_run, writer, evidence_type=evidence_type, status=status, lease_token=token, idempotency_key=key
            )
            run_id = run()["process_run_id"]
            if status == "skipped":
                run_id = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
            component = partial(
                observe_component, writer, run_id, "producer", status=status, lease_token=token, idempotency_key=key
            )
            component()
            before = ledger_counts(db)
            for observe in (run, component):
                with subtests.test(evidence_type=evidence_type, status=status, observe=observe.func.__name__):
                    writer.execute("begin")
                    assert observe()["created"] is False
                    assert value(writer, "select pg_current_xact_id_if_assigned()") is None
                    writer.execute("commit")
            assert ledger_counts(db) == before
    assert before["event_outbox"] == before[RUN] + before[COMPONENT]


def test_a_key_committed_after_the_snapshot_is_a_serialization_failure_and_never_null(
    db: Database, subtests: pytest.Subtests
) -> None:
    define_pair(db)
    first, second = db.connect("writer"), db.connect("writer")
    header = observe_run(first)["process_run_id"]
    for number, level in enumerate(("repeatable read", "serializable")):
        run_id = uuid.uuid4()
        for what, observe in (
            ("key of a run", partial(observe_run, idempotency_key=f"key-{number}")),
            ("id of a run", partial(observe_run, process_run_id=run_id)),
            ("key of a component", partial(observe_component, run_id=header, idempotency_key=f"key-{number}")),
            ("role and status of a component", partial(observe_component, run_id=header, status="started")),
        ):
            role = {} if observe.func is observe_run else {"role": ("producer", "verifier")[number]}
            with subtests.test(level=level, what=what):
                second.execute(f"begin isolation level {level}")
                value(second, "select 1")  # takes the snapshot
                assert observe(first, **role)["created"]
                with refused("40001"):
                    observe(second, **role)
                second.execute("rollback")
