"""The seam views over a host's tables, as SQL made of a mapping: names and literals are quoted, there is nothing else to put in."""

from __future__ import annotations

import re
from collections.abc import Mapping as Dictionary
from typing import Any, Final

from psycopg import sql

from dot_wrapper.operations.adoption.host import KINDS, Column, Table, Unique
from dot_wrapper.operations.adoption.mapping import (
    OPTIONAL,
    Catalogue,
    Condition,
    Gates,
    Ledger,
    Mapping,
    MappingError,
    Value,
    ledgers,
    sources,
)

SEAMS: Final = ("v_host_tool", "v_host_gate", "v_host_ledger")

Tables = Dictionary[tuple[str, str], Table]

_NUMBERS: Final = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_WHOLE: Final = {"int2", "int4", "int8"}


def queries(mapping: Mapping, tables: Tables) -> dict[str, sql.Composed]:
    """The query of each seam that a mapping adopts.

    Raises:
        MappingError: a table or column is not there, or its type is not one that can be read so.
    """
    require_tables(mapping, tables)
    made: dict[str, sql.Composed] = {}
    if mapping.catalogue is not None:
        made["v_host_tool"] = _catalogue(mapping.catalogue, tables[mapping.catalogue.key])
    if mapping.gates is not None:
        made["v_host_gate"] = _gates(mapping.gates, tables[mapping.gates.key])
    if counted := ledgers(mapping):
        parts = [ledger_query(name, one, tables[one.key]) for name, one in counted.items()]
        parts += [_own_ledger(name) for name in ("dot_iu_command_run", "job_queue") if name not in counted]
        made["v_host_ledger"] = sql.SQL("\nunion all\n").join(parts)
    return made


def require_tables(mapping: Mapping, tables: Tables) -> None:
    """Checks that what a mapping names is there, is a table, and runs no code of another login.

    Raises:
        MappingError: with a line for each problem.
    """
    wrong = []
    for _, key, columns in sources(mapping):
        table = tables.get(key)
        where = ".".join(key)
        if table is None or table.schema == "dot":
            wrong.append(f"{where}: there is no such table of a host's")
            continue
        if table.kind in KINDS:
            wrong.append(
                f"{where} is {KINDS[table.kind]}, which its owner can make say anything: name the table below it"
            )
        else:
            wrong += [f"{where}: {one}, with the rights of the login that reads it" for one in table.code]
        for name in columns:
            column = table.columns.get(name)
            if column is None:
                wrong.append(f"{where} has no column {name}")
            elif column.base is None:
                wrong.append(f"{where}: {name} is of type {column.type}, whose output is not PostgreSQL's own code")
    if wrong:
        raise MappingError("\n".join(dict.fromkeys(wrong)))


def column_of(table: Table, value: Value) -> Column | None:
    """The column that a value is made of; None for a constant."""
    return None if value.column is None else table.columns[value.column]


def text_of(value: Value, table: Table, *, exact: bool = False) -> sql.Composable:
    """A value as text.

    Args:
        exact: in the collation of the wrapper's own tables, whatever the column's. Else only where the column takes different
            texts for equal: in any other collation of its own an index of the column serves.
    """
    column = column_of(table, value)
    if column is None:
        made: sql.Composable = sql.SQL("{}::text").format(value.constant)
    elif value.field is not None:
        if column.base not in ("json", "jsonb"):
            raise MappingError(
                f"{table.quoted}: {column.name} is of type {column.type}, and has no field {value.field}"
            )
        made = sql.SQL("(t.{} ->> {})").format(column.sql, value.field)
    else:
        made = sql.SQL("t.{}::text").format(column.sql)
    if value.time_zone is not None:
        raise MappingError(f"{table.quoted}: time_zone goes with last_executed alone")
    if value.lower:
        made = sql.SQL("lower({})").format(made)
    if exact or (column is not None and not column.is_exact):
        made = sql.SQL('({} collate "C")').format(made)
    if value.empty_is_null:
        made = sql.SQL("nullif({}, '')").format(made)
    return made


def condition(one: Condition, table: Table) -> sql.Composable:
    """Which rows count, as SQL."""
    column = table.columns[one.column].sql
    if one.texts is None:
        return sql.SQL("t.{} is not null" if one.negated else "t.{} is null").format(column)
    text = text_of(Value(column=one.column), table)
    if len(one.texts) == 1:
        made = sql.SQL("{} = {}").format(text, one.texts[0])
    else:
        made = sql.SQL("{} = any (array[{}])").format(text, sql.SQL(", ").join(map(sql.Literal, one.texts)))
    return sql.SQL("({}) is not true").format(made) if one.negated else made


def condition_of(index: Unique, table: Table) -> Condition | None:
    """The predicate of a partial index as a condition; None where it has none, or one that no condition can say."""
    text = re.sub(r"[()]|::(text|character varying|bpchar)", "", index.predicate or "").strip()
    by_quoted = {column.quoted: column.name for column in table.columns.values()}
    for pattern, word, texts in _PREDICATES:
        found = re.fullmatch(pattern, text)
        if found and found[1] in by_quoted:
            told = found[2].replace("''", "'") if texts is _AS_WRITTEN else texts
            return Condition.model_validate({"column": by_quoted[found[1]], word: told})
    return None


_AS_WRITTEN: Final = object()
_PREDICATES: Final[tuple[tuple[str, str, Any], ...]] = (
    (r"(.+) IS NULL", "is", None),
    (r"(.+) IS NOT NULL", "is_not", None),
    (r"NOT (.+)", "is", "false"),
    (r"(.+) = '((?:[^']|'')*)'(?:::.+)?", "is", _AS_WRITTEN),
    (r"(.+) = (true|false)", "is", _AS_WRITTEN),
    (r"(.+)", "is", "true"),
)


def _where(conditions: tuple[Condition, ...], table: Table) -> list[sql.Composable]:
    return [condition(one, table) for one in conditions]


def _catalogue(catalogue: Catalogue, table: Table) -> sql.Composed:
    exact = catalogue.beside == "own"
    columns = ("code", *OPTIONAL)
    values = {name: getattr(catalogue.columns, name) for name in columns}
    lines = [
        sql.SQL("    {} as {}").format(_column_of_tool(name, value, table, exact), sql.Identifier(name))
        for name, value in values.items()
    ]
    host = sql.SQL("select\n{}\nfrom {} as t").format(sql.SQL(",\n").join(lines), table.sql)
    where = _where(catalogue.where, table)
    if where:
        host = sql.SQL("{}\nwhere {}").format(host, sql.SQL(" and ").join(where))
    if not exact:
        return host
    code = text_of(catalogue.columns.code, table, exact=True)
    own = sql.SQL(", ").join(sql.SQL("o.{}").format(sql.Identifier(name)) for name in columns)
    return sql.SQL(
        "{}\nunion all\nselect {}\nfrom dot.dot_tools as o\nwhere not exists (\n    select from {} as t where {}\n)"
    ).format(host, own, table.sql, sql.SQL(" and ").join([sql.SQL("{} = o.code").format(code), *where]))


def _column_of_tool(name: str, value: Value | None, table: Table, exact: bool) -> sql.Composable:
    kind = {"usage_count": "bigint", "last_executed": "timestamptz"}.get(name, "text")
    if value is None:
        return sql.SQL("null::{}").format(sql.SQL(kind))
    if kind == "text":
        return text_of(value, table, exact=exact)
    column = column_of(table, value)
    if column is None or value.field or value.lower or value.empty_is_null:
        raise MappingError(f"{table.quoted}: {name} is a column alone")
    here = sql.SQL("t.{}").format(column.sql)
    if kind == "bigint":
        if column.base not in _NUMBERS:
            raise MappingError(f"{table.quoted}: {name} is {column.name}, of type {column.type}: a number is needed")
        if column.base in _WHOLE:
            return sql.SQL("{}::bigint").format(here)
        # What has no place in a bigint, NaN too, would be an error for every reader.
        return sql.SQL("case when {0} between 0 and 9000000000000000000 then {0}::bigint end").format(here)
    if column.base == "timestamptz" and value.time_zone is None:
        return here
    if column.base in ("timestamp", "date") and value.time_zone is not None:
        return sql.SQL("({}::timestamp at time zone {})").format(here, value.time_zone)
    needed = "a time" if column.base != "timestamp" else "its time_zone"
    raise MappingError(f"{table.quoted}: {name} is {column.name}, of type {column.type}: {needed} is needed")


def _gates(gates: Gates, table: Table) -> sql.Composed:
    key = sql.SQL("{} = g.key").format(text_of(gates.key_, table))
    # Of a key that stands twice this is an error, and the gate is closed. So it is where the table was renamed: a view follows the
    # table, and a switch may be thrown in another one, which has the name now.
    named = sql.SQL(
        "exists (\n            select from pg_class as c join pg_namespace as n on n.oid = c.relnamespace\n"
        "            where c.oid = {}::regclass and n.nspname = {} and c.relname = {}\n        )"
    ).format(table.quoted, table.schema, table.name)
    return sql.SQL(
        "select\n    g.key,\n    (\n        select {}\n        from {} as t\n        where {}\n    ) as value\n"
        "from unnest(array[{}]) as g (key)"
    ).format(
        text_of(gates.value, table),
        table.sql,
        sql.SQL(" and ").join([key, *_where(gates.where, table), named]),
        sql.SQL(", ").join(map(sql.Literal, gates.governs)),
    )


def ledger_query(name: str, ledger: Ledger, table: Table) -> sql.Composed:
    """The figures of one ledger of the host's."""
    return sql.SQL(
        "select\n    {}::text as ledger,\n    count(*) as rows_seen,\n    {} as refused,\n    {} as planned,\n{} as keyed_by_run\n"
        "from {} as t"
    ).format(
        name,
        _counted(ledger.refused, table),
        _counted(ledger.planned, table),
        _keyed_by_run(table.quoted),
        table.sql,
    )


def _own_ledger(name: str) -> sql.Composed:
    """A ledger that the host does not have: the wrapper's own, as in sql/views/v_host_ledger.sql."""
    counted = (
        "count(*) filter (where t.run_status = 'refused'),\n    count(*) filter (where t.run_mode = 'plan')"
        if name == "dot_iu_command_run"
        else "null::bigint,\n    null::bigint"
    )
    return sql.SQL("select\n    {}::text,\n    count(*),\n    " + counted + ",\n{}\nfrom {} as t").format(
        name, _keyed_by_run(f"dot.{name}"), sql.Identifier("dot", name)
    )


def _counted(conditions: tuple[Condition, ...] | None, table: Table) -> sql.Composable:
    if not conditions:
        return sql.SQL("null::bigint")
    return sql.SQL("count(*) filter (where {})").format(sql.SQL(" and ").join(_where(conditions, table)))


def _keyed_by_run(quoted: str) -> sql.Composable:
    return sql.SQL(
        "    exists (\n        select from pg_attribute as a\n        where a.attrelid = {}::regclass and a.attname = 'process_run_id'"
        " and not a.attisdropped\n    )"
    ).format(quoted)
