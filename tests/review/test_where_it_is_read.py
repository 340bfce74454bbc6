"""The action, the hooks and the project's own use: their commands are run as they stand there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dot_wrapper.files import ROOT
from support.reviews import checkout, commit
from tools.self_review import NoBase, base

# A `gh` that writes down what it is asked, and knows the comments that a file has.
GH = """#!/bin/bash
if [ "$2" = --paginate ]; then cat "$KNOWN"; else echo "$@" >> "$CALLED"; fi
"""


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as CI does: it ends where a command fails."""
    path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def step(name: str) -> str:
    """The script of a step of the action."""
    action: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    (found,) = (one["run"] for one in action["runs"]["steps"] if one["name"] == name)
    return str(found)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits that install the same."""
    folder = checkout(tmp_path / "repository")
    commit(folder, "first")
    (folder / "README.md").write_text("other words", encoding="utf-8")
    commit(folder, "second")
    return folder


def page_step(repository: Path, **given: str) -> tuple[int, str, str]:
    """Runs the step that makes the page: exit code, outputs, the job's summary."""
    output, summary = repository / "output", repository / "summary"
    summary.touch()
    inputs = {"FROM": "", "TO": "HEAD", "BASE": "first", "SUITE": "", "STATS": "", "FAIL_ON": "7", **given}
    done = shell(step("page"), repository, GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(summary), **inputs)
    return done.returncode, output.read_text("utf-8"), summary.read_text("utf-8")


def test_the_action_puts_the_page_into_the_summary_of_the_job(repository: Path) -> None:
    code, output, summary = page_step(repository)
    assert (code, output) == (0, "verdict=0\n")
    assert "# Review: " in summary
    assert (repository / "review" / "review.md").read_text("utf-8") == summary


@pytest.mark.parametrize(
    ("verdict", "fail_on", "code"),
    [("0", "6", 0), ("6", "7", 0), ("6", "6", 1), ("7", "7", 1), ("7", "6", 1), ("1", "7", 1), ("2", "7", 2)],
)
def test_the_action_fails_where_it_was_told_to_and_where_there_is_no_page(
    repository: Path, verdict: str, fail_on: str, code: int
) -> None:
    program(repository, "dot-wrapper", f"#!/bin/bash\nexit {verdict}\n")
    assert page_step(repository, FAIL_ON=fail_on)[:2] == (code, f"verdict={verdict}\n")


def test_the_action_edits_its_one_comment(repository: Path) -> None:
    program(repository, "gh", GH)
    (repository / "review").mkdir()
    (repository / "review" / "review.md").write_text("the page", encoding="utf-8")
    files = {"KNOWN": str(repository / "known"), "CALLED": str(repository / "called")}
    environment = {"REPOSITORY": "o/r", "NUMBER": "5", **files}
    (repository / "known").write_text("", encoding="utf-8")
    assert shell(step("comment"), repository, **environment).returncode == 0
    (repository / "known").write_text("17\n18\n", encoding="utf-8")
    assert shell(step("comment"), repository, **environment).returncode == 0
    assert (repository / "called").read_text("utf-8").splitlines() == [
        "api --method POST repos/o/r/issues/5/comments -F body=@review/review.md",
        "api --method PATCH repos/o/r/issues/comments/17 -F body=@review/review.md",
    ]


def program(folder: Path, name: str, text: str) -> None:
    """Puts a program before all others of its name."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(text, encoding="utf-8")
    (folder / "bin" / name).chmod(0o755)


def hook(name: str) -> str:
    """The command of a hook."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    (found,) = (one["entry"] for one in hooks if one["id"] == name)
    return str(found)


def test_the_hooks_of_a_commit_pass_and_each_finds_what_it_is_for(repository: Path) -> None:
    shutil.copytree(ROOT / "tools", repository / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dot-wrapper-sql", "dot-wrapper-squawk"):
        done = shell(hook(name), repository)
        assert done.returncode == 0, done.stdout + done.stderr
    view = repository / "sql" / "views" / "v_dot_tool.sql"
    text = view.read_text("utf-8")
    for changed, said in (
        (f"{text}-- edited\n", "differs from its newest copy"),
        (f"{text}-- {'x' * 110}\n", "113 characters"),
    ):
        view.write_text(changed, encoding="utf-8")
        done = shell(hook("dot-wrapper-sql"), repository)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    with (repository / "sql" / "roles.sql").open("a", encoding="utf-8") as roles:
        roles.write("alter table dot.dot_tools add column a integer;\n")
    done = shell(hook("dot-wrapper-squawk"), repository)
    assert (done.returncode, "prefer-bigint-over-int" in done.stdout) == (1, True), done.stdout


@pytest.mark.parametrize(("verdict", "code"), [(0, 0), (6, 0), (7, 1), (1, 1)])
def test_the_hook_of_a_push_lets_through_what_a_person_decides(repository: Path, verdict: int, code: int) -> None:
    program(repository, "dot-wrapper", f'#!/bin/bash\necho "$@"; exit {verdict}\n')
    done = shell(hook("dot-wrapper-review"), repository, PRE_COMMIT_FROM_REF="first")
    assert done.returncode == code
    start = subprocess.run(["git", "rev-parse", "first"], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"review {start.stdout.strip()} HEAD -o .git/review.md"


def test_the_workflow_of_the_page_is_valid(tmp_path: Path) -> None:
    program = shutil.which("actionlint")
    if program is None:
        pytest.skip("actionlint is not installed")
    page = (ROOT / "docs" / "howto" / "review.md").read_text(encoding="utf-8")
    workflow = tmp_path / ".github" / "workflows" / "review.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    done = subprocess.run([program, str(workflow)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_packet_of_this_change_begins_where_it_left_main(repository: Path, tmp_path: Path) -> None:
    def git(*arguments: str, folder: Path = repository) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    first, second = git("rev-parse", "first"), git("rev-parse", "second")
    assert base(repository) == first, "on main it is the commit before"
    git("checkout", "-q", "-b", "other")
    (repository / "README.md").write_text("more words", encoding="utf-8")
    commit(repository, "third")
    assert base(repository) == second
    git("checkout", "-q", "first", folder=repository)
    git("branch", "-q", "-f", "main", "first")
    assert base(repository) is None
    git("clone", "-q", "--depth", "1", "--branch", "other", f"file://{repository}", str(tmp_path / "shallow"))
    with pytest.raises(NoBase, match="unshallow"):
        base(tmp_path / "shallow")
    with pytest.raises(NoBase, match="no clone"):
        base(tmp_path)
