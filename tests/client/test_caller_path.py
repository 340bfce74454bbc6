"""Both caller paths: their order, their refusals, what they leave behind, and how a rerun continues a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest

from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.calls import EvidenceType, Pair
from dot_wrapper.client.errors import (
    DatabaseUnavailable,
    GateClosed,
    LeaseHeld,
    LeaseNotLive,
    PayloadMismatch,
    PreflightBlocked,
    Refusal,
)
from dot_wrapper.client.ledger import Ledger
from support import (
    AMENDED,
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    attest,
    define_pair,
    ready_for_real_runs,
    row,
    rows,
    set_gates,
    value,
)
from support.flavors import Flavor

THE_PAIR = Pair(PAIR, PRODUCER, VERIFIER)


@dataclass(frozen=True)
class Paths:
    """The caller path of a flavor on a ledger."""

    flavor: Flavor
    ledger: Any

    def path(self, pair: Pair = THE_PAIR, **options: Any) -> AbstractContextManager[Any]:
        given = {"evidence_type": "SIMULATED_DRY_RUN", "actor": "ci", **options}
        return self.flavor.caller_path(self.ledger, pair, **given)

    def rehearse(self, evidence_type: EvidenceType = "SIMULATED_DRY_RUN", **options: Any) -> Any:
        """The whole path, producer and verifier completed."""
        with self.path(evidence_type=evidence_type, **options) as run:
            run.producer("completed", output_ref="s3://bucket/out")
            run.verifier("completed")
        return run


@pytest.fixture
def paths(db: Database, flavor: Flavor) -> Iterator[Paths]:
    with flavor.ledger(lambda: flavor.connect(db.url_as("operator"))) as ledger:
        yield Paths(flavor, ledger)


def refusals(db: Database) -> list[dict[str, Any]]:
    return rows(
        db.connect("owner"), "select * from dot.dot_iu_command_run where run_status = 'refused' order by logged_at"
    )


def test_the_steps_come_in_the_order_of_document_03(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    run = paths.rehearse()
    assert [step.name for step in run.steps] == [
        "mint",
        "gates",
        "preflight",
        "lease",
        "header",
        "producer",
        "verifier",
        "release",
    ]


def test_a_rehearsal_is_a_completed_simulation_and_verifies_nothing(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    run = paths.rehearse()
    reader = db.connect("reader")
    seen = row(reader, "select process_run_id, evidence_type, end_state, components from dot.v_process_run")
    assert seen == {
        "process_run_id": run.process_run_id,
        "evidence_type": "SIMULATED_DRY_RUN",
        "end_state": "completed",
        "components": 2,
    }
    verdict = row(reader, "select verified, reasons from dot.v_process_verification_v3")
    assert verdict == {"verified": False, "reasons": ["no_real_run"]}


def test_what_comes_before_the_dot_is_one_call_and_one_transaction(db: Database) -> None:
    define_pair(db)
    attest(db)
    made: list[str] = []

    class Watched(psycopg.Connection[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            made.append(query.as_string(self) if isinstance(query, psycopg.sql.Composable) else str(query))
            return super().execute(query, *arguments, **options)

    with (
        Ledger(lambda: Watched.connect(db.url_as("operator"), autocommit=True)) as ledger,
        caller_path(ledger, THE_PAIR, evidence_type="SIMULATED_DRY_RUN", actor="ci"),
    ):
        entered = [query for query in made if "fn_" in query]
    assert ["fn_process_run_begin" in query for query in entered] == [True]


def test_a_path_that_is_refused_by_its_header_did_not_take_the_lease(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with pytest.raises(Refusal):
        paths.rehearse(input_ref="two words")
    assert value(db.connect("owner"), "select count(*) from dot.dot_iu_runtime_lease") == 0


def test_a_server_that_refuses_the_login_is_asked_once(flavor: Flavor) -> None:
    attempts = 0

    def connect() -> Any:
        nonlocal attempts
        attempts += 1
        raise psycopg.OperationalError("password authentication failed")

    with flavor.ledger(connect) as ledger, pytest.raises(DatabaseUnavailable):
        Paths(flavor, ledger).rehearse()
    assert attempts == 1


def test_when_it_happened_and_what_belongs_to_the_attempt_are_stored_with_run_and_component(
    db: Database, paths: Paths
) -> None:
    define_pair(db)
    attest(db)
    at = datetime(2026, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    for number in (1, 2):  # an attempt is not compared
        attempt: dict[str, Any] = {"occurred_at": at, "evidence_ref": {"rows": 3, "attempt": {"pid": number}}}
        options: Any = {"idempotency_key": "today", **attempt}
        with paths.path(**options) as run:
            run.producer("completed", **attempt)
    reader = db.connect("reader")
    expected = {"occurred_at": at, "evidence_ref": {"rows": 3, "attempt": {"pid": 1}}}
    assert row(reader, "select occurred_at, evidence_ref from dot.v_process_run") == expected
    assert row(reader, "select occurred_at, evidence_ref from dot.v_process_run_component") == expected
    with pytest.raises(PayloadMismatch) as refused:
        paths.rehearse(idempotency_key="today", occurred_at=at + timedelta(seconds=1))
    assert refused.value.fields == ("occurred_at", "evidence_ref")


def test_each_step_commits_by_itself(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    reader = db.connect("reader")
    with paths.path() as run:
        assert value(reader, "select count(*) from dot.v_process_run") == 1
        run.producer("completed")
        assert value(reader, "select components from dot.v_process_run") == 1


def test_preflight_blocks_a_simulation_too_and_the_refusal_is_logged(db: Database, paths: Paths) -> None:
    define_pair(db)
    with pytest.raises(PreflightBlocked) as refused:
        paths.rehearse()
    assert refused.value.constraint == "preflight_check"
    (logged,) = refusals(db)
    assert (logged["command_name"], logged["run_mode"]) == ("dot_wrapper.rehearse", "plan")
    assert logged["detail"]["constraint"] == "preflight_check"
    assert logged["detail"]["process_candidate_code"] == PAIR
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 0
    assert value(db.connect("owner"), "select count(*) from dot.dot_iu_runtime_lease") == 0


@pytest.mark.parametrize(
    ("evidence_type", "mode", "constraint"),
    [
        ("DRY_RUN", "plan", "gate_operator_runtime_enabled_check"),
        ("REAL_RUN", "apply", "gate_operator_runtime_enabled_check"),
    ],
)
def test_a_closed_gate_refuses_what_was_asked_for_and_never_lowers_it(
    db: Database, paths: Paths, evidence_type: EvidenceType, mode: str, constraint: str
) -> None:
    define_pair(db)
    attest(db)
    with pytest.raises(GateClosed) as refused:
        paths.rehearse(evidence_type)
    assert (refused.value.sqlstate, refused.value.constraint) == ("23514", constraint)
    (logged,) = refusals(db)
    assert (logged["command_name"], logged["run_mode"], logged["mutating"]) == ("dot_wrapper.execute", mode, True)
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 0


def test_a_dry_run_does_not_need_the_real_run_gate(db: Database, paths: Paths) -> None:
    ready_for_real_runs(db)
    set_gates(db, "false", "process_dot_runtime.real_run_enabled")
    paths.rehearse("DRY_RUN")
    with pytest.raises(GateClosed) as refused:
        paths.rehearse("REAL_RUN")
    assert refused.value.constraint == "gate_real_run_enabled_check"


def test_a_real_run_of_a_pair_becomes_verified(db: Database, paths: Paths) -> None:
    ready_for_real_runs(db)
    run = paths.rehearse("REAL_RUN")
    verdict = row(
        db.connect("reader"), "select verified, reasons, last_verified_run_id from dot.v_process_verification_v3"
    )
    assert verdict == {"verified": True, "reasons": [], "last_verified_run_id": run.process_run_id}


def test_a_gate_closed_in_the_middle_stops_the_run_and_is_logged(db: Database, paths: Paths) -> None:
    ready_for_real_runs(db)

    def path() -> None:
        with paths.path(evidence_type="REAL_RUN") as run:
            run.producer("completed")
            set_gates(db, "false", "process_dot_runtime.real_run_enabled")
            run.verifier("completed")

    with pytest.raises(GateClosed):
        path()
    assert [one["detail"]["constraint"] for one in refusals(db)] == ["gate_real_run_enabled_check"]
    reader = db.connect("reader")
    assert row(reader, "select verified, reasons from dot.v_process_verification_v3") == {
        "verified": False,
        "reasons": ["verifier_missing"],
    }
    # The lease was released on the way out: the run goes on under its key and a new one, or stays as it is.
    assert value(reader, "select end_state from dot.v_process_run") == "awaits_verifier"


def test_the_same_key_takes_the_same_run_up_again(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with paths.path(idempotency_key="today") as run:
        first = run.producer("completed", output_ref="s3://bucket/out")
    again = paths.rehearse(idempotency_key="today")
    assert (again.process_run_id, again.correlation_id, again.created) == (
        run.process_run_id,
        run.correlation_id,
        False,
    )
    reader = db.connect("reader")
    components = rows(
        reader, "select component_role, component_id, idempotency_key from dot.v_process_run_component order by 1"
    )
    assert components[0] == {
        "component_role": "producer",
        "component_id": first.component_id,
        "idempotency_key": "today:producer:completed",
    }
    assert components[1]["idempotency_key"] == "today:verifier:completed"
    assert len(components) == 2
    assert value(reader, "select end_state from dot.v_process_run") == "completed"


def test_the_same_key_with_something_else_is_refused_and_logged(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    paths.rehearse(idempotency_key="today")
    with pytest.raises(PayloadMismatch) as refused:
        paths.rehearse(idempotency_key="today", input_ref="s3://bucket/other")
    assert refused.value.fields == ("input_ref",)
    assert [one["detail"]["constraint"] for one in refusals(db)] == ["idempotency_payload_mismatch"]


def test_a_second_holder_is_refused_while_a_run_is_in_flight(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with paths.path(holder="worker-1"):
        with pytest.raises(LeaseHeld) as refused:
            paths.rehearse(holder="worker-2")
        assert refused.value.constraint == "lease_held"
    paths.rehearse(holder="worker-2")


def test_a_run_whose_lease_was_taken_over_gets_no_more_rows(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)

    def path() -> None:
        with paths.path() as run:
            run.producer("completed")
            assert paths.ledger.acquire_lease(PAIR, run.holder, 60) == run.lease_token + 1
            run.verifier("completed")

    with pytest.raises(LeaseNotLive):
        path()


def test_two_paths_of_one_actor_do_not_take_the_lease_from_each_other(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with paths.path() as run:
        with pytest.raises(LeaseHeld):
            paths.rehearse()
        run.verifier("completed")


@pytest.mark.parametrize("options", [{"idempotency_keys": "x"}, {"evidence": "REAL_RUN"}])
def test_a_misspelt_option_is_an_error_and_not_a_missing_key(
    db: Database, paths: Paths, options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="unknown"):
        paths.rehearse(**options)
    with (
        pytest.raises(TypeError, match=r"missing \['actor'\]"),
        paths.flavor.caller_path(paths.ledger, THE_PAIR, evidence_type="DRY_RUN"),
    ):
        pass


def test_the_lease_is_released_when_the_body_fails(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)

    def path() -> None:
        with paths.path(holder="worker-1"):
            raise RuntimeError("the DOT broke")

    with pytest.raises(RuntimeError):
        path()
    paths.rehearse(holder="worker-2")


def test_renewing_keeps_the_lease_and_says_when_it_is_over(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with paths.path(lease_seconds=5) as run:
        assert run.renew(600)
        left = value(
            db.connect("owner"),
            "select extract(epoch from expires_at - clock_timestamp())::integer from dot.dot_iu_runtime_lease",
        )
        assert left > 500
        paths.ledger.release_lease(PAIR, run.holder, run.lease_token)
        assert not run.renew(600)


BLOCKED = "select * from dot.v_process_run where status = 'blocked' order by observed_at"


@AMENDED
def test_with_the_amendment_a_blocked_header_tells_of_a_refusal_and_the_rerun_under_its_key_succeeds(
    db: Database, paths: Paths
) -> None:
    define_pair(db)
    reader = db.connect("reader")
    with pytest.raises(PreflightBlocked):
        paths.rehearse(idempotency_key="today", evidence_type="SIMULATED_DRY_RUN")
    with pytest.raises(GateClosed):
        paths.rehearse("REAL_RUN", idempotency_key="today")
    told = rows(reader, BLOCKED)
    refused = [logged["detail"] for logged in refusals(db)]
    assert [(one["parent_run_id"], one["error_ref"]) for one in told] == [
        (UUID(logged["process_run_id"]), logged["constraint"]) for logged in refused
    ]
    assert [one["error_ref"] for one in told] == ["preflight_check", "gate_operator_runtime_enabled_check"]
    for one in told:
        assert (one["evidence_type"], one["idempotency_key"], one["components"]) == ("SIMULATED_DRY_RUN", None, 0)
        assert (one["actor"], one["dot_code"], one["end_state"]) == ("ci", PRODUCER, "blocked")
        assert one["process_run_id"] != one["parent_run_id"]
    attest(db)
    assert paths.rehearse(idempotency_key="today").created
    assert len(rows(reader, BLOCKED)) == 2


@AMENDED
def test_with_the_amendment_a_refused_component_leaves_its_run_as_it_is(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with paths.path() as run:
        run.producer("completed")
        with pytest.raises(Refusal):
            run.producer("failed")
        run.verifier("completed")
    (told,) = rows(db.connect("reader"), BLOCKED)
    assert (told["parent_run_id"], told["error_ref"]) == (
        run.process_run_id,
        "process_component_observation_terminal_key",
    )
    assert value(
        db.connect("reader"), "select end_state from dot.v_process_run where process_run_id = %s", run.process_run_id
    ) == ("completed")


@AMENDED
@pytest.mark.parametrize(
    ("pair", "options", "constraint"),
    [
        (Pair("shop.unknown", PRODUCER, VERIFIER), {}, "dot_iu_runtime_lease_process_candidate_code_fkey"),
        (Pair(PAIR, "dot.unknown", VERIFIER), {}, "process_run_observation_dot_code_fkey"),
        (THE_PAIR, {"actor": "not a name"}, "process_run_observation_actor_check"),
    ],
)
def test_what_the_ledger_cannot_name_has_no_blocked_header_and_is_still_the_refusal(
    db: Database, paths: Paths, pair: Pair, options: dict[str, Any], constraint: str
) -> None:
    define_pair(db)
    attest(db)
    with pytest.raises(Refusal) as refused, paths.path(pair, **options):
        pass
    assert refused.value.constraint == constraint
    assert "no blocked header tells of it" in refused.value.__notes__[-1]
    assert rows(db.connect("reader"), BLOCKED) == []


def test_without_the_amendment_a_refusal_is_logged_and_nothing_else(db: Database, paths: Paths) -> None:
    define_pair(db)
    with pytest.raises(PreflightBlocked) as refused:
        paths.rehearse()
    assert getattr(refused.value, "__notes__", []) == []
    assert (len(refusals(db)), value(db.connect("owner"), "select count(*) from dot.process_run_observation")) == (1, 0)


def test_a_refusal_that_cannot_be_logged_is_still_the_refusal(db: Database, paths: Paths) -> None:
    define_pair(db)
    attest(db)
    with pytest.raises(Refusal) as refused:
        paths.rehearse(actor="not a name")
    assert refused.value.constraint == "process_run_observation_actor_check"
    assert "could not be logged" in refused.value.__notes__[0]
    assert refusals(db) == []


def test_what_went_wrong_in_the_body_is_seen_even_when_the_server_is_gone(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    attest(db)
    url = db.url_as("operator")

    def path(paths: Paths) -> None:
        nonlocal url
        with paths.path():
            url = "postgresql://x@/x?host=/nonexistent"
            paths.ledger.close()
            raise RuntimeError("the DOT broke")

    with (
        flavor.ledger(lambda: flavor.connect(url)) as ledger,
        pytest.raises(RuntimeError, match="the DOT broke") as caught,
    ):
        path(Paths(flavor, ledger))
    first, second = caught.value.__notes__
    assert first.startswith("and the failure of the producer was not recorded: ")
    assert second == "and the lease was not released, it runs out by itself: the server is away", "it was asked once"
