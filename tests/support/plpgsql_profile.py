"""Runs the rules and attacks under plpgsql_check's profiler: ``python -m support.plpgsql_profile FILE`` writes what was never run.

Each test has a database of its own, and so has its profile: it is read before the database goes, and all are added up.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import psycopg
import pytest

from dot_wrapper.proving.databases import database_url
from dot_wrapper.proving.prepared import PREPARED, Prepared, with_template

TESTS = ("tests/sql", "tests/security", "tests/races")
PROFILE = """
select p.proname, s.stmtid, s.parent_stmtid, s.parent_note, btrim(split_part(p.prosrc, E'\\n', s.lineno)), s.stmtname,
    s.exec_stmts  -- those that ended in an error are among them
from pg_proc p cross join lateral plpgsql_profiler_function_statements_tb(p.oid) as s
where p.pronamespace = 'dot'::regnamespace and starts_with(p.proname, 'fn_')
    and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')
"""

Statement = tuple[str, int, int | None, str | None, str, str]
"""Function, statement, the one it is in, which part of that, its first line, kind."""


@dataclass(frozen=True)
class Profiled(Prepared):
    """A server whose test databases are asked for their profiles before they go."""

    runs: Counter[Statement] = field(default_factory=Counter)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        with super().database(template) as url:
            yield url
            if template == self.template:
                with psycopg.connect(url, autocommit=True) as connection:
                    for *statement, runs in connection.execute(PROFILE).fetchall():
                        self.runs[tuple(statement)] += runs
                    connection.execute("select plpgsql_profiler_reset_all()")


def never(runs: Counter[Statement]) -> list[str]:
    """The statements that never ran, and the conditions that never turned a run away."""
    found = [f"{one[0]}: {one[4]}" for one, count in runs.items() if not count]
    for one, count in runs.items():
        if one[5] == "IF":
            branches = [(other[3], n) for other, n in runs.items() if other[0] == one[0] and other[2] == one[1]]
            if not any(note == "else body" for note, _ in branches):
                taken = max((n for note, n in branches if note == "then body"), default=0)
                if count and count == taken:
                    found.append(f"{one[0]}: {one[4]} (always true)")
    return sorted(found)


class Profiler:
    """The pytest plugin."""

    runs: Counter[Statement]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        server = with_template(session.config.stash[PREPARED])
        assert server.template
        with psycopg.connect(database_url(server.url, server.template)) as connection:
            connection.execute("create extension plpgsql_check")
        profiled = Profiled(**{one.name: getattr(server, one.name) for one in fields(server)})
        session.config.stash[PREPARED], self.runs = profiled, profiled.runs


def main(result: Path) -> int:
    os.environ.pop("DATABASE_URL", None)
    os.environ["DOT_TEST_POSTGRES"] = "15"
    os.environ["DOT_TEST_SETTINGS"] = "shared_preload_libraries = 'plpgsql_check'\nplpgsql_check.profiler = on\n"
    profiler = Profiler()
    code = pytest.main(["-q", "-p", "no:cacheprovider", *TESTS], plugins=[profiler])
    found = {"statements": len(profiler.runs), "never": never(profiler.runs)}
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
