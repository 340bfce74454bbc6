"""A gate that closes under load (I11): once the switch has committed no REAL_RUN commits, at any isolation level.

The naive version, a plain read of the gate, commits one afterwards.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from support import (
    GATES,
    PAIR,
    Connection,
    Database,
    acquire,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
    waiting,
)
from support.sizes import size

WRITERS, ROUNDS = size(8, 16), size(5, 50)
LEVELS = ("read committed", "repeatable read", "serializable")


@pytest.mark.parametrize("level", LEVELS)
def test_no_real_run_commits_after_the_switch_did(db: Database, level: str) -> None:
    ready_for_real_runs(db)
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    token = acquire(db.connect("writer"))

    given_up = threading.Event()

    def write(writer: Connection, stop: threading.Event, recorded: threading.Semaphore) -> int:
        """Records until the gate is closed; what it is refused by must be the gate or a snapshot that is too old."""
        stored = 0
        while not given_up.is_set():
            try:
                writer.execute(f"begin isolation level {level}")
                observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
                writer.execute("commit")
                stored += 1
                recorded.release()
            except psycopg.errors.SerializationFailure:
                writer.execute("rollback")
            except psycopg.errors.CheckViolation as error:
                writer.execute("rollback")
                assert error.diag.constraint_name == "gate_real_run_enabled_check"
                if stop.is_set():
                    break
        return stored

    def close_the_gate() -> str:
        """The snapshot of the switch: what it does not see commits after it."""
        with gatekeeper.transaction():
            value(gatekeeper, "select dot.fn_dot_config_set(%s, 'false', 'tester', 'stop')", GATES[2])
            return str(value(gatekeeper, "select pg_current_snapshot()::text"))

    writers = [db.connect("writer") for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            for _ in range(ROUNDS):
                set_gates(db, "true", GATES[2])
                stop, recorded = threading.Event(), threading.Semaphore(0)
                running = [pool.submit(write, writer, stop, recorded) for writer in writers]
                for _ in range(2 * WRITERS):
                    assert recorded.acquire(timeout=30)  # the load is on
                snapshot = close_the_gate()
                stop.set()
                assert sum(future.result(timeout=30) for future in running) > 0
                late = "select count(*) from dot.process_run_observation where not pg_visible_in_snapshot(xact_id, %s)"
                assert value(owner, late, snapshot) == 0
        finally:
            given_up.set()


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_switch_and_an_old_snapshot_wait_for_each_other_in_one_order(db: Database, level: str) -> None:
    """begin A; A replays a REAL_RUN, which reads the gates locked; B switches and waits; A records another one; A commits."""
    ready_for_real_runs(db)
    writer, gatekeeper = db.connect("writer"), db.connect("gatekeeper")
    real = {"evidence_type": "REAL_RUN", "lease_token": acquire(writer)}
    observe_run(writer, idempotency_key="k", **real)
    writer.execute(f"begin isolation level {level}")
    observe_run(writer, idempotency_key="k", **real)
    with ThreadPoolExecutor(1) as pool:
        switch = "select dot.fn_dot_config_set(%s, 'false', 'tester', 'stop')"
        late = waiting(gatekeeper, lambda: value(gatekeeper, switch, GATES[2]), pool, db)
        assert observe_run(writer, **real)["created"]
        writer.execute("commit")
        assert late.result() == "true"
    with refused("23514", "gate_real_run_enabled_check"):
        observe_run(writer, **real)


def test_a_switch_that_does_not_get_past_says_who_holds_it_up_and_within_its_time(db: Database) -> None:
    ready_for_real_runs(db)
    writers = [db.connect("writer") for _ in range(3)]
    token = acquire(writers[0])
    writers[0].execute("begin")
    observe_run(writers[0], evidence_type="REAL_RUN", lease_token=token)
    with db.connect("gatekeeper") as gatekeeper, refused("55P03", saying=str(writers[0].info.backend_pid)):
        began = row(gatekeeper, "select clock_timestamp() as at")["at"]
        try:
            value(gatekeeper, "select dot.fn_dot_config_set(%s, 'false', 'tester', 'stop')", GATES[2])
        finally:
            # Two seconds for each of its locks, and what a loaded machine adds.
            waited: Any = row(gatekeeper, "select clock_timestamp() - %s as long", began)["long"]
            assert waited.total_seconds() < 10
    writers[0].execute("rollback")


def test_the_naive_version_commits_a_run_behind_the_switch(db: Database) -> None:
    """begin A; A reads the gate: open; B closes it, commits; A writes, commits: a run that no gate let in."""
    ready_for_real_runs(db)
    first, second = db.connect("owner"), db.connect("owner")
    first.execute("begin")
    assert value(first, "select value from dot.dot_config where key = %s", GATES[2]) == "true"
    second.execute("update dot.dot_config set value = 'false' where key = %s", (GATES[2],))
    snapshot = value(second, "select pg_current_snapshot()::text")
    first.execute(
        "insert into dot.process_run_observation (process_run_id, observed_at, dry_run, process_candidate_code, dot_code,"
        " correlation_id, evidence_type, status, actor, session_actor, evidence_ref, admission, lease_token)"
        " values (gen_random_uuid(), now(), false, %s, 'dot.x', 'c', 'REAL_RUN', 'started', 'a', 'a', '{}', '{}', 1)",
        (PAIR,),
    )
    first.execute("commit")
    late = "select evidence_type from dot.process_run_observation where not pg_visible_in_snapshot(xact_id, %s)"
    assert rows(second, late, snapshot) == [{"evidence_type": "REAL_RUN"}]
