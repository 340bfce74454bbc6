"""The check of scripts finds what comes before the pin, and literals that choose a function."""

from __future__ import annotations

from pathlib import Path

import pytest

from dot_wrapper.files import ROOT
from tools.pinned import main, problems

PIN = "set local search_path = pg_catalog, pg_temp;\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("select pg_has_role('a', 'usage');", "line 1: before the pin is looked up: function pg_has_role"),
        (f"begin;\nselect now();\n{PIN}commit;", "line 2: before the pin is looked up: function now"),
        (f"begin;\n{PIN}commit;\nselect 1 where 1 = 2;", "line 4: before the pin is looked up: operator ="),
        (f"begin;\n{PIN}rollback;\nselect 'a'::text;", "line 4: before the pin is looked up: type text"),
        ("select 1 from pg_roles;", "line 1: before the pin is looked up: relation pg_roles"),
        ("select 1 in (select 1);", "line 1: before the pin is looked up: operator ="),
        ("select case 1 when 2 then 3 end;", "line 1: before the pin is looked up: operator ="),
        ("-- why\ndo $$ begin end $$;", "line 2: before the pin is looked up: whatever is named in DoStmt"),
        ("set search_path = public;\nselect now();", "line 2: before the pin is looked up: function now"),
        (
            "set local search_path = pg_temp, pg_catalog;\nselect now();",
            "line 2: before the pin is looked up: function now",
        ),
        (f"{PIN}set search_path = public;\nselect now();", "line 3: before the pin is looked up: function now"),
        (f"{PIN}reset all;\nselect now();", "line 3: before the pin is looked up: function now"),
        (f"{PIN}reset search_path;\nselect now();", "line 3: before the pin is looked up: function now"),
        (f"{PIN}select dot.fn_x('a');", "line 2: dot.fn_x is chosen by the type of a literal"),
        (f"{PIN}select dot.fn_x(p_a => null);", "line 2: dot.fn_x is chosen by the type of a literal"),
    ],
)
def test_what_is_looked_up_where_a_stranger_decides_is_found(script: str, said: str) -> None:
    (found,) = problems(script)
    assert found.startswith(said)


@pytest.mark.parametrize(
    "script",
    [
        "begin; set local lock_timeout = '1s'; show search_path; commit;",
        "select pg_catalog.pg_backend_pid(), pg_catalog.pg_has_role('a', 'b');",
        f"\\set ON_ERROR_STOP 1\nbegin;\n{PIN}select now() where 'a' = 'b';\ncommit;",
        "set search_path = pg_catalog, pg_temp; select now();",
        f"{PIN}select dot.fn_x('a'::text, 1, true);",
        "select 1 operator(pg_catalog.=) 2;",
    ],
)
def test_what_looks_nothing_up_passes(script: str) -> None:
    assert problems(script) == []


def test_a_file_that_is_not_pinned_ends_in_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("select now();")
    assert main([str(ROOT / "sql" / "roles.sql"), str(ROOT / "sql" / "roles_drop.sql")]) == 0
    assert main([str(file)]) == 1
    assert capsys.readouterr().err == f"{file}: line 1: before the pin is looked up: function now\n"
