"""Leases: tokens that only grow, one live holder per candidate, and no DRY_RUN or REAL_RUN without the live token."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from support import (
    PAIR,
    Connection,
    Database,
    acquire,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    value,
    wait_until,
    waiting,
)

KEY = f"dot_exec:{PAIR}"


def take(connection: Connection, holder: str = "tester", key: str = KEY, seconds: int | None = 600) -> int | None:
    token: int | None = value(
        connection, "select dot.fn_dot_iu_runtime_lease_acquire(%s, %s, %s)", key, holder, seconds
    )
    return token


def renew(
    connection: Connection, token: int | None, holder: str = "tester", seconds: int | None = 600, key: str = KEY
) -> Any:
    return value(connection, "select dot.fn_dot_iu_runtime_lease_renew(%s, %s, %s, %s)", key, holder, token, seconds)


def release(connection: Connection, token: int | None, holder: str = "tester", key: str = KEY) -> Any:
    return value(connection, "select dot.fn_dot_iu_runtime_lease_release(%s, %s, %s)", key, holder, token)


def expire(db: Database, key: str = KEY) -> None:
    """Lets the lease have run out a second ago."""
    db.connect("owner").execute(
        "update dot.dot_iu_runtime_lease set expires_at = clock_timestamp() - interval '1 s' where lease_key = %s",
        (key,),
    )


def seconds_left(db: Database, key: str = KEY) -> float:
    query = "select extract(epoch from expires_at - clock_timestamp())::float8 from dot.dot_iu_runtime_lease where lease_key = %s"
    return float(value(db.connect("owner"), query, key))


def test_tokens_of_a_key_grow_by_every_acquisition_and_never_start_again(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    tokens = [take(writer), take(writer)]
    assert release(writer, tokens[-1]) is True
    tokens.append(take(writer, "someone-else"))
    expire(db)
    tokens.append(take(writer, "a-third"))
    assert tokens == [1, 2, 3, 4]
    assert take(writer, key="shop.other") == 1
    for statement in ("delete from dot.dot_iu_runtime_lease", "truncate dot.dot_iu_runtime_lease"):
        with refused("23001", "dot_iu_runtime_lease_append_only"):
            db.connect("owner").execute(statement)


def test_a_live_lease_is_its_holder_s_by_name_and_login(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    assert take(writer) == 1
    with db.connect("operator") as other:  # another login that is a writer
        assert take(writer, "someone-else") is None
        assert take(other, "tester") is None
        assert take(other, "someone-else") is None
        assert (renew(other, 1), release(other, 1)) == (False, False)
        stored = row(db.connect("owner"), "select holder, session_actor, token from dot.dot_iu_runtime_lease")
        assert stored == {"holder": "tester", "session_actor": db.login("writer"), "token": 1}
        assert release(writer, 1) is True
        assert take(other, "tester") == 2
        assert take(writer, "tester") is None


def test_the_same_holder_s_new_token_ends_the_old_one(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    old, new = acquire(writer), acquire(writer)
    assert (renew(writer, old), release(writer, old)) == (False, False)
    with refused("23514", "lease_live_check", f"{db.login('writer')} has acquired the lease again since."):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=old)
    assert observe_run(writer, evidence_type="REAL_RUN", lease_token=new)["created"]
    assert renew(writer, new) is True


def test_renew_moves_the_end_of_a_live_lease_from_now_and_of_no_other(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    token = take(writer, seconds=600)
    assert renew(writer, token, seconds=60) is True
    assert 30 < seconds_left(db) <= 60
    assert renew(writer, token, seconds=3600) is True
    assert 3500 < seconds_left(db) <= 3600
    assert renew(writer, token, holder="someone-else") is False
    assert renew(writer, 2) is False
    assert renew(writer, token, key="dot_exec:shop.unknown") is False
    expire(db)
    assert renew(writer, token) is False
    assert seconds_left(db) < 0


def test_release_ends_a_live_lease_now_and_only_once(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    token = take(writer)
    assert release(writer, token, holder="someone-else") is False
    assert release(writer, 2) is False
    assert seconds_left(db) > 500
    assert release(writer, token) is True
    assert seconds_left(db) <= 0
    assert (release(writer, token), renew(writer, token)) == (False, False)
    assert value(db.connect("owner"), "select token from dot.dot_iu_runtime_lease") == token


def test_readers_see_each_lease_whose_it_is_and_whether_it_is_live(db: Database) -> None:
    define_pair(db)
    writer, reader = db.connect("writer"), db.connect("reader")
    other = "backup:nightly"
    tokens = {key: take(writer, key=key, holder="alice") for key in (KEY, other)}
    release(writer, tokens[other], holder="alice", key=other)
    query = (
        "select process_candidate_code, is_live, holder, session_actor, token from dot.v_dot_lease where lease_key = %s"
    )
    who = ("alice", db.login("writer"))
    assert tuple(row(reader, query, KEY).values()) == (PAIR, True, *who, tokens[KEY])
    assert tuple(row(reader, query, other).values()) == (None, False, *who, tokens[other])


def test_a_lease_lives_from_one_second_to_one_hour(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    writer = db.connect("writer")
    token = take(writer)
    for number, seconds in enumerate((1, 3600)):
        define_pair(db, str(number))
        assert take(writer, key=f"dot_exec:{number}", seconds=seconds) == 1
        assert seconds - 1 < seconds_left(db, f"dot_exec:{number}") <= seconds
        assert renew(writer, token, seconds=seconds) is True
    before = ledger_counts(db)
    for call in (partial(take, writer, key="dot_exec:new"), partial(renew, writer, token)):
        for illegal in (0, -1, 3601, -(2**31), 2**31 - 1):
            with subtests.test(seconds=illegal), refused("23514", "dot_iu_runtime_lease_ttl_seconds_check"):
                call(seconds=illegal)
        with refused("23502", "dot_iu_runtime_lease_ttl_seconds_not_null"):
            call(seconds=None)
    assert ledger_counts(db) == before


def test_lease_functions_refuse_missing_and_illegal_arguments_by_name(db: Database, subtests: pytest.Subtests) -> None:
    writer = db.connect("writer")
    calls: dict[str, Callable[..., Any]] = {
        "acquire": partial(take, writer),
        "renew": partial(renew, writer, 1),
        "release": partial(release, writer, 1),
    }
    before = ledger_counts(db)
    for name, call in calls.items():
        for argument, column, too_long in (("key", "lease_key", 241), ("holder", "holder", 201)):
            with (
                subtests.test(call=name, missing=argument),
                refused("23502", f"dot_iu_runtime_lease_{column}_not_null"),
            ):
                call(**{argument: None})
            for illegal in ("", " ", "a b", "key\n", "\u200b", ".key", "k\u0435y", "a" * too_long):
                with (
                    subtests.test(call=name, **{argument: illegal[:20]}),
                    refused("23514", f"dot_iu_runtime_lease_{column}_check"),
                ):
                    call(**{argument: illegal})
    for ends in (renew, release):
        with refused("23502", "dot_iu_runtime_lease_token_not_null"):
            ends(writer, None)
    assert ledger_counts(db) == before
    assert take(writer, key="k" * 240, holder="h" * 200) == 1


def test_acquire_answers_at_once_while_the_holder_s_transaction_holds_the_row(db: Database) -> None:
    ready_for_real_runs(db)
    holder, thief = db.connect("writer"), db.connect("writer")
    thief.execute("set statement_timeout = '20s'")  # a wait that never ends fails the test instead of hanging it
    token = acquire(holder)
    holder.execute("begin")
    observe_run(holder, evidence_type="REAL_RUN", lease_token=token)
    assert take(thief, "thief") is None  # waiting would end in 55P03 after half a second
    holder.execute("rollback")
    holder.execute("begin")
    assert renew(holder, token) is True
    assert take(thief, "thief") is None
    assert take(db.connect("operator")) is None  # a holder of the same name with another login
    holder.execute("commit")


@pytest.mark.parametrize("call", [renew, release])
def test_renew_and_release_do_not_wait_for_ever_for_a_transaction_in_flight(
    db: Database, call: Callable[..., Any]
) -> None:
    ready_for_real_runs(db)
    working, ending = db.connect("writer"), db.connect("writer")
    ending.execute("set lock_timeout = 0; set statement_timeout = '20s'")
    token = acquire(working)
    working.execute("begin")
    observe_run(working, evidence_type="REAL_RUN", lease_token=token)
    with refused("55P03"):
        call(ending, token)
    working.execute("rollback")
    assert call(ending, token) is True


def test_a_lease_of_a_candidate_that_is_not_defined_is_refused(db: Database) -> None:
    constraint = "dot_iu_runtime_lease_process_candidate_code_fkey"
    with refused("23503", constraint, "v_process_candidate lists those that are."):
        acquire(db.connect("writer"), "shop.unknown")


def test_acquire_does_not_wait_for_ever_for_a_first_acquisition_in_flight(db: Database) -> None:
    define_pair(db)
    first, second = db.connect("writer"), db.connect("writer")
    second.execute("set lock_timeout = 0; set statement_timeout = '20s'")
    first.execute("begin")
    assert take(first) == 1
    with refused("55P03"):
        take(second, "thief")
    first.execute("rollback")
    assert take(second, "thief") == 1


def test_a_real_run_needs_the_candidate_s_live_token(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.other")
    writer = db.connect("writer")
    stale = acquire(writer)
    token = acquire(writer)
    for _ in range(3):
        other = acquire(writer, "shop.other")
    run_ids = {
        evidence_type: observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
        for evidence_type in ("DRY_RUN", "REAL_RUN")
    }
    before = ledger_counts(db)

    def is_refused(why: str, given: int | None) -> None:
        for evidence_type, run_id in run_ids.items():
            for observe in (
                partial(observe_run, writer, evidence_type=evidence_type),
                partial(observe_component, writer, run_id, "producer"),
            ):
                with (
                    subtests.test(why=why, evidence_type=evidence_type, observe=observe.func.__name__),
                    refused("23514", "lease_live_check"),
                ):
                    observe(lease_token=given)

    with refused("23514", "lease_live_check", "No token was given."):
        observe_run(writer, evidence_type="REAL_RUN")
    is_refused("no token", None)
    is_refused("stale token", stale)
    is_refused("token of another candidate", other)
    is_refused("token of the future", token + 10)
    is_refused("negative token", -token)
    expire(db)
    with refused("23514", "lease_live_check", f"{db.login('writer')} holds no live lease of this candidate."):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    is_refused("expired lease", token)
    assert ledger_counts(db) == before


def test_a_simulation_needs_no_token_and_one_that_is_given_must_be_live(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    stale = acquire(writer)
    token = acquire(writer)
    run_id = observe_run(writer)["process_run_id"]
    before = ledger_counts(db)
    with refused("23514", "lease_live_check"):
        observe_run(writer, lease_token=stale)
    with refused("23514", "lease_live_check"):
        observe_component(writer, run_id, "producer", lease_token=stale)
    assert ledger_counts(db) == before
    assert observe_run(writer, lease_token=token)["created"]
    assert observe_component(writer, run_id, "producer", lease_token=token)["created"]
    expire(db)
    with refused("23514", "lease_live_check"):
        observe_run(writer, lease_token=token)
    assert observe_component(writer, run_id, "verifier")["created"]


def test_a_token_lower_than_the_header_s_is_fenced_off(db: Database) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    for _ in range(5):
        token = acquire(writer)
    real = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    simulated = observe_run(writer, lease_token=token)["process_run_id"]
    owner.execute("update dot.dot_iu_runtime_lease set token = 1")  # as if restored from an older copy
    before = ledger_counts(db)
    for run_id in (real, simulated):
        with refused("23514", "lease_fencing_check"):
            observe_component(writer, run_id, "producer", lease_token=1)
    assert ledger_counts(db) == before
    wait_until(lambda: token == acquire(writer))
    assert observe_component(writer, real, "producer", lease_token=token)["created"]


def test_a_new_run_is_fenced_off_by_the_highest_token_that_is_stored(db: Database) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    low = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=low)
    high = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=high)
    owner.execute("update dot.dot_iu_runtime_lease set token = %s", (low,))  # as if restored from an older copy
    before = ledger_counts(db)
    with refused("23514", "lease_fencing_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=low)
    assert ledger_counts(db) == before


def test_a_run_of_another_candidate_fences_none_off(db: Database) -> None:
    ready_for_real_runs(db)
    define_pair(db, "shop.other")
    writer = db.connect("writer")
    for _ in range(2):
        high = acquire(writer, "shop.other")
    observe_run(writer, process_candidate_code="shop.other", evidence_type="REAL_RUN", lease_token=high)
    assert (low := acquire(writer)) < high
    assert observe_run(writer, evidence_type="REAL_RUN", lease_token=low)["created"]


def test_a_crashed_run_is_resumed_under_a_new_lease(db: Database) -> None:
    ready_for_real_runs(db)
    crashed = db.connect("writer")
    token = acquire(crashed, holder="runner-1")
    run_id = observe_run(crashed, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    expire(db)
    with db.connect("operator") as successor:
        newer = acquire(successor, holder="runner-2")
        assert observe_component(successor, run_id, "producer", lease_token=newer)["created"]
        with refused("23514", "lease_live_check"):
            observe_component(crashed, run_id, "verifier", lease_token=token)
        assert observe_component(successor, run_id, "verifier", lease_token=newer)["created"]


@pytest.mark.parametrize("observing", ["run", "component"])
def test_an_observation_in_flight_is_ordered_before_the_theft_of_its_lease(db: Database, observing: str) -> None:
    ready_for_real_runs(db)
    holder, thief, owner = db.connect("writer"), db.connect("writer"), db.connect("owner")
    assert take(holder, seconds=2) == 1
    observe = partial(observe_run, holder, evidence_type="REAL_RUN", lease_token=1)
    if observing == "component":
        observe = partial(observe_component, holder, observe()["process_run_id"], "producer", lease_token=1)
    holder.execute("begin")
    observe()
    wait_until(lambda: value(owner, "select expires_at <= clock_timestamp() from dot.dot_iu_runtime_lease"))
    with ThreadPoolExecutor(1) as pool:
        theft = waiting(thief, partial(take, thief, "thief"), pool, db)
        holder.execute("commit")
        assert theft.result() == 2
    assert value(
        owner,
        "select r.observed_at < l.acquired_at from dot.process_run_observation r, dot.dot_iu_runtime_lease l",
    )


@pytest.mark.parametrize("observing", ["run", "component"])
def test_an_observation_that_waits_for_a_theft_is_refused_once_the_theft_commits(db: Database, observing: str) -> None:
    ready_for_real_runs(db)
    writer, again = db.connect("writer"), db.connect("writer")
    token = acquire(writer)
    observe = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)
    if observing == "component":
        observe = partial(observe_component, writer, observe()["process_run_id"], "producer", lease_token=token)
    again.execute("begin")
    assert take(again) == token + 1
    with ThreadPoolExecutor(1) as pool:
        late = waiting(writer, observe, pool, db)
        again.execute("commit")
        with refused("23514", "lease_live_check"):
            late.result()


def test_a_lease_that_runs_out_while_an_observation_waits_for_it_is_over(db: Database) -> None:
    ready_for_real_runs(db)
    writer, rival, owner = db.connect("writer"), db.connect("writer"), db.connect("owner")
    assert take(writer, seconds=2) == 1
    rival.execute("begin")
    assert renew(rival, 1) is True
    with ThreadPoolExecutor(1) as pool:
        late = waiting(writer, partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=1), pool, db)
        wait_until(lambda: value(owner, "select expires_at <= clock_timestamp() from dot.dot_iu_runtime_lease"))
        rival.execute("rollback")
        with refused("23514", "lease_live_check"):
            late.result()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_old_snapshot_takes_no_real_run_past_a_lost_lease(db: Database, level: str) -> None:
    ready_for_real_runs(db)
    writer, thief = db.connect("writer"), db.connect("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    before = ledger_counts(db)
    for number, observe in enumerate(
        (
            partial(observe_run, writer, evidence_type="REAL_RUN"),
            partial(observe_component, writer, run_id, "producer"),
        )
    ):
        holder = ("tester", "thief")[number]
        writer.execute(f"begin isolation level {level}")
        value(writer, "select 1")  # takes the snapshot
        assert release(thief, token, holder) is True
        assert take(thief, "thief") == token + 1
        with refused("40001"):
            observe(lease_token=token)
        writer.execute("rollback")
        token += 1
    assert ledger_counts(db) == before


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_old_snapshot_answers_no_replay_past_a_lost_lease(db: Database, level: str) -> None:
    ready_for_real_runs(db)
    writer, again = db.connect("writer"), db.connect("writer")
    token = acquire(writer)
    run = partial(observe_run, writer, evidence_type="REAL_RUN", idempotency_key="key-1")
    run_id = run(lease_token=token)["process_run_id"]
    component = partial(observe_component, writer, run_id, "producer", idempotency_key="key-1")
    component(lease_token=token)
    for observe in (run, component):
        writer.execute(f"begin isolation level {level}")
        value(writer, "select 1")  # takes the snapshot
        newer = acquire(again)
        with pytest.raises(psycopg.Error) as caught:
            observe(lease_token=token)
        assert caught.value.sqlstate in ("40001", "23514")
        writer.execute("rollback")
        token = newer
