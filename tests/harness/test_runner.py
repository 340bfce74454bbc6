"""The example of a runner: with open gates its real run is verified, and a gate that is closed in the middle stops it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples import runner
from harness.caller_path import Run
from harness.errors import GateClosed
from harness.ledger import Ledger
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
