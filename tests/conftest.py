"""Fixtures: a server, a template database with the wrapper in it, and a clone of that per test.

Without ``DATABASE_URL`` each test process starts a server of its own. With it that server is used: pytest itself prepares it and
takes everything back at the end. pytest-postgresql makes the template and the clones; ``dot_wrapper.proving.prepared.with_template`` says
where it cannot.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pytest_postgresql import factories

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.errors import NoDatabase
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations import embedded
from dot_wrapper.operations.scratch import parent_folder
from dot_wrapper.proving.databases import database_url, end_sessions, upgrade
from dot_wrapper.proving.prepared import PREPARED, NotPrepared, Prepared, prepared, with_template
from support import Database, DotWrapper, Outcome, hosts
from support.hosts import BY_HOST, TEST_HOST, Host
from support.servers import server
from support.sizes import PROFILE
from support.versions import BY_VERSION, NOT_BY_VERSION
from tools.missing import missing

settings.load_profile(PROFILE)
pytest.register_assert_rewrite("dot_wrapper.proving.suite")  # the tests that the package brings

_stack = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "by_version: what the server's version can change, see support/versions.py")
    config.addinivalue_line("markers", "sabotage: proves a database that was broken on purpose, see `make sabotages`")
    config.addinivalue_line("markers", "by_host: what an adoption can change, see support/hosts.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(BY_VERSION) and not item.nodeid.startswith(NOT_BY_VERSION):
            item.add_marker("by_version")
        if item.nodeid.startswith(BY_HOST):
            item.add_marker("by_host")
        for why, tests in hosts.NOT_ADOPTED.items() if TEST_HOST else ():
            if item.nodeid.partition("[")[0].endswith(tests):
                item.add_marker(pytest.mark.skip(f"{why}: the database is adopted"))


def pytest_collection_finish() -> None:
    """Leaves the collected tests and their modules out of each later garbage collection: a tenth of the processor time of a process."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end of a run, where it is seen, that the run was not whole."""
    if packages := missing():
        said = (
            f"NOT INSTALLED, SO NOT TESTED: {', '.join(packages)}. What needs it was skipped; 15 is not tested without."
        )
        terminalreporter.write_line(said, red=True, bold=True)


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
    if TEST_HOST and (given or TEST_HOST not in hosts.HOSTS):
        raise pytest.UsageError("DOT_TEST_HOST is near or far, and goes with a server of the tests' own")
    if from_controller:
        config.stash[PREPARED] = Prepared(**from_controller)
    elif given:
        try:
            config.stash[PREPARED] = _stack.enter_context(prepared(given, own=False))
        except NotPrepared as error:
            raise pytest.UsageError(str(error)) from error
        if not factories_can(given):
            config.stash[PREPARED] = with_template(config.stash[PREPARED])
    elif hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        url = _stack.enter_context(server(int(os.environ.get("DOT_TEST_POSTGRES", "18"))))
        config.stash[PREPARED] = _stack.enter_context(prepared(url, own=True))
    if PREPARED in config.stash:
        _tell_factories(config, config.stash[PREPARED])


def factories_can(url: str) -> bool:
    """Whether pytest-postgresql reaches the server, and may do what it does there: see ``dot_wrapper.proving.prepared.with_template``."""
    parts = conninfo_to_dict(url)
    if not parts.keys() <= {"host", "port", "user", "password", "dbname"} or "," in str(parts.get("host", "")):
        return False
    with psycopg.connect(url) as connection:
        return connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (True,)


def _tell_factories(config: pytest.Config, server: Prepared) -> None:
    """What pytest-postgresql would read from its options."""
    with psycopg.connect(server.url) as connection:
        config.option.postgresql_host = connection.info.host
        config.option.postgresql_port = connection.info.port
        config.option.postgresql_user = connection.info.user
        config.option.postgresql_password = connection.info.password
        config.option.postgresql_maintenance_dbname = connection.info.dbname
    config.option.postgresql_dbname = server.prefix


def install(*, host: str, port: int, user: str, dbname: str, password: str | None, **_: object) -> None:
    """Loads the template."""
    url = make_conninfo(host=host, port=port, user=user, dbname=dbname, password=password)
    upgrade(url)
    if TEST_HOST:
        hosts.adopted(url, TEST_HOST)


def amend(*, host: str, port: int, user: str, dbname: str, password: str | None, **_: object) -> None:
    """Loads the template with the optional amendment, which begins as a copy of the other one."""
    upgrade(make_conninfo(host=host, port=port, user=user, dbname=dbname, password=password), section="amendment")


installed = factories.postgresql_noproc(load=[install])
amended = factories.postgresql_noproc(load=[amend], depends_on="installed")
installed_clone = factories.postgresql("installed")
amended_clone = factories.postgresql("amended")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of xdist's about the server that this process has prepared."""
    if PREPARED in node.config.stash:
        node.workerinput["prepared"] = asdict(node.config.stash[PREPARED])


def pytest_unconfigure() -> None:
    """Takes everything back, after failures and Ctrl-C too."""
    _stack.close()


def _end_sessions(url: str, name: str) -> None:
    """pytest-postgresql leaves prepared transactions, and then cannot drop the database."""
    with psycopg.connect(url, autocommit=True) as admin:
        end_sessions(admin, name)


@pytest.fixture
def db(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of the test's own with the wrapper installed and nothing in it; with the optional amendment where the test says
    so, see ``support.AMENDED`` and ``support.IN_BOTH_STATES``."""
    server = pytestconfig.stash[PREPARED]
    amended = getattr(request, "param", False)
    with ExitStack() as until:
        if server.template:
            url = until.enter_context(server.clone(amended=amended))
        else:
            connection = request.getfixturevalue("amended_clone" if amended else "installed_clone")
            name = connection.info.dbname
            connection.close()  # a test counts the sessions that it opened
            url = database_url(server.url, name)
            until.callback(_end_sessions, server.url, name)
        database = until.enter_context(closing(Database(url, server, amended=amended)))
        yield database


@pytest.fixture
def made(db: Database) -> Iterator[Callable[[Host], Host]]:
    """Makes a host beside the wrapper in the test's database, which may then be adopted."""
    if not db.server.own or TEST_HOST:
        pytest.skip("makes roles of a host on the server, and adopts a database that is not adopted yet")

    def make(name: Host) -> Host:
        hosts.make(db.url, name)
        return name

    yield make
    db.session("superuser").execute("alter role dot_owner nobypassrls")


@pytest.fixture(params=hosts.HOSTS)
def host(db: Database, made: Callable[[Host], Host], request: pytest.FixtureRequest) -> Host:
    """A host whose DOTs, gates and figures the test's database has adopted, as `dot-wrapper adopt` does it: nothing else counts."""
    name = made(request.param)
    hosts.adopt(db.url, hosts.mapping_of(name))
    return name


@pytest.fixture
def near(db: Database, made: Callable[[Host], Host]) -> Host:
    """The one whose tables are as the wrapper's own, and have no row security yet."""
    name = made("near")
    hosts.adopt(db.url, hosts.mapping_of(name))
    return name


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
    """A folder for an embedded server, in memory where there is room: it waits for each commit to be on disk, as a user's does. Not
    tmp_path: another run of pytest closes its parent to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir=parent_folder()))
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
