"""What append-only tables cost to keep: vacuum, freezing, and room left free in pages that nothing ever fills."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from bench import storage
from bench.server import LEDGER, Server, connected, cpu_seconds, one

_INDEX_ONLY = "select count(*) from dot.process_component_observation"


@dataclass(frozen=True)
class Pass:
    """One pass of vacuum over both tables: its server CPU and WAL, per 1,000 runs."""

    cpu_ms: float
    wal_kb: float


@dataclass(frozen=True)
class Upkeep:
    """Vacuum of runs that were just recorded.

    Attributes:
        fetches_before, fetches_after: heap pages that an index-only count had to visit, per 1,000 rows.
        plain, then_freeze: a vacuum, and the freezing of the same rows later.
        freeze: a vacuum that freezes at once.
    """

    fetches_before: float
    fetches_after: float
    plain: Pass
    then_freeze: Pass
    freeze: Pass


def upkeep(server: Server) -> Upkeep:
    """Records runs in two databases of their own, vacuums one and freezes it later, and freezes the other at once."""
    later, once = server.database("vacuumed_later"), server.database("frozen_at_once")
    storage.record(later)
    storage.record(once)
    with connected(server.url, "postgres") as admin:
        admin.execute("checkpoint")  # a row whose commit is not on disk yet is not marked as visible to all
    before = _fetches(later)
    plain = _vacuum(later, "vacuum (freeze off, process_toast off)")
    after = _fetches(later)
    then_freeze = _vacuum(later, "vacuum (freeze, process_toast off)")
    return Upkeep(before, after, plain, then_freeze, _vacuum(once, "vacuum (freeze, process_toast off)"))


def filled(server: Server, percent: int) -> float:
    """Bytes of both tables per run, without their indexes, with so much of each page filled."""
    url = server.database(f"fillfactor_{percent}")
    with psycopg.connect(url, autocommit=True) as admin:
        for table in LEDGER:
            admin.execute(f"alter table dot.{table} set (fillfactor = {percent})".encode())
        storage.record(url)
        sizes = [int(one(admin, "select pg_relation_size(%s::regclass)", f"dot.{table}")) for table in LEDGER]
    return sum(sizes) / storage.PAIRS


def _vacuum(url: str, vacuum: str) -> Pass:
    with connected(url, "postgres") as admin:
        lsn, cpu = one(admin, "select pg_current_wal_insert_lsn()"), cpu_seconds(admin)
        for table in LEDGER:
            admin.execute(f"{vacuum} dot.{table}".encode())
        spent = cpu_seconds(admin) - cpu
        wal = float(one(admin, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", lsn))
    return Pass(spent * 1e3 / storage.PAIRS * 1000, wal / 1024 / storage.PAIRS * 1000)


def _fetches(url: str) -> float:
    with connected(url, "postgres") as admin:
        admin.execute("set enable_seqscan = off")
        admin.execute("set enable_bitmapscan = off")
        row = admin.execute(f"explain (analyze, format json) {_INDEX_ONLY}".encode()).fetchone()
        assert row is not None
        (scan,) = row[0][0]["Plan"]["Plans"]
        return float(scan["Heap Fetches"]) / (2 * storage.PAIRS) * 1000
