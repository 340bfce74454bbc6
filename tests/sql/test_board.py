"""The board and why, as a reader sees them by SQL alone: the verdict, the counts, and a sentence for each word."""

from __future__ import annotations

import re
import uuid

from support import (
    AMENDED,
    IN_BOTH_STATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    acquire,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
)

SENTENCES = "select word, sentence from dot.v_process_reason"


def sentences(db: Database, *words: str) -> dict[str, str]:
    """What v_process_reason says of these words."""
    said = {one["word"]: one["sentence"] for one in rows(db.session("reader"), SENTENCES)}
    return {word: said[word] for word in words}


def real_run(db: Database, candidate: str = PAIR, *roles: str) -> uuid.UUID:
    """A real run with these parts completed, by one login and without any reference."""
    writer = db.session("writer")
    token = acquire(writer, candidate)
    run_id: uuid.UUID = observe_run(
        writer, process_candidate_code=candidate, evidence_type="REAL_RUN", lease_token=token
    )["process_run_id"]
    for role in roles:
        observe_component(writer, run_id, role, process_candidate_code=candidate, lease_token=token)
    return run_id


@IN_BOTH_STATES
def test_each_word_that_a_verdict_can_say_has_one_sentence_and_no_other_has(db: Database) -> None:
    words = rows(db.session("reader"), "select * from dot.v_process_reason")
    views = ("v_process_verification_v3", "v_process_run_verification_v3", "v_process_run_why")
    said: set[str] = set()
    for view in views:
        definition = value(db.session("owner"), "select pg_get_viewdef(%s::regclass)", f"dot.{view}")
        said |= set(re.findall(r"'([a-z]+(?:_[a-z]+)+)'::text", definition))
    assert sorted(one["word"] for one in words) == sorted(said - {"step_completed"})
    assert len({one["sentence"] for one in words}) == len(words)
    caveats = {one["word"] for one in words if one["kind"] == "caveat"}
    assert caveats == {"same_session_actor", "output_not_named", "other_output", "older_than_max_age"}
    assert {one["kind"] for one in words} == {"reason", "caveat"}


def test_the_board_shows_of_each_candidate_its_pair_its_verdict_and_its_runs(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.never")
    run_id = real_run(db, PAIR, "producer", "verifier")
    observe_run(db.session("writer"))
    reader = db.session("reader")
    never, verified = rows(reader, "select * from dot.v_process_board order by process_candidate_code")
    assert [one["process_candidate_code"] for one in (never, verified)] == ["shop.never", PAIR]
    assert {(one["producer_dot_code"], one["verifier_dot_code"]) for one in (never, verified)} == {(PRODUCER, VERIFIER)}
    assert (never["verified"], never["reasons"], never["caveats"]) == (False, ["no_run"], [])
    assert never["explanations"] == sentences(db, "no_run")
    assert (verified["verified"], verified["independently_verified"], verified["reasons"]) == (True, False, [])
    assert verified["caveats"] == ["same_session_actor", "output_not_named"]
    assert verified["explanations"] == sentences(db, "same_session_actor", "output_not_named")
    assert (verified["latest_real_run_id"], verified["last_verified_run_id"]) == (run_id, run_id)
    assert (verified["simulated_runs"], verified["dry_runs"], verified["real_runs"]) == (1, 0, 1)


def test_a_verdict_without_a_caveat_has_nothing_to_explain(db: Database) -> None:
    ready_for_real_runs(db)
    producer, verifier = db.session("writer"), db.session("operator")
    token = acquire(producer)
    run_id = observe_run(producer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(producer, run_id, "producer", lease_token=token, output_ref="s3://out")
    producer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
    observe_component(verifier, run_id, "verifier", lease_token=acquire(verifier), input_ref="s3://out")
    board = row(db.session("reader"), "select independently_verified, explanations from dot.v_process_board")
    assert board == {"independently_verified": True, "explanations": {}}
    assert row(db.session("reader"), "select independently_verified, explanations from dot.v_process_run_why") == board


def test_why_of_a_run_is_not_that_of_another_candidate_s_run_with_its_id(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.other")
    run_id = real_run(db, PAIR, "producer", "verifier")
    writer, said = db.session("writer"), {"process_candidate_code": "shop.other"}
    token = acquire(writer, "shop.other")
    observe_run(writer, process_run_id=run_id, evidence_type="REAL_RUN", lease_token=token, **said)
    why = rows(db.session("reader"), "select process_candidate_code, verified from dot.v_process_run_why order by 1")
    assert [tuple(one.values()) for one in why] == [(PAIR, True), ("shop.other", False)]


@IN_BOTH_STATES
def test_the_board_says_what_the_verdicts_and_the_counts_say(db: Database) -> None:
    ready_for_real_runs(db)
    for candidate, roles in {"shop.a": (), "shop.b": ("producer",), "shop.c": ("producer", "verifier")}.items():
        define_pair(db, candidate)
        real_run(db, candidate, *roles)
    db.session("cataloguer").execute(
        "select dot.fn_process_candidate_define('shop.d', 'dot.load_orders', 'dot.check_orders', 'tester',"
        " p_supersedes => 'shop.c')"
    )
    reader = db.session("reader")
    board = rows(reader, "select * from dot.v_process_board order by process_candidate_code")
    assert [one["superseded_by"] for one in board] == [None, None, "shop.d", None, None]
    for view in ("v_process_verification_v3", "v_process_run_count"):
        said = rows(reader, f"select * from dot.{view} order by process_candidate_code")
        for mine, other in zip(board, said, strict=True):
            assert {key: mine[key] for key in other.keys() & mine.keys()} == {
                key: other[key] for key in other.keys() & mine.keys()
            }
            assert mine["explanations"] == sentences(db, *mine["reasons"], *mine["caveats"])


def test_why_of_a_simulated_or_dry_run_is_that_it_is_not_real(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    runs = {
        "SIMULATED_DRY_RUN": observe_run(writer)["process_run_id"],
        "DRY_RUN": observe_run(writer, evidence_type="DRY_RUN", lease_token=token)["process_run_id"],
    }
    for evidence_type, run_id in runs.items():
        why = row(db.session("reader"), "select * from dot.v_process_run_why where process_run_id = %s", run_id)
        assert (why["evidence_type"], why["end_state"]) == (evidence_type, "open")
        assert (why["verified"], why["independently_verified"]) == (False, False)
        assert (why["reasons"], why["caveats"]) == (["not_a_real_run"], [])
        assert why["explanations"] == sentences(db, "not_a_real_run")
        assert why["same_session_actor"] is None


def test_why_of_a_real_run_is_what_its_verdict_says(db: Database) -> None:
    ready_for_real_runs(db)
    reader = db.session("reader")
    for roles in ((), ("producer",), ("producer", "verifier")):
        run_id = real_run(db, PAIR, *roles)
        why = row(reader, "select * from dot.v_process_run_why where process_run_id = %s", run_id)
        said = row(reader, "select * from dot.v_process_run_verification_v3 where process_run_id = %s", run_id)
        assert {key: why[key] for key in why.keys() & said.keys()} == {
            key: said[key] for key in why.keys() & said.keys()
        }
        assert {
            "verified",
            "reasons",
            "caveats",
            "independently_verified",
            "same_session_actor",
        } < why.keys() & said.keys()
        assert why["explanations"] == sentences(db, *said["reasons"], *said["caveats"])


ON = "select is_on, is_validated from dot.v_dot_amendment"


def test_without_the_amendment_it_is_said_to_be_off(db: Database) -> None:
    """Whatever another table's constraints are called."""
    db.session("owner").execute(
        "create table dot.of_a_host (n integer constraint process_run_observation_blocked_check check (n > 0))"
    )
    for role in ("reader", "writer"):
        assert row(db.session(role), ON) == {"is_on": False, "is_validated": False}
    with refused("42501"):
        db.session("relay").execute(ON)


@AMENDED
def test_with_the_amendment_it_is_said_to_be_on_and_whether_it_was_validated(db: Database) -> None:
    assert row(db.session("reader"), ON) == {"is_on": True, "is_validated": True}
    constraint = "process_run_observation_blocked_check"
    (checked,) = rows(
        db.session("owner"),
        "select pg_get_constraintdef(oid) as text from pg_constraint where conname = %s",
        constraint,
    )
    db.session("owner").execute(
        f"alter table dot.process_run_observation drop constraint {constraint};"
        f" alter table dot.process_run_observation add constraint {constraint} {checked['text']} not valid".encode()
    )
    assert row(db.session("writer"), ON) == {"is_on": True, "is_validated": False}
