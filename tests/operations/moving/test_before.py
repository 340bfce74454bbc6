"""What docs/howto/moving.md says that drift and doctor tell of a dump before `restored` has run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from dot_wrapper.client import database
from dot_wrapper.files import ROOT
from dot_wrapper.operations import drift
from dot_wrapper.proving.databases import fresh_database, upgrade
from support.moved import PAGE, Server, connect, fill, findings
from support.servers import server
from tools.scratch import programs


@pytest.fixture(scope="module", params=[15, 18])
def of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a login that may act as dot_owner, and a dump of a filled database."""
    dump = tmp_path_factory.mktemp("dump") / "shop.dump"
    with server(request.param) as superuser:
        found = Server(request.param, superuser)
        upgrade(fresh_database(superuser, "shop"))
        fill(found.url("shop"))
        with connect(superuser) as session:
            session.execute("create role restorer login")
        tool = programs(found.version) / "pg_dump"
        subprocess.run([tool, "--format=custom", f"--file={dump}", found.url("shop")], check=True)
        yield found, dump


@contextmanager
def acting_as_owner(of: Server) -> Iterator[None]:
    """Lets the login act as dot_owner in the block."""
    with connect(of.superuser) as session:
        session.execute("grant dot_owner to restorer" + (" with inherit false, set true" if of.version > 15 else ""))
        try:
            yield
        finally:
            session.execute("revoke dot_owner from restorer")


def told(row: str) -> tuple[int, set[str]]:
    """What the page's table says of a move: how many rows drift, and which of the doctor's checks fail or are hidden."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == row:
            drifted = re.fullmatch(r"(\d+) drift", cells[2])
            assert drifted
            return int(drifted[1]), set(re.findall(r"`(\w+)`", cells[3]))
    raise AssertionError(row)


@pytest.mark.parametrize(
    ("row", "options", "login"),
    [
        ("dump, as a superuser", (), None),
        ("dump, as another login", ("--role=dot_owner", "--no-owner"), "restorer"),
        ("dump, `--no-owner --no-acl`", ("--no-owner", "--no-acl"), None),
    ],
)
def test_drift_and_doctor_tell_what_the_page_says(
    of: tuple[Server, Path], row: str, options: tuple[str, ...], login: str | None
) -> None:
    server, dump = of
    url = fresh_database(server.superuser, "other")
    with connect(url) as session:
        session.execute((ROOT / "sql" / "roles.sql").read_bytes())
    restore = [str(programs(server.version) / "pg_restore"), "--exit-on-error", *options, str(dump)]
    with acting_as_owner(server) if login else nullcontext():
        subprocess.run([*restore, f"--dbname={server.url('other', login)}"], check=True)
        with database.connect(url) as connection:
            number = len(drift.examine(connection).of("drift"))
        found = findings(url)
    expected, checks = told(row)
    assert number == expected
    assert {check for check, level in found.items() if level in ("fail", "hidden")} == checks


def test_the_usual_grant_does_not_do_without_role_from_16_on(of: tuple[Server, Path]) -> None:
    server, dump = of
    url = fresh_database(server.superuser, "other")
    with connect(url) as session:
        session.execute("alter database other owner to restorer")
    tool = programs(server.version) / "pg_restore"
    with acting_as_owner(server):
        done = subprocess.run(
            [tool, f"--dbname={server.url('other', 'restorer')}", dump], stderr=subprocess.DEVNULL, check=False
        )
    assert done.returncode == 1
    with connect(url) as session:
        tables = session.execute("select count(*) as n from pg_tables where schemaname = 'dot'").fetchone()
    assert tables == {"n": 0 if server.version > 15 else 18}
