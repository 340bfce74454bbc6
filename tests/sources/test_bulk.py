"""Chunks that are stored in parallel: after a failure no thread is left waiting."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.client.errors import StatementCancelled
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import in_parallel
from support import Database, value, wait_until


def test_after_an_interrupt_a_statement_that_waits_is_cancelled_and_no_further_chunk_begins(db: Database) -> None:
    """Without that it would wait for a lock that is never given up: for the timeout, which has another message."""
    said: list[str] = []
    begun: list[int] = []
    holder = db.connect("operator")
    holder.execute("select pg_advisory_lock(1)")
    ledger = Ledger(lambda: database.connect(db.url_as("operator")))

    def store(chunk: Sequence[int]) -> None:
        begun.extend(chunk)
        if chunk == [0]:
            queued = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
            wait_until(lambda: value(holder, queued))
            raise KeyboardInterrupt
        try:
            ledger.transaction("dot_writer", waits, repeatable=True)
        except StatementCancelled as cancelled:
            said.append(cancelled.message)
            raise

    def waits(connection: psycopg.Connection[Any]) -> None:
        connection.execute("set local statement_timeout = '60s'")
        connection.execute("select pg_advisory_xact_lock(1)")

    with closing(ledger), pytest.raises(KeyboardInterrupt):
        for _ in in_parallel(range(9), [store, store], lambda *_: None, size=1, cancel=ledger.cancel):
            pass
    assert said == ["canceling statement due to user request"]
    assert sorted(begun) == [0, 1]
