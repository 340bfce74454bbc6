"""What one observation costs the server, against a bare INSERT into a copy of the same table: ``make bench``.

Server CPU is user + system time of the backend process, from /proc, over thousands of prepared calls; the rounds of the two
are interleaved, because these figures drift with the machine. The multixacts are those that eight writers use on one hot DOT
and one hot candidate, REAL_RUN under open gates included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import uuid
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from rich.console import Console
from rich.table import Table

from harness import embedded

ROOT = Path(__file__).resolve().parents[1]
SLICES = 4

# One row per prepared call; %s: run id, correlation id, key.
OBSERVE = """
select process_run_id from dot.fn_process_run_observe(
    'bench.pair', 'bench.producer', %s::uuid, %s, 'SIMULATED_DRY_RUN', true, 'started', 'bench', %s,
    p_input_ref => 's3://bench/in', p_evidence_ref => '{"n": 1}')
"""
BARE = """
insert into bench.bare (
    process_run_id, observed_at, dry_run, process_candidate_code, dot_code, correlation_id, evidence_type, status, actor,
    session_actor, idempotency_key, input_ref, evidence_ref)
values (
    %s::uuid, clock_timestamp(), true, 'bench.pair', 'bench.producer', %s, 'SIMULATED_DRY_RUN', 'started', 'bench',
    session_user, %s, 's3://bench/in', '{"n": 1}')
"""


def server_cpu_seconds(pid: int) -> float:
    """User and system time of a process, in seconds; from schedstat, which counts nanoseconds and not ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_per_call(
    connection: psycopg.Connection[tuple[object, ...]], statement: str, calls: int, again: bool = False
) -> float:
    """Server CPU of one prepared call in microseconds; ``again`` repeats one and the same call."""
    pid = connection.info.backend_pid
    name = uuid.uuid4().hex
    rows = [(uuid.uuid4(), f"c{name}", f"k{name}-{0 if again else number}") for number in range(calls)]
    connection.execute(statement, rows[0], prepare=True)
    before = server_cpu_seconds(pid)
    for row in rows[1:]:
        connection.execute(statement, row, prepare=True)
    return (server_cpu_seconds(pid) - before) / (calls - 1) * 1e6


def next_multixact(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """The next multixact id of the cluster."""
    row = connection.execute("select next_multixact_id::text::bigint from pg_control_checkpoint()").fetchone()
    assert row is not None
    return int(str(row[0]))


def multixacts(url: str, evidence_type: str, writers: int, calls: int) -> tuple[int, int]:
    """Multixacts used, and observations stored, by writers that observe one hot candidate at the same time."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("checkpoint")
        before = next_multixact(admin)
        token = None
        if evidence_type != "SIMULATED_DRY_RUN":
            row = admin.execute(
                "select dot.fn_dot_iu_runtime_lease_acquire('dot_exec:bench.pair', 'bench', 3600)"
            ).fetchone()
            assert row is not None
            token = row[0]
        barrier = threading.Barrier(writers)

        def write() -> None:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("set synchronous_commit = off")
                barrier.wait()
                for _ in range(calls):
                    connection.execute(
                        "select dot.fn_process_run_observe('bench.pair', 'bench.producer', %s::uuid, 'hot', %s, %s, 'started',"
                        " 'bench', p_lease_token => %s::bigint)",
                        (uuid.uuid4(), evidence_type, evidence_type != "REAL_RUN", token),
                    )

        threads = [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        admin.execute("checkpoint")
        return next_multixact(admin) - before, writers * calls


def settled(folder: Path) -> str:
    """A server of its own that does nothing by itself while it is measured: no checkpoint, no page images, no vacuum."""
    with psycopg.connect(embedded.start(folder=folder), autocommit=True) as admin:
        for setting in (
            "checkpoint_timeout = '1h'",
            "max_wal_size = '16GB'",
            "full_page_writes = off",
            "autovacuum = off",
        ):
            admin.execute(f"alter system set {setting}")
        admin.execute("alter system set shared_buffers = '512MB'")
    embedded.stop(folder=folder)
    return embedded.start(folder=folder)


def prepare(url: str) -> None:
    """Installs the wrapper and the pair, opens the gates, and makes the bare copy of the header table."""
    os.environ["DATABASE_URL"] = url
    command.upgrade(Config(str(ROOT / "alembic.ini")), "head")
    with psycopg.connect(url, autocommit=True) as admin:
        for statement in (
            "select dot.fn_dot_tool_register('bench.producer'), dot.fn_dot_tool_register('bench.verifier')",
            "select dot.fn_process_candidate_define('bench.pair', 'bench.producer', 'bench.verifier', 'bench')",
            "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'bench', 'scratch server')",
            "select dot.fn_dot_config_set(g.key, 'true', 'bench', 'scratch server') from dot.v_dot_gate as g",
            "create schema bench",
            "create table bench.bare (like dot.process_run_observation including all)",
            "alter table bench.bare owner to dot_owner",
            "grant usage on schema bench to dot_owner",
        ):
            admin.execute(statement)


def measure(url: str, rounds: int, calls: int, progress: Console) -> dict[str, object]:
    """The figures of one run: microseconds and ratios with their spread, and multixacts."""
    figures: dict[str, list[float]] = {"bare": [], "observe": [], "replay": []}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("set role dot_owner")  # whom the function inserts as: both pay for the same checks of rights
        for number in range(rounds + 1):
            spent = dict.fromkeys(figures, 0.0)
            for _ in range(SLICES):  # short turns: what the machine does meanwhile falls on all three alike
                spent["bare"] += cpu_per_call(connection, BARE, calls // SLICES) / SLICES
                spent["observe"] += cpu_per_call(connection, OBSERVE, calls // SLICES) / SLICES
                spent["replay"] += cpu_per_call(connection, OBSERVE, calls // SLICES, again=True) / SLICES
            if number > 0:  # the first round warms the caches
                for what, microseconds in spent.items():
                    figures[what].append(microseconds)
                progress.print(f"round {number} of {rounds}", highlight=False)
    ratios = [observe / bare for observe, bare in zip(figures["observe"], figures["bare"], strict=True)]
    replays = [replay / observe for replay, observe in zip(figures["replay"], figures["observe"], strict=True)]
    used = {kind: multixacts(url, kind, 8, calls // 6) for kind in ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN")}
    return {
        "bare_insert_us": statistics.median(figures["bare"]),
        "observe_us": statistics.median(figures["observe"]),
        "replay_us": statistics.median(figures["replay"]),
        "observe_to_bare": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios), "target": 1.5},
        "replay_to_observe": {"median": statistics.median(replays), "min": min(replays), "max": max(replays)},
        "multixacts": {kind: {"used": count, "observations": stored} for kind, (count, stored) in used.items()},
    }


def main() -> int:
    """Runs on a server of its own and prints one table, or JSON; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=12, help="interleaved rounds (default 12)")
    parser.add_argument("--calls", type=int, default=1600, help="calls per round (default 1600)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dotb"))
    folder.chmod(0o755)
    try:
        url = settled(folder)
        prepare(url)
        figures = measure(url, given.rounds, given.calls, Console(stderr=True))
    finally:
        embedded.stop(folder=folder)
        shutil.rmtree(folder, ignore_errors=True)
    ratio, used = figures["observe_to_bare"], figures["multixacts"]
    assert isinstance(ratio, dict)
    assert isinstance(used, dict)
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        table = Table("what", "measured", "target", title="server CPU, PostgreSQL 18, synchronous_commit=off")
        table.add_row("bare INSERT", f"{figures['bare_insert_us']:.1f} us", "")
        table.add_row("fn_process_run_observe", f"{figures['observe_us']:.1f} us", "")
        table.add_row(
            "observe / bare", f"{ratio['median']:.2f}  ({ratio['min']:.2f} to {ratio['max']:.2f})", "at most 1.50"
        )
        replay = figures["replay_to_observe"]
        assert isinstance(replay, dict)
        table.add_row("replay / observe", f"{replay['median']:.2f}  ({replay['min']:.2f} to {replay['max']:.2f})", "")
        for kind, row in used.items():
            table.add_row(f"multixacts, 8 writers, {kind}", f"{row['used']} in {row['observations']} calls", "0")
        Console().print(table)
    return 0 if ratio["median"] <= 1.5 and all(row["used"] == 0 for row in used.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
