"""Chunks of items that are stored in one transaction each: a refused item is found by halves, and costs no other one."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dot_wrapper.client.errors import DatabaseUnavailable, InvalidInput, LeaseNotLive, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources import bulk
from dot_wrapper.sources.bulk import CHUNK, Row, Stored, stored
from support import PAIR, PRODUCER, VERIFIER, Database, ready_for_real_runs, rows

THEN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@dataclass
class Summary:
    numbers: int = 0


class Shelf:
    """Stores numbers, all that are given or none, and refuses some."""

    def __init__(self, refuses: set[int]) -> None:
        self.refuses = refuses
        self.stored: list[int] = []
        self.calls = 0

    def __call__(self, numbers: Sequence[int]) -> Stored[int]:
        self.calls += 1
        for number in numbers:
            if number in self.refuses:
                raise InvalidInput(f"{number} is refused")
        self.stored += numbers
        return Stored(len(numbers), Counter(numbers=len(numbers)))


@given(count=st.integers(0, 40), refuses=st.sets(st.integers(0, 39)), chunk=st.integers(1, 12))
def test_each_item_is_stored_once_in_order_or_refused_alone(count: int, refuses: set[int], chunk: int) -> None:
    shelf, summary = Shelf(refuses), Summary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "CHUNK", chunk)
        parts = list(stored(iter(range(count)), shelf, summary))
    assert shelf.stored == [number for number in range(count) if number not in refuses]
    assert summary.numbers == len(shelf.stored)
    refused = [(number, refusal.message) for part in parts for number, refusal in part.refused]
    assert refused == [(number, f"{number} is refused") for number in range(count) if number in refuses]
    assert sum(part.items for part in parts) == count


def test_one_refused_item_is_found_in_a_few_calls() -> None:
    shelf = Shelf({CHUNK // 3})
    assert sum(part.items for part in stored(range(CHUNK), shelf, Summary())) == CHUNK
    assert shelf.calls <= 2 * CHUNK.bit_length() + 1


def test_chunks_are_taken_as_they_are_asked_for() -> None:
    numbers = iter(range(3 * CHUNK))
    parts = stored(numbers, Shelf(set()), Summary())
    assert next(parts).items == CHUNK
    assert next(numbers) == CHUNK


def test_an_error_that_is_no_refusal_ends_it() -> None:
    def lost(_numbers: Sequence[int]) -> Stored[int]:
        raise DatabaseUnavailable("the connection was lost")

    with pytest.raises(DatabaseUnavailable):
        list(stored(range(9), lost, Summary()))


def test_rows_of_real_runs_go_by_their_lease_token(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)
    token = ledger.acquire_lease(PAIR, "ci", 600)
    assert token is not None
    run_id = str(uuid.uuid4())
    header: Row = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "evidence_type": "REAL_RUN",
        "dry_run": False,
        "status": "started",
        "actor": "tester",
        "idempotency_key": "key-1",
        "evidence_ref": "{}",
        "lease_token": token,
        "occurred_at": THEN,
    }
    verifier: Row = {
        "process_candidate_code": PAIR,
        "dot_code": VERIFIER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "component_role": "verifier",
        "status": "completed",
        "actor": "tester",
        "idempotency_key": "key-1:verifier:completed",
        "evidence_ref": '{"rows": 3}',
        "lease_token": token,
    }
    stale: Row = {
        **header,
        "process_run_id": str(uuid.uuid4()),
        "idempotency_key": "key-2",
        "lease_token": token + 1,
    }
    simulated: Row = {**stale, "evidence_type": "SIMULATED_DRY_RUN", "dry_run": True, "lease_token": None}

    def observed(*some: Row, atomic: bool = False) -> tuple[Counter[str], dict[int, Refusal | None]]:
        return ledger.transaction("dot_writer", lambda one: bulk.observe(one, some, atomic=atomic), repeatable=True)

    created, others = observed(header, stale, verifier, simulated)
    assert (created, list(others)) == ({"runs_created": 2, "components_created": 1}, [1])
    assert isinstance(others[1], LeaseNotLive)
    assert (others[1].sqlstate, others[1].constraint) == ("23514", "lease_live_check")
    assert observed(header, verifier) == ({}, {0: None, 1: None})
    with pytest.raises(LeaseNotLive, match="line 2: "):
        observed(simulated, stale, atomic=True)
    query = "select evidence_type, lease_token, occurred_at from dot.v_process_run order by evidence_type"
    assert rows(db.connect("reader"), query) == [
        {"evidence_type": "REAL_RUN", "lease_token": token, "occurred_at": THEN},
        {"evidence_type": "SIMULATED_DRY_RUN", "lease_token": None, "occurred_at": THEN},
    ]
