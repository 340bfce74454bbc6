"""The command line, end to end: what it prints, what it returns, and that nothing a user can cause is a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from dot_wrapper import cli
from dot_wrapper.cli import output
from dot_wrapper.files import ROOT
from support import PAIR, Database, DotWrapper, attest, define_pair, ready_for_real_runs, value
from support.catalog import HEAD

EXAMPLE = str(ROOT / "examples" / "dbt")


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("why",), ("gates", "set", "x"), ("board", "--nonsense"), ("preflight", "attest"), ()],
    ids=" ".join,
)
def test_bad_use_is_exit_code_2(dot_wrapper: DotWrapper, arguments: tuple[str, ...]) -> None:
    assert dot_wrapper(*arguments).code == cli.BAD_INPUT


def test_import_prints_the_figures_and_again_nothing_new(dot_wrapper: DotWrapper) -> None:
    first = dot_wrapper("import", "dbt", EXAMPLE)
    assert first.code == 0
    assert "1 passed, 1 warned, 1 failed" in first.out
    assert "nothing new" not in first.out
    again = dot_wrapper("import", "dbt", EXAMPLE)
    assert (again.code, "nothing new" in again.out) == (0, True)
    as_json = dot_wrapper("import", "dbt", EXAMPLE, "--json").json
    assert (as_json["dots"], as_json["runs_created"], as_json["nothing_new"]) == (7, 0, True)


def test_import_of_bad_input_is_exit_code_2_and_names_the_file(dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"nodes": {')
    outcome = dot_wrapper("import", "dbt", str(tmp_path))
    assert outcome.code == cli.BAD_INPUT
    assert str(tmp_path / "manifest.json") in outcome.err
    assert "Traceback" not in outcome.err
    assert dot_wrapper("board", "--json").json == []


def test_a_conflict_is_named_and_exit_code_3(dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    assert dot_wrapper("import", "dbt", EXAMPLE).code == 0
    for name in ("manifest.json", "run_results.json"):
        (tmp_path / name).write_bytes((Path(EXAMPLE) / "target" / name).read_bytes())
    results = json.loads((tmp_path / "run_results.json").read_text())
    (test,) = (one for one in results["results"] if one["status"] == "pass")
    test["status"] = "fail"
    (tmp_path / "run_results.json").write_text(json.dumps(results))
    outcome = dot_wrapper("import", "dbt", str(tmp_path))
    assert outcome.code == cli.REFUSED
    assert f"conflict: {test['unique_id']}" in outcome.out
    assert "Differing fields: evidence_ref." in outcome.out


def test_rehearse_is_refused_by_preflight_then_attested_then_recorded_once(
    db: Database, dot_wrapper: DotWrapper
) -> None:
    define_pair(db)
    refused = dot_wrapper("rehearse", PAIR, "--key", "today")
    assert refused.code == cli.REFUSED
    assert "refused: preflight blocks: fs_snapshot_present" in refused.err
    assert "name: preflight_check" in refused.err
    assert dot_wrapper("preflight", "attest", "--actor", "ana", "--finding", "snapshot 1").code == 0
    first = dot_wrapper("rehearse", PAIR, "--key", "today", "--json").json
    assert first["created"] is True
    assert [step["name"] for step in first["steps"]][-1] == "release"
    again = dot_wrapper("rehearse", PAIR, "--key", "today", "--json").json
    assert (again["created"], again["process_run_id"]) == (False, first["process_run_id"])
    assert "nothing new" in dot_wrapper("rehearse", PAIR, "--key", "today").out
    (row,) = dot_wrapper("board", "--json").json
    assert (row["verified"], row["reasons"], row["simulated_runs"]) == (False, ["no_real_run"], 1)


def test_why_explains_every_reason_and_names_an_unknown_candidate(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    outcome = dot_wrapper("why", PAIR)
    assert outcome.code == 0
    assert "not verified" in outcome.out
    assert "no_run" in outcome.out
    assert dot_wrapper("why", PAIR, "--json").json["explanations"] == {
        "no_run": "No run of this candidate was ever observed. Record one."
    }
    unknown = dot_wrapper("why", "not.known")
    assert (unknown.code, "is no process candidate" in unknown.err) == (cli.REFUSED, True)


def test_gates_are_shown_and_moved_with_a_reason(db: Database, dot_wrapper: DotWrapper) -> None:
    gate = "process_dot_runtime.execute_enabled"
    assert {one["key"]: one["value"] for one in dot_wrapper("gates", "show", "--json").json}[gate] == "false"
    moved = dot_wrapper("gates", "set", gate, "true", "--actor", "ana", "--reason", "trial")
    assert (moved.code, moved.out.strip()) == (0, f"{gate}: false -> true")
    shown = {one["key"]: one for one in dot_wrapper("gates", "show", "--json").json}[gate]
    assert (shown["is_open"], shown["actor"], shown["reason"], shown["is_audited"]) == (True, "ana", "trial", True)
    for bad in (("gates", "set", gate, "TRUE"), ("gates", "set", "nonsense", "true")):
        outcome = dot_wrapper(*bad, "--actor", "ana", "--reason", "x")
        assert (outcome.code, "refused: " in outcome.err) == (cli.REFUSED, True)
    db.connect("owner").execute("update dot.dot_config set value = 'false' where key = %s", (gate,))
    assert "changed past fn_dot_config_set" in dot_wrapper("gates", "show").out


def test_preflight_shows_what_blocks(db: Database, dot_wrapper: DotWrapper) -> None:
    verdicts = {one["check_name"]: one["verdict"] for one in dot_wrapper("preflight", "show", "--json").json}
    assert verdicts == {
        "fs_snapshot_present": "BLOCK",
        "gates_readable": "PASS",
        "catalogue_present": "BLOCK",
        "lease_table_usable": "PASS",
    }
    define_pair(db)
    attest(db)
    assert "BLOCK" not in dot_wrapper("preflight", "show").out


def test_inventory_and_funnel_print_every_row(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    assert [one["position"] for one in dot_wrapper("inventory", "--json").json] == [1, 2, 3, 4, 5, 6]
    assert "NOT OBSERVABLE" in dot_wrapper("inventory").out
    total = dot_wrapper("funnel", "--json").json["total"]
    assert (total["declared_dots"], total["executed_dots"]) == (2, 0)
    assert "dot.load_order" in dot_wrapper("funnel", "--dots").out
    assert "declared in the catalogue" in dot_wrapper("funnel").out


def test_upgrade_says_where_the_schema_is(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    before = dot_wrapper("board")
    assert before.code == cli.FAILED
    assert "dot-wrapper upgrade" in before.err
    assert dot_wrapper("upgrade", "--json").json == {"before": None, "after": HEAD}
    assert f"at revision {HEAD} already" in dot_wrapper("upgrade").out
    assert dot_wrapper("board", "--json").json == []


def test_upgrade_prints_the_script_without_a_database(monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@/x?host=/nonexistent")
    outcome = dot_wrapper("upgrade", "--sql")
    assert outcome.code == 0
    assert "create table dot.process_run_observation" in outcome.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("board", "--limit", "x"), "'--limit'"),
        (("board", "--limit", "0"), "'--limit'"),
        (("why",), "'subject'"),
        (("why", "a", "b"), "(b)"),
        (("gates", "set", "x", "true", "--actor", "ana"), "'--reason'"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["json first", "json last"])
def test_a_wrong_command_line_is_told_to_programs_too(
    dot_wrapper: DotWrapper, words: tuple[str, ...], said: str, first: bool
) -> None:
    command = words[: 2 if words[0] == "gates" else 1]
    outcome = dot_wrapper(*command, *["--json"] * first, *words[len(command) :], *["--json"] * (not first))
    assert outcome.code == cli.BAD_INPUT
    assert (outcome.json["error"]["kind"], said in outcome.json["error"]["message"]) == ("input", True), outcome
    assert set(outcome.json["error"]) == {"kind", "message", "detail", "hint", "constraint", "sqlstate"}
    assert outcome.err.count(said) == 1
    assert dot_wrapper(*words).out == ""


@pytest.mark.parametrize(
    "words",
    [("upgrade", "--sql"), ("adopt", "--draft"), ("adopt", "--sql", "--mapping", "x.yaml"), ("adopt", "--unadopt-sql")],
    ids=" ".join,
)
def test_what_prints_sql_or_yaml_takes_no_json(dot_wrapper: DotWrapper, words: tuple[str, ...]) -> None:
    outcome = dot_wrapper(*words, "--json")
    assert (outcome.code, outcome.json["error"]["kind"]) == (cli.BAD_INPUT, "input")
    assert f"{words[1]} and --json exclude each other" in outcome.err


def test_a_login_without_roles_and_a_server_that_is_down_are_told_in_one_line(
    db: Database, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    for url in (db.url_as("outsider"), "postgresql://x@/x?host=/nonexistent"):
        monkeypatch.setenv("DATABASE_URL", url)
        for command in (("board",), ("rehearse", PAIR), ("gates", "show"), ("upgrade",)):
            outcome = dot_wrapper(*command)
            assert (outcome.code, outcome.out) == (cli.FAILED, ""), (url, command, outcome)
            assert outcome.err.startswith("error: ")
            assert "next: " in outcome.err
            assert "Traceback" not in outcome.err


def test_a_verified_pair_shows_on_the_board(db: Database, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    from dot_wrapper.client import database
    from dot_wrapper.client.caller_path import caller_path
    from dot_wrapper.client.ledger import Ledger

    with Ledger(lambda: database.connect(db.url_as("operator"))) as ledger:
        pair = ledger.pair(PAIR)
        with caller_path(ledger, pair, evidence_type="REAL_RUN", actor="ci") as run:
            run.producer("completed")
            run.verifier("completed")
    assert "1 candidate, 1 verified, 0 of them independently" in dot_wrapper("board").out
    outcome = dot_wrapper("why", PAIR)
    assert f"{PAIR}: verified, with caveats" in outcome.out
    assert "One login recorded both the producer and the verifier." in outcome.out
    assert value(db.connect("reader"), "select verified from dot.v_process_verification_v3") is True


def test_the_installed_command_runs_without_colour_and_without_progress_where_there_is_no_terminal(
    db: Database,
) -> None:
    program = Path(sys.executable).parent / "dot-wrapper"
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    done = subprocess.run(
        [program, "import", "dbt", EXAMPLE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_people_wrote_is_printed_as_they_wrote_it(
    monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    """Neither markup nor emoji codes nor highlighting: an audit shows the words that were stored."""
    monkeypatch.setattr(output.stdout, "width", 250)
    for reason in ("see [/INC-1] for why", "[red]NOT REALLY[/red]", "a :warning: b", "cand:100:x"):
        gate = ("gates", "set", "queue.worker.enabled", "true")
        assert dot_wrapper(*gate, "--actor", "ana", "--reason", reason).code == 0
        assert reason in dot_wrapper("gates", "show").out


def test_odd_input_is_an_exit_code_and_one_line(
    db: Database, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    for code, arguments in (
        (cli.BAD_INPUT, ("why", "\udcff")),
        (cli.BAD_INPUT, ("preflight", "attest", "--actor", "a", "--finding", "b", "--seconds", "9999999999")),
        (cli.BAD_INPUT, ("import", "dbt", "/dev/null")),
    ):
        assert dot_wrapper(*arguments).code == code, arguments
    db.connect("owner").execute("update dot.alembic_version set version_num = '9999'")
    monkeypatch.setenv("DATABASE_URL", db.url)
    newer = dot_wrapper("upgrade")
    assert (newer.code, "9999" in newer.err) == (cli.FAILED, True)
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DOT_WRAPPER_HOME", "/dev/null/x")
    nowhere = dot_wrapper("board")
    assert (nowhere.code, "\nerror: " in f"\n{nowhere.err}") == (cli.FAILED, True)


def test_a_full_disk_and_a_terminal_without_unicode_are_no_tracebacks(db: Database) -> None:
    program = Path(sys.executable).parent / "dot-wrapper"
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    # Buffered, a short output is written when the program ends, and a long one while it runs. That of `catalogue show` is longer than the buffer.
    db.connect("cataloguer").execute(
        "select count(dot.fn_dot_tool_register('dot.no_' || i)) from generate_series(1, 100) as i"
    )
    for unbuffered, words in product(("1", ""), (("board",), ("board", "--json"), ("catalogue", "show", "--json"))):
        environment["PYTHONUNBUFFERED"] = unbuffered
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [program, *words], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (done.returncode, done.stderr.count("No space left")) == (cli.FAILED, 1)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    ascii_only = {**environment, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run([program, "inventory"], env=ascii_only, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
