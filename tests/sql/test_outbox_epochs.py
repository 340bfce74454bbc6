"""Epochs of the outbox: what came with the database from another cluster is delivered once, before what is recorded here, and nothing
of either is lost."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from support import (
    Connection,
    Database,
    batch,
    define_pair,
    header_line,
    observe_component,
    observe_run,
    poll,
    poll_until,
    refused,
    row,
    rows,
    value,
    waiting,
)

FAR = 8_000_000_000
"""A transaction that no server of the tests comes to."""
LEVELS = ("read committed", "repeatable read", "serializable")


@pytest.fixture
def writer(db: Database) -> Connection:
    """A writer of a defined pair whose started runs are wanted."""
    listen(db)
    return db.connect("writer")


def listen(db: Database) -> None:
    define_pair(db)
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')")


@pytest.mark.parametrize("way", ["a header", "a component", "a batch"])
def test_no_transaction_that_begins_an_epoch_can_be_prepared(db: Database, writer: Connection, way: str) -> None:
    """It would keep every other event, and the observation with it, waiting without end."""
    if not db.server.own:
        pytest.skip("prepared transactions are there on a server of the tests' own")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', false, 'tester', 'for a test')")
        run_id = observe_run(writer)["process_run_id"]
        wanted = "process.component.step_completed" if way == "a component" else "process.run.started"
        gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (wanted,))

    def record() -> None:
        if way == "a header":
            observe_run(writer)
        elif way == "a component":
            observe_component(writer, run_id, "producer")
        else:
            batch(writer, [header_line(uuid.uuid4())])

    writer.execute("begin")
    record()
    with refused("0A000"):
        writer.execute(f"prepare transaction 'dot_test_{uuid.uuid4().hex}'")
    observe_run(writer) if way != "a component" else observe_component(writer, run_id, "producer")
    name = f"dot_test_{uuid.uuid4().hex}"
    writer.execute("begin")
    batch(writer, [header_line(uuid.uuid4())])
    writer.execute(f"prepare transaction '{name}'")  # once the epoch is begun
    writer.execute(f"rollback prepared '{name}'")


def carry(db: Database, *, system: int = 1, database: int = 0, events: int = 3, delivered: int = 1) -> None:
    """What a move leaves: an epoch that was begun on another system or in another database, its events, some of them delivered."""
    with db.connect("owner") as owner:
        owner.execute(
            "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at)"
            " select 1, i.system_identifier + %s, i.database_oid::bigint + %s, clock_timestamp()"
            " from dot.fn_database_identity() as i",
            (system, database),
        )
        owner.execute(
            "insert into dot.event_outbox (epoch, xact_id, aggregatetype, aggregateid, type, payload)"
            " select 1, (%s + i)::text::xid8, 'process_run', 'came-' || i, 'process.run.started', '{}'"
            " from generate_series(1, %s) as i",
            (FAR, events),
        )
        owner.execute(
            "update dot.outbox_cursor set (epoch, xact_id, outbox_id) = (select e.epoch, e.xact_id, e.id"
            " from dot.event_outbox as e order by e.xact_id limit 1 offset %s)",
            (delivered - 1,),
        )


def deliver(relay: Connection, number: int) -> list[str]:
    """Polls that many events, acknowledges them one by one, and returns what they are of."""
    events = poll_until(relay, number)
    for one in events:
        relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (one["epoch"], one["xact_id"], one["id"]))
    return [one["aggregateid"] for one in events]


def test_the_first_event_begins_the_first_epoch_be_it_a_component_s(db: Database) -> None:
    define_pair(db)
    db.session("gatekeeper").execute(
        "select dot.fn_event_type_set('process.component.step_completed', true, 'tester', 'for a test')"
    )
    writer = db.session("writer")
    observe_component(writer, observe_run(writer)["process_run_id"], "producer")
    for table in ("event_outbox", "outbox_epoch"):
        assert value(db.session("owner"), f"select epoch from dot.{table}") == 1


def epochs(db: Database) -> list[dict[str, Any]]:
    here = "system_identifier, database_oid) = (select * from dot.fn_database_identity())"
    return rows(db.session("owner"), f"select epoch, ({here} as is_here from dot.outbox_epoch order by epoch")


def test_a_database_begins_with_epoch_one_and_stays_in_it(db: Database, writer: Connection) -> None:
    assert epochs(db) == []
    for _ in range(3):
        observe_run(writer)
    assert epochs(db) == [{"epoch": 1, "is_here": True}]
    assert {one["epoch"] for one in poll_until(db.connect("relay"), 3)} == {1}


@pytest.mark.parametrize(("system", "database"), [(1, 0), (0, 1)], ids=["another cluster", "another database"])
def test_what_came_is_delivered_at_once_and_what_is_recorded_here_after_it(
    db: Database, writer: Connection, system: int, database: int
) -> None:
    carry(db, system=system, database=database)
    relay = db.connect("relay")
    first, second = poll_until(relay, 2)
    assert (first["aggregateid"], second["aggregateid"]) == ("came-2", "came-3")
    relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (first["epoch"], first["xact_id"], first["id"]))
    assert len(epochs(db)) == 1, "who reads or acknowledges begins none"
    mine = [str(observe_run(writer)["process_run_id"]) for _ in range(2)]
    assert deliver(relay, 3) == ["came-3", *mine]
    assert epochs(db) == [{"epoch": 1, "is_here": False}, {"epoch": 2, "is_here": True}]
    mine = [str(observe_run(writer)["process_run_id"])]
    assert deliver(relay, 1) == mine
    assert poll(relay) == []


def test_a_database_that_comes_back_begins_another_epoch(db: Database, writer: Connection) -> None:
    observe_run(writer)
    db.session("owner").execute(
        "insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at) values (2, 7, 7, now())"
    )
    observe_run(writer)
    assert [one["epoch"] for one in poll_until(db.connect("relay"), 2)] == [1, 3]


def test_everything_of_a_run_in_one_call_begins_one_epoch(db: Database, writer: Connection) -> None:
    db.session("owner").execute("update dot.event_type set active = true")
    carry(db)
    with writer.transaction():
        for _ in range(2):
            run_id = observe_run(writer)["process_run_id"]
            observe_component(writer, run_id, "producer")
    assert [one["epoch"] for one in poll_until(db.connect("relay"), 6)] == [1, 1, 2, 2, 2, 2]


def test_a_batch_begins_the_epoch_only_where_it_tells_of_something(db: Database, writer: Connection) -> None:
    carry(db)
    line = {
        "process_candidate_code": "shop.orders",
        "dot_code": "dot.load_orders",
        "correlation_id": "corr",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": True,
        "actor": "tester",
        "evidence_ref": psycopg.types.json.Jsonb({}),
    }
    batch(writer, [{**line, "process_run_id": uuid.uuid4(), "status": "prepared"} for _ in range(3)])
    assert len(epochs(db)) == 1
    batch(writer, [{**line, "process_run_id": uuid.uuid4(), "status": "started"} for _ in range(3)])
    assert [one["epoch"] for one in poll_until(db.connect("relay"), 5)] == [1, 1, 2, 2, 2]


def test_a_running_transaction_holds_back_its_own_epoch_and_no_other(db: Database, writer: Connection) -> None:
    carry(db)
    slow, relay = db.connect("writer"), db.connect("relay")
    slow.execute("begin")
    value(slow, "select pg_current_xact_id()")  # before the epoch begins: it will write in it all the same
    fast = str(observe_run(writer)["process_run_id"])
    assert [one["aggregateid"] for one in poll(relay)] == ["came-2", "came-3"]
    hidden = row(db.session("owner"), "select epoch, xact_id, id from dot.event_outbox where epoch = 2")
    with refused("23503", "outbox_cursor_position_fkey"):
        relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (hidden["epoch"], hidden["xact_id"], hidden["id"]))
    late = str(observe_run(slow)["process_run_id"])
    slow.execute("commit")
    assert deliver(relay, 4) == ["came-2", "came-3", late, fast]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_that_begin_an_epoch_at_once_the_second_waits_and_there_is_one(
    db: Database, writer: Connection, level: str, end: str
) -> None:
    carry(db)
    first, second, relay = writer, db.connect("writer"), db.connect("relay")
    runs = [uuid.uuid4(), uuid.uuid4()]
    first.execute(f"begin isolation level {level}")
    observe_run(first, process_run_id=runs[0])
    assert [one["aggregateid"] for one in poll(relay)] == ["came-2", "came-3"]

    def record() -> None:
        with second.transaction():
            second.execute(f"set transaction isolation level {level}")
            observe_run(second, process_run_id=runs[1], idempotency_key="key")

    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, record, pool, db)
        first.execute(end)
        if end == "commit" and level != "read committed":
            with refused("40001"):
                late.result()
            record()
        else:
            late.result()
    expected = {str(runs[1])} | ({str(runs[0])} if end == "commit" else set())
    assert epochs(db) == [{"epoch": 1, "is_here": False}, {"epoch": 2, "is_here": True}]
    delivered = deliver(relay, 2 + len(expected))
    assert (delivered[:2], set(delivered[2:])) == (["came-2", "came-3"], expected)
    assert poll(relay) == []


@pytest.mark.parametrize("level", LEVELS[1:])
def test_who_saw_no_epoch_and_writes_after_it_began_retries(db: Database, writer: Connection, level: str) -> None:
    carry(db)
    other = db.connect("writer")
    other.execute(f"begin isolation level {level}")
    rows(other, "select dot.fn_dot_iu_operator_runtime_enabled()")  # its snapshot is from before
    observe_run(writer)
    with refused("40001"):
        observe_run(other)
    other.execute("rollback")
    observe_run(other)
    assert [one["epoch"] for one in poll_until(db.connect("relay"), 4)] == [1, 1, 2, 2]


def test_a_savepoint_that_is_rolled_back_takes_the_epoch_with_it_and_the_next_event_begins_it(
    db: Database, writer: Connection
) -> None:
    carry(db)
    writer.execute("begin; savepoint one")
    observe_run(writer)
    writer.execute("rollback to one")
    run_id = str(observe_run(writer)["process_run_id"])
    writer.execute("commit")
    assert deliver(db.connect("relay"), 3) == ["came-2", "came-3", run_id]


def test_positions_go_by_epoch_first(db: Database, writer: Connection) -> None:
    carry(db)
    observe_run(writer)
    relay, reader = db.connect("relay"), db.connect("reader")
    came, _, mine = poll_until(relay, 3)
    assert (came["epoch"], mine["epoch"], int(came["xact_id"]) > int(mine["xact_id"])) == (1, 2, True)
    relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (2, mine["xact_id"], mine["id"]))
    stands = row(reader, "select depth, cursor_epoch, cursor_id from dot.v_dot_outbox")
    assert stands == {"depth": 0, "cursor_epoch": 2, "cursor_id": mine["id"]}
    with refused("23514", "outbox_cursor_ahead_check"):
        relay.execute("select dot.fn_dot_outbox_ack(%s, %s, %s)", (1, came["xact_id"], came["id"]))


def test_an_id_that_was_given_elsewhere_is_given_again_and_stored(db: Database, writer: Connection) -> None:
    """Rows are replicated, and sequences are not: the first events after a cut-over have the numbers of earlier ones."""
    carry(db)
    owner = db.session("owner")
    owner.execute("alter sequence dot.event_outbox_id_seq restart")
    for _ in range(3):
        observe_run(writer)
    ids = rows(owner, "select id from dot.event_outbox order by id")
    assert [one["id"] for one in ids] == [1, 1, 2, 2, 3, 3]
    assert len(deliver(db.connect("relay"), 5)) == 5


def test_each_event_has_an_event_id_of_its_own_that_stays(db: Database, writer: Connection) -> None:
    for _ in range(3):
        observe_run(writer)
    relay = db.connect("relay")
    events = poll_until(relay, 3)
    assert len({one["event_id"] for one in events} - {None}) == 3
    assert poll(relay) == events


def test_where_the_cluster_cannot_be_told_no_event_is_placed_and_the_rest_goes_on(
    db: Database, writer: Connection
) -> None:
    observe_run(writer)
    relay = db.connect("relay")
    (event,) = poll_until(relay, 1)
    superuser = db.connect("superuser")
    superuser.execute("revoke execute on function pg_control_system() from public")
    calls = (
        partial(observe_run, db.connect("writer")),
        partial(poll, db.connect("relay")),
        partial(
            db.connect("relay").execute,
            "select dot.fn_dot_outbox_ack(%s, %s, %s)",
            (event["epoch"], event["xact_id"], event["id"]),
        ),
    )
    for call in calls:
        with refused("23502", "outbox_epoch_system_identifier_not_null", "pg_control_system"):
            call()
    observe_run(db.connect("writer"), status="prepared")
    superuser.execute("grant execute on function pg_control_system() to dot_owner")
    for call in calls:
        call()
    assert len(epochs(db)) == 1


def test_no_caller_s_setting_moves_the_epoch(db: Database, writer: Connection) -> None:
    """The identity is kept by plans, which no setting and no temporary object of a session reaches."""
    writer.execute("set plan_cache_mode = force_custom_plan; set search_path = pg_temp")
    writer.execute(
        "create function pg_temp.fn_database_here() returns bigint[] language sql as 'select array[7, 7]::bigint[]'"
    )
    for _ in range(3):
        observe_run(writer)
    assert epochs(db) == [{"epoch": 1, "is_here": True}]


def test_what_waits_comes_after_the_cursor_by_epoch_transaction_and_number(db: Database) -> None:
    owner, superuser, reader = db.connect("owner"), db.connect("superuser"), db.connect("reader")
    places = ((1, 20), (1, 10), (1, 20), (2, 7), (2, 5), (2, 5))
    for minute, (epoch, transaction) in enumerate(places):
        owner.execute(
            "insert into dot.event_outbox (epoch, xact_id, created_at, aggregatetype, aggregateid, type, payload)"
            " values (%s, %s::text::xid8, now() - interval '1 hour' + %s * interval '1 minute', 'a', 'b', 'c', '{}')",
            (epoch, transaction, minute),
        )
    stored = rows(owner, "select id, created_at from dot.event_outbox order by id")
    superuser.execute(
        "update dot.outbox_cursor set epoch = 1, xact_id = '20', outbox_id = (select min(id) from dot.event_outbox)"
    )
    waiting_now = rows(reader, "select epoch, xact_id::text, id from dot.v_dot_outbox_waiting")
    assert [tuple(one.values()) for one in waiting_now] == [
        (places[at][0], str(places[at][1]), stored[at]["id"]) for at in (2, 4, 5, 3)
    ]
    shown = "select depth, oldest_at from dot.v_dot_outbox"
    assert row(reader, shown) == {"depth": 4, "oldest_at": stored[2]["created_at"]}
    superuser.execute("update dot.outbox_cursor set outbox_id = %s", (stored[2]["id"],))
    assert row(reader, shown) == {"depth": 3, "oldest_at": stored[4]["created_at"]}
