"""The catalogue, the pairs that are named from it, and the command log."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    call,
    define_pair,
    ledger_counts,
    refused,
    row,
    value,
    waiting,
)

DESCRIPTION = {
    "category": "load",
    "execution_engine": "dbt",
    "script_path": "scripts/load orders.sh",
    "file_path": "models/orders.sql",
    "trigger_type": "cron",
}
BAD_CODES = ("", " ", "a b", "ok\n", "\u200b", "\ufeffok", "\u043ek", ".ok", "it's", "a" * 201, "a" * 100_000)
BAD_PROSE = ("", " ", "\t", "\u00a0", "seen\n", "two\nlines", "\u202eseen", "\x1b[2J", "s" * 1025)


def register(cataloguer: Connection, code: str | None = PRODUCER, **described: str | None) -> str:
    answer: str = call(cataloguer, "fn_dot_tool_register", {"code": code}, **described)["fn_dot_tool_register"]
    return answer


def define(cataloguer: Connection, **replaced: str | None) -> dict[str, Any]:
    legal = {"code": PAIR, "producer_dot_code": PRODUCER, "verifier_dot_code": VERIFIER, "actor": "me"}
    return call(cataloguer, "fn_process_candidate_define", legal, **replaced)


def command_log(writer: Connection, **replaced: object) -> Any:
    legal = {"command_name": "dot_wrapper.execute", "run_mode": "apply", "run_status": "refused", "actor": "me"}
    return call(writer, "fn_dot_iu_command_log", legal, **replaced)["fn_dot_iu_command_log"]


def test_registering_a_dot_says_created_updated_or_unchanged(db: Database) -> None:
    cataloguer, owner = db.connect("cataloguer"), db.connect("owner")
    assert register(cataloguer, **DESCRIPTION) == "created"
    assert register(cataloguer, **DESCRIPTION) == "unchanged"
    for name in DESCRIPTION:
        changed = {**DESCRIPTION, name: "changed"}
        assert register(cataloguer, **changed) == "updated"
        stored = row(owner, "select * from dot.dot_tools")
        assert {one: stored[one] for one in DESCRIPTION} == changed
        assert register(cataloguer, **changed) == "unchanged"
        assert register(cataloguer, **{**DESCRIPTION, name: None}) == "updated"
        assert register(cataloguer, **{**DESCRIPTION, name: None}) == "unchanged"
    assert register(cataloguer, "dot.alike", **{**DESCRIPTION, name: None}) == "created"


def test_registering_a_dot_again_never_touches_its_usage_figures(db: Database) -> None:
    cataloguer, owner = db.connect("cataloguer"), db.connect("owner")
    register(cataloguer)
    assert row(owner, "select usage_count, last_executed from dot.dot_tools") == {
        "usage_count": 0,
        "last_executed": None,
    }
    used = row(
        owner, "update dot.dot_tools set usage_count = 7, last_executed = now() returning usage_count, last_executed"
    )
    assert (register(cataloguer, **DESCRIPTION), register(cataloguer, **DESCRIPTION)) == ("updated", "unchanged")
    assert row(owner, "select usage_count, last_executed from dot.dot_tools") == used


def test_registering_a_dot_unchanged_writes_nothing(db: Database) -> None:
    cataloguer, owner = db.connect("cataloguer"), db.connect("owner")
    undescribed: dict[str, str | None] = dict.fromkeys(DESCRIPTION)
    for description in (DESCRIPTION, undescribed):
        register(cataloguer, **description)
        before = row(owner, "select xmin, xmax, ctid, t.* from dot.dot_tools t")
        cataloguer.execute("begin")
        assert register(cataloguer, **description) == "unchanged"
        assert value(cataloguer, "select pg_current_xact_id_if_assigned()") is None
        cataloguer.execute("commit")
        assert row(owner, "select xmin, xmax, ctid, t.* from dot.dot_tools t") == before


def test_registering_a_dot_that_another_session_registers_at_that_moment_changes_nothing(db: Database) -> None:
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    first.execute("begin")
    assert register(first, **DESCRIPTION) == "created"
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, lambda: register(second, **DESCRIPTION), pool, db)
        first.execute("commit")
        assert late.result() == "unchanged"


def test_registering_refuses_missing_and_illegal_descriptions_by_name(db: Database, subtests: pytest.Subtests) -> None:
    cataloguer = db.connect("cataloguer")
    before = ledger_counts(db)
    with refused("23502", "dot_tools_code_not_null"):
        register(cataloguer, None)
    for argument in ("code", *DESCRIPTION):
        for illegal in BAD_PROSE if argument.endswith("_path") else BAD_CODES:
            with subtests.test(**{argument: illegal[:20]}), refused("23514", f"dot_tools_{argument}_check"):
                register(cataloguer, **{argument: illegal})
    assert ledger_counts(db) == before


def test_a_pair_is_defined_once_and_the_same_again_is_nothing_new(db: Database) -> None:
    cataloguer, owner = db.connect("cataloguer"), db.connect("owner")
    for dot in (PRODUCER, VERIFIER):
        register(cataloguer, dot)
    assert define(cataloguer, actor="alice", description="The first words.") == {"code": PAIR, "created": True}
    before = row(owner, "select ctid, c.* from dot.process_candidate c")
    assert define(cataloguer, actor="bob", description="Other words.") == {"code": PAIR, "created": False}
    assert row(owner, "select ctid, c.* from dot.process_candidate c") == before
    assert (before["actor"], before["session_actor"], before["description"]) == (
        "alice",
        db.login("cataloguer"),
        "The first words.",
    )


def test_another_pair_under_a_code_is_a_conflict(db: Database) -> None:
    define_pair(db)
    cataloguer = db.connect("cataloguer")
    register(cataloguer, "dot.other")
    before = ledger_counts(db)
    for pair in (
        {"verifier_dot_code": "dot.other"},
        {"producer_dot_code": "dot.other"},
        {"producer_dot_code": VERIFIER, "verifier_dot_code": PRODUCER},
    ):
        with refused(
            "23505", "process_candidate_pair_conflict", f"Its producer is {PRODUCER}, its verifier {VERIFIER}."
        ):
            define(cataloguer, **pair)
    assert ledger_counts(db) == before
    assert define(cataloguer, code="shop.other", verifier_dot_code="dot.other")["created"]


def test_a_dot_cannot_verify_itself_and_both_must_be_catalogued(db: Database) -> None:
    cataloguer = db.connect("cataloguer")
    register(cataloguer, PRODUCER)
    before = ledger_counts(db)
    with refused("23514", "process_candidate_pair_check"):
        define(cataloguer, verifier_dot_code=PRODUCER)
    with refused("23503", "process_candidate_verifier_dot_code_fkey"):
        define(cataloguer)
    with refused("23503", "process_candidate_producer_dot_code_fkey"):
        define(cataloguer, producer_dot_code="dot.unknown", verifier_dot_code=PRODUCER)
    with refused("23514", "process_candidate_pair_check"):
        define(cataloguer, producer_dot_code="dot.unknown", verifier_dot_code="dot.unknown")
    assert ledger_counts(db) == before


def test_defining_refuses_missing_and_illegal_arguments_by_name(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    cataloguer = db.connect("cataloguer")
    before = ledger_counts(db)
    for argument in ("code", "producer_dot_code", "verifier_dot_code", "actor"):
        with subtests.test(missing=argument), refused("23502", f"process_candidate_{argument}_not_null"):
            define(cataloguer, **{argument: None})
    for argument in ("code", "producer_dot_code", "verifier_dot_code", "actor", "description"):
        for illegal in BAD_PROSE if argument == "description" else BAD_CODES:
            with subtests.test(**{argument: illegal[:20]}), refused("23514", f"process_candidate_{argument}_check"):
                define(cataloguer, **{argument: illegal})
    assert ledger_counts(db) == before


def test_of_eight_concurrent_definitions_one_creates_and_another_pair_is_a_conflict(db: Database) -> None:
    sessions, rounds = [db.connect("cataloguer") for _ in range(8)], range(5)
    for dot in (PRODUCER, VERIFIER, "dot.other"):
        register(sessions[0], dot)
    barrier = threading.Barrier(len(sessions), timeout=20)

    def session(number: int) -> list[bool]:
        created = []
        for code in rounds:
            barrier.wait()
            created.append(bool(define(sessions[number], code=f"shop.{code}")["created"]))
            barrier.wait()
            other = {"code": f"shop.mixed.{code}", "verifier_dot_code": (VERIFIER, "dot.other")[number % 2]}
            try:
                define(sessions[number], **other)
            except psycopg.Error as error:
                conflicts.append(error)
        return created

    conflicts: list[psycopg.Error] = []
    with ThreadPoolExecutor(len(sessions)) as pool:
        created = list(pool.map(session, range(len(sessions))))
    assert [sum(one[code] for one in created) for code in rounds] == [1] * len(rounds)
    assert len(conflicts) == len(rounds) * len(sessions) / 2
    assert {one.diag.constraint_name for one in conflicts} == {"process_candidate_pair_conflict"}
    assert ledger_counts(db)["process_candidate"] == 2 * len(rounds)


def test_defining_what_another_session_defines_at_that_moment_is_nothing_new(db: Database) -> None:
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    for dot in (PRODUCER, VERIFIER):
        register(first, dot)
    first.execute("begin")
    define(first)
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, lambda: define(second), pool, db)
        first.execute("commit")
        assert late.result() == {"code": PAIR, "created": False}


def test_a_definition_committed_after_the_snapshot_is_a_serialization_failure(db: Database) -> None:
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    for dot in (PRODUCER, VERIFIER):
        register(first, dot)
    second.execute("begin isolation level repeatable read")
    value(second, "select 1")  # takes the snapshot
    define(first)
    with refused("40001"):
        define(second)
    second.execute("rollback")


def test_a_logged_command_keeps_the_refusal_and_whether_it_mutates_is_the_catalogue_s_word(db: Database) -> None:
    writer, owner = db.connect("writer"), db.connect("owner")
    for command, mutating in (("dot_wrapper.execute", True), ("dot_wrapper.rehearse", False)):
        detail = '{"sqlstate": "23514", "constraint": "gate_real_run_enabled_check", "mutating": false}'
        run_id = command_log(writer, command_name=command, detail=detail)
        stored = row(owner, "select * from dot.dot_iu_command_run where run_id = %s", run_id)
        assert (stored["command_name"], stored["run_mode"], stored["run_status"]) == (command, "apply", "refused")
        assert stored["mutating"] is mutating
        assert (stored["actor"], stored["session_actor"]) == ("me", db.login("writer"))
        assert stored["detail"]["constraint"] == "gate_real_run_enabled_check"
    assert value(owner, "select detail from dot.dot_iu_command_run where run_id = %s", command_log(writer)) == {}


def test_an_uncatalogued_command_is_not_logged(db: Database) -> None:
    writer = db.connect("writer")
    before = ledger_counts(db)
    for command in ("dot_wrapper.unknown", "DOT_WRAPPER.EXECUTE", "dot_wrapper"):
        with refused("23503", "dot_iu_command_run_command_name_fkey"):
            command_log(writer, command_name=command)
    assert ledger_counts(db) == before


def test_the_command_log_refuses_missing_and_illegal_arguments_by_name(db: Database, subtests: pytest.Subtests) -> None:
    writer = db.connect("writer")
    before = ledger_counts(db)
    for argument in ("command_name", "run_mode", "run_status", "actor", "detail"):
        with subtests.test(missing=argument), refused("23502", f"dot_iu_command_run_{argument}_not_null"):
            command_log(writer, **{argument: None})
    for argument, values in {
        "command_name": BAD_CODES,
        "run_mode": ("", "PLAN", "execute", "apply ", "dry"),
        "run_status": ("", "REFUSED", "blocked", "observed", "skipped"),
        "actor": BAD_CODES,
        "detail": ("[]", "1", '"text"', "null", '{"a": 1e-25}', '{"a": 1e131071}', '{"a": "' + "x" * 8184 + '"}'),
    }.items():
        for illegal in values:
            with subtests.test(**{argument: illegal[:20]}), refused("23514", f"dot_iu_command_run_{argument}_check"):
                command_log(writer, **{argument: illegal})
    assert ledger_counts(db) == before
    for mode in ("plan", "verify", "apply"):
        for status in ("started", "completed", "failed", "refused"):
            assert command_log(writer, run_mode=mode, run_status=status)
