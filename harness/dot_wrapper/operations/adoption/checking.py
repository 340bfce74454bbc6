"""Compares an adopted database with its adoption: what the host's owner or another login has changed since, and what repairs it.

``definitions`` reads the catalog alone, as any login; ``rows`` the wrapper's views; ``against`` compares the seams with a mapping, which
which a login that may change the database cannot change too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dot_wrapper.client.database import PIN, reading, transaction
from dot_wrapper.deploy.guards import SETTINGS, TRUST
from dot_wrapper.operations.adoption.host import TIMEOUTS, Table, tables_of
from dot_wrapper.operations.adoption.mapping import Catalogue, Gates, Mapping, MappingError, Value
from dot_wrapper.operations.adoption.scripts import ADOPTED, CODE_BELOW, STANDS_ON
from dot_wrapper.operations.adoption.seams import SEAMS, condition_of, queries

AGAIN: Final = "Run adopt.sql again, made anew: `dot-wrapper adopt --mapping FILE --sql`."
LOOK: Final = "Look who did that."


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not as it was adopted.

    Attributes:
        object: the seam, or the host's table or gate.
        level: fail where calls are refused, or something is read that is not what was adopted; warn where a person has to know.
        repair: what to do.
        runs_code: whether reading it would run code of another login.
    """

    object: str
    text: str
    repair: str
    level: Literal["fail", "warn"] = "fail"
    runs_code: bool = False


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is adopted.

    Attributes:
        seams: the views that are, with the mapping's hash.
        tables: the host's tables that they stand on, as SQL names them.
        schemas: of these tables, as SQL names them.
        problems: what the catalog shows to be wrong.
    """

    seams: dict[str, str]
    tables: tuple[str, ...]
    schemas: tuple[str, ...]
    problems: tuple[Problem, ...]


_SEAMS: Final = """
select s.name, c.oid is not null as is_there, coalesce(obj_description(c.oid, 'pg_class'), '') as comment,
    md5(pg_get_viewdef(c.oid)) as definition,
    (current_setting('server_version_num')::integer / 10000)::text as server,
    (
        select string_agg(distinct format('%%I.%%I', tn.nspname, t.relname), ', ')
        from ({stands_on}) o join pg_class t on t.oid = o.refobjid join pg_namespace tn on tn.oid = t.relnamespace
        where o.ev_class = c.oid
    ) as tables
from unnest(%s::text[]) with ordinality s (name, position)
join pg_namespace n on n.nspname = 'dot'
left join pg_class c on c.relnamespace = n.oid and c.relname = s.name and c.relkind = 'v'
order by s.position
"""

_TABLES: Final = f"""
select format('%I.%I', n.nspname, c.relname) as quoted, quote_ident(n.nspname) as schema,
    has_schema_privilege(r.oid, n.oid, 'usage') as enters,
    c.relrowsecurity and not (r.rolsuper or r.rolbypassrls) as is_filtered,
    (
        select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute a
        where a.attrelid = c.oid
            and a.attnum in (select o.refobjsubid from ({STANDS_ON}) o where o.refobjid = c.oid and o.refobjsubid > 0)
            and not has_column_privilege(r.oid, c.oid, a.attnum, 'select')
    ) as unreadable,
    not has_any_column_privilege(r.oid, c.oid, 'select') as is_unreadable
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_roles r on r.rolname = 'dot_owner'
where c.oid in (select o.refobjid from ({STANDS_ON}) o)
order by 1
"""  # noqa: S608  texts of our own

_COMMENT: Final = re.compile(
    re.escape(ADOPTED) + r"from (.*) by mapping ([0-9a-f]{16}), definition ([0-9a-f]{32}) on (\d+)", re.DOTALL
)


def definitions(connection: psycopg.Connection[Any]) -> Adoption | None:
    """What is adopted, from the catalog; None where nothing is."""
    with reading(connection), connection.cursor(row_factory=dict_row) as cursor:
        seams = cursor.execute(_SEAMS.format(stands_on=STANDS_ON).encode(), (list(SEAMS),)).fetchall()
        adopted = [one for one in seams if one["comment"].startswith(ADOPTED)]
        if not adopted:
            return None
        tables = cursor.execute(_TABLES).fetchall()
        code = cursor.execute(CODE_BELOW).fetchall()
    problems = [*_seams(seams), *_tables(tables)]
    for text in sorted({one["what"] for one in code}):
        repair = "Drop it, or call PostgreSQL's own functions in it. Until then nothing of the host should be read."
        problems.append(
            Problem("host", f"{text}, with the rights of the login that reads the table", repair, runs_code=True)
        )
    hashes = {one["name"]: found[2] for one in adopted if (found := _COMMENT.fullmatch(one["comment"]))}
    return Adoption(
        hashes,
        tuple(one["quoted"] for one in tables),
        tuple(sorted({one["schema"] for one in tables})),
        tuple(problems),
    )


def _seams(seams: list[dict[str, Any]]) -> Iterator[Problem]:
    hashes = set()
    for one in seams:
        name = f"dot.{one['name']}"
        if not one["is_there"]:
            text = "the view is gone: a table or column that it read was dropped with CASCADE"
            yield Problem(name, text, f"Every call that needs it is refused. {AGAIN}")
        if not one["comment"].startswith(ADOPTED):
            continue
        said = _COMMENT.fullmatch(one["comment"])
        if said is None:
            yield Problem(name, "its comment is not the one that adopt.sql writes", f"{LOOK} {AGAIN}")
            continue
        tables, digest, definition, server = said.groups()
        hashes.add(digest)
        now = one["tables"] or ""
        if set(tables.split(", ")) != set(now.split(", ")):
            yield Problem(
                name,
                f"it was adopted from {tables}, and reads {now or 'no table'}",
                f"A table was renamed. {LOOK} {AGAIN}",
            )
        elif server == one["server"] and definition != one["definition"]:
            text = "its definition is not the one that was adopted: it was changed, or a column was renamed"
            yield Problem(name, text, f"{LOOK} {AGAIN}")
    if len(hashes) > 1:
        yield Problem("dot", f"the seams are of several mappings: {', '.join(sorted(hashes))}", AGAIN)


def _tables(tables: list[dict[str, Any]]) -> Iterator[Problem]:
    for one in tables:
        if not one["enters"]:
            repair = f"grant usage on schema {one['schema']} to dot_owner;"
            yield Problem(one["quoted"], f"dot_owner may no longer enter schema {one['schema']}", repair)
        if one["unreadable"]:
            repair = f"grant select ({one['unreadable']}) on {one['quoted']} to dot_owner;"
            yield Problem(one["quoted"], f"dot_owner may no longer read {one['unreadable']}", repair)
        elif one["is_unreadable"]:
            yield Problem(one["quoted"], "dot_owner may no longer count its rows", AGAIN)
        if one["is_filtered"]:
            text = "it has row security since: what the wrapper reads of it is refused"
            repair = f"A superuser runs: alter role dot_owner bypassrls; or its owner: alter table {one['quoted']} disable row level security;"
            yield Problem(one["quoted"], text, repair)


_TWICE: Final = """
select t.dot_code collate "C" as code, count(*) as rows from dot.v_dot_tool t group by 1 having count(*) > 1 order by 1 limit 20
"""

_WITHOUT_DOT: Final = """
select c.process_candidate_code as candidate
from dot.v_process_candidate c
where not exists (select from dot.v_dot_tool t where t.dot_code = c.producer_dot_code)
    or not exists (select from dot.v_dot_tool t where t.dot_code = c.verifier_dot_code)
order by 1 limit 20
"""

_GATES: Final = "select g.key, g.host_value from dot.v_dot_gate g where g.is_governed_by_host order by 1"


def rows(connection: psycopg.Connection[Any], role: str = "dot_reader") -> Iterator[Problem]:
    """What the rows show to be wrong, through the wrapper's views.

    Raises:
        psycopg.errors.InsufficientPrivilege: the login may not act as the role.
    """
    try:
        with transaction(connection, role), connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(TIMEOUTS)
            twice = cursor.execute(_TWICE).fetchall()
            without = cursor.execute(_WITHOUT_DOT).fetchall()
            gates = cursor.execute(_GATES).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        yield Problem("host", str(error.diag.message_primary), "The findings above say why.")
        return
    for one in twice:
        text = f"DOT {one['code']} stands {one['rows']} times in the catalogue: calls for it are refused"
        yield Problem("catalogue", text, "Say under where in the mapping which row counts, or correct the rows.")
    if without:
        named = ", ".join(one["candidate"] for one in without)
        text = f"the host does not have a DOT of {named}: no observation of them is taken, their verdicts stay"
        yield Problem("catalogue", text, "Add the DOT there, or define a candidate that supersedes.", "warn")
    for gate in gates:
        if gate["host_value"] is None:
            text = "the host governs it and has no value for it: it is closed"
            yield Problem(gate["key"], text, "Insert its row with the value false.", "warn")
        elif gate["host_value"] not in ("true", "false"):
            text = f"the host says {gate['host_value']!r}: only the word true opens it"
            yield Problem(gate["key"], text, "Let the host write true or false.", "warn")


def check(connection: psycopg.Connection[Any], mapping: Mapping | None) -> tuple[Adoption | None, list[Problem]]:
    """What is adopted, and all that is wrong with it.

    Args:
        mapping: what it should be; None to compare with what adopt.sql left in the database.
    """
    adoption = definitions(connection)
    if adoption is None:
        text = "nothing is adopted: the wrapper reads its own tables"
        return None, [Problem("dot", text, "`dot-wrapper adopt --mapping FILE --sql` prints what adopts.")]
    problems = list(adoption.problems)
    if mapping is not None:
        problems += against(connection, mapping, adoption)
    if any(one.runs_code for one in problems):
        text = "its rows were not read: that would run code of the host"
        problems.append(Problem("host", text, "See above.", "warn"))
        return adoption, problems
    try:
        problems += rows(connection)
    except psycopg.errors.InsufficientPrivilege:
        text = "this login may not see the catalogue and the gates: codes that stand twice are not looked for"
        problems.append(Problem("dot", text, "A DBA grants it dot_reader.", "warn"))
    return adoption, problems


def against(connection: psycopg.Connection[Any], mapping: Mapping, adoption: Adoption) -> Iterator[Problem]:
    """What is not as a mapping says."""
    for seam, digest in adoption.seams.items():
        if digest != mapping.digest:
            text = f"it was adopted by another mapping: {digest}, and this is {mapping.digest}"
            yield Problem(
                f"dot.{seam}", text, "Check with the mapping that was adopted, or take that back and adopt this one."
            )
    tables = tables_of(connection, mapping)
    try:
        made = queries(mapping, tables)
    except MappingError as error:
        for line in str(error).splitlines():
            yield Problem("mapping", line, "Correct the mapping, take the old one back, and adopt it.")
        return
    yield from _unique(mapping, tables)
    yield from _as_made(connection, made)
    for seam in adoption.seams:
        if seam not in made:
            yield Problem(
                f"dot.{seam}", "it is adopted, and the mapping has no section for it", "Take it back, and adopt again."
            )


def _unique(mapping: Mapping, tables: dict[tuple[str, str], Table]) -> Iterator[Problem]:
    """The keys by which a DOT or a gate stands once."""
    keyed: list[tuple[Catalogue | Gates, Value]] = []
    if mapping.catalogue is not None:
        keyed.append((mapping.catalogue, mapping.catalogue.columns.code))
    if mapping.gates is not None:
        keyed.append((mapping.gates, mapping.gates.key_))
    for section, value in keyed:
        table = tables[section.key]
        by_where = {one.column for one in section.where}
        for index in table.uniques:
            implied = index.predicate is None or condition_of(index, table) in section.where
            if value.column in index.columns and set(index.columns) <= by_where | {value.column} and implied:
                break
        else:
            repair = f"create unique index on {table.quoted} ({table.columns[value.column or ''].quoted});"
            yield Problem(table.quoted, f"{value.column} is not unique: what stands twice is refused", repair, "warn")


def _as_made(connection: psycopg.Connection[Any], made: dict[str, sql.Composed]) -> Iterator[Problem]:
    """Compares each seam with the view that the mapping makes, made beside it and rolled back."""
    try:
        with connection.transaction(force_rollback=True), connection.cursor(row_factory=dict_row) as cursor:
            for text in (PIN, SETTINGS, TRUST, TIMEOUTS, "set local role dot_owner"):
                cursor.execute(text.encode())
            for seam, query in made.items():
                cursor.execute(sql.SQL("create view dot.v_host_expected as {}").format(query))
                (found,) = cursor.execute(
                    "select pg_get_viewdef('dot.v_host_expected'::regclass) = pg_get_viewdef(to_regclass(%s)) as is_same",
                    (f"dot.{seam}",),
                ).fetchall()
                cursor.execute("drop view dot.v_host_expected")
                if found["is_same"] is False:
                    text = "its definition is not what the mapping makes"
                    yield Problem(f"dot.{seam}", text, f"{LOOK} {AGAIN}")
                elif found["is_same"] is None:
                    yield Problem(f"dot.{seam}", "the mapping has it, and it is not there", AGAIN)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        text = f"the definitions were not compared with the mapping: {error.diag.message_primary}"
        yield Problem("dot", text, "Check as a login that may act as dot_owner, on the primary.", "warn")
