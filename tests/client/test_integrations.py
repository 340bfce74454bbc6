"""The examples of programs around run_pair, as their authors would start them, behind open gates on a real server."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dot_wrapper.files import ROOT
from support import (
    GATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    define_pair,
    ready_for_real_runs,
    rows,
    set_gates,
    wait_until,
)

INTEGRATIONS = ROOT / "examples" / "integrations"
WRITES = f"{sys.executable} -c " + shlex.quote("import sys; open(sys.argv[1], 'w').write('1 2 3')")
READS = f"{sys.executable} -c " + shlex.quote("import sys; sys.exit(open(sys.argv[1]).read() != '1 2 3')")
WAITS = f"{sys.executable} -c " + shlex.quote("import sys; open(sys.argv[1], 'w').close(); sys.stdin.read()")


def started(db: Database, program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(INTEGRATIONS / program), *arguments],
        env={**os.environ, "DATABASE_URL": db.url_as("operator")},
        stdin=subprocess.PIPE,  # WAITS reads it to its end
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(db: Database, program: str, *arguments: str) -> tuple[int, str]:
    with started(db, program, *arguments) as process:
        out, _ = process.communicate(timeout=120)
    return process.returncode, out


def parts_of(reader: Connection) -> list[tuple[str, str]]:
    found = rows(reader, "select component_role, status from dot.v_process_run_component order by observed_at")
    return [(one["component_role"], one["status"]) for one in found]


def parts(db: Database) -> list[tuple[str, str]]:
    with db.connect("reader") as reader:
        return parts_of(reader)


def wait_for_parts(db: Database, expected: list[tuple[str, str]], unless: Callable[[], object] = lambda: None) -> None:
    with db.connect("reader") as reader:
        wait_until(lambda: parts_of(reader) == expected, seconds=120, unless=unless)


def test_two_programs_are_run_and_verified_and_not_run_again(db: Database, tmp_path: Path) -> None:
    ready_for_real_runs(db)
    output = tmp_path / "out"
    assert finished(db, "with_subprocess.py", PAIR, "a", str(output), WRITES, READS) == (0, "verified\n")
    output.unlink()
    assert finished(db, "with_subprocess.py", PAIR, "a", str(output), WRITES, READS) == (0, "verified\n")
    assert not output.exists(), "nothing was run again"
    failed = finished(db, "with_subprocess.py", PAIR, "b", str(output), READS, READS)
    assert failed == (0, "not verified: producer_not_completed, verifier_missing\n")


def test_a_program_is_killed_when_a_gate_is_closed(db: Database, tmp_path: Path) -> None:
    ready_for_real_runs(db)
    output = tmp_path / "out"
    with started(db, "with_subprocess.py", PAIR, "a", str(output), WAITS, READS) as process:
        wait_until(output.exists)
        set_gates(db, "false", GATES[0])
        assert process.wait(timeout=120) == 1
        assert process.stderr
        assert "GateClosed" in process.stderr.read()
    assert parts(db) == [("producer", "step_started")]


def test_a_killed_program_s_run_goes_on_where_it_stood(db: Database, tmp_path: Path) -> None:
    ready_for_real_runs(db)
    output = tmp_path / "out"
    with started(db, "with_subprocess.py", PAIR, "a", str(output), WRITES, WAITS) as process:
        wait_for_parts(db, [("producer", "step_started"), ("producer", "step_completed"), ("verifier", "step_started")])
        wait_until(lambda: output.read_text() == "")
        process.kill()
    output.write_text("1 2 3")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_dot_iu_runtime_lease_end(%s, 'ana', 'it was killed')", (f"dot_exec:{PAIR}",))
    assert finished(db, "with_subprocess.py", PAIR, "a", str(output), "false", READS) == (0, "verified\n")


def test_many_pairs_are_run_at_once_on_asyncio(db: Database) -> None:
    ready_for_real_runs(db)
    pairs = [PAIR, *(f"shop.pair_{number}" for number in range(5))]
    for pair in pairs[1:]:
        define_pair(db, pair, PRODUCER, VERIFIER)
    for _ in range(2):
        code, out = finished(db, "with_asyncio.py", "today", *pairs)
        assert (code, sorted(out.splitlines())) == (0, sorted(f"{pair}: verified" for pair in pairs))
    assert len(parts(db)) == 4 * len(pairs)


# The orchestrators, each with the Python of an environment of its own. Their programs have two logins.

ORCHESTRATORS = {name: ROOT / ".venv" / name / "bin" / "python" for name in ("prefect", "dagster", "apscheduler")}
DAY = "2026-11-21"


@contextmanager
def another_login(db: Database) -> Iterator[str]:
    """The URL for a login that writes and reads, and is not the operator."""
    name, password = f"{db.server.prefix}_checker", secrets.token_urlsafe()
    with db.connect("superuser") as superuser:
        login = sql.Identifier(name)
        superuser.execute(
            sql.SQL("create role {} login password {} in role dot_writer, dot_reader").format(
                login, sql.Literal(password)
            )
        )
        yield make_conninfo(db.url, user=name, password=password)
        superuser.execute(sql.SQL("drop role {}").format(login))


@dataclass
class Orchestrator:
    """The example for an orchestrator, started as a process group that a test can kill as a whole."""

    name: str
    environment: dict[str, str]
    folder: Path

    @property
    def output(self) -> Path:
        return Path(self.environment["OUTPUT"])

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")

    @property
    def printed(self) -> list[str]:
        return (self.folder / "stdout").read_text(encoding="utf-8").splitlines()

    def ended(self, process: subprocess.Popen[bytes]) -> str | None:
        """What an orchestrator that has ended said at last; None while it runs."""
        return None if process.poll() is None else f"it has ended with {process.returncode}: {self.errors[-2000:]}"

    @contextmanager
    def started(self, candidate: str) -> Iterator[subprocess.Popen[bytes]]:
        program = ROOT / "examples" / "integrations" / f"with_{self.name}.py"
        key = [] if self.name == "apscheduler" else [DAY]
        with (
            (self.folder / "stdout").open("wb") as stdout,
            (self.folder / "stderr").open("wb") as stderr,
            subprocess.Popen(
                [ORCHESTRATORS[self.name], program, candidate, *key],
                env=self.environment,
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):  # it has ended, and all that it started
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(params=ORCHESTRATORS)
def orchestrator(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> Iterator[Orchestrator]:
    if not ORCHESTRATORS[request.param].exists():
        pytest.skip("make integrations installs the orchestrators in .venv and runs these tests")
    with another_login(db) as checker:
        yield Orchestrator(
            request.param,
            {
                "DATABASE_URL": db.url_as("operator"),
                "VERIFIER_DATABASE_URL": checker,
                "OUTPUT": str(tmp_path / "out"),
                "PYTHONPATH": str(ROOT / "harness"),
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "DO_NOT_TRACK": "1",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            },
            tmp_path,
        )


def lease_token(reader: Connection) -> int:
    """The token of the pair's lease, given back; 0 while a holder has it."""
    found = rows(reader, "select token from dot.v_dot_lease where not is_live")
    return int(found[0]["token"]) if found else 0


def test_an_orchestrator_s_pair_is_verified_by_two_logins_resumed_after_a_kill_and_not_run_again(
    db: Database, orchestrator: Orchestrator
) -> None:
    ready_for_real_runs(db)
    os.mkfifo(orchestrator.output)  # the producer waits until it is read
    with orchestrator.started(PAIR):
        wait_for_parts(db, [("producer", "step_started")])
    orchestrator.output.unlink()
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_dot_iu_runtime_lease_end(%s, 'ana', 'it was killed')", (f"dot_exec:{PAIR}",))
    with orchestrator.started(PAIR):
        wait_until(lambda: "verified" in orchestrator.printed, seconds=120)
    assert orchestrator.output.read_text() == "1 2 3"
    verdicts = rows(
        db.connect("reader"), "select verified, independently_verified, caveats from dot.v_process_verification_v3"
    )
    assert verdicts == [{"verified": True, "independently_verified": True, "caveats": []}]
    ended = [(role, f"step_{status}") for role in ("producer", "verifier") for status in ("started", "completed")]
    assert parts(db) == ended
    orchestrator.output.unlink()
    reader = db.connect("reader")
    token = lease_token(reader)
    with orchestrator.started(PAIR) as process:
        if orchestrator.name == "apscheduler":  # it goes on until it is ended, and its verifier has nothing to do
            wait_until(lambda: lease_token(reader) > token, seconds=120)
        else:
            assert process.wait(120) == 0
            assert orchestrator.printed[-1] == "verified"
    assert parts(db) == ended
    assert not orchestrator.output.exists(), "nothing was run again"


def test_an_orchestrator_is_refused_when_a_gate_is_closed(db: Database, orchestrator: Orchestrator) -> None:
    ready_for_real_runs(db)
    os.mkfifo(orchestrator.output)
    with orchestrator.started(PAIR) as process:
        wait_for_parts(db, [("producer", "step_started")], unless=lambda: orchestrator.ended(process))
        set_gates(db, "false", GATES[0])
        assert orchestrator.output.read_text() == "1 2 3"  # the producer goes on, and ends
        wait_until(lambda: "GateClosed" in orchestrator.errors, seconds=120)
    assert parts(db) == [("producer", "step_started")]
    assert "verified" not in orchestrator.printed
