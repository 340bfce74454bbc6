"""A pytest plugin for programs that use the wrapper: databases with the wrapper installed, and ``pytest --dot-wrapper``.

pytest loads it wherever dot-wrapper is installed. Its fixtures need the extra ``dot-wrapper[prove]``, and say so where it is missing.

``dot_server``: a server for the session; its template database has the wrapper.
``dot_connection``, ``dot_database``: a database of the test's own, as a psycopg connection and as a URL. Its login may do all.
``dot_ledger``: ``dot_wrapper.Ledger`` on it.
``dot_candidate``: a pair of DOTs and a candidate of them.
``dot_gates_open``: what else a REAL_RUN needs: open gates, and a passed preflight.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

try:
    from pytest_postgresql import factories
    from pytest_postgresql.executors import NoopExecutor
except ImportError:  # the extra is not installed: nothing here is used
    factories = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import psycopg

    from dot_wrapper import Ledger

MISSING: Final = "the fixtures of dot-wrapper need its extra: pip install 'dot-wrapper[prove]'"
SUITE: Final = Path(__file__).parent / "suite"


@dataclass(frozen=True)
class Candidate:
    """A candidate that is defined: the codes of it and of its pair."""

    code: str = "shop.orders"
    producer: str = "dot.load_orders"
    verifier: str = "dot.check_orders"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("dot-wrapper")
    group.addoption("--dot-wrapper", action="store_true", help="run the suite of dot-wrapper's promises too")
    group.addoption(
        "--dot-server",
        default="embedded",
        choices=["embedded", "proc", "existing"],
        help="embedded (dot-wrapper[embedded], as root too), or pytest-postgresql's postgresql_proc or postgresql_noproc",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Adds the suite to what is collected."""
    if not config.getoption("--dot-wrapper"):
        return
    if factories is None:
        raise pytest.UsageError(MISSING)
    config.args.append(str(SUITE))


def install(*, host: str, port: int, user: str, dbname: str, password: str | None, **_: object) -> None:
    """Installs the wrapper in the template database."""
    from psycopg.conninfo import make_conninfo

    from dot_wrapper.proving.databases import upgrade

    upgrade(make_conninfo(host=host, port=port, user=user, dbname=dbname, password=password))


@pytest.fixture(scope="session")
def dot_server_base(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The server that ``--dot-server`` names, before the wrapper is installed."""
    if factories is None:
        pytest.fail(MISSING, pytrace=False)
    match request.config.getoption("--dot-server"):
        case "proc":
            yield request.getfixturevalue("postgresql_proc")
        case "existing":
            yield request.getfixturevalue("postgresql_noproc")
        case _:
            yield from _embedded()


def _embedded() -> Iterator[Any]:
    from psycopg.conninfo import conninfo_to_dict

    from dot_wrapper.operations import embedded

    class Base(NoopExecutor):
        template_dbname = "template1"

    folder = Path(tempfile.mkdtemp(prefix="dotw", dir="/tmp"))
    folder.chmod(0o755)
    try:
        parts = conninfo_to_dict(embedded.start(folder=folder))
        yield Base(str(parts["host"]), int(parts["port"] or 5432), str(parts["user"]), "", "postgres")
    finally:
        embedded.stop(folder=folder)
        shutil.rmtree(folder, ignore_errors=True)


if factories is not None:
    dot_server = factories.postgresql_noproc(dbname="dot_wrapper_test", depends_on="dot_server_base", load=[install])
    dot_connection = factories.postgresql("dot_server")
else:

    @pytest.fixture
    def dot_connection() -> None:
        """Says what is missing."""
        pytest.fail(MISSING, pytrace=False)


@pytest.fixture
def dot_database(dot_connection: psycopg.Connection[Any]) -> str:
    """The URL of a database of the test's own."""
    from psycopg.conninfo import make_conninfo

    info = dot_connection.info
    return make_conninfo(
        host=info.host, port=info.port, user=info.user, dbname=info.dbname, password=info.password or None
    )


@pytest.fixture
def dot_ledger(dot_database: str) -> Iterator[Ledger]:
    """A ledger on the test's database."""
    from dot_wrapper import Ledger, connect

    with Ledger(lambda: connect(dot_database)) as ledger:
        yield ledger


@pytest.fixture
def dot_candidate(dot_connection: psycopg.Connection[Any]) -> Candidate:
    """A candidate that is defined in the test's database."""
    candidate = Candidate()
    for code in (candidate.producer, candidate.verifier):
        dot_connection.execute("select dot.fn_dot_tool_register(%s)", (code,))
    dot_connection.execute(
        "select dot.fn_process_candidate_define(%s, %s, %s, 'pytest')",
        (candidate.code, candidate.producer, candidate.verifier),
    )
    dot_connection.commit()
    return candidate


@pytest.fixture
def dot_gates_open(dot_connection: psycopg.Connection[Any]) -> None:
    """In the test's database the three gates are open, and a snapshot is attested."""
    from dot_wrapper.proving.support import GATES

    for gate in GATES:
        dot_connection.execute("select dot.fn_dot_config_set(%s, 'true', 'pytest', 'for a test')", (gate,))
    dot_connection.execute(
        "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'pytest', 'for a test')"
    )
    dot_connection.commit()
