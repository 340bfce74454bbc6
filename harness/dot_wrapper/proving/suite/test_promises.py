"""The three promises, searched by Hypothesis: idempotency, fail-closed inputs, REAL_RUN refusal.

What is legal is said here a second time, in Python, so that the SQL is compared with a statement it did not make.
"""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from dot_wrapper.proving.searching import ANY, STORABLE
from dot_wrapper.proving.support import (
    GATES,
    IN_BOTH_STATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    attest,
    call,
    define_pair,
    observe_run,
    ready_for_real_runs,
    refused,
    value,
)

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
REF = re.compile(r"[!-~]+")
BOUND = 2**53 - 1

codes = st.from_regex(CODE, fullmatch=True, alphabet=ANY).filter(lambda text: len(text) <= 200)
refs = st.from_regex(REF, fullmatch=True, alphabet=ANY).filter(lambda text: len(text) <= 1024)
evidence = st.dictionaries(
    st.text(STORABLE, max_size=20).filter(lambda key: key not in ("wrapper_phase", "skipped")),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-BOUND, BOUND)
        | st.decimals(-1000, 1000, places=3).map(float)
        | st.text(STORABLE),
        lambda children: (
            st.lists(children, max_size=3) | st.dictionaries(st.text("abc", max_size=3), children, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=4,
)
payloads = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["prepared", "started", "completed", "failed", "skipped"]),
        "actor": codes,
        "parent_run_id": st.none() | st.uuids(version=4),
        "input_ref": st.none() | refs,
        "output_ref": st.none() | refs,
        "error_ref": st.none() | refs,
        "evidence_ref": evidence,
    }
)

# Text as people and attackers write it: anything, and legal names with something slipped in.
hostile = st.text(ANY, max_size=300) | st.builds(
    lambda name, slipped, at: name[: at % (len(name) + 1)] + slipped + name[at % (len(name) + 1) :],
    codes,
    st.sampled_from(list("\0\t\n \u00a0\u200b\ufeff\u202e\u0430\uff41\u0661'\";\\%")),
    st.integers(0, 200),
)


def observed(connection: Connection, payload: dict[str, Any], **attempt: object) -> dict[str, Any]:
    """One attempt at a payload: run id and correlation id are the attempt's own."""
    given_payload = {**payload, "evidence_ref": Jsonb(payload["evidence_ref"])}
    return observe_run(connection, **given_payload, correlation_id=f"corr-{uuid.uuid4()}", **attempt)


@IN_BOTH_STATES
@given(key=codes, payload=payloads, attempts=st.integers(2, 4))
def test_the_same_key_and_payload_is_one_run(db: Database, key: str, payload: dict[str, Any], attempts: int) -> None:
    writer, reader = prepared(db)
    key = f"{uuid.uuid4()}:{key}"[:200]
    answers = [observed(writer, payload, idempotency_key=key) for _ in range(attempts)]
    assert [answer["created"] for answer in answers] == [True] + [False] * (attempts - 1)
    assert len({(answer["process_run_id"], answer["correlation_id"]) for answer in answers}) == 1
    assert value(reader, "select count(*) from dot.v_process_run where idempotency_key = %s", key) == 1


@IN_BOTH_STATES
@given(payload=payloads, other=payloads)
def test_the_same_key_and_another_payload_is_refused_naming_exactly_what_differs(
    db: Database, payload: dict[str, Any], other: dict[str, Any]
) -> None:
    differing = [name for name in payload if payload[name] != other[name]]
    # The status puts its flag into the stored evidence: the two differ together. The amendment stores the word and no flag.
    flagged = set() if db.amended else {"prepared", "skipped"} & {payload["status"], other["status"]}
    if payload["status"] != other["status"] and flagged and "evidence_ref" not in differing:
        differing.append("evidence_ref")
    assume(differing)
    writer, reader = prepared(db)
    key = f"mismatch:{uuid.uuid4()}"
    first = observed(writer, payload, idempotency_key=key)
    try:
        observed(writer, other, idempotency_key=key)
    except psycopg.errors.UniqueViolation as error:
        assert error.diag.constraint_name == "idempotency_payload_mismatch"
        said = re.search(r"Differing fields: (.*)\.", str(error.diag.message_detail))
        assert said is not None
        assert set(said.group(1).split(", ")) == set(differing)
    else:
        raise AssertionError(f"accepted although {differing} differ")
    stored = value(reader, "select process_run_id from dot.v_process_run where idempotency_key = %s", key)
    assert stored == first["process_run_id"]


@given(
    field=st.sampled_from(
        [
            "process_candidate_code",
            "dot_code",
            "correlation_id",
            "actor",
            "idempotency_key",
            "input_ref",
            "output_ref",
            "error_ref",
        ]
    ),
    text=hostile,
)
@example(field="actor", text="ana\n")
@example(field="actor", text="")
@example(field="idempotency_key", text="a" * 201)
@example(field="input_ref", text="a" * 1025)
def test_a_text_is_stored_as_it_is_or_refused_by_its_own_name(db: Database, field: str, text: str) -> None:
    writer, reader = prepared(db)
    legal = bool(REF.fullmatch(text)) and len(text) <= 1024 if field.endswith("_ref") else is_code(text)
    run_id = uuid.uuid4()
    known = {"process_candidate_code": PAIR, "dot_code": PRODUCER}
    try:
        observe_run(writer, **{"process_run_id": run_id, field: text})
    except psycopg.errors.CheckViolation as error:
        # A legal name of a DOT that is not this candidate's producer is refused as that.
        expected = f"process_run_observation_{field}_check" if not legal else "process_run_observation_producer_check"
        assert error.diag.constraint_name == expected
        assert not legal or field == "dot_code"
        stored = False
    except psycopg.errors.ForeignKeyViolation as error:
        assert error.diag.constraint_name == f"process_run_observation_{field}_fkey"
        assert legal
        stored = False
    except psycopg.DataError:
        assert "\0" in text
        stored = False
    else:
        assert legal
        assert text == known.get(field, text)
        stored = True
    found = reader.execute("select * from dot.v_process_run where process_run_id = %s", (run_id,)).fetchall()
    assert [one[field] for one in found] == ([text] if stored else [])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(ANY, max_size=60),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(ANY, max_size=8), children, max_size=4),
    max_leaves=12,
)


@given(document=json_values)
@example(document={"wrapper_phase": "prepared"})
@example(document={"skipped": False})
@example(document={"n": 2**53})
@example(document={"n": 0.25})
@example(document={"n": 1.2345678901234567e-07})
@example(document={"n": 1e-25})
@example(document={"n": 5e-324})
@example(document={"deep": [{"n": 1e300}]})
@example(document={"text": "x" * 8192})
@example(document=[])
def test_evidence_is_an_object_with_bounded_numbers_or_refused(db: Database, document: Any) -> None:
    writer, reader = prepared(db)
    run_id = uuid.uuid4()
    try:
        observe_run(writer, process_run_id=run_id, evidence_ref=Jsonb(document))
    except psycopg.errors.CheckViolation as error:
        assert not is_evidence(document)
        reserved = isinstance(document, dict) and bool({"wrapper_phase", "skipped"} & document.keys())
        names = ["process_run_observation_evidence_ref_check"]
        names += ["process_run_observation_evidence_ref_reserved_check"] if reserved else []
        assert error.diag.constraint_name in names
    except psycopg.DataError:
        # NUL and lone surrogates are no jsonb at all.
        assert re.search(r"\\u0000|\\ud[89a-f]", json.dumps(document))
    else:
        assert is_evidence(document)
        stored = value(reader, "select evidence_ref from dot.v_process_run where process_run_id = %s", run_id)
        assert stored == document
        return
    assert value(reader, "select count(*) from dot.v_process_run where process_run_id = %s", run_id) == 0


SPELLINGS = ("{:f}", "{:f}0", "{:f}000", "{:e}", "{:.20f}")
numbers = st.decimals(-1000, 1000, places=3)


@given(number=numbers, other=numbers | st.none(), spelled=st.sampled_from(SPELLINGS), again=st.sampled_from(SPELLINGS))
@example(number=Decimal("1.000"), other=None, spelled="{:.0f}", again="{:.2f}")
@example(number=Decimal("1.000"), other=Decimal("1.1"), spelled="{:.0f}", again="{:f}")
@example(number=Decimal("0.000"), other=Decimal("-0.0"), spelled="{:f}", again="{:f}")
def test_the_same_key_with_another_number_is_a_mismatch_and_with_another_spelling_of_it_a_replay(
    db: Database, number: Decimal, other: Decimal | None, spelled: str, again: str
) -> None:
    writer, _ = prepared(db)
    other = number if other is None else other
    key, run_id = str(uuid.uuid4()), uuid.uuid4()
    arguments = {"process_run_id": run_id, "idempotency_key": key}
    first = observe_run(writer, **arguments, evidence_ref=f'{{"n": [{spelled.format(number)}]}}')
    assert first["created"]
    second = f'{{"n": [{again.format(other)}]}}'
    if number == other:
        assert observe_run(writer, **arguments, evidence_ref=second)["created"] is False
    else:
        with refused("23505", "idempotency_payload_mismatch", "evidence_ref"):
            observe_run(writer, **arguments, evidence_ref=second)


@given(
    argument=st.sampled_from(
        [
            "process_candidate_code",
            "dot_code",
            "process_run_id",
            "correlation_id",
            "evidence_type",
            "dry_run",
            "status",
            "actor",
            "evidence_ref",
        ]
    ),
    payload=payloads,
)
def test_null_is_never_replaced_by_a_default(db: Database, argument: str, payload: dict[str, Any]) -> None:
    writer, reader = prepared(db)
    before = value(reader, "select count(*) from dot.v_process_run")
    arguments = {**payload, "evidence_ref": Jsonb(payload["evidence_ref"]), argument: None}
    try:
        observe_run(writer, **arguments)
    except psycopg.errors.NotNullViolation as error:
        assert error.diag.constraint_name == f"process_run_observation_{argument}_not_null"
    else:
        raise AssertionError(f"{argument} NULL was accepted")
    assert value(reader, "select count(*) from dot.v_process_run") == before


gate_values = st.one_of(
    st.none(),
    st.sampled_from(
        ["true", "true", "true", "TRUE", "True", "t", "1", "yes", "on", " true", "true ", "true\n", "false", ""]
    ),
    st.text(STORABLE, max_size=8),
    st.builds(
        lambda at, slipped: "true"[:at] + slipped + "true"[at:],
        st.integers(0, 4),
        st.sampled_from(["\u200b", "\ufeff", "\u00ad", "\t", "\uff54", "\u0442"]),
    ),
)


@given(
    values=st.tuples(gate_values, gate_values, gate_values),
    present=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    evidence_type=st.sampled_from(["DRY_RUN", "REAL_RUN"]),
)
@example(values=("true", "true", "true"), present=(True, True, True), evidence_type="REAL_RUN")
@example(values=("true", "true", "false"), present=(True, True, True), evidence_type="DRY_RUN")
@example(values=("true", "true", None), present=(True, True, False), evidence_type="REAL_RUN")
def test_a_run_above_a_simulation_gets_in_only_where_each_gate_it_needs_is_exactly_true(
    db: Database,
    values: tuple[str | None, str | None, str | None],
    present: tuple[bool, bool, bool],
    evidence_type: str,
) -> None:
    db.once(ready_for_real_runs)
    db.once(take_lease)
    owner, writer = db.session("owner"), db.session("writer")
    for gate, text, is_there in zip(GATES, values, present, strict=True):
        owner.execute("delete from dot.dot_config where key = %s", (gate,))
        if is_there:
            owner.execute("insert into dot.dot_config (key, value) values (%s, %s)", (gate, text))
    stored = [text if is_there else None for text, is_there in zip(values, present, strict=True)]
    needed = GATES if evidence_type == "REAL_RUN" else GATES[:2]
    closed = [gate for gate, text in zip(needed, stored, strict=False) if text != "true"]
    # A gate with a value that is neither true nor false blocks in preflight, for each gate.
    unreadable = any(text not in ("true", "false") for text in stored)
    run_id = uuid.uuid4()
    try:
        observe_run(writer, process_run_id=run_id, evidence_type=evidence_type, lease_token=1)
    except psycopg.errors.CheckViolation as error:
        if closed:
            assert error.diag.constraint_name == f"gate_{closed[0].split('.')[1]}_check"
        else:
            assert error.diag.constraint_name == "preflight_check"
            assert unreadable
        accepted = False
    else:
        assert not closed
        assert not unreadable
        accepted = True
    found = (
        db.session("reader").execute("select 1 from dot.v_process_run where process_run_id = %s", (run_id,)).fetchall()
    )
    assert bool(found) is accepted


@given(evidence_type=st.text(STORABLE, max_size=20), dry_run=st.booleans())
@example(evidence_type="REAL_RUN", dry_run=True)
@example(evidence_type="real_run", dry_run=False)
@example(evidence_type="REAL_RUN ", dry_run=False)
@example(evidence_type="DRY_RUN", dry_run=False)
def test_no_spelling_of_the_evidence_type_slips_past_closed_gates(
    db: Database, evidence_type: str, dry_run: bool
) -> None:
    assume(evidence_type != "SIMULATED_DRY_RUN")
    writer, reader = prepared(db)
    attest(db)
    try:
        observe_run(writer, evidence_type=evidence_type, dry_run=dry_run)
    except psycopg.errors.CheckViolation:
        pass
    else:
        raise AssertionError(f"{evidence_type!r} was accepted")
    assert value(reader, "select count(*) from dot.v_process_run where evidence_type <> 'SIMULATED_DRY_RUN'") == 0


@IN_BOTH_STATES
@given(
    role=st.sampled_from(["producer", "verifier"]),
    status=st.sampled_from(["prepared", "started", "completed", "failed", "skipped"]),
    payload=payloads,
)
def test_a_component_is_idempotent_too(db: Database, role: str, status: str, payload: dict[str, Any]) -> None:
    writer, reader = prepared(db)
    key = f"component:{uuid.uuid4()}"
    run = observe_run(writer)
    arguments = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER if role == "producer" else VERIFIER,
        "process_run_id": run["process_run_id"],
        "correlation_id": run["correlation_id"],
        "component_role": role,
        "status": status,
        "actor": payload["actor"],
        "idempotency_key": key,
        "input_ref": payload["input_ref"],
        "output_ref": payload["output_ref"],
        "error_ref": payload["error_ref"],
        "evidence_ref": Jsonb(payload["evidence_ref"]),
    }
    first = call(writer, "fn_process_component_observe", arguments)
    again = call(writer, "fn_process_component_observe", arguments)
    assert (first["created"], again["created"]) == (True, False)
    assert first["component_id"] == again["component_id"]
    assert value(reader, "select count(*) from dot.v_process_run_component where idempotency_key = %s", key) == 1


def is_code(text: str) -> bool:
    return bool(CODE.fullmatch(text)) and len(text) <= 200


def is_evidence(document: Any) -> bool:
    """An object, no reserved key, numbers of at most 24 decimals and bounded, at most 8,192 bytes of text."""
    if not isinstance(document, dict) or {"wrapper_phase", "skipped"} & document.keys():
        return False
    # PostgreSQL prints a jsonb with a blank after each comma and colon, as json.dumps does, and not ASCII alone; these documents
    # are so far from the bound, or without numbers, that it does not matter how one is printed.
    return bounded(document) and len(json.dumps(document, ensure_ascii=False).encode()) <= 8192


def bounded(node: Any) -> bool:
    if isinstance(node, bool):
        return True
    if isinstance(node, int | float):
        return abs(node) <= BOUND and (Fraction(repr(node)) * 10**24).denominator == 1
    if isinstance(node, list):
        return all(map(bounded, node))
    return not isinstance(node, dict) or all(map(bounded, node.values()))


def take_lease(db: Database) -> None:
    """The writer takes the pair's lease for an hour, under token 1."""
    assert acquire(db.session("writer"), seconds=3600) == 1


def prepared(db: Database) -> tuple[Connection, Connection]:
    """The pair, and connections as writer and reader; made for the first example of a test."""
    db.once(define_pair)
    return db.session("writer"), db.session("reader")
