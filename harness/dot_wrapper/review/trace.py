"""Runs an alembic command as the project runs it, and writes down after each statement what its transaction holds.

    DATABASE_URL=... python -P trace.py OUT SECTION upgrade|downgrade REVISION      in the files of the side

It is a program of its own, with the package of the side that is reviewed: it imports nothing of this one.

A string of several statements is split by PostgreSQL's own parser and sent one by one, in the same session and transaction. What is asked
in between is asked in that session: another one cannot see a relation, a relfilenode or the counters of a transaction that has not
committed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pglast
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.engine import Engine

RELATIONS = """
select c.oid::bigint, c.relname, c.relkind::text, pg_catalog.pg_relation_filenode(c.oid)::bigint
from pg_catalog.pg_class c
where c.relnamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = 'dot')"""
LOCKS = """
select l.relation::bigint, l.mode from pg_catalog.pg_locks l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted"""
READ = """
select s.relid::bigint, coalesce(s.seq_scan, 0), coalesce(s.seq_tup_read, 0) from pg_catalog.pg_stat_xact_user_tables s"""
MOMENT = "select pg_catalog.current_setting('lock_timeout'), pg_catalog.now()::text"

steps: list[dict[str, Any]] = []
names: dict[int, tuple[str, str]] = {}
old: set[int] = set()
running: list[str | None] = [None]


def snapshot(connection: Any) -> dict[str, Any]:
    """What the session holds and has read."""
    with connection.cursor() as cursor:
        relations = {row[0]: row[1:] for row in cursor.execute(RELATIONS).fetchall()}
        names.update({oid: row[:2] for oid, row in relations.items()})
        return {
            "files": {oid: row[2] for oid, row in relations.items()},
            "locks": {(oid, mode) for oid, mode in cursor.execute(LOCKS).fetchall() if oid in names},
            "read": {row[0]: row[1:] for row in cursor.execute(READ).fetchall()},
            "moment": cursor.execute(MOMENT).fetchone(),
        }


@event.listens_for(Engine, "do_execute")
def traced(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool | None:
    """Sends the parts of a string one by one. What has parameters is alembic's or SQLAlchemy's own, and reads."""
    if parameters:
        return None
    parts = pglast.split(statement)  # % is still doubled, as the driver wants it
    if not old:
        old.update(snapshot(cursor.connection)["files"])
    for part in parts:
        before = snapshot(cursor.connection)
        step = {
            "revision": running[0],
            "sql": part.replace("%%", "%"),
            "lock_timeout": before["moment"][0],
            "transaction": before["moment"][1],
            "locks": [],
            "rewritten": [],
            "scanned": [],
            "error": None,
        }
        steps.append(step)
        started = time.perf_counter()
        try:
            cursor.execute(part, parameters)
        except Exception as error:
            step["error"] = str(error)
            raise
        finally:
            step["ms"] = (time.perf_counter() - started) * 1000
        described = cursor.description is not None
        if described and parts[-1] is not part:
            cursor.fetchall()
        after = snapshot(cursor.connection)
        step["locks"] = sorted((*names[oid], mode) for oid, mode in after["locks"] - before["locks"] if oid in old)
        files = before["files"]
        step["rewritten"] = sorted(
            names[oid][0]
            for oid, file in after["files"].items()
            if oid in old and oid in files and file != files[oid] and names[oid][1] in "rmp"
        )
        none = (0, 0)
        step["scanned"] = sorted(
            (names[oid][0], tuples - before["read"].get(oid, none)[1])
            for oid, (scans, tuples) in after["read"].items()
            if oid in old and oid in names and scans > before["read"].get(oid, none)[0]
        )
    return True


def tell_revisions() -> None:
    """Lets each statement be told the revision that it belongs to: None before the first, after the last."""
    run_migrations = MigrationContext.run_migrations

    def run(self: MigrationContext, **options: Any) -> None:
        steps_of: Any = self._migrations_fn

        def told(heads: Any, context: Any) -> Iterator[Any]:
            for step in steps_of(heads, context):
                running[0] = step.revision.revision
                yield step
            running[0] = None

        self._migrations_fn = told
        run_migrations(self, **options)

    MigrationContext.run_migrations = run  # type: ignore[method-assign]  # this process ends with the command


def main(out: str, section: str, direction: str, revision: str) -> int:
    """The command line above; 1 where the command failed."""
    tell_revisions()
    error = None
    try:
        getattr(command, direction)(Config("alembic.ini", ini_section=section), revision)
    except Exception as failure:  # whatever it is, the page says it
        error = str(failure).strip() or type(failure).__name__
    Path(out).write_text(json.dumps({"steps": steps, "error": error}), encoding="utf-8")
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
