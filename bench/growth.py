"""What grows with the ledger: each query's pages and plan, and each call's cost, at one size after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench import load, peers
from bench.operations import OPERATIONS, Operation, costs
from bench.server import LEDGER, Connection, Server, connected, cpu_seconds, ledger_pages, one

STEPS = (10_000, 100_000, 1_000_000, 10_000_000)
CALLS = ("bare INSERT", "function that inserts", "fn_process_run_observe", "replay")

VERDICT = "verified from dot.v_process_verification_v3 where process_candidate_code = '{}'"
WHY = "* from dot.v_process_verification_v3 where process_candidate_code = '{}'"
_NEWEST = "order by observed_at desc, process_run_id desc limit 50"
QUERIES: Mapping[str, str] = {
    **{f"verdict, {kind}": f"select {VERDICT.format(code)}" for kind, code in load.KINDS.items()},
    **{f"why, {kind}": f"select {WHY.format(code)}" for kind, code in load.KINDS.items()},
    "board": "select process_candidate_code, verified, reasons from dot.v_process_verification_v3",
    "newest page": f"select * from dot.v_process_run {_NEWEST}",
    "newest page, one state": f"select * from dot.v_process_run where end_state = 'completed' {_NEWEST}",
    "runs of a correlation": "select * from dot.v_process_run where correlation_id = md5('c7')::uuid::text",
    "children of a run": "select * from dot.v_process_run where parent_run_id = md5('c7')::uuid",
    "funnel": "select * from dot.v_dot_funnel",
    "counts": "select * from dot.v_process_run_count",
}
# What funnel and counts may cost: the ledger's larger table by an index, once.
INDEX_ONLY_SCAN = "one index-only scan"
_INDEX_ONLY = "select count(*) from dot.process_component_observation"
# What a look-up costs that needs one row: the primary key of the headers is gone down, and the row read.
ONE_ROW = "one row by its key"
_ONE_ROW = (
    "select status from dot.process_run_observation where process_candidate_code = '{}' and process_run_id = '{}'"
)


@dataclass(frozen=True)
class Plan:
    """How a query was run.

    Attributes:
        pages: shared buffers hit or read.
        indexes: the ledger's and other indexes used, by name.
        descents: how often an index was gone down, over all of them.
        sequential: ledger tables read sequentially.
        cpu_us: server CPU of each of the rounds, of the second time in a row: the first one has read what others had displaced.
    """

    pages: int
    indexes: tuple[str, ...]
    descents: int
    sequential: tuple[str, ...]
    cpu_us: list[float]


@dataclass(frozen=True)
class Size:
    """What was measured at one size: pages of the ledger's tables, the plans of the queries, the costs of the calls."""

    ledger_pages: int
    plans: dict[str, Plan]
    costs: dict[str, list[float]]


def sizes(largest: int) -> list[int]:
    """The sizes to measure at, in runs, up to the largest."""
    return [*(step for step in STEPS if step < largest), largest]


def measure(
    server: Server,
    largest: int,
    *,
    neighbours: Mapping[str, Operation],
    rounds: int,
    calls: int,
    done: Callable[[str], None],
) -> dict[int, Size]:
    """Grows a ledger, and beside it each neighbour, and measures at each size."""
    url = server.database("growth")
    load.prepare(url)
    found: dict[int, Size] = {}
    first = 1
    for size in sizes(largest):
        done(f"loading {size:,} runs")
        with ThreadPoolExecutor(2) as pool:
            filling = [pool.submit(peers.fill, peer, name, first, size) for name, peer in neighbours.items()]
            load.load(url, first, size)
            for one in filling:
                one.result()
        first = size + 1
        done(f"queries at {size:,}")
        pages, plans = ledger_pages(url), _plans(url, rounds)
        done(f"calls at {size:,}")
        measured = {name: OPERATIONS[name] for name in CALLS} | dict(neighbours)
        found[size] = Size(pages, plans, costs(url, measured, rounds=rounds, calls=calls))
    return found


def _plans(url: str, rounds: int) -> dict[str, Plan]:
    with connected(url, "dot_reader") as reader, connected(url) as owner:
        owner.execute("set enable_seqscan = off")
        owner.execute("set enable_bitmapscan = off")
        code = load.KINDS["verified"]
        run_id = one(
            owner,
            "select min(process_run_id::text) from dot.process_run_observation where process_candidate_code = %s",
            code,
        )
        queries = {**QUERIES, INDEX_ONLY_SCAN: _INDEX_ONLY, ONE_ROW: _ONE_ROW.format(code, run_id)}
        connections = {name: reader if name in QUERIES else owner for name in queries}
        cpu: dict[str, list[float]] = {name: [] for name in queries}
        for number in range(rounds + 1):  # the first one warms the caches
            for name, query in queries.items():
                _cpu_us(connections[name], query)
                spent = _cpu_us(connections[name], query)
                if number > 0:
                    cpu[name].append(spent)
        return {name: _plan(connections[name], query, cpu[name]) for name, query in queries.items()}


def _cpu_us(connection: Connection, query: str) -> float:
    before = cpu_seconds(connection)
    connection.execute(query.encode()).fetchall()
    return (cpu_seconds(connection) - before) * 1e6


def _plan(connection: Connection, query: str, cpu_us: list[float]) -> Plan:
    row = connection.execute(f"explain (analyze, buffers, timing off, format json) {query}".encode()).fetchone()
    assert row is not None
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    nodes = list(_nodes(found[0]["Plan"]))
    scans = [node for node in nodes if "Index Name" in node and node["Actual Loops"]]
    return Plan(
        pages=nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"],
        indexes=tuple(sorted({node["Index Name"] for node in scans})),
        descents=round(sum(node["Actual Loops"] for node in scans)),
        sequential=tuple(
            sorted(
                {
                    node["Relation Name"]
                    for node in nodes
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LEDGER and node["Actual Loops"]
                }
            )
        ),
        cpu_us=cpu_us,
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
