"""Fixtures: a server, a template database with the wrapper in it, and a clone of that per test.

Without ``DATABASE_URL`` each test process starts an embedded server of its own. With it that server is used: pytest itself
prepares it and takes everything back at the end, and xdist's workers only clone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.errors import NoDatabase
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations import embedded
from support import Database, DotWrapper, Outcome
from support.prepared import PREPARED, Prepared, prepared
from support.servers import server
from support.sizes import PROFILE

settings.load_profile(PROFILE)

_stack = ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepares the server that this process, or its workers, use."""
    config = session.config
    try:
        given = database.conninfo() if "DATABASE_URL" in os.environ else None
    except NoDatabase as error:
        raise pytest.UsageError(str(error)) from error
    os.environ.pop("DATABASE_URL", None)  # from here on no test gets there but by its fixtures
    os.environ["DOT_WRAPPER_RETRY_SECONDS"] = "2"  # a test that a server is gone does not wait for a failover
    from_controller: dict[str, Any] | None = getattr(config, "workerinput", {}).get("prepared")
    if from_controller:
        config.stash[PREPARED] = Prepared(**from_controller)
    elif given:
        config.stash[PREPARED] = _stack.enter_context(prepared(given, own=False))
    elif hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        url = _stack.enter_context(server(int(os.environ.get("DOT_TEST_POSTGRES", "18"))))
        config.stash[PREPARED] = _stack.enter_context(prepared(url, own=True))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of xdist's about the server that this process has prepared."""
    if PREPARED in node.config.stash:
        node.workerinput["prepared"] = asdict(node.config.stash[PREPARED])


def pytest_unconfigure() -> None:
    """Takes everything back, after failures and Ctrl-C too."""
    _stack.close()


@pytest.fixture
def db(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of the test's own with the wrapper installed and nothing in it; with the optional amendment where the test says
    so, see ``support.AMENDED`` and ``support.IN_BOTH_STATES``."""
    prepared_server = pytestconfig.stash[PREPARED]
    amended = getattr(request, "param", False)
    template = prepared_server.amended_template() if amended else prepared_server.template
    with prepared_server.database(template) as url:
        database = Database(url, prepared_server, amended=amended)
        yield database
        database.close()


@pytest.fixture
def ledger(db: Database) -> Iterator[Ledger]:
    """The test's database through the Python API, as a login that holds the five roles and nothing else."""
    with Ledger(lambda: database.connect(db.url_as("operator"))) as opened:
        yield opened


@pytest.fixture(scope="session")
def client_programs(pytestconfig: pytest.Config) -> None:
    """For tests that run psql or pg_dump: those of the embedded server know no TLS."""
    psql = [str(embedded.bin_folder() / "psql"), "-X", "-d", pytestconfig.stash[PREPARED].url, "-c", "select"]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs psql and pg_dump: {done.stderr.strip()}")


@pytest.fixture
def server_home() -> Iterator[Path]:
    """A folder for an embedded server. Not tmp_path: another run of pytest closes its parent to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    embedded.stop(folder=folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of an empty database, as the login that made it: a superuser on a server of the tests' own."""
    with pytestconfig.stash[PREPARED].database() as url:
        yield url


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
