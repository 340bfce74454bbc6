"""A hot standby for reading: every view answers there as on the primary, and so do the commands that read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper.proving.databases import database_url, fresh_database, upgrade
from support import PAIR, Connection, observe_run, rows, value, wait_until
from support.moved import connect, fill
from support.servers import server, standby


@pytest.fixture(scope="module")
def pair_of_servers() -> Iterator[tuple[str, str]]:
    """A filled ledger on a primary, and the same on a standby that streams from it."""
    with server(18) as superuser:
        primary = fresh_database(superuser, "shop")
        upgrade(primary)
        fill(primary)
        with standby(superuser) as other:
            yield primary, database_url(other, "shop")


def views(session: Connection) -> list[str]:
    found = rows(
        session,
        "select viewname from pg_views where schemaname = 'dot' and viewname <> 'gate_latch' and viewname !~ '^v_host_'",
    )
    return sorted(one["viewname"] for one in found)


def content(session: Connection, view: str) -> list[dict[str, Any]]:
    """The rows of a view as a reader sees them."""
    session.execute("set role dot_reader")
    found = rows(session, f"select * from dot.{view}")
    session.execute("reset role")
    return sorted(found, key=str)


def test_every_view_answers_on_a_standby_as_on_its_primary(pair_of_servers: tuple[str, str]) -> None:
    with connect(pair_of_servers[0]) as primary, connect(pair_of_servers[1]) as standby:

        def agree(view: str) -> bool:
            return content(standby, view) == content(primary, view)

        assert value(standby, "select pg_is_in_recovery()")
        observe_run(primary, correlation_id="after-the-backup")
        position = value(primary, "select pg_current_wal_lsn()::text")
        wait_until(lambda: value(standby, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", position))
        assert len(views(standby)) > 20
        for view in views(standby):
            # A transaction of the primary's own upkeep may end on one side first: the outbox shows what is older than any.
            wait_until(partial(agree, view))
        newest = "select count(*) from dot.v_process_run where correlation_id = 'after-the-backup'"
        assert value(standby, newest) == 1


@pytest.mark.parametrize(
    "command", ["board", f"why {PAIR}", "runs", "leases", "inventory", "funnel", "gates show", "doctor", "drift"]
)
def test_the_commands_that_read_answer_on_a_standby(pair_of_servers: tuple[str, str], command: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "dot-wrapper", *command.split()],
        env={**os.environ, "DATABASE_URL": pair_of_servers[1]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in ((0, 5) if command == "doctor" else (0,)), (
        done.stderr
    )  # the servers of the tests are not durable
    assert done.stdout
