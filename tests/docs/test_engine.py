"""The engine that runs the pages: what it accepts, and that it fails where a page is not true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import Database
from support.documents import Mismatch, PageError, Session, blocks, check


@pytest.fixture
def session(db: Database, tmp_path: Path, client_programs: None) -> Iterator[Session]:
    """A session of an empty ledger, as a login that holds the five roles."""
    with Session(db.url_as("operator"), tmp_path, {"DATABASE_URL": db.url_as("operator")}) as opened:
        yield opened


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Session]:
    """A session without a database, for what needs none."""
    with Session("postgresql://nobody@/nowhere", tmp_path) as opened:
        yield opened


def fenced(language: str, text: str, shown: str | None = None) -> str:
    """A page of one block, with a text block below it where ``shown`` is given."""
    return f"```{language}\n{text}\n```\n" + (f"\n```text\n{shown}\n```\n" if shown is not None else "")


TABLE = """\
 a | b
---+---
 1 | x
(1 row)"""


def test_sql_that_prints_what_the_page_shows_passes(session: Session) -> None:
    assert check("page.md", fenced("sql", "select 1 as a, 'x' as b;", TABLE), session) == 1


@pytest.mark.parametrize(
    "shown",
    [
        TABLE.replace("x", "y"),
        TABLE.replace("---+---\n", ""),
        TABLE.replace("(1 row)", " 2 | z\n(1 row)"),
        TABLE.replace(" 1 | x\n", ""),
        TABLE + "\nNOTICE:  also",
        "",
    ],
)
def test_another_output_fails_naming_page_line_and_difference(session: Session, shown: str) -> None:
    with pytest.raises(Mismatch) as caught:
        check("page.md", "A page.\n\n" + fenced("sql", "select 1 as a, 'x' as b;", shown), session)
    assert str(caught.value).startswith("page.md:3: ```sql\n--- shown on the page\n+++ printed\n")
    assert any(line[0] in "+-" for line in str(caught.value).splitlines()[4:])


def test_errors_stand_where_they_occur_without_the_lines_of_function_bodies(session: Session) -> None:
    code = "select 1 as a, 'x' as b;\nselect dot.fn_dot_tool_register(null);\nselect 1 as a, 'x' as b;"
    error = "ERROR:  code is required\nHINT:  Pass p_code; NULL is never replaced by a default."
    assert check("page.md", fenced("sql", code, f"{TABLE}\n\n{error}\n{TABLE}"), session) == 1
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", code, f"{error}\n{TABLE}\n\n{TABLE}"), session)


@pytest.mark.parametrize(
    "wrong",
    ["selec 1;", "select dot.fn_dot_tool_register(null);", "\\foo", "select 1 as a where false \\gset", "select 'a"],
)
def test_sql_without_a_text_block_must_not_fail(session: Session, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.documents.TIMEOUT", 1.0)  # an open quote waits for its end
    assert check("page.md", fenced("sql", "select dot.fn_dot_tool_register('dot.a');"), session) == 1
    with pytest.raises(Mismatch, match=r"^page\.md:1: ```sql\n"):
        check("page.md", fenced("sql", wrong), session)


def test_a_statement_without_its_end_belongs_to_its_own_block(session: Session) -> None:
    page = fenced("sql", "select 1 as a, 'x' as b", TABLE) + fenced("sql", "select 1 as a, 'x' as b;", TABLE)
    assert check("page.md", page, session) == 2


def test_a_page_is_one_psql_session(session: Session) -> None:
    page = fenced("sql", "select 41 + 1 as answer \\gset\nset application_name = 'page';")
    page += fenced("sql", "\\echo :answer\nshow application_name;", "42\n application_name\n---\n page\n(1 row)")
    assert check("page.md", page, session) == 2


def test_widths_of_tables_times_paths_and_ports_are_no_difference(session: Session) -> None:
    code = "select clock_timestamp() as now, 'x' as name; \\echo /tmp/a1b2/file port=1234"
    shown = " now | name\n-----+---\n 2026-11-21 23:34:04.12+00 | x\n(1 row)\n\n/tmp/other port=5432"
    assert check("page.md", fenced("sql", code, shown), session) == 1
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", code, shown.replace("2026-11-21 23:34:04.12+00", "today")), session)


def test_widths_of_drawn_tables_are_no_difference_and_their_cells_are(plain: Session) -> None:
    page = fenced("console", "$ printf '%s\\n' '│ a    │' '├──────┤' '│ b    │'\n│ a │\n├───┤\n│ b │")
    assert check("page.md", page, plain) == 1
    for was, becomes in (("├───┤", "│───┤"), ("│ b │", "│ b"), ("│ a │", "│ aa │")):
        with pytest.raises(Mismatch):
            check("page.md", page.replace(was, becomes), plain)


A, B = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
TWO = "select gen_random_uuid() as a, gen_random_uuid() as b \\gset"


def test_uuids_are_compared_by_which_are_equal_over_the_whole_page(session: Session) -> None:
    first = fenced("sql", TWO) + fenced("sql", "\\echo :a :b :a", f"{A} {B} {A}")
    assert check("page.md", first + fenced("sql", "\\echo :b", B), session) == 3


@pytest.mark.parametrize("swapped", [f"{A} {B} {B}", f"{A} {A} {A}", f"{A} {B} 33333333-3333-4333-8333-333333333333"])
def test_swapped_uuids_fail(session: Session, swapped: str) -> None:
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", TWO) + fenced("sql", "\\echo :a :b :a", swapped), session)


def test_uuids_swapped_in_a_later_block_fail(session: Session) -> None:
    first = fenced("sql", TWO) + fenced("sql", "\\echo :a :b", f"{A} {B}")
    with pytest.raises(Mismatch):
        check("page.md", first + fenced("sql", "\\echo :b", A), session)


def test_a_uuid_that_the_code_names_is_compared_as_it_is(session: Session) -> None:
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", f"\\echo {A} {B}", f"{B} {A}"), session)
    assert check("page.md", fenced("sql", f"\\echo {A} {B}", f"{A} {B}"), session) == 1


CONSOLE = """\
$ echo one && \\
    echo two >&2
one
two
$ (exit 3)
$ echo $?
3
$ seq 5
1
...
5
$ printf '%s' end
end"""


def test_console_commands_that_print_what_the_page_shows_pass(plain: Session) -> None:
    assert check("page.md", fenced("console", CONSOLE), plain) == 1


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("one\ntwo", "two\none"),
        ("one\ntwo", "one"),
        ("end", "end\nmore"),
        ("\n5", "\n6"),
        ("1\n...", "2\n..."),
        ("...\n5", "...\n4"),
        ("\n3\n", "\n0\n"),
        ("$ echo $?\n3\n", ""),
        ("seq 5", "seq 5; false"),
        ("seq 5", "seq 4"),
    ],
)
def test_a_console_block_that_is_not_true_fails(plain: Session, was: str, becomes: str) -> None:
    before, found, after = CONSOLE.rpartition(was)
    assert found
    with pytest.raises(Mismatch, match=r"^page\.md:1: ```console\n"):
        check("page.md", fenced("console", before + becomes + after), plain)


@pytest.mark.parametrize("shown", ["two\n...", "...\ntwo", "one\n...\none\n...", "one\n...\ntwo\n...\ntwo\nthree"])
def test_any_lines_stand_for_none_of_the_lines_around_them(session: Session, shown: str) -> None:
    code = "\\echo one\n\\echo two\n\\echo three"
    assert check("page.md", fenced("sql", code, "one\n...\nthree") + fenced("sql", code, "..."), session) == 2
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", code, shown), session)


def test_any_lines_may_be_no_lines_and_lets_uuids_pass(session: Session) -> None:
    assert check("page.md", fenced("console", "$ echo one\n...\none\n..."), session) == 1
    code = f"{TWO}\n\\echo :a\n\\echo :b"
    lines = f"...\n{A}"
    assert check("page.md", fenced("sql", code, lines) + fenced("sql", "\\echo :b", A), session) == 2
    with pytest.raises(Mismatch):
        check("page.md", fenced("sql", "\\echo :b", B), session)


def test_blocks_share_a_folder_and_console_blocks_see_the_database(session: Session) -> None:
    page = fenced("console", "$ echo here > file") + fenced("python", "print(open('file').read())", "here")
    page += fenced("sql", "\\! cat file", "here")
    page += fenced("console", '$ test "$DATABASE_URL"')
    assert check("page.md", page, session) == 4


@pytest.mark.parametrize(
    ("code", "shown"),
    [("print(1)", "2"), ("print(1)", "1\n2"), ("raise SystemExit(1)", None), ("print(1); exit(1)", "1")],
)
def test_python_that_prints_something_else_or_fails_is_told(plain: Session, code: str, shown: str | None) -> None:
    assert check("page.md", fenced("python", "print(1)", "1") + fenced("python", "print(1)"), plain) == 2
    with pytest.raises(Mismatch, match=r"^page\.md:1: ```python\n"):
        check("page.md", fenced("python", code, shown), plain)


def test_a_text_block_belongs_to_the_block_directly_above_it_alone() -> None:
    page = fenced("sql", "select 1;") + "Prose.\n" + fenced("text", "a drawing") + fenced("sql", "select 2;", "two")
    assert [(block.text, block.shown) for block in blocks(page)] == [("select 1;\n", None), ("select 2;\n", "two\n")]


def test_only_a_comment_directly_above_leaves_a_block_out(plain: Session) -> None:
    left_out = "<!-- not run: it needs\na cluster -->\n"
    page = left_out + fenced("console", "$ false")
    assert check("page.md", page, plain) == 0
    assert [block.not_run for block in blocks(page)] == ["it needs\na cluster"]
    with pytest.raises(Mismatch):
        check("page.md", left_out + "Prose.\n" + fenced("console", "$ false"), plain)
    with pytest.raises(Mismatch):
        check("page.md", page + fenced("console", "$ false"), plain)


@pytest.mark.parametrize(
    "page", ["```sh\nfalse\n```\n", "```\nfalse\n```\n", "```sql\nselect 1;\n", "```console\nfalse\n```\n"]
)
def test_a_fence_that_would_not_be_run_is_an_error(plain: Session, page: str) -> None:
    with pytest.raises(PageError):
        check("page.md", page, plain)
