"""Compares the installed schema with this software's: the rows of ``sql/drift.sql`` with those of ``sql/expected``.

A row is kind, identity, property and value, for instance ``function``, ``dot.fn_is_ref(p_value text)``, ``volatility``,
``immutable``. Any login may read them; nothing is changed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import set_json_loads

from dot_wrapper.client import database
from dot_wrapper.client.errors import DotWrapperError, InputError, NotInstalled
from dot_wrapper.deploy.guards import TRUST
from dot_wrapper.files import ROOT
from dot_wrapper.operations import schema
from dot_wrapper.operations.adoption.checking import Adoption
from dot_wrapper.operations.adoption.checking import definitions as adopted
from dot_wrapper.operations.drift_cures import Context, cure, parts, parts_of_grant

Level = Literal["drift", "warn", "info"]
_LEVELS: Final = ("drift", "warn", "info")
Key = tuple[str, str, str]
Rows = Mapping[Key, str]

EXPECTED: Final = ROOT / "sql" / "expected"

OWNERS: Final = ("dot_owner", "dot_bridge")
ROLES: Final = (*OWNERS, "dot_writer", "dot_cataloguer", "dot_gatekeeper", "dot_relay", "dot_reader")

ADOPTED_CODE: Final = "adopted code"
"""The kind of a difference: a login that reads an adopted table runs code of another login."""

# Kinds that belong to the server or the host. A schema that is installed beside the live one has none of them.
AROUND: Final = {
    *("role", "member", "acts as", "predefined role", "setting", "parameter", "event trigger", "publication"),
    *("subscription", "database", "system", "outside", "right outside", "adoption", ADOPTED_CODE),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that differs.

    Attributes:
        kind, identity, property: of what, in the words of ``sql/drift.sql``.
        expected, found: its value; None if it is absent. An object that is absent on one side is one difference, by its most telling
            property.
        level: ``drift`` if a guard of the wrapper differs, ``warn`` if a role could change a guard, ``info`` for what a host or a DBA
            may have for reasons of their own.
        cure: the statement, or the command for a shell, that restores it; None if there is none, and for ``info``.
    """

    kind: str
    identity: str
    property: str
    expected: str | None
    found: str | None
    level: Level
    cure: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}: {self.property}: {self.summary()}"

    def is_cured_in_shell(self) -> bool:
        """Whether the cure is a command for a shell; else it is an SQL statement."""
        return self.cure is not None and self.cure.startswith("psql ")

    def summary(self) -> str:
        """The expected and the found value, from where they begin to differ."""
        expected, found = self.expected, self.found
        if expected and found:
            same = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), len(expected))
            start = max(same - 20, 0) if same > 40 else 0
            expected, found = expected[start:], found[start:]
        return f"expected {_shortened(expected)}, found {_shortened(found)}"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a comparison.

    Attributes:
        against: what the database was compared with.
        rows: the number of rows in the database.
        differences: by level, ``drift`` first.
    """

    against: str
    rows: int
    differences: tuple[Difference, ...]

    def of(self, level: Level) -> list[Difference]:
        """The differences of one level."""
        return [one for one in self.differences if one.level == level]


def examine(connection: psycopg.Connection[Any], expected: Rows | None = None) -> Report:
    """Compares a database with this software, or with other rows.

    Raises:
        NotInstalled: the wrapper is not installed, or is at another revision.
        psycopg.Error: the server went away.
    """
    state = schema.state(connection)
    if state.installed is None or (expected is None and state.installed not in (state.software, *schema.NOT_READ)):
        raise NotInstalled("nothing to compare: schema version mismatch", hint=state.advice)
    context = Context(connection.info.server_version, connection.info.dbname, state.amendment)
    here = rows(connection)
    if expected is not None:
        return Report("the given rows", len(here), compare(expected, here, context))
    adoption = adopted(connection)
    differences = compare(as_adopted(head(context.version, state.amendment), here, adoption), here, context)
    against = f"revision {state.software}"
    if adoption is not None:
        against += f", adopted: {', '.join(adoption.tables)}"
        differences = tuple(sorted((*differences, *_of_adoption(adoption)), key=lambda one: _LEVELS.index(one.level)))
    return Report(against, len(here), differences)


def as_adopted(expected: Rows, found: Rows, adoption: Adoption | None) -> Rows:
    """The expected rows where a host is adopted: the text of its seams, its rights and what lets it pass by row security are what
    adoption makes, and ``_of_adoption`` says what of them is wrong."""
    if adoption is None:
        return expected
    made = {("view", f"dot.{seam}", name) for seam in adoption.seams for name in ("definition", "comment")}
    made.add(("role", "dot_owner", "bypassrls"))
    columns = tuple(f"dot.{seam}." for seam in adoption.seams)
    of_tables = tuple(f"table column {table}." for table in adoption.tables)
    schemas = {f"schema {schema}" for schema in adoption.schemas}
    for key in expected.keys() | found.keys():
        if key[0] == "column" and key[1].startswith(columns) and key[2] == "collation":
            made.add(key)
        if key[0] == "right outside" and key[2] == "dot_owner" and (key[1].startswith(of_tables) or key[1] in schemas):
            made.add(key)
    kept = {key: value for key, value in expected.items() if key not in made}
    return {**kept, **{key: found[key] for key in made if key in found}}


def _of_adoption(adoption: Adoption) -> Iterator[Difference]:
    levels: dict[str, Level] = {"fail": "drift", "warn": "warn"}
    for one in adoption.problems:
        kind = ADOPTED_CODE if one.runs_code else "adoption"
        yield Difference(kind, one.object, one.text, "as adopted", None, levels[one.level], one.repair)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a database has the schema that this software needs.

    Attributes:
        state: the revisions.
        differing: the objects of the schema that drifted, by kind and name; none at another revision. Roles and what is around the
            schema are not among them: ``examine`` compares them.
    """

    state: schema.State
    differing: tuple[str, ...]

    @property
    def in_step(self) -> bool:
        """Whether the database has this software's revision, and no object of the schema drifted."""
        return self.state.in_step and not self.differing

    @property
    def advice(self) -> str | None:
        """What to do, in one line with the command; None if nothing."""
        if self.state.advice or not self.differing:
            return self.state.advice
        named = ", ".join(self.differing[:3]) + (", ..." if len(self.differing) > 3 else "")
        return (
            f"{len(self.differing)} objects of the schema are not this software's, though the revision is:"
            f" {named}. `dot-wrapper drift` says how, and what puts them back."
        )


def standing(connection: psycopg.Connection[Any]) -> Standing:
    """Compares the revision of a database, and its objects if the revision is this software's."""
    state = schema.state(connection)
    if state.installed not in (state.software, *schema.NOT_READ):
        return Standing(state, ())
    drifted = (f"{one.kind} {one.identity}" for one in examine(connection).of("drift") if one.kind not in AROUND)
    return Standing(state, tuple(dict.fromkeys(drifted)))


def beside(connection: psycopg.Connection[Any]) -> Report:
    """Compares a database with this software's schema, installed beside it in one transaction that is rolled back.

    For a DBA who does not trust the files of ``sql/expected``. Roles and what is around the schema are not compared.

    Raises:
        NotInstalled: the wrapper is not installed, or at another revision.
        DotWrapperError: the login may not install it.
    """
    state = schema.state(connection)
    if state.installed not in (state.software, *schema.NOT_READ):
        raise NotInstalled("nothing to compare: schema version mismatch", hint=state.advice)

    context = Context(connection.info.server_version, connection.info.dbname, state.amendment)
    adoption = adopted(connection)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"{database.PIN}; set local lock_timeout = '5s'; select {database.FORMATS}")
            live = rows(connection)
            for text in (TRUST, _MAY_RENAME, "alter schema dot rename to dot_live_beside_head", "reset role"):
                connection.execute(text.encode())
            connection.execute(_script(state.amendment))
            installed = rows(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DotWrapperError(
            f"this login may not install the schema: {error.diag.message_primary}",
            hint="Use a login that may upgrade, or `dot-wrapper drift`, which any login may run.",
        ) from error
    here, there = (
        {key: one[key] for key in one if key[0] not in AROUND} for one in (live, as_adopted(installed, live, adoption))
    )
    return Report(f"head installed beside it, revision {state.software}", len(here), compare(there, here, context))


# As the installer does; rolled back. Renaming a schema needs CREATE on the database.
_MAY_RENAME: Final = """
do $rename$
begin
    if not pg_has_role(current_user, 'dot_owner', 'member') then
        execute format('grant dot_owner to %I', current_user);
    end if;
    if not has_database_privilege('dot_owner', current_database(), 'create') then
        execute format('grant create on database %I to dot_owner', current_database());
    end if;
    set local role dot_owner;
end
$rename$;
"""


def _script(amendment: schema.Amendment) -> bytes:
    """The output of `alembic upgrade --sql`, without its transactions."""
    # Imported here, because importing alembic takes half a second.
    from alembic import command
    from alembic.config import Config

    printed = io.StringIO()
    sections = [("alembic", "head")]
    if amendment != "off":
        sections.append(("amendment", "head" if amendment == "on" else "a001"))
    for section, revision in sections:
        config = Config(str(ROOT / "alembic.ini"), ini_section=section, output_buffer=printed)
        command.upgrade(config, revision, sql=True)
    return re.sub(r"^(?:BEGIN|COMMIT);$", "", printed.getvalue(), flags=re.MULTILINE).encode()


def rows(connection: psycopg.Connection[Any]) -> dict[Key, str]:
    """The rows of a database, read in the open transaction or in one of their own."""
    with database.reading(connection), connection.cursor(row_factory=tuple_row) as cursor:
        # A role's name may be in the encoding of another database of the server.
        set_json_loads(
            lambda data: json.loads(data if isinstance(data, str) else data.decode(errors="replace")), cursor
        )
        cursor.execute(_query())
        while cursor.nextset():
            pass
        return _keyed(row for (row,) in cursor.fetchall())


def head(version: int, amendment: schema.Amendment) -> dict[Key, str]:
    """The rows of this software's schema on a server of some version, for instance 150018."""
    files = ["head"]
    if version < 160000:
        files.append("head_15")
    if amendment != "off":
        files.append("amended")
        if version < 160000:
            files.append("amended_15")
    if amendment == "not validated":
        files.append("not_validated")
    found: dict[Key, str] = {}
    for file in files:
        for key, value in _file(file):
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
    return found


def parse(text: str) -> dict[Key, str]:
    """Rows from the lines that ``sql/drift.sql`` and ``dot-wrapper drift --rows`` print.

    Raises:
        InputError: a line is not a row.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row = json.loads(line) if line else None
        except ValueError as error:
            raise InputError(f"line {number} is no row of sql/drift.sql: {error}") from error
        except RecursionError as error:
            raise InputError(f"line {number} is no row of sql/drift.sql: it is nested too deeply") from error
        if row is None:
            continue
        if not (isinstance(row, list) and len(row) == 4 and all(isinstance(part, str) for part in row)):
            raise InputError(f"line {number} is no row of sql/drift.sql: four texts in an array")
        found.append(row)
    return _keyed(found)


def line(key: Key, value: str | None) -> str:
    """A row as a line of JSON; characters that a terminal would execute are written as escapes of JSON."""
    text = json.dumps([*key, value], ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def compare(expected: Rows, found: Rows, context: Context) -> tuple[Difference, ...]:
    """The differences between two sets of rows, by level, kind and name."""
    extra = {key[:2] for key in found} - {key[:2] for key in expected}
    gone = {key[:2] for key in expected} - {key[:2] for key in found}
    # What a host may have stays, even when every cure is run.
    kept = {key: value for key, value in found.items() if key not in expected and level(key, value) == "info"}
    differences: list[Difference] = []
    reported: set[tuple[str, str]] = set()
    for key in sorted(expected.keys() | found.keys(), key=lambda key: (*key[:2], _telling(key[2]), key[2])):
        before, after = expected.get(key), found.get(key)
        apart, rows_of_it = (extra, found) if before is None else (gone, expected)
        if before == after or key[:2] in reported or _within(key, rows_of_it) & apart:
            continue
        whole = key[0] in OBJECTS and key[2] in _TELLING and key[:2] in apart
        if whole:
            reported.add(key[:2])
        how_bad = level(key, after)
        back = None if how_bad == "info" else cure(key, before, after, expected, found, context, whole=whole, kept=kept)
        differences.append(Difference(*key, before, after, how_bad, back))
    # Owners are restored first: the owner runs the other statements.
    return tuple(
        sorted(differences, key=lambda one: (_LEVELS.index(one.level), one.kind, one.identity, one.property != "owner"))
    )


_OF_LOGINS: Final = ("login", "inherit", "connection limit", "valid until")


def level(key: Key, found: str | None) -> Level:
    """The level of a difference."""
    kind, identity, name = key
    match kind:
        case "event trigger" | "publication":
            return "info"
        case "outside":
            return "drift" if identity.startswith(("cast ", "transform ")) else "info"
        case "other":
            return "info" if identity.startswith("statistics object ") else "drift"
        case "right outside":  # the bridge may read tables of the host; the owner of the ledger needs none
            return "warn" if name == "dot_owner" else "info"
        case "subscription":
            return "warn"
        case "member":
            return _level_of_member(identity, name, found)
        case "acts as" if identity not in OWNERS:
            return "info"  # as their members are
        case "acts as":
            return "drift" if found and found.startswith("through ") else "warn"  # found is a list of names
        case "predefined role":
            return "warn" if identity in ("pg_write_all_data", "pg_maintain") or "server" in identity else "info"
        case "setting":
            if name.startswith(
                ("session_replication_role ", "allow_system_table_mods ", "role ", "session_authorization ")
            ):
                return "drift"
            return "warn" if identity in ROLES or "preload" in name or name.startswith("search_path ") else "info"
        case "default rights" if identity.removesuffix(" in schema dot") not in OWNERS:
            return "info"  # of objects of another role, which creates none in the schema
        case "parameter":
            return "drift" if identity in ("session_replication_role", "allow_system_table_mods") else "info"
        case "database":
            return "warn" if found and "CREATE" in found and name != "granted to dot_owner" else "info"
        case "role" if identity not in OWNERS and found is not None and name in _OF_LOGINS:
            return "warn"
        case "table" | "materialized view" if name.startswith("option "):
            return "info"
    if name in ("statistics", "tablespace", "clustered", "storage", "compression", "options", "replica identity"):
        return "info"
    return "warn" if name == "comment" else "drift"


def _level_of_member(role: str, member: str, found: str | None) -> Level:
    if found is None:
        return "drift"  # the owner no longer reaches the bridge
    member = parts_of_grant(member)[0]
    if role in OWNERS:
        return "drift" if {"inherit", "set"} & set(found.split(", ")) else "warn"
    if member in OWNERS or (member in ROLES and (role in ROLES or role.startswith("pg_"))):
        return "drift"
    return "warn" if member in ROLES or "admin" in found else "info"


# Kinds of objects that are one difference when they are missing or additional.
OBJECTS: Final = (
    *("table", "view", "materialized view", "foreign table", "sequence", "function", "type", "column", "constraint"),
    *("index", "trigger", "rule", "role"),
)
_TELLING: Final = ("definition", "signature", "type", "kind", "login")


def _telling(name: str) -> int:
    return _TELLING.index(name) if name in _TELLING else len(_TELLING)


def _within(key: Key, rows_of_it: Rows) -> set[tuple[str, str]]:
    """The objects that a row's object is a part of: it is created and dropped with them."""
    kind, identity, _ = key
    match kind:
        case "column" | "constraint" | "trigger" | "rule" | "policy":
            around = ".".join(parts(identity)[:2])
        case "index":
            definition = rows_of_it.get((kind, identity, "definition"), "")
            around = definition.partition(" ON ")[2].removeprefix("ONLY ").partition(" USING ")[0]
            made_by = {("constraint", f"{around}.{parts(identity)[1]}")}
            return made_by | {(one, around) for one in ("table", "materialized view")}
        case "sequence":
            owner = rows_of_it.get((kind, identity, "owned by"))
            around = ".".join(parts(owner)[:2]) if owner else ""
        case _:
            return set()
    return {(one, around) for one in ("table", "view", "materialized view", "foreign table", "type")}


def _keyed(found: Iterable[list[str]]) -> dict[Key, str]:
    keyed: dict[Key, str] = {}
    for kind, identity, name, value in found:
        key = (kind, identity, name)
        keyed[key] = f"{keyed[key]} | {value}" if key in keyed else value
    return keyed


@cache
def _query() -> bytes:
    """The script without its transaction. Its first statement pins the search_path."""
    script = (ROOT / "sql" / "drift.sql").read_text(encoding="utf-8")
    _, _, rest = script.partition("\nbegin transaction read only;\n")
    return rest.rpartition("\ncommit;\n")[0].encode()


def _file(name: str) -> Iterator[tuple[Key, str | None]]:
    with (EXPECTED / f"{name}.jsonl").open(encoding="utf-8") as file:
        for text in file:
            kind, identity, name, value = json.loads(text)
            yield (kind, identity, name), value


def _shortened(value: str | None, width: int = 100) -> str:
    if value is None:
        return "nothing"
    text = " ".join(value.split())
    return f"'{text}'" if len(text) <= width else f"'{text[:width]}...'"
