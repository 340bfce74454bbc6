"""What both observe functions refuse by name before anything is looked up, what they look up, and in which order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from support import (
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    attest,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)

RUN, COMPONENT = "process_run_observation", "process_component_observation"
FUNCTIONS = {RUN: "fn_process_run_observe", COMPONENT: "fn_process_component_observe"}
NIL, MAX = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)

CODES = ("process_candidate_code", "dot_code", "correlation_id", "status", "actor", "idempotency_key")
CODES_OF = {RUN: (*CODES, "evidence_type"), COMPONENT: (*CODES, "component_role")}
REFS = ("input_ref", "output_ref", "error_ref")

# No code, key, actor or correlation may look like one of these; a ref may hold the last group, which is printable ASCII.
INVISIBLE = (
    "",
    " ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u202e",
    "\u3164",
    "\x7f",
    "\x01",
    "\x1b[31m",
)
DISGUISED = (
    "ok\n", "ok\r\n", "ok ", " ok", "o k", "ok\t", "ok\u00a0", "ok\u200b", "\ufeffok", "\u202eko", "ok\u0301", "o\u00adk",
    "\u043ek", "\uff4f\uff4b", "\u0661", "\u017ftart", "\u212a", "\u00e9t\u00e9", "\u6771\u4eac", "\U0001f600", "ok\u2028",
)  # fmt: skip
PUNCTUATED = (
    "'; drop table dot.process_candidate; --", "it's", '"ok"', "ok;", "ok,ok", "ok=1", "$ok", "ok\\n", "<ok>", "{ok}", "%s",
    "ok|ok", "ok*", "ok?", "ok#", "ok!", "~ok", "`ok`", "(ok)", "[ok]", "ok&", "ok^",
)  # fmt: skip
LEADING = (".ok", "-ok", "_ok", ":ok", "/ok", "@ok", "+ok", "-", ".")
ENDLESS = "a" * 100_000
HOSTILE_CODES = (*INVISIBLE, *DISGUISED, *PUNCTUATED, *LEADING, ENDLESS)
HOSTILE_REFS = (*INVISIBLE, *DISGUISED, PUNCTUATED[0], "a" * 1025, ENDLESS)

WORDS = {
    "status": (
        "blocked",
        "observed",
        "cancelled",
        "step_started",
        "step_completed",
        "STARTED",
        "Completed",
        "done",
        "null",
    ),
    "evidence_type": ("REAL", "real_run", "Real_Run", "REAL_RUN_", "DRY", "SIMULATED", "SIMULATED_DRY_RUN_2", "true"),
    "component_role": ("Producer", "VERIFIER", "reviewer", "producers", "both"),
}

BOMB = '{"a": [' + ", ".join(["1e131071"] * 4000) + "]}"  # 40 KB that would print as 524 MB
ILLEGAL_EVIDENCE = (
    "[]", '[{"a": 1}]', '"text"', "1", "true", "null", '{"a": 1e-25}', '{"a": [{"b": -0.1e-24}]}', '{"a": 9007199254740991.1}',
    '{"a": 0e-25}', '{"a": 0e-16383}', '{"a": 1.' + "0" * 25 + "}", '{"a": [' + ", ".join(["0.25"] * 1500) + "]}",
    '{"a": 9007199254740992}', '{"a": -9007199254740992}', '{"a": [[[9007199254740993]]]}', '{"a": 1e131071}',
    '{"a": {"b": [[{"c": -1e131071}]]}}', BOMB, '{"a": "' + "x" * 8184 + '"}', '{"' + "x" * 8200 + '": 1}',
)  # fmt: skip
LEGAL_EVIDENCE = (
    "{}", '{"a": null, "b": [], "c": {"d": [true, "1e131071", "1.5"]}}', '{"a": [9007199254740991, -9007199254740991]}',
    '{"a": 1.0, "b": 12e2, "c": 0.25, "d": [{"e": -1e-24}], "f": 9007199254740990.999}', '{"a": "' + "x" * 8183 + '"}', '{"a": {"wrapper_phase": 1, "skipped": 1}}',
)  # fmt: skip


Observe = dict[str, Callable[..., dict[str, Any]]]


@pytest.fixture
def writer(db: Database) -> Connection:
    define_pair(db)
    return db.connect("writer")


@pytest.fixture
def observe(writer: Connection) -> Observe:
    """Both functions by their table, with legal defaults; components belong to a started simulation."""
    run_id = observe_run(writer)["process_run_id"]
    return {RUN: partial(observe_run, writer), COMPONENT: partial(observe_component, writer, run_id, "producer")}


def test_null_for_any_required_argument_is_refused_by_name(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    before = ledger_counts(db)
    for table, function in FUNCTIONS.items():
        required: list[str] = value(
            db.connect("owner"),
            "select proargnames[1:pronargs - pronargdefaults] || 'p_evidence_ref'::text from pg_proc where proname = %s",
            function,
        )
        assert len(required) == {RUN: 9, COMPONENT: 8}[table]
        for argument in (name.removeprefix("p_") for name in required):
            with subtests.test(table=table, argument=argument), refused("23502", f"{table}_{argument}_not_null"):
                observe[table](**{argument: None})
    assert ledger_counts(db) == before


def test_no_code_key_or_word_may_be_blank_invisible_foreign_punctuated_or_endless(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    before = ledger_counts(db)
    for table, arguments in CODES_OF.items():
        for argument in arguments:
            too_long = "a" * (241 if (table, argument) == (COMPONENT, "idempotency_key") else 201)
            for hostile in (*HOSTILE_CODES, too_long, *WORDS.get(argument, ())):
                said = hostile[:40]
                with subtests.test(table=table, **{argument: said}), refused("23514", f"{table}_{argument}_check"):
                    observe[table](**{argument: hostile})
    assert ledger_counts(db) == before


def test_no_ref_may_hold_blanks_other_scripts_or_more_than_1024_bytes(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    before = ledger_counts(db)
    for table in FUNCTIONS:
        for argument in REFS:
            for hostile in HOSTILE_REFS:
                with (
                    subtests.test(table=table, **{argument: hostile[:40]}),
                    refused("23514", f"{table}_{argument}_check"),
                ):
                    observe[table](**{argument: hostile})
    assert ledger_counts(db) == before


def test_the_longest_legal_values_are_stored_as_they_came(db: Database) -> None:
    code, dot = "A._:/@+-z0" * 20, "0._:/@+-Zz" * 20
    refs = {ref: ("".join(map(chr, range(33, 127))) * 11)[:1024] for ref in REFS}
    define_pair(db, code, dot, VERIFIER)
    writer, reader = db.connect("writer"), db.connect("reader")
    given = {"process_candidate_code": code, "dot_code": dot, "correlation_id": dot, "actor": code, **refs}
    run_id = observe_run(writer, **given, idempotency_key=code)["process_run_id"]
    observe_component(writer, run_id, "producer", **given, idempotency_key=code + "k" * 40)
    for view, key in (("v_process_run", code), ("v_process_run_component", code + "k" * 40)):
        stored = row(reader, f"select * from dot.{view}")
        assert {name: stored[name] for name in given} == given
        assert stored["idempotency_key"] == key
        assert len(code) == len(dot) == 200


def test_nil_and_max_identify_no_run_and_an_unknown_parent_is_stored_as_claimed(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    for argument, table in (("process_run_id", RUN), ("process_run_id", COMPONENT), ("parent_run_id", RUN)):
        for illegal in (NIL, MAX):
            with (
                subtests.test(table=table, argument=argument, illegal=illegal),
                refused("23514", f"{table}_{argument}_check"),
            ):
                observe[table](**{argument: illegal})
    parent = uuid.uuid4()
    run_id = observe[RUN](parent_run_id=parent)["process_run_id"]
    stored = row(db.connect("reader"), "select parent_run_id from dot.v_process_run where process_run_id = %s", run_id)
    assert stored == {"parent_run_id": parent}


def test_evidence_is_an_object_of_8_kb_of_text_with_bounded_numbers(
    db: Database, writer: Connection, observe: Observe, subtests: pytest.Subtests
) -> None:
    before = ledger_counts(db)
    writer.execute("set statement_timeout = '2s'")  # a bomb that is printed before it is refused takes longer
    for table in FUNCTIONS:
        for evidence in ILLEGAL_EVIDENCE:
            with subtests.test(table=table, evidence=evidence[:40]), refused("23514", f"{table}_evidence_ref_check"):
                observe[table](evidence_ref=evidence)
    assert ledger_counts(db) == before
    for evidence in LEGAL_EVIDENCE:
        with subtests.test(legal=evidence[:40]):
            run_id = observe[RUN](evidence_ref=evidence)["process_run_id"]
            observe_component(writer, run_id, "producer", evidence_ref=evidence)
    assert len(LEGAL_EVIDENCE[4]) == 8192


# 12 MB each, and what told them apart before their size did: what a number prints as, how many there are, the text.
BOMBS = {
    "numbers": "[" + ", ".join(["1234567"] * 1_300_000) + "]",
    "decimals": "[" + ", ".join(["0e-16383"] * 1_200_000) + "]",
    "exponents": "[" + ", ".join(["1e131071"] * 1_200_000) + "]",
    "text": '"' + "x" * 12_000_000 + '"',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_12_mb_of_evidence_are_refused_for_what_parsing_them_costs(writer: Connection, bomb: str) -> None:
    evidence = f'{{"a": {BOMBS[bomb]}}}'

    parsed = []
    for _ in range(3):
        begun = time.perf_counter()
        writer.execute("select %s::text::jsonb is null", (evidence,))
        parsed.append(time.perf_counter() - begun)
    # Walked or printed it takes 3 to 15 times as long as parsed.
    writer.execute(f"set statement_timeout = {round(2000 * max(parsed) + 200)}")
    observed = "select dot.fn_process_run_observe('shop.orders', 'dot.load_orders', gen_random_uuid(), 'corr', 'SIMULATED_DRY_RUN',"
    for call in (
        f"{observed} true, 'started', 'me', p_evidence_ref => %s::text::jsonb)",
        f"{observed} true, 'prepared', 'me', p_evidence_ref => %s::text::jsonb)",
        "select dot.fn_dot_iu_command_log('dot_wrapper.rehearse', 'plan', 'refused', 'me', %s::text::jsonb)",
    ):
        with refused("23514"):
            writer.execute(call, (evidence,))


def test_evidence_that_is_as_long_as_it_may_be_is_legal_however_much_the_server_needs_to_keep_it(
    writer: Connection,
) -> None:
    # As jsonb these are up to four times as long as their text.
    for evidence in (
        '{"a": ' + "[" * 4092 + "]" * 4092 + "}",
        '{"a": [' + ", ".join(["1"] * 2728) + "]}",
        '{"a": [' + ", ".join(["0.1"] * 1636) + "]}",
    ):
        assert 8180 < len(evidence) <= 8192
        assert observe_run(writer, evidence_ref=evidence)["created"]


def test_evidence_from_a_table_is_measured_by_its_text_and_not_as_it_is_compressed(writer: Connection) -> None:
    writer.execute("create temporary table source as select jsonb_build_object('a', repeat('x', 100000)) as evidence")
    assert value(writer, "select pg_column_size(evidence) from source") < 8192
    for table, call in (
        (
            RUN,
            "fn_process_run_observe('shop.orders', %s, gen_random_uuid(), 'corr', 'SIMULATED_DRY_RUN', true, 'started', 'me'",
        ),
        (
            COMPONENT,
            "fn_process_component_observe('shop.orders', %s, gen_random_uuid(), 'corr', 'producer', 'started', 'me'",
        ),
    ):
        with refused("23514", f"{table}_evidence_ref_check"):
            rows(writer, f"select dot.{call}, p_evidence_ref => evidence) from source", PRODUCER)


def test_the_keys_that_the_function_sets_are_reserved(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    before = ledger_counts(db)
    for table in FUNCTIONS:
        for evidence in (
            '{"wrapper_phase": "prepared"}',
            '{"wrapper_phase": null}',
            '{"a": 1, "skipped": true}',
            '{"skipped": {}}',
        ):
            for status in ("started", "prepared", "skipped"):
                with (
                    subtests.test(table=table, evidence=evidence, status=status),
                    refused("23514", f"{table}_evidence_ref_reserved_check", "wrapper_phase and skipped"),
                ):
                    observe[table](evidence_ref=evidence, status=status)
    assert ledger_counts(db) == before


def test_dry_run_must_agree_with_the_evidence_type(db: Database, observe: Observe) -> None:
    before = ledger_counts(db)
    for evidence_type, dry_run in (("SIMULATED_DRY_RUN", False), ("DRY_RUN", False), ("REAL_RUN", True)):
        with refused("23514", "process_run_observation_dry_run_check"):
            observe[RUN](evidence_type=evidence_type, dry_run=dry_run)
    assert ledger_counts(db) == before


def test_dot_and_candidate_must_be_known_and_the_dot_must_have_the_role(
    db: Database, observe: Observe, subtests: pytest.Subtests
) -> None:
    define_pair(db, "shop.other", "dot.other", VERIFIER)
    before = ledger_counts(db)
    run, component = observe[RUN], observe[COMPONENT]
    verifier = partial(component, component_role="verifier")
    for call, constraint in (
        (partial(run, dot_code="dot.unknown"), f"{RUN}_dot_code_fkey"),
        (partial(run, dot_code=PRODUCER.upper()), f"{RUN}_dot_code_fkey"),
        (partial(run, process_candidate_code="shop.unknown"), f"{RUN}_process_candidate_code_fkey"),
        (partial(run, dot_code=VERIFIER), f"{RUN}_producer_check"),
        (partial(run, dot_code="dot.other"), f"{RUN}_producer_check"),
        (partial(component, dot_code="dot.unknown"), f"{COMPONENT}_dot_code_fkey"),
        (partial(component, process_candidate_code="shop.unknown"), f"{COMPONENT}_process_candidate_code_fkey"),
        (partial(component, dot_code=VERIFIER), f"{COMPONENT}_component_role_dot_check"),
        (partial(verifier, dot_code=PRODUCER), f"{COMPONENT}_component_role_dot_check"),
        (partial(verifier, dot_code="dot.other"), f"{COMPONENT}_component_role_dot_check"),
    ):
        with (
            subtests.test(arguments=call.keywords, constraint=constraint),
            refused("23503" if constraint.endswith("_fkey") else "23514", constraint),
        ):
            call()
    assert ledger_counts(db) == before


def test_a_component_needs_a_header_that_takes_one_and_its_correlation(db: Database, writer: Connection) -> None:
    define_pair(db, "shop.other", PRODUCER, VERIFIER)
    open_run, failed, cancelled, completed = (
        observe_run(writer, status=status)["process_run_id"] for status in ("started", "failed", "skipped", "completed")
    )
    before = ledger_counts(db)
    with refused("23503", "process_component_observation_process_run_id_fkey"):
        observe_component(writer, uuid.uuid4(), "producer")
    with refused("23503", "process_component_observation_process_run_id_fkey"):
        observe_component(writer, open_run, "producer", process_candidate_code="shop.other")
    for correlation in ("corr-2", "CORR-1", "corr-10", "corr-"):
        with refused("23514", "process_component_observation_correlation_id_header_check", "corr-1"):
            observe_component(writer, open_run, "producer", correlation_id=correlation)
    for run_id in (failed, cancelled):
        with refused("23514", "process_component_observation_header_status_check"):
            observe_component(writer, run_id, "producer", status="failed")
    assert ledger_counts(db) == before
    assert observe_component(writer, completed, "producer")["created"]


def test_a_call_that_is_wrong_in_many_ways_is_refused_for_the_first(
    db: Database, writer: Connection, subtests: pytest.Subtests
) -> None:
    real = partial(observe_run, writer, evidence_type="REAL_RUN")
    unknown = partial(real, dot_code="dot.unknown", process_candidate_code="shop.unknown")
    before = ledger_counts(db)
    for call, sqlstate, constraint in (
        (partial(unknown, actor=None, correlation_id=" "), "23502", f"{RUN}_actor_not_null"),
        (partial(unknown, actor=" ", dry_run=True), "23514", f"{RUN}_actor_check"),
        (partial(unknown, evidence_ref='{"skipped": true}'), "23514", f"{RUN}_evidence_ref_reserved_check"),
        (partial(unknown, dry_run=True), "23514", f"{RUN}_dry_run_check"),
        (partial(unknown, parent_run_id=NIL), "23514", f"{RUN}_parent_run_id_check"),
        (partial(unknown, status="prepared"), "23514", f"{RUN}_prepared_check"),
        (unknown, "23503", f"{RUN}_dot_code_fkey"),
        (partial(unknown, dot_code=VERIFIER), "23503", f"{RUN}_process_candidate_code_fkey"),
        (partial(real, dot_code=VERIFIER), "23514", f"{RUN}_producer_check"),
        (real, "23514", "gate_operator_runtime_enabled_check"),
    ):
        with subtests.test(arguments=call.keywords), refused(sqlstate, constraint):
            call()
    assert ledger_counts(db) == before
    set_gates(db)
    with refused("23514", "preflight_check"):
        real()
    attest(db)
    with refused("23514", "lease_live_check"):
        real()
    assert real(lease_token=acquire(writer))["created"]


def test_a_component_that_is_wrong_in_many_ways_is_refused_for_the_first(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=acquire(writer))["process_run_id"]
    failed = observe_run(writer, status="failed", correlation_id="corr-2")["process_run_id"]
    set_gates(db, "false")
    call = partial(observe_component, writer, run_id, "producer")
    lost = partial(call, process_run_id=uuid.uuid4(), correlation_id="corr-9")
    unknown = partial(lost, dot_code="dot.unknown", process_candidate_code="shop.unknown")
    for refusal, sqlstate, constraint in (
        (partial(unknown, component_role=None), "23502", f"{COMPONENT}_component_role_not_null"),
        (partial(unknown, component_role="reviewer"), "23514", f"{COMPONENT}_component_role_check"),
        (unknown, "23503", f"{COMPONENT}_dot_code_fkey"),
        (partial(unknown, dot_code=VERIFIER), "23503", f"{COMPONENT}_process_candidate_code_fkey"),
        (partial(lost, dot_code=VERIFIER), "23514", f"{COMPONENT}_component_role_dot_check"),
        (lost, "23503", f"{COMPONENT}_process_run_id_fkey"),
        (partial(call, process_run_id=failed), "23514", f"{COMPONENT}_correlation_id_header_check"),
        (
            partial(call, correlation_id="corr-9", status="prepared"),
            "23514",
            f"{COMPONENT}_correlation_id_header_check",
        ),
        (partial(call, status="prepared"), "23514", f"{COMPONENT}_prepared_check"),
        (call, "23514", "gate_operator_runtime_enabled_check"),
    ):
        with subtests.test(arguments=refusal.keywords), refused(sqlstate, constraint):
            refusal()


def test_a_replay_passes_gates_preflight_and_lease_like_a_first_call(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run = partial(observe_run, writer, evidence_type="REAL_RUN", idempotency_key="key-1")
    run_id = run(lease_token=token)["process_run_id"]
    component = partial(observe_component, writer, run_id, "producer", idempotency_key="key-1:producer")
    component(lease_token=token)
    before = ledger_counts(db)
    for observe in (run, component):
        for arguments in ({"lease_token": token}, {"lease_token": token, "actor": "another-payload"}):
            with subtests.test(arguments={**observe.keywords, **arguments}):
                with refused("23514", "lease_live_check"):
                    observe(**{**arguments, "lease_token": None})
                attest(db, "BLOCK")
                with refused("23514", "preflight_check"):
                    observe(**arguments)
                set_gates(db, "false", "process_dot_runtime.real_run_enabled")
                with refused("23514", "gate_real_run_enabled_check"):
                    observe(**arguments)
                set_gates(db)
                attest(db)
        assert not observe(lease_token=token)["created"]
    ledger = (RUN, COMPONENT, "event_outbox", "dot_iu_runtime_lease")
    assert {table: ledger_counts(db)[table] for table in ledger} == {table: before[table] for table in ledger}
