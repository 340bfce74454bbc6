"""The asynchronous API: the same calls, order, refusals and retries as the synchronous one, over psycopg's async connection."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import uuid
from typing import Any

import psycopg
import pytest

from dot_wrapper.client import calls, database, errors
from dot_wrapper.client.caller_path import AsyncRun, Run, async_caller_path
from dot_wrapper.client.calls import EvidenceType, ObservedRun, Pair
from dot_wrapper.client.ledger import ATTEMPTS, AsyncLedger, Ledger
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    attest,
    define_pair,
    ready_for_real_runs,
    row,
    rows,
    set_gates,
    value,
)

THE_PAIR = Pair(PAIR, PRODUCER, VERIFIER)


def connecting(db: Database) -> AsyncLedger:
    return AsyncLedger(lambda: database.connect_async(db.url_as("operator")))


async def rehearse(ledger: AsyncLedger, evidence_type: EvidenceType = "SIMULATED_DRY_RUN", **options: Any) -> AsyncRun:
    options = {"actor": "ci", **options}
    async with async_caller_path(ledger, THE_PAIR, evidence_type=evidence_type, **options) as run:
        await run.producer("completed", output_ref="s3://bucket/out")
        assert await run.renew()
        await run.verifier("completed")
    return run


def test_both_ledgers_have_the_same_methods_with_the_same_arguments() -> None:
    for name, described in inspect.getmembers(calls, inspect.isfunction):
        # A batch is taken by a method of its own, which yields.
        if (
            not name.startswith("_")
            and name != "batch"
            and str(inspect.signature(described).return_annotation).startswith("Call[")
        ):
            sync, awaited = getattr(Ledger, name), getattr(AsyncLedger, name)
            assert inspect.signature(sync) == inspect.signature(awaited), name
            assert inspect.iscoroutinefunction(awaited)
            assert sync.__doc__ == described.__doc__
    public = {name for name in vars(Ledger) if not name.startswith("_")}
    assert public == {name for name in vars(AsyncLedger) if not name.startswith("_")}
    assert {name for name in vars(Run) if not name.startswith("_")} == {
        name for name in vars(AsyncRun) if not name.startswith("_")
    }


def test_a_real_run_becomes_verified_and_its_key_takes_it_up_again(db: Database) -> None:
    ready_for_real_runs(db)

    async def twice() -> tuple[AsyncRun, AsyncRun]:
        async with connecting(db) as ledger:
            assert await ledger.pair(PAIR) == THE_PAIR
            first = await rehearse(ledger, "REAL_RUN", idempotency_key="today")
            return first, await rehearse(ledger, "REAL_RUN", idempotency_key="today")

    first, again = asyncio.run(twice())
    assert [step.name for step in first.steps] == [
        "mint",
        "gates",
        "preflight",
        "lease",
        "header",
        "producer",
        "verifier",
        "release",
    ]
    assert (first.created, again.created) == (True, False)
    assert again.process_run_id == first.process_run_id
    assert value(db.connect("reader"), "select verified from dot.v_process_verification_v3") is True
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run_component") == 2


def test_tasks_with_one_key_record_one_run(db: Database) -> None:
    define_pair(db)
    attest(db)
    tasks = 8

    async def one(ready: asyncio.Barrier) -> uuid.UUID:
        async with connecting(db) as ledger:
            await ledger.open_gates()  # connected
            await ready.wait()
            stored = await ledger.observe_run(
                process_candidate_code=PAIR,
                dot_code=PRODUCER,
                process_run_id=uuid.uuid4(),
                correlation_id="corr-1",
                evidence_type="SIMULATED_DRY_RUN",
                status="started",
                actor="ci",
                idempotency_key="today",
            )
            return stored.process_run_id

    async def all_at_once() -> list[uuid.UUID]:
        ready = asyncio.Barrier(tasks)
        return await asyncio.gather(*(one(ready) for _ in range(tasks)))

    assert len(set(asyncio.run(all_at_once()))) == 1
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 1


def test_a_refusal_is_raised_and_logged_and_the_lease_given_back(db: Database) -> None:
    ready_for_real_runs(db)

    async def closing() -> None:
        async with (
            connecting(db) as ledger,
            async_caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci") as run,
        ):
            await run.producer("started")
            set_gates(db, "false", "process_dot_runtime.real_run_enabled")
            await run.producer("completed")

    with pytest.raises(errors.GateClosed) as refused:
        asyncio.run(closing())
    assert refused.value.sqlstate == "23514"
    logged = rows(db.connect("owner"), "select command_name, detail from dot.dot_iu_command_run")
    assert [(one["command_name"], one["detail"]["constraint"]) for one in logged] == [
        ("dot_wrapper.execute", "gate_real_run_enabled_check")
    ]
    assert row(db.connect("reader"), "select is_live from dot.v_dot_lease") == {"is_live": False}


def test_a_task_that_is_cancelled_gives_its_lease_back(db: Database) -> None:
    define_pair(db)
    attest(db)

    async def cancelled() -> None:
        entered = asyncio.Event()

        async def work() -> None:
            async with (
                connecting(db) as ledger,
                async_caller_path(ledger, THE_PAIR, evidence_type="SIMULATED_DRY_RUN", actor="ci"),
            ):
                entered.set()
                await asyncio.Event().wait()  # for ever

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert row(db.connect("reader"), "select is_live from dot.v_dot_lease") == {"is_live": False}


def test_a_connection_that_the_server_ended_is_opened_again(db: Database) -> None:
    define_pair(db)

    async def ended_in_between() -> Pair:
        async with connecting(db) as ledger:
            await ledger.pair(PAIR)
            with db.connect("creator") as creator:
                ended = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
                assert rows(creator, ended, db.login("operator"))
            return await ledger.pair(PAIR)

    assert asyncio.run(ended_in_between()) == THE_PAIR


class CutAfterCommit(psycopg.AsyncConnection[Any]):
    """The server commits; the answer is lost."""

    def transaction(self, *args: Any, **kwargs: Any) -> Any:
        outer = super().transaction(*args, **kwargs)
        connection = self

        class Cut:
            async def __aenter__(self) -> Any:
                return await outer.__aenter__()

            async def __aexit__(self, *exception: Any) -> None:
                await outer.__aexit__(*exception)
                await connection.close()
                raise psycopg.OperationalError("the connection was cut after COMMIT")

        return Cut()


@pytest.mark.parametrize("key", ["today", None])
def test_a_lost_acknowledgement_is_repeated_with_a_key_and_never_without(db: Database, key: str | None) -> None:
    define_pair(db)
    opened = 0

    async def connect() -> psycopg.AsyncConnection[Any]:
        nonlocal opened
        opened += 1
        if opened == 1:
            return await CutAfterCommit.connect(db.url_as("operator"), autocommit=True)
        return await database.connect_async(db.url_as("operator"))

    async def record() -> ObservedRun:
        async with AsyncLedger(connect) as ledger:
            return await ledger.observe_run(
                process_candidate_code=PAIR,
                dot_code=PRODUCER,
                process_run_id=uuid.uuid4(),
                correlation_id="corr-1",
                evidence_type="SIMULATED_DRY_RUN",
                status="started",
                actor="ci",
                idempotency_key=key,
            )

    if key is None:
        with pytest.raises(errors.DatabaseUnavailable):
            asyncio.run(record())
    else:
        assert asyncio.run(record()).created is False  # the first attempt had committed
    assert (opened, value(db.connect("reader"), "select count(*) from dot.v_process_run")) == (2 if key else 1, 1)


def test_a_first_connection_that_fails_is_not_tried_again() -> None:
    opened = 0

    async def connect() -> psycopg.AsyncConnection[Any]:
        nonlocal opened
        opened += 1
        raise psycopg.OperationalError("password authentication failed")

    async def call() -> None:
        async with AsyncLedger(connect) as ledger:
            await ledger.open_gates()

    with pytest.raises(errors.DatabaseUnavailable):
        asyncio.run(call())
    assert opened == 1


@pytest.mark.parametrize("connected", [True, False])
def test_two_tasks_on_one_ledger_are_told_and_nothing_is_lost(db: Database, connected: bool) -> None:
    async def both() -> list[Any]:
        async with connecting(db) as ledger:
            if connected:
                await ledger.open_gates()
            together = await asyncio.gather(ledger.open_gates(), ledger.open_gates(), return_exceptions=True)
            assert await ledger.open_gates()
            return list(together)

    first, second = asyncio.run(both())
    assert isinstance(first, dict)
    assert isinstance(second, errors.LedgerInUse)


def test_another_ledger_serves_another_task(db: Database) -> None:
    async def both() -> tuple[dict[str, bool], dict[str, bool]]:
        async with connecting(db) as ledger, ledger.another() as other:
            return await asyncio.gather(ledger.open_gates(), other.open_gates())

    first, second = asyncio.run(both())
    assert first == second


def test_no_cancellation_leaves_a_lease_behind(db: Database) -> None:
    define_pair(db)
    attest(db)

    async def one(ledger: AsyncLedger, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await rehearse(ledger)

    async def many() -> None:
        async with connecting(db) as ledger:
            await ledger.open_gates()
            for number in range(60):
                await one(ledger, number * 0.0005)

    asyncio.run(many())
    assert value(db.connect("reader"), "select count(*) from dot.v_dot_lease where is_live") == 0


@pytest.mark.parametrize(("sqlstate", "attempts"), [("40001", ATTEMPTS), ("40P01", ATTEMPTS), ("23514", 1)])
def test_the_retry_is_bounded_and_a_refusal_is_never_repeated(db: Database, sqlstate: str, attempts: int) -> None:
    made = 0

    async def fail(connection: psycopg.AsyncConnection[Any]) -> None:
        nonlocal made
        made += 1
        await connection.execute(f"do $$ begin raise exception using errcode = '{sqlstate}'; end $$")

    async def attempt() -> None:
        async with connecting(db) as ledger:
            await ledger.transaction("dot_writer", fail, repeatable=False)

    with pytest.raises(errors.DotWrapperError):
        asyncio.run(attempt())
    assert made == attempts


def test_the_role_ends_with_the_transaction(db: Database) -> None:
    async def roles() -> list[object]:
        async with await database.connect_async(db.url_as("operator")) as connection:
            async with database.transaction_async(connection, "dot_writer"):
                inside = await (await connection.execute("select current_user::text")).fetchone()
            after = await (await connection.execute("select current_user::text")).fetchone()
        return [inside, after]

    assert asyncio.run(roles()) == [("dot_writer",), (db.login("operator"),)]


def test_views_are_read_as_dictionaries(db: Database) -> None:
    define_pair(db)

    async def read() -> list[dict[str, Any]]:
        async with connecting(db) as ledger:
            return await ledger.select(
                "select process_candidate_code from dot.v_process_candidate where producer_dot_code = %s", (PRODUCER,)
            )

    assert asyncio.run(read()) == [{"process_candidate_code": PAIR}]
