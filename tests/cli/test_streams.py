"""Who reads what a command prints may leave at any time: that changes neither what it does nor its exit code."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from dot_wrapper import cli
from dot_wrapper.files import ROOT
from support import PAIR, Database, attest, define_pair, value

PROGRAM = Path(sys.executable).parent / "dot-wrapper"
OBSERVATIONS = ROOT / "examples" / "observations.ndjson"
CATALOGUE = ROOT / "examples" / "catalogue.yaml"


def shell(db: Database, command: str, unbuffered: str = "") -> tuple[int, str]:
    """The exit code of the first program of a pipeline, and what was printed on standard error."""
    environment = {
        **os.environ,
        "DATABASE_URL": db.url_as("operator"),
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": unbuffered,
    }
    line = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_had_enough_ends_no_command(db: Database, unbuffered: str) -> None:
    define_pair(db)
    for command, code in (
        ("dot-wrapper upgrade --sql | head -1", cli.DONE),
        ("dot-wrapper board | true", cli.DONE),
        ("dot-wrapper runs --json | true", cli.DONE),
        ("dot-wrapper --help | true", cli.DONE),
        ("dot-wrapper why nobody.knows --json | true", cli.REFUSED),
        ("dot-wrapper nonsense 2>&1 | true", cli.BAD_INPUT),
        (f"dot-wrapper rehearse {PAIR} 2>&1 | true", cli.REFUSED),
        ("dot-wrapper board >&-", cli.DONE),
        ("dot-wrapper board --json >&-", cli.DONE),
        ("dot-wrapper upgrade --sql >&-", cli.DONE),
        ("dot-wrapper board 2>&-", cli.DONE),
        ("dot-wrapper why nobody.knows >&- 2>&-", cli.REFUSED),
        ("dot-wrapper why nobody.knows --json <&- >&- 2>&-", cli.REFUSED),
    ):
        assert shell(db, command, unbuffered)[0] == code, command


def test_what_is_recorded_does_not_depend_on_the_reader(db: Database) -> None:
    """Each refused line is told when it is met: a reader of the first one would end the recording at the second."""
    assert shell(db, f"dot-wrapper catalogue define {CATALOGUE} --actor ana")[0] == cli.DONE
    lines = OBSERVATIONS.read_text().splitlines()
    refused = '{"record": "run"}'
    recorded = "\n".join([refused] * 50 + lines)
    code, _ = shell(db, f"dot-wrapper record - 2>&1 <<< '{recorded}' | true")
    assert code == cli.REFUSED
    stored = value(db.connect("owner"), "select count(*) from dot.process_run_observation")
    assert stored == sum('"record": "run"' in line for line in lines)


def test_a_rehearsal_whose_terminal_is_closed_gives_its_lease_back(db: Database) -> None:
    define_pair(db)
    attest(db)
    owner = db.connect("owner")
    owner.execute("begin; lock table dot.process_component_observation in exclusive mode")
    terminal, inside = pty.openpty()

    def take_the_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        [PROGRAM, "rehearse", PAIR, "--key", "today"],
        env={**os.environ, "DATABASE_URL": db.url_as("operator")},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=take_the_terminal,
    )
    os.close(inside)
    watcher = db.connect("owner")
    stuck = "select exists (select from pg_locks where relation = 'dot.process_component_observation'::regclass and not granted)"
    while not value(watcher, stuck):
        assert child.poll() is None
    assert value(watcher, "select count(*) from dot.v_dot_lease where is_live") == 1
    os.close(terminal)
    owner.execute("rollback")
    assert child.wait(60) == 129
    assert value(watcher, "select count(*) from dot.v_dot_lease where is_live") == 0


def test_under_nohup_a_closed_terminal_ends_nothing(db: Database) -> None:
    ignoring = "trap '' HUP; dot-wrapper board & child=$!; sleep 0.05; kill -HUP $child; wait $child"
    assert shell(db, f"({ignoring})")[0] == cli.DONE
