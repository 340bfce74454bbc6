"""A host's own switch, which takes no latch of the wrapper's: a run that it overtakes does not commit, at any isolation level.

The naive version, without the look at the commit, commits one.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from support import (
    GATES,
    PAIR,
    Connection,
    Database,
    acquire,
    batch,
    header_line,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    value,
    wait_until,
)
from support.hosts import DOTS, Host, ready, switch
from support.sizes import size

Way = Callable[[Connection, Host, int], object]


def by_header(writer: Connection, host: Host, token: int) -> object:
    return observe_run(writer, dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)


def by_dry_run(writer: Connection, host: Host, token: int) -> object:
    return observe_run(writer, dot_code=DOTS[host][0], evidence_type="DRY_RUN", lease_token=token)


def by_pair(writer: Connection, host: Host, token: int) -> object:
    return row(
        writer,
        "select * from dot.fn_process_pair_observe(%s, %s, %s, gen_random_uuid(), 'c', 'REAL_RUN', false, 'completed',"
        " 'completed', 'tester', p_lease_token => %s)",
        *(PAIR, *DOTS[host], token),
    )


def by_batch(writer: Connection, host: Host, token: int) -> object:
    line = header_line(uuid.uuid4(), dot_code=DOTS[host][0], evidence_type="REAL_RUN", lease_token=token)
    (told,) = batch(writer, [line])
    assert told["created"], told
    return told


def by_beginning(writer: Connection, host: Host, token: int) -> object:
    """It takes a lease of its own."""
    return row(
        writer,
        "select * from dot.fn_process_run_begin(%s, %s, gen_random_uuid(), 'c', 'REAL_RUN', false, 'tester', 'tester', 600)",
        *(PAIR, DOTS[host][0]),
    )


WAYS: dict[str, Way] = {
    "header": by_header,
    "header of a dry run": by_dry_run,
    "pair": by_pair,
    "batch": by_batch,
    "beginning": by_beginning,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_run_that_was_stored_before_the_hosts_switch_is_not_committed_after_it(
    db: Database, near: Host, way: Way
) -> None:
    """begin A; A stores a run; the host closes its gate, commits, without waiting for A; A commits: refused, all of it."""
    token = ready(db, near)
    writer = db.session("writer")
    writer.execute("begin")
    way(writer, near, token)
    switch(db.url, near, "false", GATES[0])
    with refused("23514", "gate_operator_runtime_enabled_check", "the host's, its value is not exactly true"):
        writer.execute("commit")
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 0
    with refused("23514", "gate_operator_runtime_enabled_check"):
        by_header(writer, near, token)
    switch(db.url, near, "true", GATES[0])
    way(writer, near, token)


def test_a_component_waits_for_the_commit_as_its_header_does(db: Database, near: Host) -> None:
    token = ready(db, near)
    writer = db.session("writer")
    run = observe_run(writer, dot_code=DOTS[near][0], evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    writer.execute("begin")
    observe_component(writer, run, "producer", dot_code=DOTS[near][0], lease_token=token)
    switch(db.url, near, "false", GATES[2])
    with refused("23514", "gate_real_run_enabled_check"):
        writer.execute("commit")
    assert value(db.session("owner"), "select count(*) from dot.process_component_observation") == 0


def test_the_naive_version_without_the_look_at_the_commit_commits_a_run_behind_the_hosts_switch(
    db: Database, near: Host
) -> None:
    token = ready(db, near)
    for table in ("process_run_observation", "process_component_observation"):
        db.session("owner").execute(f"drop trigger {table}_gates_at_commit_check on dot.{table}")
    writer = db.session("writer")
    writer.execute("begin")
    by_header(writer, near, token)
    switch(db.url, near, "false", GATES[0])
    snapshot = value(db.session("owner"), "select pg_current_snapshot()::text")
    writer.execute("commit")
    late = "select count(*) from dot.process_run_observation where not pg_visible_in_snapshot(xact_id, %s)"
    assert value(db.session("owner"), late, snapshot) == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_outside_read_committed_a_gate_that_the_host_governs_lets_nothing_in(
    db: Database, near: Host, level: str
) -> None:
    """An old snapshot would show the host's gate as it was; a simulation needs no gate, and a replay is asked like a first call."""
    token = ready(db, near)
    writer = db.session("writer")
    real = {"dot_code": DOTS[near][0], "evidence_type": "REAL_RUN", "lease_token": token, "idempotency_key": "k"}
    observe_run(writer, **real)
    writer.execute(f"begin isolation level {level}")
    writer.execute("select 1")  # the snapshot
    switch(db.url, near, "false", GATES[0])
    for key in ("k", "another"):
        with (
            refused("25000", "gate_isolation_check", f"the host governs gate {GATES[0]}"),
            writer.transaction(),
        ):
            observe_run(writer, **{**real, "idempotency_key": key})
    assert observe_run(writer, dot_code=DOTS[near][0])["created"]
    writer.execute("commit")


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_naive_version_at_another_level_reads_the_hosts_gate_as_it_was(
    db: Database, near: Host, level: str
) -> None:
    token = ready(db, near)
    owner = db.session("owner")
    naive = value(owner, "select pg_get_functiondef('dot.fn_gates_assert'::regproc)")
    naive, replaced = re.subn(
        "v_stale_snapshot_possible and v_gate.is_governed_by_host", "false", naive, flags=re.IGNORECASE
    )
    assert replaced == 1
    owner.execute(naive)
    writer = db.session("writer")
    writer.execute(f"begin isolation level {level}")
    writer.execute("select 1")
    switch(db.url, near, "false", GATES[0])
    by_header(writer, near, token)
    writer.execute("commit")
    assert value(owner, "select count(*) from dot.process_run_observation") == 1


def test_a_writer_that_draws_its_commit_out_is_named_until_its_end_and_can_be_ended(db: Database, near: Host) -> None:
    """A cursor WITH HOLD is filled after the look, and takes as long as its query. The host's switch does not wait for it."""
    token = ready(db, near)
    writer, superuser = db.session("writer"), db.session("superuser")
    writer.execute("begin")
    by_header(writer, near, token)
    writer.execute("declare slow cursor with hold for select pg_sleep(600)")
    pid = writer.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        committing = pool.submit(writer.execute, "commit")
        sleeps = "select wait_event = 'PgSleep' from pg_stat_activity where pid = %s"
        wait_until(lambda: bool(value(superuser, sleeps, pid)))
        switch(db.url, near, "false", GATES[0])
        assert [one["pid"] for one in rows(db.session("gatekeeper"), "select pid from dot.v_dot_gate_holder")] == [pid]
        superuser.execute("select pg_terminate_backend(%s, 30000)", (pid,))
        with pytest.raises(psycopg.OperationalError):
            committing.result(30)
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 0


EARLY = {
    "all constraints": "set constraints all immediate",
    "this one": "set constraints dot.process_run_observation_gates_at_commit_check immediate",
    "with a comment": "set /* /* */ */ constraints all -- x\n immediate",
    "with comments to the end of a line": "SET -- one\r\n-- two\n\tConstraints all immediate",
    "in a block": "do $$ begin execute 'set con' || 'straints all immediate'; end $$",
    "in a block, as if at a commit": "do $$ begin execute 'set con' || 'straints all immediate -- PL/pgSQL at COMMIT' || chr(10); end $$",
    "among others": "select 1; set constraints all immediate; select 2",
    "in a function of SQL": "select pg_temp.early()",
}


@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY)
def test_the_look_at_the_commit_cannot_be_had_before_it(db: Database, near: Host, early: str) -> None:
    """A writer that had it made early, and then kept its transaction open, would commit behind the host's switch."""
    token = ready(db, near)
    writer = db.session("writer")
    writer.execute("create function pg_temp.early() returns void language sql as 'set constraints all immediate'")
    writer.execute("begin")
    by_header(writer, near, token)
    with refused("25000", "gate_commit_check"):
        writer.execute(early)
    writer.execute("rollback")
    writer.execute("begin")
    writer.execute(early)
    with refused("25000", "gate_commit_check"):
        by_header(writer, near, token)
    writer.execute("rollback")
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 0


COMMITS = {
    "begin, commit": "begin; {}; commit",
    "a call by itself": "{}",
    "a block that commits": "do $$ begin perform {}; commit; end $$",
    "beside the words": "select 'set of constraints', 'rule set v2: constraints'; begin; {}; commit",
}


@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
def test_every_way_to_commit_is_one(db: Database, near: Host, commit: str) -> None:
    token = ready(db, near)
    call = (
        f"{'' if 'perform' in commit else 'select '}dot.fn_process_run_observe('{PAIR}', '{DOTS[near][0]}', gen_random_uuid(), 'c',"
        f" 'REAL_RUN', false, 'started', 'tester', p_lease_token => {token})"
    )
    db.session("writer").execute(commit.format(call))
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 1


def test_where_no_host_governs_a_gate_the_constraints_may_be_asked_at_any_time(db: Database) -> None:
    """The latch keeps a switch of the wrapper's own waiting to the end of the transaction."""
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    writer.execute("begin")
    writer.execute("set constraints all immediate")
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    writer.execute("commit")


WRITERS, ROUNDS = size(4, 8), size(3, 30)


def test_under_load_no_run_commits_that_was_still_open_when_the_switch_had_committed(db: Database, near: Host) -> None:
    """Each writer stores a run of a candidate of its own, and waits until the host's switch has committed before it commits itself."""
    ready(db, near)
    cataloguer = db.session("cataloguer")
    writers = {f"shop.{number}": db.connect("writer") for number in range(WRITERS)}
    for code in writers:
        cataloguer.execute("select dot.fn_process_candidate_define(%s, %s, %s, 'tester')", (code, *DOTS[near]))
    real = {
        code: {
            "process_candidate_code": code,
            "dot_code": DOTS[near][0],
            "evidence_type": "REAL_RUN",
            "lease_token": acquire(writer, code),
        }
        for code, writer in writers.items()
    }
    stored, closed = threading.Barrier(WRITERS + 1), threading.Barrier(WRITERS + 1)

    def write(code: str) -> str | None:
        writers[code].execute("begin")
        observe_run(writers[code], **real[code])
        stored.wait(30)
        closed.wait(30)
        try:
            writers[code].execute("commit")
        except psycopg.errors.CheckViolation as error:
            return error.diag.constraint_name
        return None

    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in range(ROUNDS):
            switch(db.url, near, "true", GATES[2])
            running = [pool.submit(write, code) for code in writers]
            stored.wait(30)
            switch(db.url, near, "false", GATES[2])
            closed.wait(30)
            assert [one.result(30) for one in running] == ["gate_real_run_enabled_check"] * WRITERS
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 0
