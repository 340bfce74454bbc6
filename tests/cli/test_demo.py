"""What `make run` does: the whole main job on one database, and nothing more when it is done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dot_wrapper import cli
from support import Database, ledger_counts, value
from tools import demo

DemoRun = Callable[..., tuple[int, str]]

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"


@pytest.fixture
def run(db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> DemoRun:
    """Runs the demonstration on the test's database; its exit code and what it printed."""
    monkeypatch.setenv("DATABASE_URL", db.url)

    def call(target: Path = EXAMPLE) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["make run", str(target)])
        code = demo.main()
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_the_first_run_is_refused_by_preflight_then_attested_then_recorded(db: Database, run: DemoRun) -> None:
    code, said = run()
    assert code == 0
    assert "refused: preflight blocks: fs_snapshot_present" in said
    steps = ["$ dot-wrapper rehearse", "$ dot-wrapper preflight attest", "\nrecorded\n", "$ dot-wrapper inventory"]
    assert [said.index(step) for step in steps] == sorted(said.index(step) for step in steps)
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run") == 4 + 1
    assert value(reader, "select count(*) filter (where verified) from dot.v_process_verification_v3") == 0
    logged = value(db.connect("owner"), "select array_agg(run_status order by logged_at) from dot.dot_iu_command_run")
    assert logged == ["refused", "completed"]


def test_a_second_run_adds_nothing(db: Database, run: DemoRun) -> None:
    assert run()[0] == 0
    before = ledger_counts(db)
    code, said = run()
    assert (code, "nothing new: this key was rehearsed before" in said) == (0, True)
    assert ledger_counts(db) == before


def test_an_expired_attestation_is_renewed_and_logged_and_nothing_else_is_added(db: Database, run: DemoRun) -> None:
    assert run()[0] == 0
    owner = db.connect("owner")
    owner.execute("alter table dot.preflight_attestation disable trigger user")
    owner.execute(
        "update dot.preflight_attestation set attested_at = now() - interval '2 h', expires_at = now() - interval '1 h'"
    )
    before = ledger_counts(db)
    assert run()[0] == 0
    after = ledger_counts(db)
    added = {table: after[table] - before[table] for table in after if after[table] != before[table]}
    assert added == {"preflight_attestation": 1, "dot_iu_command_run": 2}


def test_bad_input_ends_with_its_exit_code(run: DemoRun, tmp_path: Path) -> None:
    assert run(tmp_path)[0] == cli.BAD_INPUT
