"""Versioned SQL: a revision applies frozen copies of the files in ``sql/``, never the files themselves.

``sql/`` holds today's text, one object per file, edited in place: that is the line diff a DBA reads. A revision lists the
files it adds or changes in ``APPLIES``; ``make freeze REV=0005`` copies them to ``migrations/frozen/0005/`` and writes their
hashes, and that of the tables beside the revision (``versions/0005_*.sql``), into ``MANIFEST.sha256`` (``cd migrations && sha256sum -c MANIFEST.sha256``). A downgrade applies the copy before.

A file says all of what PUBLIC and the wrapper's roles may do with its object: it revokes everything from each of them, and then
grants. So a grant that is taken out of a file is gone, and one that a revision adds goes with its downgrade.

The optional amendment has the same in ``amendment/``, with revisions a001, a002, ...

    python -m dot_wrapper.deploy.frozen_sql freeze 0005 [--force]
    python -m dot_wrapper.deploy.frozen_sql check
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from alembic import op
from sqlalchemy.schema import DDL

from dot_wrapper.files import ROOT

GRANTEES = frozenset(
    ("public", "dot_owner", "dot_bridge", "dot_writer", "dot_cataloguer", "dot_gatekeeper", "dot_relay", "dot_reader")
)


class FrozenSqlError(Exception):
    """The files, their frozen copies and the manifest do not agree; the message says which and what to do."""


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
        self.sql = root / "sql"
        self.migrations = root / "migrations"
        self.frozen = self.migrations / "frozen"
        self.manifest = self.migrations / "MANIFEST.sha256"

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

    def freeze(self, revision: str, names: Sequence[str], *, force: bool = False) -> None:
        """Keeps a copy of each named file for a revision and records its hash.

        Raises:
            FrozenSqlError: the revision is frozen (and not forced), or a file does not exist or is empty.
        """
        target = self.frozen / revision
        if target.exists() and not force:
            raise FrozenSqlError(
                f"revision {revision} is frozen: change the files in sql/ under a new revision"
                " (before the first release tag, FORCE=1 rewrites it)"
            )
        texts = {name: self._read(name) for name in names}
        for stale in sorted(target.rglob("*.sql")) if target.exists() else ():
            stale.unlink()
        for name, text in texts.items():
            copy = target / f"{name}.sql"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
        own = (f"frozen/{revision}/", f"versions/{revision}_")
        kept = [line for line in self._manifest_lines() if not line.split("  ")[1].startswith(own)]
        added = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}" for name, path in self._kept().items()]
        added = [line for line in added if line.split("  ")[1].startswith(own)]
        self.manifest.write_text(
            "".join(f"{line}\n" for line in sorted(kept + added, key=lambda one: one.split("  ")[1]))
        )

    def problems(self) -> list[str]:
        """What does not agree, one sentence each; empty where all is well (the text guard and the manifest guard)."""
        found = []
        for name in self.sources():
            if (missing := _keeps_rights_of(name, (self.sql / f"{name}.sql").read_text(encoding="utf-8"))) != "":
                found.append(f"sql/{name}.sql does not say `revoke all on ... from {missing};` before it grants")
            copy = self.newest(name)
            if copy is None:
                found.append(f"sql/{name}.sql is in no revision: list it in APPLIES of one and run make freeze")
            elif copy.read_bytes() != (self.sql / f"{name}.sql").read_bytes():
                found.append(f"sql/{name}.sql differs from its newest copy, {copy.relative_to(self.migrations)}")
        listed = {}
        for line in self._manifest_lines():
            digest, _, path = line.partition("  ")
            listed[path] = digest
        present = self._kept()
        for path in sorted(listed.keys() | present.keys()):
            if path not in present:
                found.append(f"{path} is in the manifest and missing")
            elif path not in listed:
                found.append(f"{path} is not in the manifest")
            elif hashlib.sha256(present[path].read_bytes()).hexdigest() != listed[path]:
                found.append(f"{path} was changed after it was frozen")
        return found

    def rewritten(self, released_manifest: str) -> list[str]:
        """Lines of a released manifest that today's no longer has: a released revision has changed its meaning."""
        today = set(self._manifest_lines())
        return [f"released and gone: {line}" for line in released_manifest.splitlines() if line and line not in today]

    def _read(self, name: str) -> bytes:
        path = self.sql / f"{name}.sql"
        if not path.exists():
            raise FrozenSqlError(f"sql/{name}.sql does not exist")
        text = path.read_bytes()
        if not text.strip():
            raise FrozenSqlError(f"sql/{name}.sql is empty")
        return text

    def _kept(self) -> dict[str, Path]:
        """What the manifest is of: the frozen copies, and the tables beside the revisions; by their path in ``migrations/``."""
        found = [*self.frozen.rglob("*"), *(self.migrations / "versions").glob("*.sql")]
        return {str(path.relative_to(self.migrations)): path for path in found if path.is_file()}

    def _manifest_lines(self) -> list[str]:
        return self.manifest.read_text().splitlines() if self.manifest.exists() else []


def _keeps_rights_of(name: str, text: str) -> str:
    """The roles whose rights on a file's object outlive the file, as it has to name them; empty where there are none."""
    kind, *_, relation = name.split("/")
    owner = "dot_bridge" if relation.startswith("fn_host_") else "dot_owner"
    noun = r"function dot\.{}\([^;]*\)" if kind == "functions" else r"dot\.{}"
    before = text.partition("\ngrant execute on ")[0].partition("\ngrant select on ")[0]
    revoked = re.search(rf"^revoke all on {noun.format(relation)}\s+from ([a-z_, ]+);$", before, re.MULTILINE)
    named = set(revoked[1].split(", ")) if revoked else set()
    return ", ".join(sorted(GRANTEES - {owner})) if GRANTEES - {owner} - named or owner in named else ""


AMENDMENT = FrozenSql(ROOT / "amendment")
"""The optional amendment's own tree: its files replace those of the same name."""


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


def apply(revision: str, names: Sequence[str], tree: FrozenSql | None = None) -> None:
    """Upgrade: applies the frozen copies that a revision keeps, in the given order."""
    lock_views(names)
    for name in names:
        execute(((tree or FrozenSql()).frozen / revision / f"{name}.sql").read_text(encoding="utf-8"))


def revert(revision: str, names: Sequence[str]) -> None:
    """Downgrade: applies the copy before each, in the opposite order, and drops by name what had none."""
    lock_views(names)
    for name in reversed(names):
        before = FrozenSql().newest(name, before=revision)
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


def released_manifest(tree: FrozenSql) -> str:
    """The manifest as of the newest release tag (``v*``); empty before its first release or outside a git checkout."""
    tag = subprocess.run(
        ["git", "describe", "--tags", "--match", "v*", "--abbrev=0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not tag:
        return ""
    manifest = f"{tag}:{tree.manifest.relative_to(ROOT)}"
    return subprocess.run(["git", "show", manifest], cwd=ROOT, capture_output=True, text=True, check=False).stdout


def _applies(revision: str) -> tuple[str, ...]:
    """What a revision's module says it applies."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    if not re.fullmatch(r"a?\d+", revision):
        raise FrozenSqlError(f"{revision} is not a revision: four digits, or a and three for the amendment's")
    section = "amendment" if revision.startswith("a") else "alembic"
    try:
        script = ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini"), ini_section=section)).get_revision(
            revision
        )
    except CommandError:
        script = None
    if script is None:
        raise FrozenSqlError(f"there is no revision {revision} in the section {section} of alembic.ini")
    names: tuple[str, ...] = script.module.APPLIES
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: ``freeze REV [--force]`` or ``check``; 1 where something does not agree."""
    parser = argparse.ArgumentParser(
        prog="frozen_sql", description="Freeze the SQL of a revision, or check all copies."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    freeze = commands.add_parser("freeze", help="copy the files that a revision applies")
    freeze.add_argument("revision", type=str, help="for instance 0005, or a003 of the amendment")
    freeze.add_argument("--force", action="store_true", help="rewrite a frozen revision (before the first release tag)")
    commands.add_parser("check", help="compare sql/, the copies and the manifest")
    given = parser.parse_args(arguments)
    try:
        if given.command == "freeze":
            tree = AMENDMENT if given.revision.startswith("a") else FrozenSql()
            released = f"frozen/{given.revision}/" in released_manifest(tree)
            tree.freeze(given.revision, _applies(given.revision), force=given.force and not released)
            return 0
        problems = [
            f"amendment: {problem}" if tree is AMENDMENT else problem
            for tree in (FrozenSql(), AMENDMENT)
            for problem in tree.problems() + tree.rewritten(released_manifest(tree))
        ]
    except FrozenSqlError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
