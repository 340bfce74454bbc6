"""The CI job of ``docs/howto/ci.md`` is at most ten lines, and its steps run as a CI runs them: each through a shell that stops."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.files import ROOT
from support import Database, attest, define_pair, set_gates

CANDIDATE = "bakery.orders"


def job() -> str:
    page = (ROOT / "docs" / "howto" / "ci.md").read_text(encoding="utf-8")
    block: str
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return block


def test_the_job_has_at_most_ten_lines_and_installs_this_package() -> None:
    assert len(job().splitlines()) <= 10
    installs, asks = (step["run"] for step in yaml.safe_load(job())["gate"]["steps"])
    assert installs == "pip install dot-wrapper"
    assert asks.startswith(f"dot-wrapper require {CANDIDATE} ")


@pytest.mark.parametrize("verified", [True, False])
def test_the_job_goes_on_only_where_the_candidate_is_verified(db: Database, ledger: Ledger, verified: bool) -> None:
    define_pair(db, CANDIDATE)
    set_gates(db)
    attest(db)
    with caller_path(ledger, ledger.pair(CANDIDATE), evidence_type="REAL_RUN", actor="ci") as run:
        run.producer("completed")
        run.verifier("completed" if verified else "failed")
    step = yaml.safe_load(job())["gate"]["steps"][1]["run"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"DATABASE_URL": db.url_as("reader"), "PATH": path}
    shell = ["bash", "-e", "-c", step]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if verified else 4), done.stderr
