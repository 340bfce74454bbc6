"""The SQL that a DBA reviews fits beside its earlier text: ``tools/sql_lines.py`` finds a line that does not."""

from __future__ import annotations

from pathlib import Path

from dot_wrapper.files import ROOT
from tools.sql_lines import long_lines, reviewed


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
