"""``require`` and ``board``: what a script and a person are told of candidates, by real runs on a real server."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from dot_wrapper.client.caller_path import Run, caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations import require
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    DotWrapper,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
)

OTHER = "shop.stock"


def real_run(ledger: Ledger, *, refs: bool = False, verified: bool = True, candidate: str = PAIR) -> Run:
    """A real run of a pair, with both parts or the producer alone."""
    with caller_path(ledger, ledger.pair(candidate), evidence_type="REAL_RUN", actor="ci") as run:
        run.producer("completed", output_ref="file:///out" if refs else None)
        if verified:
            run.verifier("completed", input_ref="file:///out" if refs else None)
    return run


@pytest.fixture
def ready(db: Database) -> Database:
    ready_for_real_runs(db)
    define_pair(db, OTHER)
    return db


def test_a_verified_candidate_is_exit_code_0_and_any_other_4_with_its_reasons(
    ready: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    outcome = dot_wrapper("require", PAIR, OTHER)
    assert (outcome.code, outcome.out.splitlines()) == (
        4,
        [f"{PAIR}: no_real_run", f"{OTHER}: no_real_run", "2 candidates, 0 verified"],
    )
    real_run(ledger, verified=False)
    outcome = dot_wrapper("require", PAIR)
    assert (outcome.code, outcome.out.splitlines()[0]) == (4, f"{PAIR}: verifier_missing")
    real_run(ledger)
    outcome = dot_wrapper("require", PAIR)
    assert (outcome.code, "1 candidate, 1 verified, the oldest 0 s ago" in outcome.out) == (0, True), outcome.out
    assert dot_wrapper("require", "--all").code == 4
    observe_run(ready.session("writer"))  # a simulated run changes nothing
    assert dot_wrapper("require", PAIR).code == 0


def test_an_old_verdict_a_caveat_and_another_run_are_not_accepted(
    ready: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    run = real_run(ledger)
    assert dot_wrapper("require", PAIR, "--max-age", "1h").code == 0
    outcome = dot_wrapper("require", PAIR, "--max-age", "0s")
    assert (outcome.code, f"{PAIR}: too_old" in outcome.out) == (4, True)
    outcome = dot_wrapper("require", PAIR, "--strict")
    assert (outcome.code, f"{PAIR}: same_session_actor, output_not_named, verified" in outcome.out) == (4, True)
    real_run(ledger, refs=True)
    assert f"{PAIR}: same_session_actor, verified" in dot_wrapper("require", PAIR, "--strict").out
    assert dot_wrapper("require", PAIR, "--run", str(run.process_run_id)).code == 0
    newer = real_run(ledger, verified=False)
    assert dot_wrapper("require", PAIR).code == 4, "the latest real run decides"
    assert dot_wrapper("require", PAIR, "--run", str(run.process_run_id)).code == 0
    assert dot_wrapper("require", PAIR, "--run", str(newer.process_run_id)).code == 4
    simulated = observe_run(ready.session("writer"))["process_run_id"]
    outcome = dot_wrapper("require", PAIR, "--run", str(simulated), "--json")
    assert (outcome.code, outcome.json[0]["missing"], outcome.json[0]["verified"]) == (4, ["no_real_run"], False)


def test_a_superseded_candidate_is_not_accepted_and_names_the_one_that_follows(
    ready: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    real_run(ledger)
    ready.session("cataloguer").execute(
        "select dot.fn_process_candidate_define(%s, %s, %s, 'tester', p_supersedes => %s)",
        ("shop.orders.2", PRODUCER, VERIFIER, PAIR),
    )
    outcome = dot_wrapper("require", PAIR)
    assert (outcome.code, f"{PAIR}: superseded (require shop.orders.2)" in outcome.out) == (4, True), outcome.out
    assert [one["candidate"] for one in dot_wrapper("require", "--all", "--json").json] == ["shop.orders.2", OTHER]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("no.such",), 3),
        ((PAIR, "no.such"), 3),
        ((), 2),
        ((PAIR, "--all"), 2),
        ((PAIR, "--model", "orders"), 2),
        (("--all", "--model", "no_such_producer"), 2),
        ((PAIR, "--max-age", "soon"), 2),
        ((PAIR, "--wait", "-1m"), 2),
        ((PAIR, "--max-age", ""), 2),  # the variable of a script that is not set
        ((PAIR, "--wait", ""), 2),
        ((PAIR, "--model", ""), 2),
        (("--all", "--model", ""), 2),
        ((PAIR, "--run", "not-a-run"), 2),
    ],
)
def test_what_cannot_be_looked_at_is_never_a_verdict(
    ready: Database, dot_wrapper: DotWrapper, arguments: tuple[str, ...], code: int
) -> None:
    outcome = dot_wrapper("require", *arguments)
    assert (outcome.code, outcome.out) == (code, "")


def test_candidates_are_chosen_by_their_producer(ready: Database, ledger: Ledger, dot_wrapper: DotWrapper) -> None:
    define_pair(ready, "shop.prices", "dot.load_prices")
    chosen = {
        model: [one["candidate"] for one in dot_wrapper("require", "--all", "--model", model, "--json").json]
        for model in ("load_prices", "dot.load_prices", "load_orders")
    }
    assert chosen == {"load_prices": ["shop.prices"], "dot.load_prices": ["shop.prices"], "load_orders": [PAIR, OTHER]}
    assert dot_wrapper("require", "--all", "--model", "prices").code == 2, "a part of a name is not its end"


def test_a_wait_ends_when_the_run_in_flight_is_verified_or_cannot_be_any_more(
    ready: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(require, "LOOK_AGAIN_SECONDS", 0.05)
    looked = threading.Event()

    def awaited(end: Callable[[Run], object]) -> Sequence[require.Answer]:
        """What a wait answers while a runner ends the run after the wait has looked once."""
        looked.clear()
        started = threading.Event()

        def runner() -> None:
            with ledger.another() as own, caller_path(own, own.pair(PAIR), evidence_type="REAL_RUN", actor="ci") as run:
                run.producer("completed")
                started.set()
                assert looked.wait(30)
                end(run)

        thread = threading.Thread(target=runner)
        thread.start()
        assert started.wait(30)
        look = partial(require.examine, ledger, require.Demand([PAIR]))
        answers = require.await_verdicts(look, timedelta(seconds=60), lambda _count: looked.set())
        thread.join(30)
        return answers

    (answer,) = awaited(lambda run: run.verifier("completed"))
    assert answer.missing == ()
    (answer,) = awaited(lambda run: run.verifier("failed"))
    assert (answer.missing, answer.in_flight) == (("verifier_not_completed",), False)


def test_a_wait_ends_at_once_where_one_candidate_cannot_be_verified_any_more(ready: Database, ledger: Ledger) -> None:
    with caller_path(ledger, ledger.pair(OTHER), evidence_type="REAL_RUN", actor="ci") as run:
        run.producer("failed")

    def waits(count: int) -> None:
        raise AssertionError(f"it waits for {count}, and the answer is known")

    look = partial(require.examine, ledger, require.Demand([PAIR, OTHER]))
    answers = require.await_verdicts(look, timedelta(minutes=1), waits)
    assert [(one.candidate, one.in_flight) for one in answers] == [(PAIR, True), (OTHER, False)]


def test_a_run_that_can_never_verify_is_not_waited_for(
    ready: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    simulated = observe_run(ready.session("writer"))["process_run_id"]  # open, and a simulation to its end
    began = time.monotonic()
    outcome = dot_wrapper("require", PAIR, "--run", str(simulated), "--wait", "1m", "--json")
    (answer,) = outcome.json
    assert (outcome.code, answer["run"], answer["in_flight"]) == (4, str(simulated), False), outcome
    elsewhere = real_run(ledger, candidate=OTHER).process_run_id
    for unknown in (elsewhere, uuid.uuid4()):
        outcome = dot_wrapper("require", PAIR, "--run", str(unknown), "--wait", "1m", "--json")
        assert (outcome.code, outcome.json["error"]["message"]) == (3, f"{unknown} is no run of {PAIR}")
        assert f"dot-wrapper runs --candidate {PAIR}" in outcome.err
    assert time.monotonic() - began < 60, "it waited"
    with caller_path(ledger, ledger.pair(PAIR), evidence_type="REAL_RUN", actor="ci") as run:
        run.producer("completed")
        named = require.Demand([PAIR], run=run.process_run_id)
        assert [one.in_flight for one in require.examine(ledger, named)] == [True]


def test_the_board_shows_what_was_last_seen_failed_first(ready: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(ready, "shop.alpha")
    writer = ready.session("writer")
    failed = observe_run(writer, process_candidate_code=OTHER)["process_run_id"]
    observe_component(writer, failed, "verifier", process_candidate_code=OTHER, status="failed")
    passed = observe_run(writer, occurred_at=datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC))["process_run_id"]
    observe_component(writer, passed, "verifier")
    board = dot_wrapper("board", "--json").json
    assert [(one["process_candidate_code"], one["last_seen"]) for one in board] == [
        (OTHER, "failed"),
        (PAIR, "passed"),
        ("shop.alpha", None),
    ]
    assert (board[1]["ran_at"], board[1]["actor"], board[1]["last_seen_as"]) == (
        "2026-03-02T04:05:06+00:00",
        "tester",
        "SIMULATED_DRY_RUN",
    )
    for state, expected in (("failed", [OTHER]), ("passed", [PAIR]), ("never", ["shop.alpha"]), ("warned", [])):
        chosen = dot_wrapper("board", "--state", state, "--json").json
        assert [one["process_candidate_code"] for one in chosen] == expected
    outcome = dot_wrapper("board", "--limit", "1")
    assert "3 candidates, 0 verified\nand 2 more: --limit, --state, --model" in outcome.out


def test_the_board_shows_the_newest_of_a_chain_and_a_model_by_the_end_of_its_code(
    ready: Database, dot_wrapper: DotWrapper
) -> None:
    define = "select dot.fn_process_candidate_define(%s, %s, %s, 'tester', p_supersedes => %s)"
    ready.session("cataloguer").execute(define, ("shop.orders.2", PRODUCER, VERIFIER, PAIR))
    codes = [one["process_candidate_code"] for one in dot_wrapper("board", "--json").json]
    assert codes == ["shop.orders.2", OTHER]
    assert json.loads(dot_wrapper("board", "--superseded", "--json").out)[0]["superseded_by"] == "shop.orders.2"
    assert len(dot_wrapper("board", "--model", "load_orders", "--json").json) == 2
    assert dot_wrapper("board", "--model", "orders", "--json").json == []
