"""One bad thing costs itself: the rest of the input is read, and what was left out is listed; `strict` refuses the input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dot_wrapper.sources.dbt.documents import LISTED, DbtInputError
from dot_wrapper.sources.dbt.reader import DbtInput, read_dbt
from dot_wrapper.sources.dbt.results import WRAPPER_STATUS
from support.dbt import (
    ABSENT,
    INVOCATION,
    MODEL,
    OTHER,
    TEST,
    Json,
    event,
    finished,
    lines_of,
    manifest_of,
    node,
    project,
    run_result,
    run_results_of,
    write,
)

DONE = run_result(MODEL, status="success")


def left_out_of(folder: Path, **options: Any) -> tuple[DbtInput, list[str]]:
    """What is read, and the places and reasons of what is left out, which `strict` refuses."""
    read = read_dbt(folder, **options)
    if read.left_out:
        with pytest.raises(DbtInputError) as refused:
            read_dbt(folder, **options, strict=True)
        assert str(refused.value).startswith(str(read.left_out[0]))
    assert read.left_out_number >= len(read.left_out)
    return read, [f"{one.place}: {one.reason}" for one in read.left_out]


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(DbtInputError) as refused:
        read_dbt(folder, **options)
    return str(refused.value)


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b'{\n "nodes": {\n  "a": [1,', "not JSON: EOF while parsing a value at line 3"),
            (b"", "not JSON: EOF while parsing a value at line 1"),
            (b'{\n "a": "\x00"}', "not JSON: control character"),
            (b"[" * 200_000, "not JSON: recursion limit exceeded at line 1"),
            (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: number out of range at line 1"),
            (b"[1]", "expected an object, found [1]"),
            (b"null", "expected an object, found None"),
            (b"{}", "nodes: it is missing"),
            (b'{"nodes": []}', "nodes: expected an object, found []"),
        ],
    )
    def test_a_manifest_that_is_none_is_refused(self, tmp_path: Path, content: bytes, reason: str) -> None:
        path = write(tmp_path / "manifest.json", content)
        assert refusal(tmp_path).startswith(f"{path}: {reason}")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b'{"metadata": {"invocation_id": "01-a"}, "results": [{"unique', "not JSON: EOF while parsing"),
            (b"", "not JSON: EOF"),
            (b"[1]", "expected an object, found [1]"),
            (b'{"results": []}', "metadata: it is missing"),
            (b'{"metadata": {}, "results": []}', "metadata.invocation_id: it is missing"),
            (b'{"metadata": {"invocation_id": ""}, "results": []}', "metadata.invocation_id: String should"),
            (b'{"metadata": {"invocation_id": "01-a"}, "results": {}}', "results: expected a list, found {}"),
        ],
    )
    def test_results_that_are_none_leave_the_catalogue(self, tmp_path: Path, content: bytes, reason: str) -> None:
        project(tmp_path, manifest_of(), content)
        read, (left,) = left_out_of(tmp_path)
        assert (len(read.nodes), len(read.pairs), len(read.runs)) == (2, 1, 0)
        assert left.removeprefix(": ").startswith(reason)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "it is empty; run dbt with `--log-format-file json`"),
            (b"\xef\xbb\xbf\n \n", "it is empty"),
            (b"\xff", "line 1: not a structured log; run dbt with `--log-format-file json`"),
            (b"12:53:36  Running with dbt=1.8.2\n", "line 1: not a structured log"),
            (b"{}", "line 1: not a structured log"),
            (b'{"results": [', "not JSON: EOF while parsing a list at line 1"),
            (b'{\n"results": [', "not JSON: EOF"),
            (b'{"metadata": {}, "results": []}', "metadata.invocation_id: it is missing"),
        ],
    )
    def test_named_results_that_are_none_are_refused(self, tmp_path: Path, content: bytes, reason: str) -> None:
        project(tmp_path, manifest_of())
        path = write(tmp_path / "named", content)
        assert refusal(tmp_path, results=path).startswith(f"{path}: {reason}")

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
    def test_artifacts_in_an_encoding_that_an_editor_or_powershell_writes_are_read(
        self, tmp_path: Path, encoding: str
    ) -> None:
        manifest = manifest_of(
            {MODEL: node(original_file_path="modèles/b.sql"), TEST: node("test", attached_node=MODEL)}
        )
        given = run_results_of(DONE, run_result(status="warn"))
        project(
            tmp_path,
            json.dumps(manifest, ensure_ascii=False).encode(encoding),
            json.dumps(given, indent=2).encode(encoding),
        )
        read, left = left_out_of(tmp_path)
        assert (len(read.runs), left, read.nodes[0].path) == (1, [], "modèles/b.sql")
        assert len(read_dbt(tmp_path, results=tmp_path / "target" / "run_results.json").runs) == 1

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
    def test_so_is_a_log(self, tmp_path: Path, encoding: str) -> None:
        project(tmp_path, manifest_of())
        log = write(
            tmp_path / "logs" / "dbt.jsonl",
            lines_of(event(), finished(), finished(MODEL, status="success")).encode(encoding),
        )
        for options in ({}, {"results": log}):
            read, left = left_out_of(tmp_path, **options)
            assert (len(read.runs), read.results, left) == (1, 2, [])

    def test_a_byte_that_is_no_text_costs_its_character(self, tmp_path: Path) -> None:
        raw = json.dumps(manifest_of({MODEL: node(original_file_path="a?.sql")})).replace("?", "\x80").encode("latin-1")
        project(tmp_path, raw)
        read, left = left_out_of(tmp_path)
        assert (read.nodes[0].path, left) == ("a\ufffd.sql", ["line 1: byte 0x80 is not UTF-8"])

    def test_an_escape_that_is_no_text_costs_its_character(self, tmp_path: Path) -> None:
        """Python writes a byte of a file name that is no UTF-8 as half a surrogate pair."""
        project(tmp_path, manifest_of({MODEL: node(original_file_path="a\udce9\U0001f600\\ud800.sql")}))
        read, left = left_out_of(tmp_path)
        assert (read.nodes[0].path, left) == ("a\ufffd\U0001f600\\ud800.sql", [])


class TestManifest:
    def test_a_name_of_the_project_that_cannot_be_stored_is_left_out(self, tmp_path: Path) -> None:
        project(
            tmp_path,
            {**manifest_of(), "metadata": {"project_name": "a\0b"}},
            run_results_of(run_result(MODEL, status="success")),
        )
        read, (left,) = left_out_of(tmp_path)
        assert (len(read.nodes), len(read.runs), read.project) == (2, 1, None)
        assert left.startswith("metadata.project_name: it has a character that no database can store")
        assert left.endswith("found 'a\\x00b'")

    def test_a_manifest_without_nodes_gives_its_sources(self, tmp_path: Path) -> None:
        project(tmp_path, manifest_of({}, sources={"source.shop.raw.a": {}}))
        read, left = left_out_of(tmp_path)
        assert ([one.resource_type for one in read.nodes], left) == (
            ["source"],
            ["nodes: empty; run `dbt parse` in a project with models"],
        )

    @pytest.mark.parametrize(
        ("bad", "place", "is_kept"),
        [
            (None, f"nodes.{OTHER}: expected an object, found None", False),
            ([], f"nodes.{OTHER}: expected an object, found []", False),
            (node(ABSENT), f"nodes.{OTHER}.resource_type: it is missing", False),
            (node(""), f"nodes.{OTHER}.resource_type: String should have at least 1 character", False),
            (
                node(original_file_path=1),
                f"nodes.{OTHER}.original_file_path: Input should be a valid string, found 1",
                True,
            ),
            (
                node("test", attached_node=1),
                f"nodes.{OTHER}.attached_node: Input should be a valid string, found 1",
                True,
            ),
            (node("test", depends_on=[]), f"nodes.{OTHER}.depends_on: expected an object, found []", True),
            (node("test", depends_on={"nodes": [{}]}), f"nodes.{OTHER}.depends_on.nodes[0]: Input should be", True),
            (node("test", meta=1), f"nodes.{OTHER}.meta: expected an object, found 1", True),
        ],
    )
    def test_a_bad_field_costs_itself_and_a_bad_node_too(
        self, tmp_path: Path, bad: Json, place: str, is_kept: bool
    ) -> None:
        project(tmp_path, manifest_of({**manifest_of()["nodes"], OTHER: bad}), run_results_of(DONE, run_result()))
        read, (left,) = left_out_of(tmp_path)
        assert left.startswith(place)
        assert (len(read.pairs), len(read.runs), OTHER in {one.unique_id for one in read.nodes}) == (1, 1, is_kept)

    def test_a_bad_section_costs_itself(self, tmp_path: Path) -> None:
        project(tmp_path, {**manifest_of(), "sources": [], "metadata": None})
        read, left = left_out_of(tmp_path)
        assert len(read.pairs) == 1
        assert left == ["metadata: expected an object, found None", "sources: expected an object, found []"]

    @pytest.mark.parametrize("fields", [{"attached_node": TEST}, {"depends_on": {"nodes": [TEST]}}])
    def test_a_test_of_itself_is_of_no_node(self, tmp_path: Path, fields: Json) -> None:
        project(tmp_path, manifest_of({MODEL: node(), TEST: node("test", **fields)}))
        assert read_dbt(tmp_path).sourceless_tests == (TEST,)


BAD_COUNTS: list[Json] = [-1, -1.0, 1.5, "1", "3 rows", True, [], float("nan"), float("inf"), 2**53]
BAD_RESULTS: list[tuple[Json, str, bool]] = [
    (run_result(status=ABSENT), "status: it is missing", False),
    (run_result(status=["pass"]), "status: Input should be a valid string, found ['pass']", False),
    (run_result(status="Pass"), "status: no known status of dbt: success, pass, warn", False),
    (run_result(OTHER), "", False),
    (run_result(""), "unique_id: String should have at least 1 character", False),
    (run_result(timing={"a": 1}), "timing: expected a list, found {'a': 1}", True),
    (run_result(timing=[1]), "timing[0]: expected an object, found 1", True),
    (run_result(timing=[{"started_at": 1}]), "timing[0].started_at: Input should be a valid string, found 1", True),
    (run_result(timing=[{"completed_at": "2025\0"}]), "timing[0].completed_at: String should match pattern", True),
    (run_result(timing=[{"completed_at": "2" * 65}]), "timing[0].completed_at: String should have at most 64", True),
    *((run_result(failures=failures), "failures: ", True) for failures in BAD_COUNTS),
]


class TestResults:
    @pytest.mark.parametrize(("bad", "place", "is_kept"), BAD_RESULTS)
    def test_of_a_result_the_bad_field_or_itself(self, tmp_path: Path, bad: Json, place: str, is_kept: bool) -> None:
        project(tmp_path, manifest_of(), run_results_of(DONE, bad))
        read, (left,) = left_out_of(tmp_path)
        assert left.startswith(f"results[1]{'.' if place else ''}{place}")
        (run,) = read.runs
        assert run.producer
        assert (run.verifier and run.verifier.status) == ("pass" if is_kept else None)

    @pytest.mark.parametrize(("bad", "place", "is_kept"), [one for one in BAD_RESULTS if one[0]["unique_id"]])
    def test_so_in_a_log(self, tmp_path: Path, bad: Json, place: str, is_kept: bool) -> None:
        project(tmp_path, manifest_of())
        names = {"failures": "num_failures", "timing": "timing_info"}
        fields = {names.get(key, key): value for key, value in bad.items() if key != "unique_id"}
        fields = {"status": ABSENT, **fields}
        log = write(
            tmp_path / "logs" / "dbt.jsonl",
            lines_of(finished(MODEL, status="success"), finished(bad["unique_id"], **fields)),
        )
        read, (left,) = left_out_of(tmp_path)
        assert read.left_out[0].file == str(log)
        assert left.startswith(f"line 2: {f'data.run_result.{place}' if place else OTHER}")
        (run,) = read.runs
        assert run.producer
        assert (run.verifier and run.verifier.status) == ("pass" if is_kept else None)

    @pytest.mark.parametrize("bad", [None, [], 1])
    def test_what_is_no_result_at_all(self, tmp_path: Path, bad: Json) -> None:
        project(tmp_path, manifest_of(), run_results_of(bad, DONE))
        read, left = left_out_of(tmp_path)
        assert (len(read.runs), left) == (1, [f"results[0]: expected an object, found {bad}"])

    def test_a_node_that_the_manifest_has_no_more_is_named_with_both_files(self, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result("model.shop.gone"), DONE))
        read, (left,) = left_out_of(tmp_path)
        manifest = tmp_path / "target" / "manifest.json"
        assert left.startswith(f"results[0]: model.shop.gone is not in {manifest}: results and manifest must be of")
        assert (len(read.runs), read.results) == (1, 1)

    def test_an_unknown_status_says_which_are_known(self, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(run_result(status="done")))
        _, (left,) = left_out_of(tmp_path)
        assert left == f"results[0].status: no known status of dbt: {', '.join(WRAPPER_STATUS)}, found 'done'"

    @pytest.mark.parametrize(
        "line",
        [
            b'{"info": {"na',
            b'{"info": \x00}',
            b'{"info": "\xff"}',
            b'{"info": ' + b"[" * 200_000,
            b"[1]",
            b"\x00",
            b"x.py:3: DeprecationWarning: foo",
            b'{"code": "Q025", "data": {}}',
            b'{"info": {"name": 1}}',
        ],
    )
    def test_a_line_that_is_no_event_costs_itself(self, tmp_path: Path, line: bytes) -> None:
        project(tmp_path, manifest_of())
        around = lines_of(finished(MODEL, status="success")).encode(), lines_of(finished()).encode()
        write(tmp_path / "logs" / "dbt.log", around[0] + b"\n" + line + b"\n" + around[1])
        read, left = left_out_of(tmp_path)
        assert left == ["line 3: no event of dbt's structured log"]
        (run,) = read.runs
        assert run.producer
        assert run.verifier

    def test_many_such_lines_in_a_row_are_one_entry(self, tmp_path: Path) -> None:
        project(tmp_path, manifest_of())
        traceback = "Traceback (most recent call last):\n  File x\n\nKeyError\n"
        write(tmp_path / "logs" / "dbt.log", lines_of(finished()) + traceback + lines_of(event()) + '{"info": {"na')
        _, left = left_out_of(tmp_path)
        assert [one.split(":")[0] for one in left] == ["lines 2 to 5", "line 7"]

    @pytest.mark.parametrize(
        ("bad", "place"),
        [
            ({**event("NodeFinished"), "data": None}, "data.node_info: it is missing"),
            (event("NodeFinished", node_info={}, run_result={}), "data.node_info.unique_id: it is missing"),
            (event("NodeFinished", node_info={"unique_id": TEST}), "data.run_result: it is missing"),
            *((finished(invocation_id=one), "info.invocation_id: it is missing") for one in (None, "")),
        ],
    )
    def test_an_event_of_another_shape_costs_itself(self, tmp_path: Path, bad: Json, place: str) -> None:
        project(tmp_path, manifest_of())
        write(tmp_path / "logs" / "dbt.jsonl", lines_of(event(), finished(), bad))
        read, left = left_out_of(tmp_path)
        assert (len(read.runs), left[0]) == (1, f"line 3: {place}")

    def test_a_list_of_many_has_an_end_and_counts_all(self, tmp_path: Path) -> None:
        project(tmp_path, manifest_of(), run_results_of(*[None] * (LISTED + 5), DONE))
        read = read_dbt(tmp_path)
        assert (len(read.left_out), read.left_out_number, len(read.runs)) == (LISTED, LISTED + 5, 1)

    def test_the_bad_invocation_id_is_made_legal(self, tmp_path: Path) -> None:
        for given in ("größe", "a b", "i" * 197):
            project(tmp_path, manifest_of(), run_results_of(DONE, invocation_id=given))
            (run,) = read_dbt(tmp_path).runs
            assert run.invocation_id == given
            assert len(run.idempotency_key) <= 200
            assert run.idempotency_key.startswith("dbt:")
            assert run.correlation_id.isascii()
        project(tmp_path, manifest_of(), run_results_of(DONE, invocation_id=INVOCATION))
        assert [run.correlation_id for run in read_dbt(tmp_path).runs] == [INVOCATION]
