"""Whatever a database, a login or its environment sets for a session, and whatever a host's tables hold: the same is stored, the same is
printed, and no command ends in a traceback."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from dot_wrapper import cli
from dot_wrapper.client import calls, database
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.errors import InvalidInput
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import database_url, drop_database, upgrade
from dot_wrapper.proving.prepared import PREPARED
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    DotWrapper,
    acquire,
    ready_for_real_runs,
    rows,
    value,
)

SETTINGS = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Pacific/Kiritimati",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "lc_monetary": "C",
    "xmlbinary": "hex",
    "search_path": "pg_temp",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1min",
    "lock_timeout": "1min",
}
READING = (
    ("board",),
    ("why", PAIR),
    ("runs",),
    ("leases",),
    ("inventory",),
    ("funnel",),
    ("gates", "show"),
    ("preflight", "show"),
    ("catalogue", "show"),
    ("outbox", "show"),
    ("drift",),
    ("version",),
)
OUTSIDE = ("infinity", "-infinity", "0044-03-15 12:00:00 BC", "20000-01-01 00:00:00.5")


@pytest.fixture
def full(db: Database, ledger: Ledger) -> uuid.UUID:
    """Something in every table that is read: the run that was recorded."""
    ready_for_real_runs(db)
    with caller_path(ledger, ledger.pair(PAIR), evidence_type="REAL_RUN", actor="ci", idempotency_key="a") as run:
        run.producer("completed", output_ref="s3://out", occurred_at=datetime(2026, 11, 21, 14, 30, tzinfo=UTC))
        run.verifier("completed")
    ledger.log_command("dot_wrapper.rehearse", "plan", "completed", "ci", {})
    acquire(db.connect("writer"), seconds=3600)
    return run.process_run_id


def set_all(db: Database, who: str, settings: dict[str, str]) -> None:
    """Sets what a session begins with, for the whole database or for one login."""
    target = sql.SQL("database {}").format(sql.Identifier(str(conninfo_to_dict(db.url)["dbname"])))
    if who == "role":
        target = sql.SQL("role {}").format(sql.Identifier(db.login("operator")))
    with db.connect("superuser") as admin:
        for name, setting in settings.items():
            admin.execute(sql.SQL("alter {} set {} = {}").format(target, sql.Identifier(name), setting))


@pytest.fixture
def reset_role(db: Database) -> Iterator[None]:
    yield
    with db.connect("superuser") as admin:
        admin.execute(sql.SQL("alter role {} reset all").format(sql.Identifier(db.login("operator"))))


def printed(dot_wrapper: DotWrapper, run: uuid.UUID) -> dict[tuple[str, ...], tuple[int, str]]:
    """What every command that reads prints, as a table and as JSON; of drift, which tells of a database's settings, that nothing drifts."""
    found = {}
    for command in (*READING, ("show", str(run))):
        for words in (command, (*command, "--json")):
            outcome = dot_wrapper(*words)
            assert outcome.code in (cli.DONE, cli.FOUND), (words, outcome)
            aged = re.sub(r"\b\d+ (?:s|min|h|d) ago\b", "<age>", outcome.out)
            found[words] = (outcome.code, "" if command == ("drift",) else re.sub(" +", " ", aged))
            if words == ("drift", "--json"):
                assert outcome.json["drift"] == 0
    return found


def stored_by(db: Database, ledger: Ledger, key: str) -> list[dict[str, Any]]:
    """What a batch with missing values stores, the ids and times of its own apart."""
    lines = [
        calls.observe_run(
            process_candidate_code=PAIR,
            dot_code=PRODUCER,
            process_run_id=uuid.uuid4(),
            correlation_id=f"{key}-{number}",
            evidence_type="SIMULATED_DRY_RUN",
            status="started",
            actor="ci",
            idempotency_key=None if number else key,
            input_ref=None if number else "null",
            evidence_ref={"number": 1e-7, "text": "NULL"},
            occurred_at=datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
        )
        for number in range(2)
    ]
    assert [line.refusal for line in ledger.observe_batch(lines)] == [None, None]
    return rows(
        db.connect("owner"),
        "select replace(correlation_id, %s, '') as number, idempotency_key is null as no_key, input_ref, evidence_ref::text,"
        " occurred_at at time zone 'UTC' as at from dot.process_run_observation where correlation_id like %s order by 1",
        key,
        f"{key}-%",
    )


@pytest.mark.usefixtures("reset_role")
@pytest.mark.parametrize("who", ["database", "role", "environment"])
def test_no_setting_of_a_database_or_a_login_changes_what_is_stored_or_printed(
    db: Database,
    full: uuid.UUID,
    ledger: Ledger,
    dot_wrapper: DotWrapper,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    stored = stored_by(db, ledger, "before")
    assert not any(one["no_key"] for one in stored[:1])
    assert stored[1]["no_key"]
    expected = printed(dot_wrapper, full)
    if who == "environment":
        given = " ".join(f"-c {name}={setting.replace(' ', chr(92) + ' ')}" for name, setting in SETTINGS.items())
        monkeypatch.setenv("PGOPTIONS", given)
    else:
        set_all(db, who, SETTINGS)
    assert printed(dot_wrapper, full) == expected
    url = db.url_as("operator")
    with psycopg.connect(url, autocommit=True, client_encoding="utf8") as plain:  # as a pool lends them
        assert plain.execute("show DateStyle").fetchone() == ("German, DMY",)
        assert stored_by(db, Ledger(lambda: plain), "plain") == stored
        assert plain.execute("show DateStyle").fetchone() == ("German, DMY",)
    with Ledger(lambda: database.connect(url)) as own:
        assert stored_by(db, own, "own") == stored


def test_a_ledger_on_asyncio_reads_times_too(db: Database, full: uuid.UUID) -> None:
    set_all(db, "database", SETTINGS)

    async def read() -> list[dict[str, Any]]:
        async with AsyncLedger(lambda: database.connect_async(db.url_as("operator"))) as ledger:
            return await ledger.select("select observed_at, occurred_at from dot.v_process_run")

    (found,) = asyncio.run(read())
    assert found["observed_at"].utcoffset().total_seconds() == 0


@pytest.mark.usefixtures("reset_role")
@pytest.mark.parametrize("name", ["statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"])
def test_a_limit_of_time_is_told_in_one_line_and_stores_nothing_by_halves(
    db: Database, full: uuid.UUID, dot_wrapper: DotWrapper, name: str
) -> None:
    admin = db.connect("superuser")
    if not rows(admin, "select from pg_settings where name = %s", name):
        pytest.skip(f"this server has no {name}")
    set_all(db, "role", {name: "1ms"})
    before = value(admin, "select count(*) from dot.process_run_observation")
    for command in (*READING, ("rehearse", PAIR), ("record", str(ROOT / "examples" / "observations.ndjson"))):
        outcome = dot_wrapper(*command)
        if outcome.code not in (cli.DONE, cli.FOUND, cli.REFUSED):  # a fast machine may be in time
            assert (outcome.code, outcome.err.startswith("error: ")) == (cli.FAILED, True), (command, outcome)
    assert value(admin, "select count(*) from dot.process_run_observation") - before in (0, 1)


def test_times_that_python_has_none_for_are_printed_as_they_are_stored(
    db: Database, full: uuid.UUID, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    """In every column of the host's tables that lets such a time in."""
    admin = db.connect("superuser")
    columns = rows(
        admin,
        "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relnamespace = 'dot'::regnamespace and c.relkind = 'r' and a.atttypid = 'timestamptz'::regtype"
        " and c.relname ~ '^(dot_tools|dot_config|dot_iu_.*|event_type|event_outbox|job_queue)$'",
    )
    assert len({one["relname"] for one in columns}) >= 4
    shown = set()
    for outside in OUTSIDE:
        for one in columns:
            table, column = sql.Identifier(one["relname"]), sql.Identifier(one["attname"])
            with suppress(psycopg.errors.CheckViolation), triggers_off(admin, one["relname"]):
                admin.execute(sql.SQL("update dot.{} set {} = {}").format(table, column, outside))
        for words, (_, out) in printed(dot_wrapper, full).items():
            if outside.split(" ")[0] in out:
                shown.add(words[0])
        for one in views(db):
            ledger.select(f"select * from dot.{one['relname']}")
        assert dot_wrapper("doctor").code in (cli.DONE, cli.FOUND)
    assert shown >= {"catalogue", "leases"}


@contextmanager
def triggers_off(admin: Connection, table: str) -> Iterator[None]:
    """A host's table may have been filled before its rows were protected."""
    always = rows(
        admin,
        "select tgname from pg_trigger where tgrelid = to_regclass(%s) and tgenabled = 'A' and not tgisinternal",
        f"dot.{table}",
    )
    with admin.transaction():
        admin.execute(f"alter table dot.{table} disable trigger user")
        yield
        admin.execute(f"alter table dot.{table} enable trigger user")
        for one in always:
            admin.execute(f"alter table dot.{table} enable always trigger {one['tgname']}")


def views(db: Database) -> list[dict[str, Any]]:
    return rows(
        db.connect("reader"),
        "select relname from pg_class where relnamespace = 'dot'::regnamespace and relkind = 'v'"
        " and has_table_privilege(oid, 'select')",
    )


def test_a_time_is_printed_in_utc_and_says_so_wherever_the_machine_is(
    db: Database, full: uuid.UUID, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = printed(dot_wrapper, full)
    assert "2026-11-21 14:30:00 UTC" in dot_wrapper("show", str(full)).out.replace("\n", "")
    assert "+00:00" in expected["runs", "--json"][1]
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert printed(dot_wrapper, full) == expected
        (run,) = dot_wrapper("runs", "--json").json
        now = datetime.fromisoformat(run["observed_at"]).strftime("%Y-%m-%d %H:%M:%S")
        for given, listed in ((now, 1), (f"{now} UTC", 1), (f"{now}+00:00", 1), (f"{now}-01:00", 0)):
            assert len(dot_wrapper("runs", "--since", given, "--json").json) == listed, given
    finally:
        monkeypatch.undo()
        time.tzset()


def observed_in(ledger: Ledger, place: str) -> None:
    ledger.observe_run(
        process_candidate_code=PAIR,
        dot_code=PRODUCER,
        process_run_id=uuid.uuid4(),
        correlation_id="c",
        evidence_type="SIMULATED_DRY_RUN",
        status="started",
        actor="ci",
        evidence_ref={"in": place},
    )


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_need_not_be_in_unicode(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    server = pytestconfig.stash[PREPARED]
    if not server.own:
        pytest.skip("makes a database of its own: the server of DATABASE_URL is not the tests' own")
    name = f"e_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(
            f"create database {name} encoding '{encoding}' template template0 locale 'C' locale_provider libc"
        )
    url = database_url(server.url, name)
    try:
        upgrade(url)
        upgrade(url, section="amendment")
        monkeypatch.setenv("DATABASE_URL", url)
        for command in (("version",), ("drift",), ("inventory",), ("drift", "--json")):
            assert cli.run(command) == cli.DONE, (command, capsys.readouterr())
        with Ledger(lambda: database.connect(url)) as ledger:
            ledger.register_dot(PRODUCER)
            ledger.register_dot(VERIFIER)
            ledger.define_candidate(PAIR, PRODUCER, VERIFIER, "ci")
            if encoding == "LATIN1":
                observed_in(ledger, "café")
                assert ledger.select("select evidence_ref from dot.v_process_run") == [{"evidence_ref": {"in": "café"}}]
            with pytest.raises(InvalidInput, match="unsupported Unicode escape sequence"):
                observed_in(ledger, "東京")
        with psycopg.connect(url, autocommit=True) as admin:
            if encoding == "SQL_ASCII":  # where any bytes are let in
                admin.execute("set client_encoding = 'SQL_ASCII'")
                admin.execute(r"update dot.dot_tools set category = E'caf\351'")
                capsys.readouterr()
                assert cli.run(("catalogue", "show")) == cli.REFUSED
                assert "invalid byte sequence" in capsys.readouterr().err
            else:
                admin.execute("update dot.dot_tools set category = 'café'")
                assert cli.run(("catalogue", "show")) == cli.DONE
                assert "café" in capsys.readouterr().out
    finally:
        drop_database(server.url, name)


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_plan_that_an_upgrade_has_made_stale_is_made_anew(db: Database, ledger: Ledger, repeatable: bool) -> None:
    owner = db.connect("owner")
    owner.execute("create view dot.v_changing as select 1 as a; grant select on dot.v_changing to dot_reader")
    query = "select * from dot.v_changing"

    def read(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(query, prepare=True).fetchall()

    assert ledger.transaction("dot_reader", read, repeatable=repeatable) == [(1,)]
    owner.execute("create or replace view dot.v_changing as select 1 as a, 2 as b")
    assert ledger.transaction("dot_reader", read, repeatable=repeatable) == [(1, 2)]

    async def read_twice() -> list[dict[str, Any]]:
        async with AsyncLedger(lambda: database.connect_async(db.url_as("operator"))) as other:
            for _ in range(7):  # more often than psycopg waits before it prepares a statement by itself
                await other.select(query)
            owner.execute("create or replace view dot.v_changing as select 1 as a, 2 as b, 3 as c")
            return await other.select(query)

    assert asyncio.run(read_twice()) == [{"a": 1, "b": 2, "c": 3}]


def test_what_the_server_cannot_do_is_not_repeated_without_end(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="FOR UPDATE is not allowed") as told:
        ledger.select("select count(*) from dot.v_process_run for update")
    assert told.value.sqlstate == "0A000"  # type: ignore[attr-defined]
