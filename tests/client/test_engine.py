"""Ledgers that borrow connections, of the program's SQLAlchemy engine or a pool of their own: what they leave on them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine

from dot_wrapper.client import database, errors
from dot_wrapper.client.calls import Pair
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.run_pair import run_pair
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    attest,
    define_pair,
    ready_for_real_runs,
    rows,
    value,
    wait_until,
)
from support.flavors import Flavor

THE_PAIR = Pair(PAIR, PRODUCER, VERIFIER)
STATE = (
    "select pg_backend_pid(), session_user = current_user, current_setting('role'), current_setting('search_path'),"
    " current_setting('synchronous_commit'), (select count(*) from pg_locks where pid = pg_backend_pid()"
    " and locktype = 'relation' and relation::regclass::text like 'dot.%')"
)
"""What a session has: backend, no other role, settings, locks of tables of the wrapper."""


@contextmanager
def pool(db: Database, flavor: Flavor, **options: Any) -> Iterator[Any]:
    """An engine with one connection, which the ledger and the program share."""
    arguments: dict[str, Any] = conninfo_to_dict(db.url_as("operator"))
    given = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2, "connect_args": arguments, **options}
    with flavor.engine(**given) as engine:
        yield engine


def path(flavor: Flavor, ledger: Any, **options: Any) -> Any:
    given = {"evidence_type": "SIMULATED_DRY_RUN", "actor": "ci", "idempotency_key": "today", **options}
    with flavor.caller_path(ledger, THE_PAIR, **given) as run:
        run.producer("completed")
        run.verifier("completed")
    return run


@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}, {"isolation_level": "SERIALIZABLE"}])
def test_a_connection_comes_back_without_role_lease_and_transaction(
    db: Database, flavor: Flavor, options: dict[str, Any]
) -> None:
    ready_for_real_runs(db)
    with pool(db, flavor, **options) as engine:
        before = flavor.execute(engine, STATE)
        run = path(flavor, flavor.from_engine(engine), evidence_type="REAL_RUN")
        assert run.created
        assert flavor.execute(engine, STATE) == before  # the same backend too: the pool has no other
        assert rows(db.connect("superuser"), "select state from pg_stat_activity where pid = %s", before[0][0]) == [
            {"state": "idle"}
        ]
    assert value(db.connect("reader"), "select count(*) from dot.v_dot_lease where is_live") == 0
    assert value(db.connect("reader"), "select end_state from dot.v_process_run") == "completed"


def test_a_refusal_and_an_error_in_a_transaction_leave_nothing_on_the_connection(db: Database, flavor: Flavor) -> None:
    with pool(db, flavor) as engine:
        ledger = flavor.from_engine(engine)
        before = flavor.execute(engine, STATE)
        with pytest.raises(errors.Refusal):
            path(flavor, ledger)

        def fails(connection: Any) -> Any:
            raise RuntimeError("of the program")

        with pytest.raises(RuntimeError, match="of the program"):
            ledger.transaction("dot_writer", fails, repeatable=False)
        assert flavor.execute(engine, STATE) == before


def test_between_two_calls_the_program_has_the_connection(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    attest(db)
    with pool(db, flavor) as engine:
        ledger = flavor.from_engine(engine)
        with flavor.caller_path(ledger, THE_PAIR, evidence_type="SIMULATED_DRY_RUN", actor="ci") as run:
            assert flavor.execute(engine, "select 1") == [(1,)]
            run.producer("completed")
        assert ledger.another().pair(PAIR) == THE_PAIR


def test_a_pool_without_a_free_connection_is_unavailable(db: Database) -> None:
    arguments: dict[str, Any] = conninfo_to_dict(db.url_as("operator"))
    engine = create_engine(
        "postgresql+psycopg://", pool_size=1, max_overflow=0, pool_timeout=0.1, connect_args=arguments
    )
    with engine.connect(), pytest.raises(errors.DatabaseUnavailable, match="no connection of the engine's pool"):
        Ledger.from_engine(engine).open_gates()
    assert Ledger.from_engine(engine).open_gates()
    engine.dispose()


def test_a_lost_connection_is_replaced_and_what_may_be_repeated_is(
    db: Database, flavor: Flavor, caplog: pytest.LogCaptureFixture
) -> None:
    define_pair(db)
    with pool(db, flavor) as engine:
        ledger = flavor.from_engine(engine)
        assert ledger.pair(PAIR) == THE_PAIR
        with db.connect("creator") as creator:
            ended = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
            assert rows(creator, ended, db.login("operator"))
        assert ledger.pair(PAIR) == THE_PAIR
        assert flavor.execute(engine, "select 1") == [(1,)]
    # Given back as it was, a lost connection would make the pool log the failure of its rollback.
    assert [one.message for one in caplog.records if one.name.startswith("sqlalchemy")] == []


def test_a_server_that_is_not_there_is_unavailable(flavor: Flavor) -> None:
    with (
        flavor.engine(connect_args={"host": "/nonexistent"}) as engine,
        pytest.raises(errors.DatabaseUnavailable) as refused,
    ):
        flavor.from_engine(engine).open_gates()
    assert refused.value.was_sent is False


def test_behind_a_pooler_nothing_is_prepared_and_the_program_keeps_its_setting(
    db: Database, flavor: Flavor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pooled(_connection: object) -> bool:
        return False

    monkeypatch.setattr(database, "is_direct", lambda _connection: False)
    monkeypatch.setattr(database, "is_direct_async", pooled)
    seen: list[psycopg.BaseConnection[Any]] = []
    with pool(db, flavor) as engine:

        def look(connection: Any) -> Any:
            seen.append(connection)
            assert connection.prepare_threshold is None
            return connection.execute("select 1")

        flavor.from_engine(engine).transaction("dot_reader", look, repeatable=True)
        assert [connection.prepare_threshold for connection in seen] == [5]


def test_another_driver_and_another_encoding_are_refused(db: Database, flavor: Flavor) -> None:
    with pytest.raises(errors.DotWrapperError, match="driver is not psycopg"):
        Ledger.from_engine(create_engine("sqlite://")).open_gates()
    arguments = {**conninfo_to_dict(db.url_as("operator")), "client_encoding": "latin1"}
    with (
        pool(db, flavor, connect_args=arguments) as engine,
        pytest.raises(errors.DotWrapperError, match="and not UTF-8"),
    ):
        flavor.from_engine(engine).open_gates()


PID = "select pg_backend_pid()"


def sessions(db: Database) -> list[dict[str, Any]]:
    """The operator's, once those that were closed have ended."""
    look = "select pid from pg_stat_activity where usename = %s order by pid"
    with db.connect("superuser") as superuser:
        wait_until(lambda: len(rows(superuser, look, db.login("operator"))) in (0, 2))
        return rows(superuser, look, db.login("operator"))


def test_threads_share_a_ledger_with_a_pool_and_no_more_connections_than_it_has(db: Database) -> None:
    two_inside = threading.Barrier(2)

    def look(connection: psycopg.Connection[Any]) -> int:
        two_inside.wait(30)  # passed by two calls that are in a transaction at the same time
        return next(int(pid) for (pid,) in connection.execute(PID))

    with Ledger.pool(2, db.url_as("operator")) as ledger, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(ledger.transaction, "dot_reader", look, repeatable=True) for _ in range(8)]
        backends = [call.result() for call in calls]
        assert len(set(backends)) == 2
        assert ledger.another().open_gates() == ledger.open_gates()
        assert [one["pid"] in backends for one in sessions(db)] == [True, True], "another ledger of the pool opens none"
    assert sessions(db) == []


def test_tasks_share_a_ledger_with_a_pool_and_no_more_connections_than_it_has(db: Database) -> None:
    async def backends() -> list[int]:
        two_inside = asyncio.Barrier(2)

        async def look(connection: psycopg.AsyncConnection[Any]) -> int:
            await two_inside.wait()
            found = await (await connection.execute(PID)).fetchone()
            return int(found[0]) if found else 0

        async with AsyncLedger.pool(2, db.url_as("operator")) as ledger:
            calls = [ledger.transaction("dot_reader", look, repeatable=True) for _ in range(8)]
            return await asyncio.wait_for(asyncio.gather(*calls), 60)

    assert len(set(asyncio.run(backends()))) == 2
    assert sessions(db) == []


def test_the_runs_of_many_threads_are_recorded_through_one_pool(db: Database) -> None:
    ready_for_real_runs(db)
    pairs = [f"shop.pair_{number}" for number in range(6)]
    for pair in pairs:
        define_pair(db, pair, PRODUCER, VERIFIER)
    with Ledger.pool(2, db.url_as("operator")) as ledger, ThreadPoolExecutor(6) as threads:
        outcomes = threads.map(
            lambda pair: run_pair(
                ledger, pair, produce=lambda _run: "mem:out", verify=lambda _run, _part: True, actor="ci", key="a"
            ),
            pairs,
        )
        assert [outcome.verified for outcome in outcomes] == [True] * 6


def test_a_pool_of_a_database_that_is_not_there_says_so_at_once() -> None:
    with Ledger.pool(url="host=/nonexistent") as ledger, pytest.raises(errors.DatabaseUnavailable, match="nonexistent"):
        ledger.open_gates()
