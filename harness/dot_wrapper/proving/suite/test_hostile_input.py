"""Both observe functions against whatever people and attackers send: refused for exactly what the model refuses it for."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dot_wrapper.proving import model
from dot_wrapper.proving.legal import RUN_ID, component, header, ready
from dot_wrapper.proving.searching import STORABLE
from dot_wrapper.proving.support import (
    GATES,
    IN_BOTH_STATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    define_pair,
    ledger_counts,
    observe_component,
    observe_run,
)
from dot_wrapper.proving.twin import STRANGER, Twin

NIL, MAX = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)

SLIPPED = [
    *"\t\n\r \u00a0\u200b\u200d\ufeff\u202e\u2066\u3164\u0301\u00ad\u0430\uff41\u0661\u6771\u05d0'\";\\%$,",
    "'; drop table dot.process_run_observation; --",
    "\r\n",
    "\U0001f600",
    "\U000e0041",
]
texts = st.one_of(
    st.text(STORABLE, max_size=40),
    st.builds(
        lambda name, slipped, at: name[:at] + slipped + name[at:],
        st.sampled_from(["ok", "REAL_RUN", "started", "producer", PRODUCER]),
        st.sampled_from(SLIPPED),
        st.integers(0, 8),
    ),
    st.builds(lambda letter, length: letter * length, st.sampled_from(["a", ".", "é"]), st.sampled_from([199, 200, 201, 240, 241])),
    st.builds(lambda letter, length: letter * length, st.sampled_from(["a", "~", "é"]), st.sampled_from([1023, 1024, 1025, 100_000])),
)  # fmt: skip
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(-1e6, 1e6)
    | st.sampled_from([2**53 - 1, -(2**53), 0.5, 1e-24, 1e-25, 5e-324, 1e300, 10**400, 3.0])
    | st.text(STORABLE, max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(STORABLE, max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)
evidence = st.one_of(
    documents,
    st.dictionaries(st.sampled_from(["wrapper_phase", "skipped", "attempt", "ok"]), documents, max_size=2),
    st.builds(lambda length: {"a": "x" * length}, st.sampled_from([8183, 8184])),
    st.builds(lambda number: {str(key): key for key in range(number)}, st.sampled_from([500, 5000])),
)
ids = st.sampled_from([NIL, MAX, RUN_ID, uuid.UUID(int=2)])

HOSTILE: dict[str, st.SearchStrategy[Any]] = {
    "process_candidate_code": texts,
    "dot_code": texts | st.sampled_from([PRODUCER, VERIFIER, STRANGER, PRODUCER.upper()]),
    "process_run_id": ids,
    "correlation_id": texts | st.just("corr-2"),
    "evidence_type": texts | st.sampled_from([*model.LADDER, "real_run", "REAL", "true"]),
    "dry_run": st.booleans(),
    "component_role": texts | st.sampled_from(["producer", "verifier", "Producer", "both"]),
    "status": texts | st.sampled_from([*model.RUN_WORDS, "blocked", "observed", "cancelled", "STARTED"]),
    "actor": texts,
    "idempotency_key": texts,
    "parent_run_id": ids,
    "input_ref": texts,
    "output_ref": texts,
    "error_ref": texts,
    "evidence_ref": evidence,
    "occurred_at": st.datetimes(timezones=st.just(UTC))
    | st.sampled_from(["infinity", "-infinity", "10000-01-01Z", "0001-01-01Z BC"]),
    "lease_token": st.sampled_from([0, 1, -1, 2**63 - 1]),
}
TEXTS = [name for name, values in HOSTILE.items() if name.endswith(("code", "ref", "key", "type", "role")) or name in (
    "correlation_id", "status", "actor")]  # fmt: skip
OF_RUN = [name for name in HOSTILE if name != "component_role"]
OF_COMPONENT = [name for name in HOSTILE if name not in ("evidence_type", "dry_run", "parent_run_id")]


@st.composite
def hostile_arguments(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    """One to three arguments that are hostile, or NULL, each."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return {name: draw(st.none() | HOSTILE[name] | HOSTILE[name] | HOSTILE[name]) for name in chosen}


@IN_BOTH_STATES
@given(hostile=hostile_arguments(OF_RUN), real=st.booleans())
@example(hostile={"evidence_type": None, "parent_run_id": NIL, "status": "prepared"}, real=True)
@example(hostile={"evidence_ref": {"skipped": None}, "error_ref": "a b"}, real=False)
@example(hostile={"occurred_at": "10000-01-01Z"}, real=False)
@example(hostile={"occurred_at": datetime(1, 1, 1, tzinfo=UTC)}, real=False)
def test_a_hostile_run_is_stored_or_refused_as_the_model_says(
    db: Database, hostile: dict[str, Any], real: bool
) -> None:
    twin = ready(db) if real else Twin(db)
    evidence_type = model.REAL if real else model.SIMULATED
    twin.observe_run("writer", **{**header(twin, evidence_type), **hostile})
    twin.compare()


@given(hostile=hostile_arguments(OF_COMPONENT), real=st.booleans(), role=st.sampled_from(["producer", "verifier"]))
@example(hostile={"idempotency_key": "k" * 240}, real=False, role="producer")
@example(hostile={"idempotency_key": "k" * 241}, real=False, role="verifier")
@example(hostile={"component_role": None, "status": "blocked"}, real=False, role="producer")
def test_a_hostile_component_is_stored_or_refused_as_the_model_says(
    db: Database, hostile: dict[str, Any], real: bool, role: str
) -> None:
    twin = ready(db) if real else Twin(db)
    twin.observe_run("writer", **header(twin, model.REAL if real else model.SIMULATED))
    twin.observe_component("writer", **{**component(twin, role, real=real), **hostile})
    twin.compare()


look_alikes = st.none() | st.text(STORABLE, max_size=6) | st.builds(
    lambda at, slipped: "true"[:at] + slipped + "true"[at:], st.integers(0, 4), st.sampled_from(SLIPPED)
) | st.sampled_from(["true", "true", "TRUE", "True", "t", "1", "yes", "on", "false", "\uff54rue", "tru\u0435"])  # fmt: skip


@given(gate=st.sampled_from(GATES), value=look_alikes, evidence_type=st.sampled_from([model.DRY, model.REAL]))
def test_no_look_alike_of_true_lets_a_component_in(
    db: Database, gate: str, value: str | None, evidence_type: str
) -> None:
    twin = ready(db)
    twin.observe_run("writer", **header(twin, evidence_type))
    twin.edit_gate(gate, value)
    outcome = twin.observe_component("writer", **component(twin, "producer", real=True))
    assert (outcome[0] == "told") is (value == "true" or (value == "false" and needless(gate, evidence_type)))


def needless(gate: str, evidence_type: str) -> bool:
    """A DRY_RUN does not need the gate of real runs, as long as that has one of its two values."""
    return evidence_type == model.DRY and gate == GATES[2]


def test_no_text_argument_takes_a_nul(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]
    before = ledger_counts(db)
    for names, observe in (
        (OF_RUN, partial(observe_run, writer)),
        (OF_COMPONENT, partial(observe_component, writer, run_id, "producer")),
    ):
        for name in set(TEXTS) & set(names):
            hostile = '{"a": "\\u0000"}' if name == "evidence_ref" else "ok\0"
            with subtests.test(observe=observe.func.__name__, argument=name), pytest.raises(psycopg.DataError):
                observe(**{name: hostile})
    assert ledger_counts(db) == before


BOMBS = {
    "deep array": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "just too deep for 8 KB": '{"a": ' + "[" * 4093 + "]" * 4093 + "}",
    "huge numbers": '{"a": [' + ", ".join(["1e131071"] * 20_000) + "]}",
    "tiny numbers": '{"a": [' + ", ".join(["1e-16383"] * 20_000) + "]}",
    "long number": '{"a": ' + "9" * 100_000 + "}",
    "many keys": "{" + ", ".join(f'"{key}": {key}' for key in range(200_000)) + "}",
    "one key many times, long": "{" + ", ".join(['"a": 1'] * 200_000) + ', "b": "' + "x" * 8200 + '"}',
    "long key": '{"' + "k" * 1_000_000 + '": 1}',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bomb_of_json_is_stored_or_takes_long(db: Database, bomb: str) -> None:
    """How long is beside what the server needs to parse the text, and to log it where it logs statements: it may be slow or busy."""
    define_pair(db)
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]
    before = ledger_counts(db)
    writer.execute("set statement_timeout = '2min'")
    started = time.monotonic()
    with suppress(psycopg.Error):
        writer.execute("select %s::jsonb is null", (BOMBS[bomb],))
    longest = 5 + 3 * (time.monotonic() - started)
    for observe in (partial(observe_run, writer), partial(observe_component, writer, run_id, "producer")):
        started = time.monotonic()
        with pytest.raises(psycopg.Error) as caught:
            observe(evidence_ref=BOMBS[bomb])
        # Too deep for the parser, or not evidence, or too long for a server that logs each statement; never the time limit.
        assert caught.value.sqlstate in ("54001", "23514", "54000")
        assert time.monotonic() - started < longest
    assert ledger_counts(db) == before


def test_evidence_as_deep_as_8_kb_allow_is_stored_and_shown(db: Database) -> None:
    define_pair(db, PAIR)
    writer, reader = db.connect("writer"), db.connect("reader")
    observe_run(writer, evidence_ref='{"a": ' + "[" * 4092 + "]" * 4092 + "}")
    shown = reader.execute("select evidence_ref::text as text from dot.v_process_run").fetchone()
    assert shown is not None
    assert len(shown["text"]) == 8191
