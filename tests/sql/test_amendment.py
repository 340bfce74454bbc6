"""The optional amendment: the three words are stored as they are said, and count for nothing that they did not count for before."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any

import pytest

from dot_wrapper.proving.databases import upgrade
from support import (
    AMENDED,
    PAIR,
    PRODUCER,
    Connection,
    Database,
    acquire,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    poll_until,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
)
from support.catalog import downgrade
from support.ledgers import store_candidate, store_component, store_run

EVIDENCE_TYPES = ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN")

# The wrapper's word: what is stored of it on a run and on a component.
WORDS = {
    "prepared": ("prepared", "prepared"),
    "started": ("started", "step_started"),
    "completed": ("completed", "step_completed"),
    "failed": ("failed", "failed"),
    "skipped": ("skipped", "skipped"),
}
# The same two words as they were stored before.
BEFORE = {"prepared": "observed", "skipped": "cancelled"}

STORED = "select status, evidence_ref from dot.{} where process_run_id = %s"


def blocked(writer: Connection, **replaced: object) -> dict[str, Any]:
    """A legal blocked header: the refused run is another one."""
    refusal = {"status": "blocked", "parent_run_id": uuid.uuid4(), "error_ref": "preflight_check"}
    return observe_run(writer, **(refusal | replaced))


@AMENDED
def test_each_word_is_stored_as_it_is_said_and_the_evidence_as_it_is_sent(db: Database) -> None:
    ready_for_real_runs(db)
    writer, reader = db.session("writer"), db.session("reader")
    token = acquire(writer)
    for evidence_type in EVIDENCE_TYPES:
        given: dict[str, object] = {"lease_token": token, "evidence_ref": '{"rows": 3}'}
        for word, (of_run, of_component) in WORDS.items():
            if word == "prepared" and evidence_type != "SIMULATED_DRY_RUN":
                continue
            run_id = observe_run(writer, status=word, evidence_type=evidence_type, **given)["process_run_id"]
            assert row(reader, STORED.format("v_process_run"), run_id) == {
                "status": of_run,
                "evidence_ref": {"rows": 3},
            }
            run_id = observe_run(writer, evidence_type=evidence_type, **given)["process_run_id"]
            observe_component(writer, run_id, "verifier", status=word, **given)
            found = row(reader, STORED.format("v_process_run_component"), run_id)
            assert found == {"status": of_component, "evidence_ref": {"rows": 3}}


@AMENDED
def test_prepared_must_be_simulated_and_the_flags_are_nobody_s_to_send(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    given = {"evidence_type": "REAL_RUN", "lease_token": acquire(writer)}
    run_id = observe_run(writer, **given)["process_run_id"]
    before = ledger_counts(db)
    with refused("23514", "process_run_observation_prepared_check"):
        observe_run(writer, status="prepared", **given)
    with refused("23514", "process_component_observation_prepared_check"):
        observe_component(writer, run_id, "producer", status="prepared", lease_token=given["lease_token"])
    for key in ("wrapper_phase", "skipped"):
        with refused("23514", "process_run_observation_evidence_ref_reserved_check"):
            observe_run(writer, evidence_ref=json.dumps({key: True}))
    assert ledger_counts(db) == before


@AMENDED
def test_a_blocked_header_is_a_simulation_with_a_parent_and_an_error_and_without_a_key(db: Database) -> None:
    define_pair(db)
    writer, owner = db.session("writer"), db.session("owner")
    run_id = blocked(writer)["process_run_id"]
    before = ledger_counts(db)
    own = uuid.uuid4()
    for wrong in (
        {"evidence_type": "DRY_RUN"},
        {"evidence_type": "REAL_RUN"},
        {"parent_run_id": None},
        {"parent_run_id": own, "process_run_id": own},
        {"error_ref": None},
        {"idempotency_key": "key-1"},
    ):
        with refused("23514", "process_run_observation_blocked_check", saying="parent_run_id"):
            blocked(writer, **wrong)
    for by_hand in (
        {"parent_run_id": None},
        {"parent_run_id": str(own)},
        {"error_ref": None},
        {"idempotency_key": "key-1"},
        {"evidence_type": "DRY_RUN", "lease_token": 1, "admission": {}},
    ):
        forged = {"process_run_id": str(own), **by_hand}
        with refused("23514", "process_run_observation_blocked_check"):
            owner.execute(
                "insert into dot.process_run_observation select (jsonb_populate_record(r, %s)).*"
                " from dot.process_run_observation as r where r.process_run_id = %s",
                (json.dumps(forged), run_id),
            )
    assert ledger_counts(db) == before


FORGED_COMPONENT = (
    "insert into dot.process_component_observation select (jsonb_populate_record(c, %s)).*"
    " from dot.process_component_observation as c where c.status <> 'blocked'"
)


@AMENDED
def test_no_call_stores_a_blocked_component_and_a_header_that_is_over_takes_none(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    over = [blocked(writer), observe_run(writer, status="skipped"), observe_run(writer, status="failed")]
    before = ledger_counts(db)
    with refused("23514", "process_component_observation_status_check"):
        observe_component(writer, run_id, "verifier", status="blocked", error_ref="preflight_check")
    for header in over:
        with refused("23514", "process_component_observation_header_status_check"):
            observe_component(writer, header["process_run_id"], "producer")
    assert ledger_counts(db) == before


@AMENDED
def test_a_blocked_component_that_is_put_back_from_elsewhere_is_a_simulation_and_no_view_looks_at_it(
    db: Database,
) -> None:
    define_pair(db)
    writer, owner, reader = db.session("writer"), db.session("owner"), db.session("reader")
    run_id = observe_run(writer, status="prepared")["process_run_id"]
    shown = (
        "select to_jsonb(r) from dot.v_process_run as r",
        "select to_jsonb(f) from dot.v_dot_funnel as f order by f.dot_code",
        "select to_jsonb(v) from dot.v_process_verification_v3 as v",
    )
    before = [rows(reader, query) for query in shown]
    store_component(
        owner, run_id, "verifier", "blocked", at=1, evidence_type="SIMULATED_DRY_RUN", error_ref="preflight_check"
    )
    assert [rows(reader, query) for query in shown] == before

    observe_component(writer, run_id, "producer")
    for wrong in (
        {"error_ref": None},
        {"idempotency_key": "key-1"},
        {"evidence_type": "REAL_RUN", "lease_token": 1, "admission": {}},
    ):
        forged = {"status": "blocked", "error_ref": "preflight_check", **wrong}
        with refused("23514", "process_component_observation_blocked_check"):
            owner.execute(FORGED_COMPONENT, (json.dumps(forged),))


@AMENDED
def test_the_table_itself_refuses_a_word_with_a_flag_and_a_prepared_row_that_is_no_simulation(db: Database) -> None:
    ready_for_real_runs(db)
    writer, owner = db.session("writer"), db.session("owner")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    for table, other in (
        ("process_run_observation", {"process_run_id": str(uuid.uuid4())}),
        ("process_component_observation", {"component_role": "verifier"}),
    ):
        for forged in (
            {"status": "prepared"},
            {"status": "skipped", "evidence_ref": {"skipped": True}},
            {"status": "cancelled", "evidence_ref": {}},
            {"status": "unheard"},
        ):
            with refused("23514", f"{table}_status_check"):
                owner.execute(
                    f"insert into dot.{table} select (jsonb_populate_record(t, %s)).* from dot.{table} as t",
                    (json.dumps(other | forged),),
                )


@AMENDED
def test_an_event_keeps_the_name_that_relays_subscribed_to_and_tells_the_word(db: Database) -> None:
    define_pair(db)
    for name in (
        "run.observed",
        "run.cancelled",
        "component.observed",
        "component.cancelled",
        "component.step_started",
    ):
        db.session("gatekeeper").execute("select dot.fn_event_type_set(%s, true, 'tester', 'x')", (f"process.{name}",))
    writer = db.session("writer")
    run_id = observe_run(writer, status="prepared")["process_run_id"]
    for status, role in (("prepared", "producer"), ("started", "producer"), ("skipped", "verifier")):
        observe_component(writer, run_id, role, status=status)
    observe_run(writer, status="skipped")
    blocked(writer)
    assert [(one["type"], one["payload"]["status"]) for one in poll_until(db.session("relay"), 5)] == [
        ("process.run.observed", "prepared"),
        ("process.component.observed", "prepared"),
        ("process.component.step_started", "step_started"),
        ("process.component.cancelled", "skipped"),
        ("process.run.cancelled", "skipped"),
    ]


@AMENDED
def test_a_word_is_treated_alike_whichever_way_it_was_stored(db: Database) -> None:
    """End state, counts and the funnel of what was stored before the amendment and of what is stored with it."""
    owner, reader = db.session("owner"), db.session("reader")
    shown = []
    for spelt in (BEFORE, {}):
        code = f"spelt.{uuid.uuid4()}"
        dots = [f"{code}.producer", f"{code}.verifier"]
        for dot in dots:
            db.session("cataloguer").execute("select dot.fn_dot_tool_register(%s)", (dot,))
        store_candidate(owner, code, *dots)
        states = []
        for header, parts in (
            ("prepared", []),
            ("prepared", [("producer", "prepared")]),
            ("prepared", [("producer", "step_completed"), ("verifier", "step_completed")]),
            ("skipped", []),
            ("started", [("producer", "skipped")]),
            ("started", [("producer", "step_completed"), ("verifier", "skipped")]),
            ("started", [("producer", "failed"), ("verifier", "skipped")]),
        ):
            simulated: dict[str, Any] = {"evidence_type": "SIMULATED_DRY_RUN"}
            run_id = store_run(owner, code, status=spelt.get(header, header), dot_code=dots[0], **simulated)
            for second, (role, word) in enumerate(parts, start=1):
                dot = dots[role == "verifier"]
                store_component(owner, run_id, role, spelt.get(word, word), code, at=second, dot_code=dot, **simulated)
            states.append(value(reader, "select end_state from dot.v_process_run where process_run_id = %s", run_id))
        counts = row(reader, "select * from dot.v_process_run_count where process_candidate_code = %s", code)
        funnel = rows(reader, "select * from dot.v_dot_funnel where dot_code = any(%s) order by dot_code", dots)
        reasons = value(
            reader, "select reasons from dot.v_process_verification_v3 where process_candidate_code = %s", code
        )
        counts.pop("process_candidate_code")
        shown.append((states, counts, [{**one, "dot_code": None} for one in funnel], reasons))
    assert shown[0] == shown[1]
    assert shown[0][0] == ["prepared", "open", "completed", "skipped", "skipped", "skipped", "failed"]


@AMENDED
def test_the_new_words_give_a_verdict_nothing(db: Database) -> None:
    """What is skipped under its new word is neither seen in v2 nor v3, and shows no DOT to have been invoked or observed."""
    define_pair(db)
    owner, reader = db.session("owner"), db.session("reader")
    run_id = store_run(owner, at=0)
    store_component(owner, run_id, "producer", "skipped", at=1)
    store_component(owner, run_id, "verifier", "skipped", at=2)
    found = row(reader, "select * from dot.v_process_run_runtime_v2")
    seen = {name: one for name, one in found.items() if name.startswith(("producer", "verifier", "has", "cross"))}
    assert set(seen.values()) == {False, None}, seen
    verdict = row(reader, "select verified, reasons, last_verified_run_id from dot.v_process_verification_v3")
    assert verdict == {
        "verified": False,
        "reasons": ["producer_missing", "verifier_missing"],
        "last_verified_run_id": None,
    }
    funnel = rows(reader, "select invoked, observed, simulated, verified, blocked_runs from dot.v_dot_funnel")
    assert funnel == [
        {"invoked": False, "observed": False, "simulated": False, "verified": False, "blocked_runs": 0}
    ] * 2  # fmt: skip


@AMENDED
def test_a_run_that_was_skipped_leaves_the_verdict_and_one_that_was_cancelled_before_keeps_its_meaning(
    db: Database,
) -> None:
    store_candidate(owner := db.session("owner"), PAIR)
    verified = store_run(owner, at=0)
    store_component(owner, verified, "producer", at=1)
    store_component(owner, verified, "verifier", at=2)
    reader = db.session("reader")
    verdict = "select verified, latest_real_run_id, last_verified_run_id from dot.v_process_verification_v3"
    stands = {"verified": True, "latest_real_run_id": verified, "last_verified_run_id": verified}
    assert row(reader, verdict) == stands
    store_run(owner, at=3, status="skipped")
    assert row(reader, verdict) == stands
    facts = "select latest_real_run_id, has_real_runtime, cross_component_correlation from dot.v_process_runtime_v2"
    assert list(row(reader, facts).values()) == [verified, True, True]
    assert value(reader, "select count(*) from dot.v_process_run_runtime_v2") == 1
    cancelled = store_run(owner, at=4, status="cancelled")
    assert row(reader, verdict) == {
        "verified": False,
        "latest_real_run_id": cancelled,
        "last_verified_run_id": verified,
    }


@AMENDED
def test_a_refused_call_is_shown_apart_and_is_no_run(db: Database) -> None:
    define_pair(db)
    writer, reader = db.session("writer"), db.session("reader")
    run_id = blocked(writer)["process_run_id"]
    assert value(reader, "select end_state from dot.v_process_run where process_run_id = %s", run_id) == "blocked"
    assert value(reader, "select reasons from dot.v_process_verification_v3") == ["no_run"]
    counts = "select simulated_runs, dry_runs, real_runs from dot.v_process_run_count"
    assert set(row(reader, counts).values()) == {0}
    blocked(writer)
    funnel = "select dot_code, observed, simulated, blocked_runs from dot.v_dot_funnel order by blocked_runs desc"
    assert rows(reader, funnel)[0] == {"dot_code": PRODUCER, "observed": False, "simulated": False, "blocked_runs": 2}
    assert value(reader, "select blocked_runs from dot.v_dot_funnel_total") == 2
    observe_run(writer)
    assert value(reader, "select reasons from dot.v_process_verification_v3") == ["no_real_run"]
    assert row(reader, counts)["simulated_runs"] == 1


@AMENDED
def test_the_two_words_of_one_status_are_one_row_and_one_end(db: Database) -> None:
    define_pair(db)
    owner, writer = db.session("owner"), db.session("writer")
    run_id = observe_run(writer)["process_run_id"]
    simulated: dict[str, Any] = {"evidence_type": "SIMULATED_DRY_RUN", "correlation_id": "corr-1"}
    for code in ("another", PAIR):  # what stands in another pair's, run's or role's way is nothing here
        if code != PAIR:
            store_candidate(owner, code)
            store_run(owner, code, run_id=run_id, evidence_type="SIMULATED_DRY_RUN")
        store_component(owner, run_id, "producer", "observed", code, at=1, **simulated)
    store_component(owner, run_id, "verifier", "step_started", "another", at=1, **simulated)
    store_component(owner, run_id, "verifier", "observed", "another", at=1, **simulated)
    store_component(owner, run_id, "verifier", "step_started", at=1, **simulated)
    other = observe_run(writer)["process_run_id"]
    observe_component(writer, other, "verifier", status="prepared")
    with refused("23505", "process_component_observation_pkey"):
        observe_component(writer, run_id, "producer", status="prepared")
    observe_component(writer, run_id, "verifier", status="prepared")
    with refused("23505", "process_component_observation_pkey"):
        observe_component(writer, run_id, "verifier", status="prepared")
    store_component(owner, run_id, "producer", "cancelled", at=1, **simulated)
    observe_component(writer, run_id, "verifier", status="skipped")
    for role, status, constraint in (
        ("producer", "skipped", "pkey"),
        ("producer", "completed", "terminal_key"),
        ("verifier", "completed", "terminal_key"),
        ("verifier", "skipped", "pkey"),
    ):
        with refused("23505", f"process_component_observation_{constraint}"):
            observe_component(writer, run_id, role, status=status)


def test_a_call_made_before_the_amendment_is_the_same_call_after_it_and_after_it_was_taken_back(db: Database) -> None:
    """On the same connection throughout, so that plans are those of before the switch, too."""
    define_pair(db)
    writer = db.session("writer")
    made = []
    for word in WORDS:
        observe = partial(observe_run, writer, status=word, idempotency_key=word, evidence_ref='{"rows": 3}')
        made.append((observe, observe()["process_run_id"], "process_run_id"))
    run_id = observe_run(writer)["process_run_id"]
    for role, words in (("producer", ("prepared", "started", "completed")), ("verifier", ("skipped",))):
        for word in words:
            part = partial(observe_component, writer, run_id, role, status=word, idempotency_key=f"{role}.{word}")
            made.append((part, part()["component_id"], "component_id"))
    before = ledger_counts(db)

    def all_are_replays() -> None:
        for call, identity, name in made:
            again = call()
            assert (again[name], again["created"]) == (identity, False)
        for word, other in (("prepared", "skipped"), ("skipped", "prepared"), ("skipped", "failed")):
            with refused("23505", "idempotency_payload_mismatch", saying="status"):
                observe_run(writer, status=other, idempotency_key=word, evidence_ref='{"rows": 3}')

    all_are_replays()
    upgrade(db.url, section="amendment")
    all_are_replays()
    assert {**before, "alembic_version_amendment": 1} == ledger_counts(db)
    downgrade(db.url, "base", "amendment")
    all_are_replays()
    assert before == ledger_counts(db)

    upgrade(db.url, section="amendment")
    new = observe_run(writer, status="prepared")["process_run_id"]
    assert row(db.session("reader"), STORED.format("v_process_run"), new)["status"] == "prepared"


@pytest.mark.parametrize("status", ["prepared", "skipped", "blocked"])
def test_without_the_amendment_no_new_word_is_stored(db: Database, status: str) -> None:
    define_pair(db)
    writer = db.session("writer")
    if status == "blocked":
        with refused("23514", "process_run_observation_status_check"):
            blocked(writer)
    else:
        observe_run(writer, status=status)
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation where status = %s", status) == 0
