"""What an import of dbt artifacts leaves in the ledger: real input with known figures, conflicts, and nothing by halves."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import CHUNK
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import import_dbt
from dot_wrapper.sources.dbt.summary import ImportSummary
from support import Database, rows, value

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "dbt"
EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"

needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real dbt artifacts are not beside this checkout")


def imported(ledger: Ledger, target: Path, results: Path | None = None) -> ImportSummary:
    return import_dbt(ledger, read_dbt(target, results=results))


@needs_data
def test_build_gives_30_dots_21_candidates_12_runs(db: Database, ledger: Ledger) -> None:
    summary = imported(ledger, DATA / "build")
    assert (summary.dots_created, summary.candidates_created, summary.runs_created) == (30, 21, 12)
    assert (summary.correlated_pairs, str(summary.verifiers)) == (11, "10 passed, 1 failed")
    assert (summary.producer_only, summary.verifier_only, summary.never_observed) == (0, 1, 9)
    reader = db.connect("reader")
    states = rows(reader, "select end_state, count(*) from dot.v_process_run group by 1 order by 1")
    assert [(one["end_state"], one["count"]) for one in states] == [("completed", 10), ("failed", 1), ("open", 1)]
    assert value(reader, "select count(*) from dot.v_process_run_component") == 23
    assert value(reader, "select count(*) from dot.v_process_run where correlation_id like 'bafba111-%'") == 12


@needs_data
@pytest.mark.parametrize(
    ("folder", "log", "runs", "pairs", "producers", "verifiers", "never"),
    [
        ("test-only", None, 4, 0, 0, 4, 17),
        ("run-only", "dbt.jsonl", 20, 0, 20, 0, 0),
        ("run-only", "failed-dbt.jsonl", 10, 0, 10, 0, 10),
        ("artifacts-test", None, 14, 0, 0, 14, 0),
        ("artifacts-fail", None, 0, 0, 0, 0, 0),
        ("same-invocation/small", None, 0, 0, 0, 0, 0),
    ],
)
def test_the_other_real_inputs_give_their_figures(
    db: Database,
    ledger: Ledger,
    folder: str,
    log: str | None,
    runs: int,
    pairs: int,
    producers: int,
    verifiers: int,
    never: int,
) -> None:
    summary = imported(ledger, DATA / folder, DATA / folder / "logs" / log if log else None)
    found = (summary.runs_created, summary.correlated_pairs, summary.producer_only, summary.verifier_only)
    assert found == (runs, pairs, producers, verifiers)
    assert summary.never_observed == never
    assert summary.conflicts == []
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == runs


@needs_data
def test_everything_imported_verifies_nothing_and_touches_no_business_table(db: Database, ledger: Ledger) -> None:
    owner = db.connect("owner")
    owner.execute("insert into dot.universal_edges (from_code, to_code, edge_type) values ('a', 'b', 'canary')")
    before = rows(owner, "select e.*, e.xmin::text from dot.universal_edges e")
    for target in (
        DATA / "build",
        DATA / "test-only",
        DATA / "run-only",
        DATA / "artifacts-test",
        DATA / "artifacts-fail",
        *sorted((DATA / "same-invocation").iterdir()),
    ):
        imported(ledger, target)
    imported(ledger, DATA / "run-only", DATA / "run-only" / "logs" / "failed-dbt.jsonl")
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run") == 12 + 4 + 20 + 10 + 14
    assert value(reader, "select count(*) filter (where verified) from dot.v_process_verification_v3") == 0
    assert value(reader, "select count(*) from dot.v_process_run where evidence_type <> 'SIMULATED_DRY_RUN'") == 0
    assert value(reader, "select verified_dots + executed_dots + observed_dots from dot.v_dot_funnel_total") == 0
    assert rows(owner, "select e.*, e.xmin::text from dot.universal_edges e") == before


@needs_data
def test_the_same_input_again_is_nothing_new(db: Database, ledger: Ledger) -> None:
    assert not imported(ledger, DATA / "build").nothing_new
    before = rows(db.connect("owner"), "select t.*, t.xmin::text, t.ctid::text from dot.dot_tools t order by code")
    again = imported(ledger, DATA / "build")
    assert again.nothing_new
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 12
    after = rows(db.connect("owner"), "select t.*, t.xmin::text, t.ctid::text from dot.dot_tools t order by code")
    assert after == before


@needs_data
def test_one_changed_verifier_status_is_one_conflict_naming_the_field_and_nothing_is_lost(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    imported(ledger, DATA / "build")
    copy = tmp_path / "build"
    shutil.copytree(DATA / "build", copy, copy_function=shutil.copyfile)
    log = copy / "logs" / "dbt.jsonl"
    changed, lines = None, []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if (
            changed is None
            and event["info"]["name"] == "NodeFinished"
            and event["data"]["run_result"]["status"] == "pass"
        ):
            event["data"]["run_result"]["status"] = "fail"
            changed = event["data"]["node_info"]["unique_id"]
        lines.append(json.dumps(event))
    log.write_text("\n".join(lines))
    summary = imported(ledger, copy)
    (conflict,) = summary.conflicts
    assert changed is not None
    assert changed in conflict.what
    assert conflict.fields == ("evidence_ref",)
    assert (summary.runs_created, summary.components_created, summary.nothing_new) == (0, 0, False)
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run_component") == 23
    assert value(reader, "select count(*) from dot.v_process_run where end_state = 'failed'") == 1


def test_the_example_records_pass_warn_fail_and_what_is_missing(db: Database, ledger: Ledger) -> None:
    summary = imported(ledger, EXAMPLE)
    assert (summary.dots, summary.candidates, summary.runs) == (7, 4, 4)
    assert (str(summary.verifiers), summary.producer_only) == ("1 passed, 1 warned, 1 failed", 1)
    reader = db.connect("reader")
    words = rows(
        reader,
        "select evidence_ref->>'status' as word, status from dot.v_process_run_component"
        " where component_role = 'verifier' order by 1",
    )
    assert [tuple(one.values()) for one in words] == [
        ("fail", "failed"),
        ("pass", "step_completed"),
        ("warn", "step_completed"),
    ]


def test_a_run_carries_the_digest_of_its_results_and_no_path_and_no_user(db: Database, ledger: Ledger) -> None:
    imported(ledger, EXAMPLE)
    given = {run.pair.code: run for run in read_dbt(EXAMPLE).runs}
    for one in rows(db.connect("reader"), "select * from dot.v_process_run"):
        run = given[one["process_candidate_code"]]
        assert one["evidence_ref"] == {"source": "dbt", "result_digest": run.result_digest}
        assert one["idempotency_key"] == f"dbt:{run.correlation_id}"
        assert (one["status"], one["correlation_id"]) == ("started", run.correlation_id)
        assert (one["input_ref"], one["output_ref"], one["actor"]) == (None, None, "dbt-import")


def test_the_verifier_is_later_than_its_producer(db: Database, ledger: Ledger) -> None:
    imported(ledger, EXAMPLE)
    pairs = rows(
        db.connect("reader"),
        "select p.observed_at < v.observed_at as later from dot.v_process_run_component p"
        " join dot.v_process_run_component v using (process_candidate_code, process_run_id)"
        " where p.component_role = 'producer' and v.component_role = 'verifier'",
    )
    assert [one["later"] for one in pairs] == [True, True, True]


def test_a_run_occurred_when_its_first_part_began_and_a_component_when_it_ended(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    large_project(tmp_path, 2)
    results = json.loads((tmp_path / "run_results.json").read_text())
    model, test, undated, _ = results["results"]
    model["timing"] = [{"started_at": "2026-11-21T09:00:00.25Z", "completed_at": "2026-11-21T09:00:01Z"}]
    test["timing"] = [{"started_at": "2026-11-21T09:00:02Z", "completed_at": "2026-11-21T10:00:03+01:00"}]
    undated["timing"] = [{"started_at": "yesterday", "completed_at": "2026-11-21T09:00:00"}]  # whose zone is not told
    (tmp_path / "run_results.json").write_text(json.dumps(results))
    imported(ledger, tmp_path)
    reader = db.connect("reader")
    at = datetime(2026, 11, 21, 9, tzinfo=UTC)
    stored = rows(reader, "select occurred_at from dot.v_process_run order by process_candidate_code")
    assert [one["occurred_at"] for one in stored] == [at + timedelta(seconds=0.25), None]
    stored = rows(reader, "select occurred_at from dot.v_process_run_component order by process_candidate_code, 1")
    assert [one["occurred_at"] for one in stored] == [at + timedelta(seconds=1), at + timedelta(seconds=3), None, None]


def large_project(folder: Path, pairs: int) -> Path:
    """A manifest with many models, one passing test each."""
    nodes = {}
    results = []
    for number in range(pairs):
        model, test = f"model.big.m{number}", f"test.big.t{number}"
        nodes[model] = {
            "resource_type": "model",
            "depends_on": {"nodes": []},
            "original_file_path": f"models/m{number}.sql",
        }
        nodes[test] = {"resource_type": "test", "attached_node": model, "depends_on": {"nodes": [model]}}
        results += [
            {"unique_id": model, "status": "success", "timing": [], "failures": None},
            {"unique_id": test, "status": "pass", "timing": [], "failures": 0},
        ]
    (folder / "manifest.json").write_text(json.dumps({"metadata": {}, "nodes": nodes}))
    (folder / "run_results.json").write_text(
        json.dumps({"metadata": {"invocation_id": "01a2-inv"}, "results": results})
    )
    return folder


def test_a_refused_run_is_named_and_its_chunk_is_kept(db: Database, ledger: Ledger, tmp_path: Path) -> None:
    """One of many runs clashes, in a later chunk than the first: the others are stored, of that one nothing is."""
    pairs = CHUNK + 20
    large_project(tmp_path, pairs)
    clashing = f"test.big.t{CHUNK + 3}@model.big.m{CHUNK + 3}"
    with db.connect("cataloguer") as cataloguer:
        for dot in ("other.producer", "other.verifier"):
            cataloguer.execute("select dot.fn_dot_tool_register(%s)", (dot,))
        cataloguer.execute(
            "select dot.fn_process_candidate_define(%s, 'other.producer', 'other.verifier', 'tester')", (clashing,)
        )
    summary = imported(ledger, tmp_path)
    assert [conflict.what.split(",")[0] for conflict in summary.conflicts] == [f"candidate {clashing}", clashing]
    assert (summary.candidates_created, summary.runs_created) == (pairs - 1, pairs - 1)
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run where end_state = 'completed'") == pairs - 1
    assert value(reader, "select count(*) from dot.v_process_run where process_candidate_code = %s", clashing) == 0


def test_never_half_of_a_pair_when_a_component_is_refused(db: Database, ledger: Ledger, tmp_path: Path) -> None:
    large_project(tmp_path, 3)
    owner = db.connect("owner")
    # The verifier of one pair cannot be stored: its header and producer must not stay either.
    owner.execute(
        "alter table dot.process_component_observation add constraint process_component_observation_test_check"
        " check (dot_code <> 'test.big.t1')"
    )
    summary = imported(ledger, tmp_path)
    assert len(summary.conflicts) == 1
    reader = db.connect("reader")
    stored = rows(reader, "select process_candidate_code, components from dot.v_process_run order by 1")
    assert [tuple(one.values()) for one in stored] == [("test.big.t0@model.big.m0", 2), ("test.big.t2@model.big.m2", 2)]


def test_an_interrupted_import_goes_on_where_it_stopped(db: Database, tmp_path: Path) -> None:
    """The server ends the connection after the first chunk of runs; the same import again records the rest, none twice."""
    pairs = 2 * CHUNK + 20
    given = read_dbt(large_project(tmp_path, pairs))
    opened: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        opened.append(database.connect(db.url_as("operator")))
        return opened[-1]

    def kill(what: str, _count: int) -> None:
        if what == "runs":
            (connection,) = opened
            db.connect("creator").execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Ledger(connect) as ledger:
        import_dbt(ledger, given, progress=kill)
    reader = db.connect("reader")
    assert value(reader, "select count(*) from dot.v_process_run") == CHUNK
    with Ledger(connect) as ledger:
        summary = import_dbt(ledger, given)
    assert (summary.runs_created, summary.conflicts) == (pairs - CHUNK, [])
    assert value(reader, "select count(*) from dot.v_process_run where end_state = 'completed'") == pairs


def test_of_many_refused_runs_each_is_named_and_the_others_are_kept(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    """Every third run clashes: what was imported before had another result of its verifier."""
    pairs = CHUNK // 2
    large_project(tmp_path, pairs)
    results = json.loads((tmp_path / "run_results.json").read_text())
    given = results["results"]
    clashing = [number for number in range(pairs) if number % 3 == 0]
    results["results"] = [{**given[2 * number + 1], "failures": 7} for number in clashing]
    (tmp_path / "run_results.json").write_text(json.dumps(results))
    imported(ledger, tmp_path)
    (tmp_path / "run_results.json").write_text(json.dumps({**results, "results": given}))
    summary = imported(ledger, tmp_path)
    assert [conflict.what for conflict in summary.conflicts] == [
        f"test.big.t{number}@model.big.m{number}, run 01a2-inv" for number in clashing
    ]
    assert {conflict.fields for conflict in summary.conflicts} == {("evidence_ref",)}
    assert not any(conflict.reason.startswith("line") for conflict in summary.conflicts)
    kept = pairs - len(clashing)
    assert (summary.runs_created, summary.components_created) == (kept, 2 * kept)


def test_a_path_that_is_no_ascii_is_kept_with_its_characters_escaped(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    target = tmp_path / "project" / "target"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text(
        json.dumps({"nodes": {"model.a.b": {"resource_type": "model", "original_file_path": "modèles/b.sql"}}})
    )
    assert imported(ledger, target).dots_created == 1
    assert value(db.connect("owner"), "select file_path from dot.dot_tools") == "mod\\xe8les/b.sql"


def test_what_dbt_says_of_a_node_that_did_not_pass_is_told_and_not_stored(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    """The same invocation from run_results.json and from the log is one run, also where the two say it in other words."""
    model, test = "model.shop.orders", "test.shop.unique_orders_id.0a1b2c3d4e"
    nodes = {
        model: {"resource_type": "model", "original_file_path": "orders.sql"},
        test: {"resource_type": "test", "attached_node": model, "original_file_path": "schema.yml"},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    timing = [{"name": "execute", "started_at": "2026-11-01T10:00:00Z", "completed_at": "2026-11-01T10:00:01Z"}]
    results: list[dict[str, Any]] = [
        {"unique_id": model, "status": "success", "timing": timing, "message": None},
        {"unique_id": test, "status": "warn", "failures": 3, "timing": timing, "message": "Got 3 results\nand more"},
    ]
    document = {"metadata": {"invocation_id": "i-1"}, "args": {"which": "build"}, "results": results}
    (tmp_path / "run_results.json").write_text(json.dumps(document))
    (tmp_path / "dbt.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "info": {"name": "NodeFinished", "invocation_id": "i-1"},
                    "data": {
                        "node_info": {"unique_id": one["unique_id"]},
                        "run_result": {
                            "status": one["status"],
                            "num_failures": one.get("failures"),
                            "timing_info": timing,
                            "message": ["no", "text"] if one["unique_id"] == model else "WARN 3",
                        },
                    },
                }
            )
            + "\n"
            for one in results
        )
    )
    told = []
    for name in ("run_results.json", "dbt.jsonl"):
        summary = import_dbt(ledger, read_dbt(tmp_path, results=tmp_path / name))
        assert (summary.conflicts, summary.left_out) == ([], ())
        told += [(one.outcome, one.unique_id, one.producer, one.failures, one.message) for one in summary.unwell]
    assert told == [("warned", test, model, 3, "Got 3 results"), ("warned", test, model, 3, "WARN 3")]
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 1
    stored = rows(db.connect("reader"), "select evidence_ref::text from dot.v_process_run_component")
    assert not any("results" in one["evidence_ref"] or "WARN" in one["evidence_ref"] for one in stored)
