"""The outbox on a server whose transactions are numbered far below those that came with the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import database
from harness.restored import Outbox, Report, restore
from moved import Mover, Server, connect, copy, fill, findings, look, shown
from servers import fresh_database, server, upgrade
from support import Connection, observe_run, poll_until, rows, value


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


def restored(mover: Mover, **options: bool | int) -> Report:
    with database.connect(mover.new) as connection:
        return restore(connection, actor="ana", reason="a dump was restored", **options)  # type: ignore[arg-type]


def outbox(report: Report) -> Outbox:
    assert report.outbox
    return report.outbox


def deliver(session: Connection, number: int) -> list[int]:
    """Polls that many events, acknowledges them, and returns their ids."""
    events = poll_until(session, number)
    session.execute("select dot.fn_dot_outbox_ack(%s, %s)", (events[-1]["xact_id"], events[-1]["id"]))
    return [one["id"] for one in events]


def test_without_restored_the_relay_is_shown_nothing_that_is_recorded(moved: Mover) -> None:
    with connect(moved.new) as session:
        observe_run(session)
        assert (shown(session), look(moved.new).waiting) == (0, 3), (
            "three that came along are hidden, the new one is passed"
        )
    assert "state" in findings(moved.new)
    restored(moved, rewind=True)
    assert "state" not in findings(moved.new)


def test_ids_are_used_until_every_event_is_delivered_once_and_in_order(moved: Mover) -> None:
    report = restored(moved)
    assert 90_000 < report.advanced < 110_000
    assert (outbox(report).waiting, outbox(report).behind, report.is_outbox_undecided) == (3, 0, False)
    with connect(moved.new) as session:
        assert observe_run(session)["created"]
        delivered = deliver(session, 4)
        assert delivered == sorted(delivered)
        assert len(delivered) == 4
    assert restored(moved).changes == ()


def test_where_it_would_take_too_many_ids_it_is_left_to_a_person(moved: Mover) -> None:
    report = restored(moved, advance=1000)
    assert report.is_outbox_undecided
    assert (report.advanced, outbox(report).hidden, outbox(report).is_cursor_ahead) == (0, 3, True)
    assert {one.area for one in report.changes} == {"gates", "leases", "attestations"}, "the rest is done"


def test_the_cursor_put_back_delivers_what_is_recorded_from_now_on(moved: Mover) -> None:
    moved.follow("The outbox on another server")
    assert len((moved.folder / "waiting.csv").read_text().splitlines()) == 3
    with connect(moved.new) as session:
        run = observe_run(session)
        (event,) = poll_until(session, 1)
        assert event["aggregateid"].endswith(str(run["process_run_id"])) or str(run["process_run_id"]) in str(event)
    again = restored(moved, advance=1000, rewind=True)
    assert (again.changes, again.is_outbox_undecided) == ((), False)


def test_what_was_recorded_before_restored_is_not_passed_silently(moved: Mover) -> None:
    with connect(moved.new) as session:
        observe_run(session)
        observe_run(session)
    report = restored(moved)
    assert (outbox(report).passed, report.is_outbox_undecided, report.advanced) == (2, True, 0)
    assert not restored(moved, rewind=True).is_outbox_undecided
    with connect(moved.new) as session:
        newest = [one["id"] for one in rows(session, "select id from dot.event_outbox order by id")][-2:]
        delivered = deliver(session, 6)
        assert delivered[:2] == newest, "its own first, then all that came with the database, once more"


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
