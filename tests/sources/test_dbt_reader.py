"""What the dbt reader gives for real runs and the example, and how it refuses bad input."""

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper.sources.dbt import reader
from dot_wrapper.sources.dbt.documents import DbtInputError
from dot_wrapper.sources.dbt.manifest import Node
from dot_wrapper.sources.dbt.reader import DbtInput, read_dbt
from dot_wrapper.sources.dbt.results import WRAPPER_STATUS, Result, outcome_of
from support.dbt import (
    ABSENT,
    INVOCATION,
    MODEL,
    SOURCE,
    SOURCE_TEST,
    TEST,
    Json,
    depends_on,
    event,
    finished,
    lines_of,
    manifest_of,
    node,
    run_result,
    run_results_of,
    write,
)

REPOSITORY = Path(__file__).parents[2]
REAL_INPUT = REPOSITORY.parent / "shared" / "data" / "dbt"
EXAMPLE = REPOSITORY / "examples" / "dbt"

needs_real_input = pytest.mark.skipif(not REAL_INPUT.is_dir(), reason="the real dbt runs are not on this machine")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A dbt project with a good manifest and no results."""
    write(tmp_path / "target" / "manifest.json", manifest_of())
    return tmp_path


@pytest.fixture
def unheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every log is read again, as one that has too many results to be held."""
    monkeypatch.setattr(reader, "HELD", 0)


def refusal(target_dir: Path, **options: Any) -> str:
    with pytest.raises(DbtInputError) as refused:
        read_dbt(target_dir, **options)
    return str(refused.value)


def split_of(read: DbtInput) -> tuple[int, int, int, int]:
    """Pairs by what was observed: both, producer only, verifier only, neither."""
    seen = Counter((run.producer is not None, run.verifier is not None) for run in read.runs)
    return seen[True, True], seen[True, False], seen[False, True], len(read.pairs) - len(read.runs)


class TestRealInput:
    pytestmark = needs_real_input

    @pytest.mark.parametrize(
        ("folder", "log", "invocation", "nodes", "pairs", "results", "split", "unpaired"),
        [
            ("build", None, "bafba111", 30, 21, 20, (11, 0, 1, 9), 4),
            ("test-only", None, "899a81ce", 30, 21, 4, (0, 0, 4, 17), 0),
            ("run-only", None, "917ea72a", 28, 20, 5, (0, 20, 0, 0), 0),
            ("run-only", "failed-dbt.jsonl", "b0ed168e", 28, 20, 1, (0, 10, 0, 10), 0),
            ("artifacts-test", None, "9adc7020", 20, 14, 14, (0, 0, 14, 0), 0),
            ("artifacts-fail", None, "8c814240", 5, 0, 4, (0, 0, 0, 0), 4),
            *(
                (f"same-invocation/{name}", None, "b8513ee2", 2, 0, 1, (0, 0, 0, 0), 1)
                for name in ("alias", "catalog", "env_vars", "profiles", "small")
            ),
        ],
    )
    def test_every_folder_gives_its_tabled_figures(
        self,
        folder: str,
        log: str | None,
        invocation: str,
        nodes: int,
        pairs: int,
        results: int,
        split: tuple[int, int, int, int],
        unpaired: int,
    ) -> None:
        read = read_dbt(REAL_INPUT / folder, results=REAL_INPUT / folder / "logs" / log if log else None)
        assert (len(read.nodes), len(read.pairs), read.results) == (nodes, pairs, results)
        assert [one[:8] for one in read.invocation_ids] == [invocation]
        assert split_of(read) == split
        assert read.unpaired_results == unpaired

    def test_build_gives_30_nodes_21_pairs_12_runs(self) -> None:
        read = read_dbt(REAL_INPUT / "build")
        assert (len(read.nodes), len(read.pairs), len(read.runs)) == (30, 21, 12)
        complete = [run for run in read.runs if run.producer and run.verifier]
        assert Counter(run.verifier.status for run in complete if run.verifier) == {"pass": 10, "fail": 1}

    def test_build_fails_one_verifier_with_78_failures(self) -> None:
        failed = [run.verifier for run in read_dbt(REAL_INPUT / "build").runs if run.verifier and run.verifier.failures]
        assert failed == [
            Result(
                "test.jaffle_shop.accepted_values_customers_first_name__Jane.21e890a312",
                "fail",
                78,
                failed[0].started_at,
                failed[0].finished_at,
            )
        ]
        assert failed[0].started_at
        assert failed[0].finished_at
        assert failed[0].started_at < failed[0].finished_at

    def test_relationship_test_belongs_to_the_node_it_is_attached_to_not_the_one_it_refers_to(self) -> None:
        (pair,) = (pair for pair in read_dbt(REAL_INPUT / "build").pairs if ".relationships_" in pair.verifier)
        assert pair.producer == "model.jaffle_shop.orders"

    def test_run_that_failed_gives_the_producer_error_of_every_pair_of_that_model(self) -> None:
        folder = REAL_INPUT / "run-only"
        read = read_dbt(folder, results=folder / "logs" / "failed-dbt.jsonl")
        assert {(run.producer.unique_id, run.producer.status) for run in read.runs if run.producer} == {
            ("model.jaffle_shop.orders", "error")
        }

    def test_artifacts_without_attached_node_pair_by_the_argument_of_the_test(self) -> None:
        read = read_dbt(REAL_INPUT / "artifacts-test")
        by_kind = Counter(pair.producer.partition(".")[0] for pair in read.pairs)
        assert (by_kind, read.sourceless_tests, read.several) == ({"model": 13, "source": 1}, (), {})

    def test_all_five_of_the_same_invocation_share_one_id(self) -> None:
        folders = [one for one in (REAL_INPUT / "same-invocation").iterdir() if one.is_dir()]
        assert len(folders) == 5
        assert len({read_dbt(folder).invocation_ids for folder in folders}) == 1

    @pytest.mark.parametrize("folder", ["build", "artifacts-test"])
    def test_project_and_target_directory_give_the_same(self, folder: str) -> None:
        above, itself = read_dbt(REAL_INPUT / folder), read_dbt(REAL_INPUT / folder / "target")
        assert above == itself

    def test_one_changed_verifier_status_changes_exactly_one_digest(self, tmp_path: Path) -> None:
        log = (REAL_INPUT / "build" / "logs" / "dbt.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        at = next(i for i, line in enumerate(log) if '"NodeFinished"' in line and '"status": "pass"' in line)
        log[at] = log[at].replace('"status": "pass"', '"status": "fail"')
        altered = write(tmp_path / "altered", "".join(log))
        before, after = read_dbt(REAL_INPUT / "build"), read_dbt(REAL_INPUT / "build", results=altered)
        assert [run.idempotency_key for run in before.runs] == [run.idempotency_key for run in after.runs]
        pairs_of_runs = zip(before.runs, after.runs, strict=True)
        assert sum(one.result_digest != other.result_digest for one, other in pairs_of_runs) == 1


class TestExample:
    def test_example_has_a_failing_a_warning_and_a_never_run_verifier(self) -> None:
        read = read_dbt(EXAMPLE)
        assert Counter(one.resource_type for one in read.nodes) == {"seed": 1, "model": 2, "test": 4}
        assert split_of(read) == (3, 1, 0, 0)
        assert Counter((run.verifier.status, run.verifier.failures) for run in read.runs if run.verifier) == {
            ("pass", 0): 1,
            ("warn", 3): 1,
            ("fail", 2): 1,
        }

    def test_example_names_no_user_and_no_absolute_path(self) -> None:
        for path in (EXAMPLE / "target").iterdir():
            values = json.dumps(json.loads(path.read_text(encoding="utf-8")))
            assert '"/' not in values
            assert "user" not in values
            assert "home" not in values.lower()


class TestNodesAndPairs:
    def test_node_keeps_the_path_relative_to_the_project(self, project: Path) -> None:
        assert read_dbt(project).nodes[0] == Node(MODEL, "model", "models/orders.sql")

    @pytest.mark.parametrize("path", [ABSENT, None, ""])
    def test_node_without_a_path_has_none(self, tmp_path: Path, path: object) -> None:
        write(tmp_path / "manifest.json", manifest_of({MODEL: node(original_file_path=path)}))
        assert read_dbt(tmp_path).nodes[0].path is None

    def test_only_tests_are_verifiers(self, tmp_path: Path) -> None:
        extra = {"model.shop.daily": node(attached_node=MODEL, depends_on={"nodes": [MODEL]})}
        write(tmp_path / "manifest.json", manifest_of({**manifest_of()["nodes"], **extra}))
        assert [pair.code for pair in read_dbt(tmp_path).pairs] == [f"{TEST}@{MODEL}"]


class TestRuns:
    def test_without_results_nothing_was_observed(self, project: Path) -> None:
        read = read_dbt(project)
        assert (list(read.runs), read.results, read.invocation_ids, read.results_path) == ([], 0, (), None)
        assert len(read.pairs) == 1

    @pytest.mark.parametrize("log", ["", "\n\n", lines_of(event())])
    def test_log_in_which_nothing_finished_observes_nothing(self, project: Path, log: str) -> None:
        path = write(project / "logs" / "dbt.jsonl", log)
        read = read_dbt(project)
        assert (list(read.runs), read.results, read.results_path) == ([], 0, path)

    def test_run_results_and_log_of_one_invocation_give_the_same_runs(self, project: Path) -> None:
        results = write(project / "a", run_results_of(run_result(MODEL, status="success"), run_result(failures=None)))
        log = write(project / "b", lines_of(finished(MODEL, status="success"), finished()))
        (run,) = read_dbt(project, results=results).runs
        assert [run] == list(read_dbt(project, results=log).runs)
        assert run.verifier == Result(TEST, "pass", 0, "2025-01-01T00:00:01Z", "2025-01-01T00:00:04Z")
        assert (run.correlation_id, run.idempotency_key) == (INVOCATION, f"dbt:{INVOCATION}")

    def test_invocations_that_were_written_side_by_side_are_told_apart(self, project: Path) -> None:
        ids = ["01-one", "02-two"]
        first = [finished(MODEL, name, status="success") for name in ids]
        second = [finished(TEST, name, status=word) for name, word in zip(ids, ("pass", "fail"), strict=True)]
        again = [finished(TEST, "01-one", status="warn")]  # of a node that finished twice the last result counts
        write(project / "logs" / "dbt.jsonl", lines_of(*first, *second, *again))
        read = read_dbt(project)
        runs = [(run.correlation_id, run.verifier and run.verifier.status) for run in read.runs]
        assert sorted(runs) == [("01-one", "warn"), ("02-two", "fail")]
        assert (len(read.runs), read.results, read.unpaired_results, read.invocation_ids) == (2, 4, 0, tuple(ids))

    def test_a_small_log_is_read_once_and_a_large_one_gives_the_same(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events = [finished(MODEL, status="success"), finished(), finished(MODEL, "01-two", status="error")]
        log = write(project / "logs" / "dbt.jsonl", lines_of(*events))
        reads = []
        for held in (len(events), len(events) - 1):
            monkeypatch.setattr(reader, "HELD", held)
            reads.append(read_dbt(project))
        small, large = reads
        assert list(small.runs) == list(large.runs)
        log.unlink()
        assert len(list(small.runs)) == 2
        with pytest.raises(DbtInputError, match="cannot be read any more"):
            list(large.runs)

    @pytest.mark.usefixtures("unheld")
    def test_a_log_that_grew_gives_the_runs_that_it_held(self, project: Path) -> None:
        log = write(project / "logs" / "dbt.jsonl", lines_of(finished(invocation_id="01-one")))
        read = read_dbt(project)
        with log.open("a") as more:
            more.write(lines_of(finished(invocation_id="02-two"), finished("model.shop.unknown")))
        assert [run.correlation_id for run in read.runs] == ["01-one"]

    @pytest.mark.usefixtures("unheld")
    @pytest.mark.parametrize(
        "now",
        [
            "",
            lines_of(finished(invocation_id="01-one")),
            lines_of(finished(invocation_id="02-two"), finished(invocation_id="01-one")),
            lines_of(finished(invocation_id="01-one"), finished(invocation_id="03-three")),
        ],
    )
    def test_a_log_that_holds_something_else_by_now_is_an_error(self, project: Path, now: str) -> None:
        log = write(
            project / "logs" / "dbt.jsonl", lines_of(*(finished(invocation_id=name) for name in ("01-one", "02-two")))
        )
        read = read_dbt(project)
        write(log, now)
        with pytest.raises(
            DbtInputError, match=r"dbt\.jsonl: has changed since it was read; what was recorded stays, import it again$"
        ):
            list(read.runs)

    @pytest.mark.usefixtures("unheld")
    def test_a_log_that_is_gone_by_now_is_an_error(self, project: Path) -> None:
        log = write(project / "logs" / "dbt.jsonl", lines_of(finished()))
        read = read_dbt(project)
        log.unlink()
        with pytest.raises(
            DbtInputError, match=r"dbt\.jsonl: cannot be read any more, what was recorded stays: No such file"
        ):
            list(read.runs)

    @pytest.mark.usefixtures("unheld")
    def test_what_a_log_holds_by_now_is_checked_again(self, project: Path) -> None:
        log = write(project / "logs" / "dbt.jsonl", lines_of(finished()))
        read = read_dbt(project)
        write(log, lines_of(finished(status="success")))
        with pytest.raises(DbtInputError, match="has changed since it was read"):
            list(read.runs)

    def test_many_small_invocations_of_a_large_project_take_a_bit_for_each_node(self, tmp_path: Path) -> None:
        nodes: dict[str, Json] = {f"model.shop.m{number}": node() for number in range(4000)}
        for number in range(4000):
            nodes[f"test.shop.t{number}"] = node("test", attached_node=f"model.shop.m{number}")
        write(tmp_path / "target" / "manifest.json", {"nodes": nodes})
        some = (finished(f"test.shop.t{number}", f"01-{number}") for number in range(2000))
        log = write(tmp_path / "dbt.jsonl", lines_of(*some))
        read_dbt(tmp_path)  # what is made once
        tracemalloc.start()
        read = read_dbt(tmp_path, results=log)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (len(read.runs), read.results, read.unpaired_results) == (2000, 2000, 0)
        assert peak < 16_000_000  # 14 MB, most of it the manifest; 20 where each node had a byte

    @pytest.mark.usefixtures("unheld")
    def test_the_memory_for_runs_does_not_grow_with_their_number(self, project: Path) -> None:
        def highest(invocations: int) -> int:
            results = (
                finished(unique_id, f"01-{number}") for number in range(invocations) for unique_id in (MODEL, TEST)
            )
            with (project / "dbt.jsonl").open("w", encoding="utf-8") as log:
                for one in results:
                    one["data"]["run_result"]["status"] = (
                        "success" if one["data"]["node_info"]["unique_id"] == MODEL else "pass"
                    )
                    log.write(json.dumps(one) + "\n")
            tracemalloc.start()
            read = read_dbt(project, results=project / "dbt.jsonl")
            assert sum(1 for _ in read.runs) == len(read.runs) == invocations
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return peak

        highest(10)  # what is made once
        # An invocation of a name and a number stays, and no result.
        assert highest(2000) - highest(200) < 1800 * 400

    def test_digest_is_of_the_canonical_json_of_both_results(self, project: Path) -> None:
        write(project / "target" / "run_results.json", run_results_of(run_result(status="fail", failures=2)))
        (run,) = read_dbt(project).runs
        canonical = f'{{"producer":null,"verifier":["{TEST}","fail",2]}}'
        assert run.result_digest == hashlib.sha256(canonical.encode()).hexdigest()

    def test_digest_covers_the_producer_and_leaves_times_out(self, project: Path) -> None:
        path = project / "target" / "run_results.json"
        write(path, run_results_of(run_result(MODEL, status="success"), run_result()))
        (run,) = read_dbt(project).runs
        assert run.producer
        untimed = dataclasses.replace(run, producer=dataclasses.replace(run.producer, started_at=None))
        failed = dataclasses.replace(run, producer=dataclasses.replace(run.producer, status="error"))
        assert run.result_digest == untimed.result_digest
        assert run.result_digest != failed.result_digest

    def test_appended_log_gives_one_run_per_invocation_in_the_order_in_which_they_ended(self, project: Path) -> None:
        log = lines_of(finished(MODEL, "second", status="success"), finished(TEST, "first"), finished(TEST, "second"))
        write(project / "logs" / "dbt.log", log)
        read = read_dbt(project)
        assert read.invocation_ids == ("second", "first")
        assert [(run.correlation_id, run.producer is None) for run in read.runs] == [
            ("first", True),
            ("second", False),
        ]
        assert read.results == 3

    def test_last_result_of_a_node_in_an_invocation_counts_once(self, project: Path) -> None:
        log = lines_of(finished(status="fail", num_failures=3), finished(status="pass"))
        write(project / "logs" / "dbt.jsonl", log)
        read = read_dbt(project)
        assert [run.verifier.status for run in read.runs if run.verifier] == ["pass"]
        assert read.results == 1

    def test_status_is_that_of_the_run_not_of_the_node(self, project: Path) -> None:
        write(project / "logs" / "dbt.jsonl", lines_of(finished(status="warn")))
        (run,) = read_dbt(project).runs
        assert run.verifier
        assert run.verifier.status == "warn"

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("success", "completed"),
            ("pass", "completed"),
            ("warn", "completed"),
            ("fail", "failed"),
            ("error", "failed"),
            ("runtime error", "failed"),
            ("partial success", "failed"),
            ("skipped", "skipped"),
            ("no-op", "skipped"),
            ("reused", "skipped"),
        ],
    )
    def test_every_word_of_dbt_is_kept_and_has_one_meaning(self, project: Path, word: str, status: str) -> None:
        write(project / "target" / "run_results.json", run_results_of(run_result(MODEL, status=word)))
        (run,) = read_dbt(project).runs
        assert run.producer
        assert run.producer.status == word
        assert WRAPPER_STATUS[word] == status

    def test_no_word_has_a_meaning_untested(self) -> None:
        assert len(WRAPPER_STATUS) == 10

    @pytest.mark.parametrize(
        ("failures", "count"), [(ABSENT, 0), (None, 0), (0, 0), (7, 7), (1.0, 1), (2**53 - 1, 2**53 - 1)]
    )
    def test_failures_are_a_count_and_none_is_zero(self, project: Path, failures: object, count: int) -> None:
        write(project / "target" / "run_results.json", run_results_of(run_result(failures=failures)))
        write(project / "log", lines_of(finished(num_failures=failures)))
        for results in (None, project / "log"):
            (run,) = read_dbt(project, results=results).runs
            assert run.verifier
            assert (run.verifier.failures, type(run.verifier.failures)) == (count, int)

    @pytest.mark.parametrize("timing", [ABSENT, None, [], [{}], [{"started_at": None, "completed_at": ""}]])
    def test_result_without_times_has_none(self, project: Path, timing: object) -> None:
        write(project / "target" / "run_results.json", run_results_of(run_result(timing=timing)))
        (run,) = read_dbt(project).runs
        assert run.verifier == Result(TEST, "pass", 0, None, None)

    @pytest.mark.parametrize(
        "section",
        ["exposures", "macros", "metrics", "saved_queries", "semantic_models", "sources", "unit_tests"],
    )
    def test_result_of_another_thing_of_the_manifest_is_counted_as_unpaired(self, project: Path, section: str) -> None:
        write(project / "target" / "manifest.json", {**manifest_of(), section: {"thing.shop.one": {}}})
        write(project / "target" / "run_results.json", run_results_of(run_result("thing.shop.one")))
        read = read_dbt(project)
        assert (list(read.runs), read.results, read.unpaired_results) == ([], 1, 1)

    def test_result_of_a_test_on_a_source_is_a_run_of_that_pair(self, project: Path) -> None:
        nodes = {**manifest_of()["nodes"], SOURCE_TEST: depends_on(SOURCE)}
        write(project / "target" / "manifest.json", manifest_of(nodes, sources={SOURCE: {}}))
        write(project / "target" / "run_results.json", run_results_of(run_result(SOURCE_TEST), run_result()))
        read = read_dbt(project)
        assert (len(read.runs), read.results, read.unpaired_results) == (2, 2, 0)
        assert [run.pair.producer for run in read.runs] == [MODEL, SOURCE]

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("2025-01-01T00:00:01.262000Z", "2025-01-01T00:00:01.262000Z"),
            ("2025-01-01T00:00:01.262Z", "2025-01-01T00:00:01.262000Z"),  # so a log writes it
            ("2025-01-01T02:00:01+02:00", "2025-01-01T00:00:01Z"),
            ("2025-01-01T00:00:01", "2025-01-01T00:00:01"),
            ("yesterday", "yesterday"),
        ],
    )
    def test_the_same_time_is_the_same_text(self, project: Path, written: str, meant: str) -> None:
        timing = [{"started_at": written, "completed_at": written}]
        write(project / "target" / "run_results.json", run_results_of(run_result(timing=timing)))
        (run,) = read_dbt(project).runs
        assert run.verifier == Result(TEST, "pass", 0, meant, meant)

    def test_nodes_are_counted_by_their_outcome_in_a_pair_or_not(self, project: Path) -> None:
        words = ["success", "pass", "warn", "fail", "error", "runtime error", "partial success", "skipped", "no-op"]
        lonely = {f"model.shop.m{number}": node() for number in range(len(words))}
        write(project / "target" / "manifest.json", manifest_of(lonely))
        given = (run_result(name, status=word) for name, word in zip(lonely, words, strict=True))
        write(project / "target" / "run_results.json", run_results_of(*given))
        read = read_dbt(project)
        assert (list(read.runs), read.unpaired_results) == ([], len(words))
        assert read.runs.outcomes == {"passed": 2, "warned": 1, "failed": 4, "skipped": 2}
        assert outcome_of("reused") == "skipped"


class TestWhereItLooks:
    def test_manifest_in_the_directory_itself_comes_before_the_one_below(self, project: Path) -> None:
        here = write(project / "manifest.json", manifest_of())
        assert read_dbt(project).manifest_path == here

    @pytest.mark.parametrize(
        ("order", "target_dir"),
        [
            (("target/run_results.json", "logs/dbt.jsonl", "logs/dbt.log"), "."),
            (
                ("target/run_results.json", "logs/dbt.jsonl", "target/logs/dbt.jsonl", "logs/dbt.log"),
                "target",
            ),
            (("target/logs/dbt.jsonl", "logs/dbt.log", "target/logs/dbt.log"), "target"),
        ],
    )
    def test_results_are_found_in_this_order(self, project: Path, order: tuple[str, ...], target_dir: str) -> None:
        for name in order:
            content = lines_of(event()) if "dbt." in name else json.dumps(run_results_of())
            write(project / name, content)
        for name in order:
            assert read_dbt(project / target_dir).results_path == project / name
            (project / name).unlink()
        assert read_dbt(project / target_dir).results_path is None

    def test_target_directory_named_by_a_dot_finds_the_log_above(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(project / "logs" / "dbt.jsonl", lines_of(finished()))
        monkeypatch.chdir(project / "target")
        assert read_dbt(Path()).results == 1

    def test_log_beside_the_project_directory_is_not_its_own(self, project: Path) -> None:
        write(project.parent / "logs" / "dbt.jsonl", lines_of(finished()))
        assert read_dbt(project).results_path is None

    def test_log_beside_a_project_with_a_named_manifest_is_not_its_own(self, tmp_path: Path) -> None:
        manifest = write(tmp_path / "project" / "manifest.json", manifest_of())
        write(tmp_path / "logs" / "dbt.jsonl", lines_of(finished()))
        assert read_dbt(tmp_path / "project", manifest=manifest).results_path is None
        assert read_dbt(tmp_path / "project").results_path == tmp_path / "logs" / "dbt.jsonl"

    def test_options_override_what_would_be_found(self, project: Path) -> None:
        write(project / "target" / "run_results.json", "never read")
        manifest = write(project / "other", manifest_of({**manifest_of()["nodes"], "model.shop.daily": node()}))
        results = write(project / "another", run_results_of(run_result("model.shop.daily", status="success")))
        read = read_dbt(project, manifest=manifest, results=results)
        assert (read.manifest_path, read.results_path) == (manifest, results)
        assert (len(read.nodes), read.results) == (3, 1)

    @pytest.mark.parametrize("indent", [None, 2])
    def test_run_results_document_is_told_by_content_not_name(self, project: Path, indent: int | None) -> None:
        text = json.dumps(run_results_of(run_result()), indent=indent)
        assert read_dbt(project, results=write(project / "dbt.log", text)).results == 1

    @pytest.mark.parametrize("first", ["", "\r\n"])
    def test_log_is_told_by_content_not_name(self, project: Path, first: str) -> None:
        log = write(project / "run_results.json", first + lines_of(event(), finished()))
        assert read_dbt(project, results=log).results == 1


class TestUnreadableFiles:
    """Every message begins with the file, then the place in it."""

    def test_directory_without_a_manifest_says_where_it_looked(self, tmp_path: Path) -> None:
        message = refusal(tmp_path)
        assert message.startswith(f"{tmp_path}: no manifest")
        assert str(tmp_path / "manifest.json") in message
        assert str(tmp_path / "target" / "manifest.json") in message
        assert "--manifest" in message

    @pytest.mark.parametrize("name", ["absent", "n" * 300])
    def test_directory_that_cannot_be_is_refused(self, tmp_path: Path, name: str) -> None:
        assert "no manifest" in refusal(tmp_path / name)

    @pytest.mark.parametrize("option", ["manifest", "results"])
    def test_named_file_that_cannot_be_opened_is_refused(self, project: Path, option: str) -> None:
        absent = project / "absent"
        assert refusal(project, **{option: absent}) == f"{absent}: cannot be read: No such file or directory"
        assert refusal(project, **{option: project}) == f"{project}: cannot be read: Is a directory"

    @pytest.mark.parametrize("folder", ["target", "logs"])
    def test_folder_that_this_login_may_not_enter_is_refused(self, tmp_path: Path, folder: str) -> None:
        write(tmp_path / "target" / "manifest.json", manifest_of())
        (tmp_path / "logs").mkdir()
        (tmp_path / folder).chmod(0)
        command = [str(Path(sys.executable).parent / "dot-wrapper"), "import", "dbt", str(tmp_path)]
        if os.geteuid() == 0:  # permissions do not hold for root as it is
            rights = "-dac_override,-dac_read_search"
            command = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        (tmp_path / folder).chmod(0o700)
        name = {"target": "manifest.json", "logs": "dbt.jsonl"}[folder]
        said = f"input: {tmp_path / folder / name}: cannot be read: Permission denied\n"
        assert (done.returncode, done.stderr) == (2, said)

    @pytest.mark.parametrize("name", ["target/run_results.json", "logs/dbt.jsonl", "logs/dbt.log"])
    def test_found_results_that_are_a_folder_are_refused(self, tmp_path: Path, name: str) -> None:
        write(tmp_path / "target" / "manifest.json", manifest_of())
        (tmp_path / name).mkdir(parents=True)
        assert refusal(tmp_path) == f"{tmp_path / name}: cannot be read: Is a directory"

    def test_manifest_that_is_a_folder_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "target" / "manifest.json"
        path.mkdir(parents=True)
        assert refusal(tmp_path) == f"{path}: cannot be read: Is a directory"

    def test_file_that_breaks_while_it_is_read_is_refused(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_: Path) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(Path, "read_bytes", broken)
        assert refusal(project) == f"{project}: cannot be read: Input/output error"
