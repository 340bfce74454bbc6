"""``--inspect`` says of each object what it is, reads what it may, and runs nothing of the host's."""

from __future__ import annotations

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.operations.adoption.inspection import Inspection, inspect
from dot_wrapper.operations.adoption.looking import Finding
from dot_wrapper.operations.adoption.mapping import to_yaml
from support import Database, DotWrapper, rows
from support.hosts import mapping_of

FAR = {
    "dot_tools": "tools",
    "dot_config": "settings",
    "dot_iu_command_run": "command_runs",
    "job_queue": "jobs",
    "universal_edges": "edges",
}


def looked(url: str, schema: str = "public", called: dict[str, str] | None = None) -> Inspection:
    with database.connect(url) as connection:
        return inspect(connection, schema, called)


def said(found: Inspection, name: str, word: str) -> list[str]:
    return [one.text for one in found.findings if (one.object, one.word) == (name, word)]


def statements(found: Inspection, word: str) -> list[str]:
    return [one.statement for one in found.findings if one.word == word and one.statement]


def test_a_host_of_the_wrapper_s_names_fits(near: Database) -> None:
    found = looked(near.url)
    assert (found.of("missing"), found.of("decide"), found.of("mapped")) == ([], [], [])
    assert found.mapping is not None
    assert to_yaml(found.mapping) == to_yaml(mapping_of("near"))
    assert said(found, "dot_tools", "figures") == ["303 DOTs, 119 with a path, 0 used, 1 different last_executed"]
    assert said(found, "dot_iu_command_run", "figures") == [
        "55 rows, 9 refused, 18 planned, keyed by process_run_id: no"
    ]
    assert {one.object for one in found.of("own")} == {
        "dot_iu_runtime_lease",
        "dot_iu_command_catalog",
        "event_type",
        "event_outbox",
    }
    superseded = {one.object for one in found.of("superseded")}
    assert {"process_run_observation", "public.fn_preflight_guard()"} <= superseded
    assert said(found, "universal_edges", "fits") == ["no role of the wrapper may write it"]


def test_a_host_of_other_names_is_mapped_and_what_is_missing_has_its_statement(far: Database) -> None:
    far.connect("superuser").execute("alter role dot_owner nobypassrls")
    found = looked(far.url, "automation", FAR)
    assert statements(found, "missing") == [
        "alter role dot_owner bypassrls;",
        "revoke insert, update, delete, truncate on automation.edges from public;",
    ]
    assert said(found, "dot_tools", "decide") == [
        "last_executed = last_run has no time zone: it is read as UTC",
        "dot_code is unique only where (deleted_at IS NULL): the other rows are left out",
        "script is '' in some rows: read as NULL, or they would have a path",
        "run_by says AGENT_API, and the inventory counts agent_api: read in lower case",
        "it has a tenant: the wrapper knows no tenants; where there are several, say under where which",
    ]
    assert found.mapping is not None
    assert to_yaml(found.mapping) == to_yaml(mapping_of("far"))
    for one in statements(found, "missing"):
        far.connect("superuser").execute(one.encode())
    assert looked(far.url, "automation", FAR).of("missing") == []


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (
            "alter table public.dot_tools drop constraint dot_tools_code_key",
            Finding("dot_tools", "missing", "code is not unique", "create unique index on public.dot_tools (code);"),
        ),
        (
            "alter table public.dot_tools rename code to handle",
            Finding(
                "dot_tools", "decide", "code = handle (character varying(120)): it is the only text that is unique"
            ),
        ),
        (
            "alter table public.dot_config drop constraint dot_config_pkey",
            Finding(
                "dot_config",
                "missing",
                "key is not unique: a gate whose key stands twice is closed",
                "create unique index on public.dot_config (key);",
            ),
        ),
        (
            "delete from public.dot_config where key = 'iu_core.operator_runtime_enabled'",
            Finding(
                "dot_config",
                "missing",
                "iu_core.operator_runtime_enabled has no row: it is governed all the same, and closed for good",
                "insert into public.dot_config (key, value) values ('iu_core.operator_runtime_enabled', 'false');",
            ),
        ),
        (
            "delete from public.dot_config where key = 'queue.worker.enabled'",
            Finding("dot_config", "figures", "queue.worker.enabled has no row: the wrapper's own gate alone counts"),
        ),
        (
            "update public.dot_config set value = 'TRUE' where key = 'queue.worker.enabled'",
            Finding(
                "dot_config",
                "decide",
                "queue.worker.enabled is 'TRUE': it is closed, and stays so if true is written in this form; only the word true"
                " opens it",
                "update public.dot_config as t set value = 'false' where t.key = 'queue.worker.enabled';",
            ),
        ),
        (
            "update public.dot_config set value = 'true' where key = 'queue.worker.enabled'",
            Finding(
                "dot_config", "figures", "queue.worker.enabled is true: the wrapper's own gate alone keeps it closed"
            ),
        ),
        (
            "insert into public.dot_tools (code, name) values ('a code', 'x')",
            Finding("dot_tools", "figures", "1 of them have a code that no call takes: a code"),
        ),
        (
            "insert into public.dot_iu_runtime_lease (lease_key, holder, expires_at) values ('dot_exec:x', 'legacy', now())",
            Finding(
                "dot_iu_runtime_lease",
                "decide",
                "leases of the host's for dot_exec:...: 1; find out who runs DOTs under them before a real run",
            ),
        ),
        (
            "alter table public.dot_tools rename to other; create view public.dot_tools as select * from public.other",
            Finding("dot_tools", "missing", "it is a view: it is not read; name the table below it in the mapping"),
        ),
        (
            "grant update (src) on public.universal_edges to dot_bridge; grant truncate on public.universal_edges to dot_writer",
            Finding(
                "universal_edges",
                "missing",
                "the wrapper's roles may write it, by a right of dot_writer",
                "revoke insert, update, delete, truncate on public.universal_edges from dot_writer;",
            ),
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_what_stands_in_the_way_of_an_adoption_is_told(near: Database, done: str, expected: Finding) -> None:
    admin = near.connect("superuser")
    edge = rows(
        admin, "select attname from pg_attribute where attrelid = 'public.universal_edges'::regclass and attnum = 2"
    )
    admin.execute(done.replace("(src)", f"({edge[0]['attname']})").encode())
    assert expected in looked(near.url).findings


def test_a_login_that_may_read_the_catalog_alone_is_told_what_it_lacks(near: Database) -> None:
    url = near.url_as("outsider")
    found = looked(url)
    login = near.login("outsider")
    assert f'grant select on public.dot_tools to "{login}";' in statements(found, "grant")
    assert said(found, "dot_tools", "figures") == []
    assert found.mapping is not None
    assert to_yaml(found.mapping) == to_yaml(mapping_of("near"))


def test_nothing_of_the_host_is_run(near: Database) -> None:
    """A policy, a trigger, a view, a function, and an index whose predicate the planner computes."""
    admin = near.connect("superuser")
    admin.execute(
        "create sequence public.ran; grant usage on sequence public.ran to public;"
        " create function public.spy(integer) returns boolean language plpgsql immutable as"
        " $$ begin perform nextval('public.ran'); return true; end $$; alter function public.spy(integer) owner to host_app;"
        " create index spying on public.dot_config (key) where public.spy(1);"
        " create index spying_too on public.event_outbox ((1)) where public.spy(3);"
        " create statistics public.spying on (run_mode = 'plan' and public.spy(2)), run_status from public.dot_iu_command_run;"
        " alter table public.dot_tools enable row level security;"
        " create policy spying on public.dot_tools using (public.spy(usage_count));"
        " create or replace view public.v_process_spying as select public.spy(1);"
        " grant select on all tables in schema public to public; select setval('public.ran', 1, false)"
    )
    for url in (near.url, near.url_as("outsider")):
        found = looked(url)
        assert len(found.of("missing")) >= 3
        assert said(found, "dot_config", "missing") == [
            "index public.spying runs public.spy(integer), with the rights of the login that reads the table"
        ]
        assert rows(admin, "select is_called from public.ran") == [{"is_called": False}]
    with psycopg.connect(near.url) as careless:
        careless.execute("select count(*) from public.dot_config")
    assert rows(admin, "select is_called from public.ran") == [{"is_called": True}], "the planner would have run it"


def test_the_document_and_the_exit_code_say_what_is_missing(near: Database, as_dba: DotWrapper) -> None:
    done = as_dba("adopt", "--inspect", "--json")
    assert (done.code, done.json["missing"], done.json["decide"]) == (cli.DONE, 0, 0)
    assert {"object", "word", "text", "statement"} == set(done.json["findings"][0])
    near.connect("superuser").execute("grant insert on public.universal_edges to public")
    done = as_dba("adopt", "--inspect", "--json")
    assert (done.code, done.json["missing"]) == (cli.FAILED, 1)
    assert "1 missing, 0 to decide" in as_dba("adopt", "--inspect").out


def test_before_the_wrapper_is_installed_it_is_what_is_missing(near: Database, empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as host:
        host.execute("create table dot_tools (code text primary key)")
    found = looked(empty_url)
    assert said(found, "dot", "missing") == ["the wrapper is not installed in this database"]
