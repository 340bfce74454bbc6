"""Which candidate of a test's chain a pair is recorded under, by the time of its manifest, and that the order of imports does not show."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper import cli
from dot_wrapper.cli import output
from dot_wrapper.client import database
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.proving.prepared import PREPARED
from dot_wrapper.sources.dbt.chains import Member, place_in, stored_chains
from dot_wrapper.sources.dbt.manifest import AttachedTest
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import ACTOR, import_dbt
from dot_wrapper.sources.dbt.summary import ImportSummary
from support import Database, DotWrapper, rows, waiting
from support.dbt import (
    MODEL,
    OTHER,
    SINGULAR,
    TEST,
    TIMING,
    depends_on,
    manifest_of,
    node,
    project,
    run_result,
    run_results_of,
)

SEED = "seed.shop.raw"
OF_MODEL, OF_OTHER, OF_SEED = (f"{SINGULAR}@{producer}" for producer in (MODEL, OTHER, SEED))


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def pair(producer: str) -> AttachedTest:
    return AttachedTest(producer, SINGULAR)


CHAIN = (Member(OF_MODEL, MODEL, None, day(10)), Member(OF_OTHER, OTHER, OF_MODEL, day(20)))


class TestPlaces:
    @pytest.mark.parametrize(
        ("producer", "time", "code"),
        [
            (MODEL, day(10), OF_MODEL),
            (MODEL, day(15), OF_MODEL),
            (OTHER, day(20), OF_OTHER),
            (OTHER, day(25), OF_OTHER),
            (MODEL, day(5), OF_MODEL),  # the first manifest that was imported need not be the first that had the pair
            (OTHER, day(15), OF_OTHER),
            (MODEL, None, OF_MODEL),
            (OTHER, None, OF_OTHER),
        ],
    )
    def test_a_pair_that_is_known_of_that_time_is_found(self, producer: str, time: datetime | None, code: str) -> None:
        place = place_in(CHAIN, pair(producer), time)
        assert (place.code, place.is_defined) == (code, True)

    @pytest.mark.parametrize(
        ("producer", "time", "code", "supersedes", "superseded_by", "source_time"),
        [
            (MODEL, day(25), f"{OF_MODEL}@2", OF_OTHER, None, day(25)),
            (OTHER, day(5), f"{OF_OTHER}@2", None, OF_OTHER, day(5)),
            (SEED, day(15), OF_SEED, OF_MODEL, OF_OTHER, day(15)),
            (SEED, day(20), OF_SEED, OF_OTHER, None, day(20)),
            (SEED, None, OF_SEED, OF_OTHER, None, day(20)),
        ],
    )
    def test_another_is_a_successor_of_its_own(
        self,
        producer: str,
        time: datetime | None,
        code: str,
        supersedes: str | None,
        superseded_by: str | None,
        source_time: datetime,
    ) -> None:
        place = place_in(CHAIN, pair(producer), time)
        assert (place.code, place.is_defined) == (code, False)
        assert (place.supersedes, place.superseded_by, place.source_time) == (supersedes, superseded_by, source_time)
        assert place.joins in {OF_MODEL, OF_OTHER}

    def test_a_third_time_has_the_next_number(self) -> None:
        chain = (*CHAIN, Member(f"{OF_MODEL}@2", MODEL, OF_OTHER, day(21)), Member(OF_SEED, SEED, OF_MODEL, day(22)))
        assert place_in(chain, pair(MODEL), day(25)).code == f"{OF_MODEL}@3"

    def test_of_one_manifest_that_was_read_in_two_ways_both_pairs_are_found(self) -> None:
        chain = (CHAIN[0], Member(OF_OTHER, OTHER, OF_MODEL, day(10)))
        assert [place_in(chain, pair(one), day(10)).code for one in (MODEL, OTHER)] == [OF_MODEL, OF_OTHER]

    def test_a_chain_without_times_gets_none(self) -> None:
        chain = (Member(OF_MODEL, MODEL, None, None),)
        place = place_in(chain, pair(OTHER), day(10))
        assert (place.supersedes, place.superseded_by, place.source_time) == (OF_MODEL, None, None)
        assert place_in(chain, pair(MODEL), day(10)).is_defined
        first = place_in((), pair(MODEL), day(10))
        assert (first.code, first.joins, first.source_time) == (OF_MODEL, None, day(10))

    def test_names_that_are_long_together_have_a_legal_code(self) -> None:
        long = AttachedTest(MODEL, "t" * 199)
        place = place_in((), long, None)
        again = place_in((Member(place.code, MODEL, None, None), Member("x", OTHER, place.code, None)), long, None)
        assert (len(place.code), again.code, again.is_defined) == (200, place.code, True)


@pytest.fixture
def other(db: Database, pytestconfig: pytest.Config) -> Iterator[Database]:
    """A second database with the wrapper installed and nothing in it."""
    with pytestconfig.stash[PREPARED].installed() as url, closing(Database(url, db.server)) as made:
        yield made


def imported(db: Database, folder: Path) -> ImportSummary:
    with Ledger(lambda: database.connect(db.url_as("operator"))) as ledger:
        return import_dbt(ledger, read_dbt(folder))


def folder_of(number: int, producer: str, base: Path, *, timed: bool = True) -> Path:
    """A project on a day, with a build: one test is of this node, and of the other test nothing changes."""
    nodes = {one: node(one.split(".")[0]) for one in (MODEL, OTHER, SEED)}
    nodes |= {SINGULAR: depends_on(producer), TEST: node("test", attached_node=MODEL)}
    at = day(number).isoformat()
    timing = [{**step, "started_at": at, "completed_at": at} for step in TIMING]
    results = [run_result(one, status="success", timing=timing) for one in (MODEL, OTHER, SEED)]
    results += [run_result(SINGULAR, status="fail", failures=number, timing=timing), run_result(TEST, timing=timing)]
    manifest = manifest_of(nodes, generated_at=at if timed else None)
    return project(base / str(number), manifest, run_results_of(*results, invocation_id=f"day-{number:02}"))


OF_THE_RECORDING = {"process_run_id", "last_seen_run_id", "observed_at", "last_observed_at", "defined_at"}
"""The ids and times that an import gives what it records."""


def shown(db: Database, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the commands show of a ledger, without what is of the recording."""
    monkeypatch.setenv("DATABASE_URL", db.url_as("operator"))

    def listed(*command: str) -> list[dict[str, Any]]:
        found = dot_wrapper(*command, "--json").json
        return [{name: one[name] for name in one.keys() - OF_THE_RECORDING} for one in found]

    catalogue = dot_wrapper("catalogue", "show", "--json").json
    candidates = {one.pop("process_candidate_code"): one for one in catalogue["candidates"]}
    for one in candidates.values():
        del one["defined_at"]
    # A candidate has the time of the manifest that defined it, which for this pair is the first that was imported.
    del candidates[f"{TEST}@{MODEL}"]["source_time"]
    runs = listed("runs")
    return {
        "dots": catalogue["dots"],
        "candidates": candidates,
        "boards": [
            dot_wrapper("board", *options).out for options in ((), ("--superseded",), ("--superseded", "--wide"))
        ],
        "board": listed("board", "--superseded"),
        "why": [dot_wrapper("why", code, *options).out for code in candidates for options in ((), ("--json",))],
        "require": dot_wrapper("require", "--all").out,
        "runs": sorted(runs, key=lambda run: (run["correlation_id"], run["process_candidate_code"])),
        "funnel": dot_wrapper("funnel", "--json").json,
    }


class TestOrder:
    """The order in which folders are imported shows where a test returns to a node, and nowhere else."""

    @pytest.mark.parametrize("order", [(2, 1), *list(permutations((1, 2, 3)))[1:]])
    def test_folders_in_any_order_are_shown_as_in_the_order_of_their_manifests(
        self,
        order: tuple[int, ...],
        db: Database,
        other: Database,
        tmp_path: Path,
        dot_wrapper: DotWrapper,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        days = {number: folder_of(number, (MODEL, OTHER, SEED)[number - 1], tmp_path) for number in order}
        for number in sorted(order):
            imported(db, days[number])
        for number in order:
            imported(other, days[number])
        in_time, in_another_order = (shown(one, dot_wrapper, monkeypatch) for one in (db, other))
        assert in_another_order == in_time
        chain = [f"{SINGULAR}@{producer}" for producer in (MODEL, OTHER, SEED)[: len(order)]]
        assert [in_time["candidates"][code]["supersedes"] for code in chain] == [None, *chain[:-1]]
        assert [in_time["candidates"][code]["superseded_by"] for code in chain] == [
            *[chain[-1]] * (len(chain) - 1),
            None,
        ]
        assert [(run["correlation_id"], run["process_candidate_code"]) for run in in_time["runs"]] == [
            (f"day-{number:02}", code)
            for number, of_the_day in enumerate(chain, 1)
            for code in (f"{TEST}@{MODEL}", of_the_day)
        ]
        assert all(imported(other, folder).nothing_new for folder in days.values())

    @pytest.mark.parametrize(
        ("order", "in_time"),
        [
            ((1, 2, 3), [OF_MODEL, OF_OTHER, f"{OF_MODEL}@2"]),
            ((3, 2, 1), [f"{OF_MODEL}@2", OF_OTHER, OF_MODEL]),
            ((1, 3, 2), [OF_MODEL, OF_OTHER]),
            ((1, 3, 2, 4), [OF_MODEL, OF_OTHER, f"{OF_MODEL}@2"]),
        ],
    )
    def test_it_shows_where_a_test_returns_to_a_node(
        self, db: Database, tmp_path: Path, order: tuple[int, ...], in_time: list[str]
    ) -> None:
        for number in order:
            imported(db, folder_of(number, OTHER if number == 2 else MODEL, tmp_path))
        found = rows(
            db.connect("reader"),
            "select process_candidate_code as code, superseded_by from dot.v_process_candidate"
            " where verifier_dot_code = %s order by source_time",
            SINGULAR,
        )
        newest = in_time[-1]
        assert [(one["code"], one["superseded_by"]) for one in found] == [
            *((code, newest) for code in in_time[:-1]),
            (newest, None),
        ]

    def test_an_older_manifest_that_comes_later_is_told_as_older(
        self, db: Database, tmp_path: Path, dot_wrapper: DotWrapper
    ) -> None:
        imported(db, folder_of(2, OTHER, tmp_path))
        out = dot_wrapper("import", "dbt", str(folder_of(1, MODEL, tmp_path))).out
        assert f"pair changed: {SINGULAR} was of {MODEL}: {OF_MODEL} is superseded by {OF_OTHER}\n" in out

    def test_of_two_imports_at_once_one_waits_and_its_pair_joins_the_chain_of_the_other(
        self, db: Database, tmp_path: Path
    ) -> None:
        catalogue = manifest_of({one: node(one.split(".")[0]) for one in (MODEL, OTHER, SEED)})
        catalogue["nodes"][SINGULAR] = depends_on(MODEL, OTHER)
        imported(db, project(tmp_path / "catalogue", catalogue))
        with (
            closing(database.connect(db.url_as("cataloguer"))) as first,
            closing(database.connect(db.url_as("operator"))) as second,
            ThreadPoolExecutor() as pool,
        ):
            with first.transaction():
                assert stored_chains(first, [pair(MODEL)]) == {}
                define(db, OF_MODEL, MODEL, day(1), first)
                folder = folder_of(2, OTHER, tmp_path)
                importing = waiting(second, lambda: import_dbt(Ledger(lambda: second), read_dbt(folder)), pool, db)
            assert importing.result().conflicts == []
        assert chain(db) == [(OF_MODEL, None, OF_OTHER), (OF_OTHER, OF_MODEL, None)]


def define(
    db: Database, code: str, producer: str, time: datetime | None = None, connection: Any = None, actor: str = ACTOR
) -> None:
    """Defines a candidate of the singular test by hand."""
    (connection or db.session("cataloguer")).execute(
        "select dot.fn_process_candidate_define(%s, %s, %s, %s, p_source_time => %s)",
        (code, producer, SINGULAR, actor, time),
    )


def chain(db: Database) -> list[tuple[Any, ...]]:
    """The candidates of the singular test: code, what it supersedes, by which it is superseded."""
    found = rows(
        db.connect("reader"),
        "select process_candidate_code, supersedes, superseded_by from dot.v_process_candidate"
        " where verifier_dot_code = %s order by defined_at",
        SINGULAR,
    )
    return [tuple(one.values()) for one in found]


def runs_of(db: Database) -> list[str]:
    found = rows(
        db.connect("reader"),
        "select process_candidate_code as code from dot.v_process_run where process_candidate_code not like %s"
        " order by correlation_id",
        f"{TEST}%",
    )
    return [one["code"] for one in found]


@pytest.fixture
def catalogued(db: Database) -> Database:
    """A ledger that has the DOTs, and no candidate of the singular test."""
    for dot in (MODEL, OTHER, SEED, SINGULAR):
        db.session("cataloguer").execute("select dot.fn_dot_tool_register(%s)", (dot,))
    return db


class TestOtherCandidates:
    @pytest.mark.parametrize("timed", [True, False])
    def test_a_candidate_of_release_0_1_0_keeps_its_code_and_gets_no_second(
        self, catalogued: Database, tmp_path: Path, timed: bool
    ) -> None:
        define(catalogued, SINGULAR, MODEL, day(1) if timed else None)
        days = [folder_of(1, MODEL, tmp_path, timed=timed), folder_of(2, OTHER, tmp_path, timed=timed)]
        summary = imported(catalogued, days[0])
        assert (summary.candidates_created, summary.successors, summary.conflicts) == (1, [], [])  # of the other test
        assert chain(catalogued) == [(SINGULAR, None, None)]
        (successor,) = imported(catalogued, days[1]).successors
        assert (successor.candidate, successor.supersedes) == (OF_OTHER, SINGULAR)
        assert chain(catalogued) == [(SINGULAR, None, OF_OTHER), (OF_OTHER, SINGULAR, None)]
        assert runs_of(catalogued) == [SINGULAR, OF_OTHER]
        assert [imported(catalogued, one).nothing_new for one in days] == [True, True]

    @pytest.mark.parametrize("producer", [MODEL, OTHER])
    def test_one_of_another_person_with_the_same_verifier_is_in_no_chain(
        self, catalogued: Database, tmp_path: Path, producer: str
    ) -> None:
        define(catalogued, "audit.orders", producer, day(1), actor="ana")
        summary = imported(catalogued, folder_of(2, MODEL, tmp_path))
        assert (summary.candidates_created, summary.successors, summary.conflicts) == (2, [], [])
        assert chain(catalogued) == [("audit.orders", None, None), (OF_MODEL, None, None)]
        assert runs_of(catalogued) == [OF_MODEL]
        define(catalogued, "audit.later", OTHER, day(3), actor="ana")
        (successor,) = imported(catalogued, folder_of(4, OTHER, tmp_path)).successors
        assert (successor.candidate, successor.supersedes) == (OF_OTHER, OF_MODEL)
        assert runs_of(catalogued) == [OF_MODEL, OF_OTHER]

    def test_a_pair_that_a_person_defined_under_its_code_is_used(self, catalogued: Database, tmp_path: Path) -> None:
        catalogued.session("cataloguer").execute(
            "select dot.fn_process_candidate_define(%s, %s, %s, 'ana', p_max_age => interval '1 day')",
            (OF_MODEL, MODEL, SINGULAR),
        )
        summary = imported(catalogued, folder_of(1, MODEL, tmp_path))
        assert (summary.candidates_created, summary.conflicts) == (1, [])
        assert (chain(catalogued), runs_of(catalogued)) == ([(OF_MODEL, None, None)], [OF_MODEL])


def test_the_board_names_a_pair_by_its_test_and_tells_pairs_of_one_test_apart(
    db: Database, tmp_path: Path, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.stdout, "width", 250)
    for number, producer in ((1, MODEL), (2, OTHER)):
        imported(db, folder_of(number, producer, tmp_path))
    table = dot_wrapper("board", "--superseded").out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[0] == "│"]
    assert {line[0] for line in cells if line[0]} == {
        "not_null_orders_id",
        "orders_match",
        "of customers",
        "of orders",
    }
    assert "superseded by orders_match@customers" in [line[3] for line in cells]
    assert OF_OTHER in dot_wrapper("board", "--json").out


@pytest.mark.parametrize(
    ("code", "short"),
    [
        (f"{TEST}@{MODEL}", "not_null_orders_id"),
        (f"{SINGULAR}@source.shop.raw.orders@2", "orders_match"),
        ("unit_test.shop.orders.drops_negative@model.shop.orders.v2", "orders.drops_negative"),
        ("model.shop.orders", "orders"),
        ("model.shop.orders@eu", "orders@eu"),
        ("load@shop.orders", "load@shop.orders"),
    ],
)
def test_the_short_name_of_a_pair_is_that_of_its_test(code: str, short: str) -> None:
    assert output.short_name(code) == short


@pytest.mark.parametrize("command", [("why",), ("rehearse",), ("require",)])
def test_who_names_the_test_is_told_its_candidates(
    db: Database, tmp_path: Path, dot_wrapper: DotWrapper, command: tuple[str, ...]
) -> None:
    for number, producer in ((1, MODEL), (2, OTHER)):
        imported(db, folder_of(number, producer, tmp_path))
    outcome = dot_wrapper(*command, SINGULAR)
    assert outcome.code == cli.REFUSED
    assert f"next: Name a candidate with this verifier: {OF_OTHER}, {OF_MODEL}\n" in outcome.err
    outcome = dot_wrapper(*command, "nobody.knows")
    assert (outcome.code, "next: `dot-wrapper board` lists the candidates" in outcome.err) == (cli.REFUSED, True)
