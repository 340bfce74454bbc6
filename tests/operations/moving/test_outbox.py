"""The outbox on a server whose transactions are numbered far below those that came with the database: it needs nothing, and whatever is
done afterwards each event is delivered once, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from dot_wrapper.client import database
from dot_wrapper.operations.restored import Report, restore
from dot_wrapper.proving.databases import fresh_database, upgrade
from support import Connection, observe_run, poll, poll_until, rows, value
from support.moved import Mover, Server, connect, copy, fill, look
from support.servers import server


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Server, Server]]:
    """Two servers of one version: a database of the second is filled, and restored on the first."""
    with server(18) as low, server(18) as high:
        yield Server(18, low), Server(18, high)


@pytest.fixture
def moved(both: tuple[Server, Server], tmp_path: Path) -> Mover:
    """A database that was restored on a server that has had some 100,000 transactions fewer. One of its four events was
    acknowledged."""
    low, high = both
    ahead = xid(low) + 100_000 - xid(high)
    high.use_ids(max(ahead, 1))
    upgrade(fresh_database(high.superuser, "shop"))
    fill(high.url("shop"))
    low.clean()
    fresh_database(low.superuser, "shop")
    mover = Mover(high.url("shop"), low.url("shop"), 18, tmp_path)
    copy(mover)
    return mover


def xid(of: Server) -> int:
    with connect(of.superuser) as session:
        return int(value(session, "select pg_current_xact_id()::text"))


def restored(mover: Mover, *, dry_run: bool = False) -> Report:
    with database.connect(mover.new) as connection:
        return restore(connection, actor="ana", reason="a dump was restored", dry_run=dry_run)


def deliver(url: str, number: int) -> list[UUID]:
    """Polls that many events, acknowledges them, and returns what a consumer knows them by."""
    with connect(url) as session:
        events = poll_until(session, number)
        last = events[-1]
        session.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (last["epoch"], last["xact_id"], last["id"]))
        assert poll(session) == []
        return [one["event_id"] for one in events]


def record(url: str) -> UUID:
    """Records a run, and returns the event that tells of it."""
    with connect(url) as session:
        run = observe_run(session)["process_run_id"]
        return UUID(str(value(session, "select event_id from dot.event_outbox where aggregateid = %s", str(run))))


def waiting(session: Connection) -> list[UUID]:
    query = (
        "select o.event_id from dot.event_outbox as o, dot.outbox_cursor as c"
        " where (o.epoch, o.xact_id, o.id) > (c.epoch, c.xact_id, c.outbox_id) order by o.epoch, o.xact_id, o.id"
    )
    return [one["event_id"] for one in rows(session, query)]


@pytest.mark.parametrize("when", ["before restored", "after restored", "without restored"])
def test_what_came_and_what_is_recorded_here_is_delivered_once_and_in_order(moved: Mover, when: str) -> None:
    with connect(moved.old) as session:
        came = waiting(session)
    assert len(came) == 3
    mine = [record(moved.new)] if when == "before restored" else []
    if when != "without restored":
        assert restored(moved).waiting == 3 + len(mine)
    mine += [record(moved.new), record(moved.new)]
    assert deliver(moved.new, 3 + len(mine)) == [*came, *mine]
    last = record(moved.new)
    assert deliver(moved.new, 1) == [last]
    with connect(moved.new) as session:
        told = {one["finding"] for one in rows(session, "select finding from dot.v_dot_state")}
    assert told <= {"gate_not_opened_here"}, "and nothing of the outbox"


def test_what_was_delivered_before_the_move_is_not_delivered_again(moved: Mover) -> None:
    delivered = deliver(moved.new, 3)
    with connect(moved.new) as session:
        every = {one["event_id"] for one in rows(session, "select event_id from dot.event_outbox")}
    assert (len(every), len(every - set(delivered))) == (4, 1)


def test_a_database_that_is_moved_on_and_back_loses_nothing(moved: Mover, both: tuple[Server, Server]) -> None:
    low, high = both
    with connect(moved.old) as session:
        came = waiting(session)
    here = record(moved.new)
    back = Mover(moved.new, fresh_database(high.superuser, "back"), 18, moved.folder)
    copy(back)
    there = record(back.new)
    again = Mover(back.new, fresh_database(low.superuser, "again"), 18, moved.folder)
    copy(again)
    last = record(again.new)
    assert deliver(again.new, 6) == [*came, here, there, last]
    with connect(again.new) as session:
        assert [one["epoch"] for one in rows(session, "select epoch from dot.outbox_epoch order by epoch")] == [
            1,
            2,
            3,
            4,
        ]


def test_what_was_acknowledged_elsewhere_may_be_pruned_here(moved: Mover) -> None:
    with connect(moved.new) as session:
        session.execute("alter table dot.event_outbox disable trigger event_outbox_append_only")
        session.execute("update dot.event_outbox set created_at = created_at - interval '8 days'")
        session.execute("alter table dot.event_outbox enable always trigger event_outbox_append_only")
        assert value(session, "select dot.fn_dot_outbox_prune()") == 1
    deliver(moved.new, 3)
    with connect(moved.new) as session:
        assert value(session, "select dot.fn_dot_outbox_prune()") == 3


def test_a_dry_run_says_it_all_and_changes_nothing(moved: Mover) -> None:
    before = look(moved.new)
    plan = restored(moved, dry_run=True)
    assert look(moved.new) == before
    done = restored(moved)
    assert [without_numbers(one.what) for one in plan.changes] == [without_numbers(one.what) for one in done.changes]
    assert plan.changes
    assert look(moved.new) != before


def without_numbers(text: str) -> str:
    return re.sub(r"\d{3,}", "", text)
