"""The example that runs dbt, with the real dbt of .venv/dbt on a DuckDB file: its page, and how each thing that goes wrong ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper.client import lease
from dot_wrapper.client.errors import GateClosed, InputError, LeaseNotLive
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.files import ROOT
from examples import dbt_runner
from examples.dbt_runner import Dbt
from support import GATES, Database, attest, define_pair, row, rows, set_gates, value
from support.documents import Block, Session, blocks

DBT = Path(sys.prefix) / "dbt" / "bin" / "dbt"
MODEL, TEST = "model.bakery.orders", "test.bakery.not_null_orders_order_id.cf6c17daed"
CANDIDATE = f"{TEST}@{MODEL}"
UNENDING = "select count(*) as order_id from range(10000000) a, range(10000000) b where hash(a.range, b.range) = 0"

needs_dbt = pytest.mark.skipif(not DBT.exists(), reason="make dbt installs dbt in .venv/dbt and runs these tests")


@dataclass(frozen=True)
class Bakery:
    """A copy of the project of the example, and a dbt command that notes what it was called with before it is dbt."""

    project: Path
    program: Path
    calls: Path

    @property
    def dbt(self) -> Dbt:
        return Dbt(str(self.program), self.project)

    @property
    def invoked(self) -> list[str]:
        """dbt's command of each invocation so far."""
        return self.calls.read_text().split() if self.calls.exists() else []

    def write(self, model: str) -> None:
        """Replaces the model."""
        (self.project / "models" / "orders.sql").write_text('{{ config(materialized="table") }}\n' + model)

    def command(self, key: str = "today") -> list[str]:
        here = ["--project", str(self.project), "--dbt", str(self.program)]
        return [
            sys.executable,
            str(ROOT / "examples" / "dbt_runner.py"),
            CANDIDATE,
            *here,
            "--actor",
            "nightly",
            "--key",
            key,
        ]

    def start(self, db: Database, key: str = "today") -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(key),
            env={**os.environ, "DATABASE_URL": db.url_as("operator")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, db: Database, key: str = "today") -> tuple[int, str]:
        """Exit code and standard output of one start of the runner."""
        with self.start(db, key) as process:
            out, _ = process.communicate(timeout=120)
        return process.returncode, out


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as the page leaves it before the first run: parsed, so that dbt does not begin with that each time."""
    project = tmp_path_factory.mktemp("parsed") / "bakery"
    shutil.copytree(ROOT / "examples" / "bakery", project, ignore=shutil.ignore_patterns("target", "*.duckdb*"))
    subprocess.run([DBT, "parse", "--quiet", "--log-path", "target"], cwd=project, check=True)
    return project


@pytest.fixture
def bakery(db: Database, parsed: Path, tmp_path: Path) -> Iterator[Bakery]:
    """The project, its pair defined, gates open. What dbt leaves running is killed."""
    made = Bakery(tmp_path / "bakery", tmp_path / "dbt", tmp_path / "calls")
    shutil.copytree(parsed, made.project)
    made.program.write_text(f'#!/bin/sh\necho "$1" >> {made.calls}\nexec {DBT} "$@"\n')
    made.program.chmod(0o755)
    define_pair(db, CANDIDATE, MODEL, TEST)
    set_gates(db)
    attest(db)
    yield made
    for pid in processes(made.project):
        os.kill(pid, signal.SIGKILL)


def processes(project: Path) -> list[int]:
    """The dbt that work for a project."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if str(DBT).encode() in arguments and any(one.startswith(bytes(project)) for one in arguments):
            found.append(int(folder.name))
    return found


def is_at_work(bakery: Bakery) -> bool:
    """Whether dbt has begun to build the model."""
    return any(bakery.project.glob("target/dot/*/producer/run/bakery/models/orders.sql"))


def the_dbt_that_runs_the_model(bakery: Bakery) -> int:
    """Waits until dbt is at work on the model; the process."""
    deadline = time.monotonic() + 120
    while not is_at_work(bakery):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (pid,) = processes(bakery.project)
    return pid


def components(db: Database) -> list[tuple[str, str]]:
    found = rows(
        db.connect("reader"), "select component_role, status from dot.v_process_run_component order by observed_at"
    )
    return [(one["component_role"], one["status"]) for one in found]


def parts(db: Database) -> dict[str, dict[str, Any]]:
    """The end of each part."""
    query = "select * from dot.v_process_run_component where status <> 'step_started'"
    return {one["component_role"]: one for one in rows(db.connect("reader"), query)}


def reasons(db: Database) -> list[str]:
    found = row(db.connect("reader"), "select verified, reasons from dot.v_process_verification_v3")
    assert found["verified"] is (found["reasons"] == [])
    return list(found["reasons"])


@needs_dbt
@pytest.mark.usefixtures("client_programs")
def test_the_page_does_what_it_shows(db: Database, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "dbt.md").read_text(encoding="utf-8")
    shutil.copytree(
        ROOT / "examples",
        tmp_path / "examples",
        ignore=shutil.ignore_patterns("target/dot", "*.duckdb*", "__pycache__"),
    )
    environment = {
        "DATABASE_URL": db.url_as("operator"),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"], str(DBT.parent))),
    }
    _, *to_run = blocks(text)  # the first one installs dbt
    assert len(to_run) == 4
    with Session(db.url_as("operator"), tmp_path, environment) as session:
        for block in to_run:
            session.run(Block(block.language, block.text, block.line, block.shown))
    ends = parts(db)
    assert ends["verifier"]["input_ref"] == ends["producer"]["output_ref"]
    for role, end in ends.items():
        written = tmp_path / "examples" / "bakery" / "target" / "dot" / str(end["process_run_id"]) / role
        digest = hashlib.sha256((written / "run_results.json").read_bytes()).hexdigest()
        assert end["evidence_ref"]["run_results_sha256"] == digest


@needs_dbt
def test_a_test_that_fails_is_a_verifier_that_failed(db: Database, bakery: Bakery) -> None:
    bakery.write("select null::int as order_id, 'rye' as bread")
    for _ in range(2):
        assert bakery.run(db) == (1, "not verified: verifier_not_completed\n")
    assert bakery.invoked == ["run", "test"]  # of the second start nothing
    ends = parts(db)
    assert (ends["producer"]["status"], ends["verifier"]["status"]) == ("step_completed", "failed")
    assert ends["verifier"]["evidence_ref"]["failures"] == 1


@needs_dbt
def test_a_dbt_that_is_killed_is_a_producer_that_failed(db: Database, bakery: Bakery) -> None:
    bakery.write(UNENDING)
    with bakery.start(db) as runner:
        os.kill(the_dbt_that_runs_the_model(bakery), signal.SIGKILL)
        assert runner.communicate(timeout=60)[0] == "not verified: producer_not_completed, verifier_missing\n"
    assert runner.returncode == 1
    assert components(db) == [("producer", "step_started"), ("producer", "failed")]
    assert bakery.invoked == ["run"]


@needs_dbt
def test_a_runner_that_is_killed_leaves_no_end_and_dbt_is_not_started_again(db: Database, bakery: Bakery) -> None:
    bakery.write(UNENDING)
    with bakery.start(db) as runner:
        orphan = the_dbt_that_runs_the_model(bakery)
        assert bakery.run(db) == (3, f"refused: another holder has the lease of {CANDIDATE}\n")
        runner.kill()
    os.kill(orphan, signal.SIGKILL)
    assert components(db) == [("producer", "step_started")]
    end_the_lease(db)
    assert bakery.run(db) == (1, "not verified: producer_not_completed, verifier_missing\n")
    assert components(db) == [("producer", "step_started"), ("producer", "failed")]
    assert bakery.invoked == ["run"]


@needs_dbt
def test_a_gate_that_is_closed_while_dbt_runs_stops_what_follows(
    db: Database, bakery: Bakery, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = dbt_runner.wait

    def until_the_gate_is_closed(*given: Any) -> None:
        wait(*given)
        set_gates(db, "false", GATES[1])

    monkeypatch.setattr(dbt_runner, "wait", until_the_gate_is_closed)
    with pytest.raises(GateClosed):
        dbt_runner.execute(ledger, bakery.dbt, CANDIDATE, "nightly", "today")
    assert components(db) == [("producer", "step_started")]
    assert bakery.run(db)[0] == 3
    assert bakery.invoked == ["run"]
    set_gates(db, "true", GATES[1])
    assert bakery.run(db) == (0, "verified\n")
    assert bakery.invoked == ["run", "test"]
    assert value(db.connect("reader"), "select real_runs from dot.v_process_run_count") == 1


@needs_dbt
def test_with_a_closed_gate_nothing_runs_and_nothing_is_recorded(db: Database, bakery: Bakery) -> None:
    set_gates(db, "false", GATES[2])
    assert bakery.run(db) == (3, f"refused: REAL_RUN is refused: gate {GATES[2]} is off\n")
    assert bakery.invoked == []
    assert rows(db.connect("reader"), "select * from dot.v_process_run") == []


@needs_dbt
def test_a_run_that_loses_its_lease_loses_its_dbt(
    db: Database, bakery: Bakery, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bakery.write(UNENDING)
    wait = dbt_runner.wait

    def until_the_lease_is_over(*given: Any) -> None:
        the_dbt_that_runs_the_model(bakery)
        end_the_lease(db)
        wait(*given)

    monkeypatch.setattr(lease, "LEASE_SECONDS", 3)
    monkeypatch.setattr(dbt_runner, "wait", until_the_lease_is_over)
    with pytest.raises(LeaseNotLive, match="was to end while dbt ran"):
        dbt_runner.execute(ledger, bakery.dbt, CANDIDATE, "nightly", "today")
    assert processes(bakery.project) == []
    assert components(db) == [("producer", "step_started")]


def end_the_lease(db: Database) -> None:
    gatekeeper = db.connect("gatekeeper")
    assert value(gatekeeper, "select dot.fn_dot_iu_runtime_lease_end(%s, 'ana', 'it is gone')", f"dot_exec:{CANDIDATE}")


RESULTS = '{{"metadata": {{"invocation_id": "0-1"}}, "results": [{}]}}'
RAN = '{"unique_id": "model.bakery.orders", "status": "success", "failures": null, "relation_name": "orders"}'
OTHER = '{"unique_id": "model.bakery.sales", "status": "success"}'
HOOK = '{"unique_id": "operation.bakery.bakery-on-run-end-0", "status": "success"}'


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (RESULTS.format(RAN), "completed"),
        (RESULTS.format(f"{RAN}, {HOOK}"), "completed"),
        (RESULTS.format(RAN.replace("success", "warn")), "completed"),
        (RESULTS.format(RAN.replace("success", "error")), "failed"),
        (RESULTS.format(RAN.replace("success", "skipped")), "failed"),
        (RESULTS.format(RAN.replace("success", "a word that dbt has not had so far")), "failed"),
        (RESULTS.format(f"{RAN}, {HOOK}".replace('end-0", "status": "success', 'end-0", "status": "error')), "failed"),
        (RESULTS.format(f"{RAN}, {OTHER}"), "failed"),
        (RESULTS.format(OTHER), "failed"),
        (RESULTS.format(""), "failed"),
        (RESULTS.format(RAN)[:-10], "failed"),
        (None, "failed"),
    ],
)
def test_a_part_is_completed_where_dbt_says_so_of_this_node_alone(
    tmp_path: Path, written: str | None, status: str
) -> None:
    if written is not None:
        (tmp_path / "run_results.json").write_text(written)
    ended, refs = dbt_runner.outcome(tmp_path, MODEL)
    assert ended == status
    assert ("error_ref" in refs) == (status == "failed")


@pytest.mark.parametrize(
    ("unique_id", "called"),
    [
        (MODEL, ["run", "--select", "package:bakery,orders", "--write-json"]),
        ("model.bakery.orders.v2", ["run", "--select", "package:bakery,orders.v2", "--write-json"]),
        ("seed.bakery.prices", ["seed", "--select", "package:bakery,prices", "--write-json"]),
        (
            TEST,
            [
                "test",
                "--select",
                "package:bakery,not_null_orders_order_id",
                "--indirect-selection",
                "empty",
                "--write-json",
            ],
        ),
    ],
)
def test_dbt_is_asked_for_one_node(unique_id: str, called: list[str]) -> None:
    assert dbt_runner.arguments(unique_id) == called


@pytest.mark.parametrize(
    "code", ["dot.load_orders", "model.bakery", "model.bakery.orders+", "model.bakery.--full-refresh"]
)
def test_a_pair_that_dbt_cannot_run_is_refused_before_anything_is_recorded(
    db: Database, ledger: Ledger, code: str
) -> None:
    if "--" not in code:
        define_pair(db, "a.pair", code, TEST)
        with pytest.raises(InputError, match="not the unique id"):
            dbt_runner.execute(ledger, Dbt("dbt", Path()), "a.pair", "nightly", "today")
    with pytest.raises(InputError, match="not the unique id"):
        dbt_runner.arguments(code)
    assert rows(db.connect("reader"), "select * from dot.v_process_run") == []


@pytest.mark.parametrize("given", [["--dbt", "/nowhere/dbt"], ["--dbt", "true"]])
def test_without_dbt_or_a_project_it_says_so_in_one_line(tmp_path: Path, given: list[str]) -> None:
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "dbt_runner.py",
            CANDIDATE,
            "--project",
            tmp_path,
            "--actor",
            "a",
            "--key",
            "k",
            *given,
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)
