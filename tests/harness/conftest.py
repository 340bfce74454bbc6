"""Fixtures of the harness tests: a login that holds the five roles, and the command line on the test's database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import cli, database
from harness.ledger import Ledger
from support import Database, DotWrapper, Outcome


@pytest.fixture
def ledger(db: Database) -> Iterator[Ledger]:
    """The test's database through the Python API, as a login that holds the five roles and nothing else."""
    with Ledger(lambda: database.connect(db.url_as("operator"))) as opened:
        yield opened


@pytest.fixture
def dot_wrapper(db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> DotWrapper:
    """Runs `dot-wrapper ARGUMENTS` on the test's database, as a login that holds the five roles."""
    monkeypatch.setenv("DATABASE_URL", db.url_as("operator"))

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = cli.run(arguments)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run
