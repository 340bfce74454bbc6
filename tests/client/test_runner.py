"""The example of a runner: with open gates its real run is verified, and a gate that is closed in the middle stops it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dot_wrapper.client.caller_path import Run
from dot_wrapper.client.errors import GateClosed, LeaseNotLive
from dot_wrapper.client.ledger import Ledger
from examples import runner
from support import GATES, PAIR, Database, define_pair, ready_for_real_runs, row, rows, set_gates, value

EXAMPLE = Path(__file__).parents[2] / "examples" / "runner.py"


def run_example(db: Database, key: str = "today") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE, PAIR, "--actor", "nightly", "--key", key],
        env={**os.environ, "DATABASE_URL": db.url_as("operator")},
        capture_output=True,
        text=True,
    )


def test_a_real_run_of_a_harmless_pair_becomes_verified(db: Database) -> None:
    ready_for_real_runs(db)
    done = run_example(db)
    assert (done.returncode, done.stdout, done.stderr) == (0, "verified\n", "")
    again = run_example(db)
    assert (again.returncode, again.stdout) == (0, "verified\n")
    assert value(db.connect("reader"), "select real_runs from dot.v_process_run_count") == 1


def test_with_closed_gates_nothing_is_run_and_nothing_is_recorded(db: Database) -> None:
    define_pair(db)
    done = run_example(db)
    assert done.returncode == 3
    assert done.stdout == "refused: REAL_RUN is refused: gate iu_core.operator_runtime_enabled is off\n"
    assert rows(db.connect("reader"), "select * from dot.v_process_run") == []


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_that_is_closed_in_the_middle_stops_the_run(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    ready_for_real_runs(db)
    harmless = runner.produce

    def produce(run: Run) -> Path:
        set_gates(db, "false", gate)
        return harmless(run)

    verified: list[Path] = []
    monkeypatch.setattr(runner, "produce", produce)
    monkeypatch.setattr(runner, "verify", verified.append)
    with pytest.raises(GateClosed) as refused:
        runner.execute(ledger, PAIR, "nightly", "today")
    assert refused.value.constraint == f"gate_{gate.split('.')[1]}_check"
    assert verified == []  # what came next was not run
    run = row(db.connect("reader"), "select end_state, components from dot.v_process_run")
    assert run == {"end_state": "stale", "components": 1}
    verdict = row(db.connect("reader"), "select verified, reasons from dot.v_process_verification_v3")
    assert verdict == {"verified": False, "reasons": ["producer_not_completed", "verifier_missing"]}


def test_a_dot_that_has_ended_is_not_invoked_again(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_for_real_runs(db)
    invoked: list[str] = []
    produce, verify = runner.produce, runner.verify

    def counted_produce(run: Run) -> Path:
        invoked.append("producer")
        return produce(run)

    def counted_verify(output: Path) -> bool:
        invoked.append("verifier")
        return verify(output)

    monkeypatch.setattr(runner, "produce", counted_produce)
    monkeypatch.setattr(runner, "verify", counted_verify)
    for _ in range(2):
        run = runner.execute(ledger, PAIR, "nightly", "today")
        assert runner.verdict(ledger, run) == (True, [])
    assert invoked == ["producer", "verifier"]


def test_a_run_that_was_interrupted_goes_on_where_it_stood(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_for_real_runs(db)

    def interrupted(_output: Path) -> bool:
        raise KeyboardInterrupt

    verify = runner.verify
    monkeypatch.setattr(runner, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.execute(ledger, PAIR, "nightly", "today")
    monkeypatch.setattr(runner, "verify", verify)
    monkeypatch.setattr(runner, "produce", lambda _run: pytest.fail("the producer had completed"))
    run = runner.execute(ledger, PAIR, "nightly", "today")
    assert runner.verdict(ledger, run) == (True, [])


def test_a_second_start_of_the_same_run_is_refused_before_it_invokes_anything(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_for_real_runs(db)
    harmless = runner.produce

    def produce(run: Run) -> Path:
        second = run_example(db)
        assert (second.returncode, second.stdout) == (3, f"refused: another holder has the lease of {PAIR}\n")
        return harmless(run)

    monkeypatch.setattr(runner, "produce", produce)
    assert runner.verdict(ledger, runner.execute(ledger, PAIR, "nightly", "today")) == (True, [])


def test_a_lease_that_ran_out_stops_the_run_before_the_verifier(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_for_real_runs(db)
    monkeypatch.setattr(Run, "renew", lambda _run: False)
    monkeypatch.setattr(runner, "verify", lambda _output: pytest.fail("another run may have the pair"))
    with pytest.raises(LeaseNotLive):
        runner.execute(ledger, PAIR, "nightly", "today")


def test_a_server_that_is_down_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, PAIR, "--actor", "nightly", "--key", "today"],
        env={**os.environ, "DATABASE_URL": "postgresql://x@/x?host=/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)


def test_a_producer_that_fails_is_recorded_as_failed(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_for_real_runs(db)

    def produce(run: Run) -> Path:
        raise FileNotFoundError(run.process_run_id)

    monkeypatch.setattr(runner, "produce", produce)
    with pytest.raises(FileNotFoundError):
        runner.execute(ledger, PAIR, "nightly", "today")
    run = row(db.connect("reader"), "select end_state from dot.v_process_run")
    assert run == {"end_state": "failed"}
