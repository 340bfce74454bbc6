"""What a call costs under circumstances of its own: behind open gates, of many candidates, with its events wanted, in a session that
began on an empty ledger. Each is measured beside what it is compared with, in databases of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import BinaryIO

import psycopg
from uuid_utils.compat import uuid7

from bench.operations import BATCH_LINES, OPERATIONS, ROLES, Operation, batch_of, costs, real_header
from bench.server import Connection, Server, connected, cpu_of, cpu_seconds, one, open_gates
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.ndjson.recorder import RefusedLine, record

IDS_OF = 100
"""Runs whose transaction ids are counted."""
LINES = (150, BATCH_LINES, 9_999)
"""Lines of a batch, a candidate for every three of them."""
RECORDED = 9_000
"""Lines of a file that is recorded."""
SESSION_CALLS = 10_000
OBSERVE = "fn_process_run_observe"

Costs = dict[str, list[float]]


def real(server: Server, rounds: int, calls: int) -> Costs:
    """A header of a real run, with all that it is asked, and a simulated one."""
    url = server.database("real")
    with open_gates(url) as token:
        measured = {"real": Operation(real_header(token)), "simulated": OPERATIONS[OBSERVE]}
        return costs(url, measured, rounds=rounds, calls=calls)


def many_candidates(server: Server, rounds: int) -> Costs:
    """A line of a batch with a candidate for every three lines, by the lines of the batch; and a row of COPY."""
    url = server.database("candidates")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "select dot.fn_dot_tool_register(format('bench.%%s.%%s', role, i)), i"
            " from generate_series(0, %s) as i, unnest(array['producer', 'verifier']) as role",
            (max(LINES) // 3,),
        )
        admin.execute(
            "select dot.fn_process_candidate_define('bench.pair.' || i, 'bench.producer.' || i, 'bench.verifier.' || i, 'bench')"
            " from generate_series(0, %s) as i",
            (max(LINES) // 3,),
        )
        admin.execute("vacuum (analyze)")
    measured = {f"{lines:,}": Operation(batch_of(lines, lines // 3), rows=lines) for lines in LINES}
    return costs(url, {**measured, "COPY": OPERATIONS["COPY"]}, rounds=rounds, calls=max(LINES))


def events(server: Server, rounds: int, calls: int) -> Costs:
    """A line of a batch whose events are all wanted, and of one whose events are not."""
    wanted, unwanted = (server.database(f"events_{word}") for word in ("on", "off"))
    with psycopg.connect(wanted, autocommit=True) as admin:
        admin.execute("update dot.event_type set active = true")
    measured = {
        "on": Operation(batch_of(BATCH_LINES), rows=BATCH_LINES, url=wanted),
        "off": Operation(batch_of(BATCH_LINES), rows=BATCH_LINES, url=unwanted),
    }
    return costs(unwanted, measured, rounds=rounds, calls=calls)


def two_ledgers(server: Server, rounds: int, calls: int) -> Costs:
    """A run in one call, in a ledger that takes all of them and in two that take turns, in sessions of the same kind."""
    measured = {
        name: Operation(OPERATIONS["fn_process_pair_observe"].run, url=server.database(f"ledger_{name}"))
        for name in ("whole", "first", "second")
    }
    found = costs(server.database("costs"), measured, rounds=rounds, calls=calls)
    halves = zip(found["first"], found["second"], strict=True)
    return {"one": found["whole"], "two": [(first + second) / 2 for first, second in halves]}


def transaction_ids(server: Server) -> dict[str, float]:
    """Transaction ids that a run uses: as a line of a batch, by the other calls, and as a real run on the caller path."""
    url = server.database("ids")

    def real(_connection: Connection, times: int) -> None:
        with Ledger(partial(psycopg.connect, url, autocommit=True)) as ledger:
            pair = ledger.pair("bench.pair")
            for _ in range(times):
                with caller_path(ledger, pair, evidence_type="REAL_RUN", actor="bench", holder="bench") as run:
                    run.producer("started")
                    run.producer("completed")
                    run.verifier("completed")

    ways = {
        "in a batch of 1,000 lines": lambda connection, times: batch_of(BATCH_LINES)(
            connection, times * 3 // BATCH_LINES + 1
        ),
        "in one call": OPERATIONS["fn_process_pair_observe"].run,
        "in three calls": OPERATIONS["three observe calls"].run,
        "a real run on the caller path": real,
    }
    used = {}
    with connected(url) as connection, psycopg.connect(url, autocommit=True) as admin, open_gates(url):
        for way, record in ways.items():
            before = _next_id(admin), _runs(admin)
            record(connection, IDS_OF)
            used[way] = (_next_id(admin) - before[0]) / (_runs(admin) - before[1])
    return used


def _next_id(admin: Connection) -> int:
    return int(one(admin, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))


def _runs(admin: Connection) -> int:
    return int(one(admin, "select count(*) from dot.process_run_observation"))


def recorded(server: Server, rounds: int) -> Costs:
    """A line of an NDJSON file that ``record`` stores, CPU of client and server, and of the client alone; and a row of COPY, CPU of the
    server. The file has new runs with producer and verifier, and says all that it can of them."""
    found: Costs = {"line": [], "client": [], "COPY": []}
    url = server.database("record")
    with psycopg.connect(url, autocommit=True) as connection, connected(url) as copying:
        ledger = Ledger(lambda: connection)
        for number in range(rounds + 1):  # the first one warms the caches
            client, of_server = cpu_of(connection, partial(record, ledger, _observations(RECORDED), refused=_fail))
            _, copied = cpu_of(copying, partial(OPERATIONS["COPY"].run, copying, RECORDED // BATCH_LINES))
            if number > 0:
                found["line"].append((client + of_server) / RECORDED * 1e6)
                found["client"].append(client / RECORDED * 1e6)
                found["COPY"].append(copied / RECORDED * 1e6)
    return found


def _observations(lines: int) -> BinaryIO:
    file = BytesIO()
    for number in range(lines):
        if number % 3 == 0:
            run = str(uuid7())
        role = (None, *ROLES)[number % 3]
        said = {
            "record": "component" if role else "run",
            "process_candidate_code": "bench.pair",
            "dot_code": f"bench.{role or 'producer'}",
            "process_run_id": run,
            "idempotency_key": f"run-{run}",
            "correlation_id": run,
            "evidence_type": "SIMULATED_DRY_RUN",
            "dry_run": True,
            "status": "completed" if role else "started",
            "actor": "bench",
            "evidence_ref": {"n": 1},
            "occurred_at": "2026-11-21T14:30:00Z",
            **({"role": role, "output_ref": "s3://bench/out"} if role else {"input_ref": "s3://bench/in"}),
        }
        file.write(json.dumps(said).encode() + b"\n")
    file.seek(0)
    return file


def _fail(line: RefusedLine) -> None:
    raise AssertionError(line)


def long_session(server: Server, rounds: int, calls: int, done: Callable[[str], None]) -> Costs:
    """A call of a session that began on an empty ledger and has made ten thousand, and one of a fresh session."""
    url, observe = server.database("session"), OPERATIONS[OBSERVE].run
    found: Costs = {"old": [], "fresh": []}
    with connected(url) as old:
        done(f"{SESSION_CALLS:,} calls of one session")
        observe(old, SESSION_CALLS)
        for _ in range(rounds):
            with connected(url) as fresh:
                observe(fresh, 100)  # it has made its plans
                for name, connection in (("old", old), ("fresh", fresh)):
                    before = cpu_seconds(connection)
                    observe(connection, calls)
                    found[name].append((cpu_seconds(connection) - before) / calls * 1e6)
    return found
