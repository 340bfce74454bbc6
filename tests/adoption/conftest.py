"""A host in a database of a test's own, not adopted yet, and its DBA."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.operations import embedded
from support import Database, DotWrapper, Outcome
from support.hosts import make


@pytest.fixture
def own(db: Database) -> Iterator[Database]:
    """A database on a server of the tests' own: a host has roles, which belong to the server."""
    if not db.server.own:
        pytest.skip("needs a server of the tests' own")
    yield db
    with psycopg.connect(db.url, autocommit=True) as admin:
        admin.execute("alter role dot_owner nobypassrls")


@pytest.fixture
def near(own: Database) -> Database:
    make(own.url, "near")
    return own


@pytest.fixture
def far(own: Database) -> Database:
    make(own.url, "far")
    return own


@pytest.fixture
def as_dba(own: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> DotWrapper:
    """Runs `dot-wrapper ARGUMENTS` on the test's database, as a superuser."""
    monkeypatch.setenv("DATABASE_URL", own.url)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = cli.run(arguments)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """Writes a mapping and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "mapping.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def dumped(client_programs: None, own: Database) -> Callable[[], str]:
    """The whole database as pg_dump prints it, rows included."""

    def dump() -> str:
        program = str(embedded.bin_folder(18) / "pg_dump")
        text = subprocess.run([program, "--dbname", own.url], capture_output=True, text=True, check=True).stdout
        # What differs from dump to dump, and what a server before 17 does not know.
        return "\n".join(
            one for one in text.splitlines() if "restrict " not in one and "transaction_timeout" not in one
        )

    return dump
