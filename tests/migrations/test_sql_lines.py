"""The SQL that a DBA reviews fits beside its earlier text: a line that wraps there hides what changed in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from dot_wrapper.files import ROOT

SHORTER_THAN = 110


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of SQL in a file, numbered from 1; in a revision those of its texts, the docstrings apart."""
    text = path.read_text(encoding="utf-8")
    numbered = list(enumerate(text.splitlines(), 1))
    if path.suffix == ".sql":
        yield from numbered
        return
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in tree.body if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings:
            first, last = node.lineno, node.end_lineno or node.lineno
            if last > first and '"""' in numbered[first - 1][1]:
                yield from numbered[first - 1 : last]


def reviewed(root: Path) -> list[Path]:
    """The files of a checkout that are SQL or hold SQL. The snapshot is pg_dump's text, whose lines are its own."""
    sql = [*root.glob("sql/**/*.sql"), *root.glob("amendment/sql/**/*.sql")]
    revisions = [*root.glob("migrations/versions/*.*"), *root.glob("amendment/migrations/versions/*.*")]
    return [path for path in sql + revisions if path.name != "schema.snapshot.sql"]


def long_lines(root: Path) -> list[str]:
    """Where the lines are that are too long."""
    found = {
        f"{path.relative_to(root)}:{number}: {len(line)} characters"
        for path in reviewed(root)
        for number, line in lines(path)
        if len(line) >= SHORTER_THAN
    }
    return sorted(found)


def test_no_line_of_the_sql_wraps_in_a_diff_side_by_side() -> None:
    assert len(reviewed(ROOT)) > 100
    assert long_lines(ROOT) == []


def test_a_line_that_is_too_long_is_named_wherever_the_sql_is(tmp_path: Path) -> None:
    for folder in ("sql/functions", "sql/views", "amendment/sql/views"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "it.sql").write_text("x" * 109 + "\n" + "x" * 110 + "\n")
    for folder in ("migrations/versions", "amendment/migrations/versions"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0001_it.py").write_text(
            '"""' + "x" * 110 + '"""\n\nexecute(f"""\n' + "x" * 110 + '\n""")\n'
        )
    (tmp_path / "sql/roles.sql").write_text("x" * 110)
    (tmp_path / "sql/schema.snapshot.sql").write_text("x" * 110)
    assert long_lines(tmp_path) == [
        "amendment/migrations/versions/0001_it.py:4: 110 characters",
        "amendment/sql/views/it.sql:2: 110 characters",
        "migrations/versions/0001_it.py:4: 110 characters",
        "sql/functions/it.sql:2: 110 characters",
        "sql/roles.sql:1: 110 characters",
        "sql/views/it.sql:2: 110 characters",
    ]
