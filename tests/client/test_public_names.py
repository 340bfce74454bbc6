"""What a program imports: ``dot_wrapper.__all__``, and that pages and examples import nothing else of the client."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import dot_wrapper
from dot_wrapper.client import errors
from dot_wrapper.files import ROOT

NAMES = set(
    [
        "AsyncLease",
        "AsyncLedger",
        "AsyncRun",
        "BegunRun",
        "EndedPart",
        "EvidenceType",
        "Lease",
        "Ledger",
        "Observation",
        "ObservedComponent",
        "ObservedLine",
        "ObservedPair",
        "ObservedRun",
        "Outcome",
        "Pair",
        "Part",
        "Refs",
        "Role",
        "Run",
        "RunStatus",
        "Status",
        "StoredRun",
        "Verdict",
        "async_caller_path",
        "async_hold_lease",
        "async_run_pair",
        "async_take_up",
        "caller_path",
        "calls",
        "connect",
        "connect_async",
        "hold_lease",
        "run_pair",
        "take_up",
    ]
)
"""Beside the exceptions. A name that is removed or renamed breaks programs."""


def test_the_package_exports_the_ledgers_the_paths_the_calls_and_each_exception() -> None:
    exceptions = {name for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert set(dot_wrapper.__all__) == NAMES | exceptions
    assert dot_wrapper.__all__ == sorted(dot_wrapper.__all__)
    assert all(hasattr(dot_wrapper, name) for name in dot_wrapper.__all__)


def test_pages_and_examples_import_public_names_only() -> None:
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
    imports = [
        (file.name, module, name.strip())
        for file in files
        for module, names in re.findall(
            r"^from (dot_wrapper[\w.]*) import (?:\((?=\n))?([^\n()]+|[^()]+(?=,\n\)))",
            file.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        for name in names.split(",")
    ]
    assert len(imports) > 10
    assert [
        one for one in imports if not one[1].startswith("dot_wrapper.sources.") and one[2] not in dot_wrapper.__all__
    ] == []
    assert {module for _, module, _ in imports if not module.startswith("dot_wrapper.sources.")} == {"dot_wrapper"}


def test_importing_the_package_loads_no_library_that_only_commands_or_engines_need() -> None:
    code = "import dot_wrapper, sys; print(*sorted({one.partition('.')[0] for one in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "psycopg" in loaded
    assert {"alembic", "pydantic", "rich", "sqlalchemy", "typer", "yaml"}.isdisjoint(loaded)


def test_starting_a_command_does_not_load_sqlalchemy() -> None:
    code = "import dot_wrapper.cli, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"alembic", "sqlalchemy"}.isdisjoint(loaded)
