"""A pair and a batch by the Python API: anything that can be iterated over, and what became of each line."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dot_wrapper.client import calls, database, errors
from dot_wrapper.client.calls import ObservedComponent, ObservedLine, ObservedRun
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from support import PAIR, PRODUCER, VERIFIER, Database, define_pair, ledger_counts, value

THEN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def header(run_id: uuid.UUID, **replaced: Any) -> calls.Observation:
    said: dict[str, Any] = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "status": "started",
        "actor": "tester",
        **replaced,
    }
    return calls.observe_run(**said)


def verifier(run_id: uuid.UUID, **replaced: Any) -> calls.Observation:
    said: dict[str, Any] = {
        "process_candidate_code": PAIR,
        "dot_code": VERIFIER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "component_role": "verifier",
        "status": "completed",
        "actor": "tester",
        **replaced,
    }
    return calls.observe_component(**said)


def mixed(run_id: uuid.UUID) -> list[calls.Observation]:
    return [
        header(
            run_id,
            idempotency_key="run",
            occurred_at=THEN,
            evidence_ref={"text": 'a "quoted" \\ word, {braces} and NULL'},
        ),
        verifier(run_id, idempotency_key="run:v", input_ref="s3://in", output_ref='s3://"out"'),
        header(uuid.uuid4(), dot_code="dot.unknown"),
        verifier(uuid.uuid4()),
    ]


def told_of_mixed(lines: list[ObservedLine], run_id: uuid.UUID, *, created: bool) -> None:
    run, part, unknown, headless = lines
    assert run == ObservedLine(ObservedRun(run_id, "corr-1", created), None)
    assert isinstance(part.observed, ObservedComponent)
    assert part.observed.created is created
    assert (unknown.observed, headless.observed) == (None, None)
    assert isinstance(unknown.refusal, errors.UnknownReference)
    assert isinstance(headless.refusal, errors.UnknownReference)
    assert unknown.refusal.constraint == "process_run_observation_dot_code_fkey"
    assert unknown.refusal.hint == "A cataloguer registers it with fn_dot_tool_register."
    assert headless.refusal.sqlstate == "23503"


def test_a_batch_tells_of_each_line_and_raises_for_none(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    run_id = uuid.uuid4()
    told_of_mixed(list(ledger.observe_batch(mixed(run_id))), run_id, created=True)
    told_of_mixed(list(ledger.observe_batch(mixed(run_id))), run_id, created=False)
    stored = "select evidence_ref ->> 'text' from dot.v_process_run where idempotency_key = 'run'"
    assert value(db.session("reader"), stored) == 'a "quoted" \\ word, {braces} and NULL'
    stored = "select output_ref from dot.v_process_run_component where idempotency_key = 'run:v'"
    assert value(db.session("reader"), stored) == 's3://"out"'
    times = (
        "select array_agg(occurred_at order by occurred_at) from"
        " (table dot.v_process_run_component) as c full join dot.v_process_run as r using (occurred_at)"
    )
    assert value(db.session("reader"), times) == [THEN, None]
    assert list(ledger.observe_batch([])) == []


def test_an_asynchronous_batch_is_the_same(db: Database) -> None:
    define_pair(db)
    run_id = uuid.uuid4()

    async def record() -> list[ObservedLine]:
        async with AsyncLedger(lambda: database.connect_async(db.url_as("operator"))) as ledger:
            return [line async for line in ledger.observe_batch(mixed(run_id))]

    told_of_mixed(asyncio.run(record()), run_id, created=True)
    told_of_mixed(asyncio.run(record()), run_id, created=False)


def test_an_atomic_batch_is_all_or_none(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    before = ledger_counts(db)
    with pytest.raises(errors.UnknownReference, match=r"line 3: DOT dot\.unknown is not in the catalogue") as caught:
        list(ledger.observe_batch(mixed(uuid.uuid4())[:3], atomic=True))
    assert caught.value.constraint == "process_run_observation_dot_code_fkey"
    assert ledger_counts(db) == before
    assert all(line.refusal is None for line in ledger.observe_batch(mixed(uuid.uuid4())[:2], atomic=True))


def test_a_generator_is_read_batch_by_batch_as_its_lines_are_asked_for(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_pair(db)
    monkeypatch.setattr(calls, "BATCH_SIZE", 3)
    read: list[int] = []

    def endless() -> Iterator[calls.Observation]:
        while True:
            read.append(len(read))
            yield header(uuid.uuid4(), idempotency_key=f"key-{len(read)}")

    told = ledger.observe_batch(endless())
    assert read == []
    for _ in range(4):
        assert next(told).refusal is None
    assert len(read) == 6  # two batches of three, each committed before its first line was told
    assert value(db.session("reader"), "select count(*) from dot.v_process_run") == 6


def test_a_batch_is_repeated_after_a_lost_connection_where_every_line_has_a_key() -> None:
    keyed = [header(uuid.uuid4(), idempotency_key="a"), verifier(uuid.uuid4(), idempotency_key="b")]
    assert calls.batch(keyed).repeatable
    assert not calls.batch([*keyed, header(uuid.uuid4())]).repeatable


def test_a_pair_is_one_call_with_what_it_stored(db: Database, ledger: Ledger) -> None:
    define_pair(db)

    def pair(run_id: uuid.UUID, **replaced: Any) -> calls.ObservedPair:
        said: dict[str, Any] = {
            "process_candidate_code": PAIR,
            "producer_dot_code": PRODUCER,
            "verifier_dot_code": VERIFIER,
            "process_run_id": run_id,
            "correlation_id": "corr-1",
            "evidence_type": "SIMULATED_DRY_RUN",
            "producer_status": "completed",
            "verifier_status": "failed",
            "actor": "tester",
            "idempotency_key": "run",
            "verifier_error_ref": "log:17",
            **replaced,
        }
        return ledger.observe_pair(**said)

    run_id = uuid.uuid4()
    first, again = pair(run_id), pair(uuid.uuid4(), correlation_id="corr-2")
    assert first.run == ObservedRun(run_id, "corr-1", True)
    assert again.run == ObservedRun(run_id, "corr-1", False)
    for one, other in ((first.producer, again.producer), (first.verifier, again.verifier)):
        assert one is not None
        assert one.created
        assert other == ObservedComponent(one.component_id, False)
    half = pair(uuid.uuid4(), idempotency_key="half", verifier_status=None)
    assert half.verifier is None
    assert half.producer is not None
    with pytest.raises(errors.PayloadMismatch):
        pair(run_id, verifier_error_ref="log:18")
