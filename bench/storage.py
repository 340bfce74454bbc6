"""What observations take on disk: bytes of WAL, and bytes of tables and indexes once stored."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from bench.operations import OBSERVE_COMPONENT, OBSERVE_RUN, ROLES
from bench.server import LEDGER, connected, one

PAIRS = 20_000

FIRST_VERSION_BYTES = 1577
"""What a header with two components took, indexes included, in the first version of the schema: ``stored`` of today at commit 68f8fa8,
PostgreSQL 18. The figure that a smaller row is compared with."""


@dataclass(frozen=True)
class Stored:
    """What pairs recorded by the functions take, per pair.

    Attributes:
        parts: bytes and rows of each table (without its indexes) and each index.
        wal_bytes: WAL that was written meanwhile, without page images, per observation.
    """

    bytes_per_pair: float
    parts: dict[str, tuple[int, int]]
    wal_bytes: float


def record(url: str) -> None:
    """Records pairs in an empty ledger by the three calls, with ids in the order of time as the harness mints them."""
    run = "(lpad(to_hex(i), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid"
    calls = []
    for statement, role in ((OBSERVE_RUN, ""), *((OBSERVE_COMPONENT, role) for role in ROLES)):
        key = "'run-' || md5('k' || i)::uuid" + (f" || ':{role}:completed'" if role else "")
        call = statement.format(run=run, correlation="md5('c' || i)::uuid::text", key=key, role=role)
        calls.append(f"cross join lateral ({call}) as call_{role}")  # run by run, as writers record
    with connected(url) as connection:
        connection.execute(f"select count(*) from generate_series(1, {PAIRS}) as i {' '.join(calls)}".encode())


def stored(url: str) -> Stored:
    """What recorded pairs take in a database that had none."""
    with connected(url) as connection:
        before = one(connection, "select pg_current_wal_insert_lsn()")
        record(url)
        wal = one(connection, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", before)
    parts: dict[str, tuple[int, int]] = {}
    with psycopg.connect(url, autocommit=True) as admin:
        for table in LEDGER:
            admin.execute(f"vacuum (analyze) dot.{table}".encode())
            sizes = admin.execute(
                "select c.relname, pg_relation_size(c.oid), c.reltuples::bigint from pg_class as c"
                " where c.oid = %(table)s::regclass"
                " or c.oid in (select indexrelid from pg_index where indrelid = %(table)s::regclass)"
                " order by c.relkind desc, c.relname",
                {"table": f"dot.{table}"},
            ).fetchall()
            parts |= {name: (size, rows) for name, size, rows in sizes}
    total = sum(size for size, _ in parts.values())
    return Stored(total / PAIRS, parts, float(wal) / (3 * PAIRS))
