"""The example of a runner: with open gates its real run is verified, and a gate that is closed in the middle stops it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dot_wrapper.client.caller_path import Run
from dot_wrapper.client.errors import GateClosed
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.client.path import Part
from dot_wrapper.client.run_pair import Outcome, run_pair
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


def execute(ledger: Ledger, produce: Callable[[Run], str], verify: Callable[[Run, Part], bool]) -> Outcome:
    """What the example does, with other functions."""
    return run_pair(ledger, PAIR, produce=produce, verify=verify, actor="nightly", key="today")


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
def test_a_gate_that_is_closed_in_the_middle_stops_the_run(db: Database, ledger: Ledger, gate: str) -> None:
    ready_for_real_runs(db)

    def produce(run: Run) -> str:
        set_gates(db, "false", gate)
        return runner.produce(run)

    def verify(_run: Run, _part: Part) -> bool:
        raise AssertionError("what came next was run")

    with pytest.raises(GateClosed) as refused:
        execute(ledger, produce, verify)
    assert refused.value.constraint == f"gate_{gate.split('.')[1]}_check"
    run = row(db.connect("reader"), "select end_state, components from dot.v_process_run")
    assert run == {"end_state": "stale", "components": 1}
    verdict = row(db.connect("reader"), "select verified, reasons from dot.v_process_verification_v3")
    assert verdict == {"verified": False, "reasons": ["producer_not_completed", "verifier_missing"]}


def test_a_second_start_of_the_same_run_is_refused_before_it_invokes_anything(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)

    def produce(run: Run) -> str:
        second = run_example(db)
        assert (second.returncode, second.stdout) == (3, f"refused: another holder has the lease of {PAIR}\n")
        return runner.produce(run)

    assert execute(ledger, produce, runner.verify).verified


def test_the_verifier_sees_what_is_wrong(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)

    def produce(run: Run) -> str:
        uri = runner.produce(run)
        Path(uri.removeprefix("file://")).write_text("1\n2\n", encoding="utf-8")
        return uri

    assert execute(ledger, produce, runner.verify).reasons == ("verifier_not_completed",)


def test_a_server_that_is_down_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, PAIR, "--actor", "nightly", "--key", "today"],
        env={**os.environ, "DATABASE_URL": "postgresql://x@/x?host=/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)
