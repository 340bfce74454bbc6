"""What `make run` does: the demonstration in a database of its own, or the import of a project and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dot_wrapper import cli
from support import Database, ledger_counts, value
from tools import demo

DemoRun = Callable[..., tuple[int, str]]


@pytest.fixture
def run(db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> DemoRun:
    """Runs the demonstration on the test's database; its exit code and what it printed."""
    monkeypatch.setenv("DATABASE_URL", "")

    def call() -> tuple[int, str]:
        code = demo.demonstrate(db.url)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_the_first_run_is_refused_by_preflight_then_attested_then_recorded(db: Database, run: DemoRun) -> None:
    code, said = run()
    assert code == 0
    assert "refused: preflight blocks: fs_snapshot_present" in said
    steps = ["$ dot-wrapper rehearse", "$ dot-wrapper preflight attest", "\nrecorded\n", "$ dot-wrapper board"]
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


def test_an_input_is_imported_where_dot_wrapper_looks_and_nothing_is_added(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", db.url)
    monkeypatch.setattr("sys.argv", ["make run", str(demo.EXAMPLE)])
    assert demo.main() == 0
    capsys.readouterr()
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run") == 4
    assert value(reader, "select array_agg(distinct actor) from dot.v_process_run") == ["dbt-import"]
    nothing = ("preflight_attestation", "dot_iu_command_run", "dot_iu_runtime_lease")
    assert {table: count for table, count in ledger_counts(db).items() if table in nothing and count} == {}


def test_the_demonstration_has_a_database_of_its_own_on_the_embedded_server(
    db: Database, server_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", db.url)
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(server_home))
    monkeypatch.setattr("sys.argv", ["make run"])
    before = ledger_counts(db)
    assert demo.main() == 0
    said = capsys.readouterr().out
    assert said.startswith(f"A demonstration, in database {demo.DATABASE} of the embedded PostgreSQL.")
    assert ledger_counts(db) == before
    with psycopg.connect(demo.own_database()) as own:
        assert own.execute("select count(*) from dot.process_run_observation").fetchone() == (4 + 1,)


def test_bad_input_ends_with_its_exit_code(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", db.url)
    monkeypatch.setattr("sys.argv", ["make run", str(tmp_path)])
    assert demo.main() == cli.BAD_INPUT
    assert "no manifest" in capsys.readouterr().err
