"""A call costs what it costs whatever a session has met: its plans are made once, for a ledger that grows."""

from __future__ import annotations

import uuid

import pytest

from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    batch,
    define_pair,
    header_line,
    observe_component,
    observe_run,
    part_line,
    rows,
)

GROWING = ("dot_tools", "process_candidate", "process_run_observation", "process_component_observation", "event_outbox")


def test_a_session_that_began_on_a_small_ledger_reads_no_table_that_grows_from_end_to_end(db: Database) -> None:
    define_pair(db)
    superuser, writer = db.connect("superuser"), db.connect("writer")
    superuser.execute("update dot.event_type set active = true")
    observe_component(writer, observe_run(writer)["process_run_id"], "producer")
    superuser.execute("vacuum (analyze)")  # from here on the planner knows that one page is all
    before = scans(db)
    for number in range(40):
        run = observe_run(writer, idempotency_key=f"run-{number}")["process_run_id"]
        observe_component(writer, run, "producer", idempotency_key=f"run-{number}:p")
        observe_run(writer, idempotency_key=f"run-{number}")
        observe_run(writer)
        other = uuid.uuid4()
        told = batch(writer, [header_line(other), part_line(other, "producer")])
        assert all(one["created"] for one in told)
        writer.execute(
            "select dot.fn_process_pair_observe(%s, %s, %s, gen_random_uuid(), 'c', 'SIMULATED_DRY_RUN', true, 'completed',"
            " 'completed', 'tester', %s)",
            (PAIR, PRODUCER, VERIFIER, f"pair-{number}"),
        )
    writer.execute("select pg_stat_force_next_flush()")
    assert scans(db) == before


def scans(db: Database) -> dict[str, int]:
    superuser = db.session("superuser")
    superuser.execute("select pg_stat_clear_snapshot()")
    found = rows(
        superuser,
        "select relname, seq_scan from pg_stat_user_tables where schemaname = 'dot' and relname = any (%s)",
        list(GROWING),
    )
    return {one["relname"]: one["seq_scan"] for one in found}


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("order by observed_at desc, process_run_id desc limit 20", "process_run_observation_observed_at_idx"),
        (
            "where (observed_at, process_run_id) < (now(), '0198c0de-0000-7000-8000-000000000001')"
            " order by observed_at desc, process_run_id desc limit 20",
            "process_run_observation_observed_at_idx",
        ),
        ("where correlation_id = 'corr-7'", "process_run_observation_correlation_id_idx"),
        ("where parent_run_id = '0198c0de-0000-7000-8000-000000000001'", "process_run_observation_parent_run_id_idx"),
    ],
)
def test_the_newest_page_the_next_one_a_correlation_and_the_children_of_a_run_are_found_by_an_index(
    db: Database, asked: str, index: str
) -> None:
    define_pair(db)
    writer = db.connect("writer")
    for number in range(600):
        observe_run(writer, correlation_id=f"corr-{number % 200}", parent_run_id=uuid.uuid4())
    db.session("owner").execute("analyze")
    plan = rows(db.connect("reader"), f"explain select * from dot.v_process_run {asked}")
    lines = [one["QUERY PLAN"] for one in plan]
    assert any(index in line for line in lines), lines
    assert not any("Seq Scan on process_run_observation" in line for line in lines), lines
