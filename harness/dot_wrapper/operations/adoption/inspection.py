"""Looks at a host's schema, object by object: what the wrapper would read, what is missing for it, and a first mapping.

Nothing is written, and no code of the host's is run: rows are read of plain tables alone, see ``host.rows_of``. Views, functions and
policies are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dot_wrapper.client.database import reading
from dot_wrapper.operations.adoption import drafting
from dot_wrapper.operations.adoption.host import tables
from dot_wrapper.operations.adoption.looking import Finding, Host, Word
from dot_wrapper.operations.adoption.mapping import Mapping, MappingError, Value, ledgers, sources
from dot_wrapper.operations.adoption.scripts import grant
from dot_wrapper.operations.adoption.seams import ledger_query, queries, text_of

_OWN: Final = {
    "dot_iu_runtime_lease": "the tokens of a lease must only grow, and other programs write the host's",
    "dot_iu_command_catalog": "it has the wrapper's own commands",
    "event_type": "it has the wrapper's own events",
    "event_outbox": "an event's position is the id of its transaction",
}
_CODE: Final = "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"  # what dot.fn_is_code takes, and at most 200 bytes


@dataclass(slots=True)
class Inspection:
    """What was found, and the first mapping; None where nothing can be adopted."""

    findings: list[Finding] = field(default_factory=list)
    mapping: Mapping | None = None

    def of(self, word: Word) -> list[Finding]:
        """The findings of one word."""
        return [one for one in self.findings if one.word == word]


NAMES: Final = ("dot_tools", "dot_config", *drafting.LEDGERS, *_OWN, "universal_edges")
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
    host = Host(connection, host_schema, {name: there[other] for name, other in actual.items() if other in there})
    for name, table in host.tables.items():
        if table.name != name:
            host.say(name, "mapped", f"it is {table.quoted}")
    draft = {"catalogue": drafting.catalogue(host), "gates": drafting.gates(host), "ledgers": drafting.ledgers(host)}
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


_MAY: Final = """
select exists (select from pg_namespace d where d.nspname = 'dot') as is_installed,
    coalesce((select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = 'dot_owner'), false) as passes,
    coalesce(has_schema_privilege(to_regrole('dot_owner'), n.oid, 'usage'), false) as enters
from pg_namespace n where n.nspname = %s
"""


def _rights(host: Host, mapping: Mapping) -> None:
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


def _figures(host: Host, mapping: Mapping) -> None:
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


def _figures_of_ledger(host: Host, name: str, query: sql.Composed) -> None:
    for one in host.read(host.tables[name], query) or ():
        parts = [f"{one['rows_seen']} rows"]
        parts += [f"{one[word]} {word}" for word in ("refused", "planned") if one[word] is not None]
        parts.append(f"keyed by process_run_id: {'yes' if one['keyed_by_run'] else 'no'}")
        host.say(name, "figures", ", ".join(parts))


def _own(host: Host) -> None:
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


def _edges(host: Host) -> None:
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


def _superseded(host: Host) -> None:
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
