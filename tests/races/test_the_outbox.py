"""Events of transactions that commit in any order (I24): a relay that polls and acknowledges meets each once, in order.

The naive version, which goes on behind the highest id it has seen, loses one for good.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sizes import size
from support import Connection, Database, define_pair, observe_run, rows, value

WRITERS, EVENTS = size(8, 16), size(60, 6000)
POLL = "select xact_id::text as xact_id, id, aggregateid from dot.fn_dot_outbox_poll(1000)"


def listen(db: Database) -> None:
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'listen')")


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

    def deliver() -> list[str]:
        met: list[str] = []
        with db.connect("relay") as relay:
            while True:
                last = done.is_set()  # asked before the poll: what is found after it was all there
                events = rows(relay, POLL)
                met += [event["aggregateid"] for event in events]
                if events:
                    ack = "select dot.fn_dot_outbox_ack(%s::xid8, %s)"
                    relay.execute(ack, (events[-1]["xact_id"], events[-1]["id"]))
                elif last:
                    return met

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        relay = pool.submit(deliver)
        of_writers = list(pool.map(write, [db.connect("writer") for _ in range(WRITERS)]))
        done.set()
        met = relay.result(timeout=120)
    assert len(met) == len(set(met))
    assert set(met) == set[str]().union(*of_writers)


def test_the_naive_version_loses_the_event_that_commits_late(db: Database) -> None:
    listen(db)
    slow, fast, owner = db.connect("writer"), db.connect("writer"), db.connect("owner")
    slow.execute("begin")
    lost = str(observe_run(slow)["process_run_id"])
    observe_run(fast)
    highest = value(owner, "select max(id) from dot.event_outbox")
    slow.execute("commit")
    behind = rows(owner, "select aggregateid from dot.event_outbox where id > %s", highest)
    assert lost not in {event["aggregateid"] for event in behind}
    # The wrapper's poll shows both, in the order of their transactions.
    assert lost in {event["aggregateid"] for event in rows(db.connect("relay"), POLL)}
