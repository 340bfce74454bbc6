"""``prove`` of an adopted database: its copy is adopted too, by a stand-in with the rows that the seams show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.proving import copying, stand_in
from dot_wrapper.proving.databases import database_url
from support import Database, ready_for_real_runs, rows
from support.hosts import adopt, mapping_of
from support.prove import proved

pytestmark = pytest.mark.usefixtures("client_programs")


def test_an_adopted_database_keeps_every_promise_and_nothing_of_its_host_is_written(
    far: Database, tmp_path: Path
) -> None:
    adopt(far.url, mapping_of("far"))
    tables = ("tools", "settings", "command_runs", "jobs")
    stands = "select xmin, ctid, t.* from automation.{} as t"

    def host() -> list[Any]:
        return [rows(far.session("superuser"), stands.format(table)) for table in tables]

    before = host()
    code, told = proved(far.url, "--seed", "1")
    assert (code, told["holds"], told["problem"]) == (cli.DONE, True, None), told
    assert told["drift"] == []
    assert all(one["holds"] and one["passed"] for one in told["promises"])
    assert host() == before


def test_the_copy_is_adopted_and_its_host_has_a_switch(near: Database) -> None:
    adopt(near.url, mapping_of("near"))
    name = f"{near.server.prefix}_adopted_copy"
    url = database_url(near.server.url, name)
    try:
        copying.make(near.server.url, name, copying.read(near.url), same_server=True)
        copy = Database(url, near.server)
        admin = copy.connect("superuser")
        assert rows(admin, "select count(*) as n from dot.v_dot_tool") == [{"n": 303}]
        assert rows(admin, "select to_regclass('public.dot_tools')::text as table") == [{"table": None}]
        figures = "select figures from dot.v_dot_execution_inventory order by position limit 3"
        assert rows(admin, figures) == rows(near.session("superuser"), figures)
        ready_for_real_runs(copy)
        status = "select is_open from dot.v_dot_gate where key = 'process_dot_runtime.real_run_enabled'"
        assert rows(admin, status) == [{"is_open": True}]
        admin.execute(f"update {stand_in.SCHEMA}.v_host_gate set value = 'false'")
        assert rows(admin, status) == [{"is_open": False}]
        copy.close()
    finally:
        with psycopg.connect(near.server.url, autocommit=True) as server:
            server.execute(f'drop database if exists "{name}" with (force)')
