"""The rows of the table, each measured by one plain function: write one and name it with ``@row`` to add another.

A function takes the ``Bench`` and returns its row or rows. What several share (the costs of all operations in the same rounds,
the growing ledger) is measured once, by the ``Bench``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from bench import circumstances, clients, dbt_import, growth, peers, storage, upkeep
from bench.figures import ERROR, MET, MISSED, NO_TARGET, NOT_MEASURED, SO_FAR, Row, Spread, ratio_row, verdict
from bench.growth import Size
from bench.operations import BATCH_LINES, OPERATIONS, REFUSALS, Operation, costs, store_replayed
from bench.server import NotMeasured, Server, connected, require_function

Measure = Callable[["Bench"], "Row | list[Row]"]

OBSERVE, BARE, FUNCTION, REPLAY = "fn_process_run_observe", "bare INSERT", "function that inserts", "replay"
DBOS = "dbos enqueue_workflow"
PAIR, BATCH = "fn_process_pair_observe", "fn_process_observe_batch"


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        size: the largest ledger, in runs.
        rounds: interleaved rounds that count.
        calls: calls of each operation in a round.
        files: SQL files of peers that a user named.
        needed: the operations that the selected rows compare.
        done: told of each step.
    """

    server: Server
    size: int
    rounds: int
    calls: int
    files: Mapping[str, Path | None]
    needed: Iterable[str]
    done: Callable[[str], None]
    missing: dict[str, Exception] = field(default_factory=dict)

    @cached_property
    def neighbours(self) -> dict[str, Operation]:
        """The peers that are here; why the others are not is in ``missing``."""
        found = {}
        for name in peers.PEERS:
            try:
                found[name] = peers.operation(self.server, name, self.files)
            except Exception as reason:  # it is the reason of that peer's rows, and of no other
                self.missing[name] = reason
        return found

    @cached_property
    def _costs(self) -> dict[str, list[float]]:
        here = {**OPERATIONS, **(self.neighbours if set(self.needed) & set(peers.PEERS) else {})}
        measured = {name: here[name] for name in dict.fromkeys(self.needed) if name in here}
        url = self.server.database("costs")
        return costs(url, measured, rounds=self.rounds, calls=self.calls, done=self.done)

    def cost(self, name: str) -> list[float]:
        """Server CPU of an operation per round, in microseconds.

        Raises:
            NotMeasured: it belongs to a function or a peer that is not here; or whatever made a peer fail.
        """
        if name in (PAIR, BATCH):
            require_function(self.server.database("costs"), name)
        if name not in self._costs:
            raise self.missing.get(name) or KeyError(f"{name}: bench/operations.py has no operation of that name")
        return self._costs[name]

    @cached_property
    def growth(self) -> dict[int, Size]:
        """What was measured at each size of a growing ledger, the smallest first."""
        return growth.measure(
            self.server,
            self.size,
            neighbours=self.neighbours,
            rounds=max(5, self.rounds // 2),
            calls=self.calls // 2,
            done=self.done,
        )

    @property
    def grown(self) -> dict[int, Size]:
        """``growth`` where a row has asked for it, else nothing: it takes minutes."""
        return self.growth if "growth" in self.__dict__ else {}

    @cached_property
    def stored(self) -> storage.Stored:
        """What pairs take that the functions recorded."""
        self.done("recording pairs")
        return storage.stored(self.server.database("storage"))


@dataclass(frozen=True)
class Measurement:
    """A row as it is asked for: its name, what it is about, the operations it compares, and how it is measured."""

    name: str
    what: str
    operations: tuple[str, ...]
    measure: Measure


ROWS: dict[str, Measurement] = {}


def row(name: str, what: str, *operations: str) -> Callable[[Measure], Measure]:
    """Names a function as the measurement of a row."""

    def named(measure: Measure) -> Measure:
        ROWS[name] = Measurement(name, what, operations, measure)
        return measure

    return named


@row("observe", "fn_process_run_observe / bare INSERT", OBSERVE, BARE)
def observe(bench: Bench) -> Row:
    return ratio_row(ROWS["observe"].what, bench.cost(OBSERVE), bench.cost(BARE), at_most=2.0)


@row("observe-function", "fn_process_run_observe / empty function with the same INSERT", OBSERVE, FUNCTION)
def observe_function(bench: Bench) -> Row:
    return ratio_row(ROWS["observe-function"].what, bench.cost(OBSERVE), bench.cost(FUNCTION))


@row("observe-dbos", "fn_process_run_observe / dbos enqueue_workflow", OBSERVE, DBOS)
def observe_dbos(bench: Bench) -> Row:
    return ratio_row(ROWS["observe-dbos"].what, bench.cost(OBSERVE), bench.cost(DBOS), at_most=1.35)


@row("floor", "bare INSERT / the same without CHECKs", BARE, "INSERT without CHECKs")
def floor(bench: Bench) -> Row:
    return ratio_row(ROWS["floor"].what, bench.cost(BARE), bench.cost("INSERT without CHECKs"))


@row("pair", "a pair in one call / three bare INSERTs", PAIR, "three bare INSERTs")
def pair(bench: Bench) -> Row:
    return ratio_row(ROWS["pair"].what, bench.cost(PAIR), bench.cost("three bare INSERTs"), at_most=0.95)


@row("pair-calls", "a pair in three calls / three bare INSERTs", "three observe calls", "three bare INSERTs")
def pair_calls(bench: Bench) -> Row:
    return ratio_row(ROWS["pair-calls"].what, bench.cost("three observe calls"), bench.cost("three bare INSERTs"))


@row("pair-rate", "pairs per second over a socket, one call / three calls")
def pair_rate(bench: Bench) -> Row:
    url = bench.server.database("clients")
    require_function(url, PAIR)
    rates: dict[str, list[float]] = {"one": [], "three": []}
    for _ in range(bench.rounds):
        for name, script in (("one", PAIR), ("three", clients.THREE_CALLS)):
            rates[name].append(clients.per_second(bench.server, url, script, 1, durable=False))
    return ratio_row(ROWS["pair-rate"].what, rates["one"], rates["three"])


@row("batch", "a batch of 1,000 against COPY, rows per server CPU second", BATCH, "COPY")
def batch(bench: Bench) -> Row:
    return ratio_row(ROWS["batch"].what, bench.cost("COPY"), bench.cost(BATCH), at_least=0.72)


@row("batch-candidates", "the same with a candidate for every three lines")
def batch_candidates(bench: Bench) -> list[Row]:
    bench.done("batches of many candidates")
    found = circumstances.many_candidates(bench.server, bench.rounds)
    sizes = [f"{lines:,}" for lines in circumstances.LINES]
    means = {size: Spread.of(found[size]).median for size in sizes}
    said = ", ".join(f"{cost:.1f} us at {size}" for size, cost in means.items())
    spread = max(means.values()) / min(means.values())
    return [
        ratio_row(ROWS["batch-candidates"].what, found["COPY"], found[f"{BATCH_LINES:,}"], at_least=0.60),
        Row(
            "cost of such a line, by the lines of the batch",
            "the same, at most 1.25 x",
            said,
            verdict(spread <= 1.25),
            dict(means),
        ),
    ]


@row("events", "a batch of 1,000 with all events wanted / with none")
def events(bench: Bench) -> Row:
    found = circumstances.events(bench.server, bench.rounds, bench.calls)
    return ratio_row(ROWS["events"].what, found["on"], found["off"], at_most=2.0)


@row("real", "real header / simulated header")
def real(bench: Bench) -> Row:
    found = circumstances.real(bench.server, bench.rounds, bench.calls // 2)
    return ratio_row(ROWS["real"].what, found["real"], found["simulated"], at_most=3.5)


@row("session", "10,000th call of a session that began on an empty ledger / a fresh session's")
def session(bench: Bench) -> Row:
    found = circumstances.long_session(bench.server, bench.rounds, bench.calls // 4, bench.done)
    return ratio_row(ROWS["session"].what, found["old"], found["fresh"], at_most=1.2)


@row("whole", "a whole run in one call / the neighbours' own calls for as much")
def whole(bench: Bench) -> list[Row]:
    measured, found = {PAIR: OPERATIONS[PAIR]}, []
    for name in peers.PEERS:
        try:
            measured[name] = peers.whole_run(bench.server, name, bench.files)
        except Exception as reason:  # it is the reason of that peer's row, and of no other
            word, said = (NOT_MEASURED, "not measured") if isinstance(reason, NotMeasured) else (ERROR, "error")
            found.append(
                Row(f"a whole run in one call / {name.split()[0]}", "at most 1.00 x", f"{said}: {reason}", word)
            )
    cost = costs(bench.server.database("whole"), measured, rounds=bench.rounds, calls=bench.calls // 2)
    beside = [name for name in measured if name != PAIR]
    return found + [
        ratio_row(f"a whole run in one call / {name.split('_')[0].split()[0]}", cost[PAIR], cost[name], at_most=1.0)
        for name in beside
    ]


@row("replay", "replay of a known key / first call", REPLAY, OBSERVE)
def replay(bench: Bench) -> Row:
    return ratio_row(ROWS["replay"].what, bench.cost(REPLAY), bench.cost(OBSERVE), at_most=0.70)


@row("replay-writes", "1,000 replays: transaction ids, rows, dead rows and sequence values used")
def replay_writes(bench: Bench) -> Row:
    url = bench.server.database("replays")
    store_replayed(url)
    with connected(url) as connection:
        before = _used(url)
        OPERATIONS[REPLAY].run(connection, 1000)
        connection.execute("select pg_stat_force_next_flush()")
        after = _used(url)
    used = {what: after[what] - before[what] for what in before}
    said = ", ".join(f"{count} {what}" for what, count in used.items())
    return Row(ROWS["replay-writes"].what, "0 of each", said, verdict(not any(used.values())), dict(used))


def _used(url: str) -> dict[str, int]:
    with connected(url, "postgres") as admin:
        figures = admin.execute(
            "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
            " (select sum(n_tup_ins) from pg_stat_user_tables where schemaname = 'dot'),"
            " (select sum(n_dead_tup + n_tup_upd + n_tup_del) from pg_stat_user_tables where schemaname = 'dot'),"
            " (select sum(coalesce(last_value, 0)) from pg_sequences where schemaname = 'dot')"
        ).fetchone()
    assert figures is not None
    return dict(zip(("transaction ids", "rows", "dead rows", "sequence values"), map(int, figures), strict=True))


@row("refusal", "refused call / accepted call, the dearest refusal", OBSERVE, *REFUSALS)
def refusal(bench: Bench) -> Row:
    accepted = bench.cost(OBSERVE)
    rows = {name: ratio_row(name, bench.cost(name), accepted, at_most=1.15) for name in REFUSALS}
    medians = {name: Spread.ratio(bench.cost(name), accepted).median for name in REFUSALS}
    dearest = max(medians, key=medians.__getitem__)
    found = rows[dearest]
    return Row(
        ROWS["refusal"].what,
        found.target,
        f"{found.measured}, {dearest.removeprefix('refused: ')}",
        found.verdict,
        {name: row.figures for name, row in rows.items()},
    )


@row("multixacts", f"multixacts on a hot candidate, DOT and gate, {clients.HOT_CLIENTS} clients, each evidence type")
def multixacts(bench: Bench) -> Row:
    url = bench.server.database("clients")
    calls = max(clients.HOT_CLIENTS, bench.calls * 2)
    used = {kind: clients.multixacts(bench.server, url, kind, calls) for kind in clients.EVIDENCE_TYPES}
    said = ", ".join(f"{count} ({kind})" for kind, count in used.items())
    return Row(ROWS["multixacts"].what, "0", said, verdict(not any(used.values())), {**used, "calls": calls})


@row("rate", "headers per second with 1, 4 and 16 clients")
def rate(bench: Bench) -> list[Row]:
    url = bench.server.database("clients")
    kinds = [(durable, number) for durable in (True, False) for number in clients.CLIENTS]
    rates: dict[tuple[bool, int], list[float]] = {kind: [] for kind in kinds}
    for _ in range(5):
        for durable, number in kinds:
            measured = clients.per_second(bench.server, url, clients.ONE_CALL, number, durable=durable)
            rates[durable, number].append(measured)
    found = []
    for durable, word in ((True, "durable"), (False, "not durable")):
        spreads = {number: Spread.of(rates[durable, number]) for number in clients.CLIENTS}
        said = "; ".join(
            f"{spread.median:,.0f} ({spread.low:,.0f} to {spread.high:,.0f})" for spread in spreads.values()
        )
        figures: dict[str, object] = {str(number): spread for number, spread in spreads.items()}
        found.append(Row(f"{ROWS['rate'].what}, {word}", "", said, NO_TARGET, figures))
    return found


@row("client", "client CPU of a header by Ledger, login inherits the role / psycopg alone")
def client(bench: Bench) -> list[Row]:
    found = clients.processor_of_the_client(bench.server, bench.rounds, bench.calls // 2)
    four_alone = [4 * cost for cost in found["psycopg"]]  # a path has four transactions: begin, two parts, release
    return [
        ratio_row(ROWS["client"].what, found["inherits"], found["psycopg"], at_most=1.5),
        ratio_row("the same, login sets the role / psycopg alone", found["sets"], found["psycopg"]),
        ratio_row("client CPU of a run by caller_path / in one call", found["path"], found["pair"], at_most=2.0),
        ratio_row("its floor: four headers by psycopg alone / a run in one call", four_alone, found["pair"]),
    ]


@row("ledgers", "a run in two ledgers of one server by turns / in one ledger, in one call")
def ledgers(bench: Bench) -> Row:
    found = circumstances.two_ledgers(bench.server, bench.rounds, bench.calls // 2)
    return ratio_row(ROWS["ledgers"].what, found["two"], found["one"])


@row("ids", "transaction ids of a run")
def ids(bench: Bench) -> Row:
    found = circumstances.transaction_ids(bench.server)
    said = ", ".join(f"{used:.3g} {way}" for way, used in found.items())
    return Row(ROWS["ids"].what, "", said, NO_TARGET, dict(found))


@row("wal", "WAL bytes per observation, without page images")
def wal(bench: Bench) -> Row:
    return Row(ROWS["wal"].what, "", f"{bench.stored.wal_bytes:.0f}", NO_TARGET, {"bytes": bench.stored.wal_bytes})


@row("stored", "bytes of a header and two components, indexes included")
def stored(bench: Bench) -> Row:
    found, bound = bench.stored.bytes_per_pair, storage.FIRST_VERSION_BYTES * 0.75
    said = f"{found:.0f} ({found / storage.FIRST_VERSION_BYTES - 1:+.0%} against {storage.FIRST_VERSION_BYTES})"
    return Row(ROWS["stored"].what, f"at most {bound:.0f}", said, verdict(found <= bound), {"bytes": found})


@row("parts", "bytes per row of each table and index")
def parts(bench: Bench) -> list[Row]:
    return [
        Row(
            f"{name}: rows, bytes, bytes per row",
            "",
            f"{count:,}, {size:,}, {size / count:.0f}" if count > 0 else f"0, {size:,}",
            NO_TARGET,
            {"rows": count, "bytes": size},
        )
        for name, (size, count) in bench.stored.parts.items()
    ]


@row("vacuum", "vacuum of runs that were just recorded")
def vacuum(bench: Bench) -> list[Row]:
    bench.done("vacuuming")
    found = upkeep.upkeep(bench.server)
    figures: dict[str, object] = {"upkeep": found}
    passes = {
        "vacuum": found.plain,
        "freezing the same rows later": found.then_freeze,
        "vacuum that freezes at once": found.freeze,
    }
    heap = f"{found.fetches_before:.0f} before, {found.fetches_after:.0f} after vacuum"
    return [
        Row("heap visits of an index-only count per 1,000 rows", "", heap, NO_TARGET, figures),
        *(
            Row(f"{what}, per 1,000 runs", "", f"{one.cpu_ms:.2f} ms CPU, {one.wal_kb:.1f} kB WAL", NO_TARGET, figures)
            for what, one in passes.items()
        ),
    ]


@row("fillfactor", "bytes of a run's rows with pages filled to 100 % and to 90 %")
def fillfactor(bench: Bench) -> Row:
    full, less = (upkeep.filled(bench.server, percent) for percent in (100, 90))
    said = f"{full:.0f} and {less:.0f} ({less / full - 1:+.0%})"
    return Row(ROWS["fillfactor"].what, "", said, NO_TARGET, {"full": full, "less": less})


@row("verdict", "v3 verdict and why of one candidate: pages, smallest to largest ledger")
def verdict_pages(bench: Bench) -> list[Row]:
    (smallest, first), (largest, last) = _ends(bench.growth)
    found = []
    for query, before in first.plans.items():
        if query.split(",")[0] not in ("verdict", "why"):
            continue
        after = last.plans[query]
        more, allowed = after.pages - before.pages, len(after.indexes)
        said = f"{before.pages} to {after.pages} pages, {smallest:,} to {largest:,} runs{_sequential(after)}"
        figures: dict[str, object] = {"indexes": after.indexes, "descents": after.descents}
        good = more <= allowed and not after.sequential
        found.append(Row(query, f"at most {allowed} more, no seq scan", said, _so_far(good, largest), figures))
    few, many = (size.plans[growth.ONE_ROW].pages for size in (first, last))
    said = f"{few} to {many} pages, {smallest:,} to {largest:,} runs"
    return [*found, Row(growth.ONE_ROW, "", said, NO_TARGET, {"smallest": few, "largest": many})]


@row("pages", "newest page of the runs, runs of a correlation, children of a run: pages and server CPU")
def pages(bench: Bench) -> list[Row]:
    (smallest, first), (largest, last) = _ends(bench.growth)
    found = []
    for query in ("newest page", "newest page, one state", "runs of a correlation", "children of a run"):
        before, after = first.plans[query], last.plans[query]
        milliseconds = Spread.of(after.cpu_us).median / 1000
        said = f"{milliseconds:.2f} ms, {before.pages} to {after.pages} pages, {smallest:,} to {largest:,} runs{_sequential(after)}"
        good = milliseconds <= 20 and not after.sequential
        found.append(
            Row(query, "20 ms, by an index", said, _so_far(good, largest), {"ms": milliseconds, "pages": after.pages})
        )
    return found


@row("board", "board over all candidates, verdicts without counts")
def board(bench: Bench) -> list[Row]:
    (smallest, _), (largest, last) = _ends(bench.growth)
    at = 100_000 if smallest < 100_000 < largest and 100_000 in bench.growth else smallest
    now = last.plans["board"]
    share = now.pages / last.ledger_pages
    said = f"{share:.1%} at {largest:,} runs ({now.pages:,} of {last.ledger_pages:,}){_sequential(now)}"
    # A share is judged at the size it is meant for: of a small ledger a thousand verdicts are a large part.
    judged = verdict(share < 0.02 and not now.sequential) if largest >= growth.STEPS[-1] else NO_TARGET
    cost = ratio_row(
        f"board: cost at {largest:,} / at {at:,} runs", now.cpu_us, bench.growth[at].plans["board"].cpu_us, at_most=1.5
    )
    return [
        Row(
            "board: share of the ledger's pages",
            "under 2 % at 10,000,000 runs",
            said,
            judged,
            {"share": share, "pages": now.pages},
        ),
        replace(cost, verdict=_so_far(cost.verdict == MET, largest)),
    ]


@row("summaries", "funnel and counts / one index-only scan of the components")
def summaries(bench: Bench) -> list[Row]:
    largest, last = max(bench.growth.items())
    scan = last.plans[growth.INDEX_ONLY_SCAN].cpu_us
    return [
        ratio_row(f"{query} / one index-only scan, {largest:,} runs", last.plans[query].cpu_us, scan, at_most=1.0)
        for query in ("funnel", "counts")
    ]


@row("flat", "cost of a call at the largest ledger / at the smallest, in bare INSERTs")
def flat(bench: Bench) -> list[Row]:
    found = []
    for name in (OBSERVE, REPLAY, *bench.neighbours):
        costs_at = {size: Spread.ratio(at.costs[name], at.costs[BARE]) for size, at in bench.growth.items()}
        said = ", ".join(f"{spread.median:.2f} at {size:,}" for size, spread in costs_at.items())
        figures: dict[str, object] = {str(size): spread for size, spread in costs_at.items()}
        found.append(Row(f"{name} / bare INSERT as the ledger grows", "", said, NO_TARGET, figures))
    return found


def _so_far(met: bool, largest: int) -> str:
    """A target of the whole growth run is met at its largest size alone; it can be missed before."""
    return MISSED if not met else MET if largest >= growth.STEPS[-1] else SO_FAR


def _ends(found: Mapping[int, Size]) -> tuple[tuple[int, Size], tuple[int, Size]]:
    at = sorted(found)
    if len(at) < 2:
        raise NotMeasured(f"one size is no growth: --size above {growth.STEPS[0]:,}")
    return (at[0], found[at[0]]), (at[-1], found[at[-1]])


def _sequential(plan: growth.Plan) -> str:
    return f", sequential: {', '.join(plan.sequential)}" if plan.sequential else ""


@row("record", "a line of a file that is recorded, CPU of client and server / a row of COPY, of the server")
def record(bench: Bench) -> list[Row]:
    found = circumstances.recorded(bench.server, bench.rounds)
    client = Spread.of(found["client"])
    return [
        ratio_row(ROWS["record"].what, found["line"], found["COPY"], at_most=80 / 21),
        Row("of it the client's", "", f"{client.median:.0f} us", NO_TARGET, {"us": client}),
    ]


@row("import", "import of dbt node results / COPY of the same rows, rows per second")
def dbt(bench: Bench) -> list[Row]:
    results = max(4000, min(bench.size // 20, 1_000_000))
    bench.done(f"importing {results:,} dbt results")
    few, many = (dbt_import.imported(bench.server, number) for number in (results // 10, results))
    share = many.copy_seconds / many.seconds
    spent = dbt_import.cpu(bench.server, results // 5, bench.rounds)
    figures: dict[str, object] = {"few": few, "many": many}
    said = f"{share:.2f}, {many.results:,} results: {many.rows / many.seconds:,.0f} rows/s"
    growth_of_memory = many.memory_mb / few.memory_mb
    return [
        Row(ROWS["import"].what, "at least 0.50", said, verdict(share >= 0.5), figures),
        Row(
            "import: memory of the client at ten times the results",
            "at most 1.10 x",
            f"{growth_of_memory:.2f} ({few.memory_mb:.0f} to {many.memory_mb:.0f} MB)",
            verdict(growth_of_memory <= 1.10),
            figures,
        ),
        ratio_row(
            "import of a result, CPU of client and server / COPY of its rows, the same", spent["import"], spent["COPY"]
        ),
        Row("of it the client's", "", f"{Spread.of(spent['client']).median:.0f} us", NO_TARGET, {}),
    ]


def _of_peer(name: str) -> Measure:
    def measure(bench: Bench) -> Row:
        return ratio_row(f"{name} / bare INSERT", bench.cost(name), bench.cost(BARE))

    return measure


for _peer in peers.PEERS:
    row(_peer.split()[0].split("_")[0], f"{_peer} / bare INSERT", _peer, BARE)(_of_peer(_peer))
