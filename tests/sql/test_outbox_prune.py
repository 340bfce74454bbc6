"""What may leave the outbox: events that were acknowledged and are older than seven days, and nothing else, for each role that asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from support import Connection, Database, poll_until, refused, rows, value, waiting

OLD, YOUNG, AHEAD = "-7 days -1 second", "-6 days -23 hours", "1 day"


@pytest.fixture
def owner(db: Database) -> Connection:
    """The owner of an outbox in which nothing stands yet."""
    return db.connect("owner")


def store(owner: Connection, *ages: str) -> None:
    """One event of each age, each in its own transaction."""
    value(owner, "select dot.fn_outbox_epoch(true)")
    for age in ages:
        owner.execute(
            "insert into dot.event_outbox (epoch, created_at, aggregatetype, aggregateid, type, payload)"
            " values (1, clock_timestamp() + %s, 'process_run', %s, 'process.run.started', '{}')",
            (age, age),
        )


def acknowledge(db: Database, number: int, of: int) -> None:
    """Acknowledges the first of so many events."""
    with db.connect("relay") as relay:
        event = poll_until(relay, of)[number - 1]
        relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (event["epoch"], event["xact_id"], event["id"]))


def left(owner: Connection) -> list[int]:
    return [one["id"] for one in rows(owner, "select id from dot.event_outbox order by epoch, xact_id, id")]


def prune(relay: Connection, limit: int | None = 1000) -> int:
    return int(value(relay, "select dot.fn_dot_outbox_prune(%s)", limit))


def test_what_is_acknowledged_and_old_goes_and_everything_else_stays(db: Database, owner: Connection) -> None:
    store(owner, OLD, AHEAD, OLD, YOUNG, OLD, OLD)
    relay = db.connect("relay")
    assert prune(relay) == 0, "nothing is acknowledged"
    acknowledge(db, 5, of=6)
    assert prune(relay) == 3
    assert left(owner) == [2, 4, 6], "one ahead, one young, one not acknowledged"
    assert prune(relay) == 0
    acknowledge(db, 1, of=1)
    assert value(relay, "select dot.fn_dot_outbox_prune()") == 1
    assert left(owner) == [2, 4]


def test_a_call_looks_at_so_many_of_the_oldest(db: Database, owner: Connection) -> None:
    store(owner, *[OLD] * 7)
    acknowledge(db, 7, of=7)
    relay = db.connect("relay")
    assert [prune(relay, limit) for limit in (2, 1, 3)] == [2, 1, 3]
    assert left(owner) == [7]
    for illegal in (0, -1, 10_001):
        with refused("23514", "event_outbox_limit_check", "From 1 to 10,000"):
            prune(relay, illegal)
    with refused("23502", "event_outbox_limit_not_null"):
        prune(relay, None)
    assert prune(relay, 10_000) == 1


def test_an_epoch_before_the_cursor_s_goes_too(db: Database, owner: Connection) -> None:
    store(owner, OLD)
    owner.execute(
        "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at) values (2, 7, 7, now())"
    )
    owner.execute("select dot.fn_outbox_epoch(true)")
    owner.execute(
        "insert into dot.event_outbox (epoch, created_at, xact_id, aggregatetype, aggregateid, type, payload)"
        " select 3, created_at, '1', aggregatetype, aggregateid, type, payload from dot.event_outbox"
    )
    acknowledge(db, 2, of=2)
    assert prune(db.connect("relay")) == 2


@pytest.mark.parametrize("who", ["owner", "superuser", "superuser in replica mode"])
def test_by_hand_goes_no_more_than_by_the_call(db: Database, owner: Connection, who: str) -> None:
    store(owner, OLD, YOUNG, AHEAD, OLD)
    acknowledge(db, 3, of=4)
    culprit = db.connect(who.split()[0])
    if who.endswith("replica mode"):
        culprit.execute("set session_replication_role = replica")
    for kept in (2, 3, 4):
        with refused("23001", "event_outbox_append_only", "append-only"):
            culprit.execute("delete from dot.event_outbox where id = %s", (kept,))
    for statement in (
        "delete from dot.event_outbox",
        "update dot.event_outbox set payload = payload where id = 1",
        "update dot.event_outbox set created_at = created_at - interval '1 year'",
        "truncate dot.event_outbox",
    ):
        with refused("23001", "event_outbox_append_only"):
            culprit.execute(statement)
    assert left(owner) == [1, 2, 3, 4]
    culprit.execute("delete from dot.event_outbox where id = 1")
    assert left(owner) == [2, 3, 4]


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_who_may_move_the_cursor_by_hand_may_remove_what_was_not_acknowledged(
    db: Database, owner: Connection, who: str
) -> None:
    """The trigger asks the cursor, and what is not covered is said in docs/threats.md."""
    store(owner, OLD, YOUNG)
    culprit = db.connect(who)
    with refused("23001", "event_outbox_append_only"):
        culprit.execute("delete from dot.event_outbox")
    culprit.execute("begin; update dot.outbox_cursor set epoch = 1000000")
    assert culprit.execute("delete from dot.event_outbox where id = 1").rowcount == 1
    with refused("23001", "event_outbox_append_only"):
        culprit.execute("delete from dot.event_outbox")
    culprit.execute("rollback")
    assert left(owner) == [1, 2]


def test_of_two_that_prune_at_once_each_event_goes_once(db: Database, owner: Connection) -> None:
    store(owner, *[OLD] * 4)
    acknowledge(db, 4, of=4)
    first, second = db.connect("relay"), db.connect("relay")
    first.execute("begin")
    assert prune(first, 2) == 2
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(prune, second), pool, db)
        first.execute("commit")
        assert late.result() == 2
    assert left(owner) == []


def test_what_was_pruned_does_not_come_back_and_the_next_event_is_delivered(db: Database, owner: Connection) -> None:
    store(owner, OLD, OLD)
    acknowledge(db, 2, of=2)
    relay = db.connect("relay")
    assert prune(relay) == 2
    store(owner, YOUNG)
    assert [one["id"] for one in poll_until(relay, 1)] == [3]
    acknowledge(db, 1, of=1)


# Positions around the cursor (2, 50, 5), each old: those that may go in their order, and those that stay.
GO = [(1, 90, 9), (2, 10, 9), (2, 50, 4), (2, 50, 5)]
STAY = [(2, 50, 6), (2, 60, 1), (2, 60, 5), (3, 10, 1), (3, 50, 5)]


def place(owner: Connection) -> None:
    for epoch, xact_id, event_id in [*reversed(GO), *STAY]:
        owner.execute(
            "insert into dot.event_outbox (epoch, xact_id, id, created_at, aggregatetype, aggregateid, type, payload)"
            " overriding system value values (%s, %s::text::xid8, %s, clock_timestamp() + %s, 'a', 'b', 'c', '{}')",
            (epoch, str(xact_id), event_id, OLD),
        )
    owner.execute("update dot.outbox_cursor set epoch = 2, xact_id = '50', outbox_id = 5")


def positions(owner: Connection) -> list[tuple[int, int, int]]:
    found = rows(owner, "select epoch, xact_id, id from dot.event_outbox order by epoch, xact_id, id")
    return [(one["epoch"], int(one["xact_id"]), one["id"]) for one in found]


def test_the_call_goes_by_epoch_transaction_and_id_up_to_the_cursor(db: Database, owner: Connection) -> None:
    place(owner)
    relay = db.connect("relay")
    for gone in range(1, len(GO) + 1):
        assert prune(relay, 1) == 1
        assert positions(owner) == [*GO[gone:], *STAY]
    assert prune(relay) == 0


def test_the_trigger_goes_by_epoch_transaction_and_id_up_to_the_cursor(owner: Connection) -> None:
    place(owner)
    delete = "delete from dot.event_outbox where (epoch, xact_id, id) = (%s, %s::text::xid8, %s)"
    for epoch, xact_id, event_id in STAY:
        with refused("23001", "event_outbox_append_only"):
            owner.execute(delete, (epoch, str(xact_id), event_id))
    for epoch, xact_id, event_id in reversed(GO):
        owner.execute(delete, (epoch, str(xact_id), event_id))
    assert positions(owner) == STAY
