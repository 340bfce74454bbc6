"""Logical replication and cut-over: rows and nothing else come along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dot_wrapper.proving.databases import fresh_database, upgrade
from support import observe_run, poll, poll_until
from support.moved import OTHER_PAIR, Mover, Server, acquire, connect, fill, findings, look, observe_real, safe
from support.servers import server


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    settings = "wal_level = logical\nsynchronous_commit = on\n"
    with server(15, settings) as old, server(18, settings) as new:
        upgrade(fresh_database(old, "shop"))
        fill(Server(15, old).url("shop"))
        yield Server(15, old), Server(18, new)


def test_logical_replication_and_cut_over(mover: Mover, tmp_path: Path) -> None:
    mover.follow("Logical replication and cut-over")
    with connect(mover.old) as session:  # meanwhile
        observe_real(session, OTHER_PAIR, acquire(session, OTHER_PAIR))
    mover.follow("The cut-over")
    assert look(mover.new) == safe(look(mover.old))
    assert findings(mover.new) == {"runs": "warn", "leases": "warn"}
    with connect(mover.new) as session:
        run = observe_run(session)["process_run_id"]
        events = poll_until(session, 5)
        assert [one["epoch"] for one in events] == [1, 1, 1, 1, 2]
        assert len({one["event_id"] for one in events}) == 5
        assert events[-1]["aggregateid"] == str(run)
        assert events[-1]["id"] == 1, "a number that was given on the old server"
        last = events[-1]
        session.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (last["epoch"], last["xact_id"], last["id"]))
        assert poll(session) == []
