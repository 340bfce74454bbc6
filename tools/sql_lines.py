"""Checks that the SQL that a DBA reviews fits beside its earlier text: a line that wraps there hides what changed in it.

python -m tools.sql_lines       names the lines that are too long; 1 where there is one
"""

from __future__ import annotations

import ast
import sys
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


def main() -> int:
    found = long_lines(ROOT)
    print("\n".join(found), file=sys.stderr, end="\n" * bool(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
