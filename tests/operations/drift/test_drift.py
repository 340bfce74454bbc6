"""`dot-wrapper drift`: what it compares with, what it prints, and who may run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.files import ROOT
from dot_wrapper.operations import drift, embedded
from dot_wrapper.operations.schema import Amendment
from dot_wrapper.proving.databases import database_url, fresh_database, upgrade
from dot_wrapper.proving.prepared import PREPARED
from support import IN_BOTH_STATES, Database, DotWrapper, rows
from support.catalog import HEAD, psql
from support.servers import server
from tools.scratch import VERSIONS

pytestmark = pytest.mark.usefixtures("_own_server")

OFF = "alter table dot.event_outbox disable trigger event_outbox_append_only"
ON = "alter table dot.event_outbox enable always trigger event_outbox_append_only"


@pytest.fixture
def _own_server(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.stash[PREPARED].own:
        pytest.skip("the login that tests another server's databases is a member of dot_owner there, which is drift")


def rows_as(url: str) -> dict[drift.Key, str]:
    with database.connect(url) as connection:
        return drift.rows(connection)


@IN_BOTH_STATES
def test_a_fresh_database_differs_in_nothing(db: Database, dot_wrapper: DotWrapper) -> None:
    outcome = dot_wrapper("drift", "--json")
    assert (outcome.code, outcome.json["drift"], outcome.json["against"]) == (0, 0, f"revision {HEAD}")
    assert {one["level"] for one in outcome.json["differences"]} <= {"info"}  # the test logins, members of the roles


def test_psql_prints_the_rows_that_the_harness_prints(db: Database, dot_wrapper: DotWrapper) -> None:
    db.connect("owner").execute("comment on table dot.event_outbox is 'naïve\n\"quoted\" \\ tab\t'")
    program = [str(embedded.bin_folder() / "psql"), "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", db.url_as("outsider")]
    printed = subprocess.run(
        [*program, "-f", str(ROOT / "sql" / "drift.sql")], capture_output=True, text=True, check=True
    )
    assert (printed.stdout, printed.stderr) == (dot_wrapper("drift", "--rows").out, "")


@pytest.mark.parametrize("version", [*VERSIONS, 17])
def test_the_expected_rows_are_those_of_every_server_and_no_login_sees_others(version: int) -> None:
    with server(version) as url:
        head = fresh_database(url, "head")
        upgrade(head)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("create role nothing login")
        nothing = database_url(head, "head", "nothing")
        states: tuple[tuple[Amendment, str], ...] = (
            ("off", ""),
            ("not validated", "a001"),
            ("on", "head"),
        )
        for amendment, revision in states:
            if revision:
                upgrade(head, revision, section="amendment")
            expected = drift.head(version * 10000, amendment)
            assert rows_as(head) == expected
            assert rows_as(nothing) == expected
            with database.connect(nothing) as connection:
                report = drift.examine(connection)
            assert (report.differences, report.rows) == ((), len(expected))
            with database.connect(head) as connection:
                assert drift.beside(connection).differences == ()


def test_a_dump_that_is_restored_elsewhere_differs_in_nothing(db: Database, empty_url: str) -> None:
    dumped = subprocess.run(
        [str(embedded.bin_folder() / "pg_dump"), "-d", db.url], capture_output=True, text=True, check=True
    )
    assert psql(empty_url, dumped.stdout)[0] == 0
    assert rows_as(empty_url) == rows_as(db.url)


def test_settings_of_a_session_or_a_role_change_no_row(db: Database) -> None:
    before = rows_as(db.url)
    hostile = (
        "quote_all_identifiers=on",
        "intervalstyle=iso_8601",
        "datestyle=german",
        "extra_float_digits=-15",
        "search_path=dot,public",
    )
    options = " ".join(f"-c {one}" for one in hostile)
    assert rows_as(psycopg.conninfo.make_conninfo(db.url, options=options)) == before


def test_functions_of_a_stranger_are_not_called(db: Database) -> None:
    """The owner of the database puts functions where an unqualified name is looked up first."""
    creator = db.connect("superuser")
    creator.execute("create function public.format(text, text) returns text language sql as $$ select 'mine' $$")
    creator.execute("create function public.pg_get_viewdef(oid) returns text language sql as $$ select 'mine' $$")
    name = creator.info.dbname
    creator.execute(f'alter database "{name}" set search_path = public, pg_catalog')
    assert "mine" not in rows_as(db.url).values()
    code, said = psql(db.url, f"\\i {ROOT / 'sql' / 'drift.sql'}\n")
    assert (code, said) == (0, "")


def test_drift_is_exit_code_5_with_the_statement_that_puts_it_back(db: Database, dot_wrapper: DotWrapper) -> None:
    owner = db.connect("owner")
    owner.execute(OFF)
    outcome = dot_wrapper("drift")
    assert outcome.code == cli.FOUND
    assert f"{ON};" in outcome.out.splitlines()
    (told,) = [one for one in dot_wrapper("drift", "--json").json["differences"] if one["level"] == "drift"]
    assert told == {
        "kind": "trigger",
        "identity": "dot.event_outbox.event_outbox_append_only",
        "property": "enabled",
        "expected": "always",
        "found": "disabled",
        "level": "drift",
        "cure": f"{ON};",
    }
    assert dot_wrapper("version").code == cli.FAILED
    assert dot_wrapper("drift", "--beside", "--json").code == cli.FAILED  # the operator may not install
    owner.execute(told["cure"])
    assert dot_wrapper("drift").code == 0


def test_what_a_stranger_wrote_is_escaped_for_the_terminal(db: Database, dot_wrapper: DotWrapper) -> None:
    db.connect("owner").execute("comment on table dot.event_outbox is E'\\x1b]0;owned\\x07\\x1b[2J\\u009b2J'")
    for option in ((), ("--rows",), ("--json",), ("--rows", "--json")):
        printed = dot_wrapper("drift", *option).out
        assert "owned" in printed
        assert {one for one in printed if not one.isprintable()} <= {"\n"}, option


def test_rows_of_another_database_are_what_it_is_compared_with(
    db: Database, tmp_path: Path, dot_wrapper: DotWrapper
) -> None:
    file = tmp_path / "found.jsonl"
    db.connect("owner").execute(OFF)
    file.write_text(dot_wrapper("drift", "--rows").out, encoding="utf-8-sig")  # with a byte order mark
    same = dot_wrapper("drift", "--expected", str(file), "--json")
    assert (same.code, same.json["against"], same.json["differences"]) == (0, "the given rows", [])
    db.connect("owner").execute(ON)
    other = dot_wrapper("drift", "--expected", str(file), "--json")
    assert other.code == cli.FOUND
    assert [(one["expected"], one["found"]) for one in other.json["differences"]] == [("disabled", "always")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]\n", "line 1 is no row"),
        ('["a", "b", "c", "d"]\n{', "line 2 is no row"),
        ('["a", "b", "c", null]', "line 1 is no row"),
        ("[" * 5000, "line 1 is no row of sql/drift.sql: it is nested too deeply"),
    ],
)
def test_a_file_that_holds_no_rows_is_bad_use(text: str, said: str, tmp_path: Path, dot_wrapper: DotWrapper) -> None:
    file = tmp_path / "rows"
    file.write_text(text, encoding="utf-8")
    outcome = dot_wrapper("drift", "--expected", str(file))
    assert (outcome.code, said in outcome.err) == (cli.BAD_INPUT, True), outcome
    assert dot_wrapper("drift", "--expected", str(tmp_path / "none")).code == cli.BAD_INPUT
    assert dot_wrapper("drift", "--expected", str(file), "--rows").code == cli.BAD_INPUT


def test_without_the_revision_it_says_in_a_sentence_what_to_do(
    db: Database, empty_url: str, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    db.connect("owner").execute("update dot.alembic_version set version_num = '0003'")
    for option in ((), ("--beside",)):
        outcome = dot_wrapper("drift", *option)
        assert outcome.code == cli.FAILED
        assert f"next: The database is at revision 0003, this software needs {HEAD}. Run `dot-wrapper upgrade`." in (
            outcome.err.splitlines()
        )
    monkeypatch.setenv("DATABASE_URL", empty_url)
    for option in ((), ("--beside",)):
        outcome = dot_wrapper("drift", *option)
        assert (outcome.code, "The wrapper is not installed" in outcome.err) == (cli.FAILED, True), outcome
    assert dot_wrapper("drift", "--rows").code == 0  # a database may be looked at before


def test_head_beside_the_live_schema_is_rolled_back_while_others_write(db: Database) -> None:
    db.connect("owner").execute(OFF)
    db.connect("owner").execute("grant select on dot.event_outbox to dot_reader")
    before = rows_as(db.url)
    cataloguer = db.connect("cataloguer")
    with database.connect(db.url) as connection:
        report = drift.beside(connection)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert [(one.identity, one.property) for one in report.differences] == [
        ("dot.event_outbox", "granted to dot_reader"),
        ("dot.event_outbox.event_outbox_append_only", "enabled"),
    ]
    assert rows_as(db.url) == before
    cataloguer.execute("select dot.fn_dot_tool_register('dot.later')")
    assert rows(db.connect("owner"), "select nspname from pg_namespace where nspname like 'dot%%'") == [
        {"nspname": "dot"}
    ]


def test_head_beside_needs_a_login_that_may_install(db: Database) -> None:
    before = rows_as(db.url)
    with (
        database.connect(db.url_as("operator")) as connection,
        pytest.raises(DotWrapperError, match="may not install"),
    ):
        drift.beside(connection)
    assert rows_as(db.url) == before


def test_a_table_that_is_locked_ends_the_wait(db: Database, dot_wrapper: DotWrapper) -> None:
    owner = db.connect("owner")
    with owner.transaction():
        owner.execute("lock table dot.process_run_observation in access exclusive mode")
        outcome = dot_wrapper("drift")
    assert (outcome.code, "lock timeout" in outcome.err) == (cli.FAILED, True), outcome


def test_the_files_of_expected_rows_are_sorted_and_say_nothing_twice() -> None:
    for file in drift.EXPECTED.glob("*.jsonl"):
        keys = [json.loads(line)[:3] for line in file.read_text(encoding="utf-8").splitlines()]
        assert keys == sorted(keys)
        assert len({tuple(key) for key in keys}) == len(keys)
