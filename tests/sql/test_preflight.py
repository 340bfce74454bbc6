"""The preflight: a signal that is missing, stale, unreadable or unknown blocks, and nothing but PASS and WARN lets pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import sql

from support import (
    GATES,
    PAIR,
    Connection,
    Database,
    acquire,
    attest,
    define_pair,
    ledger_counts,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)

CHECKS = ("fs_snapshot_present", "gates_readable", "catalogue_present", "lease_table_usable")
Guarded = tuple[str | None, str | None, str | None]
ALL_PASS: tuple[Guarded, ...] = tuple((check, "PASS", "fine") for check in CHECKS)


def verdicts(writer: Connection) -> dict[str, str]:
    return {one["check_name"]: one["verdict"] for one in rows(writer, "select * from dot.fn_preflight_guard()")}


def assert_safe(writer: Connection) -> Any:
    return value(writer, "select dot.fn_assert_safe_for_dot_action()")


def attested(db: Database, verdict: str, at: datetime, until: datetime) -> None:
    """An attestation of another time than now, written by the owner."""
    db.connect("owner").execute(
        "insert into dot.preflight_attestation (attestation_id, system_identifier, database_oid, check_name, verdict, finding,"
        " actor, session_actor, attested_at, expires_at)"
        " select (select coalesce(max(attestation_id), 0) + 1 from dot.preflight_attestation), i.*, 'fs_snapshot_present', %s,"
        " 'a snapshot', 'me', 'me', %s, %s from dot.fn_database_identity() as i",
        (verdict, at, until),
    )


def replace_guard(db: Database, reported: Iterable[Guarded]) -> None:
    """Puts a guard in place that reports these rows, as an owner who breaks it would."""
    texts = [sql.SQL("({}::text, {}::text, {}::text)").format(*map(sql.Literal, one)) for one in reported]
    body = sql.SQL("values {}").format(sql.SQL(", ").join(texts)) if texts else sql.SQL("select '', '', '' where false")
    db.connect("owner").execute(
        sql.SQL(
            "create or replace function dot.fn_preflight_guard(out check_name text, out verdict text, out detail text)"
            " returns setof record language sql as {}"
        ).format(sql.Literal(body.as_string()))
    )


def test_a_fresh_database_blocks_until_somebody_registers_and_attests(db: Database) -> None:
    writer = db.connect("writer")
    assert verdicts(writer) == {
        "fs_snapshot_present": "BLOCK",
        "gates_readable": "PASS",
        "catalogue_present": "BLOCK",
        "lease_table_usable": "PASS",
    }
    for check in ("fs_snapshot_present", "catalogue_present"):
        with refused("23514", "preflight_check", check):
            assert_safe(writer)
    define_pair(db)
    attest(db)
    assert verdicts(writer) == dict.fromkeys(CHECKS, "PASS")
    assert [one["verdict"] for one in assert_safe(writer)] == ["PASS"] * 4


def test_each_check_says_what_it_found(db: Database) -> None:
    writer, owner = db.connect("writer"), db.connect("owner")

    def said() -> dict[str, str]:
        return {one["check_name"]: one["detail"] for one in rows(writer, "select * from dot.fn_preflight_guard()")}

    assert said() == {
        "fs_snapshot_present": "never attested: a gatekeeper calls fn_preflight_attest",
        "gates_readable": "all three gates are true or false",
        "catalogue_present": "dot_tools is empty: a cataloguer calls fn_dot_tool_register",
        "lease_table_usable": "dot_iu_runtime_lease has its unique key and can be written",
    }
    define_pair(db)
    attest(db)
    found = said()
    assert found["catalogue_present"] == "the catalogue holds DOTs"
    assert found["fs_snapshot_present"].startswith("attested by tester until 20")
    assert found["fs_snapshot_present"].endswith(": a snapshot")
    owner.execute("revoke select on dot.v_host_tool, dot.dot_config from dot_bridge")
    owner.execute("alter table dot.dot_iu_runtime_lease rename to elsewhere")
    found = said()
    assert found["gates_readable"] == "dot_config cannot be read"
    assert found["catalogue_present"] == "dot_tools cannot be read: permission denied for view v_host_tool"
    assert found["lease_table_usable"].startswith("dot_iu_runtime_lease is missing, has no unique lease_key")


def test_a_warning_passes(db: Database) -> None:
    define_pair(db)
    attest(db, "WARN")
    writer = db.connect("writer")
    assert verdicts(writer)["fs_snapshot_present"] == "WARN"
    assert "WARN" in [one["verdict"] for one in assert_safe(writer)]


def test_an_attestation_is_of_its_own_check(db: Database) -> None:
    attest(db)
    told = row(db.session("reader"), "select verdict, detail from dot.fn_preflight_attestation('another')")
    assert told["verdict"] == "BLOCK"
    assert told["detail"].startswith("never attested")


def test_the_newest_attestation_alone_decides(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    tomorrow = now + timedelta(days=1)
    attested(db, "PASS", now - 60 * minute, tomorrow)
    assert verdicts(writer)["fs_snapshot_present"] == "PASS"
    attested(db, "PASS", now - 30 * minute, now - minute)
    with refused("23514", "preflight_check", "fs_snapshot_present (BLOCK: the newest attestation, by me, expired"):
        assert_safe(writer)
    attested(db, "PASS", now, tomorrow)
    attested(db, "BLOCK", now - 40 * minute, tomorrow)  # the clock was put back: what was written last is the newest
    assert verdicts(writer)["fs_snapshot_present"] == "BLOCK"
    for verdict in ("PASS", "BLOCK", "WARN"):  # of one moment, the one written last
        attested(db, verdict, now - 10 * minute, tomorrow)
        assert verdicts(writer)["fs_snapshot_present"] == verdict
    for verdict in ("BLOCK", "PASS"):
        attest(db, verdict)
        assert verdicts(writer)["fs_snapshot_present"] == verdict


def test_a_gate_that_is_missing_or_neither_true_nor_false_blocks(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    attest(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    for gate in GATES:
        for illegal in (None, "", "TRUE", "False", "1", " true", "true\n", "tru\u0435"):
            owner.execute("update dot.dot_config set value = %s where key = %s", (illegal, gate))
            with (
                subtests.test(gate=gate, value=illegal),
                refused("23514", "preflight_check", f"gates_readable (BLOCK: neither true nor false: {gate})"),
            ):
                assert_safe(writer)
        owner.execute("delete from dot.dot_config where key = %s", (gate,))
        with refused("23514", "preflight_check", gate):
            assert_safe(writer)
        owner.execute("insert into dot.dot_config values (%s, 'false')", (gate,))
        assert assert_safe(writer)


def test_an_unreadable_or_broken_host_table_blocks_and_what_was_broken_is_named(
    db: Database, subtests: pytest.Subtests
) -> None:
    define_pair(db)
    attest(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    lease = "dot.dot_iu_runtime_lease"
    for broken, mended, check in (
        ("revoke select on dot.dot_config from dot_bridge", "grant select on dot.dot_config to dot_bridge", CHECKS[1]),
        (
            "revoke select on dot.v_host_tool from dot_bridge",
            "grant select on dot.v_host_tool to dot_bridge",
            CHECKS[2],
        ),
        (
            "revoke select on dot.v_host_gate from dot_bridge",
            "grant select on dot.v_host_gate to dot_bridge",
            CHECKS[1],
        ),
        ("alter view dot.v_host_tool rename to gone", "alter view dot.gone rename to v_host_tool", CHECKS[2]),
        *(
            (f"revoke {right} on {lease} from dot_bridge", f"grant {right} on {lease} to dot_bridge", CHECKS[3])
            for right in ("select", "insert", "update")
        ),
        (f"alter table {lease} rename to gone", "alter table dot.gone rename to dot_iu_runtime_lease", CHECKS[3]),
        (
            f"alter table {lease} drop constraint dot_iu_runtime_lease_pkey",
            f"create index wrong_one on {lease} (lease_key); create unique index wrong_two on {lease} (lease_key, holder);"
            f"create unique index wrong_three on {lease} (lease_key) where token > 0;"
            f"create unique index wrong_four on {lease} (holder);"
            f"create unique index wrong_five on {lease} (lower(lease_key));"
            f"alter table {lease} add constraint wrong_six unique (lease_key) deferrable;"
            "create table dot.elsewhere (lease_key text primary key);"
            "create table dot.of_the_same_shape (a text, b text, c text, d text, lease_key text)",
            CHECKS[3],
        ),
        ("select", f"create unique index right_one on {lease} (lease_key)", CHECKS[3]),
    ):
        owner.execute(broken)
        with subtests.test(broken=broken):
            assert verdicts(writer) == {**dict.fromkeys(CHECKS, "PASS"), check: "BLOCK"}
            with refused("23514", "preflight_check", f"{check} (BLOCK:"):
                assert_safe(writer)
        owner.execute(mended)
    assert verdicts(writer) == dict.fromkeys(CHECKS, "PASS")


def test_a_unique_index_that_was_never_finished_does_not_make_the_lease_table_usable(db: Database) -> None:
    writer, superuser = db.connect("writer"), db.connect("superuser")
    for valid, verdict in ((False, "BLOCK"), (True, "PASS")):
        superuser.execute(
            "update pg_index set indisvalid = %s where indexrelid = 'dot.dot_iu_runtime_lease_pkey'::regclass", (valid,)
        )
        assert verdicts(writer)["lease_table_usable"] == verdict


def test_a_guard_that_does_not_report_each_check_once_with_a_known_word_blocks(
    db: Database, subtests: pytest.Subtests
) -> None:
    writer = db.connect("writer")
    replace_guard(db, ALL_PASS)
    assert assert_safe(writer)

    def blocks(what: object, reported: Iterable[Guarded], *named: str) -> None:
        replace_guard(db, reported)
        for said in named:
            with subtests.test(reported=what), refused("23514", "preflight_check", said):
                assert_safe(writer)

    blocks("no rows", (), *(f"{check} (reported 0 times, not once)" for check in CHECKS))
    for number, check in enumerate(CHECKS):
        others = ALL_PASS[:number] + ALL_PASS[number + 1 :]
        for verdict in ("BLOCK", "OK", "pass", "Warn", " PASS", "PASS\n", "", "true", "UNKNOWN"):
            blocks((check, verdict), (*others, (check, verdict, "why")), f"{check} ({verdict}: why)")
        blocks((check, None), (*others, (check, None, "why")), f"{check} (no verdict: why)")
        blocks((check, None, None), (*others, (check, None, None)), f"{check} (no verdict: no detail)")
        blocks((check, "missing"), others, f"{check} (reported 0 times, not once)")
        blocks(
            (check, "under another name"),
            (*others, (check.upper(), "PASS", "")),
            f"{check} (reported 0 times, not once)",
        )
        blocks((check, "twice"), (*ALL_PASS, ALL_PASS[number]), f"{check} (reported 2 times, not once)")
        blocks((check, "a second verdict"), (*ALL_PASS, (check, "BLOCK", "why")), f"{check} (BLOCK: why)")
    blocks("a further check", (*ALL_PASS, ("disk_space", "BLOCK", "full")), "disk_space (BLOCK: full)")
    blocks("a row without a name", (*ALL_PASS, (None, "BLOCK", "full")), "(BLOCK: full)")
    blocks("a row of nothing", (*ALL_PASS, (None, None, None)), "(no verdict: no detail)")
    several = (("fs_snapshot_present", "BLOCK", "gone"), ("gates_readable", "WAIT", "later"), ALL_PASS[2])
    blocks(
        "several at once",
        several,
        "fs_snapshot_present (BLOCK: gone); gates_readable (WAIT: later); lease_table_usable (reported 0 times, not once)",
    )
    replace_guard(db, (*ALL_PASS, ("disk_space", "WARN", "nearly full")))
    assert len(assert_safe(writer)) == 5


def test_dry_and_real_runs_are_refused_while_the_preflight_blocks_and_simulations_are_not(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    attest(db, "BLOCK")
    before = ledger_counts(db)
    for evidence_type in ("DRY_RUN", "REAL_RUN"):
        with refused("23514", "preflight_check", "fs_snapshot_present"):
            observe_run(writer, evidence_type=evidence_type, lease_token=token)
    replace_guard(db, ())
    with refused("23514", "preflight_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert ledger_counts(db) == before
    assert observe_run(writer)["created"]


def test_an_attestation_is_stored_with_who_until_when_and_what_was_found(db: Database) -> None:
    gatekeeper, owner = db.connect("gatekeeper"), db.connect("owner")
    for seconds in (1, 604_800):
        ends = value(
            gatekeeper,
            "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', %s, 'alice', 'snapshot 42 of /srv')",
            seconds,
        )
        stored = row(
            owner,
            "select *, clock_timestamp() as now from dot.preflight_attestation order by attestation_id desc limit 1",
        )
        assert (stored["actor"], stored["session_actor"], stored["finding"]) == (
            "alice",
            db.login("gatekeeper"),
            "snapshot 42 of /srv",
        )
        assert stored["expires_at"] == ends
        assert (ends - stored["attested_at"]).total_seconds() == seconds
        assert 0 <= (stored["now"] - stored["attested_at"]).total_seconds() < 60


def refuses_each(
    call: Callable[..., Any],
    table: str,
    legal: dict[str, Any],
    illegal: dict[str, tuple[Any, ...]],
    subtests: pytest.Subtests,
) -> None:
    for argument in legal:
        with subtests.test(missing=argument), refused("23502", f"{table}_{argument}_not_null"):
            call(**{**legal, argument: None})
    for argument, values in illegal.items():
        for one in values:
            with subtests.test(table=table, **{argument: one}), refused("23514", f"{table}_{argument}_check"):
                call(**{**legal, argument: one})


BAD_ACTORS = ("", " ", "a b", "me\n", "\u200b", "m\u0435", "a" * 201)
BAD_PROSE = ("", " ", "\t", "\u00a0", "seen\n", "two\nlines", "\u202eseen", "\x1b[2J", "s" * 1025)


def test_attestations_refuse_missing_and_illegal_arguments_by_name(db: Database, subtests: pytest.Subtests) -> None:
    gatekeeper = db.connect("gatekeeper")

    def attest_preflight(**given: Any) -> None:
        gatekeeper.execute(
            "select dot.fn_preflight_attest(%(check_name)s, %(verdict)s, %(valid_seconds)s, %(actor)s, %(finding)s)",
            given,
        )

    def attest_mechanism(**given: Any) -> None:
        gatekeeper.execute(
            "select dot.fn_dot_mechanism_attest(%(mechanism)s, %(present)s, %(actor)s, %(finding)s)", given
        )

    before = ledger_counts(db)
    refuses_each(
        attest_preflight,
        "preflight_attestation",
        {"check_name": "fs_snapshot_present", "verdict": "PASS", "valid_seconds": 60, "actor": "me", "finding": "seen"},
        {
            "check_name": ("", "gates_readable", "catalogue_present", "lease_table_usable", "FS_SNAPSHOT_PRESENT", " "),
            "verdict": ("", "pass", "OK", "PASS ", "BLOCKED", "true"),
            "valid_seconds": (0, -1, 604_801, 2**31 - 1),
            "actor": BAD_ACTORS,
            "finding": BAD_PROSE,
        },
        subtests,
    )
    refuses_each(
        attest_mechanism,
        "dot_mechanism_attestation",
        {"mechanism": "scheduler", "present": False, "actor": "me", "finding": "seen"},
        {"mechanism": ("", "cron", "job_queue", "SCHEDULER", "scheduler "), "actor": BAD_ACTORS, "finding": BAD_PROSE},
        subtests,
    )
    assert ledger_counts(db) == before
    attest_mechanism(mechanism="api_endpoint", present=True, actor="me", finding="seen")
    stored = row(
        db.connect("owner"),
        "select mechanism, present, actor, session_actor, finding from dot.dot_mechanism_attestation",
    )
    assert list(stored.values()) == ["api_endpoint", True, "me", db.login("gatekeeper"), "seen"]


def test_the_guard_writes_nothing_and_holds_no_lock_on_a_host_table(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    acquire(writer)
    before = ledger_counts(db)
    writer.execute("begin")
    verdicts(writer)
    assert_safe(writer)
    assert value(writer, "select pg_current_xact_id_if_assigned()") is None
    set_gates(db, "false")
    acquire(db.connect("writer"), PAIR)
    writer.execute("commit")
    assert {**ledger_counts(db), "dot_config_audit": before["dot_config_audit"]} == before
