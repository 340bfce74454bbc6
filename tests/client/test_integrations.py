"""The examples of programs around run_pair, as their authors would start them, behind open gates on a real server."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from dot_wrapper.files import ROOT
from support import (
    GATES,
    PAIR,
    PRODUCER,
    VERIFIER,
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


def parts(db: Database) -> list[tuple[str, str]]:
    found = rows(
        db.connect("reader"), "select component_role, status from dot.v_process_run_component order by observed_at"
    )
    return [(one["component_role"], one["status"]) for one in found]


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
        wait_until(lambda: ("verifier", "step_started") in parts(db) and output.read_text() == "")
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
