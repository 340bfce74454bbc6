"""Defining DOTs and candidates from a file: what is read, what is refused, what is a conflict."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dot_wrapper import cli
from dot_wrapper.files import ROOT
from dot_wrapper.sources.bulk import CHUNK
from dot_wrapper.sources.catalogue.reader import CandidateEntry, CatalogueFileError, DotEntry, read_catalogue
from dot_wrapper.sources.checked_file import LIMIT
from support import Database, DotWrapper, ledger_counts, rows, value

EXAMPLE = ROOT / "examples" / "catalogue.yaml"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return file


def test_yaml_has_dots_and_candidates() -> None:
    found = read_catalogue(EXAMPLE)
    assert [dot.code for dot in found.dots] == [
        "bakery.load_orders",
        "bakery.check_orders",
        "bakery.bake_plan",
        "bakery.check_plan",
    ]
    assert found.candidates[0] == CandidateEntry(
        code="bakery.orders",
        producer_dot_code="bakery.load_orders",
        verifier_dot_code="bakery.check_orders",
        description="every order of the day is loaded once",
    )


def test_a_csv_file_has_the_one_or_the_other_by_its_header(tmp_path: Path) -> None:
    dots = read_catalogue(written(tmp_path, "dots.csv", "\ufeffcode,category,script_path\na,load,\nb,,bin/b.sh\n"))
    assert dots.dots == (DotEntry(code="a", category="load"), DotEntry(code="b", script_path="bin/b.sh"))
    found = read_catalogue(ROOT / "examples" / "candidates.csv")
    assert (found.dots, [one.code for one in found.candidates]) == ((), ["bakery.orders", "bakery.plan"])
    assert found.candidates[1].description is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "", "must end in .yaml, .yml or .csv"),
        ("a.yaml", "dots: [", "while parsing"),
        ("a.yaml", "- code: a", "a.yaml: expected an object"),
        ("a.yaml", "", "a.yaml: it is empty"),
        ("a.yaml", "# nothing", "a.yaml: it is empty"),
        ("a.yaml", "dots:", "a.yaml: dots: expected a list"),
        ("a.yaml", "dots: [a]", "a.yaml: dots 1: expected an object"),
        ("a.yaml", "dots: [{code: [a]}]", "dots 1, code: Input should be a valid string"),
        ("a.yaml", "dots: [{code: ~}]", "dots 1, code: Input should be a valid string"),
        ("a.yaml", 'dots: [{code: "x\\ud800y"}]', "no database can store"),
        ("a.yaml", 'dots: [{code: "x\\0y"}]', "no database can store"),
        ("a.yaml", 'dots: [{code: a, "\\e[31mX": b}]', "dots 1, \\x1b[31mX: Extra inputs"),
        ("a.yaml", "dots: []", "it defines nothing"),
        ("a.yaml", "{}", "it defines nothing"),
        ("a.csv", "", "it has no header"),
        ("a.csv", "code,category\n", "it defines nothing"),
        ("a.yaml", "dots: [{code: a, colour: red}]", "dots 1, colour: Extra inputs are not permitted"),
        ("a.yaml", "candidates: [{code: a, producer_dot_code: b}]", "candidates 1, verifier_dot_code: it is missing"),
        ("a.yaml", "dots: &d [{code: a}]\ncandidates: *d", "aliases (*name) are not read"),
        ("a.yaml", "dots: [{code: a, code: b}]", "duplicate key 'code'"),
        ("a.yaml", "dots: []\ndots: []", "duplicate key 'dots'"),
        ("a.yaml", "a: !!python/object:os.system {}", "a: Extra inputs are not permitted"),
        ("a.yaml", "\udcff", "not UTF-8"),
        ("a.yaml", "[" * 5000, "a.yaml: it is nested too deeply"),
        ("a.csv", "code,colour\na,red\n", "dots 1, colour: Extra inputs are not permitted"),
        ("a.csv", "code,code\na,b\n", "duplicate column"),
        ("a.csv", "code\na,b\n", "a cell beyond the header"),
        ("a.csv", 'code\n"a', "unexpected end"),
        ("a.csv", "code\n\udcff\n", "not UTF-8"),
        ("a.csv", "code,producer_dot_code\na,b\n", "candidates 1, verifier_dot_code: it is missing"),
        ("a.csv", "code,producer_dot_code,pins_output\na,b,perhaps\n", "candidates 1, pins_output: "),
        ("a.csv", "code,producer_dot_code,source_time\na,b,2026-11-21\n", "source_time: it is not a time"),
    ],
)
def test_a_file_that_is_no_catalogue_says_where_and_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(CatalogueFileError) as refused:
        read_catalogue(written(tmp_path, name, text))
    assert str(tmp_path / name) in str(refused.value)
    assert said in str(refused.value)


def test_what_looks_like_a_date_or_a_number_is_text_as_it_is_written(tmp_path: Path) -> None:
    text = "dots: [{code: 2026-02-30, category: 1.10, trigger_type: null}, {code: 0x_, category: !!int foo}]"
    assert read_catalogue(written(tmp_path, "a.yaml", text)).dots == (
        DotEntry(code="2026-02-30", category="1.10"),
        DotEntry(code="0x_", category="foo"),
    )


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as stream:
        stream.truncate(LIMIT + 1)
    with pytest.raises(CatalogueFileError, match="larger than"):
        read_catalogue(file)


def test_the_same_file_again_is_nothing_new(db: Database, dot_wrapper: DotWrapper) -> None:
    define = ("catalogue", "define", str(EXAMPLE), "--actor", "ana", "--json")
    first = dot_wrapper(*define).json
    assert (first["dots_created"], first["candidates_created"], first["conflicts"]) == (4, 2, [])
    before = ledger_counts(db)
    again = dot_wrapper(*define)
    assert (again.code, again.json["dots_unchanged"], again.json["candidates_unchanged"]) == (0, 4, 2)
    assert ledger_counts(db) == before
    assert {one["actor"] for one in rows(db.connect("reader"), "select actor from dot.v_process_candidate")} == {"ana"}


@pytest.mark.parametrize("name", ["a.yaml", "a.csv"])
def test_a_candidate_can_ask_for_more_than_its_pair(
    db: Database, dot_wrapper: DotWrapper, tmp_path: Path, name: str
) -> None:
    assert dot_wrapper("catalogue", "define", str(EXAMPLE), "--actor", "ana").code == 0
    asked = {
        "code": "bakery.strict",
        "producer_dot_code": "bakery.load_orders",
        "verifier_dot_code": "bakery.check_orders",
        "producer_role": "dot_writer",
        "verifier_role": "dot_owner",
        "pins_output": "true",
        "max_age": "7 days",
        "source_time": "2026-11-01T06:00:00Z",
    }
    later = {**asked, "code": "bakery.stricter", "supersedes": "bakery.strict", "source_time": "2026-11-02T06:00:00Z"}
    if name == "a.csv":
        lines = [",".join(later), *(",".join(one.get(column, "") for column in later) for one in (asked, later))]
        text = "\n".join(lines)
    else:
        text = json.dumps({"candidates": [asked, later]})  # which is YAML too
    file = written(tmp_path, name, text)
    assert dot_wrapper("catalogue", "define", str(file), "--actor", "ana", "--json").json["candidates_created"] == 2
    stored = "select * from dot.v_process_candidate where process_candidate_code = any(%s) order by 1"
    strict, stricter = rows(db.connect("reader"), stored, ["bakery.strict", "bakery.stricter"])
    names = ("producer_role", "verifier_role", "pins_output", "max_age", "superseded_by")
    assert [strict[one] for one in names] == ["dot_writer", "dot_owner", True, timedelta(days=7), "bakery.stricter"]
    assert strict["source_time"] == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert (stricter["supersedes"], stricter["superseded_by"]) == ("bakery.strict", None)
    otherwise = written(tmp_path, name, text.replace("7 days", "8 days"))
    told = dot_wrapper("catalogue", "define", str(otherwise), "--actor", "ana", "--json")
    assert (told.code, told.json["conflicts"][0]["fields"]) == (cli.REFUSED, ["max_age"])


def test_conflicts_are_named_and_the_others_kept(db: Database, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    assert dot_wrapper("catalogue", "define", str(EXAMPLE), "--actor", "ana").code == 0
    pairs = "\n".join(f"new.pair{n},bakery.load_orders,bakery.check_orders" for n in range(CHUNK + 5))
    file = written(
        tmp_path,
        "a.csv",
        f"code,producer_dot_code,verifier_dot_code\n{pairs}\n"
        "bakery.orders,bakery.bake_plan,bakery.check_plan\n"
        "self.made,bakery.bake_plan,bakery.bake_plan\n"
        "not.known,bakery.bake_plan,bakery.unknown\n"
        "not legal,bakery.bake_plan,bakery.check_plan\n",
    )
    outcome = dot_wrapper("catalogue", "define", str(file), "--actor", "ana", "--json")
    assert outcome.code == cli.REFUSED
    assert outcome.json["candidates_created"] == CHUNK + 5
    assert [(one["what"], one["constraint"]) for one in outcome.json["conflicts"]] == [
        ("candidate bakery.orders", "process_candidate_pair_conflict"),
        ("candidate self.made", "process_candidate_pair_check"),
        ("candidate not.known", "process_candidate_verifier_dot_code_fkey"),
        ("candidate not legal", "process_candidate_code_check"),
    ]
    outcome = dot_wrapper("catalogue", "define", str(file), "--actor", "ana")
    assert "conflict: candidate bakery.orders: process candidate bakery.orders is defined otherwise" in outcome.out
    assert "Differing fields: producer_dot_code, verifier_dot_code." in outcome.out
    stored = "select producer_dot_code from dot.v_process_candidate where process_candidate_code = 'bakery.orders'"
    assert value(db.connect("reader"), stored) == "bakery.load_orders"


@pytest.mark.parametrize("age", ["soon", "99999999999999999999 days", "9999999999 years"])
def test_a_max_age_that_is_no_interval_is_told_by_its_field(
    db: Database, dot_wrapper: DotWrapper, tmp_path: Path, age: str
) -> None:
    pair = "producer_dot_code: a, verifier_dot_code: b"
    text = f"dots: [{{code: a}}, {{code: b}}]\ncandidates: [{{code: c, {pair}, max_age: {age}}}, {{code: d, {pair}, max_age: 12:00}}]"
    outcome = dot_wrapper("catalogue", "define", str(written(tmp_path, "a.yaml", text)), "--actor", "ana")
    assert outcome.code == cli.REFUSED
    assert "conflict: candidate c: max_age: " in outcome.out
    assert "next: Write an interval of PostgreSQL, for instance 7 days or 12:00." in outcome.out
    assert rows(db.connect("reader"), "select process_candidate_code, max_age from dot.v_process_candidate") == [
        {"process_candidate_code": "d", "max_age": timedelta(hours=12)}
    ]


def test_bad_input_is_exit_code_2_and_stores_nothing(db: Database, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    before = ledger_counts(db)
    file = written(tmp_path, "a.yaml", "dots: [{code: a}, {}]")
    outcome = dot_wrapper("catalogue", "define", str(file), "--actor", "ana")
    assert (outcome.code, "dots 2, code: it is missing" in outcome.err) == (cli.BAD_INPUT, True)
    missing = dot_wrapper("catalogue", "define", str(tmp_path / "none.csv"), "--actor", "ana")
    assert (missing.code, "cannot be read" in missing.err) == (cli.BAD_INPUT, True)
    assert ledger_counts(db) == before


def test_show_lists_dots_and_candidates(dot_wrapper: DotWrapper) -> None:
    assert dot_wrapper("catalogue", "define", str(EXAMPLE), "--actor", "ana").code == 0
    shown = dot_wrapper("catalogue", "show")
    assert "4 DOTs, 2 candidates" in shown.out
    as_json = dot_wrapper("catalogue", "show", "--json").json
    assert [one["dot_code"] for one in as_json["dots"]] == sorted(
        ["bakery.load_orders", "bakery.check_orders", "bakery.bake_plan", "bakery.check_plan"]
    )
    assert [one["verifier_dot_code"] for one in as_json["candidates"]] == ["bakery.check_orders", "bakery.check_plan"]
