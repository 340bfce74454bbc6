"""What the tests share: one database per test, one login per role, and calls with defaults that are legal."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dot_wrapper.proving.support import *  # noqa: F403  one place to import helpers from
from dot_wrapper.proving.support import PAIR, PRODUCER, VERIFIER, Connection, Database, value, wait_until

WAITS = "select exists (select from pg_locks where pid = %s and not granted)"  # every login may see that


# What a test's database is: with the optional amendment, or one after the other.
AMENDED = pytest.mark.parametrize("db", [pytest.param(True, id="amended")], indirect=True)


# The arrays of fn_process_observe_batch and the types of their elements.
BATCH_TYPES = {
    "process_candidate_code": "text",
    "dot_code": "text",
    "process_run_id": "uuid",
    "correlation_id": "text",
    "component_role": "text",
    "evidence_type": "text",
    "dry_run": "boolean",
    "status": "text",
    "actor": "text",
    "idempotency_key": "text",
    "parent_run_id": "uuid",
    "input_ref": "text",
    "output_ref": "text",
    "error_ref": "text",
    "evidence_ref": "jsonb",
    "lease_token": "bigint",
    "occurred_at": "timestamptz",
}


def header_line(run_id: uuid.UUID, **replaced: object) -> dict[str, Any]:
    """A line of a batch with the defaults of ``observe_run``."""
    return {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": replaced.get("evidence_type", "SIMULATED_DRY_RUN") != "REAL_RUN",
        "status": "started",
        "actor": "tester",
        "evidence_ref": Jsonb({}),
        **replaced,
    }


def part_line(run_id: uuid.UUID, role: str, **replaced: object) -> dict[str, Any]:
    """A line of a batch with the defaults of ``observe_component``."""
    return {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER if role == "producer" else VERIFIER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "component_role": role,
        "status": "completed",
        "actor": "tester",
        "evidence_ref": Jsonb({}),
        **replaced,
    }


def batch(
    connection: Connection, lines: Sequence[Mapping[str, object]], *, atomic: bool = False
) -> list[dict[str, Any]]:
    """fn_process_observe_batch: what became of each line, in order."""
    arrays = {name: [line.get(name) for line in lines] for name in BATCH_TYPES}
    named = ", ".join(f"p_{name} => %({name})s::{kind}[]" for name, kind in BATCH_TYPES.items())
    query = f"select * from dot.fn_process_observe_batch({named}, p_atomic => %(atomic)s) order by line"
    told = connection.execute(query, {**arrays, "atomic": atomic}).fetchall()
    assert [one["line"] for one in told] == list(range(1, len(lines) + 1)), told
    return told


def waiting(
    connection: psycopg.Connection[Any], call: Callable[[], Any], pool: ThreadPoolExecutor, db: Database
) -> Future[Any]:
    """Starts the call in a thread and returns once its backend waits for a lock."""
    connection.execute("set statement_timeout = '20s'")  # a wait that never ends fails the test instead of hanging it
    future = pool.submit(call)
    pid = connection.info.backend_pid
    with db.connect("owner") as watcher:
        wait_until(
            lambda: value(watcher, WAITS, pid),
            unless=lambda: future.done() and f"the call did not wait: {future.exception() or future.result()}",
        )
    return future


@contextmanager
def interruptible() -> Iterator[None]:
    """A process started in the block can be interrupted. Where SIGINT is ignored, as by what a shell put into the background, a child
    would ignore it too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: it must be one document and nothing else."""
        return json.loads(self.out)


DotWrapper = Callable[..., Outcome]
"""Runs `dot-wrapper ARGUMENTS`: the fixture ``dot_wrapper``."""
