"""`dot-wrapper doctor`: each finding, caused for real."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dot_wrapper.client import database
from dot_wrapper.files import ROOT
from dot_wrapper.operations import doctor, embedded
from dot_wrapper.operations.doctor import Finding, Limits, examine
from dot_wrapper.operations.scratch import as_owner
from dot_wrapper.proving.databases import upgrade
from support import (
    PAIR,
    Connection,
    Database,
    DotWrapper,
    acquire,
    define_pair,
    observe_run,
    ready_for_real_runs,
    rows,
    set_gates,
    value,
)
from support.catalog import HEAD, downgrade
from support.documents import blocks
from support.servers import data_directory

OF_THE_TEST_SERVER = {"fsync", "full_page_writes", "synchronous_commit", "databases"}
"""What is wrong with every server that the tests start: it may lose its data, and its databases share the tests' logins."""


def found(url: str, limits: Limits | None = None) -> dict[str, list[Finding]]:
    """The findings at a database, by check."""
    with database.connect(url) as connection:
        findings = examine(connection, limits).findings
    return {one.check: [other for other in findings if other.check == one.check] for one in findings}


def single(url: str, check: str, limits: Limits | None = None) -> Finding:
    (finding,) = found(url, limits)[check]
    return finding


def test_a_fresh_database_has_nothing_but_the_settings_of_its_server(db: Database) -> None:
    db.connect("superuser").execute("select pg_stat_reset_shared()")  # checkpoints that other tests asked for
    findings = found(db.url)
    assert {check for check, of_it in findings.items() if [one.level for one in of_it] != ["ok"]} == OF_THE_TEST_SERVER
    assert set(findings) == set(doctor.CHECKS) - {"settings", "ages"} | set(doctor.SETTINGS) | {
        "xid_age",
        "multixact_age",
        "leases",
    }


def test_a_guard_that_drifted_is_a_failure_and_what_could_change_one_a_warning(db: Database) -> None:
    superuser = db.connect("superuser")
    superuser.execute("alter table dot.event_outbox disable trigger event_outbox_append_only")
    superuser.execute("comment on table dot.event_outbox is null")
    failed, warned = found(db.url_as("reader"))["guards"]
    assert (failed.level, warned.level) == ("fail", "warn")
    assert failed.figure == (
        "trigger dot.event_outbox.event_outbox_append_only: enabled: expected 'always', found 'disabled'"
    )
    assert failed.advice is not None
    superuser.execute(failed.advice.partition(";")[0].encode())
    assert [one.level for one in found(db.url_as("reader"))["guards"]] == ["warn"]


@pytest.mark.parametrize(
    ("setting", "wrong", "level"),
    [
        ("synchronous_commit", "off", "warn"),
        ("default_transaction_isolation", "serializable", "warn"),
        ("session_replication_role", "replica", "fail"),
    ],
)
@pytest.mark.parametrize("place", ["database", "role"])
def test_a_setting_of_a_database_or_a_role_is_found(
    db: Database, setting: str, wrong: str, level: str, place: str
) -> None:
    superuser = db.connect("superuser")
    name = superuser.info.dbname if place == "database" else db.login("writer")
    change = sql.SQL("alter {} {} set {} = {}").format(
        sql.SQL(place), sql.Identifier(name), sql.Identifier(setting), wrong
    )
    try:
        superuser.execute(change)
        finding = single(db.url_as("reader"), setting)
    finally:
        superuser.execute(sql.SQL("alter {} {} reset all").format(sql.SQL(place), sql.Identifier(name)))
    assert finding.level == level
    assert f"{wrong} for {place} {name}" in finding.figure
    assert f"{wrong} for {place} {name}" not in single(db.url_as("reader"), setting).figure


def test_a_table_without_autovacuum_is_a_failure(db: Database) -> None:
    db.connect("owner").execute("alter table dot.process_run_observation set (autovacuum_enabled = false)")
    finding = single(db.url_as("reader"), "autovacuum_of_tables")
    assert (finding.level, finding.figure) == ("fail", "off for process_run_observation")


def test_checkpoints_that_writing_forces_are_a_warning(db: Database) -> None:
    superuser = db.connect("superuser")
    superuser.execute("select pg_stat_reset_shared()")
    assert single(db.url, "checkpoints").level == "ok"
    for _ in range(11):
        superuser.execute("checkpoint")
    assert eventually(lambda: single(db.url, "checkpoints").level == "warn")


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within some seconds: statistics arrive late."""
    deadline = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def test_dead_rows_are_a_warning_from_a_share_on(db: Database) -> None:
    owner = db.connect("owner")
    owner.execute("alter table dot.dot_tools set (autovacuum_enabled = false)")
    owner.execute("insert into dot.dot_tools (code) select 'dot.' || i from generate_series(1, 1500) as i")
    assert single(db.url, "bloat").level == "ok"
    owner.execute("update dot.dot_tools set usage_count = 1")
    owner.execute("select pg_stat_force_next_flush()")
    assert eventually(lambda: single(db.url, "bloat").level == "warn")
    assert single(db.url, "bloat").figure == "dot_tools: 1500 dead rows, 50%"


def in_transaction(db: Database) -> Connection:
    """A session of the writer in a transaction that has an id."""
    writer = db.connect("writer")
    writer.execute("begin")
    writer.execute("select pg_current_xact_id()")
    return writer


def test_a_transaction_that_holds_the_outbox_back_is_found_by_its_age(db: Database) -> None:
    pid = in_transaction(db).info.backend_pid
    time.sleep(1.2)
    assert single(db.url, "transactions", Limits(transaction=60)).level == "ok"
    old = single(db.url, "transactions", Limits(transaction=0))
    assert old.level == "fail"
    assert old.figure.startswith(f"session {pid} has been open for ")
    time.sleep(1)
    assert single(db.url, "transactions", Limits(transaction=1)).level == "warn"


def test_a_transaction_without_an_id_holds_nothing_back(db: Database) -> None:
    reader = db.connect("reader")
    reader.execute("begin")
    reader.execute("select 1")
    time.sleep(1.2)
    assert single(db.url, "transactions", Limits(transaction=0)).level == "ok"


def test_what_a_login_may_not_see_is_hidden_and_not_ok(db: Database) -> None:
    hidden = found(db.url_as("outsider"))
    assert {check for check, (one, *_) in hidden.items() if one.level == "hidden"} == {
        "schema",
        "transactions",
        "gates",
        "state",
        "outbox",
        "runs",
    }
    assert single(db.url_as("reader"), "transactions").level == "hidden"
    in_transaction(db)
    time.sleep(1.2)
    assert [one.level for one in found(db.url_as("writer"), Limits(transaction=0))["transactions"]] == [
        "fail",
        "hidden",
    ]


def test_a_gate_that_was_moved_past_the_audit_is_a_failure(db: Database) -> None:
    db.connect("owner").execute("update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'")
    finding = single(db.url_as("reader"), "gates")
    assert (finding.level, finding.figure) == ("fail", "queue.worker.enabled is 'true', and not the last audited value")


def test_what_rows_say_and_no_definition_is_a_failure(db: Database) -> None:
    db.connect("owner").execute("delete from dot.event_type where event_type = 'process.run.failed'")
    finding = single(db.url_as("reader"), "state")
    assert (finding.level, finding.figure) == (
        "fail",
        "event_type_missing: process.run.failed: it has no row: an observation of that type writes no event",
    )
    view = (ROOT / "sql" / "views" / "v_dot_state.sql").read_text(encoding="utf-8")
    assert set(re.findall(r"^ *select\s*'(\w+)'(?:,| as finding)", view, re.MULTILINE)) == set(doctor.STATE)


def test_without_a_cursor_the_doctor_says_so(db: Database, dot_wrapper: DotWrapper) -> None:
    superuser = db.connect("superuser")
    superuser.execute("alter table dot.outbox_cursor disable trigger outbox_cursor_append_only")
    superuser.execute("delete from dot.outbox_cursor")
    findings = found(db.url_as("reader"))
    assert [(one.level, one.figure) for one in findings["outbox"]] == [("fail", "it has no cursor")]
    assert [one.level for one in findings["state"]] == ["fail"]
    outcome = dot_wrapper("outbox", "show")
    assert (outcome.code, outcome.err.splitlines()[0]) == (1, "error: the outbox has no cursor")


def test_at_another_revision_it_says_what_to_do_and_looks_at_the_rest(db: Database, dot_wrapper: DotWrapper) -> None:
    downgrade(db.url, "0003")
    findings = found(db.url)
    assert findings["schema"][0].figure == f"revision 0003, needed {HEAD}"
    assert findings["schema"][0].advice is not None
    assert "Run `dot-wrapper upgrade`" in findings["schema"][0].advice
    assert {findings[check][0].level for check in ("guards", "gates", "state", "outbox", "runs")} == {"hidden"}
    assert dot_wrapper("doctor").code == 5


def pages(connection: Connection, query: str) -> int:
    """Pages that a query reads, with the statistics as they are now."""
    connection.execute("analyze")
    (plan,) = value(connection, f"explain (analyze, buffers, format json) {query}")
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


def test_the_runs_cost_the_same_in_a_larger_ledger(db: Database) -> None:
    """Pages that the runs check reads for 3,000 real runs, beside those for one."""
    ready_for_real_runs(db)
    writer, superuser = db.connect("writer"), db.connect("superuser")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    before = pages(superuser, doctor.RUNS)
    columns = ", ".join(
        one["attname"]
        for one in rows(
            superuser,
            "select attname from pg_attribute where attrelid = 'dot.process_run_observation'::regclass and attnum > 0"
            " and attname <> 'process_run_id'",
        )
    )
    superuser.execute(
        f"insert into dot.process_run_observation (process_run_id, {columns})"
        f" select gen_random_uuid(), {columns} from dot.process_run_observation, generate_series(1, 3000)"
    )
    assert pages(superuser, doctor.RUNS) <= before + 20


def events(owner: Connection, count: int) -> None:
    """So many events, straight into the outbox."""
    owner.execute(
        "insert into dot.event_outbox (epoch, aggregatetype, aggregateid, type, payload)"
        f" select 1, 'process_run', 'x', 'process.run.started', '{{}}' from generate_series(1, {count})"
    )


@pytest.mark.parametrize("delivered", [False, True], ids=["nothing delivered", "most delivered"])
def test_the_outbox_costs_the_same_however_much_waits(db: Database, delivered: bool) -> None:
    superuser = db.connect("superuser")
    query = doctor.OUTBOX.replace("%s", "101")
    costs = []
    for count in (200, 20_000):
        events(superuser, count)
        if delivered:
            superuser.execute(
                "update dot.outbox_cursor as c set (xact_id, outbox_id) = (select o.xact_id, o.id from dot.event_outbox as o"
                " order by o.xact_id desc, o.id desc offset 150 limit 1)"
            )
        assert value(superuser, f"select depth from ({query}) as o") == 101
        costs.append(pages(superuser, query))
    assert costs[1] <= costs[0] + 20


def test_the_outbox_is_counted_no_further_than_to_where_it_is_a_failure(db: Database) -> None:
    events(db.connect("superuser"), 25)
    finding = single(db.url_as("reader"), "outbox", Limits(outbox_depth=2))
    assert (finding.level, finding.numbers["depth"], finding.numbers["counted_to"]) == ("fail", 21, 21)
    assert finding.figure.startswith("more than 20 events wait")
    finding = single(db.url_as("reader"), "outbox", Limits(outbox_depth=3))
    assert (finding.level, finding.numbers["depth"], finding.numbers["counted_to"]) == ("warn", 25, 31)
    assert finding.figure.startswith("25 events wait")
    assert value(db.connect("reader"), "select depth from dot.v_dot_outbox") == 25


def test_a_gate_that_is_open_for_long_is_a_warning(db: Database) -> None:
    set_gates(db, "true", "queue.worker.enabled")
    assert single(db.url_as("reader"), "gates").figure == "open: queue.worker.enabled"
    time.sleep(1.2)
    assert single(db.url_as("reader"), "gates", Limits(open_gate=0)).level == "warn"


def test_an_outbox_that_nobody_reads_is_a_warning_and_then_a_failure(db: Database) -> None:
    define_pair(db)
    db.connect("gatekeeper").execute(
        "select dot.fn_event_type_set('process.run.started', true, 'tester', 'for a test')"
    )
    writer = db.connect("writer")
    for _ in range(11):
        observe_run(writer)
    assert single(db.url_as("reader"), "outbox").level == "ok"
    assert single(db.url_as("reader"), "outbox", Limits(outbox_depth=10)).level == "warn"
    failing = single(db.url_as("reader"), "outbox", Limits(outbox_depth=1))
    assert failing.level == "fail"
    assert failing.figure.startswith("more than 10 events wait")
    time.sleep(2.2)
    assert single(db.url_as("reader"), "outbox", Limits(outbox_lag=1)).level == "warn"


def test_a_run_whose_lease_ran_out_is_a_warning_with_its_candidate(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer, seconds=1)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert single(db.url_as("reader"), "leases").figure == "none expired under a run"
    time.sleep(1.2)
    findings = found(db.url_as("reader"))
    (run,), (lease,) = findings["runs"], findings["leases"]
    assert (run.level, run.figure) == ("warn", "of the latest real runs 1 stale, 0 without an end for 86400 s")
    assert (lease.level, lease.figure) == ("warn", f"expired under a run: {PAIR}")
    acquire(writer)  # another holder goes on: the old run stays stale, and no lease is over
    findings = found(db.url_as("reader"))
    assert [findings[check][0].level for check in ("runs", "leases")] == ["warn", "ok"]


def test_a_run_that_stays_open_is_a_warning(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))
    assert single(db.url_as("reader"), "runs").level == "ok"
    time.sleep(1.2)
    finding = single(db.url_as("reader"), "runs", Limits(open_run=0))
    assert (finding.level, finding.figure) == ("warn", "of the latest real runs 0 stale, 1 without an end for 0 s")
    assert finding.advice is not None
    assert PAIR in finding.advice


def test_what_is_locked_is_not_called_well(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUTS", "set local lock_timeout = '100ms'")
    owner = db.connect("owner")
    with owner.transaction():
        owner.execute("lock table dot.process_run_observation in access exclusive mode")
        findings = found(db.url_as("reader"))
    assert {check for check in ("guards", "state", "runs") if findings[check][0].level == "hidden"} == {
        *("guards", "state", "runs")
    }


def test_without_the_wrapper_that_is_all_it_says(empty_url: str) -> None:
    (finding,) = found(empty_url)["schema"]
    assert (finding.level, finding.figure) == ("fail", "the wrapper is not installed")
    assert set(found(empty_url)) == {"schema"}


def test_what_the_operations_page_tells_a_dba_to_run_is_legal(db: Database) -> None:
    page = (ROOT / "docs" / "howto" / "operations.md").read_text(encoding="utf-8")
    statements = [block.text for block in blocks(page) if block.language == "sql"]
    for statement in statements:
        db.connect("superuser").execute(statement.encode())
    found = rows(
        db.connect("owner"),
        "select relname, cardinality(reloptions) as options from pg_class where relnamespace = 'dot'::regnamespace"
        " and reloptions is not null and relkind = 'r' order by relname",
    )
    assert {one["relname"]: one["options"] for one in found} == {
        "dot_iu_runtime_lease": 1,
        "process_component_observation": 3,
        "process_run_observation": 3,
    }


def test_a_failure_is_exit_code_5_and_an_accepted_one_is_not(db: Database, dot_wrapper: DotWrapper) -> None:
    outcome = dot_wrapper("doctor", "--json")
    assert (outcome.code, outcome.json["failed"]) == (5, ["fsync", "full_page_writes"])
    accepted = dot_wrapper("doctor", "--json", "--accept", "fsync", "--accept", "full_page_writes")
    assert (accepted.code, accepted.json["failed"]) == (0, [])
    # Not the figures: autovacuum may use a transaction id in between.
    assert [(one["check"], one["level"]) for one in accepted.json["findings"]] == [
        (one["check"], one["level"]) for one in outcome.json["findings"]
    ]
    db.connect("owner").execute("drop index dot.process_run_observation_above_simulation_idx")
    failed = dot_wrapper("doctor", "--accept", "fsync", "--accept", "full_page_writes")
    assert failed.code == 5
    assert "process_run_observation_above_simulation_idx" in re.sub(r"[│\s]", "", failed.out)


def test_a_check_that_does_not_exist_is_not_accepted(dot_wrapper: DotWrapper) -> None:
    outcome = dot_wrapper("doctor", "--accept", "fsink")
    assert outcome.code == 2
    assert "fsink" in outcome.err


def test_the_settings_and_ages_of_a_server_are_found(server_home: Path) -> None:
    """On a server of its own, whose next ids are moved ahead as if so many had been used, past a transaction that was left
    prepared: without one, autovacuum would have been there first."""

    def restarted(*between: object) -> str:
        embedded.stop(folder=server_home)
        if between:
            subprocess.run([*as_owner(data), *map(str, between)], cwd="/", check=True, capture_output=True)
        return embedded.start(folder=server_home)

    switches = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum", "track_counts")
    url = embedded.start(folder=server_home)
    upgrade(url)
    assert {found(url)[check][0].level for check in (*switches, "xid_age", "multixact_age")} == {"ok"}
    settings = {
        "autovacuum_freeze_max_age": "100000",
        "autovacuum_multixact_freeze_max_age": "10000",
        "max_prepared_transactions": "2",
        **dict.fromkeys(switches, "off"),
    }
    data = data_directory(url)
    with psycopg.connect(url, autocommit=True) as admin:
        for name, setting in settings.items():
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), setting))
    url = restarted()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("begin")
        admin.execute("select from dot.dot_config for share")
        admin.execute("prepare transaction 'left behind'")
    # Both numbers begin a page of their log, which the server makes when the first of them is used.
    url = restarted(embedded.bin_folder() / "pg_resetwal", "-x", 131072, "-m", "20480,1", data)
    time.sleep(1.2)
    findings = found(url, Limits(transaction=0))
    levels = {check: findings[check][0].level for check in (*switches, "xid_age", "multixact_age", "transactions")}
    assert levels == dict.fromkeys((*switches, "transactions"), "fail") | dict.fromkeys(
        ("synchronous_commit", "xid_age", "multixact_age"), "warn"
    )
    assert findings["transactions"][0].figure.startswith("prepared transaction left behind has been open for ")
    with psycopg.connect(url, autocommit=True) as admin:
        for failsafe in ("vacuum_failsafe_age", "vacuum_multixact_failsafe_age"):
            admin.execute(sql.SQL("alter system set {} = 0").format(sql.Identifier(failsafe)))
        admin.execute("select pg_reload_conf()")
    assert eventually(lambda: single(url, "xid_age").level == "fail")
    assert single(url, "multixact_age").level == "fail"
