"""The statement that restores a property, made from its row. Names in rows are quoted as in SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from dot_wrapper.files import ROOT
from dot_wrapper.operations import schema

Rows = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Context:
    """The database in which a statement will run.

    Attributes:
        version: the server's, for instance 150018.
        database: its name.
        amendment: which files of ``sql/`` are installed.
    """

    version: int
    database: str
    amendment: schema.Amendment = "off"


def parts(identity: str) -> list[str]:
    """The names of a qualified name, each still quoted: ``dot."a.b".c`` is three."""
    return re.findall(r'"(?:[^"]|"")*"|[^.(]+', identity)


def parts_of_grant(name: str) -> tuple[str, str | None]:
    """Member and grantor of a membership, each still quoted; the grantor is None if the row has none."""
    found = re.fullmatch(r'("(?:[^"]|"")*"|[^"\s]+)(?: granted by ("(?:[^"]|"")*"|[^"\s]+))?', name)
    return (found[1], found[2]) if found else (name, None)


def _listed(names: str) -> list[str]:
    """The names of a list, each still quoted: a quoted name may have a comma."""
    return [one.strip() for one in re.findall(r'(?:"(?:[^"]|"")*"|[^",])+', names)]


def cure(
    key: tuple[str, str, str],
    expected: str | None,
    found: str | None,
    all_expected: Rows,
    all_found: Rows,
    context: Context,
    *,
    whole: bool,
    kept: Rows,
) -> str | None:
    """The statement, or the command for a shell, that restores a property; None if there is none.

    Args:
        whole: the object itself is missing or additional, and this row stands for it.
        kept: additional rows that a host may have, and that the statement must not remove.
    """
    kind, identity, name = key
    made = _Cure(kind, identity, name, expected, found, all_expected, all_found, context, kept)
    if whole and found is not None:
        return made.dropped()
    if whole:
        return made.made()
    return made.of_any_object() or made.of_its_kind()


# The names of kinds in GRANT and COMMENT, where they differ from those in rows.
_NOUN: Final = {"view": "table", "materialized view": "table", "foreign table": "table", "function": "routine"}

_SWITCH: Final = {"login", "superuser", "createrole", "createdb", "inherit", "replication", "bypassrls"}

_FIRING: Final = {"always": "enable always", "origin": "enable", "replica": "enable replica", "disabled": "disable"}


@dataclass(frozen=True, slots=True)
class _Cure:
    kind: str
    identity: str
    name: str
    expected: str | None
    found: str | None
    all_expected: Rows
    all_found: Rows
    context: Context
    kept: Rows

    # An object that is missing or additional

    def dropped(self) -> str | None:
        match self.kind:
            case "column":
                return f"alter table {self._around} drop column {self._own};"
            case "constraint" if (self.found or "").startswith("NOT NULL "):
                return f"alter table {self._around} validate constraint {self._own};"
            case "constraint":
                return f"alter {self._bound} {self._around} drop constraint {self._own};"
            case "trigger" | "rule":
                return f"drop {self.kind} {self._own} on {self._around};"
            case "role":
                return None
        return f"drop {_NOUN.get(self.kind, self.kind) if self.kind == 'function' else self.kind} {self.identity};"

    def made(self) -> str | None:
        match self.kind:
            case "function" | "view":
                return self._file()
            case "role":
                return 'psql "$DATABASE_URL" -Xv ON_ERROR_STOP=1 -f sql/roles.sql'
            case "constraint":
                return f"alter {self._bound} {self._around} add constraint {self._own} {self.expected};"
            case "index":
                return f"{self.expected};"
            case "trigger":
                return self._trigger()
        return None

    # Properties that objects of any kind have

    def of_any_object(self) -> str | None:
        noun = _NOUN.get(self.kind, self.kind)
        if self.name == "owner" and self.expected:
            return self._owned()
        if self.name == "comment":
            comment = sql.Literal(self.expected).as_string() if self.expected is not None else "null"
            return f"comment on {self._described} is {comment};"
        if self.name.startswith("security label of "):
            provider = self.name.removeprefix("security label of ")
            return f"security label for {provider} on {self._described} is null;"
        if self.name.startswith("extension "):
            extension = self.name.removeprefix("extension ")
            if self.found == "member":
                return f"alter extension {extension} drop {self._described};"
            return f"alter {self._described} no depends on extension {extension};"
        if self.kind in ("database", "parameter", "system") or self.kind == "default rights":
            return None
        if self.name.startswith("granted to "):
            return self._granted(noun, self.name.removeprefix("granted to "))
        if self.name == "owner lacks" and self.found:
            owner = self.all_found.get((self.kind, self.identity, "owner"), "dot_owner")
            return f"grant {self.found} on {noun} {self.identity} to {owner};"
        return None

    def _owned(self) -> str:
        kind, identity = ("routine" if self.kind == "function" else self.kind), self.identity
        if table := self.all_found.get(
            (self.kind, self.identity, "owned by")
        ):  # a column's sequence is handed over with its table
            kind, identity = "table", ".".join(parts(table)[:2])
        return f"alter {kind} {identity} owner to {self.expected};"

    def _granted(self, noun: str, grantee: str) -> str:
        columns, target = "", f"{noun} {self.identity}"
        if self.kind == "column":
            columns, target = f" ({self._own})", f"table {self._around}"
        statements = []
        if self.found is not None:
            statements.append(f"revoke all{columns} on {target} from {grantee} cascade;")
        if self.expected is not None:
            granted = ", ".join(f"{one}{columns}" for one in self.expected.split(", "))
            statements.append(f"grant {granted} on {target} to {grantee};")
        return " ".join(statements)

    # Properties by kind

    def of_its_kind(self) -> str | None:
        match self.kind:
            case "table" | "materialized view" | "foreign table":
                return self._table()
            case "view":
                return self._option() if self.name.startswith("option ") else self._file()
            case "sequence":
                return self._sequence()
            case "column":
                return self._column()
            case "constraint":
                return self._constraint()
            case "index":
                return self._index()
            case "trigger":
                return self._trigger()
            case "rule":
                return (
                    f"alter table {self._around} {_FIRING['origin']} rule {self._own};"
                    if self.expected is None
                    else None
                )
            case "policy":
                return self._policy()
            case "function":
                return self._file()
            case "type":
                return self._type()
            case "other" | "outside" | "system":
                return self._strange()
            case "role":
                return self._role()
            case "member" | "predefined role":
                return self._member()
            case "setting":
                return self._setting()
            case "parameter":
                return f"revoke all on parameter {self.identity} from {self.name.removeprefix('granted to ')} cascade;"
            case "default rights":
                return self._default_rights()
        return None

    def _policy(self) -> str:
        policy = f"policy {self._own} on {self._around}"
        statements = [] if self.found is None else [f"drop {policy};"]
        if self.expected is not None:
            mode, verb, to_whom = self.expected.split(" ", 2)
            statements.append(f"create {policy} as {mode} for {verb} {to_whom};")
        return " ".join(statements)

    def _table(self) -> str | None:
        table = f"alter {self.kind} {self.identity}"
        match self.name:
            case "persistence":
                return f"{table} set {self.expected};"
            case "row security":
                return f"{table} {'enable' if self.expected else 'disable'} row level security;"
            case "row security forced":
                return f"{table} {'force' if self.expected else 'no force'} row level security;"
            case "replica identity" if self.expected is None:
                return f"{table} replica identity default;"
            case "access method" if self.expected:
                return f"{table} set access method {self.expected};"
            case "tablespace" if self.expected is None:
                return f"{table} set tablespace pg_default;"
            case "children" if self.expected is None and self.found:
                return " ".join(f"alter table {one} no inherit {self.identity};" for one in _listed(self.found))
            case "parents" if self.expected is None and self.found:
                return " ".join(f"{table} no inherit {one};" for one in _listed(self.found))
            case "of type":
                return f"{table} not of;"
        return self._option() if self.name.startswith("option ") else None

    def _option(self) -> str:
        option = self.name.removeprefix("option ")
        if self.expected is None:
            return f"alter {self.kind} {self.identity} reset ({option});"
        return f"alter {self.kind} {self.identity} set ({option} = {sql.Literal(self.expected).as_string()});"

    def _sequence(self) -> str | None:
        match self.name:
            case "parameters":
                return f"alter sequence {self.identity} {self.expected};"
            case "persistence":
                return f"alter sequence {self.identity} set {self.expected};"
        return None

    def _column(self) -> str | None:
        column = f"alter table {self._around} alter column {self._own}"
        match self.name:
            case "not null":
                return f"{column} {'set' if self.expected else 'drop'} not null;"
            case "default":
                return f"{column} set default {self.expected};" if self.expected else f"{column} drop default;"
            case "identity" if self.expected is None:
                return f"{column} drop identity;"
            case "identity" if self.found is None:
                return f"{column} add generated {self.expected} as identity;"
            case "identity":
                return f"{column} set generated {self.expected};"
            case "type" | "collation":
                own = {one: self.all_expected.get(("column", self.identity, one)) for one in ("type", "collation")}
                collation = f" collate {own['collation']}" if own["collation"] else ""
                return f"{column} type {own['type']}{collation};"
            case "storage":
                default = "default" if self.context.version >= 160000 else "extended"
                return f"{column} set storage {self.expected or default};"
            case "compression":
                return f"{column} set compression {self.expected or 'default'};"
            case "statistics":
                return f"{column} set statistics {self.expected or -1};"
            case "options" if self.found:
                return f"{column} reset ({', '.join(one.partition('=')[0] for one in self.found.split(', '))});"
        return None

    def _constraint(self) -> str:
        table = f"alter {self._bound} {self._around}"
        definition = self.all_expected.get(("constraint", self.identity, "definition"), "")
        if self.all_found.get(("constraint", self.identity, "definition")) in (
            definition,
            f"{definition} NOT VALID",
        ) and (self.name in ("definition", "validated")):
            return f"{table} validate constraint {self._own};"
        if self._bound == "domain":  # which takes one action at a time
            return f"{table} drop constraint {self._own}; {table} add constraint {self._own} {definition};"
        return f"{table} drop constraint {self._own}, add constraint {self._own} {definition};"

    def _index(self) -> str | None:
        definition = self.all_expected.get(("index", self.identity, "definition"))
        match self.name:
            case "valid":
                return f"reindex index {self.identity};"
            case "clustered" if self.found:
                return f"alter table {self.found} set without cluster;"
            case "tablespace":
                return f"alter index {self.identity} set tablespace pg_default;"
            case "definition" | "immediate":
                return f"drop index {self.identity}; {definition};"
        return None

    def _trigger(self) -> str | None:
        definition = self.all_expected.get(("trigger", self.identity, "definition"))
        enabled = self.all_expected.get(("trigger", self.identity, "enabled"))
        if definition is None or enabled is None:
            return None
        enable = f"alter table {self._around} {_FIRING[enabled]} trigger {self._own};"
        if self.name == "enabled":
            return enable
        drop = f"drop trigger {self._own} on {self._around}; " if self.found is not None else ""
        return f"{drop}{definition}; {enable}"

    def _file(self) -> str | None:
        name = parts(self.identity)[1]
        file = schema.path(name, self.context.amendment)
        if not file.exists():
            return None
        # Pinned, because PostgreSQL looks up the names in a function's body when it is created, and would find foreign functions.
        return (
            "psql \"$DATABASE_URL\" -Xv ON_ERROR_STOP=1 -c 'set search_path = pg_catalog, pg_temp' -c 'set role dot_owner'"
            f" -f {file.relative_to(ROOT)}"
        )

    def _type(self) -> str | None:
        match self.name:
            case "default":
                return f"alter domain {self.identity} " + (
                    f"set default {self.expected};" if self.expected else "drop default;"
                )
            case "not null":
                return f"alter domain {self.identity} {'set' if self.expected else 'drop'} not null;"
        return None

    def _strange(self) -> str | None:
        if self.name.startswith("granted to "):
            grantee = self.name.removeprefix("granted to ")
            return f"revoke {(self.found or '').lower()} on {self.identity} from {grantee} cascade;"
        if self.expected is not None or (
            self.kind == "outside" and not self.identity.startswith(("cast ", "transform "))
        ):
            return None
        named = self.identity.replace("statistics object ", "statistics ", 1)
        if named.startswith("transform "):
            named = named.replace(" on language ", " language ")
        return f"drop {named};"

    def _role(self) -> str | None:
        if self.name in _SWITCH and self.expected:
            return f"alter role {self.identity} {'' if self.expected == 'true' else 'no'}{self.name};"
        match self.name:
            case "connection limit":
                return f"alter role {self.identity} connection limit -1;"
            case "valid until":
                return f"alter role {self.identity} valid until 'infinity';"
        return None

    def _member(self) -> str | None:
        if self.expected is not None:
            return self._made_member(self.name, self.expected)
        member, grantor = parts_of_grant(self.name)
        if self.context.version < 160000:  # where memberships that the member granted stay
            return f"revoke {self.identity} from {member};"
        # The rows have all members of the wrapper's roles and of the predefined ones, so the memberships that CASCADE revokes are known.
        # Members of other roles are not in them.
        if self.kind == "member" and ("role", self.identity, "login") not in self.all_found:
            by = f" granted by {grantor}" if grantor else ""
            return f"revoke {self.identity} from {member}{by};"
        member, grantor = parts_of_grant(self._stands_on())
        by = f" granted by {grantor}" if grantor else ""
        kept = [self._made_member(name, options) for name, options in self._made_by(member).items()]
        return " ".join([*kept, f"revoke {self.identity} from {member}{by} cascade;"])

    def _made_member(self, name: str, options: str) -> str:
        """Grants the membership of a row, as the superuser that runs the statement."""
        member = parts_of_grant(name)[0]
        if self.context.version < 160000:
            return f"grant {self.identity} to {member};"
        inherits, sets = (str(one in options.split(", ")).lower() for one in ("inherit", "set"))
        return f"grant {self.identity} to {member} with inherit {inherits}, set {sets};"

    def _stands_on(self) -> str:
        """The row of the first grant in the chain that led to this one: revoking it revokes the chain."""
        name, seen = self.name, set[str]()
        while name not in seen:
            seen.add(name)
            grantor = parts_of_grant(name)[1]
            name = next((other for other in self._members() if parts_of_grant(other)[0] == grantor), name)
        return name

    def _made_by(self, grantor: str) -> dict[str, str]:
        """The rows to keep, of the memberships that a member granted, directly or through others."""
        grantors, found = [grantor], dict[str, str]()
        for one in grantors:
            made = {
                name: options
                for name, options in self._members().items()
                if parts_of_grant(name)[1] == one and name not in found
            }
            found |= made
            grantors += [parts_of_grant(name)[0] for name in made]
        return {name: options for name, options in found.items() if (self.kind, self.identity, name) in self.kept}

    def _members(self) -> dict[str, str]:
        """The rows of the same role's members."""
        here = (self.kind, self.identity)
        return {name: value for (kind, role, name), value in self.all_found.items() if (kind, role) == here}

    def _setting(self) -> str:
        name, _, place = self.name.partition(" in ")
        database = sql.Identifier(self.context.database).as_string()
        here = place == "this database"
        if self.identity == "all roles":
            return f"alter {f'database {database}' if here else 'role all'} reset {name};"
        return f"alter role {self.identity}{f' in database {database}' if here else ''} reset {name};"

    def _default_rights(self) -> str | None:
        role, _, place = self.identity.partition(" in schema ")
        objects, _, grantee = self.name.partition(" to ")
        where = f"alter default privileges for role {role}" + (f" in schema {place}" if place else "")
        if self.expected is None:
            return f"{where} revoke all on {objects} from {grantee};" if grantee != role else None
        return f"{where} revoke execute on functions from public;"

    # The object's own name, and the name of the object that it is a part of

    @property
    def _own(self) -> str:
        return parts(self.identity)[2]

    @property
    def _around(self) -> str:
        return ".".join(parts(self.identity)[:2])

    @property
    def _bound(self) -> str:
        """The kind of object that has a constraint."""
        both = (self.all_expected, self.all_found)
        return "domain" if any(("type", self._around, "kind") in one for one in both) else "table"

    @property
    def _described(self) -> str:
        match self.kind:
            case "trigger" | "rule" | "policy":
                return f"{self.kind} {self._own} on {self._around}"
            case "constraint":
                return f"constraint {self._own} on {'domain ' if self._bound == 'domain' else ''}{self._around}"
            case "function":
                return f"routine {self.identity}"
        return f"{self.kind} {self.identity}"
