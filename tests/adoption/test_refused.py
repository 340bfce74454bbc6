"""What adopt.sql refuses, by SQLSTATE and constraint, and the columns that it takes. The refused database is as it was before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.mapping import Mapping, MappingError, as_written
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from support import Database, rows, value
from support.catalog import psql
from support.hosts import adopt, beside, mapping_of

SEAMS = (
    "select c.relname, pg_get_viewdef(c.oid), obj_description(c.oid), c.relacl::text from pg_class c"
    " where c.relnamespace = 'dot'::regnamespace and c.relname like 'v\\_host\\_%' order by 1"
)


def changed(**replaced: Any) -> Mapping:
    """The mapping of the near host with other fields of its catalogue."""
    written = as_written(mapping_of("near"))
    written["catalogue"] |= replaced
    return Mapping.model_validate(written)


def columns(**replaced: Any) -> Mapping:
    """The mapping of the near host with other columns."""
    kept = as_written(mapping_of("near"))["catalogue"]["columns"] | replaced
    return changed(columns={name: column for name, column in kept.items() if column is not None})


def script(db: Database, mapping: Mapping | None = None) -> str:
    mapping = mapping or mapping_of("near")
    with database.connect(db.url) as connection:
        return adopt_sql(connection, mapping, tables_of(connection, mapping))


@contextmanager
def nothing_changes(db: Database) -> Iterator[None]:
    admin = db.session("superuser")
    before = rows(admin, SEAMS)
    yield
    assert rows(admin, SEAMS) == before


def is_refused(db: Database, text: str, sqlstate: str, constraint: str, saying: str = "") -> None:
    """psql stops there, with this SQLSTATE and constraint."""
    with nothing_changes(db):
        code, said = psql(db.url, text)
        assert code != 0, said
        assert re.search(rf"ERROR:  {sqlstate}: .*{re.escape(saying)}", said), said
        assert f"CONSTRAINT NAME:  {constraint}" in said, said


def as_app(db: Database, statement: str) -> None:
    """As the owner of the host's tables, who is no superuser and no member of a role of the wrapper's."""
    with psycopg.connect(db.url, autocommit=True) as host:
        host.execute("set role host_app; set search_path = public")
        host.execute(statement.encode())


def test_a_second_mapping_is_refused_until_the_first_is_taken_back(near: Database) -> None:
    first = script(near)
    assert psql(near.url, first)[0] == 0
    is_refused(near, script(near, columns(category=None)), "55000", "adoption_other_mapping", "dot.v_host_tool")
    assert psql(near.url, first)[0] == 0


def test_a_script_for_other_columns_is_refused(near: Database) -> None:
    text = script(near)
    as_app(near, "alter table dot_tools alter column category type varchar(200)")
    is_refused(near, text, "55000", "adoption_columns", "public.dot_tools.category (character varying(40))")


def test_a_script_for_another_revision_is_refused(near: Database) -> None:
    text = script(near)
    near.connect("owner").execute("update dot.alembic_version set version_num = '0003'")
    is_refused(near, text, "55000", "adoption_revision")


def test_a_database_without_the_wrapper_is_refused(near: Database, empty_url: str) -> None:
    code, said = psql(empty_url, script(near))
    assert code != 0
    assert "deploy_not_installed" in said


def test_a_code_that_stands_twice_is_refused(near: Database) -> None:
    as_app(
        near,
        "alter table dot_tools drop constraint dot_tools_code_key; insert into dot_tools (code, name) values ('KG.001', 'x')",
    )
    is_refused(near, script(near), "23505", "adoption_code_twice", "KG.001")


def test_a_dot_without_a_code_is_refused(near: Database) -> None:
    as_app(near, "alter table dot_tools alter column code drop not null; insert into dot_tools (name) values ('x')")
    is_refused(near, script(near), "23502", "adoption_code_not_null")


def test_a_catalogue_without_a_dot_is_refused(near: Database) -> None:
    where = {"column": "code", "is": "missing"}
    is_refused(near, script(near, changed(where=where)), "23514", "adoption_no_dot")


def test_switches_that_cannot_be_read_are_refused(near: Database) -> None:
    as_app(
        near,
        "alter table dot_config drop constraint dot_config_pkey;"
        " insert into dot_config (key, value) values ('iu_core.operator_runtime_enabled', 'true')",
    )
    is_refused(near, script(near), "23514", "adoption_gates", "more than one row returned by a subquery")


def test_row_security_is_refused_unless_the_owner_of_the_seams_passes_by_it(near: Database) -> None:
    text = script(near)
    as_app(
        near,
        f"{SPY} alter table dot_tools enable row level security; create policy spying on dot_tools using (spy(usage_count))",
    )
    is_refused(near, text, "23514", "adoption_row_security", "public.dot_tools")
    near.connect("superuser").execute("alter role dot_owner bypassrls")
    assert psql(near.url, text)[0] == 0
    assert value(near.session("reader"), "select count(*) from dot.v_dot_tool") == 303
    assert value(near.connect("superuser"), HAS_RUN) is False


# Each would run a function of the host's owner with the rights of the login that reads the table. A sequence remembers it, rolled back or not.
SPY = (
    "create sequence ran; grant usage on sequence ran to public;"
    " create function spy(integer) returns boolean language plpgsql immutable as"
    " $$ begin perform nextval('public.ran'); return true; end $$;"
)
HAS_RUN = "select is_called from public.ran"
CODE = {
    "an index": "create index spying on dot_tools (name) where spy(1)",
    "an expression of an index": "create index spying on dot_tools ((usage_count > 0 and spy(1)))",
    "a CHECK": "alter table dot_tools add constraint spying check (spy(1) or code <> '')",
    "statistics": "create statistics spying on (usage_count > 0 and spy(1)), code from dot_tools",
    "a generated column": "alter table dot_tools add spying boolean generated always as (spy(usage_count)) stored",
    "a child": "create table child () inherits (dot_tools); create index spying on child (name) where spy(1)",
    "an operator": "create function alike(text, text) returns boolean language sql immutable as 'select true';"
    " create operator === (leftarg = text, rightarg = text, function = alike);"
    " create index spying on dot_tools (name) where name === 'x'",
}

RUN = ("an index", "an expression of an index", "statistics", "a child")
"""Those that the planner runs by itself, as a superuser's query. Not to be trusted are the others too."""


@pytest.mark.parametrize("what", CODE)
def test_a_table_whose_reading_runs_code_of_its_owner_is_refused(near: Database, what: str) -> None:
    text = script(near)
    as_app(near, f"{SPY} {CODE[what]}")
    as_app(near, "select setval('ran', 1, false)")
    is_refused(near, text, "23514", "adoption_no_host_code", "runs ")
    with pytest.raises(MappingError, match="with the rights of the login that reads it"):
        script(near)
    assert value(near.connect("superuser"), HAS_RUN) is False, "what was asked of it ran it"
    near.connect("superuser").execute("select count(*) from public.dot_tools where usage_count > 5")
    assert value(near.connect("superuser"), HAS_RUN) is (what in RUN), "a superuser's count of the rows"


def test_a_function_in_a_seam_is_refused(near: Database) -> None:
    """No mapping makes one, and a script passes through hands."""
    as_app(near, "create function norm(text) returns text language sql immutable as 'select $1'")
    text = script(near).replace("t.category::text as", "public.norm(t.category::text) as")
    is_refused(near, text, "23514", "adoption_no_host_code", "dot.v_host_tool calls public.norm(text)")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("create view other as select * from dot_tools", "is a view"),
        ("create materialized view other as select * from dot_tools", "is a materialized view"),
    ],
)
def test_what_is_no_table_is_refused(near: Database, made: str, told: str) -> None:
    as_app(near, made)
    with pytest.raises(MappingError, match=f"{told}, which its owner can make say anything"):
        script(near, changed(table="other"))
    text = script(near).replace("from public.dot_tools as t", "from public.other as t")
    as_app(near, "grant select on other to public")
    is_refused(near, text, "23514", "adoption_no_host_code", f"public.other {told}")


def test_the_wrapper_s_own_tables_are_no_host(near: Database) -> None:
    with pytest.raises(MappingError, match=r"dot\.dot_tools: there is no such table of a host's"):
        script(near, changed(schema="dot"))


def test_a_foreign_table_and_a_partition_that_is_one_are_refused(near: Database) -> None:
    near.connect("superuser").execute(
        "create foreign data wrapper nothing; create server elsewhere foreign data wrapper nothing;"
        " create foreign table public.remote (code text) server elsewhere;"
        " create table public.parted (code text) partition by list (code);"
        " create foreign table public.part partition of public.parted default server elsewhere"
    )
    code = {"code": "code"}
    with pytest.raises(MappingError, match="is a foreign table"):
        script(near, changed(table="remote", columns=code))
    with pytest.raises(MappingError, match=r"public\.part is a foreign table"):
        script(near, changed(table="parted", columns=code))


# A column of the catalogue's, what it is made of, and what the seam shows of it.
TAKEN: dict[str, tuple[str, str, Any, Any]] = {
    "a name in quotes": ('add "Code ""x""" text default \'a\'', "category", 'Code "x"', "a"),
    "a domain": ("add d dword default 'a'", "category", "d", "a"),
    "a domain over a domain": ("add dd ddword default 'a'", "category", "dd", "a"),
    "an enum": ("add e word default 'A'", "execution_engine", {"column": "e", "lower": True}, "a"),
    "a field of jsonb": ('add j jsonb default \'{"k": "a"}\'', "category", {"column": "j", "field": "k"}, "a"),
    "a uuid": (
        "add u uuid default '00000000-0000-0000-0000-000000000001'",
        "category",
        "u",
        f"{0:08}-0000-0000-0000-{1:012}",
    ),
    "an array": ("add r text[] default '{a,b}'", "category", "r", "{a,b}"),
    "a boolean": ("add b boolean default true", "category", "b", "true"),
    "another collation": ("add c text collate \"C\" default 'a'", "category", "c", "a"),
    "a constant": ("add x integer", "category", {"constant": "a"}, "a"),
    "an empty text": ("add n text default ''", "script_path", {"column": "n", "empty_is_null": True}, None),
    "a generated column": ("add g text generated always as (lower(code)) stored", "category", "g", "kg.001"),
    "a numeric": ("add nu numeric default 7.6", "usage_count", "nu", 8),
    "a numeric that is none": ("add nn numeric default 'NaN'", "usage_count", "nn", None),
    "a number beyond a bigint": ("add nb float8 default 1e30", "usage_count", "nb", None),
    "a date": ("add da date default '2026-01-02'", "last_executed", {"column": "da", "time_zone": "UTC"}, "2026-01-02"),
    "a time that never ends": ("add ti timestamptz default 'infinity'", "last_executed", "ti", "infinity"),
}


def test_columns_of_many_kinds_are_read(near: Database) -> None:
    as_app(
        near,
        "create domain dword as text check (value <> 'zz'); create domain ddword as dword; create type word as enum ('A')",
    )
    for added, target, source, shown in TAKEN.values():
        is_read(near, added, target, source, shown)


def test_a_citext_is_read_as_the_text_it_is(near: Database) -> None:
    try:
        near.connect("superuser").execute(
            "create schema ext; create extension citext schema ext; grant usage on schema ext to host_app"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server has no citext: Debian's 15 has")
    is_read(near, "add ci ext.citext default 'Ab'", "category", "ci", "Ab")


def is_read(db: Database, added: str, target: str, source: Any, shown: Any) -> None:
    """A column of a kind is read, and beside own DOTs it is the same."""
    as_app(db, f"alter table dot_tools {added}")
    mapping = columns(**{target: source})
    for one in (mapping, beside(mapping)):
        code, said = psql(db.url, script(db, one))
        assert code == 0, (added, said)
        found = value(db.session("reader"), f"select {target}::text from dot.v_dot_tool where dot_code = 'KG.001'")
        assert str(found).startswith(str(shown)), added
        assert psql(db.url, _back(db))[0] == 0, added


def _back(db: Database) -> str:
    with database.connect(db.url) as connection:
        return unadopt_sql(connection)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a text as a number": ("add t text", {"usage_count": "t"}, "a number is needed"),
    "a text as a time": ("add t text", {"last_executed": "t"}, "a time is needed"),
    "a time without its zone": ("add t timestamp", {"last_executed": "t"}, "its time_zone is needed"),
    "a zone where there is no time": (
        "add t text",
        {"category": {"column": "t", "time_zone": "UTC"}},
        "time_zone goes with",
    ),
    "a field of a text": ("add t text", {"category": {"column": "t", "field": "k"}}, "has no field k"),
    "a conversion of a number": ("add t integer", {"usage_count": {"column": "t", "lower": True}}, "is a column alone"),
    "a type of the host's": ("add t pair", {"category": "t"}, "whose output is not PostgreSQL's own code"),
    "a list of such a type": ("add t pair[]", {"category": "t"}, "whose output is not PostgreSQL's own code"),
    "no such column": ("add t text", {"category": "nothing"}, "has no column nothing"),
}


def test_columns_that_cannot_be_read_are_refused_with_the_reason(near: Database) -> None:
    as_app(near, "create type pair as (a text, b text)")
    for what, (added, replaced, told) in REFUSED.items():
        as_app(near, f"alter table dot_tools {added}")
        with pytest.raises(MappingError) as caught:
            script(near, columns(**replaced))
        assert told in str(caught.value), (what, str(caught.value))
        as_app(near, "alter table dot_tools drop column t")


def test_a_collation_that_takes_other_texts_for_equal_lets_no_other_code_pass(near: Database) -> None:
    try:
        as_app(
            near,
            "create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
            " alter table dot_tools alter column code type text collate no_case",
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server has no ICU: Debian's 15 has")
    assert psql(near.url, script(near))[0] == 0
    cataloguer = near.session("cataloguer")
    define = "select dot.fn_process_candidate_define('host.pair', %s, %s, 'tester')"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        cataloguer.execute(define, ("kg.001", "KG.002"))
    cataloguer.execute(define, ("KG.001", "KG.002"))


def test_a_partitioned_table_and_one_with_children_are_read_whole(near: Database) -> None:
    as_app(
        near,
        "create table parted (code text primary key) partition by list (code);"
        " create table part_a partition of parted for values in ('A'); create table part_rest partition of parted default;"
        " insert into parted values ('A'), ('B')",
    )
    assert psql(near.url, script(near, changed(table="parted", columns={"code": "code"})))[0] == 0
    found = rows(near.session("reader"), "select dot_code from dot.v_dot_tool order by 1")
    assert [one["dot_code"] for one in found] == ["A", "B"]


def test_a_candidate_whose_dot_the_host_does_not_have_is_told(near: Database) -> None:
    cataloguer = near.session("cataloguer")
    cataloguer.execute("select dot.fn_dot_tool_register('own.dot'), dot.fn_dot_tool_register('own.check')")
    cataloguer.execute("select dot.fn_process_candidate_define('own.pair', 'own.dot', 'own.check', 'tester')")
    code, said = psql(near.url, script(near))
    assert code == 0
    assert re.search(r"WARNING: .* no observation of them is taken: own\.pair", said)


@pytest.mark.parametrize("seam", ["v_host_tool", "v_host_gate"])
def test_it_gives_up_early_where_a_writer_holds_a_seam(near: Database, seam: str) -> None:
    text = script(near)
    writer = near.connect("owner")
    with writer.transaction():
        writer.execute(f"select count(*) from dot.{seam}")
        with nothing_changes(near):
            code, said = psql(near.url, text)
            assert (code != 0, "ERROR:  55P03" in said) == (True, True), said
    assert psql(near.url, text)[0] == 0


def test_an_adoption_looks_a_code_up_by_the_host_s_own_index(near: Database) -> None:
    adopt(near.url, mapping_of("near"))
    owner = near.connect("owner")
    owner.execute("set enable_seqscan = off")
    plan = rows(owner, "explain select from dot.v_host_tool t where t.code = any (array['KG.001', 'KG.002']::text[])")
    assert any("dot_tools_code_key" in one["QUERY PLAN"] for one in plan), plan
