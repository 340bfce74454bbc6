"""The README is true: its SQL gives the rows and refusals that it prints, its Python runs, its files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import embedded
from support import Database, attest, define_pair, value

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text)
    return str(found)


def test_the_sql_gives_what_the_readme_prints(db: Database) -> None:
    example = block("sql", "fn_process_run_observe")
    psql = embedded.bin_folder() / "psql"
    done = subprocess.run(
        [psql, "--no-psqlrc", db.url_as("t_operator")], input=example, capture_output=True, text=True, check=True
    )
    said = " ".join(re.split(r"[\s|]+", done.stdout + done.stderr))
    printed = re.findall(r"^-- ( .*|ERROR: .*|DETAIL: .*)$", example, re.MULTILINE)
    assert len(printed) == 8
    for line in printed:
        assert " ".join(re.split(r"[\s|]+", line.strip())) in said, line
    assert said.count("ERROR:") == 2


def test_the_python_runs_as_printed(db: Database) -> None:
    define_pair(db, "shop.orders")
    attest(db)
    environment = {**os.environ, "DATABASE_URL": db.url_as("t_operator")}
    subprocess.run([sys.executable, "-c", block("python", "caller_path")], env=environment, check=True)
    assert value(db.connect("reader"), "select end_state from dot.v_process_run") == "completed"


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/threats.md"])
def test_every_file_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:sql|migrations|harness|tests|bench|docs|examples)/[\w./]*)`", text))
    named |= set(re.findall(r"\((docs/[\w.]+)\)", text))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
