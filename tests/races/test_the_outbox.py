"""Events of transactions that commit in any order (I24): a relay that polls and acknowledges meets each once, in order.

The naive version, which goes on behind the highest id it has seen, loses one for good.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from support import Connection, Database, define_pair, observe_run, rows, value
from support.sizes import size

WRITERS, EVENTS = size(8, 16), size(60, 6000)
POLL = "select epoch, xact_id::text as xact_id, id, aggregateid from dot.fn_dot_outbox_poll(1000)"


def listen(db: Database) -> None:
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'listen')")


def deliver(db: Database, done: threading.Event) -> list[str]:
    """Polls and acknowledges until nothing comes any more, and returns what each event was of."""
    met: list[str] = []
    with db.connect("relay") as relay:
        while True:
            last = done.is_set()  # asked before the poll: what is found after it was all there
            events = rows(relay, POLL)
            met += [event["aggregateid"] for event in events]
            if events:
                ack = "select dot.fn_dot_outbox_ack(%s, %s::xid8, %s)"
                relay.execute(ack, (events[-1]["epoch"], events[-1]["xact_id"], events[-1]["id"]))
            elif last:
                return met


def test_a_relay_meets_each_committed_event_once_and_none_of_what_was_rolled_back(db: Database) -> None:
    listen(db)
    done = threading.Event()

    def write(writer: Connection) -> set[str]:
        committed = set()
        for number in range(EVENTS):
            writer.execute("begin")
            runs = {str(observe_run(writer)["process_run_id"]) for _ in range(1 + number % 3)}
            if number % 4 == 0:
                writer.execute("rollback")
            else:
                writer.execute("commit")
                committed |= runs
        return committed

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        relay = pool.submit(deliver, db, done)
        of_writers = list(pool.map(write, [db.connect("writer") for _ in range(WRITERS)]))
        done.set()
        met = relay.result(timeout=120)
    assert len(met) == len(set(met))
    assert set(met) == set[str]().union(*of_writers)


def test_the_naive_version_loses_the_event_that_commits_late(db: Database) -> None:
    listen(db)
    slow, fast, owner = db.connect("writer"), db.connect("writer"), db.connect("owner")
    observe_run(fast)  # the first event begins the epoch, and others wait for that one alone
    slow.execute("begin")
    lost = str(observe_run(slow)["process_run_id"])
    observe_run(fast)
    highest = value(owner, "select max(id) from dot.event_outbox")
    slow.execute("commit")
    behind = rows(owner, "select aggregateid from dot.event_outbox where id > %s", highest)
    assert lost not in {event["aggregateid"] for event in behind}
    # The wrapper's poll shows both, in the order of their transactions.
    assert lost in {event["aggregateid"] for event in rows(db.connect("relay"), POLL)}


def test_many_first_events_after_a_move_begin_one_epoch_and_none_is_lost(db: Database) -> None:
    """Epoch 1 came from elsewhere, and its transactions are far ahead of all that this server has had."""
    listen(db)
    owner = db.connect("owner")
    owner.execute(
        "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at) values (1, 7, 7, now())"
    )
    owner.execute(
        "insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
        " select 1, (8000000000 + i)::text::xid8, 'process_run', i::text, 'process.run.started', '{}'"
        " from generate_series(1, 20) as i"
    )
    barrier, done = threading.Barrier(WRITERS, timeout=60), threading.Event()

    def write(number: int, writer: Connection) -> set[str]:
        """One in three rolls its first event back, and one in three begins after the others."""
        committed = set()
        barrier.wait()
        for step in range(4):
            writer.execute("begin")
            if number % 3 == 2:
                value(writer, "select pg_current_xact_id()")
            run = str(observe_run(writer)["process_run_id"])
            if step == 0 and number % 3 == 1:
                writer.execute("rollback")
            else:
                writer.execute("commit")
                committed.add(run)
        return committed

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        relay = pool.submit(deliver, db, done)
        writers = [pool.submit(write, number, db.connect("writer")) for number in range(WRITERS)]
        committed = set[str]().union(*(one.result(timeout=120) for one in writers))
        done.set()
        met = relay.result(timeout=120)
    came = [str(number) for number in range(1, 21)]
    assert met[:20] == came
    assert len(met) == len(set(met))
    assert set(met[20:]) == committed
    assert value(owner, "select count(*) from dot.outbox_epoch") == 2
