"""A host is adopted and taken back with what a DBA has: the pages, dot-wrapper, and psql."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.operations.adoption.checking import check
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from support import (
    Database,
    DotWrapper,
    acquire,
    attest,
    observe_component,
    observe_run,
    refused,
    rows,
    set_gates,
    value,
)
from support.catalog import psql
from support.hosts import HOSTS, SWITCHES, Host, adopt, make, mapping_of, switch

HERE: dict[Host, list[str]] = {
    "near": [],
    "far": [
        *("--host-schema", "automation", "--table", "dot_tools=tools", "--table", "dot_config=settings"),
        *(
            "--table",
            "dot_iu_command_run=command_runs",
            "--table",
            "job_queue=jobs",
            "--table",
            "universal_edges=edges",
        ),
    ],
}
CODES: dict[Host, tuple[str, str]] = {"near": ("KG.001", "KG.002"), "far": ("DOT_1", "DOT_2")}

STRANGER = Path(__file__).with_name("stranger.sql")

INVENTORY = {
    "dot_tools engine agent_api": ("declared only", "DECLARED, NEVER INVOKED"),
    "DOT runner script (script_path/file_path)": (
        "119/303 have a path",
        "NO RUNNER binds these to execution; usage_count 0 everywhere",
    ),
    "dot_iu_command_run + fn_dot_iu_command_log": ("LIVE (55 rows)", "IU-COMMAND layer, not DOT layer: wrong grain"),
    "job_queue + worker": ("table LIVE; worker off", "OFF"),
}
FIGURES = {
    "dot_tools engine agent_api": {"dots": 303, "agent_api_dots": 103, "executed": 0},
    "dot_iu_command_run + fn_dot_iu_command_log": {"command_runs": 55, "refused": 9, "plan": 18},
}


def back(url: str) -> str:
    with database.connect(url) as connection:
        return unadopt_sql(connection)


def define(db: Database, host: Host) -> str:
    """A candidate of two DOTs of the host's, defined by a cataloguer."""
    producer, verifier = CODES[host]
    db.session("cataloguer").execute(
        "select dot.fn_process_candidate_define('host.pair', %s, %s, 'tester')", (producer, verifier)
    )
    return producer


@pytest.mark.parametrize("host", HOSTS)
def test_a_dba_adopts_sees_the_verdicts_runs_and_takes_it_back(
    host: Host,
    own: Database,
    as_dba: DotWrapper,
    written: Callable[[str], str],
    dumped: Callable[[], str],
) -> None:
    make(own.url, host)
    own.connect("superuser").execute("alter role dot_owner nobypassrls")
    found = as_dba("adopt", *HERE[host], "--inspect", "--json")
    if host == "far":
        missing = [one["statement"] for one in found.json["findings"] if one["word"] == "missing"]
        assert (found.code, len(missing)) == (cli.FAILED, 2), missing
        assert psql(own.url, "\n".join(missing)) == (0, "")
        found = as_dba("adopt", *HERE[host], "--inspect", "--json")
    assert (found.code, found.json["missing"]) == (cli.DONE, 0), found.json
    before = dumped()

    drafted = written(as_dba("adopt", *HERE[host], "--draft").out)
    done = as_dba("adopt", "--mapping", drafted, "--sql")
    assert done.code == cli.DONE, done.err
    assert psql(own.url, done.out) == (0, "")
    assert psql(own.url, done.out) == (0, ""), "again, it changes nothing"
    checked = as_dba("adopt", "--mapping", drafted, "--check", "--json")
    assert (checked.code, checked.json["failed"]) == (cli.DONE, 0), checked.json

    reader = own.session("reader")
    inventory = rows(reader, "select * from dot.v_dot_execution_inventory order by position")
    verdicts = {one["mechanism"]: (one["mechanism_exists"], one["verdict"]) for one in inventory}
    assert {name: verdicts[name] for name in INVENTORY} == INVENTORY
    assert all(one["figures"] == FIGURES[one["mechanism"]] for one in inventory if one["mechanism"] in FIGURES)
    total = rows(reader, "select declared_dots, executed_dots, backfilled_dots from dot.v_dot_funnel_total")
    assert total == [{"declared_dots": 303, "executed_dots": 0, "backfilled_dots": 303}]

    assert psql(own.url, back(own.url)) == (0, "")
    assert dumped() == before


def test_a_host_that_a_stranger_wrote_is_adopted_from_its_own_draft_and_taken_back(
    own: Database, as_dba: DotWrapper, written: Callable[[str], str], dumped: Callable[[], str]
) -> None:
    assert psql(own.url, STRANGER.read_text(encoding="utf-8"))[0] == 0
    inspected = as_dba("adopt", "--inspect", "--json")
    assert (inspected.code, inspected.json["missing"]) == (cli.DONE, 0), inspected.json
    assert [one["object"] for one in inspected.json["findings"] if one["word"] == "decide"] == ["dot_iu_runtime_lease"]
    before = dumped()

    drafted = written(as_dba("adopt", "--draft").out)
    assert psql(own.url, as_dba("adopt", "--mapping", drafted, "--sql").out) == (0, "")
    assert as_dba("adopt", "--mapping", drafted, "--check").code == cli.DONE
    inventory = rows(own.session("reader"), "select * from dot.v_dot_execution_inventory")
    verdicts = {one["mechanism"]: (one["mechanism_exists"], one["verdict"]) for one in inventory}
    assert {name: verdicts[name] for name in INVENTORY} == INVENTORY

    assert psql(own.url, back(own.url)) == (0, "")
    assert dumped() == before


@pytest.mark.parametrize("host", HOSTS)
def test_a_rehearsal_needs_no_switch_and_a_real_run_those_of_both_sides(
    host: Host, own: Database, dot_wrapper: DotWrapper
) -> None:
    make(own.url, host)
    adopt(own.url, mapping_of(host))
    define(own, host)
    attest(own)
    assert dot_wrapper("rehearse", "host.pair", "--actor", "ana", "--key", "first").code == cli.DONE
    set_gates(own)
    writer, (producer, verifier) = own.session("writer"), CODES[host]
    of_pair: dict[str, Any] = {"process_candidate_code": "host.pair", "dot_code": producer}
    real: dict[str, Any] = {"evidence_type": "REAL_RUN", **of_pair, "lease_token": acquire(writer, "host.pair")}
    with refused("23514", "gate_operator_runtime_enabled_check", SWITCHES[host][0]):
        observe_run(writer, **real)
    switch(own.url, host, "true")
    run = observe_run(writer, **real)["process_run_id"]
    token = {"lease_token": real["lease_token"], "process_candidate_code": "host.pair"}
    observe_component(writer, run, "producer", dot_code=producer, **token)
    observe_component(writer, run, "verifier", dot_code=verifier, **token)
    verdict = "select verified from dot.v_process_verification_v3 where process_candidate_code = 'host.pair'"
    assert value(own.session("reader"), verdict) is True
    switch(own.url, host, "false", "iu_core.operator_runtime_enabled")
    with refused("23514", "gate_operator_runtime_enabled_check", SWITCHES[host][0]):
        observe_run(writer, **real)
    assert psql(own.url, back(own.url)) == (0, "")
    assert value(own.session("reader"), verdict) is True, "evidence outlives the adoption"


def test_nothing_of_the_host_is_written(near: Database, dot_wrapper: DotWrapper, dumped: Callable[[], str]) -> None:
    adopt(near.url, mapping_of("near"))
    tables = rows(near.session("superuser"), "select relname as name from pg_class where relkind = 'r'"
        " and relnamespace = 'public'::regnamespace order by 1")  # fmt: skip
    query = "; ".join(f"select xmin, ctid, t.* from public.{one['name']} as t order by ctid" for one in tables)

    def stands() -> list[Any]:
        return [rows(near.session("superuser"), one) for one in query.split("; ")]

    before = stands()
    define(near, "near")
    attest(near)
    assert dot_wrapper("rehearse", "host.pair", "--actor", "ana", "--key", "first").code == cli.DONE
    set_gates(near)
    dot_wrapper("gates", "set", "queue.worker.enabled", "false", "--actor", "a", "--reason", "r")
    with refused("23514", "dot_tools_code_host_check"):
        near.session("cataloguer").execute("select dot.fn_dot_tool_register('shop.new')")
    assert stands() == before


def test_a_login_that_is_no_superuser_adopts_and_takes_back(near: Database, dumped: Callable[[], str]) -> None:
    admin = near.connect("superuser")
    dba = near.login("outsider")
    if admin.info.server_version >= 160000:
        admin.execute(f"grant dot_owner to {dba} with inherit false, set true")
    else:
        admin.execute(f"grant dot_owner to {dba}")
    admin.execute(f"grant host_app to {dba}")
    before = dumped()
    with database.connect(near.url) as connection:
        script = adopt_sql(connection, mapping_of("near"), tables_of(connection, mapping_of("near")))
    try:
        assert psql(near.url_as("outsider"), script) == (0, "")
        assert value(near.session("reader"), "select count(*) from dot.v_dot_tool") == 303
        assert psql(near.url_as("outsider"), back(near.url)) == (0, "")
        assert dumped() == before
    finally:
        admin.execute(f"revoke dot_owner, host_app from {dba}")


def test_an_adopted_database_is_restored_under_another_name(near: Database, dumped: Callable[[], str]) -> None:
    adopt(near.url, mapping_of("near"))
    dump = dumped()
    with near.server.database() as url:
        code, said = psql(url, dump)
        assert code == 0, said
        with database.connect(url) as connection:
            adoption, problems = check(connection, mapping_of("near"))
        assert (adoption is not None, problems) == (True, [])
        with psycopg.connect(url) as other:
            assert other.execute("select count(*) from dot.v_dot_tool").fetchone() == (303,)
