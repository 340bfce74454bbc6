"""Several observations in one call: what they come to is what the calls alone come to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from support import (
    AMENDED,
    BATCH_TYPES,
    IN_BOTH_STATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    attest,
    batch,
    call,
    define_pair,
    header_line,
    ledger_counts,
    observe_component,
    observe_run,
    part_line,
    poll_until,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)

OTHER = "shop.invoices"
THIRD = "dot.of_neither_part"
PAYLOAD: dict[str, object] = {"input_ref": "s3://in", "output_ref": "s3://out", "error_ref": "s3://err"}


def pair(connection: Connection, **replaced: object) -> dict[str, Any]:
    """fn_process_pair_observe with legal defaults: a simulation whose producer and verifier completed, no key."""
    defaults = {
        "process_candidate_code": PAIR,
        "producer_dot_code": PRODUCER,
        "verifier_dot_code": VERIFIER,
        "process_run_id": uuid.uuid4(),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": replaced.get("evidence_type", "SIMULATED_DRY_RUN") != "REAL_RUN",
        "producer_status": "completed",
        "verifier_status": "completed",
        "actor": "tester",
    }
    return call(connection, "fn_process_pair_observe", defaults, **replaced)


def stored(db: Database, candidate: str = PAIR) -> list[dict[str, Any]]:
    """What is stored of a candidate, but for what differs from call to call."""
    of = "where process_candidate_code = %s order by idempotency_key, observed_at"
    found = [
        one
        for table in ("process_run_observation", "process_component_observation")
        for one in rows(db.session("owner"), f"select * from dot.{table} {of}", candidate)
    ]
    passing = ("process_candidate_code", "process_run_id", "component_id", "xact_id", "observed_at")
    return [{name: one[name] for name in one if name not in passing} for one in found]


def outcomes(told: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["created"], one["refused_sqlstate"], one["refused_constraint"]) for one in told]


def refusal(sqlstate: str, constraint: str) -> tuple[None, str, str]:
    return None, sqlstate, constraint


CREATED, REPLAYED = (True, None, None), (False, None, None)


@pytest.fixture
def writer(db: Database) -> Connection:
    """A writer of two candidates of the same DOTs, and of one that has them the other way round."""
    define_pair(db)
    define_pair(db, OTHER)
    define_pair(db, "shop.reversed", VERIFIER, PRODUCER)
    return db.session("writer")


@pytest.fixture
def operator(db: Database, writer: Connection) -> Connection:
    """A login that may write and read, of the same candidates."""
    return db.session("operator")


# --- The pair ---


@IN_BOTH_STATES
def test_a_pair_is_the_three_calls_in_one(db: Database, writer: Connection, subtests: pytest.Subtests) -> None:
    words = (
        ("completed", "failed"),
        ("failed", "skipped"),
        ("started", "prepared"),
        ("skipped", None),
        (None, "completed"),
    )
    for number, (producer, verifier) in enumerate(words):
        header: dict[str, object] = {
            "idempotency_key": f"run-{number}",
            "parent_run_id": uuid.uuid4(),
            "input_ref": "s3://in",
            "evidence_ref": Jsonb({"of": "the header"}),
            "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        parts = {role: status for role, status in (("producer", producer), ("verifier", verifier)) if status}
        said = {
            role: {
                "output_ref": f"s3://{role}/out",
                "error_ref": f"s3://{role}/err",
                "evidence_ref": Jsonb({"of": role}),
                "occurred_at": datetime(2026, 1, {"producer": 2, "verifier": 3}[role], tzinfo=UTC),
            }
            for role in parts
        }
        one_call: dict[str, object] = {
            **header,
            "producer_status": producer,
            "verifier_status": verifier,
            **{f"{role}_{name}": what for role in parts for name, what in said[role].items()},
        }
        told = pair(writer, **one_call)
        run_id = observe_run(writer, **header, process_candidate_code=OTHER)["process_run_id"]
        for role, status in parts.items():
            observe_component(
                writer,
                run_id,
                role,
                process_candidate_code=OTHER,
                status=status,
                idempotency_key=f"run-{number}:{role}:{status}",
                **said[role],
            )
        with subtests.test(producer=producer, verifier=verifier):
            assert stored(db) == stored(db, OTHER)
            assert told["created"] is True
            assert told["producer_created"] is (True if producer else None)
            assert told["verifier_created"] is (True if verifier else None)
            again = pair(writer, **one_call, process_run_id=uuid.uuid4(), correlation_id="corr-2")
            assert {name: again[name] for name in again if not name.endswith("created")} == {
                name: told[name] for name in told if not name.endswith("created")
            }
            assert (again["created"], again["producer_created"], again["verifier_created"]) == (
                False,
                False if producer else None,
                False if verifier else None,
            )


def test_a_pair_is_stored_whole_or_not_at_all(db: Database, writer: Connection, subtests: pytest.Subtests) -> None:
    observe_run(writer, process_run_id=(taken := uuid.uuid4()), idempotency_key="taken")
    observe_component(writer, taken, "verifier", idempotency_key="new:verifier:completed")
    db.session("cataloguer").execute("select dot.fn_dot_tool_register('dot.stranger')")
    before = ledger_counts(db)
    wrong: tuple[tuple[str, str, Mapping[str, object]], ...] = (
        ("23514", "process_component_observation_status_check", {"verifier_status": "blocked"}),
        ("23514", "process_component_observation_component_role_dot_check", {"verifier_dot_code": PRODUCER}),
        ("23514", "process_component_observation_evidence_ref_check", {"verifier_evidence_ref": Jsonb([])}),
        *(
            ("23514", f"{table}_evidence_ref_{problem}_check", {name: Jsonb({key: True})})
            for table, name in (
                ("process_run_observation", "evidence_ref"),
                ("process_component_observation", "producer_evidence_ref"),
                ("process_component_observation", "verifier_evidence_ref"),
            )
            for problem, key in (("reserved", "skipped"), ("reserved", "wrapper_phase"), ("attempt", "attempt"))
        ),
        ("23514", "process_run_observation_occurred_at_check", {"occurred_at": "infinity"}),
        ("23514", "process_component_observation_occurred_at_check", {"producer_occurred_at": "infinity"}),
        ("23514", "process_component_observation_occurred_at_check", {"verifier_occurred_at": "infinity"}),
        ("23505", "idempotency_payload_mismatch", {"idempotency_key": "new"}),
        ("23514", "lease_live_check", {"lease_token": 7}),
        ("23514", "gate_operator_runtime_enabled_check", {"evidence_type": "REAL_RUN"}),
    )
    for sqlstate, constraint, replaced in wrong:
        with subtests.test(constraint=constraint):
            with refused(sqlstate, constraint):
                pair(writer, **replaced)
            assert ledger_counts(db) == before


def test_a_real_pair_needs_gates_and_lease_and_is_verified(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    with refused("23514", "lease_live_check"):
        pair(writer, evidence_type="REAL_RUN")
    told = pair(writer, evidence_type="REAL_RUN", lease_token=acquire(writer), idempotency_key="real")
    found = row(db.session("reader"), "select * from dot.v_process_verification_v3")
    assert (found["verified"], found["last_verified_run_id"]) == (True, told["process_run_id"])


@pytest.mark.parametrize(
    ("said", "constraint"),
    [
        ({"producer_dot_code": THIRD}, "process_run_observation_producer_check"),
        ({"verifier_dot_code": THIRD}, "process_component_observation_component_role_dot_check"),
        ({"dry_run": False}, "process_run_observation_dry_run_check"),
    ],
)
def test_what_no_table_refuses_of_a_pair_is_refused(
    db: Database, writer: Connection, said: dict[str, object], constraint: str
) -> None:
    db.session("cataloguer").execute("select dot.fn_dot_tool_register(%s)", (THIRD,))
    with refused("23514", constraint):
        pair(writer, **said)


@pytest.mark.parametrize(
    "said",
    [
        *(
            {name: datetime(2026, 1, 1, tzinfo=UTC)}
            for name in ("occurred_at", "producer_occurred_at", "verifier_occurred_at")
        ),
        {"producer_status": "failed"},
        {"verifier_status": "failed"},
    ],
)
def test_a_new_pair_is_stored_together_whatever_its_source_tells(
    db: Database, writer: Connection, said: dict[str, object]
) -> None:
    """Stored together it is a subtransaction, whose number is not that of the transaction."""
    superuser = db.connect("superuser")
    pair(superuser, idempotency_key="another-key")
    pair(superuser, idempotency_key="key", process_candidate_code=OTHER)
    superuser.execute("begin")
    assert pair(superuser, idempotency_key="key", **said)["created"]
    own = "select count(*) from dot.process_component_observation where xmin = pg_current_xact_id()::xid"
    assert value(superuser, own) == 0
    superuser.execute("rollback")


def test_each_row_of_a_pair_tells_of_itself_where_its_event_is_wanted(db: Database, writer: Connection) -> None:
    """As its call alone would. The first event begins the epoch."""
    gatekeeper, relay = db.session("gatekeeper"), db.session("relay")
    for event in ("process.run.started", "process.component.step_completed", "process.component.failed"):
        gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (event,))
    pair(writer, idempotency_key="key", verifier_status="failed")
    together = poll_until(relay, 3)
    assert value(db.session("owner"), "select max(epoch) from dot.outbox_epoch") == together[0]["epoch"]
    run_id = observe_run(writer, process_candidate_code=OTHER, idempotency_key="key")["process_run_id"]
    for role, status in (("producer", "completed"), ("verifier", "failed")):
        said = {"process_candidate_code": OTHER, "idempotency_key": f"key:{role}:{status}", "status": status}
        observe_component(writer, run_id, role, **said)
    alone = poll_until(relay, 6)[3:]
    own = ("process_candidate_code", "process_run_id", "component_id")
    for one, other in zip(together, alone, strict=True):
        assert one["type"] == other["type"]
        assert {name: one["payload"][name] for name in one["payload"] if name not in own} == {
            name: other["payload"][name] for name in other["payload"] if name not in own
        }


def test_the_events_of_a_pair_are_not_of_another_candidate_s_run_with_its_id(db: Database, writer: Connection) -> None:
    for event in ("process.run.started", "process.component.step_completed"):
        db.session("gatekeeper").execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (event,))
    run_id = uuid.uuid4()
    for candidate in (OTHER, PAIR):
        pair(writer, process_candidate_code=candidate, process_run_id=run_id)
    told = poll_until(db.session("relay"), 6)
    assert [one["payload"]["process_candidate_code"] for one in told] == [OTHER] * 3 + [PAIR] * 3


def test_a_pair_of_a_dot_that_left_the_catalogue_is_refused(db: Database, writer: Connection) -> None:
    for dot, table in ((VERIFIER, "process_component_observation"), (PRODUCER, "process_run_observation")):
        db.session("owner").execute("delete from dot.dot_tools where code = %s", (dot,))
        with refused("23503", f"{table}_dot_code_fkey"):
            pair(writer)
        db.session("cataloguer").execute("select dot.fn_dot_tool_register(%s)", (dot,))


# --- The batch ---


@IN_BOTH_STATES
def test_a_batch_says_of_each_line_what_became_of_it(db: Database, writer: Connection) -> None:
    stored_before, new, other = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    observe_run(writer, process_run_id=stored_before, idempotency_key="before")
    told = batch(
        writer,
        [
            part_line(new, "verifier", idempotency_key="new:verifier"),
            header_line(new, idempotency_key="new", status="prepared"),
            header_line(uuid.uuid4(), idempotency_key="before"),
            header_line(uuid.uuid4(), idempotency_key="before", actor="another"),
            header_line(uuid.uuid4(), actor="not legal"),
            header_line(uuid.uuid4(), dot_code="dot.unknown"),
            header_line(uuid.uuid4(), process_candidate_code="unknown"),
            header_line(uuid.uuid4(), dot_code=VERIFIER),
            header_line(uuid.uuid4(), evidence_type="REAL_RUN"),
            header_line(stored_before),
            header_line(uuid.uuid4(), idempotency_key="new", status="prepared"),
            part_line(new, "producer", status="skipped"),
            part_line(new, "producer", status="failed"),
            part_line(new, "verifier", idempotency_key="new:verifier"),
            part_line(other, "verifier"),
            part_line(stored_before, "producer", correlation_id="corr-2"),
            part_line(stored_before, "producer", dot_code=VERIFIER),
            part_line(stored_before, "producer", lease_token=7),
            part_line(stored_before, "stranger"),
            part_line(stored_before, "producer", evidence_type="SIMULATED_DRY_RUN"),
            header_line(uuid.uuid4(), correlation_id=None),
        ],
    )
    ran, part = "process_run_observation", "process_component_observation"
    assert outcomes(told) == [
        CREATED,
        CREATED,
        REPLAYED,
        refusal("23505", "idempotency_payload_mismatch"),
        refusal("23514", f"{ran}_actor_check"),
        refusal("23503", f"{ran}_dot_code_fkey"),
        refusal("23503", f"{ran}_process_candidate_code_fkey"),
        refusal("23514", f"{ran}_producer_check"),
        refusal("23514", "gate_operator_runtime_enabled_check"),
        refusal("23505", f"{ran}_pkey"),
        REPLAYED,
        CREATED,
        refusal("23505", f"{part}_terminal_key"),
        REPLAYED,
        refusal("23503", f"{part}_process_run_id_fkey"),
        refusal("23514", f"{part}_correlation_id_header_check"),
        refusal("23514", f"{part}_component_role_dot_check"),
        refusal("23514", "lease_live_check"),
        refusal("23514", f"{part}_component_role_check"),
        refusal("23514", "process_observe_batch_component_check"),
        refusal("23502", f"{ran}_correlation_id_not_null"),
    ]
    assert [one["process_run_id"] for one in told[:3]] == [new, new, stored_before]
    assert told[10]["process_run_id"] == new
    assert told[13]["component_id"] == told[0]["component_id"] is not None
    for one in told:
        is_refused = one["created"] is None
        of_component = one["line"] in (1, 12, 14)
        assert (one["component_id"] is not None) is of_component
        said = [one[name] for name in one if name.startswith("refused_")]
        assert all(text is None for text in said) is not is_refused
        assert (one["refused_message"] is not None) is is_refused
        assert (one["process_run_id"] is None) is (one["correlation_id"] is None) is is_refused
    assert told[7]["refused_hint"] is None
    assert (told[3]["refused_detail"], told[5]["refused_hint"], told[5]["refused_detail"]) == (
        f"Stored for run {stored_before}. Differing fields: actor.",
        "A cataloguer registers it with fn_dot_tool_register.",
        None,
    )


HOSTILE = ("", " ", "a b", "a\n", "\u200b", "é", "a" * 241, None)
ILLEGAL_EVIDENCE = (
    Jsonb([]),
    Jsonb({"n": 1e-25}),
    Jsonb({"skipped": 1}),
    Jsonb({"wrapper_phase": 1}),
    Jsonb({"t": "x" * 8192}),
    None,
)


def variations(run_id: uuid.UUID, begun_as: str) -> list[dict[str, Any]]:
    """Lines that differ from a legal one by one thing: headers of new runs, and components of a run that began as said."""
    texts = ("process_candidate_code", "dot_code", "correlation_id", "actor", "idempotency_key")
    refs = ("input_ref", "output_ref", "error_ref")
    changes: list[dict[str, Any]] = [{}]
    changes += [{name: text} for name in (*texts, *refs) for text in HOSTILE]
    changes += [
        {name: "a" * length} for name, length in (("actor", 200), ("idempotency_key", 240), ("input_ref", 1024))
    ]
    changes += [{"input_ref": "a" * 1025}, {"dot_code": PRODUCER}, {"dot_code": VERIFIER}, {"dot_code": "dot.stranger"}]
    changes += [
        {"dot_code": "dot.unknown"},
        {"process_candidate_code": OTHER},
        {"process_candidate_code": "pair.unknown"},
    ]
    changes += [{"evidence_ref": document} for document in ILLEGAL_EVIDENCE]
    changes += [
        {"status": word} for word in ("prepared", "started", "completed", "failed", "skipped", "blocked", "x", None)
    ]
    changes += [{"occurred_at": time} for time in ("2026-11-21T10:00:00Z", "infinity")]
    changes += [{"lease_token": token} for token in (0, 1, 2)]
    changes += [{"process_run_id": one} for one in (uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid4(), None)]
    headers: list[dict[str, Any]] = [
        *changes,
        *({"evidence_type": word} for word in ("DRY_RUN", "REAL_RUN", "simulated_dry_run", "", None)),
        *({"dry_run": flag} for flag in (False, None)),
        *({"parent_run_id": one} for one in (uuid.uuid4(), uuid.UUID(int=0))),
        {"process_run_id": run_id},
        {"idempotency_key": "begun"},
        {"idempotency_key": "begun", "status": begun_as},
    ]
    lines = [{**header_line(uuid.uuid4()), **changed} for changed in headers]
    for role in ("producer", "verifier"):
        parts = (*changes, {"correlation_id": "corr-2"}, {"component_role": "x"}, {"idempotency_key": "part"})
        lines += [{**part_line(run_id, role), **changed} for changed in parts]
    return lines


@IN_BOTH_STATES
@pytest.mark.parametrize("begun_as", ["prepared", "started", "completed", "failed", "skipped", "a real run"])
def test_a_line_comes_to_what_its_call_comes_to(
    db: Database, operator: Connection, begun_as: str, subtests: pytest.Subtests
) -> None:
    """Each by itself, in a transaction that is taken back: the outcome, and what is stored."""
    db.session("cataloguer").execute("select dot.fn_dot_tool_register('dot.stranger')")
    real = begun_as == "a real run"
    if real:
        set_gates(db)
        attest(db)
    token = acquire(operator)
    assert token == 1
    status = "started" if real else begun_as
    begun = observe_run(
        operator,
        idempotency_key="begun",
        status=status,
        **({"evidence_type": "REAL_RUN", "lease_token": token} if real else {}),
    )["process_run_id"]
    if begun_as in ("prepared", "started", "completed"):
        observe_component(operator, begun, "producer", status="started", idempotency_key="part")
    for line in variations(begun, status):
        function = "fn_process_component_observe" if "component_role" in line else "fn_process_run_observe"
        alone: tuple[Any, ...]
        try:
            with undone(operator) as inside:
                told = call(inside, function, line)
                alone = ((told["created"], None, None), shown(inside))
        except psycopg.Error as error:
            alone = (refusal(str(error.sqlstate), str(error.diag.constraint_name)), None)
        with undone(operator) as inside:
            in_a_batch = batch(inside, [line])
            together = (outcomes(in_a_batch)[0], shown(inside) if in_a_batch[0]["created"] is not None else None)
        with subtests.test(line=line):
            assert together == alone


@contextmanager
def undone(connection: Connection) -> Iterator[Connection]:
    """The connection in a transaction that is taken back at the end of the block."""
    with connection.transaction(force_rollback=True):
        yield connection


def shown(connection: Connection) -> list[Any]:
    """What the transaction's own rows say, but for what differs from call to call; as a writer who may read too."""
    connection.execute("set local role dot_reader")
    passing = "'{observed_at,last_observed_at,component_id}'::text[]"
    return [
        rows(connection, f"select to_jsonb(v) - {passing} as content from dot.{view} as v order by 1")
        for view in ("v_process_run", "v_process_run_component")
    ]


def test_what_is_stored_by_a_batch_is_what_the_calls_store(db: Database, writer: Connection) -> None:
    parent = uuid.uuid4()
    for candidate in (PAIR, OTHER):
        lines = []
        for number, status in enumerate(("prepared", "started", "completed", "failed", "skipped")):
            run_id = uuid.uuid4()
            said: dict[str, object] = {
                **PAYLOAD,
                "process_candidate_code": candidate,
                "evidence_ref": Jsonb({"n": number}),
            }
            lines.append(
                header_line(run_id, **said, status=status, parent_run_id=parent, idempotency_key=f"run-{number}")
            )
            for role in ("producer", "verifier") if status not in ("failed", "skipped") else ():
                lines += [
                    part_line(run_id, role, **said, status=word, idempotency_key=f"{number}:{role}:{word}")
                    for word in ("prepared", "started", ("completed", "failed", "skipped")[number])
                ]
        if candidate == PAIR:
            assert outcomes(batch(writer, lines)) == [CREATED] * len(lines)
        else:
            for line in lines:
                function = "fn_process_component_observe" if "component_role" in line else "fn_process_run_observe"
                call(writer, function, line)
    assert stored(db) == stored(db, OTHER)


def test_the_components_of_a_batch_go_on_with_the_run_that_their_header_was_stored_under(
    db: Database, writer: Connection
) -> None:
    def lines(run_id: uuid.UUID, correlation_id: str) -> list[dict[str, Any]]:
        attempt = {"correlation_id": correlation_id}
        return [
            part_line(run_id, "verifier", idempotency_key="run:verifier", **attempt),
            header_line(run_id, idempotency_key="run", **attempt),
            part_line(run_id, "producer", idempotency_key="run:producer", **attempt),
        ]

    first, second = uuid.uuid4(), uuid.uuid4()
    told = batch(writer, lines(first, "corr-1")[:2])
    again = batch(writer, lines(second, "corr-2"))
    assert outcomes(again) == [REPLAYED, REPLAYED, CREATED]
    assert {one["process_run_id"] for one in again} == {first}
    assert {one["correlation_id"] for one in again} == {"corr-1"}
    assert again[0]["component_id"] == told[0]["component_id"]
    # Neither another candidate's run of that id, nor a component that says another correlation, goes on with it.
    third, behind = uuid.uuid4(), {"process_candidate_code": "shop.reversed", "dot_code": VERIFIER}
    observe_run(writer, process_run_id=first, correlation_id="corr-1", **behind)
    stray = [
        header_line(third, idempotency_key="run", correlation_id="corr-3"),
        part_line(third, "producer", status="started", correlation_id="corr-4"),
        part_line(third, "producer", status="started", correlation_id="corr-3", process_candidate_code=OTHER),
        part_line(third, "producer", correlation_id="corr-3", **behind),
    ]
    assert outcomes(batch(writer, stray)) == [
        REPLAYED,
        *[refusal("23503", "process_component_observation_process_run_id_fkey")] * 3,
    ]


@pytest.mark.parametrize(
    "said", [{"evidence_type": "SIMULATED_DRY_RUN"}, {"dry_run": True}, {"parent_run_id": uuid.uuid4()}]
)
def test_a_component_s_line_says_nothing_that_is_its_header_s(
    db: Database, writer: Connection, said: dict[str, object]
) -> None:
    run_id = uuid.uuid4()
    told = batch(writer, [header_line(run_id), part_line(run_id, "producer", **said)])
    assert outcomes(told) == [CREATED, refusal("23514", "process_observe_batch_component_check")]


def test_a_first_component_with_another_correlation_than_its_header_s_is_refused(
    db: Database, writer: Connection
) -> None:
    before, new = uuid.uuid4(), uuid.uuid4()
    observe_run(writer, process_run_id=before)
    for lines in ([part_line(before, "producer")], [header_line(new), part_line(new, "producer")]):
        lines[-1]["correlation_id"] = "corr-2"
        refused_as = refusal("23514", "process_component_observation_correlation_id_header_check")
        assert outcomes(batch(writer, lines)) == [*[CREATED] * (len(lines) - 1), refused_as]


@pytest.mark.parametrize(
    ("alone", "constraint"),
    [
        ({"dot_code": THIRD}, "process_run_observation_producer_check"),
        ({"component_role": "producer", "dot_code": THIRD}, "process_component_observation_component_role_dot_check"),
        ({"component_role": "verifier", "dot_code": THIRD}, "process_component_observation_component_role_dot_check"),
        ({"evidence_ref": Jsonb({"attempt": 1})}, "process_run_observation_evidence_ref_attempt_check"),
        ({"dry_run": False}, "process_run_observation_dry_run_check"),
        ({"status": "cancelled"}, "process_run_observation_status_check"),  # a stored word
        (
            {"component_role": "producer", "status": "step_completed"},
            "process_component_observation_status_check",
        ),
        (
            {"component_role": "verifier", "process_candidate_code": "shop.pinned", "input_ref": "s3://other"},
            "process_component_observation_pinned_output_check",
        ),
    ],
)
@IN_BOTH_STATES
def test_what_no_table_refuses_is_refused_where_all_else_of_a_batch_is_new(
    db: Database, writer: Connection, alone: dict[str, Any], constraint: str
) -> None:
    cataloguer = db.session("cataloguer")
    cataloguer.execute("select dot.fn_dot_tool_register(%s)", (THIRD,))
    cataloguer.execute(
        "select dot.fn_process_candidate_define('shop.pinned', %s, %s, 'tester', p_pins_output => true)",
        (PRODUCER, VERIFIER),
    )
    run_id, role, said = uuid.uuid4(), alone.get("component_role"), {}
    if "process_candidate_code" in alone:
        said["process_candidate_code"] = alone["process_candidate_code"]
    lines = [header_line(run_id, **said), part_line(run_id, "producer", output_ref="s3://out", **said)]
    if role is None:
        lines = [header_line(run_id, **alone)]
    elif role == "producer":
        lines[1] |= alone
    else:
        lines.append(part_line(run_id, role) | alone)
    assert outcomes(batch(writer, lines)) == [*[CREATED] * (len(lines) - 1), refusal("23514", constraint)]


def test_of_lines_under_one_key_the_first_is_stored(db: Database, writer: Connection) -> None:
    for attempt in range(10):  # in both orders of their run ids
        runs = [uuid.uuid4() for _ in range(3)]
        lines = [header_line(run, idempotency_key=f"key-{attempt}") for run in runs]
        lines += [part_line(run, "producer", idempotency_key=f"key-{attempt}:p") for run in runs]
        told = batch(writer, lines)
        assert outcomes(told) == [CREATED, REPLAYED, REPLAYED] * 2
        assert {one["process_run_id"] for one in told} == {runs[0]}


def test_of_lines_of_one_run_and_key_the_one_that_is_stored_is_told_so(db: Database, writer: Connection) -> None:
    """Whatever else they say: a line that is refused is never told that it was created."""
    run_id = uuid.uuid4()
    told = batch(
        writer,
        [
            header_line(run_id, idempotency_key="run", dot_code=VERIFIER),
            header_line(run_id, idempotency_key="run", actor="no actor"),
            header_line(run_id, idempotency_key="run"),
            part_line(run_id, "producer", idempotency_key="part", dot_code=VERIFIER),
            part_line(run_id, "producer", idempotency_key="part", correlation_id="corr-2"),
            part_line(run_id, "producer", idempotency_key="part"),
            part_line(run_id, "verifier"),
            part_line(run_id, "verifier", status="failed"),
        ],
    )
    ran, part = "process_run_observation", "process_component_observation"
    assert outcomes(told) == [
        refusal("23514", f"{ran}_producer_check"),
        refusal("23514", f"{ran}_actor_check"),
        CREATED,
        refusal("23514", f"{part}_component_role_dot_check"),
        refusal("23514", f"{part}_correlation_id_header_check"),
        CREATED,
        CREATED,
        refusal("23505", f"{part}_terminal_key"),
    ]


def test_the_first_of_lines_that_compete_wins_whichever_way_it_is_stored(db: Database, writer: Connection) -> None:
    """One that goes through the functions, because it brings a token, is not overtaken by one that does not."""
    first, second = sorted((uuid.uuid4(), uuid.uuid4()))
    slow: dict[str, object] = {"lease_token": acquire(writer)}
    told = batch(
        writer,
        [
            header_line(first, idempotency_key="run", **slow),
            header_line(first, idempotency_key="run", status="completed"),
            part_line(first, "producer", **slow),
            part_line(first, "producer", status="failed"),
            header_line(second, idempotency_key="run.2", status="completed"),
            part_line(second, "verifier", status="failed", idempotency_key="part"),
            part_line(first, "verifier", status="failed", idempotency_key="part"),
        ],
    )
    assert outcomes(told) == [
        CREATED,
        refusal("23505", "idempotency_payload_mismatch"),
        CREATED,
        refusal("23505", "process_component_observation_terminal_key"),
        CREATED,
        refusal("23505", "idempotency_payload_mismatch"),  # of two runs the one whose key sorts first comes first
        CREATED,
    ]


def test_a_line_that_is_stored_alone_is_not_overtaken_for_its_row_or_its_key(db: Database, writer: Connection) -> None:
    begun, first, second, third, fourth = sorted(uuid.uuid4() for _ in range(5))
    for run_id in (begun, fourth):
        observe_run(writer, process_run_id=run_id)
    slow: dict[str, object] = {"lease_token": acquire(writer)}
    told = batch(
        writer,
        [
            header_line(first, idempotency_key="row.1", **slow),
            header_line(first, idempotency_key="row.2", status="completed"),
            header_line(third, idempotency_key="key", **slow),
            header_line(second, idempotency_key="key", status="completed"),
            part_line(begun, "producer", **slow),
            part_line(begun, "producer", status="failed"),
            part_line(fourth, "verifier", idempotency_key="part", **slow),
            part_line(begun, "verifier", idempotency_key="part", status="failed"),
            part_line(begun, "verifier", status="started", idempotency_key="part.2"),
            part_line(fourth, "producer", status="started", idempotency_key="part.2"),
        ],
    )
    ran, part, mismatch = "process_run_observation", "process_component_observation", "idempotency_payload_mismatch"
    assert outcomes(told) == [
        CREATED,
        refusal("23505", f"{ran}_pkey"),
        CREATED,
        refusal("23505", mismatch),
        CREATED,
        refusal("23505", f"{part}_terminal_key"),
        # Without a header's line runs come by their id.
        refusal("23505", mismatch),
        CREATED,
        CREATED,
        refusal("23505", mismatch),
    ]
    tokens = "select count(*) from dot.process_component_observation where lease_token is not null"
    assert value(db.session("owner"), tokens) == 1


def test_a_component_waits_for_the_run_that_its_header_is_stored_under(db: Database, writer: Connection) -> None:
    one, other = uuid.uuid4(), uuid.uuid4()
    for run_id, key in ((one, "one"), (other, "other")):
        observe_run(writer, process_run_id=run_id, idempotency_key=key)
    # The header's key is one's, and its run id other's.
    told = batch(writer, [header_line(other, idempotency_key="one"), part_line(other, "producer")])
    assert outcomes(told) == [REPLAYED, CREATED]
    assert [line["process_run_id"] for line in told] == [one, one]
    assert value(db.session("reader"), "select process_run_id from dot.v_process_run_component") == one


@IN_BOTH_STATES
def test_evidence_that_its_flag_makes_too_long_is_refused_by_name(db: Database, writer: Connection) -> None:
    def document(bytes_of_text: int) -> Jsonb:
        return Jsonb({"t": "x" * (bytes_of_text - len('{"t": ""}'))})

    for status, flag in (
        ("prepared", ', "wrapper_phase": "prepared"'),
        ("skipped", ', "skipped": true'),
        ("started", ""),
    ):
        longest = 8192 - (0 if db.amended else len(flag))
        lines = [header_line(uuid.uuid4(), status=status, evidence_ref=document(longest + more)) for more in (0, 1)]
        assert outcomes(batch(writer, lines)) == [
            CREATED,
            refusal("23514", "process_run_observation_evidence_ref_check"),
        ]
        observe_run(writer, status=status, evidence_ref=document(longest))
        with refused("23514", "process_run_observation_evidence_ref_check"):
            observe_run(writer, status=status, evidence_ref=document(longest + 1))
        run_id = observe_run(writer)["process_run_id"]
        with refused("23514", "process_component_observation_evidence_ref_check"):
            observe_component(writer, run_id, "producer", status=status, evidence_ref=document(longest + 1))
        observe_component(writer, run_id, "producer", status=status, evidence_ref=document(longest))


def test_a_line_is_told_the_correlation_under_which_its_run_is_stored(db: Database, writer: Connection) -> None:
    for first, second in (("corr-1", "corr-2"), ("corr-2", "corr-1")):
        run_id = uuid.uuid4()
        same: dict[str, object] = {"idempotency_key": f"{run_id}"}
        told = batch(
            writer,
            [
                header_line(run_id, **same, correlation_id=first),
                header_line(run_id, **same, correlation_id=second),
                part_line(run_id, "producer", correlation_id=second, idempotency_key=f"{run_id}:p"),
                part_line(run_id, "verifier", correlation_id=first, idempotency_key=f"{run_id}:v"),
            ],
        )
        assert outcomes(told) == [CREATED, REPLAYED, CREATED, CREATED]
        assert {one["correlation_id"] for one in told} == {first}


@AMENDED
def test_a_blocked_header_takes_no_component_of_a_batch(db: Database, writer: Connection) -> None:
    told_of = {"status": "blocked", "parent_run_id": uuid.uuid4(), "error_ref": "preflight_check"}
    run_id = observe_run(writer, **told_of)["process_run_id"]
    told = batch(writer, [part_line(run_id, "producer"), part_line(run_id, "verifier", status="prepared")])
    assert outcomes(told) == [refusal("23514", "process_component_observation_header_status_check")] * 2


def test_an_atomic_batch_is_stored_whole_or_not_at_all(db: Database, writer: Connection) -> None:
    run_id = uuid.uuid4()
    lines = [header_line(run_id), part_line(run_id, "producer"), part_line(run_id, "verifier", dot_code="dot.unknown")]
    before = ledger_counts(db)
    with refused("23503", "process_component_observation_dot_code_fkey", "line 3: DOT dot.unknown"):
        batch(writer, lines, atomic=True)
    assert ledger_counts(db) == before
    assert outcomes(batch(writer, lines[:2], atomic=True)) == [CREATED, CREATED]
    assert outcomes(batch(writer, lines)) == [
        refusal("23505", "process_run_observation_pkey"),
        refusal("23505", "process_component_observation_pkey"),
        refusal("23503", "process_component_observation_dot_code_fkey"),
    ]


def test_what_is_no_refusal_of_a_line_ends_the_batch(db: Database, writer: Connection) -> None:
    ready_for_real_runs(db)
    token = acquire(writer)
    lines = [header_line(uuid.uuid4(), evidence_type="REAL_RUN", lease_token=token)]
    with db.connect("superuser") as holder, holder.transaction():
        holder.execute("lock table dot.gate_latch in exclusive mode")
        writer.execute("set lock_timeout = '50ms'")
        with refused("55P03"):
            batch(writer, lines)
    writer.execute("reset lock_timeout")
    assert outcomes(batch(writer, lines)) == [CREATED]


def test_a_real_run_in_a_batch_passes_what_it_passes_alone_and_is_verified(db: Database) -> None:
    ready_for_real_runs(db)
    writer, run_id = db.session("writer"), uuid.uuid4()
    token = acquire(writer)
    told = batch(
        writer,
        [
            header_line(run_id, evidence_type="REAL_RUN", lease_token=token),
            part_line(run_id, "producer", lease_token=token),
            part_line(run_id, "verifier", lease_token=token),
            part_line(run_id, "verifier", status="started"),
        ],
    )
    assert outcomes(told) == [CREATED, CREATED, CREATED, refusal("23514", "lease_live_check")]
    assert value(
        db.session("reader"), "select verified from dot.v_process_verification_v3 where latest_real_run_id = %s", run_id
    )
    admitted = "select count(*) from dot.process_component_observation where admission is not null and lease_token = %s"
    assert value(db.session("owner"), admitted, token) == 2


def test_a_token_that_a_simulation_brings_is_asked_for_in_a_batch_too(db: Database, writer: Connection) -> None:
    token, run_id = acquire(writer), uuid.uuid4()
    lines = [header_line(run_id, lease_token=token), header_line(uuid.uuid4(), lease_token=token + 1)]
    assert outcomes(batch(writer, lines)) == [CREATED, refusal("23514", "lease_live_check")]
    assert value(db.session("owner"), "select lease_token from dot.process_run_observation") == token


def test_each_line_that_is_created_tells_of_itself_where_its_event_is_wanted(db: Database, writer: Connection) -> None:
    """As its call alone would, the header before its components. None of it is a subtransaction."""
    gatekeeper, parent = db.session("gatekeeper"), uuid.uuid4()
    for event in ("process.run.started", "process.component.step_completed"):
        gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (event,))

    def lines(run_id: uuid.UUID, candidate: str) -> list[dict[str, Any]]:
        said = {"process_candidate_code": candidate}
        return [
            header_line(run_id, idempotency_key="run", parent_run_id=parent, **said),
            part_line(run_id, "producer", idempotency_key="run:producer", **said),
            part_line(run_id, "verifier", status="failed", **said),
            header_line(uuid.uuid4(), status="completed", occurred_at=datetime(2026, 1, 1, tzinfo=UTC), **said),
        ]

    def told_of() -> list[dict[str, Any]]:
        own, relay = {"process_candidate_code", "process_run_id", "component_id"}, db.session("relay")
        events = poll_until(relay, 2)
        relay.execute(
            "select dot.fn_dot_outbox_ack(%s, %s, %s)", (events[-1]["epoch"], events[-1]["xact_id"], events[-1]["id"])
        )
        for event in events:
            assert event["aggregateid"] == event["payload"]["process_run_id"]
            event["own"] = own & event["payload"].keys()
            event["payload"] = {name: said for name, said in event["payload"].items() if name not in own}
        return [{name: event[name] for name in ("aggregatetype", "type", "payload", "own")} for event in events]

    run_id, alone = uuid.uuid4(), uuid.uuid4()
    assert outcomes(batch(writer, lines(run_id, PAIR))) == [CREATED] * 4
    assert outcomes(batch(writer, lines(run_id, PAIR)[:2])) == [REPLAYED] * 2
    together = told_of()
    assert [one["type"] for one in together] == ["process.run.started", "process.component.step_completed"]
    written = """
        select count(distinct t.xid) from (
            select xmin::text as xid from dot.process_run_observation
            union all select xmin::text from dot.process_component_observation
            union all select xmin::text from dot.event_outbox
        ) as t
    """
    assert value(db.session("owner"), written) == 1, "one subtransaction of the rows and their events"
    for line in lines(alone, OTHER):
        function = "fn_process_component_observe" if "component_role" in line else "fn_process_run_observe"
        call(writer, function, line)
    assert told_of() == together


def test_the_events_of_a_batch_are_not_of_another_candidate_s_run_with_its_id(db: Database, writer: Connection) -> None:
    for event in ("process.run.started", "process.component.step_completed"):
        db.session("gatekeeper").execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (event,))
    run_id, candidates = uuid.uuid4(), sorted((OTHER, PAIR))
    lines = []
    for candidate in candidates:
        lines.append(header_line(run_id, process_candidate_code=candidate))
        lines.append(part_line(run_id, "producer", process_candidate_code=candidate))
    assert outcomes(batch(writer, lines)) == [CREATED] * 4
    told = poll_until(db.session("relay"), 4)
    assert [one["payload"]["process_candidate_code"] for one in told] == candidates * 2


@pytest.mark.parametrize("prepared", [(), ("prepared",)], ids=["stored together", "stored line by line"])
def test_the_events_of_a_batch_tell_of_each_run_in_the_order_in_which_it_went(
    db: Database, writer: Connection, prepared: tuple[str, ...]
) -> None:
    gatekeeper = db.session("gatekeeper")
    words = ("observed", "step_started", "step_completed", "failed")
    for event in ("process.run.started", "process.run.completed", *(f"process.component.{word}" for word in words)):
        gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'tester', 'for a test')", (event,))
    ran = sorted((candidate, uuid.uuid4()) for candidate in (PAIR, OTHER) for _ in range(7))  # as many as a poll shows
    lines = []
    for number, (candidate, run_id) in reversed(list(enumerate(ran))):
        said = {"process_candidate_code": candidate}
        lines += [
            part_line(run_id, role, status=status, **said)
            for role in ("verifier", "producer")
            for status in (("completed", "failed")[number % 2], "started", *prepared)
        ]
        status = ("started", "completed")[number % 3 == 0]
        key = (
            f"k{number:02}" if number % 7 > 2 else None
        )  # those without one come by their run id, which sorts before it
        lines.append(header_line(run_id, idempotency_key=key, status=status, **said))
    assert outcomes(batch(writer, lines)) == [CREATED] * len(lines)
    told = poll_until(db.session("relay"), len(lines))
    assert value(db.session("owner"), "select max(epoch) from dot.outbox_epoch") == told[0]["epoch"]
    headers = [one for one in told if one["type"].startswith("process.run.")]
    components = [one for one in told if one not in headers]
    runs = [run_id for _, run_id in ran]
    assert [uuid.UUID(one["aggregateid"]) for one in headers] == runs
    went = [
        (
            uuid.UUID(one["aggregateid"]),
            one["payload"]["component_role"],
            one["type"].removeprefix("process.component."),
        )
        for one in components
    ]
    assert went == [
        (run_id, role, word)
        for number, run_id in enumerate(runs)
        for role in ("producer", "verifier")
        for word in (*("observed" for _ in prepared), "step_started", ("step_completed", "failed")[number % 2])
    ]
    backwards = """
        select count(*) from dot.process_component_observation as a
        join dot.process_component_observation as b using (process_candidate_code, process_run_id, component_role)
        where (a.stage, b.stage) in (('prepared', 'started'), ('started', 'ended')) and a.observed_at > b.observed_at
    """
    assert value(db.session("owner"), backwards) == 0


def test_the_parts_of_a_run_in_one_batch_begin_before_they_end_and_the_verifier_comes_after_the_producer(
    db: Database, writer: Connection
) -> None:
    runs = [uuid.uuid4() for _ in range(200)]
    parts = [
        part_line(run, role, status=status)
        for run in runs
        for role in ("verifier", "producer")
        for status in ("completed", "started")
    ]
    assert outcomes(batch(writer, [*map(header_line, runs), *parts])) == [CREATED] * 1000
    order = """
        select array_agg(component_role || ' ' || status order by observed_at) as went
        from dot.process_component_observation group by process_run_id
        having count(distinct observed_at) = 4 and max(observed_at) - min(observed_at) = interval '3 microseconds'
    """
    went = [f"{role} {status}" for role in ("producer", "verifier") for status in ("step_started", "step_completed")]
    assert [one["went"] for one in rows(db.session("owner"), order)] == [went] * 200


def test_the_components_of_a_batch_are_later_than_its_call_where_their_header_was_stored_before(
    db: Database, writer: Connection
) -> None:
    observe_run(writer, process_run_id=(run_id := uuid.uuid4()))
    called_at = value(writer, "select clock_timestamp()")
    assert outcomes(batch(writer, [part_line(run_id, role) for role in ("verifier", "producer")])) == [CREATED] * 2
    assert value(db.session("reader"), "select min(observed_at) from dot.v_process_run_component") > called_at


def test_a_component_of_a_batch_is_later_than_the_rows_of_its_run_whatever_the_clock_says(
    db: Database, writer: Connection
) -> None:
    """Later than its header too."""
    owner = db.session("owner")
    for table in ("process_run_observation", "process_component_observation"):
        owner.execute(f"alter table dot.{table} disable trigger user")
    observe_run(writer, process_run_id=(run_id := uuid.uuid4()))
    owner.execute("update dot.process_run_observation set observed_at = observed_at + interval '1 hour'")
    assert outcomes(batch(writer, [part_line(run_id, "producer", status="started")])) == [CREATED]
    is_later = "k.observed_at > r.observed_at from dot.process_component_observation as k"
    assert value(owner, f"select {is_later} join dot.process_run_observation as r using (process_run_id)") is True
    owner.execute("update dot.process_component_observation set observed_at = observed_at + interval '1 hour'")
    assert outcomes(batch(writer, [part_line(run_id, "producer")])) == [CREATED]
    order = "select status from dot.v_process_run_component order by observed_at"
    assert [one["status"] for one in rows(db.session("reader"), order)] == ["step_started", "step_completed"]


def test_a_batch_stores_its_rows_in_one_order_whatever_that_of_its_lines(db: Database, writer: Connection) -> None:
    """So two batches of the same runs wait for each other and do not deadlock. ctid is the order in which rows came into a new table."""
    runs = sorted((candidate, uuid.uuid4()) for candidate in (PAIR, OTHER) for _ in range(3))
    lines = []
    for candidate, run_id in (runs[at] for at in (4, 0, 5, 2, 3, 1)):
        said = {"process_candidate_code": candidate}
        lines.append(header_line(run_id, **said))
        lines += [
            part_line(run_id, role, status=status, **said)
            for role in ("verifier", "producer")
            for status in ("completed", "started")
        ]
    told = batch(writer, lines)
    assert outcomes(told) == [CREATED] * 30
    assert {one["component_id"] for one in told}.isdisjoint(run_id for _, run_id in runs), "an id is its own line's"
    headers = "select process_candidate_code, process_run_id from dot.process_run_observation order by ctid"
    assert [tuple(one.values()) for one in rows(db.session("owner"), headers)] == runs
    parts = (
        "select process_candidate_code, process_run_id, component_role, stage from dot.process_component_observation"
        " order by ctid"
    )
    assert [tuple(one.values()) for one in rows(db.session("owner"), parts)] == [
        (*run, role, stage) for run in runs for role in ("producer", "verifier") for stage in ("started", "ended")
    ]


def test_a_dot_that_left_the_catalogue_is_refused_in_a_batch_too(db: Database, writer: Connection) -> None:
    begun = uuid.uuid4()
    observe_run(writer, process_run_id=begun)
    db.session("owner").execute("delete from dot.dot_tools where code = %s", (PRODUCER,))
    told = batch(writer, [header_line(uuid.uuid4()), part_line(begun, "producer"), part_line(begun, "verifier")])
    assert outcomes(told) == [
        refusal("23503", "process_run_observation_dot_code_fkey"),
        refusal("23503", "process_component_observation_dot_code_fkey"),
        CREATED,
    ]


def test_a_batch_that_is_made_again_writes_nothing(db: Database, writer: Connection) -> None:
    run_id = uuid.uuid4()
    lines = [header_line(run_id, idempotency_key="run"), part_line(run_id, "producer", idempotency_key="run:producer")]
    assert outcomes(batch(writer, lines)) == [CREATED] * 2
    for again in (lines, lines[:1], lines[1:]):  # with their header the components wait for it
        with writer.transaction():
            assert outcomes(batch(writer, again)) == [REPLAYED] * len(again)
            assert value(writer, "select pg_current_xact_id_if_assigned()") is None


def test_a_pair_that_is_made_again_writes_nothing(writer: Connection) -> None:
    assert pair(writer, idempotency_key="key")["created"]
    with writer.transaction():
        assert not pair(writer, idempotency_key="key")["created"]
        assert value(writer, "select pg_current_xact_id_if_assigned()") is None


def test_a_new_batch_is_stored_together_whatever_another_candidate_has(db: Database, writer: Connection) -> None:
    """Its keys and its run ids. Stored together it is one subtransaction, else one for each line."""
    run_id = uuid.uuid4()

    def lines(candidate: str) -> list[dict[str, Any]]:
        said = {"process_candidate_code": candidate}
        return [header_line(run_id, idempotency_key="key", **said), part_line(run_id, "producer", **said)]

    for candidate in (OTHER, PAIR):
        assert outcomes(batch(writer, lines(candidate))) == [CREATED] * 2
        written = f"""
            select count(distinct t.xid) from (
                select xmin::text as xid, process_candidate_code from dot.process_run_observation
                union all select xmin::text, process_candidate_code from dot.process_component_observation
            ) as t
            where t.process_candidate_code = '{candidate}'
        """
        assert value(db.session("owner"), written) == 1


def test_arrays_that_do_not_fit_are_refused(db: Database, writer: Connection, subtests: pytest.Subtests) -> None:
    query = "select * from dot.fn_process_observe_batch({}, p_atomic => %(atomic)s)".format(
        ", ".join(f"p_{name} => %({name})s::{kind}[]" for name, kind in BATCH_TYPES.items())
    )
    line = header_line(uuid.uuid4())
    arrays: dict[str, Any] = {"atomic": False, **{name: [line.get(name)] for name in BATCH_TYPES}}
    for name in BATCH_TYPES:
        with subtests.test(longer=name), refused("23514", "process_observe_batch_lines_check"):
            writer.execute(query, {**arrays, name: arrays[name] * 2})
        with subtests.test(missing=name), refused("23502", "process_observe_batch_lines_not_null"):
            writer.execute(query, {**arrays, name: None})
    with refused("23502", "process_observe_batch_lines_not_null"):
        writer.execute(query, {**arrays, "atomic": None})
    with refused("23514", "process_observe_batch_lines_check", "at most 10,000"):
        writer.execute(query, {name: arrays[name] * 10_001 if name in BATCH_TYPES else False for name in arrays})
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == 0
    assert batch(writer, []) == []
    assert len(batch(writer, [header_line(uuid.uuid4()) for _ in range(10_000)])) == 10_000


def test_a_batch_looks_rows_up_by_their_whole_key_however_large_the_ledger_has_become(
    db: Database, writer: Connection
) -> None:
    """The plans are made while there is nothing, and kept: no row is read but those that a line asks for."""

    def lines() -> list[dict[str, Any]]:
        runs = [uuid.uuid4() for _ in range(100)]
        return [
            one
            for run in runs
            for one in (
                header_line(run, idempotency_key=f"{run}"),
                part_line(run, "producer", idempotency_key=f"{run}:p"),
                part_line(run, "verifier", idempotency_key=f"{run}:v"),
            )
        ]

    for _ in range(8):  # more often than a plan is made for its parameters
        batch(writer, lines())
    read = """
        select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables
        where schemaname = 'dot' and starts_with(relname, 'process_') and relname <> 'process_candidate'
    """
    with writer.transaction():
        before = value(writer, read)
        batch(writer, lines())
        # Each component's header, once by its line and once by the foreign key.
        assert value(writer, read) - before == 400


@pytest.mark.parametrize("keyed", [True, False], ids=["with keys", "without"])
def test_two_batches_of_the_same_runs_wait_for_each_other_in_one_order(
    db: Database, writer: Connection, keyed: bool
) -> None:
    """Lines in opposite orders, many times: never a deadlock."""
    attempts, keys = (20, [f"key-{number}" for number in range(30)]) if keyed else (8, [f"key-{n}" for n in range(300)])
    runs_of_all = {(attempt, key): uuid.uuid4() for attempt in range(attempts) for key in keys}

    together = Barrier(4, timeout=60)

    def deadlocks(number: int, backwards: bool) -> int:
        lost = 0
        with db.connect("writer") as connection:
            for attempt in range(attempts):
                runs = {key: uuid.uuid4() if keyed else runs_of_all[attempt, key] for key in keys}
                said: dict[str, object] = {"correlation_id": f"corr-{number}" if keyed else "corr-1"}
                lines = [
                    line
                    for key in (reversed(keys) if backwards else keys)
                    for line in (
                        header_line(runs[key], idempotency_key=f"{attempt}:{key}" if keyed else None, **said),
                        part_line(
                            runs[key], "producer", idempotency_key=f"{attempt}:{key}:p" if keyed else None, **said
                        ),
                    )
                ]
                together.wait()
                try:
                    told = batch(connection, lines)
                except psycopg.errors.DeadlockDetected:
                    lost += 1
                else:
                    assert {one["created"] for one in told} <= {True, False if keyed else None}
        return lost

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: deadlocks(number, number % 2 == 1), range(4)))
    assert found == [0] * 4
    assert value(db.session("owner"), "select count(*) from dot.process_run_observation") == attempts * len(keys)
    assert value(db.session("owner"), "select count(*) from dot.process_component_observation") == attempts * len(keys)
