"""The mutation run itself: what it finds, that it can fail, and a sample of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from dot_wrapper.files import ROOT
from support import Database
from tools.mutants import run
from tools.mutants.find import Mutant, unchanged
from tools.mutants.run import SAMPLE, Verdict, equivalent_table, equivalents, report


def test_every_function_view_and_constraint_has_mutants_and_no_two_share_an_id(
    db: Database, mutants: list[Mutant]
) -> None:
    assert len(mutants) > 2000
    assert len({mutant.id for mutant in mutants}) == len(mutants)
    files = {path.stem for path in (ROOT / "sql").glob("[fv]*/**/*.sql")}
    assert files - {mutant.object for mutant in mutants} == set()
    whole = files - {mutant.object for mutant in mutants if "create or replace" in mutant.sql.lower()}
    assert whole == {
        "fn_is_time",
        "v_dot_gate_holder",
        "v_dot_tool",
        "v_process_reason",
    }  # no condition
    changed = " ".join(mutant.sql for mutant in mutants)
    with psycopg.connect(db.url) as connection:
        constraints = connection.execute(
            "select conname from pg_constraint where connamespace = 'dot'::regnamespace"
            " and contype in ('c', 'p', 'u', 'f') and conrelid <> 'dot.alembic_version'::regclass"
        )
        assert [name for (name,) in constraints.fetchall() if f"drop constraint {name}" not in changed] == []


def test_every_kind_of_guard_is_among_them(mutants: list[Mutant]) -> None:
    operators = {mutant.operator for mutant in mutants}
    assert operators >= {
        *(
            "guard deleted",
            "guard turned",
            "case arm dropped",
            "case arm turned",
            "statement deleted",
            "NULL let through",
        ),
        *("regex unanchored", "bound moved", "word dropped", "element dropped", "on conflict dropped", "lock dropped"),
        *(
            "condition dropped",
            "condition turned",
            "conjunct dropped",
            "conjunct turned",
            "disjunct dropped",
            "join turned",
        ),
        *("NOT NULL dropped", "CHECK dropped", "primary key dropped", "foreign key dropped", "unique index dropped"),
        *(
            "trigger dropped",
            "trigger not always",
            "definer dropped",
            "setting dropped",
            "grant dropped",
            "granted to public",
        ),
    }
    latches = [mutant for mutant in mutants if "gate_latch" in mutant.change and mutant.operator == "statement deleted"]
    assert {mutant.object for mutant in latches} == {
        "fn_dot_config_set",
        "fn_dot_iu_runtime_lease_end",
        "fn_dot_mechanism_attest",
        "fn_event_type_set",
        "fn_gate_latch",
        "fn_gates_assert",
        "fn_preflight_attest",
    }
    compared = [one for one in mutants if one.operator == "element dropped" and one.change.endswith("_ref' END")]
    assert {one.object for one in compared} == {"fn_process_run_observe", "fn_process_component_observe"}


def test_printing_a_view_anew_changes_nothing_of_it(db: Database) -> None:
    definitions = "select relname, pg_get_viewdef(oid) from pg_class where relkind = 'v' and relnamespace = 'dot'::regnamespace order by 1"
    with psycopg.connect(db.url_as("owner")) as connection:
        before = connection.execute(definitions).fetchall()
        for statement in unchanged():
            connection.execute(statement.encode())
        assert connection.execute(definitions).fetchall() == before


def test_an_id_outlives_every_edit_but_one_of_its_own_text() -> None:
    mutant = Mutant("fn_x", "guard deleted", "p_a is null", "create ...")
    assert mutant.id == replace(mutant, sql="create ... and something else").id
    others = [replace(mutant, object="fn_y"), replace(mutant, change="p_b is null"), replace(mutant, twin=1)]
    others.append(replace(mutant, place="if p_a is null then return"))
    assert mutant.id not in {other.id for other in others}


def test_a_survivor_and_an_argument_without_a_mutant_fail_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    killed, lived = Mutant("fn_x", "guard deleted", "a", ""), Mutant("fn_x", "guard turned", "b", "")
    verdicts = {killed: Verdict("test_a", 1, 0.5, "failed")}
    assert report(verdicts, 0, []) == 0
    verdicts[lived] = Verdict(None, 9, 3.0, "survived")
    assert report(verdicts, 0, ["0123456789"]) == 2
    printed = capsys.readouterr().out
    assert f"SURVIVED {lived.id} fn_x: guard turned: b" in printed
    assert "STALE 0123456789" in printed


def test_what_killed_each_mutant_is_kept_until_it_survives_or_is_no_mutant_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "KILLERS", tmp_path / "killers.json")
    first, second, third, gone = (Mutant(f"fn_{name}", "guard deleted", "a", "") for name in "abcd")
    (tmp_path / "killers.json").write_text(f'{{"test_a": "{first.id} {second.id} {gone.id}"}}')
    verdicts = {second: Verdict(None, 9, 3.0, "survived"), third: Verdict("test_b", 1, 0.5, "failed")}
    run.keep(verdicts, {first.id, second.id, third.id})
    assert run.killers() == {first.id: "test_a", third.id: "test_b"}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({}, Verdict(None, 3, 1.0, "survived")),
        ({"b": ["failed"]}, Verdict("b", 2, 1.0, "failed")),
        ({"b": ["timeout"]}, Verdict(None, 4, 3.0, "survived")),
        ({"b": ["timeout", "timeout"]}, Verdict("b", 3, 2.0, "timeout")),
        ({"b": ["timeout", "failed"]}, Verdict("b", 3, 2.0, "failed")),
        ({"a": ["timeout"], "c": ["failed"]}, Verdict("c", 4, 3.0, "failed")),
        ({"a": ["timeout"], "c": ["timeout"]}, Verdict(None, 5, 5.0, "survived")),
    ],
)
def test_a_test_that_did_not_end_in_its_time_kills_a_mutant_where_it_does_not_pass_alone_either(
    ends: dict[str, list[str]], expected: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ends`` says how a test ends each time that it is run, where it does not pass."""

    def tested(_run: run.Run, _sql: str, items: Sequence[Any], *_: object) -> Verdict:
        for number, item in enumerate(items, start=1):
            if ends.get(item.nodeid):
                return Verdict(item.nodeid, number, 1.0, ends[item.nodeid].pop(0))
        return Verdict(None, len(items), 1.0, "survived")

    monkeypatch.setattr(run.Run, "_tested", tested)
    whole = run.Run(1, (0, 1), None, False, "", None, None)
    items: Any = [SimpleNamespace(nodeid=name) for name in "abc"]
    nothing: Any = None
    assert whole._certain("", items, nothing, nothing) == expected


def test_every_argument_for_a_survivor_belongs_to_a_mutant(mutants: list[Mutant]) -> None:
    assert equivalents().keys() - {mutant.id for mutant in mutants} == set()


def test_the_page_on_proof_has_every_argument() -> None:
    assert equivalent_table() in (ROOT / "docs" / "internals" / "proof.md").read_text(encoding="utf-8")


def test_the_changed_files_are_those_since_the_branch_left_main_or_since_the_parent_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.changed() == set(), "no repository"
    views = tmp_path / "sql" / "views"
    views.mkdir(parents=True)

    def git(*arguments: str) -> None:
        plain = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, env=plain, check=True, capture_output=True)

    def commit(name: str, text: str) -> None:
        (views / f"{name}.sql").write_text(text)
        git("add", "--all")
        git("commit", "--quiet", "--message", name)

    git("init", "--quiet", "--initial-branch=main")
    commit("v_a", "1")
    assert run.changed() == set(), "no parent"
    commit("v_b", "1")
    assert run.changed() == {"v_b"}
    git("checkout", "--quiet", "-b", "branch")
    commit("v_a", "2")
    commit("v_c", "1")
    assert run.changed() == {"v_a", "v_c"}
    (views / "v_c.sql").unlink()
    (views / "v_d.sql").write_text("1")
    (tmp_path / "sql" / "roles.sql").write_text("1")
    assert run.changed() == {"v_a", "v_d"}


def test_a_sample_of_the_mutants_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutants.run", "--every", str(SAMPLE), "--workers", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
