"""What only the asynchronous API has: tasks at the same time, and cancellation. The rest is tested with the synchronous one."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import pytest

from dot_wrapper.client import database, errors
from dot_wrapper.client.caller_path import AsyncRun, async_caller_path
from dot_wrapper.client.calls import EvidenceType, Pair
from dot_wrapper.client.ledger import AsyncLedger
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    attest,
    define_pair,
    row,
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
