"""The pytest plugin: the example project passes with it, and where its extra is missing it is in no one's way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dot_wrapper.files import ROOT


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """A copy of the example project."""
    return Path(shutil.copytree(ROOT / "examples" / "consumer", tmp_path / "consumer"))


def run_pytest(folder: Path, *options: str, **variables: str) -> tuple[int, str]:
    """pytest in a folder, as a process of its own: its exit code and what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options]
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **variables}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_example_project_passes(consumer: Path) -> None:
    code, printed = run_pytest(consumer)
    assert (code, "5 passed" in printed) == (0, True), printed


def test_the_suite_is_run_beside_the_project_s_own_tests_in_each_process_of_xdist(consumer: Path) -> None:
    chosen = "test_a_load_that_adds_up_is_verified or test_the_same_key_and_payload_is_one_run"
    code, printed = run_pytest(consumer, "--dot-wrapper", "-n", "2", "-k", chosen)
    assert (code, "3 passed" in printed) == (0, True), printed  # that of the suite in both states


def test_without_the_extra_other_tests_run_and_the_fixtures_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pytest_postgresql'] = None\n", "utf-8")
    (tmp_path / "test_it.py").write_text(
        "def test_other(): pass\n\ndef test_mine(dot_connection): pass\n", encoding="utf-8"
    )
    alone = {"PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    code, printed = run_pytest(tmp_path, "-p", "dot_wrapper.proving.plugin", **alone)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 passed, 1 error" in printed
    assert "pip install 'dot-wrapper[prove]'" in printed
    code, printed = run_pytest(tmp_path, "-p", "dot_wrapper.proving.plugin", "--dot-wrapper", **alone)
    assert (code, "pip install 'dot-wrapper[prove]'" in printed) == (pytest.ExitCode.USAGE_ERROR, True)
