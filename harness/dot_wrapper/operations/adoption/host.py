"""What the catalog says of the host's tables: columns, keys, owners, and the code that reading them would run.

Reading a table runs its owner's code in more ways than a view or a row policy. The planner computes the constant parts of an index's
predicate, of a CHECK and of extended statistics, with the rights of the login that reads; a partition may be a foreign table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dot_wrapper.client.database import reading
from dot_wrapper.operations.adoption.mapping import Mapping, sources

TIMEOUTS: Final = "set local lock_timeout = '5s'; set local statement_timeout = '20s'; set local row_security = off"
"""With ``row_security`` off a policy is an error to a login that it applies to, and is never run."""


def as_sql(quoted: str) -> sql.SQL:
    """A name that the server has quoted, as a part of a query."""
    return sql.SQL(quoted)


KINDS: Final = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a host table.

    Attributes:
        quoted: its name as SQL has it.
        type: as it is declared.
        base: the type that a domain stands for: a name of ``pg_catalog``, ``enum`` or ``citext``; None for any other, whose output
            is code of another login.
        is_exact: whether its collation takes texts for equal only where they are the same.
    """

    name: str
    quoted: str
    type: str
    base: str | None
    is_exact: bool

    @property
    def sql(self) -> sql.SQL:
        """Its name in a query."""
        return as_sql(self.quoted)


@dataclass(frozen=True, slots=True)
class Unique:
    """A valid unique index: its columns, and the predicate of a partial one."""

    columns: tuple[str, ...]
    predicate: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of the host's, or what stands in its place.

    Attributes:
        kind: as in ``pg_class.relkind``.
        schema_owner: who may grant USAGE on the schema.
        is_readable, is_writable: whether this login may read it, and lock it against changes of its definition.
        code: what of others' code is run by a login that reads it.
    """

    oid: int
    schema: str
    name: str
    quoted: str
    kind: str
    owner: str
    schema_owner: str
    row_security: bool
    is_readable: bool
    is_writable: bool
    columns: dict[str, Column]
    uniques: tuple[Unique, ...]
    triggers: tuple[str, ...]
    code: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name

    @property
    def sql(self) -> sql.SQL:
        """Its name in a query."""
        return as_sql(self.quoted)


_BASE: Final = """
with recursive t (oid) as (
    select a.atttypid union all select y.typbasetype from t join pg_type y on y.oid = t.oid where y.typtype = 'd'
)
select case
        when y.typtype = 'e' then 'enum'
        when y.typnamespace = 'pg_catalog'::regnamespace and y.typtype = 'b' then y.typname::text
        when exists (
            select from pg_depend x join pg_extension e on x.refclassid = 'pg_extension'::regclass and e.oid = x.refobjid
            where x.classid = 'pg_type'::regclass and x.objid = y.oid and x.deptype = 'e' and e.extname = 'citext'
        ) then 'citext'
    end
from t join pg_type y on y.oid = t.oid where y.typtype <> 'd'
"""

_TABLES: Final = f"""
select c.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, format('%%I.%%I', n.nspname, c.relname) as quoted,
    c.relkind::text as kind, c.relrowsecurity as row_security, pg_get_userbyid(c.relowner)::text as owner,
    (case when n.nspowner = 'pg_database_owner'::regrole
        then (select pg_get_userbyid(d.datdba) from pg_database d where d.datname = current_database())
        else pg_get_userbyid(n.nspowner) end)::text as schema_owner,
    has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as is_readable,
    has_table_privilege(c.oid, 'update') as is_writable,
    (
        select coalesce(json_agg(json_build_array(
            a.attname, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), ({_BASE}),
            not exists (select from pg_collation l where l.oid = a.attcollation and not l.collisdeterministic)
        ) order by a.attnum), '[]')
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns,
    (
        select coalesce(json_agg(json_build_array(
            (
                select json_agg(a.attname order by k.position)
                from unnest(i.indkey::smallint[]) with ordinality k (attnum, position)
                join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                where k.position <= i.indnkeyatts
            ),
            pg_get_expr(i.indpred, i.indrelid)
        ) order by i.indexrelid), '[]')
        from pg_index i
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indexprs is null
    ) as uniques,
    array(
        select t.tgname::text from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal order by 1
    ) as triggers
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and
"""  # noqa: S608  texts of our own

# ``given`` comes last and is used first: RECURSIVE stands for all of them.
_CODE: Final = """
recursive family (top, oid) as (
    select g.oid, g.oid from given g
    union
    select f.top, i.inhrelid from family f join pg_inherits i on i.inhparent = f.oid
),
part (top, classid, objid, what) as (
    select f.top, 'pg_class'::regclass, x.indexrelid, format('index %s', x.indexrelid::regclass)
    from family f join pg_index x on x.indrelid = f.oid
    union all
    select f.top, 'pg_constraint'::regclass, k.oid, format('constraint %I of %s', k.conname, f.oid::regclass)
    from family f join pg_constraint k on k.conrelid = f.oid and k.contype = 'c'
    union all
    select f.top, 'pg_statistic_ext'::regclass, s.oid, format('statistics %I of %s', s.stxname, f.oid::regclass)
    from family f join pg_statistic_ext s on s.stxrelid = f.oid
    union all
    select f.top, 'pg_attrdef'::regclass, d.oid, format('generated column %I of %s', a.attname, f.oid::regclass)
    from family f
    join pg_attrdef d on d.adrelid = f.oid
    join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum and a.attgenerated <> ''
    union all
    select f.top, 'pg_class'::regclass, f.oid, format('partition key of %s', f.oid::regclass) from family f
),
code (top, what) as (
    select f.top, format('%s is %s', f.oid::regclass, case c.relkind
        when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table' else 'no table' end)
    from family f join pg_class c on c.oid = f.oid
    where c.relkind not in ('r', 'p')
    union
    select p.top, format('%s runs %s', p.what, coalesce(f.oid::regprocedure::text, o.oid::regoperator::text))
    from part p
    join pg_depend d on d.classid = p.classid and d.objid = p.objid
    left join pg_proc f
        on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid and f.pronamespace <> 'pg_catalog'::regnamespace
    left join pg_operator o
        on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid and o.oprnamespace <> 'pg_catalog'::regnamespace
    where f.oid is not null or o.oid is not null
)
"""


def code_of(given: str) -> str:
    """A query: what of others' code is run by a login that reads some tables, as ``top``, the table's oid, and ``what``.

    Args:
        given: a query of one column, the tables' oids.
    """
    return f"with {_CODE.strip()},\ngiven (oid) as ({given})\nselect top::bigint, what from code"


def tables(connection: psycopg.Connection[Any], schema: str, names: Sequence[str]) -> dict[str, Table]:
    """Those of the named tables that are there, in one query of the catalog and one for their code."""
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            (_TABLES + "n.nspname = %s and c.relname = any(%s)").encode(), (schema, list(names))
        ).fetchall()
        oids = ",".join(str(one["oid"]) for one in found)
        code = cursor.execute(code_of(f"select unnest('{{{oids}}}'::oid[])").encode()).fetchall()
    return {
        one["name"]: Table(
            **one
            | {
                "columns": {name: Column(name, *rest) for name, *rest in one["columns"]},
                "uniques": tuple(Unique(tuple(columns or ()), predicate) for columns, predicate in one["uniques"]),
                "triggers": tuple(one["triggers"]),
                "code": tuple(line["what"] for line in code if line["top"] == one["oid"]),
            }
        )
        for one in found
    }


def tables_of(connection: psycopg.Connection[Any], mapping: Mapping) -> dict[tuple[str, str], Table]:
    """The tables that a mapping names, those that are there."""
    named: dict[str, list[str]] = {}
    for _, (schema, name), _ in sources(mapping):
        named.setdefault(schema, []).append(name)
    return {table.key: table for schema, names in named.items() for table in tables(connection, schema, names).values()}


@contextmanager
def rows_of(connection: psycopg.Connection[Any], table: Table) -> Iterator[psycopg.Cursor[dict[str, Any]] | None]:
    """A read-only transaction for reading a table's rows; None where that is not allowed, or would run code.

    The table is locked first and looked at again. A login that may write it takes a lock that keeps its owner from giving it an
    index or a policy meanwhile, and holds up no reader and no writer.
    """
    if not table.is_readable or table.kind not in ("r", "p"):
        yield None
        return
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(TIMEOUTS)
        mode = sql.SQL("share update exclusive" if table.is_writable else "access share")
        cursor.execute(sql.SQL("lock table {} in {} mode").format(table.sql, mode))
        passes = cursor.execute(
            "select rolsuper or rolbypassrls as by from pg_roles where rolname = current_user"
        ).fetchone()
        now = tables(connection, table.schema, [table.name]).get(table.name)
        hidden = now is None or now.code or (now.row_security and not (passes and passes["by"]))
        yield None if hidden else cursor
