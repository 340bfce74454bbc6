"""The sections of a first mapping: the catalogue, the gates and the ledgers of a host, and what of them a person has to decide."""

from __future__ import annotations

from typing import Any, Final

from psycopg import sql

from dot_wrapper.operations.adoption.host import Column, Table
from dot_wrapper.operations.adoption.looking import Host, Word, names_of
from dot_wrapper.operations.adoption.mapping import GATES, MASTER, OPTIONAL, Condition, Value, as_written
from dot_wrapper.operations.adoption.seams import condition, condition_of, text_of

LEDGERS: Final = ("dot_iu_command_run", "job_queue")
_NAME_IT: Final = "name it with --table"
_REFUSED: Final = ("refused", "rejected", "denied", "blocked")
_BASES: Final = {
    "usage_count": ("int2", "int4", "int8", "numeric", "float4", "float8"),
    "last_executed": ("timestamptz", "timestamp", "date"),
}


def catalogue(host: Host) -> dict[str, Any] | None:
    """The section of the catalogue; None where it cannot be adopted."""
    if "dot_tools" not in host.tables:
        host.say(
            "dot_tools",
            "missing",
            f"there is no such table: {_NAME_IT} dot_tools=..., or the catalogue stays the wrapper's own",
        )
    table = host.plain("dot_tools")
    if table is None:
        return None
    code = host.column(table, "code") or _only_key(table)
    if code is None:
        host.say("dot_tools", "missing", "no column has the DOT's code: name it in the mapping")
        return None
    columns: dict[str, Any] = {}
    for wanted in ("code", *OPTIONAL):
        column = code if wanted == "code" else host.column(table, wanted, _BASES.get(wanted, ()))
        if column is None:
            host.say("dot_tools", "decide", f"no column for {wanted}: it is left out, and NULL")
            continue
        columns[wanted] = column.name
        if wanted == "last_executed" and column.base != "timestamptz":
            columns[wanted] = {"column": column.name, "time_zone": "UTC"}
            host.say("dot_tools", "decide", f"{wanted} = {column.name} has no time zone: it is read as UTC")
        elif column.name not in names_of(wanted):
            host.say(
                "dot_tools", "decide", f"{wanted} = {column.name} ({column.type}): it is the only text that is unique"
            )
        else:
            word: Word = "fits" if column.name == wanted else "mapped"
            host.say("dot_tools", word, f"{wanted} = {column.name} ({column.type})")
    where = _one_row_each(host, table, code)
    _words_of_the_catalogue(host, table, columns, where)
    return {"schema": table.schema, "table": table.name, "columns": columns, **({"where": where} if where else {})}


def _only_key(table: Table) -> Column | None:
    """The text that alone is unique, where there is one."""
    keys = {one.columns[0] for one in table.uniques if len(one.columns) == 1 and one.predicate is None}
    texts = [one for name in sorted(keys) if (one := table.columns[name]).base in ("text", "varchar", "citext")]
    return texts[0] if len(texts) == 1 else None


def _one_row_each(host: Host, table: Table, code: Column) -> list[dict[str, Any]]:
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


def _words_of_the_catalogue(host: Host, table: Table, columns: dict[str, Any], where: list[dict[str, Any]]) -> None:
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


def gates(host: Host) -> dict[str, Any] | None:
    """The section of the gates; None where they cannot be adopted."""
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


def _one_row_a_key(host: Host, table: Table, key: Column) -> list[dict[str, Any]]:
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


def _governed(host: Host, table: Table, key: Column, value: Column, where: list[dict[str, Any]]) -> list[str]:
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
    host: Host, table: Table, gate: str, said: str | None, columns: tuple[Column, Column], where: list[sql.Composable]
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
        text = f"{gate} is {said!r}: it is closed, and stays so if true is written in this form; only the word true opens it"
        host.say("dot_config", "decide", text, statement.as_string())


def ledgers(host: Host) -> dict[str, Any]:
    """The section of the ledgers, with those that are there."""
    drafted: dict[str, Any] = {}
    for name in LEDGERS:
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


def _counted(host: Host, table: Table) -> dict[str, Any]:
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


def _plan(host: Host, table: Table) -> dict[str, Any] | None:
    """The mode that says plan, or the switch that says dry."""
    mode = host.column(table, "run_mode")
    if mode is not None:
        words = _words(host, table, mode)
        for one in ["plan"] if words is None else words:
            if one.lower() == "plan":
                return {"column": mode.name, "is": one}
    switch = host.column(table, "is_dry", ["bool"])
    return None if switch is None else {"column": switch.name, "is": "true"}


def _words(host: Host, table: Table, column: Column) -> list[str] | None:
    query = sql.SQL("select distinct {} as word from {} as t where {} is not null order by 1 limit 50").format(
        text_of(Value(column=column.name), table, exact=True), table.sql, column.sql
    )
    rows = host.read(table, query)
    return None if rows is None else [one["word"] for one in rows]
