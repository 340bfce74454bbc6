"""Stories that search seldom tells, told by name: both tell them alike, and the end is the one that is written here.

A story in which the database and the model once differed is kept here, too.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dot_wrapper.proving import model
from dot_wrapper.proving.legal import RUN_ID, component, header, ready
from dot_wrapper.proving.support import GATES, IN_BOTH_STATES, PRODUCER, VERIFIER, Database
from dot_wrapper.proving.twin import STRICT, Outcome, Twin

pytestmark = IN_BOTH_STATES

OTHER_RUN_ID = uuid.UUID(int=2)


@pytest.fixture
def twin(db: Database) -> Twin:
    return ready(db)


def start(twin: Twin, who: str = "writer", **replaced: Any) -> Outcome:
    """A REAL_RUN under token 1."""
    legal = header(twin, replaced.get("evidence_type", model.REAL))
    return compared(twin, twin.observe_run(who, **{**legal, **replaced}))


def end(twin: Twin, role: str, who: str = "writer", **replaced: Any) -> Outcome:
    """The role's part of it, completed, under token 1."""
    return compared(twin, twin.observe_component(who, **{**component(twin, role), **replaced}))


def compared(twin: Twin, outcome: Outcome) -> Outcome:
    twin.compare()
    return outcome


def refusal(outcome: Outcome) -> Any:
    assert outcome[0] == "refused", outcome
    return outcome[2]


def reasons(twin: Twin) -> tuple[str, ...]:
    twin.compare()
    return model.verdict(twin.committed, twin.candidates[0]).reasons


def end_state(twin: Twin, run_id: uuid.UUID = RUN_ID) -> str:
    twin.compare()
    run = twin.committed.newest(model.Run, process_run_id=run_id)
    assert run is not None
    return model.end_state(twin.committed, run)


def test_a_verifier_that_began_before_the_producer_was_done_verifies_nothing(twin: Twin) -> None:
    start(twin)
    end(twin, "verifier", status="started")
    end(twin, "producer")
    end(twin, "verifier")
    assert reasons(twin) == ("verifier_not_after_producer",)
    assert end_state(twin) == "completed"


def test_a_later_real_run_takes_the_verdict_and_the_last_verified_run_stays(twin: Twin) -> None:
    start(twin)
    end(twin, "producer")
    end(twin, "verifier")
    assert reasons(twin) == ()
    start(twin, process_run_id=OTHER_RUN_ID)
    assert reasons(twin) == ("producer_missing", "verifier_missing")
    verdict = model.verdict(twin.committed, twin.candidates[0])
    assert not verdict.verified
    assert verdict.last_verified
    assert verdict.last_verified.process_run_id == RUN_ID


def test_the_lease_of_one_login_is_no_permission_of_another(twin: Twin) -> None:
    assert refusal(start(twin, "operator")) == "lease_live_check"
    start(twin)
    assert refusal(end(twin, "producer", "operator")) == "lease_live_check"
    simulated = {"evidence_type": model.SIMULATED, "process_run_id": OTHER_RUN_ID}
    assert refusal(start(twin, "operator", **simulated, lease_token=1)) == "lease_live_check"
    hand_over(twin, to="operator")
    end(twin, "producer", "operator", lease_token=2)
    assert refusal(end(twin, "verifier", lease_token=2)) == "lease_live_check"


def hand_over(twin: Twin, to: str) -> None:
    """Anna's lease of the first candidate goes from one login to the other."""
    twin.release("writer" if to == "operator" else "operator", twin.candidates[0], "anna", 1)
    assert twin.acquire(to, twin.candidates[0], "anna") == ("told", 2)


def test_a_verdict_is_independent_where_another_login_looked_at_what_was_written(twin: Twin) -> None:
    start(twin)
    end(twin, "producer", output_ref="s3://out/today")
    hand_over(twin, to="operator")
    end(twin, "verifier", "operator", input_ref="s3://out/today", lease_token=2)
    twin.compare()
    latest = model.verdict(twin.committed, twin.candidates[0]).latest
    assert latest is not None
    assert (latest.verified, latest.caveats, latest.independently_verified) == (True, (), True)


@pytest.mark.parametrize(
    ("written", "looked_at", "expected"),
    [
        ("s3://out/today", "s3://out/today", ("same_session_actor",)),
        ("s3://out/today", "s3://out/yesterday", ("same_session_actor", "other_output")),
        ("s3://out/today", None, ("same_session_actor", "output_not_named")),
        (None, "s3://out/today", ("same_session_actor", "output_not_named")),
    ],
)
def test_a_verdict_says_what_a_stranger_would_ask(
    twin: Twin, written: str | None, looked_at: str | None, expected: tuple[str, ...]
) -> None:
    start(twin)
    end(twin, "producer", output_ref=written)
    end(twin, "verifier", input_ref=looked_at)
    twin.compare()
    latest = model.verdict(twin.committed, twin.candidates[0]).latest
    assert latest is not None
    assert (latest.verified, latest.caveats, latest.independently_verified) == (True, expected, False)


def test_a_candidate_that_asks_for_it_gets_its_roles_its_output_and_its_age(db: Database) -> None:
    twin = Twin(db, second=STRICT)
    of_second: dict[str, Any] = {"process_candidate_code": twin.candidates[1]}
    for gate in GATES:
        twin.set_gate(gate, "true")
    twin.attest("PASS")
    twin.acquire("operator", twin.candidates[1], "anna")
    start(twin, "operator", **of_second, dot_code=VERIFIER)
    looking: dict[str, Any] = {**of_second, "dot_code": PRODUCER, "input_ref": "s3://out/today"}
    pinned = "process_component_observation_pinned_output_check"
    assert refusal(end(twin, "verifier", "operator", **looking)) == pinned
    end(twin, "producer", "operator", **of_second, dot_code=VERIFIER, output_ref="s3://out/today")
    assert refusal(end(twin, "verifier", **looking)) == "process_candidate_verifier_role_check"
    for other in ("s3://out/yesterday", None):
        assert refusal(end(twin, "verifier", "operator", **{**looking, "input_ref": other})) == pinned
    assert end(twin, "verifier", "operator", **looking)[1][1] is True
    twin.compare()
    latest = model.verdict(twin.committed, twin.candidates[1]).latest
    assert latest is not None
    assert latest.caveats == ("same_session_actor", "older_than_max_age")


def test_a_candidate_that_was_superseded_takes_simulations_alone_and_names_the_newest(twin: Twin) -> None:
    start(twin, idempotency_key="key-1")
    twin.supersede(0)
    twin.supersede(2)
    assert refusal(start(twin, idempotency_key="key-2")) == "process_run_observation_superseded_check"
    assert start(twin, idempotency_key="key-1") == ("told", (RUN_ID, "corr-1", False))  # a run that has begun goes on
    assert end(twin, "producer")[0] == "told"
    assert start(twin, evidence_type=model.SIMULATED, process_run_id=OTHER_RUN_ID)[0] == "told"
    newest = twin.committed.all(model.Candidate)[-1]
    assert [model.newest_of_chain(twin.committed, one) for one in twin.committed.all(model.Candidate)] == [
        *(newest, twin.definitions[1]),
        *(newest, newest),
    ]


@pytest.mark.parametrize(("hours", "is_newest"), [(1, True), (0, True), (-1, False)])
def test_a_chain_is_ordered_by_the_time_of_its_sources_and_not_by_the_order_of_definition(
    db: Database, hours: int, is_newest: bool
) -> None:
    twin = Twin(db, second=STRICT)
    twin.supersede(1, timedelta(hours=hours))
    twin.compare()
    first, then = (twin.committed.all(model.Candidate, code=code)[0] for code in twin.candidates[1:])
    assert model.newest_of_chain(twin.committed, first) == (then if is_newest else first)
    for gate in GATES:
        twin.set_gate(gate, "true")
    twin.attest("PASS")
    for one in (first, then):
        twin.acquire("operator", one.code, "anna")
        said = start(twin, "operator", process_candidate_code=one.code, dot_code=VERIFIER)
        assert said[0] == ("told" if (one == then) is is_newest else "refused")


def test_when_it_happened_is_payload_and_the_attempt_is_not(twin: Twin) -> None:
    said: dict[str, Any] = {"evidence_type": model.SIMULATED, "idempotency_key": "key-1"}
    then = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    start(twin, **said, occurred_at=then, evidence_ref={"rows": 1, "attempt": {"pid": 1}})
    again = start(twin, **said, occurred_at=then, evidence_ref={"rows": 1, "attempt": {"pid": 2}})
    assert again == ("told", (RUN_ID, "corr-1", False))
    assert start(twin, **said, occurred_at=then, evidence_ref={"rows": 1})[0] == "told"
    other = start(twin, **said, occurred_at=then + timedelta(seconds=1), evidence_ref={"rows": 2, "attempt": {}})
    assert other[3] == {"occurred_at", "evidence_ref"}


def test_a_run_is_begun_by_one_call_or_not_at_all(twin: Twin) -> None:
    said: dict[str, Any] = {
        "process_candidate_code": twin.candidates[0],
        "dot_code": PRODUCER,
        "process_run_id": RUN_ID,
        "correlation_id": "corr-1",
        "evidence_type": model.REAL,
        "dry_run": False,
        "actor": "anna",
        "idempotency_key": "key-1",
    }
    assert refusal(compared(twin, twin.begin_run("writer", "boris", **said))) == "lease_held"
    assert compared(twin, twin.begin_run("writer", "anna", **said))[1][:4] == (RUN_ID, "corr-1", True, 2)
    assert compared(twin, twin.begin_run("writer", "anna", **said))[1][:4] == (RUN_ID, "corr-1", False, 3)
    other = {**said, "actor": "boris"}
    assert refusal(compared(twin, twin.begin_run("writer", "anna", **other))) == "idempotency_payload_mismatch"
    lease = twin.committed.newest(model.Lease, key=f"dot_exec:{twin.candidates[0]}")
    assert lease is not None
    assert lease.token == 3
    simulated = {**said, "evidence_type": model.SIMULATED, "dry_run": True, "idempotency_key": "key-2"}
    simulated["process_run_id"] = OTHER_RUN_ID
    twin.set_gate(GATES[0], "false")
    assert refusal(twin.begin_run("writer", "anna", **said)) == "gate_operator_runtime_enabled_check"
    twin.let_attestation_run_out()
    assert refusal(twin.begin_run("writer", "anna", **simulated)) == "preflight_check"
    twin.attest("WARN")
    told = compared(twin, twin.begin_run("writer", "anna", **simulated))[1]
    assert (told[3], told[4], told[5]["fs_snapshot_present"]) == (4, set(GATES[1:]), "WARN")


def test_a_gate_that_was_opened_past_its_function_is_off_and_closing_it_takes_no_function(twin: Twin) -> None:
    twin.edit_gate(GATES[2], "false")
    assert refusal(start(twin)) == "gate_real_run_enabled_check"
    twin.edit_gate(GATES[2], "true")  # as it was decided
    assert start(twin)[0] == "told"
    twin.set_gate(GATES[2], "false")
    twin.edit_gate(GATES[2], "true")
    assert refusal(end(twin, "producer")) == "gate_real_run_enabled_check"


def test_a_run_that_only_waits_for_its_verifier_says_so_once_its_lease_is_over(twin: Twin) -> None:
    start(twin)
    end(twin, "producer")
    assert end_state(twin) == "open"
    twin.let_lease_run_out(twin.candidates[0])
    assert end_state(twin) == "awaits_verifier"
    twin.acquire("writer", twin.candidates[0], "anna")
    end(twin, "verifier", status="started", lease_token=2)
    twin.let_lease_run_out(twin.candidates[0])
    assert end_state(twin) == "stale"


def test_a_crashed_run_is_stale_until_it_goes_on_under_a_new_lease(twin: Twin) -> None:
    start(twin)
    assert end_state(twin) == "open"
    twin.let_lease_run_out(twin.candidates[0])
    assert end_state(twin) == "stale"
    assert refusal(end(twin, "producer")) == "lease_live_check"
    assert twin.acquire("writer", twin.candidates[0], "boris") == ("told", 2)
    assert end_state(twin) == "stale"
    assert refusal(end(twin, "producer", lease_token=1)) == "lease_live_check"
    end(twin, "producer", lease_token=2)
    assert end_state(twin) == "open"
    end(twin, "verifier", lease_token=2)
    assert end_state(twin) == "completed"
    assert reasons(twin) == ()


def test_a_token_below_the_run_s_is_fenced_off_when_the_lease_table_was_put_back(twin: Twin) -> None:
    twin.acquire("writer", twin.candidates[0], "anna")
    start(twin, lease_token=2)
    twin.put_lease_back(twin.candidates[0])
    assert refusal(end(twin, "producer", lease_token=1)) == "lease_fencing_check"
    assert end_state(twin) == "stale"
    another: dict[str, Any] = {"process_run_id": uuid.uuid4(), "lease_token": 1}
    assert refusal(start(twin, **another)) == "lease_fencing_check"
    start(twin, **another, evidence_type="DRY_RUN")


def test_one_name_in_two_logins_is_two_holders(twin: Twin) -> None:
    candidate = twin.candidates[0]
    assert twin.acquire("operator", candidate, "anna") == ("told", None)
    assert twin.renew("operator", candidate, "anna", 1) == ("told", False)
    assert twin.release("operator", candidate, "anna", 1) == ("told", False)
    twin.let_lease_run_out(candidate)
    assert twin.renew("writer", candidate, "anna", 1) == ("told", False)
    assert twin.release("writer", candidate, "anna", 1) == ("told", False)
    assert twin.acquire("operator", candidate, "anna") == ("told", 2)
    twin.compare()


def test_a_refusal_names_the_first_rule_that_is_broken_all_the_way_down(twin: Twin) -> None:
    """Everything is wrong, and is put right from the first rule on."""
    twin.let_lease_run_out(twin.candidates[0])
    twin.let_attestation_run_out()
    for gate in GATES:
        twin.set_gate(gate, "false")
    wrong: dict[str, Any] = {
        "actor": None,
        "correlation_id": " ",
        "dry_run": True,
        "status": "prepared",
        "dot_code": "dot.unknown",
        "process_candidate_code": "pair.unknown",
    }
    said = [refusal(start(twin, **wrong))]
    for name, value in (
        ("actor", "anna"),
        ("correlation_id", "corr-1"),
        ("dry_run", False),
        ("status", "started"),
        ("dot_code", VERIFIER),
        ("process_candidate_code", twin.candidates[0]),
        ("dot_code", PRODUCER),
    ):
        wrong[name] = value
        said.append(refusal(start(twin, **wrong)))
    for gate in GATES:
        twin.set_gate(gate, "true")
        said.append(refusal(start(twin)))
    twin.attest("WARN")
    said.append(refusal(start(twin)))
    twin.acquire("writer", twin.candidates[0], "anna")
    assert start(twin, lease_token=2)[0] == "told"
    said.append(refusal(start(twin, lease_token=2)))
    assert said == [
        "process_run_observation_actor_not_null",
        "process_run_observation_correlation_id_check",
        "process_run_observation_dry_run_check",
        "process_run_observation_prepared_check",
        "process_run_observation_dot_code_fkey",
        "process_run_observation_process_candidate_code_fkey",
        "process_run_observation_producer_check",
        "gate_operator_runtime_enabled_check",
        "gate_execute_enabled_check",
        "gate_real_run_enabled_check",
        "preflight_check",
        "lease_live_check",
        "process_run_observation_pkey",
    ]


def test_a_component_s_refusal_names_the_first_rule_that_is_broken_too(twin: Twin) -> None:
    start(twin, evidence_type=model.SIMULATED, status="failed")
    twin.set_gate(GATES[0], "false")
    wrong: dict[str, Any] = {"component_role": "both", "dot_code": VERIFIER, "process_run_id": OTHER_RUN_ID}
    wrong |= {"correlation_id": "corr-2", "status": "prepared"}
    said = [refusal(end(twin, "producer", **wrong))]
    for name, value in (
        ("component_role", "producer"),
        ("dot_code", PRODUCER),
        ("process_run_id", RUN_ID),
        ("correlation_id", "corr-1"),
    ):
        wrong[name] = value
        said.append(refusal(end(twin, "producer", **wrong)))
    twin.set_gate(GATES[0], "true")
    start(twin, process_run_id=OTHER_RUN_ID)
    twin.set_gate(GATES[0], "false")
    wrong["process_run_id"] = OTHER_RUN_ID
    said.append(refusal(end(twin, "producer", **wrong)))
    said.append(refusal(end(twin, "producer", **{**wrong, "status": "started"})))
    assert said == [
        "process_component_observation_component_role_check",
        "process_component_observation_component_role_dot_check",
        "process_component_observation_process_run_id_fkey",
        "process_component_observation_correlation_id_header_check",
        "process_component_observation_header_status_check",
        "process_component_observation_prepared_check",
        "gate_operator_runtime_enabled_check",
    ]


def test_the_other_clash_is_named_when_a_component_has_ended(twin: Twin) -> None:
    start(twin)
    end(twin, "producer", idempotency_key="key-1")
    assert refusal(end(twin, "producer")) == "process_component_observation_pkey"
    assert refusal(end(twin, "producer", status="failed")) == "process_component_observation_terminal_key"
    assert end(twin, "producer", status="started")[0] == "told"
    assert end(twin, "producer", idempotency_key="key-1")[1][1] is False


def test_evidence_differs_as_jsonb_differs(twin: Twin) -> None:
    simulated = {"evidence_type": model.SIMULATED, "idempotency_key": "key-1"}
    start(twin, **simulated, evidence_ref={"rows": 1, "all": [True]})
    assert start(twin, **simulated, evidence_ref={"all": [True], "rows": 1.0})[0] == "told"
    for other in ({"rows": True, "all": [True]}, {"rows": 1, "all": [1]}, {"rows": "1", "all": [True]}, {"rows": 1}):
        assert start(twin, **simulated, evidence_ref=other)[3] == {"evidence_ref"}


def test_a_word_that_sets_a_flag_differs_in_status_and_evidence(twin: Twin) -> None:
    simulated = {"evidence_type": model.SIMULATED, "idempotency_key": "key-1"}
    start(twin, **simulated, status="prepared")
    assert end_state(twin) == "prepared"
    flags = set() if twin.db.amended else {"evidence_ref"}
    assert start(twin, **simulated, status="skipped")[3] == {"status"} | flags


def test_a_replay_asks_for_the_same_gates_and_the_live_token_again(twin: Twin) -> None:
    start(twin, idempotency_key="key-1")
    end(twin, "producer", idempotency_key="key-1:part")
    twin.acquire("writer", twin.candidates[0], "anna")
    assert refusal(start(twin, idempotency_key="key-1")) == "lease_live_check"
    again = start(twin, idempotency_key="key-1", lease_token=2, process_run_id=OTHER_RUN_ID, correlation_id="corr-2")
    assert again == ("told", (RUN_ID, "corr-1", False))
    assert end(twin, "producer", idempotency_key="key-1:part", lease_token=2)[1][1] is False
    twin.set_gate(GATES[2], "false")
    assert refusal(start(twin, idempotency_key="key-1", lease_token=2)) == "gate_real_run_enabled_check"
    assert refusal(end(twin, "producer", idempotency_key="key-1:part", lease_token=2)) == "gate_real_run_enabled_check"


def test_a_key_belongs_to_its_candidate(twin: Twin) -> None:
    simulated = {"evidence_type": model.SIMULATED, "idempotency_key": "key-1"}
    start(twin, **simulated)
    other: dict[str, Any] = {
        "process_candidate_code": twin.candidates[1],
        "dot_code": VERIFIER,
        "process_run_id": OTHER_RUN_ID,
    }
    assert start(twin, **simulated, **other) == ("told", (OTHER_RUN_ID, "corr-1", True))
    assert start(twin, **simulated, **other) == ("told", (OTHER_RUN_ID, "corr-1", False))
    assert start(twin, **simulated) == ("told", (RUN_ID, "corr-1", False))


def test_what_was_rolled_back_to_a_savepoint_frees_its_key_and_left_no_event(twin: Twin) -> None:
    for name in model.EVENT_TYPES:
        twin.set_event_type(name, True)
    twin.begin()
    start(twin, idempotency_key="key-1")
    twin.savepoint()
    end(twin, "producer", idempotency_key="key-1:part")
    twin.rollback_to_savepoint()
    assert end(twin, "producer", idempotency_key="key-1:part", status="failed")[1][1] is True
    twin.commit()
    assert end_state(twin) == "failed"
    assert [event.type for event in twin.committed.all(model.Event)] == [
        "process.run.started",
        "process.component.failed",
    ]
    twin.begin()
    start(twin, process_run_id=OTHER_RUN_ID)
    twin.rollback()
    twin.compare()


def test_a_call_that_clashes_with_an_open_transaction_waits_and_then_is_a_replay(twin: Twin) -> None:
    simulated = {"evidence_type": model.SIMULATED, "idempotency_key": "key-1"}
    twin.begin()
    start(twin, **simulated)
    assert start(twin, "operator", **simulated, process_run_id=OTHER_RUN_ID)[1] == "55P03"
    not_seen = end(twin, "producer", "operator", lease_token=None)
    assert refusal(not_seen) == "process_component_observation_process_run_id_fkey"
    assert twin.holds_latch is False
    twin.commit()
    assert start(twin, "operator", **simulated, process_run_id=OTHER_RUN_ID) == ("told", (RUN_ID, "corr-1", False))


def test_an_event_of_an_open_transaction_holds_later_ones_back_and_none_is_lost(twin: Twin) -> None:
    twin.set_event_type("process.run.started", True)
    twin.begin()
    start(twin)
    start(twin, "operator", evidence_type=model.SIMULATED, process_run_id=OTHER_RUN_ID)
    twin.acknowledge()
    assert twin.delivered == []
    twin.commit()
    twin.compare()
    assert len(twin.committed.all(model.Event)) == 2


def test_a_blocked_header_tells_of_a_refusal_and_takes_nothing_from_the_run(twin: Twin) -> None:
    refused: dict[str, Any] = {"evidence_type": model.SIMULATED, "process_run_id": OTHER_RUN_ID, "status": "blocked"}
    told: dict[str, Any] = {"parent_run_id": RUN_ID, "error_ref": "preflight_check"}
    if not twin.db.amended:
        assert refusal(start(twin, **refused, **told)) == "process_run_observation_status_check"
        return
    wrong: list[dict[str, Any]] = [{}, {**told, "idempotency_key": "key-1"}, {**told, "parent_run_id": OTHER_RUN_ID}]
    for one in wrong:
        assert refusal(start(twin, **refused, **one)) == "process_run_observation_blocked_check"
    assert start(twin, **refused, **told) == ("told", (OTHER_RUN_ID, "corr-1", True))
    assert end_state(twin, OTHER_RUN_ID) == "blocked"
    blocked = end(twin, "producer", process_run_id=OTHER_RUN_ID, lease_token=None)
    assert refusal(blocked) == "process_component_observation_header_status_check"
    assert start(twin, idempotency_key="key-1") == ("told", (RUN_ID, "corr-1", True))
    for role in ("producer", "verifier"):
        end(twin, role)
    assert end_state(twin) == "completed"
