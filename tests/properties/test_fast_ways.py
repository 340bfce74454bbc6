"""The fast ways of a batch and of a pair, beside the one-by-one way: the same answers, rows, refusals and events.

Two databases are the same but for the two functions of the fast ways, which in one of them store nothing. Whatever is drawn is done
in both, in a transaction that is rolled back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from support import PRODUCER, VERIFIER, Connection, Database, batch, call, define_pair, rows
from support.sizes import size

STORES = ("fn_batch_store_new", "fn_pair_store_new")
EVENTS = ("process.run.started", "process.component.step_completed", "process.component.failed")
RUNS = [uuid.UUID(f"0198c0de-0000-7000-8000-00000000000{digit}") for digit in range(1, 6)]
TIME = datetime(2026, 1, 1, tzinfo=UTC)
OF_A_HEADER = {"evidence_type": "SIMULATED_DRY_RUN", "dry_run": True, "parent_run_id": None}

# What may stand in place of the usual value of each argument: legal, illegal, and what the fast ways leave to the functions.
_OBJECTS: list[Any] = [{}, {"skipped": True}, {"wrapper_phase": "x"}, {"attempt": {"pid": 1}}, {"n": 1e300}, []]
EVIDENCE = [Jsonb(one) for one in _OBJECTS]
UNUSUAL: dict[str, list[Any]] = {
    "process_candidate_code": ["fast.other", "fast.pinned", "fast.of_a_role", "fast.unknown", "no code", None],
    "dot_code": [PRODUCER, VERIFIER, "shop.unknown", None],
    "process_run_id": [*RUNS, uuid.UUID(int=0), None],
    "correlation_id": ["corr-2", "no correlation", None],
    "component_role": [None, "producer", "verifier", "witness"],
    "status": ["started", "failed", "prepared", "skipped", "unheard of", None],
    "actor": ["no actor", None],
    "idempotency_key": [None, "k1", "k2", "k1:producer", "no key", "k" * 190, "k" * 201],
    "ref": [None, "s3://in", "s3://out", "no reference"],
    "evidence_ref": EVIDENCE,
    "lease_token": [1],
    "occurred_at": [TIME, "infinity"],
    "evidence_type": ["REAL_RUN", "DRY_RUN", "simulated", None],
    "dry_run": [False, None],
    "parent_run_id": [RUNS[4], uuid.UUID(int=0)],
}


def changed(usual: dict[str, Any]) -> st.SearchStrategy[tuple[str, Any]]:
    """An argument and an unusual value of it."""
    of = {name: UNUSUAL.get(name) or UNUSUAL[next(one for one in UNUSUAL if name.endswith(one))] for name in usual}
    return st.sampled_from([(name, value) for name, values in of.items() for value in values])


@st.composite
def batches(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Batches one after the other: of a few runs each, as an import sends them, but for some arguments."""
    return [draw(a_batch()) for _ in range(draw(st.integers(1, 3)))]


@st.composite
def a_batch(draw: st.DrawFn) -> list[dict[str, Any]]:
    lines = []
    for run in draw(st.lists(st.sampled_from(RUNS), min_size=1, max_size=4)):
        candidate = draw(st.sampled_from(["fast.plain", "fast.plain", "fast.other", "fast.pinned"]))
        key = draw(st.sampled_from([None, f"key-{run}"]))
        statuses = draw(st.tuples(*[st.sampled_from(["started", "completed", "failed"])] * 2))
        parts = list(zip((None, "producer", "verifier"), ("started", *statuses), strict=True))
        first = draw(st.sampled_from([0, 0, 0, 1]))  # the header may have come with a batch before
        for role, status in parts[first : first + draw(st.integers(1, 3))]:
            usual = {
                "process_candidate_code": candidate,
                "dot_code": VERIFIER if role == "verifier" else PRODUCER,
                "process_run_id": run,
                "correlation_id": "corr-1",
                "component_role": role,
                "status": status,
                "actor": "tester",
                "idempotency_key": key
                and f"{key}:{role}:{status}"[:: -1 if first else 1],  # and the keys in another order
                "input_ref": "s3://in",
                "output_ref": None,
                "error_ref": None,
                "evidence_ref": Jsonb({"n": 1}),
                "lease_token": None,
                "occurred_at": draw(st.sampled_from([None, TIME])),
            }
            lines.append(usual | (OF_A_HEADER if role is None else dict.fromkeys(OF_A_HEADER)))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        one = draw(st.sampled_from(lines))
        name, value = draw(changed(one))
        one[name] = value
    return draw(st.permutations(lines)) if draw(st.integers(0, 4)) == 0 else lines


@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Any]:
    """A pair of one of a few runs, but for some arguments."""
    run = draw(st.sampled_from(RUNS))
    usual = {
        "process_candidate_code": "fast.plain",
        "producer_dot_code": PRODUCER,
        "verifier_dot_code": VERIFIER,
        "process_run_id": run,
        "correlation_id": "corr-1",
        **OF_A_HEADER,
        "producer_status": draw(st.sampled_from(["completed", "failed"])),
        "verifier_status": draw(st.sampled_from(["completed", "failed"])),
        "actor": "tester",
        "idempotency_key": f"key-{run}",
        "input_ref": "s3://in",
        "evidence_ref": Jsonb({"n": 1}),
        "lease_token": None,
        "occurred_at": None,
        **{
            f"{role}_{name}": value
            for role in ("producer", "verifier")
            for name, value in {
                "output_ref": f"s3://{role}",
                "error_ref": None,
                "evidence_ref": Jsonb({"of": role}),
                "occurred_at": draw(st.sampled_from([None, TIME])),
            }.items()
        },
        "verifier_input_ref": "s3://producer",
    }
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        name, value = draw(changed(usual))
        usual[name] = value
    return usual


@pytest.fixture
def ways(db: Database) -> Iterator[tuple[Database, Database]]:
    """The database as it is, and its twin, in which everything goes one by one."""
    superuser = db.connect("superuser")
    with db.server.installed() as url:
        slow = Database(url, db.server)
        try:
            for one in (db, slow):
                define_pair(one, "fast.plain")
                define_pair(one, "fast.other")
                for code, asks in (
                    ("fast.pinned", "p_pins_output => true"),
                    ("fast.of_a_role", "p_producer_role => 'pg_monitor'"),
                ):
                    named = f"'{code}', '{PRODUCER}', '{VERIFIER}', 'tester', {asks}"
                    one.session("cataloguer").execute(f"select dot.fn_process_candidate_define({named})".encode())
            for name in STORES:
                arguments = superuser.execute(
                    "select pg_get_function_arguments(%s::regproc) as arguments", (f"dot.{name}",)
                ).fetchone()
                assert arguments is not None
                slow.session("owner").execute(
                    f"create or replace function dot.{name}({arguments['arguments']}) returns uuid[] language sql"
                    " return null::uuid[]".encode()
                )
            yield db, slow
        finally:
            slow.close()


COMPARED = {
    "process_run_observation": "to_jsonb(t) - '{observed_at, xact_id}'::text[]",
    "process_component_observation": "to_jsonb(t) - '{observed_at, xact_id, component_id}'::text[] || jsonb_build_object('place',"
    " rank() over (partition by process_candidate_code, process_run_id order by observed_at))",
    "event_outbox": "jsonb_build_object('place', rank() over (partition by aggregateid, payload ->> 'process_candidate_code' order by id), 'type', type, 'of', aggregateid, 'payload',"
    " payload - '{observed_at, component_id}'::text[])",
}


def done(db: Database, calls: list[tuple[str, Any]], events: bool) -> list[Any]:
    """What the calls answer and what then stands in the tables, as a writer's login in a transaction that is rolled back."""
    session = db.session("superuser")
    told: list[Any] = []
    session.execute("begin")
    try:
        if events:
            session.execute("update dot.event_type set active = true where event_type = any (%s)", (list(EVENTS),))
        session.execute(f"set session authorization {db.login('writer')}".encode())
        for kind, what in calls:
            try:
                with session.transaction():
                    told.append(answered(session, kind, what))
            except psycopg.Error as error:
                diag = error.diag
                told.append((error.sqlstate, diag.constraint_name, diag.message_primary, diag.message_detail))
        session.execute("reset session authorization")
        for table, compared in COMPARED.items():
            told.append(
                sorted(str(one["line"]) for one in rows(session, f"select {compared} as line from dot.{table} t"))
            )
    finally:
        session.execute("rollback")
    return told


def answered(session: Connection, kind: str, what: Any) -> Any:
    """The answer of a call without the ids that are drawn anew by each way."""
    if kind == "pair":
        answer = call(session, "fn_process_pair_observe", what)
        drawn = ("producer_component_id", "verifier_component_id")
        return {name: (value is not None if name in drawn else value) for name, value in answer.items()}
    return [
        {name: (value is not None if name == "component_id" else value) for name, value in one.items()}
        for one in batch(session, what, atomic=kind == "atomic batch")
    ]


@settings(max_examples=size(70, 2000))
@given(drawn=batches(), atomic=st.booleans(), events=st.booleans())
def test_a_batch_comes_to_what_its_lines_come_to_one_by_one(
    ways: tuple[Database, Database], drawn: list[list[dict[str, Any]]], atomic: bool, events: bool
) -> None:
    calls = [("atomic batch" if atomic else "batch", lines) for lines in drawn]
    fast, slow = (done(one, calls, events) for one in ways)
    assert fast == slow


@settings(max_examples=size(70, 6000))
@given(drawn=st.lists(pairs(), min_size=1, max_size=3), events=st.booleans())
def test_a_pair_comes_to_what_its_three_calls_come_to(
    ways: tuple[Database, Database], drawn: list[dict[str, Any]], events: bool
) -> None:
    calls = [("pair", one) for one in drawn]
    fast, slow = (done(one, calls, events) for one in ways)
    assert fast == slow
