"""Looks at a host's schema, object by object: what the wrapper would read, what is missing for it, and a first mapping.

Nothing is written, and no code of the host's is run: rows are read of plain tables alone, see ``host.rows_of``. Views, functions and
policies are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dot_wrapper.client.database import reading
from dot_wrapper.operations.adoption.host import KINDS, Column, Table, rows_of, tables
from dot_wrapper.operations.adoption.mapping import (
    GATES,
    MASTER,
    OPTIONAL,
    Condition,
    Mapping,
    MappingError,
    Value,
    as_written,
    ledgers,
    sources,
)
from dot_wrapper.operations.adoption.scripts import grant
from dot_wrapper.operations.adoption.seams import condition, condition_of, ledger_query, queries, text_of

Word = Literal["fits", "mapped", "decide", "missing", "grant", "own", "superseded", "figures"]

# Names that a column may have, the wrapper's own first.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "code": ("code", "dot_code", "tool_code", "dot"),
    "category": ("category", "dot_category", "domain", "family"),
    "execution_engine": ("execution_engine", "engine", "executor", "run_by"),
    "script_path": ("script_path", "script"),
    "file_path": ("file_path", "file"),
    "trigger_type": ("trigger_type", "trigger_kind", "trigger", "started_by"),
    "usage_count": ("usage_count", "use_count", "exec_count", "run_count", "execution_count", "times_used"),
    "last_executed": ("last_executed", "last_executed_at", "last_run_at", "last_run", "last_execution"),
    "key": ("key", "config_key", "setting_key", "setting", "name"),
    "value": ("value", "config_value", "setting_value"),
    "run_status": ("run_status", "outcome", "status", "result"),
    "run_mode": ("run_mode", "mode"),
    "is_dry": ("dry_run", "is_dry_run", "dry"),
    "lease_key": ("lease_key", "resource", "key"),
}
_NAME_IT: Final = "name it with --table"
_REFUSED: Final = ("refused", "rejected", "denied", "blocked")
_LEDGERS: Final = ("dot_iu_command_run", "job_queue")
_OWN: Final = {
    "dot_iu_runtime_lease": "its tokens must only grow, and the host's leases have none",
    "dot_iu_command_catalog": "it has the wrapper's own commands",
    "event_type": "it has the wrapper's own events",
    "event_outbox": "its position is the transaction's id, which the host's has not",
}
_CODE: Final = "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"  # what dot.fn_is_code takes, and at most 200 bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found.

    Attributes:
        word: fits and mapped are read as they are or under another name; decide is for a person; missing has to be done first, by
            ``statement``; grant is in adopt.sql, or a right that this login lacks; own stays the wrapper's; superseded is
            not read.
    """

    object: str
    word: Word
    text: str
    statement: str | None = None


@dataclass(slots=True)
class Inspection:
    """What was found, and the first mapping; None where nothing can be adopted."""

    findings: list[Finding] = field(default_factory=list)
    mapping: Mapping | None = None

    def of(self, word: Word) -> list[Finding]:
        """The findings of one word."""
        return [one for one in self.findings if one.word == word]


@dataclass(slots=True)
class _Host:
    """The schema that is looked at; its tables by the names that the wrapper knows them by."""

    connection: psycopg.Connection[Any]
    schema: str
    tables: dict[str, Table]
    found: list[Finding] = field(default_factory=list)

    def say(self, name: str, word: Word, text: str, statement: str | None = None) -> None:
        self.found.append(Finding(name, word, text, statement))

    def plain(self, name: str) -> Table | None:
        """The table of this name that may be adopted; what keeps another from it is said."""
        table = self.tables.get(name)
        if table is None:
            return None
        if table.kind in KINDS:
            self.say(
                name, "missing", f"it is {KINDS[table.kind]}: it is not read; name the table below it in the mapping"
            )
            return None
        if table.code:
            for one in table.code:
                self.say(name, "missing", f"{one}, with the rights of whoever reads the table")
            return None
        if table.triggers:
            self.say(
                name, "fits", f"its triggers do not run, because the wrapper only reads: {', '.join(table.triggers)}"
            )
        return table

    def read(self, table: Table, query: sql.SQL | sql.Composed) -> list[dict[str, Any]] | None:
        """Rows; None where they may not be read."""
        with rows_of(self.connection, table) as cursor:
            return None if cursor is None else cursor.execute(query).fetchall()

    def column(self, table: Table, wanted: str, bases: Iterable[str] = ()) -> Column | None:
        """The column that stands for one of the wrapper's, of one of some types where they are given."""
        by_name = {name.lower(): column for name, column in table.columns.items()}
        chosen = (by_name[name] for name in _NAMES[wanted] if name in by_name)
        return next((one for one in chosen if one.base is not None and (not bases or one.base in bases)), None)


NAMES: Final = ("dot_tools", "dot_config", *_LEDGERS, *_OWN, "universal_edges")
"""The tables that are looked for."""


def inspect(
    connection: psycopg.Connection[Any], host_schema: str, called: Dictionary[str, str] | None = None
) -> Inspection:
    """Looks at a schema.

    Args:
        called: what the tables of ``NAMES`` are called there, where they have another name.

    Raises:
        MappingError: there is no such schema, or no such table.
    """
    with reading(connection), connection.cursor() as cursor:
        if not cursor.execute("select from pg_namespace where nspname = %s", (host_schema,)).rowcount:
            raise MappingError(f"there is no schema {host_schema} in this database")
    if host_schema == "dot":
        raise MappingError("schema dot is the wrapper's own, and no host's")
    actual = {name: name for name in NAMES} | dict(called or {})
    there = tables(connection, host_schema, list(actual.values()))
    for name, other in (called or {}).items():
        if other not in there:
            raise MappingError(f"{host_schema}.{other} is to be {name}, and there is no such table")
    host = _Host(connection, host_schema, {name: there[other] for name, other in actual.items() if other in there})
    for name, table in host.tables.items():
        if table.name != name:
            host.say(name, "mapped", f"it is {table.quoted}")
    draft = {"catalogue": _catalogue(host), "gates": _gates(host), "ledgers": _ledgers(host)}
    sections = {name: section for name, section in draft.items() if section}
    mapping = Mapping.model_validate(sections) if sections else None
    if mapping is not None:
        _rights(host, mapping)
        _figures(host, mapping)
    _own(host)
    _edges(host)
    _superseded(host)
    order = list(dict.fromkeys((*NAMES, *(one.object for one in host.found))))
    return Inspection(sorted(host.found, key=lambda one: order.index(one.object)), mapping)


_BASES: Final = {
    "usage_count": ("int2", "int4", "int8", "numeric", "float4", "float8"),
    "last_executed": ("timestamptz", "timestamp", "date"),
}


def _catalogue(host: _Host) -> dict[str, Any] | None:
    if "dot_tools" not in host.tables:
        host.say(
            "dot_tools",
            "missing",
            f"there is no such table: {_NAME_IT} dot_tools=..., or the catalogue stays the wrapper's own",
        )
    table = host.plain("dot_tools")
    code = None if table is None else host.column(table, "code")
    if table is None or code is None:
        if table is not None:
            host.say("dot_tools", "missing", "no column has the DOT's code: name it in the mapping")
        return None
    columns: dict[str, Any] = {}
    for wanted in ("code", *OPTIONAL):
        column = host.column(table, wanted, _BASES.get(wanted, ()))
        if column is None:
            host.say("dot_tools", "decide", f"no column for {wanted}: it is left out, and NULL")
            continue
        columns[wanted] = column.name
        if wanted == "last_executed" and column.base != "timestamptz":
            columns[wanted] = {"column": column.name, "time_zone": "UTC"}
            host.say("dot_tools", "decide", f"{wanted} = {column.name} has no time zone: it is read as UTC")
        else:
            word: Word = "fits" if column.name == wanted else "mapped"
            host.say("dot_tools", word, f"{wanted} = {column.name} ({column.type})")
    where = _one_row_each(host, table, code)
    _words_of_the_catalogue(host, table, columns, where)
    return {"schema": table.schema, "table": table.name, "columns": columns, **({"where": where} if where else {})}


def _one_row_each(host: _Host, table: Table, code: Column) -> list[dict[str, Any]]:
    """The condition under which a code stands once."""
    unique = [one for one in table.uniques if one.columns == (code.name,)]
    if any(one.predicate is None for one in unique):
        return []
    for one in unique:
        if (where := condition_of(one, table)) is not None:
            host.say(
                "dot_tools", "decide", f"{code.name} is unique only where {one.predicate}: the other rows are left out"
            )
            return [as_written(where)]
    if unique:
        host.say("dot_tools", "decide", f"{code.name} is unique only where {unique[0].predicate}: say so under where")
        return []
    statement = sql.SQL("create unique index on {} ({});").format(table.sql, code.sql)
    host.say("dot_tools", "missing", f"{code.name} is not unique", statement.as_string())
    return []


def _words_of_the_catalogue(host: _Host, table: Table, columns: dict[str, Any], where: list[dict[str, Any]]) -> None:
    """What stands in the rows that a mapping has to say."""
    asked = [name for name in ("script_path", "file_path") if name in columns]
    values = [
        sql.SQL("coalesce(bool_or({} = ''), false) as {}").format(
            text_of(Value(column=columns[name]), table), sql.Identifier(name)
        )
        for name in asked
    ]
    engine = columns.get("execution_engine")
    words = (
        sql.SQL("array_agg(distinct {}) as engines").format(text_of(Value(column=engine), table, exact=True))
        if engine
        else sql.SQL("array_agg(null::text) as engines")
    )
    query = sql.SQL("select {} from {} as t where {}").format(
        sql.SQL(", ").join([*values, words]),
        table.sql,
        sql.SQL(" and ").join([sql.SQL("true"), *(condition(Condition.model_validate(one), table) for one in where)]),
    )
    found = host.read(table, query)
    if found is None:
        return
    for name in asked:
        if found[0][name]:
            host.say(
                "dot_tools", "decide", f"{columns[name]} is '' in some rows: read as NULL, or they would have a path"
            )
            columns[name] = {"column": columns[name], "empty_is_null": True}
    engines = [one for one in found[0]["engines"] or () if one is not None]
    alike = [one for one in engines if one.lower() == "agent_api"]
    if alike and "agent_api" not in alike:
        host.say(
            "dot_tools", "decide", f"{engine} says {alike[0]}, and the inventory counts agent_api: read in lower case"
        )
        columns["execution_engine"] = {"column": engine, "lower": True}


def _gates(host: _Host) -> dict[str, Any] | None:
    if "dot_config" not in host.tables:
        host.say(
            "dot_config",
            "missing",
            "there is no such table: the gates stay the wrapper's own, and no switch of a host counts",
        )
    table = host.plain("dot_config")
    if table is None:
        return None
    key, value = host.column(table, "key"), host.column(table, "value")
    if key is None or value is None:
        host.say("dot_config", "missing", "no columns for key and value: name them in the mapping")
        return None
    word: Word = "fits" if (key.name, value.name, value.base) == ("key", "value", "text") else "mapped"
    host.say("dot_config", word, f"key = {key.name} ({key.type}), value = {value.name} ({value.type})")
    where = _one_row_a_key(host, table, key)
    governs = _governed(host, table, key, value, where)
    return {
        **{"schema": table.schema, "table": table.name, "key": key.name, "value": value.name},
        **({"where": where} if where else {}),
        "governs": governs,
    }


def _one_row_a_key(host: _Host, table: Table, key: Column) -> list[dict[str, Any]]:
    if any(one.columns == (key.name,) and one.predicate is None for one in table.uniques):
        return []
    for one in table.uniques:
        if one.columns == (key.name,) and (where := condition_of(one, table)) is not None:
            host.say(
                "dot_config", "decide", f"{key.name} is unique only where {one.predicate}: the other rows are left out"
            )
            return [as_written(where)]
    if any(set(one.columns) == {key.name, "scope"} and one.predicate is None for one in table.uniques):
        host.say("dot_config", "decide", f"{key.name} is unique only with scope: the scope global is read")
        return [{"column": "scope", "is": "global"}]
    statement = sql.SQL("create unique index on {} ({});").format(table.sql, key.sql)
    text = f"{key.name} is not unique: a gate whose key stands twice is closed"
    host.say("dot_config", "missing", text, statement.as_string())
    return []


def _governed(host: _Host, table: Table, key: Column, value: Column, where: list[dict[str, Any]]) -> list[str]:
    """The gates that have a row, and the master."""
    conditions = [condition(Condition.model_validate(one), table) for one in where]
    query = sql.SQL("select {} as key, {} as value from {} as t where {}").format(
        text_of(Value(column=key.name), table, exact=True),
        text_of(Value(column=value.name), table, exact=True),
        table.sql,
        sql.SQL(" and ").join([sql.SQL("true"), *conditions]),
    )
    rows = host.read(table, query)
    if rows is None:
        host.say(
            "dot_config",
            "decide",
            "its rows were not read: all four gates are governed, and one without a row is closed",
        )
        return list(GATES)
    values = {one["key"]: one["value"] for one in rows}
    governs = []
    for gate in GATES:
        if gate in values:
            governs.append(gate)
            _word_of_a_gate(host, table, gate, values[gate], (key, value), conditions)
        elif gate == MASTER:
            governs.append(gate)
            statement = sql.SQL("insert into {} ({}, {}) values ({}, 'false');").format(
                table.sql, key.sql, value.sql, gate
            )
            text = f"{gate} has no row: it is governed all the same, and closed for good"
            host.say("dot_config", "missing", text, statement.as_string())
        else:
            host.say("dot_config", "figures", f"{gate} has no row: the wrapper's own gate alone counts")
    return governs


def _word_of_a_gate(
    host: _Host, table: Table, gate: str, said: str | None, columns: tuple[Column, Column], where: list[sql.Composable]
) -> None:
    if said == "true":
        host.say("dot_config", "figures", f"{gate} is true: the wrapper's own gate alone keeps it closed")
    elif said != "false":
        key, value = columns
        statement = sql.SQL("update {} as t set {} = 'false' where {};").format(
            table.sql,
            value.sql,
            sql.SQL(" and ").join([sql.SQL("t.{} = {}").format(key.sql, gate), *where]),
        )
        text = f"{gate} is {said!r}: it is closed, and stays so if somebody writes true in this form; only the word true opens it"
        host.say("dot_config", "decide", text, statement.as_string())


def _ledgers(host: _Host) -> dict[str, Any]:
    drafted: dict[str, Any] = {}
    for name in _LEDGERS:
        if name not in host.tables:
            host.say(name, "own", "there is no such table: the wrapper's own is counted")
        table = host.plain(name)
        if table is None:
            continue
        section: dict[str, Any] = {"schema": table.schema, "table": table.name}
        if name == "dot_iu_command_run":
            section |= _counted(host, table)
        else:
            host.say(name, "fits", "its rows are counted")
        drafted[name] = section
    return drafted


def _counted(host: _Host, table: Table) -> dict[str, Any]:
    """Which command runs are refused, and which are plans."""
    name, section = "dot_iu_command_run", {}
    status = host.column(table, "run_status")
    if status is None:
        host.say(name, "decide", "no column says which runs were refused: NULL")
    else:
        words = _words(host, table, status)
        refused = [one for one in words or () if one.lower() in _REFUSED] or (["refused"] if words is None else [])
        if refused:
            section["refused"] = {"column": status.name, "is": refused[0] if len(refused) == 1 else refused}
        told = (
            f"refused: {status.name} is {', '.join(refused)}"
            if refused
            else f"no word of {status.name} is known as refused"
        )
        fits = (status.name, refused) == ("run_status", ["refused"])
        host.say(
            name, "fits" if fits else "decide", told + (f"; its words are {', '.join(words[:10])}" if words else "")
        )
    planned = _plan(host, table)
    if planned is None:
        host.say(name, "decide", "no column says which runs are plans: NULL")
    else:
        section["planned"] = planned
        fits = planned == {"column": "run_mode", "is": "plan"}
        host.say(name, "fits" if fits else "decide", f"planned: {planned['column']} is {planned['is']}")
    return section


def _plan(host: _Host, table: Table) -> dict[str, Any] | None:
    """The mode that says plan, or the switch that says dry."""
    mode = host.column(table, "run_mode")
    if mode is not None:
        words = _words(host, table, mode)
        for one in ["plan"] if words is None else words:
            if one.lower() == "plan":
                return {"column": mode.name, "is": one}
    switch = host.column(table, "is_dry", ["bool"])
    return None if switch is None else {"column": switch.name, "is": "true"}


def _words(host: _Host, table: Table, column: Column) -> list[str] | None:
    query = sql.SQL("select distinct {} as word from {} as t where {} is not null order by 1 limit 50").format(
        text_of(Value(column=column.name), table, exact=True), table.sql, column.sql
    )
    rows = host.read(table, query)
    return None if rows is None else [one["word"] for one in rows]


_MAY: Final = """
select exists (select from pg_namespace d where d.nspname = 'dot') as is_installed,
    coalesce((select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = 'dot_owner'), false) as passes,
    coalesce(has_schema_privilege(to_regrole('dot_owner'), n.oid, 'usage'), false) as enters
from pg_namespace n where n.nspname = %s
"""


def _rights(host: _Host, mapping: Mapping) -> None:
    """What dot_owner needs, and what this login may not see."""
    with reading(host.connection), host.connection.cursor(row_factory=dict_row) as cursor:
        (may,) = cursor.execute(_MAY, (host.schema,)).fetchall()
        if not may["is_installed"]:
            host.say("dot", "missing", "the wrapper is not installed in this database", "dot-wrapper upgrade")
        elif not may["enters"]:
            statement = sql.SQL("grant usage on schema {} to dot_owner;").format(sql.Identifier(host.schema))
            host.say(
                "dot_tools", "grant", f"dot_owner may not enter {host.schema}: in adopt.sql", statement.as_string()
            )
    by_key = {table.key: name for name, table in host.tables.items()}
    needed: dict[str, list[str]] = {}
    for _, key, columns in sources(mapping):
        needed.setdefault(by_key[key], []).extend(columns or list(host.tables[by_key[key]].columns)[:1])
    for name, columns in needed.items():
        table = host.tables[name]
        host.say(name, "grant", "what dot_owner may read: in adopt.sql", grant(table, dict.fromkeys(columns)))
        if table.row_security and not may["passes"]:
            text = (
                "it has row security, whose policies are the host's code and would run inside the wrapper. dot_owner has to pass"
                " by them, on the whole server: a superuser decides that, or the table is not adopted"
            )
            host.say(name, "missing", text, "alter role dot_owner bypassrls;")
        if not table.is_readable or host.read(table, sql.SQL("select")) is None:
            text = "this login may not read its rows: figures and words are not known"
            statement = sql.SQL("grant select on {} to {};").format(
                table.sql, sql.Identifier(host.connection.info.user)
            )
            host.say(name, "grant", text, None if table.is_readable else statement.as_string())


def _figures(host: _Host, mapping: Mapping) -> None:
    """The figures of document 02, as the seams would show them."""
    made = queries(mapping, {table.key: table for table in host.tables.values()})
    if "v_host_tool" in made:
        query = sql.SQL(
            "select count(*) as dots, count(coalesce(s.script_path, s.file_path)) as paths,"
            " count(*) filter (where s.usage_count > 0) as used, count(distinct s.last_executed) as stamps,"
            " count(*) filter (where s.code !~ {0} or octet_length(s.code) > 200) as odd,"
            " (array_agg(s.code order by s.code) filter (where s.code !~ {0} or octet_length(s.code) > 200))[1:3] as sample,"
            ' count(*) - count(distinct s.code collate "C") as again from ({1}) as s'
        ).format(_CODE, made["v_host_tool"])
        for one in host.read(host.tables["dot_tools"], query) or ():
            told = f"{one['dots']} DOTs, {one['paths']} with a path, {one['used']} used, {one['stamps']} different last_executed"
            host.say("dot_tools", "figures", told)
            if one["odd"]:
                host.say(
                    "dot_tools",
                    "figures",
                    f"{one['odd']} of them have a code that no call takes: {', '.join(one['sample'])}",
                )
            if one["again"]:
                host.say(
                    "dot_tools",
                    "missing",
                    f"{one['again']} codes stand more than once: say under where which row counts",
                )
    if "v_host_tool" in made:
        for name in {"tenant", "tenant_id"} & host.tables["dot_tools"].columns.keys():
            text = f"it has a {name}: the wrapper knows no tenants; where there are several, say under where which"
            host.say("dot_tools", "decide", text)
    for name, ledger in ledgers(mapping).items():
        _figures_of_ledger(host, name, ledger_query(name, ledger, host.tables[name]))


def _figures_of_ledger(host: _Host, name: str, query: sql.Composed) -> None:
    for one in host.read(host.tables[name], query) or ():
        parts = [f"{one['rows_seen']} rows"]
        parts += [f"{one[word]} {word}" for word in ("refused", "planned") if one[word] is not None]
        parts.append(f"keyed by process_run_id: {'yes' if one['keyed_by_run'] else 'no'}")
        host.say(name, "figures", ", ".join(parts))


def _own(host: _Host) -> None:
    for name, why in _OWN.items():
        table = host.tables.get(name)
        if table is None:
            continue
        counted = host.read(table, sql.SQL("select count(*) as rows from {}").format(table.sql))
        told = f"rows of the host's: {counted[0]['rows']}; " if counted else ""
        host.say(name, "own", f"{told}not touched: the wrapper has a table of its own, because {why}")
    leases = host.tables.get("dot_iu_runtime_lease")
    key = None if leases is None else host.column(leases, "lease_key")
    if leases is not None and key is not None:
        query = sql.SQL("select count(*) as held from {} as t where starts_with({}, 'dot_exec:')").format(
            leases.sql, text_of(Value(column=key.name), leases)
        )
        for one in host.read(leases, query) or ():
            if one["held"]:
                text = f"leases of the host's for dot_exec:...: {one['held']}; find out who runs DOTs under them before a real run"
                host.say("dot_iu_runtime_lease", "decide", text)


_WRITERS: Final = """
select distinct case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end as grantee
from pg_class c cross join aclexplode(c.relacl) x
where c.oid = %s and x.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') and x.grantee <> c.relowner
    and (x.grantee = 0 or exists (
        select from pg_roles r where r.rolname like 'dot\\_%%' and pg_has_role(r.oid, x.grantee, 'member')
    ))
order by 1
"""


def _edges(host: _Host) -> None:
    table = host.tables.get("universal_edges")
    if table is None:
        return
    with reading(host.connection), host.connection.cursor(row_factory=dict_row) as cursor:
        writers = [one["grantee"] for one in cursor.execute(_WRITERS, (table.oid,)).fetchall()]
    if not writers:
        host.say("universal_edges", "fits", "no role of the wrapper may write it")
        return
    named = ", ".join(writers)
    statement = f"revoke insert, update, delete, truncate on {table.quoted} from {named};"
    host.say("universal_edges", "missing", f"the wrapper's roles may write it, by a right of {named}", statement)


_SUPERSEDED: Final = """
select c.relname::text as name,
    case c.relkind when 'v' then 'a view' when 'm' then 'a materialized view' else 'a table' end as kind
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and c.relname ~ '^(process_(run|component)_observation|v_process_.*)$'
union all
select p.oid::regprocedure::text, 'a function' from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = %(schema)s and p.proname ~ '^fn_(dot_iu|assert_safe|preflight|process)'
order by 2 desc, 1
"""


def _superseded(host: _Host) -> None:
    with reading(host.connection), host.connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_SUPERSEDED, {"schema": host.schema}).fetchall()
    for one in found:
        read = "called" if one["kind"] == "a function" else "read"
        asked = "; its checks are not asked, the wrapper has its own preflight" if "preflight" in one["name"] else ""
        host.say(one["name"], "superseded", f"{one['kind']}, never {read}{asked}")


def comments(inspection: Inspection) -> Iterator[str]:
    """The comments that a drafted mapping begins with."""
    yield "What the wrapper reads of this database. Review each line, then: dot-wrapper adopt --mapping FILE --sql"
    for one in inspection.findings:
        if one.word in ("decide", "missing"):
            yield f"{one.word}: {one.object}: {one.text}"
