"""What of the schema differs between two databases: the rows of ``sql/drift.sql``, put together to objects and to rights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import psycopg

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Key, Rows
from dot_wrapper.operations.drift_cures import parts

Object = tuple[str, str]
"""Kind and identity, in the words of ``sql/drift.sql``."""

GRANTED: Final = "granted to "

_PARTS: Final = ("column", "constraint", "trigger", "rule", "policy", "index")
_RELATIONS: Final = ("table", "view", "materialized view", "foreign table", "type", "sequence")

# Where PostgreSQL prints the text that an object stands on. Its search_path is pinned, so every name of ours in it is qualified.
_READS: Final = ("definition", "source", "default", "generated", "base")
_NAME: Final = re.compile(r'\bdot\.("(?:[^"]|"")+"|\w+)')


@dataclass(frozen=True, slots=True)
class Change:
    """An object that differs; a table with its columns, constraints, indexes and triggers.

    Attributes:
        before, after: its rows as lines, without rights; None where it is not there.
        rights: whether its rights differ.
    """

    kind: str
    identity: str
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None
    rights: bool

    @property
    def name(self) -> str:
        """Its name in the schema, without arguments."""
        return name_of(self.identity)


def read(url: str) -> dict[Key, str]:
    """The rows of a database."""
    with psycopg.connect(url) as connection:
        return drift.rows(connection)


def without_versions(rows: Rows) -> dict[Key, str]:
    """The rows of what revisions install: alembic's own tables are left out."""
    return {key: value for key, value in rows.items() if not key[1].startswith("dot.alembic_version")}


def differing(before: Rows, after: Rows) -> list[Key]:
    """The rows that differ."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def objects(rows: Rows) -> set[Object]:
    """The objects of which there are rows."""
    return {key[:2] for key in rows}


def changes(before: Rows, after: Rows) -> list[Change]:
    """The objects of the schema that differ: the changed ones first, then new ones, then those that are gone."""
    owners_before, owners_after = _owners(before), _owners(after)
    touched: dict[Object, set[Key]] = {}
    for key in differing(before, after):
        touched.setdefault(owners_after.get(key[:2]) or owners_before[key[:2]], set()).add(key)
    found = []
    for (kind, identity), keys in touched.items():
        if kind in drift.AROUND:
            continue
        was, now = (
            _lines(rows, owners, (kind, identity)) for rows, owners in ((before, owners_before), (after, owners_after))
        )
        found.append(Change(kind, identity, was, now, any(is_right(key) for key in keys)))
    return sorted(
        found, key=lambda one: ((one.before is None) + 2 * (one.after is None), _order(one.kind), one.identity)
    )


def is_right(key: Key) -> bool:
    """Whether a row says who may do what."""
    return key[2].startswith(GRANTED) or key[2] in ("owner", "owner lacks")


def users(rows: Rows) -> dict[str, list[str]]:
    """Which objects name an object in their text, by its name. One that names it in a body of PL/pgSQL, which PostgreSQL records
    nowhere, ends in an asterisk."""
    owners = _owners(rows)
    found: dict[str, set[str]] = {}
    for (kind, identity, name), value in rows.items():
        if name in _READS and kind not in drift.AROUND:
            owner = owners[kind, identity]
            by = identity.removeprefix("dot.").partition("(")[0]
            mark = "*" if rows.get((kind, identity, "language")) == "plpgsql" else ""
            for used in set(_NAME.findall(value)) - {name_of(owner[1])}:
                found.setdefault(used, set()).add(by + mark)
    return {used: sorted(by) for used, by in found.items()}


def reads(rows: Rows) -> dict[str, set[str]]:
    """By view the views and tables below it, those that it reads through another one too."""
    direct = {
        name_of(identity): set(_NAME.findall(value))
        for (kind, identity, name), value in rows.items()
        if kind == "view" and name == "definition"
    }

    def below(view: str) -> Iterator[str]:
        for one in direct.get(view, ()):
            yield one
            yield from below(one)

    return {view: set(below(view)) for view in direct}


def name_of(identity: str) -> str:
    """The name of a relation or function: ``fn_x`` of ``dot.fn_x(text)``."""
    return parts(identity.partition("(")[0])[1] if identity.startswith("dot.") else identity


def columns(rows: Rows, relation: str) -> list[str]:
    """The columns of a relation, with their types, in order: ``code dot.code``."""
    names = rows.get((_kind(rows, relation), relation, "columns"), "")
    return [f"{one} {rows.get(('column', f'{relation}.{one}', 'type'), '?')}" for one in names.split(", ") if one]


def _kind(rows: Rows, relation: str) -> str:
    return next((kind for kind in _RELATIONS if (kind, relation, "owner") in rows), "table")


def _owners(rows: Rows) -> dict[Object, Object]:
    """For each object the one that it is shown with."""
    found = {}
    for kind, identity in objects(rows):
        owner = (kind, identity)
        if kind in _PARTS:
            around = _around(kind, identity, rows)
            owner = next(((one, around) for one in _RELATIONS if (one, around, "owner") in rows), owner)
        found[kind, identity] = owner
    return found


def _around(kind: str, identity: str, rows: Rows) -> str:
    if kind == "index":
        definition = rows.get((kind, identity, "definition"), "")
        return definition.partition(" ON ")[2].removeprefix("ONLY ").partition(" USING ")[0]
    return ".".join(parts(identity)[:2])


def _lines(rows: Rows, owners: dict[Object, Object], shown: Object) -> tuple[str, ...] | None:
    """An object as lines: its own properties, then a line for each part of it."""
    mine = [key for key in rows if owners[key[:2]] == shown]
    if not mine:
        return None
    lines: list[str] = []
    for key in sorted(key for key in mine if key[:2] == shown and not is_right(key) and key[2] not in _SAID_ELSEWHERE):
        value = rows[key].strip("\n").splitlines() or [""]
        lines += [f"{key[2]}: {value[0]}"] if len(value) == 1 else [f"{key[2]}:", *value]
    for part in sorted({key[:2] for key in mine} - {shown}):
        said = {key[2]: rows[key] for key in mine if key[:2] == part and not is_right(key)}
        first = [said.pop(name) for name in ("type", "definition") if name in said]
        rest = [f"{name} {value}" for name, value in sorted(said.items()) if value != "true" or name not in _USUAL]
        name = part[1].removeprefix(f"{shown[1]}.").removeprefix("dot.")
        lines.append(" ".join(f"{part[0]} {name}: {', '.join([*first, *rest])}".split()))
    return tuple(lines)


# What other lines of an object say too.
_SAID_ELSEWHERE: Final = ("kind", "checks", "triggers", "persistence", "access method")

# The defaults, which the rows leave out.
_USUAL: Final = ("valid", "validated", "immediate")


def _order(kind: str) -> int:
    order: Iterable[str] = ("schema", "table", "sequence", "type", "index", "view", "function")
    return next((number for number, one in enumerate(order) if one == kind), 9)
