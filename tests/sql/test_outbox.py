"""The outbox: one event per new observation of a wanted type, read in an order in which none can be missed."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any

import psycopg
import pytest

from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    WAITS,
    Connection,
    Database,
    acquire,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    poll,
    poll_until,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
    wait_until,
)

RUN_TYPES = {
    "prepared": "process.run.observed",
    "started": "process.run.started",
    "completed": "process.run.completed",
    "failed": "process.run.failed",
    "skipped": "process.run.cancelled",
}
COMPONENT_TYPES = {
    "prepared": "process.component.observed",
    "started": "process.component.step_started",
    "completed": "process.component.step_completed",
    "failed": "process.component.failed",
    "skipped": "process.component.cancelled",
}


@pytest.fixture
def writer(db: Database) -> Connection:
    """A writer of a defined pair whose every event type is wanted."""
    define_pair(db)
    switch_all(db, True)
    return db.connect("writer")


def switch_all(db: Database, active: bool) -> None:
    with db.connect("gatekeeper") as gatekeeper:
        for event_type in (*RUN_TYPES.values(), *COMPONENT_TYPES.values()):
            gatekeeper.execute("select dot.fn_event_type_set(%s, %s, 'me', 'for a test')", (event_type, active))


def count(db: Database, table: str = "event_outbox") -> int:
    return ledger_counts(db)[table]


def ack(relay: Connection, epoch: object, xact_id: object, event_id: object) -> None:
    relay.execute("select dot.fn_dot_outbox_ack(%s, %s::xid8, %s)", (epoch, xact_id, event_id))


def ack_event(relay: Connection, event: dict[str, Any]) -> None:
    ack(relay, event["epoch"], event["xact_id"], event["id"])


def test_an_inactive_type_leaves_no_event_and_the_observation_commits(db: Database, writer: Connection) -> None:
    switch_all(db, False)
    for status in RUN_TYPES:
        run_id = observe_run(writer, status=status)["process_run_id"]
        if status not in ("failed", "skipped"):
            observe_component(writer, run_id, "producer", status=status)
    assert count(db) == 0
    assert (count(db, "process_run_observation"), count(db, "process_component_observation")) == (5, 3)


def test_each_status_has_a_type_and_only_its_own_switch_decides(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    run_id = observe_run(writer)["process_run_id"]
    assert value(owner, "select count(*) from dot.event_type") == len(RUN_TYPES) + len(COMPONENT_TYPES)
    for part, types in (("run", RUN_TYPES), ("component", COMPONENT_TYPES)):
        for status, event_type in types.items():
            for wanted in (True, False):
                owner.execute("update dot.event_type set active = (event_type = %s) = %s", (event_type, wanted))
                before = count(db)
                with subtests.test(part=part, status=status, wanted=wanted):
                    if part == "run":
                        observe_run(writer, status=status)
                    else:
                        run_id = observe_run(writer)["process_run_id"] if wanted else run_id
                        before = count(db)
                        observe_component(writer, run_id, "producer" if wanted else "verifier", status=status)
                    assert count(db) == before + wanted
                    if wanted:
                        assert value(owner, "select type from dot.event_outbox order by id desc limit 1") == event_type


def test_an_observation_tells_nothing_of_another_candidate_s_run_with_its_id(db: Database) -> None:
    define_pair(db)
    define_pair(db, "shop.other")
    writer, run_id = db.connect("writer"), uuid.uuid4()
    for code in (PAIR, "shop.other"):
        switch_all(db, code != PAIR)
        observe_run(writer, process_candidate_code=code, process_run_id=run_id)
        observe_component(writer, run_id, "producer", process_candidate_code=code)
    told = rows(db.connect("owner"), "select payload ->> 'process_candidate_code' as code from dot.event_outbox")
    assert [one["code"] for one in told] == ["shop.other", "shop.other"]


def test_readers_see_the_wrapper_s_event_types_and_which_are_wanted(db: Database) -> None:
    owner, reader = db.connect("owner"), db.connect("reader")
    owner.execute(
        "insert into dot.event_type (event_type, active) values ('order.shipped', true), ('my.process.x', true)"
    )
    wanted = "process.run.failed"
    db.connect("gatekeeper").execute("select dot.fn_event_type_set(%s, true, 'me', 'for a test')", (wanted,))
    seen = {one["event_type"]: one["active"] for one in rows(reader, "select * from dot.v_dot_event_type")}
    assert seen == {one: one == wanted for one in (*RUN_TYPES.values(), *COMPONENT_TYPES.values())}


def test_an_event_tells_which_observation_it_is_of(db: Database, writer: Connection) -> None:
    parent = uuid.uuid4()
    run = observe_run(writer, parent_run_id=parent, actor="alice", idempotency_key="key-1")
    component = observe_component(writer, run["process_run_id"], "verifier", actor="bob")
    header_event, component_event = poll_until(db.connect("relay"), 2)
    for event, event_type in (
        (header_event, "process.run.started"),
        (component_event, "process.component.step_completed"),
    ):
        assert (event["aggregatetype"], event["aggregateid"]) == ("process_run", str(run["process_run_id"]))
        assert event["type"] == event_type
        assert event["created_at"] is not None
    shared = {
        "process_candidate_code": PAIR,
        "process_run_id": str(run["process_run_id"]),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
    }
    assert header_event["payload"] == shared | {
        "parent_run_id": str(parent),
        "dot_code": PRODUCER,
        "dry_run": True,
        "status": "started",
        "actor": "alice",
        "occurred_at": None,
    }
    assert component_event["payload"] == shared | {
        "component_id": str(component["component_id"]),
        "component_role": "verifier",
        "dot_code": VERIFIER,
        "status": "step_completed",
        "actor": "bob",
        "occurred_at": None,
    }


def test_an_event_is_written_in_the_transaction_of_its_observation(db: Database, writer: Connection) -> None:
    observe_run(writer)
    owner = db.connect("owner")
    assert value(owner, "select o.xact_id = r.xact_id from dot.event_outbox o, dot.process_run_observation r")
    writer.execute("begin")
    run_id = observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "producer")
    writer.execute("rollback")
    assert (count(db), count(db, "process_run_observation")) == (1, 1)


def test_replays_and_refusals_leave_no_event(db: Database) -> None:
    ready_for_real_runs(db)
    switch_all(db, True)
    writer = db.connect("writer")
    token = acquire(writer)
    run = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")
    run_id = run()["process_run_id"]
    component = partial(observe_component, writer, run_id, "producer", lease_token=token, idempotency_key="key-1")
    component()
    for _ in range(2):
        assert (run()["created"], component()["created"]) == (False, False)
    for call in (partial(run, actor="other"), partial(component, actor="other"), partial(run, lease_token=None)):
        with pytest.raises(psycopg.Error):
            call()
    assert count(db) == 2


def test_header_producer_and_verifier_of_one_transaction_come_in_this_order(db: Database, writer: Connection) -> None:
    for _ in range(3):
        writer.execute("begin")
        run_id = observe_run(writer)["process_run_id"]
        for role in ("producer", "verifier"):
            observe_component(writer, run_id, role)
        writer.execute("commit")
    events = poll_until(db.connect("relay"), 9)
    assert [event["payload"].get("component_role", "header") for event in events] == [
        "header",
        "producer",
        "verifier",
    ] * 3
    for first in (0, 3, 6):
        assert len({(event["xact_id"], event["aggregateid"]) for event in events[first : first + 3]}) == 1


def test_what_a_transaction_that_wrote_before_the_run_records_of_it_comes_before_it(
    db: Database, writer: Connection
) -> None:
    """Events come by transaction, and one is placed when it first writes. By id they have the order in which a run is recorded."""
    early = db.connect("writer")
    observe_run(writer)  # which begins the epoch: first events wait for each other
    early.execute("begin")
    observe_run(early)
    run_id = observe_run(writer)["process_run_id"]
    observe_component(early, run_id, "producer")
    early.execute("commit")
    observe_component(writer, run_id, "verifier")
    events = [event for event in poll_until(db.connect("relay"), 5) if event["aggregateid"] == str(run_id)]

    def parts() -> list[str]:
        return [event["payload"].get("component_role", "header") for event in events]

    assert parts() == ["producer", "header", "verifier"]
    events.sort(key=itemgetter("id"))
    assert parts() == ["header", "producer", "verifier"]


def test_a_lower_transaction_that_commits_later_is_not_lost(db: Database, writer: Connection) -> None:
    slow, relay = db.connect("writer"), db.connect("relay")
    observe_run(writer, correlation_id="earlier")
    slow.execute("begin")
    slow.execute("select pg_current_xact_id()")  # the lower transaction, whose event gets the higher id
    observe_run(writer, correlation_id="fast")
    observe_run(slow, correlation_id="slow")
    (earlier,) = poll_until(relay, 1)
    assert earlier["payload"]["correlation_id"] == "earlier"
    ack_event(relay, earlier)
    assert poll(relay) == []
    slow.execute("commit")
    late, fast = poll_until(relay, 2)
    assert [event["payload"]["correlation_id"] for event in (late, fast)] == ["slow", "fast"]
    assert int(late["xact_id"]) < int(fast["xact_id"])
    assert late["id"] > fast["id"]
    ack_event(relay, late)
    assert [event["id"] for event in poll_until(relay, 1)] == [fast["id"]]
    assert value(db.connect("reader"), "select depth from dot.v_dot_outbox") == 1


def test_events_of_and_above_a_running_transaction_are_held_back(db: Database, writer: Connection) -> None:
    relay, idle = db.connect("relay"), db.connect("owner")
    idle.execute("begin")
    idle.execute("select pg_current_xact_id()")
    for _ in range(3):
        observe_run(writer)
    assert poll(relay) == []
    assert value(db.connect("reader"), "select depth from dot.v_dot_outbox") == 3
    idle.execute("rollback")
    assert len(poll_until(relay, 3)) == 3


def test_a_transaction_is_not_shown_its_own_events(db: Database, writer: Connection) -> None:
    operator, relay = db.connect("operator"), db.connect("relay")
    operator.execute("begin")
    observe_run(operator)
    assert poll(operator) == []
    with refused("23503", "outbox_cursor_position_fkey"):
        operator.execute("select dot.fn_dot_outbox_ack(1, pg_current_xact_id(), 1)")
    operator.execute("rollback")
    observe_run(operator)
    assert len(poll_until(relay, 1)) == 1


def test_poll_goes_by_epoch_transaction_and_id_up_to_its_limit_and_moves_nothing(
    db: Database, writer: Connection
) -> None:
    for _ in range(5):
        observe_run(writer)
    relay = db.connect("relay")
    events = poll_until(relay, 5)
    assert events == sorted(events, key=lambda event: (int(event["xact_id"]), event["id"]))
    for limit in (1, 3, 5, 10_000):
        assert poll(relay, limit) == events[:limit]
    assert rows(relay, "select * from dot.fn_dot_outbox_poll()") == events
    for illegal in (0, -1, 10_001, 2**31 - 1):
        with refused("23514", "outbox_cursor_limit_check"):
            poll(relay, illegal)
    with refused("23502", "outbox_cursor_limit_not_null"):
        rows(relay, "select * from dot.fn_dot_outbox_poll(null)")


def test_ack_moves_forward_and_refuses_what_is_not_ahead(db: Database, writer: Connection) -> None:
    for _ in range(3):
        observe_run(writer)
    relay, owner = db.connect("relay"), db.connect("owner")
    with refused("23514", "outbox_cursor_ahead_check"):
        ack(relay, 0, "0", 0)
    first, second, third = poll_until(relay, 3)
    ack_event(relay, second)
    assert poll_until(relay, 1) == [third]
    for passed in (first, second):
        with refused("23514", "outbox_cursor_ahead_check", f"(1, {second['xact_id']}, {second['id']})"):
            ack_event(relay, passed)
    stored = row(
        owner,
        "select epoch, xact_id::text, outbox_id, session_actor, moved_at is not null as moved from dot.outbox_cursor",
    )
    assert stored == {
        "epoch": 1,
        "xact_id": str(second["xact_id"]),
        "outbox_id": second["id"],
        "session_actor": db.login("relay"),
        "moved": True,
    }
    ack_event(relay, third)
    assert poll(relay) == []
    assert count(db) == 3


def test_the_events_of_one_transaction_may_be_acknowledged_one_by_one(db: Database, writer: Connection) -> None:
    with writer.transaction():
        for _ in range(3):
            observe_run(writer)
    relay, reader = db.connect("relay"), db.connect("reader")
    events = poll_until(relay, 3)
    assert len({event["xact_id"] for event in events}) == 1
    for position, event in enumerate(events, start=1):
        ack_event(relay, event)
        assert poll(relay) == events[position:]
        assert value(reader, "select depth from dot.v_dot_outbox") == len(events) - position


def test_a_later_transaction_with_an_earlier_id_is_ahead(db: Database, writer: Connection) -> None:
    """Ids are drawn as events are written, transactions are numbered as they begin to write: the two need not agree."""
    relay, other = db.connect("relay"), db.connect("writer")
    with writer.transaction():
        value(writer, "select pg_current_xact_id()")  # numbered, and nothing written yet
        observe_run(other)
        observe_run(writer)
    first, second = poll_until(relay, 2)
    assert (first["xact_id"] < second["xact_id"], first["id"] < second["id"]) == (True, False)
    ack_event(relay, first)
    ack_event(relay, second)
    with refused("23514", "outbox_cursor_ahead_check"):
        ack_event(relay, first)


def test_ack_refuses_a_position_that_poll_cannot_have_returned(db: Database, writer: Connection) -> None:
    observe_run(writer)
    relay, idle = db.connect("relay"), db.connect("owner")
    (event,) = poll_until(relay, 1)
    xact_id, event_id = int(event["xact_id"]), event["id"]
    ahead = (
        (1, xact_id, event_id + 1),
        (1, xact_id + 1, event_id),
        (1, xact_id - 1, event_id),
        (1, 2**63, 1),
        (1, xact_id, 2**63 - 1),
        (2, xact_id, event_id),
        (2**31 - 1, 0, 0),
    )
    for unknown in ahead:
        with refused("23503", "outbox_cursor_position_fkey"):
            ack(relay, unknown[0], str(unknown[1]), unknown[2])
    for argument, position in (
        ("epoch", (None, str(xact_id), event_id)),
        ("xact_id", (1, None, event_id)),
        ("id", (1, str(xact_id), None)),
    ):
        with refused("23502", f"outbox_cursor_{argument}_not_null"):
            ack(relay, *position)
    idle.execute("begin")
    idle.execute("select pg_current_xact_id()")
    observe_run(writer)
    unsettled = row(db.connect("owner"), "select epoch, xact_id, id from dot.event_outbox order by id desc limit 1")
    with refused("23503", "outbox_cursor_position_fkey"):
        ack_event(relay, unsettled)
    idle.execute("rollback")
    assert poll_until(relay, 2)[0] == event
    ack_event(relay, unsettled)


def test_of_two_relays_that_deliver_the_same_events_one_is_told(db: Database, writer: Connection) -> None:
    observe_run(writer)
    relays = [db.connect("relay") for _ in range(2)]
    (event,) = poll_until(relays[0], 1)
    relays[0].execute("begin")
    ack_event(relays[0], event)
    with ThreadPoolExecutor(1) as pool, db.connect("owner") as watcher:
        relays[1].execute("set statement_timeout = '20s'")
        late = pool.submit(ack_event, relays[1], event)
        pid = relays[1].info.backend_pid
        wait_until(lambda: value(watcher, WAITS, pid), unless=late.done)
        relays[0].execute("commit")
        with refused("23514", "outbox_cursor_ahead_check"):
            late.result()


def test_depth_and_lag_are_counted_from_the_cursor(db: Database, writer: Connection) -> None:
    reader, relay, owner = db.connect("reader"), db.connect("relay"), db.connect("owner")
    view = "select depth, lag_seconds, oldest_at is null as nothing_waits from dot.v_dot_outbox"
    assert row(reader, view) == {"depth": 0, "lag_seconds": 0, "nothing_waits": True}
    for hours in (3, 1):
        owner.execute(
            "insert into dot.event_outbox (epoch, created_at, aggregatetype, aggregateid, type, payload)"
            " values (1, statement_timestamp() - %s * interval '1 hour', 'process_run', 'x', 'process.run.started', '{}')",
            (hours,),
        )
    observe_run(writer)
    for depth, hours in ((3, 3), (2, 1), (1, 0)):
        waiting = row(reader, view)
        assert waiting["depth"] == depth
        assert hours * 3600 <= waiting["lag_seconds"] < hours * 3600 + 60
        ack_event(relay, poll_until(relay, depth)[0])
    assert row(reader, view) == {"depth": 0, "lag_seconds": 0, "nothing_waits": True}
