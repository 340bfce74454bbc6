"""The schema of a database beside this software's: the revision, and whether the objects are those of ``sql/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import psycopg

from harness import calls, database
from harness.errors import NotInstalled

ROOT: Final = Path(__file__).resolve().parents[1]

Amendment = Literal["off", "not validated", "on"]

UNKNOWN: Final = "unknown"
"""The revision of a database whose login may not look."""

_OBJECTS: Final = """
select p.proname::text, p.prosrc from pg_proc as p
join pg_namespace as n on n.oid = p.pronamespace and n.nspname = 'dot'
union all
select c.relname::text, null from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'dot'
where c.relkind = 'v'
"""

_GUARDS: Final = """
select 'constraint', c.conname::text, c.convalidated from pg_constraint as c
join pg_namespace as n on n.oid = c.connamespace and n.nspname = 'dot'
union all
select 'index', i.relname::text, x.indisvalid and x.indisready from pg_index as x
join pg_class as i on i.oid = x.indexrelid
join pg_namespace as n on n.oid = i.relnamespace and n.nspname = 'dot'
union all
select 'trigger', t.tgname::text, t.tgenabled = 'A' from pg_trigger as t
join pg_class as r on r.oid = t.tgrelid
join pg_namespace as n on n.oid = r.relnamespace and n.nspname = 'dot'
where not t.tgisinternal
union all
select 'constraint', c.conname::text, false from pg_trigger as t
join pg_constraint as c on c.oid = t.tgconstraint
join pg_namespace as n on n.oid = c.connamespace and n.nspname = 'dot'
where t.tgisinternal and t.tgenabled <> 'O'
"""


@dataclass(frozen=True, slots=True)
class State:
    """How a database stands to this software.

    Attributes:
        software: the revision this software was written for.
        installed: the database's; None without the wrapper, ``UNKNOWN`` where this login may not look.
        differing: functions and views that are missing, or functions whose text is another one than in ``sql/``.
        amendment: whether the optional amendment is on, or not yet validated.
    """

    software: str
    installed: str | None
    differing: tuple[str, ...] = ()
    amendment: Amendment = "off"

    @property
    def in_step(self) -> bool:
        """Whether software and schema belong together."""
        return self.installed == self.software and not self.differing

    @property
    def advice(self) -> str | None:
        """What to do about it, in one line with the command; None where nothing is to be done."""
        if self.in_step:
            return None
        if self.installed is None:
            return f"The wrapper is not installed in this database. Run `dot-wrapper upgrade` (to revision {self.software})."
        if self.installed == UNKNOWN:
            return "This login may not see the revision: a DBA grants it dot_reader."
        if self.installed != self.software:
            if self.installed not in revisions():
                return (
                    f"The database is at revision {self.installed}, which this software ({self.software}) does not know."
                    " Use the software that goes with it."
                )
            return (
                f"The database is at revision {self.installed}, this software needs {self.software}."
                " Run `dot-wrapper upgrade`."
            )
        files = " ".join(f"-f {path(name, self.amendment).relative_to(ROOT)}" for name in self.differing)
        return (
            f"{len(self.differing)} of the database's functions and views are not those of this software, though the"
            f" revision is. A DBA who has compared them runs: psql \"$DATABASE_URL\" -c 'set role dot_owner' {files}"
        )


def head() -> str:
    """The newest revision that this software has."""
    return revisions()[-1]


@cache
def revisions() -> list[str]:
    """All revisions that this software has, the oldest first. Alembic knows them too, and takes half a second to say so."""
    files = sorted((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    return re.findall(
        r'^revision = "(\w+)"$', "\n".join(file.read_text(encoding="utf-8") for file in files), re.MULTILINE
    )


def demand(connection: psycopg.Connection[Any]) -> None:
    """Lets a program go on where the database is at this software's revision, or where the login may not see which it is.

    Raises:
        NotInstalled: it is at another one, or has none.
    """
    found = State(head(), _revision(connection))
    if found.installed not in (found.software, UNKNOWN):
        raise NotInstalled("software and database do not belong together", hint=found.advice)


def state(connection: psycopg.Connection[Any]) -> State:
    """Compares a database with this software, by what every login may read and, for the revision, dot_reader or dot_owner."""
    installed = _revision(connection)
    if installed not in (head(), UNKNOWN):
        return State(head(), installed)
    found = dict(connection.execute(_OBJECTS).fetchall())
    validated = connection.execute(calls.AMENDMENT).fetchone()
    amendment: Amendment = "off" if validated is None else "on" if validated == (True,) else "not validated"
    differing = tuple(
        name
        for name in objects()
        if name not in found or ((body := _body(path(name, amendment))) is not None and body != found[name])
    )
    return State(head(), installed, differing, amendment)


@cache
def guards() -> frozenset[tuple[str, str]]:
    """What the tables of this software are guarded by: each constraint, index and trigger, as kind and name."""
    snapshot = (ROOT / "sql" / "schema.snapshot.sql").read_text(encoding="utf-8")
    constraints = set(re.findall(r"^\s+(?:ADD )?CONSTRAINT (\w+) ", snapshot, re.MULTILINE))
    with_index = re.findall(r"^ +ADD CONSTRAINT (\w+) (?:PRIMARY KEY|UNIQUE) ", snapshot, re.MULTILINE)
    indexes = {*with_index, *re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+) ", snapshot, re.MULTILINE)}
    triggers = set(re.findall(r" ENABLE ALWAYS TRIGGER (\w+);$", snapshot, re.MULTILINE))
    kinds = {"constraint": constraints, "index": indexes, "trigger": triggers}
    return frozenset((kind, name) for kind, names in kinds.items() for name in names)


def broken_guards(connection: psycopg.Connection[Any]) -> list[tuple[str, str, bool]]:
    """The guards that the database lacks or does not enforce, as kind, name and whether it is there at all; by what every login
    may read. An index that is not valid enforces nothing, nor does a trigger that is disabled, or enabled for one origin only."""
    found: dict[tuple[str, str], bool] = {}
    for kind, name, enforced in connection.execute(_GUARDS).fetchall():
        found[kind, name] = found.get((kind, name), True) and enforced
    return [(*guard, guard in found) for guard in sorted(guards()) if not found.get(guard, False)]


def objects() -> list[str]:
    """The functions and views of this software, by name."""
    return sorted(one.stem for folder in ("functions", "views") for one in (ROOT / "sql" / folder).glob("*.sql"))


def path(name: str, amendment: Amendment) -> Path:
    """The file of a function or view: the amendment's, where it is on and has one."""
    own = Path("sql") / ("views" if name.startswith("v_") else "functions") / f"{name}.sql"
    amended = ROOT / "amendment" / own
    return amended if amendment != "off" and amended.exists() else ROOT / own


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    # Not to_regclass, which a login without rights on the schema may not ask.
    installed = connection.execute(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = 'dot' and c.relname = 'alembic_version')"
    ).fetchone()
    if installed == (False,):
        return None
    for role, relation in (("dot_reader", "v_dot_schema_revision"), ("dot_owner", "alembic_version")):
        try:
            with database.transaction(connection, role):
                found = connection.execute(f"table dot.{relation}").fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            continue
        return str(found[0]) if found else None
    return UNKNOWN


def _body(file: Path) -> str | None:
    """A function's text as the catalog has it; None for one in SQL's own form, which is kept parsed, and for a view."""
    found = re.search(r"\$function\$(.*?)\$function\$", file.read_text(encoding="utf-8"), re.DOTALL)
    return found and found.group(1)
