"""The benchmark measures what it says: each of its figures would show what it is there to show."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from bench import __main__ as program
from bench import circumstances, growth, load, rows
from bench.figures import ERROR, MET, MISSED, NOT_MEASURED, SO_FAR, Row, Spread, ratio_row
from bench.operations import OPERATIONS, REFUSALS, Operation, costs
from bench.rows import ROWS, Bench, Measurement
from bench.server import LEDGER, Server, connected, next_multixact, one, running
from dot_wrapper.operations import drift


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def bench(server: Server) -> Bench:
    return Bench(server, size=2000, rounds=1, calls=8, files={}, needed=[], done=lambda _: None)


@pytest.fixture
def fresh(server: Server) -> str:
    return server.database(f"test_{uuid.uuid4().hex}")


def guards(url: str, name: str, table: str) -> dict[str, int]:
    """How many constraints of each type the table has, and indexes. Its triggers belong to the functions' cost."""
    with psycopg.connect(url) as admin:
        found = admin.execute(
            "select 'constraint ' || contype::text, count(*) from pg_constraint where conrelid = %(table)s::regclass"
            " and contype not in ('n', 't') group by contype union all select 'indexes', count(*) from pg_index"
            " where indrelid = %(table)s::regclass",
            {"table": f"{name}.{table}"},
        ).fetchall()
    return dict(found)


@pytest.mark.parametrize("table", LEDGER)
def test_the_limit_is_a_table_with_the_same_checks_indexes_and_foreign_keys(server: Server, table: str) -> None:
    url = server.database("limits")
    assert guards(url, "bench", table) == guards(url, "dot", table)
    assert guards(url, "dot", table)["constraint c"] == 2
    typed = "select attname, atttypid::regtype from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum"
    with psycopg.connect(url) as admin:
        columns = {name: admin.execute(typed, (f"{name}.{table}",)).fetchall() for name in ("bench", "dot")}
    assert columns["bench"] == columns["dot"]
    assert {"dot.code", "dot.ref", "dot.evidence"} <= {kind for _, kind in columns["dot"]}


def test_the_empty_function_has_the_signature_definer_and_path_of_the_observe_function(server: Server) -> None:
    with psycopg.connect(server.database("limits")) as admin:
        same = (
            "select pg_get_function_arguments(oid), pg_get_function_result(oid), prosecdef, proconfig, provolatile"
            " from pg_proc where oid = %s::regproc"
        )
        found = [admin.execute(same, (name,)).fetchone() for name in ("dot.fn_process_run_observe", "bench.fn_insert")]
    assert found[0] == found[1]


def test_a_function_that_does_not_exist_is_not_measured_and_never_a_target_met(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PAIR", "fn_of_no_release")
    monkeypatch.setattr(rows, "BATCH", "fn_of_no_release")
    bench.needed = ("COPY", "three bare INSERTs")
    for name in ("pair", "pair-rate", "batch"):
        (row,) = program._measured(ROWS[name], bench)
        assert (row.verdict, row.measured) == (NOT_MEASURED, "not measured: dot.fn_of_no_release does not exist")


def test_a_function_that_exists_and_has_no_call_here_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAIR", "fn_is_run_id")
    bench.needed = ("three bare INSERTs",)
    for name in ("pair", "pair-rate"):
        (row,) = program._measured(ROWS[name], bench)
        assert row.verdict == ERROR


def test_a_peer_that_is_not_here_is_not_measured(bench: Bench) -> None:
    bench.needed = ROWS["absurd"].operations
    (row,) = program._measured(ROWS["absurd"], bench)
    assert row.verdict == NOT_MEASURED
    assert "--absurd FILE" in row.measured


def test_every_operation_costs_something_and_stores_what_it_says(fresh: str) -> None:
    figures = costs(fresh, OPERATIONS, rounds=2, calls=8)
    assert {len(of_each) for of_each in figures.values()} == {2}
    assert min(min(of_each) for of_each in figures.values()) > 0
    with connected(fresh) as connection:
        # Three rounds of four slices of two calls; a header each for observe, the three calls and the pair, one for all replays, and
        # twelve batches of 334 headers.
        assert one(connection, "select count(*) from dot.process_run_observation") == 3 * 24 + 1 + 12 * 334
        assert one(connection, "select count(*) from dot.process_component_observation") == 2 * 2 * 24 + 12 * 666
        # And twelve batches by COPY.
        assert one(connection, "select count(*) from bench.process_component_observation") == 2 * 24 + 12 * 666


def test_a_refusal_that_is_accepted_is_an_error_of_the_benchmark(fresh: str, server: Server) -> None:
    name = "refused: unknown DOT"
    with psycopg.connect(fresh, autocommit=True) as admin:
        admin.execute("select dot.fn_dot_tool_register('bench.unknown')")
    with pytest.raises(psycopg.errors.CheckViolation):  # it is refused, for another reason
        costs(fresh, {name: Operation(REFUSALS[name])}, rounds=1, calls=4)


def test_replays_that_write_are_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows.replay_writes(bench).verdict == MET  # type: ignore[union-attr]
    monkeypatch.setitem(OPERATIONS, rows.REPLAY, OPERATIONS[rows.OBSERVE])
    writing = rows.replay_writes(bench)
    assert isinstance(writing, Row)
    assert writing.verdict == MISSED
    assert writing.figures["rows"] == writing.figures["transaction ids"] == 1000


def test_transaction_ids_of_a_run_are_counted(server: Server) -> None:
    assert list(circumstances.transaction_ids(server).values()) == [2 / 334, 2, 3, 5]


def test_multixacts_are_counted(fresh: str) -> None:
    before = next_multixact(fresh)
    with psycopg.connect(fresh) as first, psycopg.connect(fresh) as second:
        for connection in (first, second):
            connection.execute("select from dot.dot_config for share")
        assert next_multixact(fresh) == before + 1


def test_a_large_ledger_has_passed_every_guard_and_has_candidates_of_each_kind(fresh: str) -> None:
    load.prepare(fresh)
    load.load(fresh, 1, 6000)
    with psycopg.connect(fresh) as admin:
        assert drift.examine(admin).of("drift") == []
        found = admin.execute(
            "select process_candidate_code, verified, reasons from dot.v_process_verification_v3"
            " where process_candidate_code = any(%s)",
            (list(load.KINDS.values()),),
        ).fetchall()
        assert {kind: row[1:] for kind, code in load.KINDS.items() for row in found if row[0] == code} == {
            "verified": (True, []),
            "never verified": (False, ["verifier_not_completed"]),
            "no real run": (False, ["no_real_run"]),
            "no run": (False, ["no_run"]),
        }
        assert one(admin, "select count(*) from dot.process_component_observation") == 12_000
        assert one(admin, "select count(*) from bench.process_run_observation") == 6001


def test_a_row_that_a_guard_refuses_is_not_loaded(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load.prepare(fresh)
    monkeypatch.setattr(
        load, "_HEADERS", load._HEADERS.replace("'started', 'bench', 'bench'", "'started', 'no actor', 'bench'")
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        load.load(fresh, 1, 10)


def test_a_sequential_scan_of_the_ledger_is_seen(fresh: str) -> None:
    with connected(fresh) as connection:
        scanning = growth._plan(connection, "select count(*) from dot.process_run_observation where actor = 'x'", [])
        by_key = growth._plan(connection, "select from dot.process_candidate where code = 'bench.pair'", [])
    assert scanning.sequential == ("process_run_observation",)
    assert by_key.sequential == ()


def test_a_verdict_goes_by_the_median_of_the_rounds() -> None:
    assert Spread.ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == Spread(2.0, 2.0, 3.0, 3)
    assert ratio_row("", [13.0, 13.0, 99.0], [10.0, 10.0, 10.0], at_most=1.30).verdict == MET
    assert ratio_row("", [13.1, 13.1, 1.0], [10.0, 10.0, 10.0], at_most=1.30).verdict == MISSED
    assert ratio_row("", [2.4, 9.0, 2.4], [1.0, 1.0, 1.0], at_least=2.5).verdict == MISSED
    assert ratio_row("", [2.5, 1.0, 2.5], [1.0, 1.0, 1.0], at_least=2.5).verdict == MET


def test_a_target_of_growth_is_met_at_the_largest_size_alone() -> None:
    assert [rows._so_far(met, size) for met in (True, False) for size in (1_000_000, 10_000_000)] == [
        SO_FAR,
        MET,
        MISSED,
        MISSED,
    ]
    assert growth.sizes(1_000_000) == [10_000, 100_000, 1_000_000]
    assert growth.sizes(20_000) == [10_000, 20_000]


def test_a_missed_target_is_exit_code_0_and_an_error_1(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def this_one() -> Iterator[Server]:
        yield server

    def missed(_: Bench) -> Row:
        return Row("a claim", "at most 1", "2", MISSED, {"spread": Spread(2.0, 1.0, 3.0, 3)})

    def broken(_: Bench) -> Row:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(program, "running", this_one)
    for measure, code in ((missed, 0), (broken, 1)):
        monkeypatch.setattr(program, "ROWS", {"claim": Measurement("claim", "a claim", (), measure)})
        monkeypatch.setattr("sys.argv", ["bench", "--only", "claim", "--json", str(tmp_path / "out.json")])
        assert program.main() == code
        (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]["claim"]
        assert row["verdict"] in capsys.readouterr().out
