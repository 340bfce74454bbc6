"""Versioned SQL: a revision applies frozen copies of the files in ``sql/``, never the files themselves.

``sql/`` holds today's text, one object per file, edited in place: that is the line diff a DBA reads. A revision lists the
files it adds or changes in ``APPLIES``, and applies the copies in ``migrations/frozen/REVISION/`` that ``tools/frozen.py`` makes and
compares. A downgrade applies the copy before. Revisions import this module: what they use of it keeps its meaning.

The optional amendment has the same in ``amendment/``, with revisions a001, a002, ...: its files replace those of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alembic import op
from sqlalchemy.schema import DDL

from dot_wrapper.files import ROOT


def statement(sql: str) -> DDL:
    """SQL text as a construct that reaches the server letter by letter, online and with ``--sql``.

    A plain string would go through ``text()``, which takes ``:1`` inside ``'{"a":1}'`` for a parameter and, offline, prints
    NULL in its place.
    """
    return DDL(sql.rstrip().removesuffix(";").replace("%", "%%"))  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap


def execute(sql: str) -> None:
    """Executes SQL of a revision: tables, constraints, triggers, grants, seeds."""
    op.execute(statement(sql))


class FrozenSql:
    """The frozen copies of one checkout: ``sql/`` on one side, ``migrations/frozen/<rev>/`` and the manifest on the other."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.sql = root / "sql"
        self.migrations = root / "migrations"
        self.frozen = self.migrations / "frozen"

    def sources(self) -> list[str]:
        """Names of all versioned files, for instance ``functions/api/fn_preflight_guard``."""
        found = (path for folder in ("functions", "views") for path in (self.sql / folder).rglob("*.sql"))
        return sorted(str(path.relative_to(self.sql).with_suffix("")) for path in found)

    def revisions(self) -> list[str]:
        """Revisions that have frozen copies, oldest first (ids are four digits, so their order is that of the text)."""
        return sorted(path.name for path in self.frozen.iterdir() if path.is_dir()) if self.frozen.exists() else []

    def newest(self, name: str, before: str | None = None) -> Path | None:
        """The newest frozen copy of a file, optionally of those before a revision; None where there is none."""
        for revision in reversed(self.revisions()):
            path = self.frozen / revision / f"{name}.sql"
            if path.exists() and (before is None or revision < before):
                return path
        return None


MAIN_LINE = FrozenSql()
AMENDMENT = FrozenSql(ROOT / "amendment")


def tree_of(revision: str) -> FrozenSql:
    """The tree of a revision: ids of the amendment begin with an a."""
    return AMENDMENT if revision.startswith("a") else MAIN_LINE


def tables(revision_file: str) -> str:
    """The text beside a revision: its tables, as ``versions/0002_ledger.sql`` has those of ``0002_ledger.py``."""
    return Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")


def lock_views(names: Sequence[str]) -> None:
    """Locks those of the named views that are there, the last first: each comes after the views it reads.

    A query locks a view before what that view reads. Replaced the other way round, the inner ones first, two views and one query
    wait for each other. ALTER VIEW locks the view alone, LOCK TABLE would lock the tables below it too.
    """
    views = [name.removeprefix("views/") for name in reversed(names) if name.startswith("views/")]
    if views:
        execute(f"""
do $lock_views$
declare
    v_view text;
begin
    foreach v_view in array array['{"', '".join(views)}'] loop
        if to_regclass('dot.' || v_view) is not null then
            execute format('alter view dot.%I owner to dot_owner', v_view);
        end if;
    end loop;
end
$lock_views$;
""")


def apply(revision: str, names: Sequence[str]) -> None:
    """Upgrade: applies the frozen copies that a revision keeps, in the given order."""
    lock_views(names)
    for name in names:
        execute((tree_of(revision).frozen / revision / f"{name}.sql").read_text(encoding="utf-8"))


def revert(revision: str, names: Sequence[str]) -> None:
    """Downgrade: applies the copy before each, in the opposite order, and drops by name what had none.

    Before the first copy of the amendment comes that of the main line.
    """
    lock_views(names)
    for name in reversed(names):
        before = tree_of(revision).newest(name, before=revision)
        if before is None and tree_of(revision) is AMENDMENT:
            before = MAIN_LINE.newest(name)
        if before is not None:
            execute(before.read_text(encoding="utf-8"))
        else:
            kind, *_, relation = name.split("/")
            execute(f"drop {'view' if kind == 'views' else 'function'} dot.{relation}")


def drop_tables(tables: Sequence[str], seeded: dict[str, str] | None = None) -> None:
    """Downgrade: drops tables, in the given order, unless one holds a row that the migrations did not seed.

    The refusal is SQL, so a script made with ``--sql`` refuses too. All tables are locked before the first is looked at, and
    the message names every table that holds rows (restrict_violation, 23001, constraint ``downgrade_keeps_rows``).

    Args:
        tables: names in schema ``dot``.
        seeded: for a table with seeds, a query that returns them as they were seeded, all columns that count.
    """
    seeded = seeded or {}
    locks = "\n".join(f"    lock table dot.{table} in access exclusive mode;" for table in tables)
    tests = "\n".join(
        "    if exists ({}) then\n        v_kept := v_kept || 'dot.{}'::text;\n    end if;".format(
            seeded.get(table, f"select from dot.{table}"), table
        )
        for table in tables
    )
    execute(f"""
do $downgrade$
declare
    v_kept text[] := '{{}}';
begin
{locks}
{tests}
    if v_kept <> '{{}}' then
        raise restrict_violation using
            message = 'the downgrade would drop rows of ' || array_to_string(v_kept, ', '),
            hint = 'Evidence is not dropped by a downgrade. Keep the database, or copy what you need and drop it by hand.',
            constraint = 'downgrade_keeps_rows';
    end if;
end
$downgrade$;
""")
    for table in tables:
        execute(f"drop table dot.{table}")
