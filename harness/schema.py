"""The schema of a database beside this software's: the revision, and whether the objects are those of ``sql/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from harness import database

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

ROOT: Final = Path(__file__).resolve().parents[1]

_OBJECTS: Final = """
select p.proname::text, p.prosrc from pg_proc as p
where p.pronamespace = to_regnamespace('dot')
union all
select c.relname::text, null from pg_class as c
where c.relnamespace = to_regnamespace('dot') and c.relkind = 'v'
"""


@dataclass(frozen=True, slots=True)
class State:
    """How a database stands to this software.

    Attributes:
        software: the revision this software was written for.
        installed: the database's; None without the wrapper, ``unknown`` where this login may not look.
        differing: functions and views that are missing, or functions whose text is another one than in ``sql/``.
    """

    software: str
    installed: str | None
    differing: tuple[str, ...] = ()

    @property
    def in_step(self) -> bool:
        """Whether software and schema belong together."""
        return self.installed in (self.software, "unknown") and not self.differing

    @property
    def advice(self) -> str | None:
        """What to do about it, in one line with the command; None where nothing is to be done."""
        if self.in_step:
            return None
        if self.installed is None:
            return f"The wrapper is not installed in this database. Run `dot-wrapper upgrade` (to revision {self.software})."
        if self.installed not in (self.software, "unknown"):
            if self.installed not in revisions():
                return (
                    f"The database is at revision {self.installed}, which this software ({self.software}) does not know."
                    " Use the software that goes with it."
                )
            return (
                f"The database is at revision {self.installed}, this software needs {self.software}."
                " Run `dot-wrapper upgrade`."
            )
        files = " ".join(f"-f {path(name).relative_to(ROOT)}" for name in self.differing)
        return (
            f"{len(self.differing)} of the database's functions and views are not those of this software, though the"
            f" revision is. A DBA who has compared them runs: psql \"$DATABASE_URL\" -c 'set role dot_owner' {files}"
        )


def head() -> str:
    """The newest revision that this software has."""
    found = _script().get_current_head()
    assert found is not None, "migrations/versions is empty"  # noqa: S101  a checkout without it is broken
    return found


def revisions() -> set[str]:
    """All revisions that this software has."""
    return {one.revision for one in _script().walk_revisions()}


def state(connection: psycopg.Connection[Any]) -> State:
    """Compares a database with this software, by what every login may read and, for the revision, dot_reader or dot_owner."""
    installed = _revision(connection)
    if installed != head():
        return State(head(), installed)
    found = dict(connection.execute(_OBJECTS).fetchall())
    differing = tuple(
        name
        for name in objects()
        if name not in found or ((body := _body(path(name))) is not None and body != found[name])
    )
    return State(head(), installed, differing)


def objects() -> list[str]:
    """The functions and views of this software, by name."""
    return sorted(one.stem for folder in ("functions", "views") for one in (ROOT / "sql" / folder).glob("*.sql"))


def path(name: str) -> Path:
    """The file of a function or view."""
    return ROOT / "sql" / ("views" if name.startswith("v_") else "functions") / f"{name}.sql"


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    installed = connection.execute("select to_regclass('dot.alembic_version') is not null").fetchone()
    if installed == (False,):
        return None
    for role, relation in (("dot_reader", "v_dot_schema_revision"), ("dot_owner", "alembic_version")):
        try:
            with database.transaction(connection, role):
                found = connection.execute(f"table dot.{relation}").fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            continue
        return str(found[0]) if found else None
    return "unknown"


def _body(file: Path) -> str | None:
    """A function's text as the catalog has it; None for one in SQL's own form, which is kept parsed, and for a view."""
    found = re.search(r"\$function\$(.*?)\$function\$", file.read_text(encoding="utf-8"), re.DOTALL)
    return found and found.group(1)


def _script() -> ScriptDirectory:
    # Imported late: Alembic and SQLAlchemy are half of what a command takes to start, and few commands need them.
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini")))
