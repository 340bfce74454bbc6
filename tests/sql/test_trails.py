"""Every trail that is kept can be read by a role: moves, attestations, commands and refusals."""

from __future__ import annotations

import pytest

from support import Database, attest, define_pair, ready_for_real_runs, row, rows, set_gates, value

READERS = pytest.mark.parametrize("role", ["reader", "gatekeeper"])


@READERS
def test_each_move_is_read_with_what_it_moved_by_whom_and_why(db: Database, role: str) -> None:
    set_gates(db, "true", "queue.worker.enabled")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.failed', true, 'ana', 'a relay listens')")
    told = rows(
        db.session(role),
        "select kind, subject, old_value, new_value, actor, session_actor, reason, made_here"
        " from dot.v_dot_config_audit order by audit_id",
    )
    login = db.login("gatekeeper")
    assert [tuple(one.values()) for one in told] == [
        ("gate", "queue.worker.enabled", "false", "true", "tester", login, "for a test", True),
        ("event_type", "process.run.failed", "false", "true", "ana", login, "a relay listens", True),
    ]


def test_a_move_in_another_database_or_cluster_is_told_from_one_here(db: Database) -> None:
    set_gates(db, "true", "queue.worker.enabled")
    db.session("owner").execute(
        "insert into dot.dot_config_audit select audit_id + 1, changed_at, system_identifier + 1, database_oid, key,"
        " old_value, new_value, actor, session_actor, reason from dot.dot_config_audit;"
        "insert into dot.dot_config_audit select audit_id + 2, changed_at, null, database_oid, key,"
        " old_value, new_value, actor, session_actor, reason from dot.dot_config_audit where audit_id = 1;"
        "insert into dot.dot_config_audit select audit_id + 3, changed_at, system_identifier, database_oid::bigint + 1, key,"
        " old_value, new_value, actor, session_actor, reason from dot.dot_config_audit where audit_id = 1"
    )
    told = rows(db.session("gatekeeper"), "select made_here from dot.v_dot_config_audit order by audit_id")
    assert [one["made_here"] for one in told] == [True, False, False, False]


def test_the_subject_of_a_move_is_the_whole_key_of_a_gate(db: Database) -> None:
    set_gates(db, "true", "queue.worker.enabled")
    owner = db.session("owner")
    owner.execute("alter table dot.dot_config_audit disable trigger user")
    owner.execute("update dot.dot_config_audit set key = 'a:gate'")
    told = rows(db.session("gatekeeper"), "select kind, subject from dot.v_dot_config_audit")
    assert told == [{"kind": "gate", "subject": "a:gate"}]


COUNTS = "select counts_now, why_not from dot.v_preflight_attestation order by attestation_id"


@READERS
def test_an_attestation_counts_where_the_preflight_lets_it(db: Database, role: str) -> None:
    attest(db, "PASS")
    assert [tuple(one.values()) for one in rows(db.session(role), COUNTS)] == [(True, None)]
    attest(db, "BLOCK")
    session = db.session(role)
    assert [tuple(one.values()) for one in rows(session, COUNTS)] == [
        (False, "a newer attestation decides"),
        (True, None),  # it counts, and blocks
    ]
    assert row(session, "select verdict, finding, actor from dot.v_preflight_attestation where counts_now") == {
        "verdict": "BLOCK",
        "finding": "a snapshot",
        "actor": "tester",
    }


@pytest.mark.parametrize(
    ("column", "other", "why"),
    [
        ("expires_at", "attested_at + interval '1 microsecond'", "expired at"),
        ("attested_at", "attested_at + interval '30 s'", "ahead of the clock"),
        ("system_identifier", "system_identifier + 1", "another database or cluster"),
        ("database_oid", "0", "another database or cluster"),
    ],
)
def test_an_attestation_that_does_not_count_says_why(db: Database, column: str, other: str, why: str) -> None:
    attest(db)
    columns = {
        name: name
        for name in (
            *("attested_at", "expires_at", "system_identifier", "database_oid"),
            *("check_name", "verdict", "finding", "actor", "session_actor"),
        )
    }
    db.session("owner").execute(
        f"insert into dot.preflight_attestation (attestation_id, {', '.join(columns)})"
        f" select attestation_id + 1, {', '.join({**columns, column: other}.values())}"
        " from dot.preflight_attestation".encode()
    )
    older, newest = rows(db.session("gatekeeper"), COUNTS)
    assert older == {"counts_now": False, "why_not": "a newer attestation decides"}
    assert newest["counts_now"] is False
    assert why in newest["why_not"]
    guard = "select verdict from dot.fn_preflight_guard() where check_name = 'fs_snapshot_present'"
    assert value(db.session("gatekeeper"), guard) == "BLOCK"


@READERS
def test_the_newest_attestation_of_each_mechanism_stands(db: Database, role: str) -> None:
    with db.connect("gatekeeper") as gatekeeper:
        for mechanism, present in (("scheduler", True), ("api_endpoint", False), ("scheduler", False)):
            gatekeeper.execute(
                "select dot.fn_dot_mechanism_attest(%s, %s, 'ana', 'looked at the hosts')", (mechanism, present)
            )
    told = rows(
        db.session(role),
        "select mechanism, present, stands from dot.v_dot_mechanism_attestation order by attestation_id",
    )
    assert [tuple(one.values()) for one in told] == [
        ("scheduler", True, False),
        ("api_endpoint", False, True),
        ("scheduler", False, True),
    ]


@READERS
def test_a_refused_command_is_read_with_its_detail(db: Database, role: str) -> None:
    db.session("writer").execute(
        "select dot.fn_dot_iu_command_log('dot_wrapper.execute', 'apply', 'refused', 'ana', '{\"gate\": \"off\"}')"
    )
    told = row(
        db.session(role),
        "select command_name, run_mode, run_status, mutating, actor, session_actor, detail from dot.v_dot_command_run",
    )
    assert tuple(told.values()) == (
        *("dot_wrapper.execute", "apply", "refused", True, "ana", db.login("writer")),
        {"gate": "off"},
    )


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_the_commands_that_may_be_logged_are_listed(db: Database, role: str) -> None:
    listed = rows(db.session(role), "select command_name from dot.v_dot_command where not mutating order by 1")
    assert [one["command_name"] for one in listed] == ["dot_wrapper.preflight_attest", "dot_wrapper.rehearse"]


def test_each_role_sees_what_it_works_with(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.other")
    gatekeeper, relay, cataloguer = db.session("gatekeeper"), db.session("relay"), db.session("cataloguer")
    assert value(gatekeeper, "select count(*) from dot.v_dot_gate where is_open") == 3
    assert value(gatekeeper, "select count(*) from dot.v_dot_gate_holder") == 0
    assert value(gatekeeper, "select count(*) from dot.fn_preflight_guard() where verdict = 'PASS'") == 4
    assert value(gatekeeper, "select count(*) from dot.v_dot_event_type") == 10
    assert value(relay, "select depth from dot.v_dot_outbox") == 0
    assert value(relay, "select count(*) from dot.v_dot_event_type where active") == 0
    assert value(cataloguer, "select count(*) from dot.v_dot_tool") == 2
    for session in (cataloguer, db.session("writer")):
        assert value(session, "select count(*) from dot.v_process_candidate where superseded_by is null") == 2
