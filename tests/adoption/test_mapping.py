"""The mapping: what is wrong in it is told by field, and nothing in it is more than a name or a literal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.operations.adoption.checking import check
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.mapping import Mapping, MappingError, as_written, read_mapping, to_yaml
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from support import Database, DotWrapper, rows
from support.catalog import psql
from support.hosts import HOSTS, Host, mapping_of

GATES = "gates: {schema: public, table: dot_config, key: key, value: value, governs: [%s]}"
MASTER = "iu_core.operator_runtime_enabled"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "it adopts nothing"),
        ("nothing: {}", "nothing: Extra inputs are not permitted"),
        ("catalogue: {schema: public, columns: {code: code}}", "catalogue table: it is missing"),
        ("catalogue: {schema: s, table: t, columns: {category: c}}", "catalogue columns, code: it is missing"),
        ("catalogue: {schema: s, table: t, columns: {code: {}}}", "catalogue columns, code: either column or constant"),
        (
            "catalogue: {schema: s, table: t, columns: {code: {constant: x, lower: true}}}",
            "catalogue columns, code: a constant has no conversion",
        ),
        (
            "catalogue: {schema: s, table: t, columns: {code: {column: x, upper: true}}}",
            "catalogue columns, code, upper: Extra inputs are not permitted",
        ),
        (
            "catalogue: {schema: s, table: t, columns: {code: c}, where: {column: x}}",
            "catalogue where, 1: either `is` or `is_not`: a text, a list of texts, or null",
        ),
        (
            "catalogue: {schema: s, table: t, columns: {code: c}, where: {column: x, is: []}}",
            "catalogue where, 1: either `is` or `is_not`",
        ),
        (
            "catalogue: {schema: s, table: t, columns: {code: c}, beside: all}",
            "catalogue beside: Input should be 'own'",
        ),
        (GATES % "queue.worker.enabled", f"gates: governs must name {MASTER}"),
        (GATES % f"{MASTER}, {MASTER}", "gates: governs names a gate twice"),
        (GATES % f"{MASTER}, another.gate", "gates governs, 2: Input should be 'iu_core.operator_runtime_enabled'"),
        ("a: &a {b: c}\nd: *a", "aliases (*name) are not read"),
        ("a: 1\na: 2", "line 2: duplicate key 'a'"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_told_by_its_field(text: str, told: str, written: Callable[[str], str]) -> None:
    with pytest.raises(MappingError) as caught:
        read_mapping(Path(written(text)))
    assert told in str(caught.value)


@pytest.mark.parametrize("host", HOSTS)
def test_a_mapping_is_the_same_however_it_is_written(host: Host, written: Callable[[str], str]) -> None:
    mapping = mapping_of(host)
    again = read_mapping(Path(written(f"# read by a person\n{to_yaml(mapping)}")))
    assert (again, again.digest) == (mapping, mapping.digest)
    assert mapping.model_copy(update={"ledgers": None}).digest != mapping.digest


# Each would be more than it seems in SQL that is put together without quotes.
ESCAPES = (
    "code) as code from dot.dot_tools; drop table public.universal_edges; --",
    'code" from x; drop table public.universal_edges; --',
    "code'); drop table public.universal_edges; --",
    "$rows$; drop table public.universal_edges; $rows$",
    "x\n; drop table public.universal_edges; --",
    "\\\\'; drop table public.universal_edges; --",
    "\\! touch /tmp/adopted",
)


def rendered(url: str, mapping: Mapping) -> str:
    with database.connect(url) as connection:
        return adopt_sql(connection, mapping, tables_of(connection, mapping))


def test_a_name_is_a_name_and_a_text_a_text(near: Database) -> None:
    """A host may have a table of any name, and a DBA may be given a mapping by a stranger."""
    admin = near.connect("superuser")
    for text in ESCAPES:
        name = text[:60]
        quoted = '"{}"'.format(name.replace('"', '""'))
        admin.execute(
            f"create schema {quoted} authorization host_app; create table {quoted}.{quoted} ({quoted} text unique);"
            f" alter table {quoted}.{quoted} owner to host_app; insert into {quoted}.{quoted} values ('DOT_X');"
            f" create table {quoted}.settings (key text primary key, value jsonb);"
            f" alter table {quoted}.settings owner to host_app"
        )
        admin.execute(f"insert into {quoted}.settings values (%s, %s)", (MASTER, '{"a": "true"}'))
        value = {"column": "value", "field": text}
        mapping = Mapping.model_validate(
            {
                "catalogue": {
                    "schema": name,
                    "table": name,
                    "columns": {"code": name, "category": {"constant": text}},
                    "where": [{"column": name, "is_not": [text, "b"]}],
                },
                "gates": {"schema": name, "table": "settings", "key": "key", "value": value, "governs": [MASTER]},
            }
        )
        code, said = psql(near.url, rendered(near.url, mapping))
        assert code == 0, (text, said)
        assert rows(admin, "select code, category from dot.v_host_tool") == [{"code": "DOT_X", "category": text}]
        assert rows(admin, "select * from dot.v_host_gate") == [{"key": MASTER, "value": None}]
        with database.connect(near.url) as connection:
            _, problems = check(connection, mapping)
            assert [one.text for one in problems] == ["the host governs it and has no value for it: it is closed"]
            back = unadopt_sql(connection)
        assert psql(near.url, back)[0] == 0
        assert rows(admin, "select count(*) as n from dot.v_host_tool") == [{"n": 0}]
    assert rows(admin, "select count(*) as n from public.universal_edges") == [{"n": 500}]


def test_a_name_that_the_host_does_not_have_is_refused(near: Database) -> None:
    mapping = as_written(mapping_of("near"))
    for text in ESCAPES:
        mapping["catalogue"]["columns"]["code"] = text
        with pytest.raises(MappingError, match="has no column"):
            rendered(near.url, Mapping.model_validate(mapping))


def test_a_command_that_cannot_be_meant_says_what_is_needed(as_dba: DotWrapper) -> None:
    for options, told in (
        ((), "choose one of --inspect, --draft, --sql, --unadopt-sql, --check"),
        (("--inspect", "--draft"), "choose one of"),
        (("--sql",), "--sql needs --mapping FILE"),
        (("--inspect", "--mapping", "x"), "--mapping goes with --sql and --check"),
        (("--inspect", "--table", "tools"), "--table tools: NAME=TABLE, with a NAME of dot_tools"),
        (("--inspect", "--table", "tools=x"), "--table tools=x: NAME=TABLE"),
        (("--inspect", "--host-schema", "nowhere"), "there is no schema nowhere"),
        (("--inspect", "--table", "dot_tools=x"), "public.x is to be dot_tools, and there is no such table"),
        (("--inspect", "--host-schema", "dot"), "schema dot is the wrapper's own"),
        (("--unadopt-sql",), "nothing is adopted in this database"),
        (("--draft", "--host-schema", "pg_catalog"), "nothing can be adopted: dot_tools: there is no such table"),
    ):
        done = as_dba("adopt", *options)
        assert (done.code, told in done.err) == (cli.BAD_INPUT, True), done.err
