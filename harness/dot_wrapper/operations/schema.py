"""The revision of a database's schema, and whether the amendment is on. ``dot_wrapper.operations.drift`` compares its objects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import tuple_row

from dot_wrapper.client import database
from dot_wrapper.client.errors import NotInstalled
from dot_wrapper.files import ROOT

Amendment = Literal["off", "not validated", "on"]

FOREIGN: Final = "foreign"
"""Stands for the revision of a database whose schema, or an object in it, belongs to another role: nothing of it is read."""

UNKNOWN: Final = "unknown"
"""Stands for the revision of a database whose login may not read it."""

NOT_READ: Final = (UNKNOWN, FOREIGN)
"""The revision was not read. Definitions can still be compared, from the catalog."""


@dataclass(frozen=True, slots=True)
class State:
    """The revision of a database, and the one that this software needs.

    Attributes:
        software: the revision this software was written for.
        installed: the database's; None without the wrapper, ``UNKNOWN`` if this login may not read it, or ``FOREIGN``.
        amendment: whether the optional amendment is on, or not yet validated.
    """

    software: str
    installed: str | None
    amendment: Amendment = "off"

    @property
    def in_step(self) -> bool:
        """Whether the database is at the revision that this software needs."""
        return self.installed == self.software

    @property
    def advice(self) -> str | None:
        """What to do, in one line with the command; None if nothing."""
        if self.in_step:
            return None
        if self.installed is None:
            return f"The wrapper is not installed in this database. Run `dot-wrapper upgrade` (to revision {self.software})."
        if self.installed == FOREIGN:
            return (
                "Schema dot, or something in it, belongs to another role than dot_owner and dot_bridge: nothing of it was read."
                " `dot-wrapper drift` names it; where it was restored, see docs/howto/moving.md."
            )
        if self.installed == UNKNOWN:
            return "This login may not see the revision: a DBA grants it dot_reader."
        if self.installed not in revisions():
            return (
                f"The database is at revision {self.installed}, which this software ({self.software}) does not know."
                " Use the software that goes with it."
            )
        return f"The database is at revision {self.installed}, this software needs {self.software}. Run `dot-wrapper upgrade`."


def head() -> str:
    """The newest revision that this software has."""
    return revisions()[-1]


@cache
def revisions() -> list[str]:
    """All revisions that this software has, the oldest first. Read from the files, because importing alembic takes half a second."""
    files = sorted((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    return re.findall(
        r"""^revision = ["'](\w+)["']$""", "\n".join(file.read_text(encoding="utf-8") for file in files), re.MULTILINE
    )


def require(connection: psycopg.Connection[Any]) -> None:
    """Checks that the database is at this software's revision, or that the login may not see the revision.

    Raises:
        NotInstalled: it is at another revision, or has no wrapper.
    """
    found = State(head(), _revision(connection))
    if found.installed not in (found.software, UNKNOWN):
        raise NotInstalled("schema version mismatch", hint=found.advice)


def state(connection: psycopg.Connection[Any]) -> State:
    """The state of a database. The catalog is read as the login, the revision as dot_reader or dot_owner."""
    installed = _revision(connection)
    if installed is None:
        return State(head(), installed)
    with database.reading(connection):
        validated = connection.cursor(row_factory=tuple_row).execute(_AMENDMENT).fetchone()
    return State(head(), installed, "off" if validated is None else "on" if validated == (True,) else "not validated")


def path(name: str, amendment: Amendment) -> Path:
    """The file of a function or view: the amendment's, if it is on and has one."""
    files = (path.relative_to(ROOT) for path in (ROOT / "sql").rglob(f"{name}.sql"))
    own = next(files, Path("sql") / f"{name}.sql")  # a foreign object has no file
    amended = ROOT / "amendment" / own
    return amended if amendment != "off" and amended.exists() else ROOT / own


# Whether the optional amendment is on: a row, and whether the rows stored before were validated. Read from the catalog and not from
# v_dot_amendment, because every login may read it, in a database at another revision too.
_AMENDMENT: Final = (
    "select c.convalidated from pg_constraint as c join pg_namespace as n on n.oid = c.connamespace"
    " where n.nspname = 'dot' and c.conname = 'process_run_observation_blocked_check'"
)

# Whether reading the revision could run foreign code: an object of the schema belongs to another role, or the view or the table with
# the revision is not as the wrapper defines it.
_RUNS_FOREIGN_CODE: Final = r"""
with owner (oid) as (select r.oid from pg_roles r where r.rolname in ('dot_owner', 'dot_bridge')),
schema (oid, owner) as (select n.oid, n.nspowner from pg_namespace n where n.nspname = 'dot')
select exists (
    select s.owner from schema s where s.owner not in (select r.oid from pg_roles r where r.rolname = 'dot_owner')
    union all
    select c.relowner from pg_class c join schema s on s.oid = c.relnamespace where c.relowner not in (table owner)
    union all
    select p.proowner from pg_proc p join schema s on s.oid = p.pronamespace where p.proowner not in (table owner)
    union all
    select t.typowner from pg_type t join schema s on s.oid = t.typnamespace where t.typowner not in (table owner)
) or exists (
    select from pg_class c join schema s on s.oid = c.relnamespace
    where c.relname = 'alembic_version' and (
        c.relkind <> 'r' or c.relforcerowsecurity or exists (select from pg_policy p where p.polrelid = c.oid)
    )
) or exists (
    select from pg_class c
    join schema s on s.oid = c.relnamespace
    where c.relname = 'v_dot_schema_revision' and (
        c.relkind <> 'v'
        or pg_get_viewdef(c.oid) !~ '^ SELECT (a[.])?version_num AS revision\s+FROM [(]dot[.]alembic_version a\s+CROSS JOIN [(] VALUES [(]true[)][)] one_row[(]unused[)][)];$'
    )
)
"""

# The login is not a member of the role, or the role or the view does not exist; the view is there since revision 0004.
_CANNOT_SEE: Final = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.UndefinedTable,
)


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    with database.reading(connection):
        # Not to_regclass, which needs rights on the schema.
        installed = connection.cursor(row_factory=tuple_row).execute(
            "select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = 'dot' and c.relname = 'alembic_version'"
        )
        if installed.fetchone() is None:
            return None
        if connection.cursor(row_factory=tuple_row).execute(_RUNS_FOREIGN_CODE).fetchone() == (True,):
            return FOREIGN
    for role, relation in (("dot_reader", "v_dot_schema_revision"), ("dot_owner", "alembic_version")):
        try:
            with database.transaction(connection, role):
                found = connection.cursor(row_factory=tuple_row).execute(f"table dot.{relation}").fetchone()
        except _CANNOT_SEE:
            continue
        return str(found[0]) if found else None
    return UNKNOWN
