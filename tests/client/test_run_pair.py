"""What a runner's author is given: a whole run in one call, its parts, a lease that is kept, and a run that another process goes on with."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.client.caller_path import async_caller_path, caller_path
from dot_wrapper.client.calls import Pair
from dot_wrapper.client.errors import (
    GateClosed,
    LeaseHeld,
    LeaseNotLive,
    NotPermitted,
    PartFailed,
    Transient,
    UnknownReference,
)
from dot_wrapper.client.lease import async_hold_lease, hold_lease
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.client.path import Part
from support import (
    GATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    DotWrapper,
    acquire,
    ready_for_real_runs,
    row,
    rows,
    set_gates,
    value,
    wait_until,
)
from support.flavors import Flavor, Waiting

THE_PAIR = Pair(PAIR, PRODUCER, VERIFIER)


@dataclass
class Dots:
    """An author's two functions, and what they were called with."""

    output: Any = "s3://out"
    right: Any = True

    def __post_init__(self) -> None:
        self.produced: list[UUID] = []
        self.verified: list[Part] = []

    def produce(self, run: Any) -> Any:
        self.produced.append(run.process_run_id)
        return self.output(run) if callable(self.output) else self.output

    def verify(self, _run: Any, part: Part) -> Any:
        self.verified.append(part)
        return self.right(part) if callable(self.right) else self.right


@dataclass(frozen=True)
class Runner:
    """A program that runs the pair."""

    flavor: Flavor
    ledger: Any

    def run(self, dots: Dots, key: str = "today", **options: Any) -> Any:
        given = {"actor": "nightly", "key": key, **options}
        return self.flavor.run_pair(self.ledger, PAIR, produce=dots.produce, verify=dots.verify, **given)

    def path(self, **options: Any) -> Any:
        given = {"evidence_type": "REAL_RUN", "actor": "nightly", "idempotency_key": "today", **options}
        return self.flavor.caller_path(self.ledger, THE_PAIR, **given)

    def take_up(self, **options: Any) -> Any:
        return self.flavor.take_up(self.ledger, PAIR, **{"actor": "checker", **options})


@pytest.fixture
def runner(db: Database, flavor: Flavor) -> Iterator[Runner]:
    ready_for_real_runs(db)
    with flavor.ledger(lambda: flavor.connect(db.url_as("operator"))) as ledger:
        yield Runner(flavor, ledger)


def parts(db: Database) -> list[tuple[str, str, str | None, str | None]]:
    found = rows(
        db.connect("reader"),
        "select component_role, status, output_ref, error_ref from dot.v_process_run_component order by observed_at",
    )
    return [tuple(one.values()) for one in found]


def logged(db: Database) -> list[str]:
    """The constraints of the refusals in the command log."""
    query = "select detail ->> 'constraint' as name from dot.dot_iu_command_run where run_status = 'refused'"
    return [one["name"] for one in rows(db.connect("owner"), query)]


def raising(error: BaseException) -> Any:
    def function(_: object) -> Any:
        raise error

    return function


def test_a_pair_is_run_recorded_and_verified_and_the_same_key_invokes_nothing_again(
    db: Database, runner: Runner
) -> None:
    dots = Dots()
    outcome = runner.run(dots)
    assert (outcome.verified, outcome.reasons, outcome.producer_invoked) == (True, (), True)
    assert outcome.caveats == ("same_session_actor",)
    assert [one.output_ref for one in dots.verified] == ["s3://out"]
    assert parts(db) == [
        ("producer", "step_started", None, None),
        ("producer", "step_completed", "s3://out", None),
        ("verifier", "step_started", None, None),
        ("verifier", "step_completed", None, None),
    ]
    again = runner.run(dots)
    assert (again.verified, again.producer_invoked, again.run.process_run_id) == (
        True,
        False,
        outcome.run.process_run_id,
    )
    assert (len(dots.produced), len(dots.verified)) == (1, 1)
    assert "producer completed, verifier completed" in repr(outcome.run)


def test_what_the_functions_return_is_what_is_recorded(db: Database, runner: Runner) -> None:
    produced = Part(output_ref="s3://a", input_ref="s3://in", evidence_ref={"rows": 3})
    dots = Dots(produced, Part(passed=False, input_ref="s3://b", error_ref="two-differ"))
    outcome = runner.run(dots)
    assert (outcome.verified, outcome.reasons) == (False, ("verifier_not_completed",))
    assert (dots.verified[0].output_ref, dots.verified[0].evidence_ref) == ("s3://a", {"rows": 3})
    stored = rows(
        db.connect("reader"),
        "select input_ref, error_ref, evidence_ref from dot.v_process_run_component"
        " where status in ('step_completed', 'failed') order by observed_at",
    )
    assert [tuple(one.values()) for one in stored] == [
        ("s3://in", None, {"rows": 3}),
        ("s3://b", "two-differ", {}),
    ]
    with pytest.raises(TypeError, match="a int says nothing"):
        runner.run(Dots(3), key="other")
    named = runner.run(Dots(), key="named")
    assert runner.run(Dots("s3://out", Part()), key="part").caveats == named.caveats == ("same_session_actor",)


@pytest.mark.parametrize("evidence_type", ["SIMULATED_DRY_RUN", "DRY_RUN"])
def test_what_is_no_real_run_is_run_and_verifies_nothing(runner: Runner, evidence_type: str) -> None:
    outcome = runner.run(Dots(), evidence_type=evidence_type)
    assert (outcome.verified, outcome.reasons) == (False, ("not_a_real_run",))


def test_an_exception_is_recorded_as_the_failure_of_its_part_and_raised(db: Database, runner: Runner) -> None:
    with pytest.raises(ZeroDivisionError):
        runner.run(Dots(raising(ZeroDivisionError("no"))), key="a")
    with pytest.raises(OSError, match="disk"):
        runner.run(Dots("s3://out", raising(OSError("disk"))), key="b")
    assert [one for one in parts(db) if one[1] != "step_started"] == [
        ("producer", "failed", None, "ZeroDivisionError"),
        ("producer", "step_completed", "s3://out", None),
        ("verifier", "failed", None, "OSError"),
    ]
    dots = Dots()
    outcome = runner.run(dots, key="a")
    assert (outcome.verified, dots.produced) == (False, []), "a run that has failed is over"


def test_attempts_are_runs_of_their_own_each_the_child_of_the_one_before(db: Database, runner: Runner) -> None:
    ends = iter([raising(RuntimeError("once")), lambda _: "s3://second", lambda _: "s3://third"])
    dots = Dots(lambda run: next(ends)(run), lambda part: part.output_ref == "s3://third")
    outcome = runner.run(dots, attempts=5)
    assert (outcome.verified, len(dots.produced), len(dots.verified)) == (True, 3, 2)
    chain = rows(
        db.connect("reader"),
        "select process_run_id, parent_run_id, end_state from dot.v_process_run order by observed_at",
    )
    assert [one["end_state"] for one in chain] == ["failed", "failed", "completed"]
    assert [one["parent_run_id"] for one in chain] == [None, *(one["process_run_id"] for one in chain[:2])]
    again = runner.run(dots, attempts=5)
    assert (again.run.process_run_id, again.producer_invoked) == (outcome.run.process_run_id, False)
    with pytest.raises(ValueError, match="at least one"):
        runner.run(dots, attempts=0)


def test_what_the_ledger_refuses_is_not_tried_again(db: Database, runner: Runner) -> None:
    dots = Dots(lambda _: set_gates(db, "false", GATES[2]))
    with pytest.raises(GateClosed):
        runner.run(dots, attempts=3)
    assert (len(dots.produced), logged(db)) == (1, ["gate_real_run_enabled_check"])


def test_a_failure_that_the_ledger_refuses_is_refused_once_and_the_error_is_the_author_s(
    db: Database, runner: Runner
) -> None:
    def breaks(_: object) -> None:
        set_gates(db, "false", GATES[2])
        raise OSError("disk")

    with pytest.raises(OSError, match="disk") as raised:
        runner.run(Dots(breaks))
    assert "the failure of the producer was not recorded" in raised.value.__notes__[0]
    assert logged(db) == ["gate_real_run_enabled_check"]


def test_an_interrupt_is_no_failure_and_the_same_key_goes_on(db: Database, runner: Runner) -> None:
    def path() -> None:
        with runner.path() as run:
            run.producer("completed", output_ref="s3://out")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        path()
    dots = Dots()
    outcome = runner.run(dots)
    assert (outcome.verified, dots.produced, [one.output_ref for one in dots.verified]) == (True, [], ["s3://out"])


def test_a_login_that_may_only_write_goes_on_recording_and_is_not_told_that_a_part_is_still_to_do(
    db: Database, flavor: Flavor
) -> None:
    ready_for_real_runs(db)

    def path(ledger: Any) -> Any:
        return flavor.caller_path(
            ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", idempotency_key="today", holder="h"
        )

    with flavor.ledger(lambda: flavor.connect(db.url_as("writer"))) as ledger:
        with path(ledger) as run:
            first = run.producer("completed")
            assert (run.needs("producer"), run.needs("verifier")) == (False, True)
        with path(ledger) as run:
            for role in ("producer", "verifier"):
                with pytest.raises(NotPermitted):
                    run.needs(role)
            with pytest.raises(NotPermitted):
                _ = run.output_ref
            assert run.producer("completed") == replace(first, created=False)
        with path(ledger) as run, run.part("verifier"):
            pass
        with pytest.raises(LookupError), path(ledger):
            raise LookupError
    assert [one[:2] for one in parts(db)] == [
        ("producer", "step_completed"),
        ("verifier", "step_started"),
        ("verifier", "step_completed"),
    ]


def test_no_verifier_is_needed_where_the_producer_did_not_complete(runner: Runner) -> None:
    for status in ("failed", "skipped"):
        with runner.path(idempotency_key=status) as run:
            assert (run.needs("producer"), run.needs("verifier")) == (True, False)
            run.producer(status)
            assert (run.needs("producer"), run.needs("verifier")) == (False, False)


def test_an_exception_of_a_path_s_body_ends_the_part_that_was_to_end_next(db: Database, runner: Runner) -> None:
    def path(key: str, *completed: str) -> None:
        with runner.path(idempotency_key=key) as run:
            for role in completed:
                getattr(run, role)("completed")
            raise LookupError

    for completed in ((), ("producer",), ("producer", "verifier")):
        with pytest.raises(LookupError):
            path(f"key-{len(completed)}", *completed)
    assert [one[:2] + one[3:] for one in parts(db)] == [
        ("producer", "failed", "LookupError"),
        ("producer", "step_completed", None),
        ("verifier", "failed", "LookupError"),
        ("producer", "step_completed", None),
        ("verifier", "step_completed", None),
    ]


def test_what_a_closed_gate_refused_is_shown_beside_the_run_with_all_that_would_have_been_recorded(
    db: Database, runner: Runner, dot_wrapper: DotWrapper
) -> None:
    def path() -> None:
        with runner.path() as run:
            set_gates(db, "false", GATES[2])
            run.producer("completed", output_ref="s3://out", evidence_ref={"rows": 7})

    with pytest.raises(GateClosed):
        path()
    (run,) = rows(db.connect("reader"), "select process_run_id::text from dot.v_process_run")
    ((refused,),) = [one.json["refusals"] for one in [dot_wrapper("show", run["process_run_id"], "--json")]]
    told = refused["detail"]
    assert (told["component_role"], told["status"], told["output_ref"], told["evidence_ref"]) == (
        "producer",
        "completed",
        "s3://out",
        {"rows": 7},
    )
    shown = dot_wrapper("show", run["process_run_id"]).out
    assert "producer completed" in shown
    assert "output_ref s3://out" in shown


def test_a_lease_is_kept_by_a_heartbeat_and_a_renewal_never_shortens_it(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)
    watcher = db.connect("owner")
    ends = "select expires_at from dot.dot_iu_runtime_lease"
    with caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", lease_seconds=1) as run:
        first = value(watcher, ends)
        wait_until(lambda: value(watcher, ends) > first and value(watcher, "select clock_timestamp()") > first)
        run.producer("completed", output_ref="s3://out")
        assert not run.lost.is_set()
    with caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", lease_seconds=3600) as run:
        first = value(watcher, ends)
        assert run.renew()
        assert run.renew(1)
        assert value(watcher, ends) > first


def test_a_heartbeat_that_fails_once_is_made_again(db: Database) -> None:
    ready_for_real_runs(db)
    watcher = db.connect("owner")
    opened = 0

    def connect() -> psycopg.Connection[Any]:
        nonlocal opened
        opened += 1
        if opened == 2:  # the first of the heartbeat
            raise psycopg.OperationalError("no route to the server")
        return database.connect(db.url_as("operator"))

    with (
        Ledger(connect) as ledger,
        caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", lease_seconds=2) as run,
    ):
        first = value(watcher, "select expires_at from dot.dot_iu_runtime_lease")
        wait_until(lambda: value(watcher, "select expires_at > %s from dot.dot_iu_runtime_lease", first))
        assert (opened, run.lost.is_set()) == (3, False)


@pytest.mark.parametrize("gate", [None, *GATES])
def test_the_body_is_told_when_the_lease_is_lost_or_a_gate_was_closed(
    db: Database, ledger: Ledger, gate: str | None
) -> None:
    ready_for_real_runs(db)

    def path() -> None:
        with caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", holder="h", lease_seconds=1) as run:
            if gate is None:
                acquire(db.connect("operator"), holder="h")
            else:
                set_gates(db, "false", gate)
            assert run.lost.wait(20)
            run.producer("completed")

    with pytest.raises(LeaseNotLive if gate is None else GateClosed):
        path()


def test_on_asyncio_the_lease_is_kept_and_the_body_is_told(db: Database) -> None:
    ready_for_real_runs(db)
    watcher = db.connect("owner")
    ends = "select expires_at > %s and clock_timestamp() > %s from dot.dot_iu_runtime_lease"

    async def body() -> None:
        async with (
            AsyncLedger(lambda: database.connect_async(db.url_as("operator"))) as ledger,
            async_caller_path(ledger, THE_PAIR, evidence_type="REAL_RUN", actor="ci", lease_seconds=1) as run,
        ):
            first = value(watcher, "select expires_at from dot.dot_iu_runtime_lease")
            await asyncio.to_thread(wait_until, lambda: value(watcher, ends, first, first))
            await run.producer("completed", output_ref="s3://out")
            set_gates(db, "false", GATES[2])
            await asyncio.wait_for(run.lost.wait(), 20)
            await run.verifier("completed")

    with pytest.raises(GateClosed):
        asyncio.run(body())


def test_a_lease_that_another_has_is_waited_for_and_its_holder_is_named(db: Database, runner: Runner) -> None:
    token = acquire(db.connect("operator"), holder="another", seconds=2)
    with pytest.raises(LeaseHeld) as held:
        runner.run(Dots())
    assert isinstance(held.value, Transient)
    stored = row(db.connect("owner"), "select holder, expires_at from dot.dot_iu_runtime_lease")
    assert (held.value.holder, held.value.expires_at) == ("another", stored["expires_at"])
    outcome = runner.run(Dots(), wait_seconds=30)
    assert outcome.verified
    assert outcome.run.lease_token > token


def test_a_lease_is_held_for_a_block_kept_and_given_back(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)
    watcher = db.connect("owner")
    ends = "select expires_at > %s and clock_timestamp() > %s from dot.dot_iu_runtime_lease"
    with hold_lease(ledger, PAIR, lease_seconds=1) as lease:
        first = value(watcher, "select expires_at from dot.dot_iu_runtime_lease")
        wait_until(lambda: value(watcher, ends, first, first))
        with ledger.another() as other, pytest.raises(LeaseHeld) as held, hold_lease(other, PAIR):
            pass
        assert (held.value.holder, lease.lost.is_set()) == (lease.holder, False)
        acquire(db.connect("operator"), holder=lease.holder)
        assert lease.lost.wait(20)

    async def body() -> None:
        async with AsyncLedger(lambda: database.connect_async(db.url_as("operator"))) as own:
            async with async_hold_lease(own, PAIR, holder=lease.holder) as first:
                pass
            async with async_hold_lease(own, PAIR) as second:
                assert second.lease_token == first.lease_token + 1

    asyncio.run(body())
    assert value(watcher, "select expires_at <= clock_timestamp() from dot.dot_iu_runtime_lease")


def test_another_login_takes_a_run_up_for_its_verifier_under_its_own_actor(
    db: Database, flavor: Flavor, runner: Runner
) -> None:
    with runner.path() as run:
        run.producer("completed", output_ref="s3://out")
    assert [one.process_run_id for one in runner.ledger.awaiting_verifier(PAIR)] == [run.process_run_id]
    assert [one.idempotency_key for one in runner.ledger.awaiting_verifier()] == ["today"]
    for named in ({"key": "today"}, {"run_id": run.process_run_id}):
        with runner.take_up(**named) as taken:
            assert (taken.process_run_id, taken.correlation_id) == (run.process_run_id, run.correlation_id)
            assert (taken.needs("producer"), taken.output_ref) == (False, "s3://out")
            if taken.needs("verifier"):
                with taken.part("verifier") as part:
                    part.input_ref = taken.output_ref
            assert taken.verdict().verified
    assert runner.ledger.awaiting_verifier() == []
    actors = rows(db.connect("reader"), "select distinct component_role, actor from dot.v_process_run_component")
    assert {one["component_role"]: one["actor"] for one in actors} == {"producer": "nightly", "verifier": "checker"}
    for wrong, error in (({"key": "tomorrow"}, UnknownReference), ({}, TypeError)):
        with pytest.raises(error), runner.take_up(**wrong):
            pass
    acquire(db.connect("operator"), holder="another")
    with pytest.raises(LeaseHeld) as held, runner.take_up(key="today"):
        pass
    assert (held.value.holder, held.value.constraint) == ("another", "lease_held")


def test_a_part_is_invoked_once_and_one_that_did_not_complete_is_told_of_again(
    db: Database, flavor: Flavor, runner: Runner
) -> None:
    def raises(_run: Any) -> Any:
        raise OSError("no space")

    dots = Dots()
    never = flavor.written(lambda *_: pytest.fail("was invoked"))
    with runner.path(idempotency_key="raises") as run, pytest.raises(OSError, match="no space"):
        run.invoke("producer", flavor.written(raises))
    for role in ("producer", "verifier"):  # a retry of the task must not come out well
        with pytest.raises(PartFailed), runner.path(idempotency_key="raises") as run:
            run.invoke(role, never)

    with pytest.raises(PartFailed, match="producer has not completed"), runner.path() as run:
        run.invoke("verifier", never)
    with runner.path() as run:
        assert run.invoke("producer", flavor.written(dots.produce)).output_ref == "s3://out"
        assert run.invoke("producer", never).status == "completed"
    dots.right = False
    with pytest.raises(PartFailed, match=r"the verifier of run .* failed"), runner.take_up(key="today") as run:
        run.invoke("verifier", flavor.written(dots.verify))
    assert [part.output_ref for part in dots.verified] == ["s3://out"]
    ends = "select component_role, status, input_ref, error_ref from dot.v_process_run_component where status <> 'step_started'"
    assert [tuple(one.values()) for one in rows(db.connect("reader"), ends + " order by observed_at")] == [
        ("producer", "failed", None, "OSError"),
        ("producer", "step_completed", None, None),
        ("verifier", "failed", "s3://out", None),
    ]


def test_a_run_whose_verifier_was_killed_waits_for_its_verifier_again(db: Database, runner: Runner) -> None:
    with runner.path() as run:
        run.producer("completed", output_ref="s3://out")
    with runner.take_up(key="today") as run:
        run.verifier("started")
        assert runner.ledger.awaiting_verifier(PAIR) == [], "its lease is live"
    assert [one.end_state for one in runner.ledger.awaiting_verifier(PAIR)] == ["stale"]
    with runner.take_up(key="today") as run:
        run.verifier("completed", input_ref="s3://out")
    with runner.path(idempotency_key="tomorrow") as run:
        run.producer("started")
    assert runner.ledger.awaiting_verifier() == [], "one is verified, the other's producer has not completed"


def test_a_correlation_id_is_the_caller_s_where_it_is_given(runner: Runner) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    outcome = runner.run(Dots(), correlation_id=trace, evidence_ref={"attempt": {"pid": 1}})
    assert outcome.run.correlation_id == trace
    assert runner.run(Dots(), evidence_ref={"attempt": {"pid": 2}}).run.correlation_id == trace


KILLED = """
import sys
from dot_wrapper import Ledger, run_pair

def produce(run):
    print("producing", flush=True)
    sys.stdin.read()

with Ledger() as ledger:
    run_pair(ledger, sys.argv[1], produce=produce, verify=lambda run, part: True, actor="nightly", key="today", lease_seconds=2)
"""


def test_a_killed_runner_s_run_goes_on_when_its_short_lease_is_over(db: Database, ledger: Ledger) -> None:
    ready_for_real_runs(db)
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, PAIR], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "producing\n"
        process.kill()
    runner = Runner(Waiting(), ledger)
    dots = Dots()
    with pytest.raises(LeaseHeld):
        runner.run(dots)
    outcome = runner.run(dots, wait_seconds=30)
    assert (outcome.verified, outcome.run.created, len(dots.produced)) == (True, False, 1)
