"""The copy that `prove` makes of a live schema: what comes along, what does not, and that one that is not alike is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from dot_wrapper.proving import copying
from dot_wrapper.proving.databases import database_url, set_for_database
from support import AMENDED, Database, observe_run, ready_for_real_runs, rows, value

pytestmark = pytest.mark.usefixtures("client_programs")


@contextmanager
def copied(db: Database, live: copying.Definitions | None = None) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session in a copy of the test's database."""
    live = live or copying.read(db.url)
    name = f"{db.server.prefix}_copy"
    try:
        copying.make(db.server.url, name, live, same_server=True)
        with psycopg.connect(database_url(db.server.url, name), autocommit=True) as connection:
            yield connection
    finally:
        with psycopg.connect(db.server.url, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def test_the_copy_has_the_seed_rows_and_no_row_of_the_ledger(db: Database) -> None:
    ready_for_real_runs(db)
    observe_run(db.connect("writer"), idempotency_key="key-1")
    db.connect("owner").execute("delete from dot.event_type where event_type = 'process.run.started'")
    owner = db.connect("owner")
    with copied(db) as copy:
        for table in set(copying.SEEDS) - {"alembic_version_amendment"}:
            query = f"select coalesce(jsonb_agg(to_jsonb(t) order by to_jsonb(t)), '[]') from dot.{table} as t".encode()
            assert copy.execute(query).fetchone() == (value(owner, query.decode()),), table
        tables = rows(owner, "select relname as name from pg_class where relkind = 'r'"
            " and relnamespace = 'dot'::regnamespace")  # fmt: skip
        rest = {one["name"] for one in tables} - {*copying.SEEDS, "outbox_cursor"}
        assert rest
        for table in rest:
            assert copy.execute(f"select count(*) from dot.{table}".encode()).fetchone() == (0,), table


@AMENDED
def test_the_optional_amendment_is_copied(db: Database) -> None:
    with copied(db) as copy:
        version = copy.execute("select version_num from dot.alembic_version_amendment").fetchone()
        assert version == (value(db.connect("owner"), "select version_num from dot.alembic_version_amendment"),)
        assert copy.execute("select count(*) from pg_constraint where conname = 'process_run_observation_blocked_check'"
            ).fetchone() == (1,)  # fmt: skip


def test_settings_of_the_database_are_read_whatever_their_form(db: Database) -> None:
    creator = db.session("creator")
    name = sql.Identifier(str(value(creator, "select current_database()")))
    for change in ("statement_timeout = '77s'", 'search_path = "$user", "a, b"', "app.name = 'x=y'"):
        creator.execute(sql.SQL("alter database {} set {}").format(name, sql.SQL(change)))
    settings = copying.read(db.url).settings
    assert settings["app.name"] == "x=y"
    assert settings["statement_timeout"] == "77s"
    with db.server.database() as url, psycopg.connect(url) as other:
        set_for_database(db.server.url, other.info.dbname, settings)
        query = "select setconfig from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = %s)"
        found = [creator.execute(query, (one,)).fetchone() for one in (creator.info.dbname, other.info.dbname)]
        assert found[0] == found[1]


def test_a_schema_that_a_trigger_uses_is_copied_with_what_it_uses_and_no_other(db: Database) -> None:
    db.connect("superuser").execute(
        "create schema used; create schema deeper; create schema unused;"
        " create type deeper.word as enum ('a'); create table used.seen (what deeper.word); create table unused.t ();"
        " create function used.look() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger look before insert on dot.dot_tools for each row execute function used.look();"
        " create function public.look() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger look before insert on dot.job_queue for each row execute function public.look()"
    )
    with copied(db) as copy:
        found = copy.execute("select array_agg(nspname::text order by 1) from pg_namespace where nspname in"
            " ('used', 'deeper', 'unused')").fetchone()  # fmt: skip
        assert found == (["deeper", "used"],)
        assert copy.execute("select count(*) from pg_trigger where tgname = 'look'").fetchone() == (2,)


def test_a_right_of_new_functions_is_copied(db: Database) -> None:
    db.connect("superuser").execute(
        "alter default privileges for role dot_owner grant execute on functions to dot_reader"
    )
    with copied(db) as copy:
        copy.execute("set role dot_owner; create function dot.fn_new() returns integer language sql return 1")
        for who, may in (("dot_reader", True), ("dot_writer", False)):
            found = copy.execute("select has_function_privilege(%s, 'dot.fn_new()', 'execute')", (who,)).fetchone()
            assert found == (may,)


def test_a_copy_that_is_not_alike_is_refused(db: Database) -> None:
    live = copying.read(db.url)
    script = live.script.replace(
        "ENABLE ALWAYS TRIGGER process_run_observation_append_only",
        "ENABLE TRIGGER process_run_observation_append_only",
    )
    assert script != live.script
    unlike = "the copy is not what it was made of: trigger"
    with pytest.raises(copying.CannotCopy, match=unlike), copied(db, replace(live, script=script)):
        pass


def test_a_pg_dump_that_is_too_old_is_told() -> None:
    with pytest.raises(copying.CannotCopy, match=r"a pg_dump of PostgreSQL 99 or later is needed.* is 1") as caught:
        copying._pg_dump(990000)
    assert "dot-wrapper[embedded]" in str(caught.value.hint)
