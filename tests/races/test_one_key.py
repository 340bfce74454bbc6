"""One key, many sessions (I1, I2, I4): one row, each session is answered with it, and no answer is ever empty.

The naive version, one statement that inserts or selects, answers nothing at all in the same interleaving.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from support import Connection, Database, define_pair, observe_component, observe_run, row, rows, value, waiting
from support.sizes import size

SESSIONS, ROUNDS = size(32, 64), size(50, 500)


@pytest.mark.parametrize("same_run", [False, True], ids=["run ids of their own", "the same run id"])
def test_of_many_sessions_that_start_at_once_one_creates_and_all_return_its_run(db: Database, same_run: bool) -> None:
    define_pair(db)
    barrier = threading.Barrier(SESSIONS, timeout=60)
    run_ids = [uuid.uuid4() for _ in range(ROUNDS)]

    def session(writer: Connection) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        answers = []
        for number in range(ROUNDS):
            barrier.wait()
            run = observe_run(
                writer,
                idempotency_key=f"key-{number}",
                process_run_id=run_ids[number] if same_run else uuid.uuid4(),
                correlation_id=f"corr-{number}",
            )
            correlation = run["correlation_id"]
            key = f"key-{number}:producer"
            component = observe_component(
                writer, run["process_run_id"], "producer", idempotency_key=key, correlation_id=correlation
            )
            answers.append((run, component))
        return answers

    with ThreadPoolExecutor(SESSIONS) as pool:
        of_sessions = list(pool.map(session, [db.connect("writer") for _ in range(SESSIONS)]))
    for number in range(ROUNDS):
        for part, identity in ((0, "process_run_id"), (1, "component_id")):
            answers = [one[number][part] for one in of_sessions]
            assert [answer["created"] for answer in answers].count(True) == 1
            assert len({answer[identity] for answer in answers}) == 1
            assert None not in {answer[identity] for answer in answers}
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run") == ROUNDS
    assert value(reader, "select count(*) from dot.v_process_run_component") == ROUNDS


LEVELS = ("read committed", "repeatable read", "serializable")
ENDS = ("commit", "rollback", "terminate")


@pytest.mark.parametrize("what", ["run", "component"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_call_that_waits_for_the_first_one_replays_it_creates_or_is_told_to_retry(
    db: Database, level: str, end: str, what: str
) -> None:
    """begin A; A observes; begin B; B observes and waits; A ends. What B then does depends on the end and on its snapshot."""
    define_pair(db)
    first, second = db.connect("writer"), db.connect("writer")
    if what == "run":
        observe = partial(observe_run, idempotency_key="key-1")
    else:
        header = observe_run(first)["process_run_id"]
        observe = partial(observe_component, run_id=header, role="producer", idempotency_key="key-1")
    first.execute("begin")
    stored = observe(first)
    second.execute(f"begin isolation level {level}")
    value(second, "select 1")  # takes the snapshot, where there is one
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(observe, second), pool, db)
        if end == "terminate":
            rows(db.connect("superuser"), "select pg_terminate_backend(%s)", first.info.backend_pid)
        else:
            first.execute(end)
        if end == "commit" and level != "read committed":
            with pytest.raises(psycopg.errors.SerializationFailure):
                late.result()
            return
        answer = late.result()
    second.execute("commit")
    identity = "process_run_id" if what == "run" else "component_id"
    assert answer["created"] is (end != "commit")
    assert (answer[identity] == stored[identity]) is (end == "commit")
    view = "v_process_run" if what == "run" else "v_process_run_component"
    assert value(db.connect("reader"), f"select count(*) from dot.{view} where idempotency_key = 'key-1'") == 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_refused_winner_leaves_the_key_to_the_one_that_waits(db: Database, level: str) -> None:
    """begin A; A observes; savepoint rolled back; A goes on with something else; B gets the key at once or after A."""
    define_pair(db)
    first, second = db.connect("writer"), db.connect("writer")
    first.execute("begin; savepoint here")
    observe_run(first, idempotency_key="key-1")
    first.execute("rollback to here")
    second.execute(f"begin isolation level {level}")
    assert observe_run(second, idempotency_key="key-1")["created"]
    second.execute("commit")
    first.execute("commit")
    assert row(db.connect("reader"), "select idempotency_key from dot.v_process_run")


NAIVE = """
    with mine as (
        insert into dot.process_candidate (
            code, producer_dot_code, verifier_dot_code, chain, chain_position, pins_output, actor, session_actor, defined_at
        )
        values ('naive', 'a', 'b', 'naive', 1, false, 'naive', 'naive', now()) on conflict do nothing returning code
    )
    select code from mine union all select code from dot.process_candidate where code = 'naive'
"""


def test_the_naive_version_answers_nothing(db: Database) -> None:
    """One statement has one snapshot: it waits for the first insert, finds the key taken, and cannot see by whom."""
    first, second = db.connect("owner"), db.connect("owner")
    first.execute("begin")
    assert rows(first, NAIVE) == [{"code": "naive"}]
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, lambda: rows(second, NAIVE), pool, db)
        first.execute("commit")
        assert late.result() == []
    assert rows(second, "select code from dot.process_candidate where code = 'naive'") == [{"code": "naive"}]
