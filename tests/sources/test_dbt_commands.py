"""Only what executed its nodes gives runs: the command of the invocation decides, in run_results.json and in a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from dot_wrapper.sources.dbt.reader import read_dbt
from support.dbt import (
    MODEL,
    TEST,
    Json,
    event,
    finished,
    lines_of,
    manifest_of,
    project,
    run_result,
    run_results_of,
    write,
)

RESULTS = (run_result(MODEL, status="success"), run_result(status="pass"))
COMPILED = (run_result(MODEL, status="success"), run_result(status="success"))


@pytest.mark.parametrize("which", ["build", "run", "test", "seed", "snapshot", "retry"])
def test_a_command_that_executes_gives_runs(tmp_path: Path, which: str) -> None:
    project(tmp_path, manifest_of(), run_results_of(*RESULTS, args={"which": which}))
    read = read_dbt(tmp_path)
    assert (len(list(read.runs)), len(read.runs), read.results, read.executed_nothing) == (1, 1, 2, ())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"which": "compile"}, "dbt compile"),
        ({"which": "generate"}, "dbt docs generate"),
        ({"which": "clone"}, "dbt clone"),
        ({"which": "parse"}, "dbt parse"),
        ({"which": "list"}, "dbt list"),
        ({"which": "freshness"}, "dbt source freshness"),
        ({"which": "run-operation"}, "dbt run-operation"),
        ({"which": "show"}, "dbt show"),
        ({"which": "build", "empty": True}, "dbt build --empty"),
        ({"which": "run", "empty": True}, "dbt run --empty"),
        ({"invocation_command": "dbt compile --select a"}, "dbt compile"),
        ({"empty": True}, "dbt with --empty"),
    ],
)
def test_another_gives_the_catalogue_alone(tmp_path: Path, args: Json, said: str) -> None:
    for results in (RESULTS, COMPILED):
        project(tmp_path, manifest_of(), run_results_of(*results, args=args))
        read = read_dbt(tmp_path)
        assert (len(read.nodes), len(read.pairs)) == (2, 1)
        assert (list(read.runs), len(read.runs), read.results, read.invocation_ids) == ([], 0, 0, ())
        assert (read.executed_nothing, read.left_out) == ((said,), ())


def test_what_it_reports_of_nodes_that_are_none_is_not_looked_at(tmp_path: Path) -> None:
    inline = run_result("sql_operation.shop.inline_query", status="success")
    project(tmp_path, manifest_of(), run_results_of(inline, args={"which": "show"}))
    assert read_dbt(tmp_path).left_out == ()
    (tmp_path / "target" / "run_results.json").unlink()
    one, other = (finished("model.shop.gone", name) for name in ("01-a", "02-b"))
    write(tmp_path / "logs" / "dbt.jsonl", lines_of(one, arguments("dbt compile"), other, arguments("dbt run", "02-b")))
    assert [one.place for one in read_dbt(tmp_path).left_out] == ["line 3"]


@pytest.mark.parametrize("empty", [False, None])
def test_a_command_that_is_not_empty_executes(tmp_path: Path, empty: object) -> None:
    project(tmp_path, manifest_of(), run_results_of(*RESULTS, args={"which": "build", "empty": empty}))
    assert len(read_dbt(tmp_path).runs) == 1


def test_without_a_command_tests_that_were_compiled_say_that_nothing_ran(tmp_path: Path) -> None:
    project(tmp_path, manifest_of(), run_results_of(*COMPILED))
    read = read_dbt(tmp_path)
    assert (len(read.runs), read.left_out) == (0, ())
    assert read.executed_nothing == ("a command that compiles tests, as `dbt compile` does,",)
    project(tmp_path, manifest_of(), run_results_of(*RESULTS))
    assert len(read_dbt(tmp_path).runs) == 1


def test_in_a_command_that_executes_a_compiled_test_is_left_out(tmp_path: Path) -> None:
    project(tmp_path, manifest_of(), run_results_of(*COMPILED, args={"which": "build"}))
    read = read_dbt(tmp_path)
    assert [run.verifier for run in read.runs] == [None]
    (left,) = read.left_out
    assert (left.place, left.reason) == ("results[1]", f"{TEST} has status 'success': the test was compiled, not run")


def arguments(line: str, invocation_id: str = "01-a", **args: Json) -> Json:
    return event("MainReportArgs", invocation_id=invocation_id, args={"invocation_command": line, **args})


def completed(line: str, invocation_id: str = "01-a") -> Json:
    return event("CommandCompleted", invocation_id=invocation_id, command=line)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([arguments("dbt --log-format json build --profiles-dir profiles")], None),
        ([arguments("/usr/bin/dbt run -s a"), completed("dbt run")], None),
        ([arguments("python -m pipeline compile"), completed("cli build")], None),
        ([arguments("python -m pipeline compile")], None),
        ([arguments("dbt compile")], "dbt compile"),
        ([arguments('dbt docs generate --vars "{a: b')], "dbt docs generate"),
        ([arguments("python run.py"), completed("cli docs generate")], "dbt docs generate"),
        ([arguments("dbt --target build compile"), completed("dbt compile")], "dbt compile"),
        ([arguments("dbt source freshness")], "dbt source freshness"),
        ([arguments("dbt run --empty")], "dbt run --empty"),
        ([arguments("python run.py", empty="True"), completed("cli build")], "dbt build --empty"),
        ([arguments("", which="clone")], "dbt clone"),
        ([], None),
    ],
)
def test_a_log_says_its_command(tmp_path: Path, events: list[Json], said: str | None) -> None:
    project(tmp_path, manifest_of())
    results = [finished(MODEL, "01-a", status="success"), finished(TEST, "01-a")]
    write(tmp_path / "logs" / "dbt.jsonl", lines_of(*events[:1], *results, *events[1:]))
    read = read_dbt(tmp_path)
    assert (len(list(read.runs)), read.executed_nothing) == (0 if said else 1, (said,) if said else ())


def test_of_several_invocations_in_a_log_those_count_that_executed(tmp_path: Path) -> None:
    project(tmp_path, manifest_of())
    compiled = [finished(MODEL, "02-b", status="success"), finished(TEST, "02-b", status="success")]
    built = [finished(MODEL, "01-a", status="success"), finished(TEST, "01-a", status="fail", num_failures=2)]
    write(
        tmp_path / "logs" / "dbt.jsonl",
        lines_of(built[0], arguments("dbt compile", "02-b"), *compiled, built[1], completed("dbt build", "01-a")),
    )
    read = read_dbt(tmp_path)
    assert [(run.invocation_id, run.verifier and run.verifier.failures) for run in read.runs] == [("01-a", 2)]
    assert (read.results, read.unpaired_results, read.invocation_ids) == (2, 0, ("01-a",))
    assert (read.executed_nothing, read.runs.outcomes) == (("dbt compile",), {"passed": 1, "failed": 1})


@pytest.mark.parametrize(
    "log",
    [
        None,
        "12:53:36  Running with dbt=1.8.2\n\x1b[0m\n",
        "not { json\n{ neither }\n",
        '{"code": "A001", "msg": "of dbt 1.3"}\n',
    ],
)
def test_without_results_there_is_the_catalogue(tmp_path: Path, log: str | None) -> None:
    project(tmp_path, manifest_of())
    path = log and write(tmp_path / "logs" / "dbt.log", log)
    read = read_dbt(tmp_path, strict=True)
    assert (len(read.pairs), len(read.runs), read.left_out, read.text_log) == (1, 0, (), path)
