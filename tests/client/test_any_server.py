"""The tests themselves run on a server that they did not start, and leave it as they found it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from dot_wrapper.files import ROOT
from support import interruptible
from support.catalog import finished, start_module
from support.servers import listen_on_tcp, server
from support.versions import BEFORE_AND_AFTER_16

PASSWORD = "p@ss:w/rd%#? é'\\"  # noqa: S105  of a login that lives as long as the test
SOME_TESTS = (
    "tests/sql/test_idempotency.py",
    "tests/security/test_host.py::test_an_upgrade_into_a_schema_that_somebody_else_prepared_is_refused",
    "tests/security/test_host.py::test_an_upgrade_for_an_owner_that_can_log_in_is_refused",
)

# Everything that tests could leave on a server.
LEFT = {
    "databases": "select datname, datdba::regrole::text, datacl::text from pg_database order by 1",
    "roles": "select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb from pg_roles order by 1",
    "memberships": "select m.roleid::regrole::text, m.member::regrole::text, m.grantor::regrole::text, m.admin_option,"
    " to_jsonb(m) ->> 'inherit_option', to_jsonb(m) ->> 'set_option' from pg_auth_members m order by 1, 2, 3",
}


@dataclass(frozen=True)
class TheirServer:
    """A user's server on which a login named suite may create databases and roles, and is no superuser."""

    version: int
    admin: psycopg.Connection[dict[str, Any]]
    url: str

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {what: self.admin.execute(query).fetchall() for what, query in LEFT.items()}

    def start_tests(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts tests there as a user does."""
        return start_module("pytest", "-q", "-p", "no:cacheprovider", *arguments, url=self.url)

    def run_tests(self, *arguments: str) -> tuple[int, str]:
        """Runs tests there: exit code, and what was printed."""
        return finished(self.start_tests(*arguments))

    @staticmethod
    def assert_passed(printed: str) -> None:
        """Tests passed, none failed, and what was skipped says why."""
        assert re.search(r"^\d+ passed, \d+ skipped in ", printed, re.MULTILINE), printed
        skipped = [line for line in printed.splitlines() if line.startswith("SKIPPED")]
        assert skipped
        assert [line for line in skipped if ": needs a superuser: " not in line] == []


@pytest.fixture(params=BEFORE_AND_AFTER_16, ids="on {}".format)
def theirs(request: pytest.FixtureRequest) -> Iterator[TheirServer]:
    version = request.param
    with server(version) as url:
        port = listen_on_tcp(version, url)
        with psycopg.connect(make_conninfo(url, port=port), autocommit=True, row_factory=dict_row) as admin:
            admin.execute(sql.SQL("create role suite login createdb createrole password {}").format(PASSWORD))
            yield TheirServer(
                version,
                admin,
                make_conninfo(host="127.0.0.1", port=port, dbname="postgres", user="suite", password=PASSWORD),
            )


@pytest.mark.parametrize("theirs", [18], ids="on {}".format, indirect=True)
def test_where_the_wrapper_s_roles_are_absent_the_suite_makes_them_and_drops_them(theirs: TheirServer) -> None:
    before = theirs.everything()
    code, printed = theirs.run_tests("-n", "2", *SOME_TESTS)
    assert code == 0, printed
    theirs.assert_passed(printed)
    assert theirs.everything() == before


def test_where_the_roles_are_there_the_suite_names_the_grants_it_needs_and_with_them_it_passes(
    theirs: TheirServer,
) -> None:
    theirs.admin.execute((ROOT / "sql" / "roles.sql").read_bytes())
    before = theirs.everything()
    code, printed = theirs.run_tests(*SOME_TESTS)
    (said,) = printed.strip().splitlines()
    assert (code, said.startswith("ERROR: the wrapper's roles are here already and suite may not set dot_owner")) == (
        pytest.ExitCode.USAGE_ERROR,
        True,
    ), printed
    assert theirs.everything() == before

    _, _, grants = said.partition("a DBA runs: ")
    theirs.admin.execute(grants.encode())
    before = theirs.everything()
    code, printed = theirs.run_tests(*SOME_TESTS)
    assert code == 0, printed
    theirs.assert_passed(printed)
    assert theirs.everything() == before


@pytest.mark.parametrize("theirs", [18], ids="on {}".format, indirect=True)
def test_a_login_that_cannot_make_databases_is_told_so_and_an_interrupted_run_leaves_nothing(
    theirs: TheirServer,
) -> None:
    theirs.admin.execute("alter role suite nocreatedb")
    before = theirs.everything()
    code, printed = theirs.run_tests(*SOME_TESTS)
    (said,) = printed.strip().splitlines()
    assert (code, said.endswith("a DBA runs: alter role suite createdb createrole;")) == (4, True), printed
    assert theirs.everything() == before

    theirs.admin.execute("alter role suite createdb")
    before = theirs.everything()
    with interruptible():
        running = theirs.start_tests("-n", "2", *SOME_TESTS)
    clones = "select from pg_database where datname ~ '^dot_test_' and datname !~ '_tmpl$'"
    while not theirs.admin.execute(clones).fetchall():
        assert running.poll() is None, finished(running)
    running.send_signal(signal.SIGINT)
    code, printed = finished(running)
    assert code == pytest.ExitCode.INTERRUPTED, printed
    assert theirs.everything() == before
