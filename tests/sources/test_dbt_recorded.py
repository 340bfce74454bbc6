"""What an import of dbt leaves in the database where a name is no legal code, a pair changes, or a node leaves the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper import cli
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.dbt.names import candidate_code, code_of
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import import_dbt
from dot_wrapper.sources.dbt.summary import ImportSummary, Outcomes, Successor
from support import Database, DotWrapper, rows, value
from support.dbt import (
    MODEL,
    OTHER,
    SINGULAR,
    TEST,
    Json,
    depends_on,
    finished,
    lines_of,
    manifest_of,
    node,
    project,
    run_result,
    run_results_of,
    write,
)

DAYS = ["2026-03-01T05:00:00Z", "2026-03-02T05:00:00Z", "2026-03-03T05:00:00Z"]
LONG = "test.shop.accepted_values_" + "_".join(["placed"] * 30) + ".8df6e4938c"
RUSSIAN = "model.shop.заказы"
SIGNS = "test.shop.orders:id>=1.cb5cabf5e3"
OF_MODEL, OF_OTHER = f"{SINGULAR}@{MODEL}", f"{SINGULAR}@{OTHER}"


def imported(ledger: Ledger, folder: Path, producers: dict[str, str] | None = None) -> ImportSummary:
    return import_dbt(ledger, read_dbt(folder, producers=producers))


def catalogue(db: Database) -> dict[str, dict[str, Any]]:
    return {one["dot_code"]: one for one in rows(db.connect("reader"), "select * from dot.v_dot_tool")}


def candidates(db: Database) -> list[tuple[str, str, str | None]]:
    """Each candidate's code, producer, and the newest of its chain; None for the newest."""
    found = rows(
        db.connect("reader"),
        "select process_candidate_code, producer_dot_code, superseded_by from dot.v_process_candidate"
        " order by source_time, defined_at",
    )
    return [(one["process_candidate_code"], one["producer_dot_code"], one["superseded_by"]) for one in found]


class TestNames:
    NODES = {  # noqa: RUF012  no test changes it
        RUSSIAN: node(original_file_path="models/заказы.sql"),
        LONG: node("test", attached_node=RUSSIAN),
        SIGNS: node("test", attached_node=RUSSIAN),
    }

    def test_no_name_refuses_a_project_and_each_is_kept(self, db: Database, ledger: Ledger, tmp_path: Path) -> None:
        results = (
            run_result(RUSSIAN, status="success"),
            run_result(LONG),
            run_result(SIGNS, status="fail", failures=2),
        )
        project(tmp_path, manifest_of(self.NODES), run_results_of(*results))
        summary = imported(ledger, tmp_path)
        assert (summary.dots_created, summary.candidates_created, summary.runs_created) == (3, 2, 2)
        assert (summary.conflicts, summary.renamed) == ([], {code_of(name): name for name in self.NODES})
        dots = catalogue(db)
        assert dots.keys() == {code_of(name) for name in self.NODES}
        assert dots[code_of(LONG)]["script_path"] == LONG
        assert dots[code_of(SIGNS)]["script_path"] == SIGNS
        assert dots[code_of(RUSSIAN)]["script_path"] == ascii(RUSSIAN)[1:-1]
        reader = db.connect("reader")
        description = "select description from dot.v_process_candidate where process_candidate_code = %s"
        assert value(reader, description, candidate_code(code_of(SIGNS), code_of(RUSSIAN))) == f"dbt test {SIGNS}"
        names = rows(reader, "select evidence_ref ->> 'unique_id' as name from dot.v_process_run_component")
        assert {one["name"] for one in names} == {RUSSIAN, LONG, SIGNS}
        assert imported(ledger, tmp_path).nothing_new

    def test_a_legal_name_has_no_second_one(self, db: Database, ledger: Ledger, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result()))
        assert imported(ledger, tmp_path).renamed == {}
        assert [one["script_path"] for one in catalogue(db).values()] == [None, None]
        evidence = value(db.connect("reader"), "select evidence_ref from dot.v_process_run_component")
        assert "unique_id" not in evidence


def singular(generated_at: str | None, *nodes: str) -> Json:
    given = {one: node(one.split(".")[0]) for one in (MODEL, OTHER, "seed.shop.raw")}
    return manifest_of({**given, SINGULAR: depends_on(*nodes)}, generated_at=generated_at)


class TestChanges:
    def day(self, folder: Path, number: int, *nodes: str, timed: bool = True) -> Path:
        results = run_results_of(
            run_result(MODEL, status="success"), run_result(SINGULAR), invocation_id=f"0{number}-day"
        )
        return project(folder / str(number), singular(DAYS[number] if timed else None, *nodes), results)

    @pytest.mark.parametrize("timed", [True, False])
    def test_a_pair_that_changes_is_a_successor_once(
        self, db: Database, ledger: Ledger, tmp_path: Path, timed: bool
    ) -> None:
        days = [self.day(tmp_path, 0, MODEL, timed=timed), self.day(tmp_path, 1, OTHER, timed=timed)]
        assert imported(ledger, days[0]).successors == []
        summary = imported(ledger, days[1])
        (successor,) = summary.successors
        assert successor == Successor(SINGULAR, OTHER, OF_OTHER, OF_MODEL, None)
        assert (summary.candidates_created, summary.runs_created, summary.conflicts) == (1, 1, [])
        for _ in range(2):
            for day in days:
                assert imported(ledger, day).nothing_new
        assert candidates(db) == [(OF_MODEL, MODEL, OF_OTHER), (OF_OTHER, OTHER, None)]
        runs = rows(
            db.connect("reader"), "select process_candidate_code as code from dot.v_process_run order by correlation_id"
        )
        assert [one["code"] for one in runs] == [OF_MODEL, OF_OTHER]

    def test_a_pair_that_comes_back_is_a_successor_of_its_own(
        self, db: Database, ledger: Ledger, tmp_path: Path
    ) -> None:
        days = [self.day(tmp_path, number, one) for number, one in enumerate((MODEL, OTHER, MODEL))]
        for day in days:
            imported(ledger, day)
        assert candidates(db) == [
            (OF_MODEL, MODEL, f"{OF_MODEL}@2"),
            (OF_OTHER, OTHER, f"{OF_MODEL}@2"),
            (f"{OF_MODEL}@2", MODEL, None),
        ]
        assert [imported(ledger, day).nothing_new for day in days] == [True] * 3

    def test_a_test_that_gets_one_more_join_keeps_the_pair_that_a_person_named(
        self, db: Database, ledger: Ledger, tmp_path: Path
    ) -> None:
        named = {SINGULAR: MODEL}
        imported(ledger, self.day(tmp_path, 0, MODEL, OTHER), named)
        summary = imported(ledger, self.day(tmp_path, 1, MODEL, OTHER, "seed.shop.raw"), named)
        assert (summary.candidates_created, summary.runs_created, summary.conflicts) == (0, 1, [])
        assert candidates(db) == [(OF_MODEL, MODEL, None)]
        assert imported(ledger, self.day(tmp_path, 1, MODEL, OTHER)).several == {SINGULAR: (MODEL, OTHER)}

    def test_a_manifest_without_a_time_follows_those_that_have_one(
        self, db: Database, ledger: Ledger, tmp_path: Path
    ) -> None:
        imported(ledger, self.day(tmp_path, 0, MODEL))
        summary = imported(ledger, self.day(tmp_path, 1, OTHER, timed=False))
        assert (len(summary.successors), summary.conflicts) == (1, [])
        assert candidates(db)[-1] == (OF_OTHER, OTHER, None)

    def test_what_left_the_project_is_retired_until_it_comes_back(
        self, db: Database, ledger: Ledger, tmp_path: Path
    ) -> None:
        whole = {MODEL: node(), TEST: node("test", attached_node=MODEL), OTHER: node(original_file_path="models/c.sql")}
        # A test that is new dates the manifest.
        later = {MODEL: node(), "test.shop.new": node("test", attached_node=MODEL)}
        first = project(tmp_path / "1", manifest_of(whole, generated_at=DAYS[0]))
        second = project(tmp_path / "2", manifest_of(later, generated_at=DAYS[1]))
        third = project(tmp_path / "3", manifest_of({**whole, **later}, generated_at=DAYS[2]))
        assert imported(ledger, first).retired == []
        summary = imported(ledger, second)
        assert (summary.retired, summary.dots_retired) == ([OTHER, TEST], 2)
        assert imported(ledger, second).nothing_new
        retired = {code for code, dot in catalogue(db).items() if dot["category"].startswith("retired.")}
        assert (retired, catalogue(db)[OTHER]["file_path"]) == ({OTHER, TEST}, "models/c.sql")
        assert imported(ledger, first).nothing_new  # an older manifest says nothing of today
        assert imported(ledger, third).retired == []
        assert {dot["category"] for dot in catalogue(db).values()} == {"model", "test"}
        assert {dot["trigger_type"] for dot in catalogue(db).values()} == {None}, "which the inventory counts"

    def test_so_also_where_the_older_manifest_comes_later(self, db: Database, ledger: Ledger, tmp_path: Path) -> None:
        whole = {MODEL: node(original_file_path="old.sql"), TEST: node("test", attached_node=MODEL), OTHER: node()}
        later = {MODEL: node(), "test.shop.new": node("test", attached_node=MODEL)}
        imported(ledger, project(tmp_path / "2", manifest_of(later, generated_at=DAYS[1])))
        assert imported(ledger, project(tmp_path / "1", manifest_of(whole, generated_at=DAYS[0]))).retired == []
        dots = catalogue(db)
        assert {code for code, dot in dots.items() if dot["category"].startswith("retired.")} == {OTHER, TEST}
        assert dots[MODEL]["file_path"] == "models/orders.sql"

    def test_another_project_and_a_bad_entry_have_not_left(self, ledger: Ledger, tmp_path: Path) -> None:
        imported(ledger, project(tmp_path / "1", manifest_of({MODEL: node(), "model.lib.a": node()})))
        imported(
            ledger,
            project(tmp_path / "2", {**manifest_of({"model.cafe.a": node()}), "metadata": {"project_name": "cafe"}}),
        )
        assert imported(ledger, project(tmp_path / "3", manifest_of({MODEL: None, OTHER: node()}))).retired == []
        assert imported(ledger, project(tmp_path / "4", manifest_of({}))).retired == []
        assert imported(ledger, project(tmp_path / "5", manifest_of({OTHER: node()}))).retired == [MODEL]


class TestSummary:
    def test_a_warning_is_no_pass_and_what_was_skipped_no_pair(self, ledger: Ledger, tmp_path: Path) -> None:
        tests = {f"test.shop.t{word}": word for word in ("pass", "warn", "fail", "error", "skipped")}
        nodes = {MODEL: node(), OTHER: node(), "model.shop.alone": node()}
        nodes |= {name: node("test", attached_node=MODEL) for name in tests}
        nodes["test.shop.both"] = node("test", attached_node=OTHER)
        results = [
            run_result(name, status=word) for name, word in {MODEL: "success", OTHER: "skipped", **tests}.items()
        ]
        results += [run_result("test.shop.both", status="skipped"), run_result("model.shop.alone", status="error")]
        project(tmp_path, manifest_of(nodes), run_results_of(*results))
        summary = imported(ledger, tmp_path)
        assert (summary.correlated_pairs, summary.both_skipped, summary.runs_created) == (5, 1, 6)
        assert summary.verifiers == Outcomes(passed=1, warned=1, failed=2, skipped=1)
        assert summary.nodes == Outcomes(passed=2, warned=1, failed=3, skipped=3)
        assert summary.unpaired_results == 1

    def test_run_results_and_its_log_are_one_run(self, ledger: Ledger, tmp_path: Path) -> None:
        timing = [{"started_at": "2026-03-01T05:00:00.250000Z", "completed_at": "2026-03-01T05:00:01.000000Z"}]
        short = [{"started_at": "2026-03-01T05:00:00.250Z", "completed_at": "2026-03-01T05:00:01Z"}]
        artifacts = [run_result(MODEL, status="success", failures=None, timing=timing), run_result(timing=timing)]
        project(tmp_path, manifest_of(), run_results_of(*artifacts))
        events = (finished(MODEL, status="success", timing_info=short), finished(timing_info=short))
        log = write(tmp_path / "other.jsonl", lines_of(*events))
        assert imported(ledger, tmp_path).runs_created == 1
        again = import_dbt(ledger, read_dbt(tmp_path, results=log))
        assert (again.runs, again.nothing_new, again.conflicts) == (1, True, [])


class TestCommandLine:
    def test_no_results_yet(self, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        project(tmp_path, manifest_of())
        write(tmp_path / "logs" / "dbt.log", "12:53:36  Running with dbt=1.8.2\n")
        outcome = dot_wrapper("import", "dbt", str(tmp_path))
        assert (outcome.code, "no results yet: run `dbt build`" in outcome.out) == (cli.DONE, True)

    def test_a_command_that_executed_nothing(self, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result(status="success"), args={"which": "generate"}))
        outcome = dot_wrapper("import", "dbt", str(tmp_path))
        said = "dbt docs generate executed nothing: the catalogue alone was imported"
        assert (outcome.code, said in outcome.out) == (cli.DONE, True)

    def test_what_was_left_out_is_listed_and_exit_code_8(
        self, db: Database, dot_wrapper: DotWrapper, tmp_path: Path
    ) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result("model.shop.gone"), run_result()))
        path = tmp_path / "target" / "run_results.json"
        strict = dot_wrapper("import", "dbt", str(tmp_path), "--strict")
        assert (strict.code, f"{path}: results[0]: model.shop.gone is not in" in strict.err) == (cli.BAD_INPUT, True)
        assert catalogue(db) == {}
        outcome = dot_wrapper("import", "dbt", str(tmp_path))
        assert outcome.code == cli.PARTLY == 8
        assert f"left out: {path}: results[0]: model.shop.gone is not in" in outcome.out
        as_json = dot_wrapper("import", "dbt", str(tmp_path), "--json").json
        assert (as_json["left_out"][0]["place"], as_json["left_out_number"], as_json["runs"]) == ("results[0]", 1, 1)

    def test_a_conflict_is_more_than_what_was_left_out(self, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result()))
        assert dot_wrapper("import", "dbt", str(tmp_path)).code == cli.DONE
        project(tmp_path, manifest_of(), run_results_of(run_result(status="fail"), run_result("model.shop.gone")))
        outcome = dot_wrapper("import", "dbt", str(tmp_path))
        assert (outcome.code, "left out: " in outcome.out, "conflict: " in outcome.out) == (cli.REFUSED, True, True)

    def test_two_invocations_and_a_failed_build_say_so(self, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result(status="fail", failures=1)))
        out = dot_wrapper("import", "dbt", str(tmp_path)).out
        assert "no invocation has both parts of a pair" in out
        assert "dbt failed: 1 of 1 node failed, 0 skipped" in out
        project(
            tmp_path,
            manifest_of(),
            run_results_of(run_result(MODEL, status="success"), run_result(), invocation_id="2"),
        )
        out = dot_wrapper("import", "dbt", str(tmp_path)).out
        assert "no invocation has both parts" not in out
        assert "dbt failed" not in out

    def test_a_person_names_the_node_of_a_test(self, db: Database, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        name = "orders:id>=1"
        nodes = {MODEL: node(name="orders"), OTHER: node(), SIGNS: depends_on(MODEL, OTHER, name=name)}
        project(tmp_path, manifest_of(nodes))
        outcome = dot_wrapper("import", "dbt", str(tmp_path))
        assert (outcome.code, f"over several nodes: {SIGNS}: {MODEL}, {OTHER}; name" in outcome.out) == (cli.DONE, True)
        for bad in ("x", "=x", "x=", "gone=orders"):
            assert dot_wrapper("import", "dbt", str(tmp_path), "--producer", bad).code == cli.BAD_INPUT
        assert dot_wrapper("import", "dbt", str(tmp_path), "--producer", f"{name}=orders").code == cli.DONE
        assert candidates(db) == [(candidate_code(code_of(SIGNS), MODEL), MODEL, None)]

    def test_many_lines_of_a_kind_have_an_end(self, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
        names = [f"model.shop.größe{number:02}" for number in range(25)]
        project(tmp_path, manifest_of({name: node() for name in names}))
        out = dot_wrapper("import", "dbt", str(tmp_path)).out
        assert f"renamed: {names[0]} is {code_of(names[0])}" in out
        assert (out.count("renamed: "), "and 5 more, see --json" in out) == (20, True)
        assert len(dot_wrapper("import", "dbt", str(tmp_path), "--json").json["renamed"]) == 25


def test_what_changed_and_what_left_is_said(dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    project(tmp_path, singular(DAYS[0], MODEL))
    assert dot_wrapper("import", "dbt", str(tmp_path)).code == cli.DONE
    project(tmp_path, manifest_of({OTHER: node(), SINGULAR: depends_on(OTHER)}, generated_at=DAYS[1]))
    out = dot_wrapper("import", "dbt", str(tmp_path)).out
    assert f"pair changed: {SINGULAR} is of {OTHER}: {OF_OTHER} supersedes {OF_MODEL}\n" in out
    assert f"retired: {MODEL} left the project" in out
    again = dot_wrapper("import", "dbt", str(tmp_path)).out
    assert ("pair changed" in again, "nothing new" in again) == (False, True)


def test_json_of_the_summary_is_plain(dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    project(tmp_path, manifest_of(), run_results_of(run_result(status="warn")))
    found = dot_wrapper("import", "dbt", str(tmp_path), "--json").json
    assert found["verifiers_alone"] == {"passed": 0, "warned": 1, "failed": 0, "skipped": 0}
    assert json.dumps(found)
