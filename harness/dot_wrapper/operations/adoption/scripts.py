"""The SQL that a DBA reviews and runs with psql: one transaction that adopts, one that takes it back.

Adoption changes the text of the seam views and gives ``dot_owner`` the right to read the columns in it. The blocks below hold no
name and no literal of a mapping: those stand outside of them, quoted, or come by a setting of the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dot_wrapper.client.database import reading
from dot_wrapper.deploy.guards import BEGIN, ENTER, GIVE_UP_EARLY, INSTALLED, LEAVE
from dot_wrapper.files import ROOT
from dot_wrapper.operations import schema
from dot_wrapper.operations.adoption.host import Table, code_of
from dot_wrapper.operations.adoption.mapping import Mapping, MappingError, sources
from dot_wrapper.operations.adoption.seams import Tables, queries
from dot_wrapper.text import escape_control_characters

ADOPTED: Final = "Seam: adopted "
"""How the comment of an adopted seam begins."""

STANDS_ON: Final = """
select distinct r.ev_class, d.refobjid, d.refobjsubid
from pg_rewrite r
join pg_class v on v.oid = r.ev_class and v.relname = any (array['v_host_tool', 'v_host_gate', 'v_host_ledger'])
join pg_namespace n on n.oid = v.relnamespace and n.nspname = 'dot'
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
join pg_class c on c.oid = d.refobjid and c.oid <> v.oid
where c.relnamespace not in (n.oid, 'pg_catalog'::regnamespace)
"""
"""Which columns of which host tables the seams stand on: ``ev_class``, ``refobjid``, ``refobjsubid``."""

CODE_BELOW: Final = code_of(f"select o.refobjid from ({STANDS_ON}) o")  # noqa: S608  texts of our own
"""What of others' code is run by a login that reads these tables."""

_REVISION: Final = """
do $revision$
begin
    if (select string_agg(v.version_num, ', ') from dot.alembic_version v) is distinct from '{head}' then
        raise object_not_in_prerequisite_state using
            message = 'this script is for revision {head} of the wrapper, and the database is at another',
            hint = 'Make it anew with the software of the database, or upgrade the database first.',
            constraint = 'adoption_revision';
    end if;
end
$revision$;
"""

_OTHER_MAPPING: Final = """
do $other$
declare
    v_found text;
begin
    select string_agg(c.oid::regclass::text, ', ') into v_found
    from pg_class c
    where c.relnamespace = 'dot'::regnamespace and obj_description(c.oid, 'pg_class') like 'Seam: adopted %'
        and obj_description(c.oid, 'pg_class') not like '% by mapping {digest}%';
    if v_found is not null then
        raise object_not_in_prerequisite_state using
            message = 'another mapping is in force: ' || v_found,
            hint = 'Take it back first with what dot-wrapper adopt --unadopt-sql prints, or its rights stay.',
            constraint = 'adoption_other_mapping';
    end if;
end
$other$;
"""

# What was looked at when this was made. It may be applied to another database, or later.
_AS_IT_WAS: Final = """
do $as_it_was$
declare
    v_found text;
begin
    select string_agg(format('%s.%s.%s (%s)', e.one ->> 0, e.one ->> 1, e.one ->> 2, e.one ->> 3), ', ') into v_found
    from jsonb_array_elements(current_setting('dot_adoption.columns')::jsonb) e (one)
    where not exists (
        select from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname = e.one ->> 0 and c.relname = e.one ->> 1 and a.attname = e.one ->> 2
            and format_type(a.atttypid, a.atttypmod) = e.one ->> 3
    );
    if v_found is not null then
        raise object_not_in_prerequisite_state using
            message = 'the host''s columns are not those that this script was made for: ' || v_found,
            hint = 'Make it anew: dot-wrapper adopt --mapping ... --sql.',
            constraint = 'adoption_columns';
    end if;
end
$as_it_was$;
"""

_NO_CODE: Final = f"""
do $no_code$
declare
    v_found text;
begin
    select string_agg(distinct f.what, ', ') into v_found
    from (
        {CODE_BELOW}
        union
        select 0, format('%s calls %s', v.oid::regclass, p.oid::regprocedure)
        from pg_rewrite r
        join pg_class v on v.oid = r.ev_class and v.relnamespace = 'dot'::regnamespace and v.relname like 'v\\_host\\_%'
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_proc'::regclass
        join pg_proc p on p.oid = d.refobjid and p.pronamespace <> 'pg_catalog'::regnamespace
    ) f;
    if v_found is not null then
        raise check_violation using
            message = 'the wrapper would run code of others: ' || v_found,
            hint = 'Adopt a plain table whose indexes and checks call nothing but PostgreSQL''s own functions.',
            constraint = 'adoption_no_host_code';
    end if;
    select string_agg(distinct c.oid::regclass::text, ', ') into v_found
    from ({STANDS_ON}) s
    join pg_class c on c.oid = s.refobjid and c.relrowsecurity
    where not (select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = 'dot_owner');
    if v_found is not null then
        raise check_violation using
            message = 'the policies of row security would run inside the wrapper: ' || v_found,
            hint = 'A superuser runs: alter role dot_owner bypassrls; or the table is not adopted.',
            constraint = 'adoption_row_security';
    end if;
end
$no_code$;
"""  # noqa: S608  texts of our own

# Read as the wrapper reads it, by the functions of dot_bridge.
_ROWS: Final = """
do $rows$
declare
    v_found text;
    v_gates record;
begin
    select string_agg(t.code, ', ') into v_found
    from (
        select h.code collate "C" as code from dot.fn_host_tools() h group by 1 having count(*) > 1 order by 1 limit 20
    ) t;
    if v_found is not null then
        raise unique_violation using
            message = 'DOTs that stand more than once in the catalogue: ' || v_found,
            hint = 'Say in the mapping, under where, which row counts.',
            constraint = 'adoption_code_twice';
    end if;
    if exists (select from dot.fn_host_tools() h where h.code is null) then
        raise not_null_violation using message = 'a DOT of the catalogue has no code', constraint = 'adoption_code_not_null';
    end if;
    if not exists (select from dot.fn_host_tools()) then
        raise check_violation using
            message = 'the catalogue has no DOT',
            hint = 'The table is empty, or where in the mapping leaves every row out.',
            constraint = 'adoption_no_dot';
    end if;
    select g.problem into v_gates
    from dot.fn_host_gate_words(array(select h.key from dot.v_host_gate h)) g;
    if v_gates.problem is not null then
        raise check_violation using
            message = 'what the host says of its gates cannot be read: ' || v_gates.problem,
            hint = 'A key may stand once: say in the mapping, under where, which row counts.',
            constraint = 'adoption_gates';
    end if;
    perform from dot.fn_host_ledgers();
    select string_agg(c.code, ', ' order by c.code) into v_found
    from dot.process_candidate c
    where not exists (
        select from dot.fn_host_tools() h where h.code = c.producer_dot_code
    ) or not exists (
        select from dot.fn_host_tools() h where h.code = c.verifier_dot_code
    );
    if v_found is not null then
        raise warning 'the host does not have a DOT of these candidates, and no observation of them is taken: %', v_found;
    end if;
end
$rows$;
"""

# The definition as this server prints it is kept with the comment: a login that may read the catalog can compare it.
_COMMENT: Final = """
do $comment$
declare
    v_seam text;
begin
    foreach v_seam in array array[{seams}] loop
        execute format('comment on view dot.%I is %L', v_seam, concat(
            'Seam: adopted from ', current_setting('dot_adoption.' || v_seam), ' by mapping {digest}, definition ',
            md5(pg_get_viewdef(to_regclass('dot.' || v_seam))), ' on ', current_setting('server_version_num')::integer / 10000
        ));
    end loop;
end
$comment$;
"""


def adopt_sql(connection: psycopg.Connection[Any], mapping: Mapping, tables: Tables) -> str:
    """The transaction that adopts.

    Raises:
        MappingError: the mapping does not go with the tables.
    """
    made = queries(mapping, tables)
    columns: dict[tuple[str, str], list[str]] = {}
    stands_on: dict[str, list[str]] = {}
    for seam, key, named in sources(mapping):
        stands_on.setdefault(seam, []).append(tables[key].quoted)
        # A table that is only counted: the right to one column is the right to count its rows.
        columns.setdefault(key, []).extend(named or list(tables[key].columns)[:1])
    used = {tables[key]: list(dict.fromkeys(names)) for key, names in columns.items()}
    for key, names in columns.items():
        if not names:
            raise MappingError(f"{'.'.join(key)} has no column: nothing can be granted")
    facts = [[*table.key, name, table.columns[name].type] for table, names in used.items() for name in names]
    said = [
        f"Adopts {', '.join(dict.fromkeys(table.quoted for table in used))}, as mapping {mapping.digest} says.",
        "Run it as a superuser, or as a login that may act as the owners of these tables and as dot_owner:",
        "    psql -X -v ON_ERROR_STOP=1 -d DATABASE -f adopt.sql",
        "It writes nothing of the host: it gives dot_owner SELECT on the columns below, and makes the seam views anew.",
        "It locks these views until its end, exclusively, and the host's tables against DROP and ALTER TABLE alone, as a SELECT",
        "does. Where a lock is not to be had within half a second it gives up (55P03), and changed nothing: run it again.",
    ]
    return _transaction(
        said,
        [
            "set local role dot_owner;",
            _REVISION.format(head=schema.head()),
            _OTHER_MAPPING.format(digest=mapping.digest),
            "reset role;",
            _setting("columns", json.dumps(facts)),
            _AS_IT_WAS,
            *_grants(connection, used),
            "set local role dot_owner;",
            *(_view(seam, query) for seam, query in made.items()),
            *(_setting(seam, ", ".join(dict.fromkeys(stands_on[seam]))) for seam in made),
            _COMMENT.format(seams=", ".join(f"'{seam}'" for seam in made), digest=mapping.digest),
            _NO_CODE,
            _ROWS,
        ],
    )


def unadopt_sql(connection: psycopg.Connection[Any]) -> str:
    """The transaction that takes an adoption back, from what the catalog shows of it.

    Raises:
        MappingError: nothing is adopted.
    """
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        adopted = [one["name"] for one in cursor.execute(_ADOPTED_SEAMS).fetchall()]
        rights = cursor.execute(_RIGHTS).fetchall()
    if not adopted and not rights:
        raise MappingError("nothing is adopted in this database: there is nothing to take back")
    said = [
        "Takes the adoption of this database back: the seam views stand on the wrapper's own tables again, and dot_owner may not",
        "read the host's any more. Run it as adopt.sql:",
        "    psql -X -v ON_ERROR_STOP=1 -d DATABASE -f unadopt.sql",
        "dot_owner keeps BYPASSRLS where a superuser gave it: it belongs to the whole server.",
    ]
    return _transaction(
        said,
        [
            "set local role dot_owner;",
            _REVISION.format(head=schema.head()),
            *(_own_view(seam) for seam in adopted),
            "reset role;",
            *(_statement_of(one["owner"], one["statement"]) for one in rights),
        ],
    )


_ADOPTED_SEAMS: Final = """
select s.name
from unnest(array['v_host_tool', 'v_host_gate', 'v_host_ledger']) with ordinality s (name, position)
join pg_namespace n on n.nspname = 'dot'
left join pg_class c on c.relnamespace = n.oid and c.relname = s.name
where c.oid is null or obj_description(c.oid, 'pg_class') like 'Seam: adopted %'
order by s.position
"""

_OWNER_OF_SCHEMA: Final = """
case when n.nspowner = 'pg_database_owner'::regrole
    then (select pg_get_userbyid(d.datdba) from pg_database d where d.datname = current_database())
    else pg_get_userbyid(n.nspowner) end
"""

# dot_owner has no other rights outside its schema than those of an adoption.
_RIGHTS: Final = f"""
select pg_get_userbyid(c.relowner)::text as owner,
    format('revoke select (%s) on %I.%I from dot_owner;', string_agg(quote_ident(a.attname), ', ' order by a.attnum),
        n.nspname, c.relname) as statement
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace and n.nspname <> 'dot'
cross join aclexplode(a.attacl) x
where not a.attisdropped and x.grantee = to_regrole('dot_owner')::oid and x.privilege_type = 'SELECT'
group by c.relowner, n.nspname, c.relname
union all
select {_OWNER_OF_SCHEMA}, format('revoke usage on schema %I from dot_owner;', n.nspname)
from pg_namespace n cross join aclexplode(n.nspacl) x
where n.nspname <> 'dot' and x.grantee = to_regrole('dot_owner')::oid and x.privilege_type = 'USAGE'
order by 2
"""  # noqa: S608  texts of our own

_NEEDS_USAGE: Final = """
select n.nspname as name from pg_namespace n
where n.nspname = any (%s) and (
    not has_schema_privilege('dot_owner', n.oid, 'usage')
    or exists (select from aclexplode(n.nspacl) x where x.grantee = 'dot_owner'::regrole)
)
"""


def _grants(connection: psycopg.Connection[Any], used: dict[Table, list[str]]) -> Iterable[str]:
    schemas = {table.schema: table.schema_owner for table in used}
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        needing = {one["name"] for one in cursor.execute(_NEEDS_USAGE.encode(), (list(schemas),)).fetchall()}
    for name, owner in schemas.items():
        if name in needing:
            statement = sql.SQL("grant usage on schema {} to dot_owner;").format(sql.Identifier(name))
            yield _statement_of(owner, statement.as_string())
    for table, columns in used.items():
        yield _statement_of(table.owner, grant(table, columns))


def grant(table: Table, columns: Iterable[str]) -> str:
    """What lets the seams read columns of a table."""
    named = ", ".join(table.columns[name].quoted for name in columns)
    return f"grant select ({named}) on {table.quoted} to dot_owner;"


def _statement_of(owner: str, statement: str) -> str:
    return f"set local role {sql.Identifier(owner).as_string()};\n{statement}\nreset role;"


def _setting(name: str, value: str) -> str:
    return sql.SQL("set local {} = {};").format(sql.Identifier("dot_adoption", name), value).as_string()


def _view(seam: str, query: sql.Composed) -> str:
    """A seam over the host's tables, with the rights and the comments of its file."""
    _, _, rest = _file(seam).partition(";\n\nrevoke ")
    return (
        f"drop view if exists dot.{seam};\ncreate view dot.{seam} with (security_barrier = true) as\n{query.as_string()};\n\n"
        f"revoke {rest.strip()}"
    )


def _own_view(seam: str) -> str:
    return f"drop view if exists dot.{seam};\n{_file(seam).strip()}"


def _file(seam: str) -> str:
    return (ROOT / "sql" / "views" / f"{seam}.sql").read_text(encoding="utf-8")


def _transaction(said: list[str], parts: list[str]) -> str:
    head = "\n".join(f"-- {escape_control_characters(line)}" for line in said)
    body = [f"{part.strip().removesuffix(';')};" for part in (*BEGIN, INSTALLED, ENTER, GIVE_UP_EARLY, *parts, LEAVE)]
    return head + "\nbegin;\n\n" + "\n\n".join(body) + "\n\ncommit;\n"
