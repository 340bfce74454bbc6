"""`dot-wrapper record`: what a line may say, that one bad line costs no other line, and that a restart ends in the same ledger."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import jsonschema
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dot_wrapper import cli
from dot_wrapper.client import database, errors
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.files import ROOT
from dot_wrapper.sources.bulk import CHUNK
from dot_wrapper.sources.ndjson import recorder as record
from dot_wrapper.sources.ndjson.reader import Line, LineProblem, json_schema, parse
from dot_wrapper.text import escape_control_characters
from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Database,
    DotWrapper,
    define_pair,
    ledger_counts,
    observe_run,
    row,
    rows,
    value,
    wait_until,
)

SCHEMA = ROOT / "docs" / "reference" / "observation.schema.json"
Lines = list[dict[str, Any]]

WRITES = "select exists (select from pg_stat_activity where usename = %s and backend_xid is not null)"
ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"


def run_line(**replaced: object) -> dict[str, Any]:
    """A legal run line: a started simulation of the pair under a key."""
    line = {
        "record": "run",
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "idempotency_key": "key-1",
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": True,
        "status": "started",
        "actor": "tester",
    }
    return line | replaced


def component_line(role: str = "producer", **replaced: object) -> dict[str, Any]:
    """A legal component line of the same run."""
    dot_code = PRODUCER if role == "producer" else VERIFIER
    return run_line(record="component", role=role, dot_code=dot_code, status="completed") | replaced


def evidence_line(evidence: bytes) -> bytes:
    """A run line with evidence as it is written."""
    return json.dumps(run_line(evidence_ref=None)).encode().replace(b"null", evidence)


def whole_runs(count: int, **replaced: object) -> Lines:
    """Three lines per run, of which every other run has no id of its own."""
    lines: Lines = []
    for number in range(count):
        run = {"idempotency_key": f"key-{number}", "correlation_id": f"corr-{number}", **replaced}
        if number % 2:
            run["process_run_id"] = str(uuid.UUID(int=(7 << 76) | (2 << 62) | number + 1))
        lines += [run_line(**run), component_line("producer", **run), component_line("verifier", **run)]
    return lines


def ndjson(lines: Lines) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def recorded(ledger: Ledger, text: bytes, **options: Any) -> tuple[record.RecordSummary, list[record.RefusedLine]]:
    told: list[record.RefusedLine] = []
    return record.record(ledger, io.BytesIO(text), refused=told.append, **options), told


def stored(db: Database) -> list[dict[str, Any]]:
    """The ledger without what differs from one recording to the next: times, component ids, transactions."""
    reader = db.connect("reader")
    query = """
        select r.process_run_id, r.parent_run_id, r.correlation_id as run_correlation_id, r.evidence_type, r.dry_run,
            r.status as run_status, r.actor as run_actor, r.idempotency_key as run_key, r.end_state,
            r.evidence_ref as run_evidence, r.occurred_at as run_occurred_at, c.component_role, c.status,
            c.idempotency_key, c.input_ref, c.output_ref, c.error_ref, c.evidence_ref, c.occurred_at
        from dot.v_process_run as r
        left join dot.v_process_run_component as c using (process_candidate_code, process_run_id)
        order by r.process_run_id, c.component_role
    """
    return rows(reader, query)


def test_every_field_of_a_line_is_stored(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    run_id, parent = str(uuid.uuid4()), str(uuid.uuid4())
    refs: dict[str, Any] = {
        "input_ref": "s3://in",
        "output_ref": "s3://out",
        "error_ref": "log:1",
        "evidence_ref": {"rows": 3, "of": ["a", None, {"b": True}]},
        "occurred_at": "2026-11-21T09:30:00.25+01:00",
    }
    lines = [
        run_line(process_run_id=run_id, parent_run_id=parent, **refs),
        component_line("producer", process_run_id=run_id, **refs),
        component_line("verifier", process_run_id=run_id, status="skipped", **refs),
    ]
    summary, told = recorded(ledger, ndjson(lines))
    assert (summary.lines, summary.runs_created, summary.components_created, told) == (3, 1, 2, [])
    producer, verifier = stored(db)
    for component, role, status in ((producer, "producer", "step_completed"), (verifier, "verifier", "cancelled")):
        assert component["process_run_id"] == uuid.UUID(run_id)
        assert component["parent_run_id"] == uuid.UUID(parent)
        assert component["run_correlation_id"] == "corr-1"
        assert (component["component_role"], component["status"]) == (role, status)
        assert {name: component[name] for name in ("input_ref", "output_ref", "error_ref")} == {
            name: refs[name] for name in ("input_ref", "output_ref", "error_ref")
        }
        assert component["run_evidence"] == refs["evidence_ref"]
        assert component["occurred_at"] == component["run_occurred_at"] == datetime.fromisoformat(refs["occurred_at"])
    assert producer["evidence_ref"] == refs["evidence_ref"]
    assert verifier["evidence_ref"] == {"rows": 3, "of": ["a", None, {"b": True}], "skipped": True}
    assert producer["idempotency_key"] == "key-1:producer:completed"
    assert producer["end_state"] == "skipped"


def test_a_run_without_an_id_is_found_by_its_components(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    summary, told = recorded(ledger, ndjson([run_line(), component_line("producer"), component_line("verifier")]))
    assert (summary.runs_created, summary.components_created, told) == (1, 2, [])
    assert value(db.connect("reader"), "select end_state from dot.v_process_run") == "completed"


def test_a_run_without_a_key_is_a_replay_the_second_time(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    given = {"idempotency_key": None, "process_run_id": str(uuid.uuid4())}
    text = ndjson([run_line(**given), component_line("producer", **given)])
    assert recorded(ledger, text)[0].runs_created == 1
    before = ledger_counts(db)
    summary, told = recorded(ledger, text)
    assert (summary.recorded_before, summary.runs_created, told) == (2, 0, [])
    assert ledger_counts(db) == before


@pytest.mark.parametrize("evidence_type", ["DRY_RUN", "REAL_RUN", "simulated_dry_run", None, 1])
@pytest.mark.parametrize("line", [run_line, component_line])
def test_only_simulations_are_recorded(line: Callable[..., dict[str, Any]], evidence_type: object) -> None:
    with pytest.raises(LineProblem) as refused:
        parse(json.dumps(line(evidence_type=evidence_type)).encode())
    assert refused.value.field == "evidence_type"


def test_a_line_that_a_restart_would_record_twice_is_refused() -> None:
    for line in (run_line(idempotency_key=None), component_line(idempotency_key=None)):
        with pytest.raises(LineProblem, match="a restart would record the line twice"):
            parse(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (b"{", None, "not JSON"),
        (b"[]", None, "expected an object"),
        (b"null", None, "expected an object"),
        (b"\xff", None, "not UTF-8"),
        (b'{"record":"run","record":"run"}', None, "duplicate key 'record'"),
        (evidence_line(b'{"a": 1, "a": 2}'), None, "duplicate key 'a'"),
        (evidence_line(b'{"a" :1, "b": [{"c": "\\":", "a": 1, "a"\t: 2}]}'), None, "duplicate key 'a'"),
        (evidence_line(b'{"a": [1.5, 0.10000000000000000555]}'), None, "more digits than can be stored"),
        (evidence_line(b'{"a": [NaN]}'), None, "not a JSON number"),
        (b'{"record":"pair"}', "record", "run or component"),
        (b"{}", "record", "run or component"),
        (b"[" * 50_000, None, "nested too deeply"),
        (evidence_line(b'{"a": ' * 300 + b"1" + b"}" * 300), "evidence_ref", "nested too deeply"),
        (evidence_line(b'{"a": "\\u0000"}'), "evidence_ref", "no database can store: NUL"),
        (evidence_line(b'{"a": [{"b": "\\ud800"}]}'), "evidence_ref", "half of a surrogate pair"),
        (evidence_line(b'{"\\udfff": 1.5}'), "evidence_ref", "half of a surrogate pair"),
        (b'{"a":NaN}', None, "not a JSON number"),
        (b'{"a":1.00000000000000000001}', None, "more digits than can be stored"),
        (b'{"a":1e999}', None, "more digits than can be stored"),
        (b'{"a":1e99999999999999999999}', None, "more digits than can be stored"),
        (b'{"a":' + b"9" * 5000 + b"}", None, "digits"),
        (json.dumps(run_line(dry_run=1)).encode(), "dry_run", "boolean"),
        (json.dumps(run_line(dry_run="true")).encode(), "dry_run", "boolean"),
        (json.dumps(run_line(dry_run=False)).encode(), "dry_run", "a simulated run is a dry run"),
        (json.dumps(run_line(status="blocked")).encode(), "status", "prepared"),
        (json.dumps(run_line(actor="new\nline")).encode(), "actor", "pattern"),
        (json.dumps(run_line(actor="ana\n")).encode(), "actor", "pattern"),
        (json.dumps(run_line(actor=None)).encode(), "actor", "string"),
        (json.dumps(run_line(actor="\ud800")).encode(), "actor", "half of a surrogate pair"),
        (json.dumps(run_line(lease_token=1)).encode(), "lease_token", "not permitted"),
        (json.dumps(run_line(role="producer")).encode(), "role", "null or left out"),
        (json.dumps(run_line(process_run_id="{0198c0de-0000-7000-8000-000000000001}")).encode(), "process_run_id", ""),
        (json.dumps(component_line(role="watcher")).encode(), "role", "producer"),
        (json.dumps(component_line(parent_run_id=str(uuid.uuid4()))).encode(), "parent_run_id", "null or left out"),
        (json.dumps(run_line(evidence_ref=["a"])).encode(), "evidence_ref", "expected an object"),
        (json.dumps(run_line(occurred_at="2026-11-21T09:30:00")).encode(), "occurred_at", "not a time with a zone"),
        (json.dumps(run_line(occurred_at="2026-11-21T09:30:00.1234567Z")).encode(), "occurred_at", "not a time"),
        (json.dumps(run_line(occurred_at="2026-02-30T09:30:00Z")).encode(), "occurred_at", "day is out of range"),
        (
            json.dumps(run_line(occurred_at="2026-11-21T09:30:00+99:00")).encode(),
            "occurred_at",
            "not a time with a zone",
        ),
        (
            json.dumps(run_line(occurred_at="2026-11-21T09:30:00-16:00")).encode(),
            "occurred_at",
            "not a time with a zone",
        ),
        (json.dumps(run_line(occurred_at="infinity")).encode(), "occurred_at", "not a time with a zone"),
        (json.dumps(run_line(occurred_at=1795253400)).encode(), "occurred_at", "datetime"),
    ],
)
def test_a_line_that_is_no_observation_says_why(text: bytes, field: str | None, reason: str) -> None:
    with pytest.raises(LineProblem) as refused:
        parse(text)
    assert refused.value.field == field
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "evidence",
    [
        b'{"a" : 1 , "b": {"c": [{"a": "\\":"}]}}',
        b'{"a": [1.5, -0.0, 1e3, 12345678901234567890]}',
        b'{"\\u00e9\\ud83d\\ude00": "\xc3\xa9"}',
        b'{"deep": ' + b"[" * 250 + b"]" * 250 + b"}",
    ],
)
def test_evidence_is_read_as_it_is_written(evidence: bytes) -> None:
    line = parse(evidence_line(evidence))
    assert line.evidence_ref == json.loads(evidence)


def test_what_the_database_refuses_is_told_by_line_and_field_and_the_others_are_recorded(
    db: Database, ledger: Ledger
) -> None:
    define_pair(db)
    good = run_line(idempotency_key="good")
    bad: list[tuple[dict[str, Any], str, str]] = [
        (run_line(idempotency_key="a", dot_code="dot.nobody_knows"), "dot_code", "23503"),
        (run_line(idempotency_key="b", process_candidate_code="no.pair"), "process_candidate_code", "23503"),
        (run_line(idempotency_key="c", dot_code=VERIFIER), "dot_code", "23514"),
        (run_line(idempotency_key="d", evidence_ref={"skipped": True}), "evidence_ref", "23514"),
        (run_line(idempotency_key="e", evidence_ref={"a": 2**60}), "evidence_ref", "23514"),
        (run_line(idempotency_key="g", evidence_ref={"attempt": 2}), "evidence_ref", "23514"),
        (run_line(idempotency_key="good", occurred_at="2026-11-21T09:30:00Z"), "occurred_at", "23505"),
        (run_line(idempotency_key="f", process_run_id=str(uuid.UUID(int=0))), "process_run_id", "23514"),
        (run_line(idempotency_key="good", output_ref="s3://other"), "output_ref", "23505"),
        (component_line(idempotency_key="unknown"), "process_run_id", "23503"),
        (component_line(idempotency_key="good", correlation_id="other"), "correlation_id", "23514"),
        (component_line("verifier", idempotency_key="good", dot_code=PRODUCER), "dot_code", "23514"),
    ]
    last = component_line(idempotency_key="good")
    summary, told = recorded(ledger, ndjson([good, *(line for line, _, _ in bad), last]))
    assert [(one.line, one.field, one.sqlstate) for one in told if one.sqlstate] == [
        (number, field, sqlstate) for number, (_, field, sqlstate) in enumerate(bad, 2)
    ]
    assert all(one.reason and one.constraint for one in told)
    assert (summary.lines, summary.refused) == (len(bad) + 2, len(bad))
    assert (summary.runs_created, summary.components_created) == (1, 1)


def test_text_that_the_database_cannot_hold_is_a_refused_line(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    lines = [run_line(idempotency_key="a", evidence_ref={"a": text}) for text in ("\0", "\ud800")]
    summary, told = recorded(ledger, ndjson([*lines, run_line()]))
    assert [(one.line, one.field) for one in told] == [(1, "evidence_ref"), (2, "evidence_ref")]
    assert summary.runs_created == 1


def test_a_refused_line_says_what_to_do(db: Database, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    define_pair(db)
    file = tmp_path / "runs.ndjson"
    file.write_bytes(ndjson([run_line(), run_line(idempotency_key="a", dot_code="dot.unknown"), component_line()]))
    outcome = dot_wrapper("record", str(file), "--json")
    hint = "A cataloguer registers it with fn_dot_tool_register."
    assert outcome.err == f"line 2: dot_code: DOT dot.unknown is not in the catalogue; next: {hint}\n"
    (refusal,) = outcome.json["refusals"]
    assert (refusal["sqlstate"], refusal["constraint"], refusal["hint"]) == (
        "23503",
        "process_run_observation_dot_code_fkey",
        hint,
    )
    assert (outcome.code, outcome.json["runs_created"], outcome.json["components_created"]) == (cli.REFUSED, 1, 1)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_line_that_cannot_be_sent_costs_no_other_one(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """PostgreSQL refuses a whole statement for a NUL in one element of an array. The reader refuses such a line, so it comes in behind it."""

    def parse_and_spoil(text: bytes) -> Line:
        line = parse(text)
        return line.model_copy(update={"evidence_ref": {"text": "a\0"}}) if line.evidence_ref else line

    monkeypatch.setattr(record, "parse", parse_and_spoil)
    define_pair(db)
    lines = whole_runs(CHUNK // 2)
    bad = [7, CHUNK + 3]  # both of a producer
    for index in bad:
        lines[index]["evidence_ref"] = {"text": "to be spoilt"}
    summary, told = recorded(ledger, ndjson(lines), atomic=atomic)
    assert [(one.line, one.sqlstate) for one in told] == [(index + 1, "22P05") for index in bad]
    assert (summary.runs_created, summary.components_created) == (CHUNK // 2, CHUNK - 2)
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == (0 if atomic else CHUNK // 2)


def test_a_line_of_a_known_key_belongs_to_the_run_that_is_stored(db: Database, ledger: Ledger) -> None:
    """The second recording refuses what the first one refused, under the same name."""
    define_pair(db)
    lines = [run_line(), component_line(correlation_id="other"), component_line("verifier")]
    for created in (1, 0):
        summary, told = recorded(ledger, ndjson(lines))
        assert [(one.line, one.field, one.sqlstate) for one in told] == [(2, "correlation_id", "23514")]
        assert (summary.runs_created, summary.components_created) == (created, created)


def test_a_component_of_a_refused_run_names_the_key_and_no_run_id_that_no_line_has(
    db: Database, ledger: Ledger
) -> None:
    define_pair(db)
    _, told = recorded(ledger, ndjson([run_line(dot_code="dot.unknown"), component_line()]))
    assert told[1].reason == f"no run of {PAIR} is recorded under key key-1"
    assert told[1].constraint == "process_component_observation_process_run_id_fkey"
    assert told[1].hint == "The line of a run comes before those of its components."


def test_lines_are_recorded_again_in_any_later_chunk(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    lines = whole_runs(CHUNK // 2)
    summary, told = recorded(ledger, ndjson(lines + lines[::-1] + lines))
    assert (summary.runs_created, summary.components_created, told) == (CHUNK // 2, CHUNK, [])
    assert summary.recorded_before == 2 * len(lines)
    changed = [{**line, "actor": "another"} for line in lines[:3]]
    _, told = recorded(ledger, ndjson(lines + changed))
    assert [(one.line, one.field) for one in told] == [(len(lines) + number, "actor") for number in (1, 2, 3)]


def named(number: int) -> dict[str, Any]:
    return {"process_run_id": str(uuid.UUID(int=number + 1)), "idempotency_key": f"key-{number}"}


@pytest.mark.parametrize("apart", [0, CHUNK])
@pytest.mark.parametrize("by", ["process_run_id", "idempotency_key"])
def test_a_component_before_the_line_of_its_run_is_refused_in_one_chunk_and_in_two(
    db: Database, ledger: Ledger, by: str, apart: int
) -> None:
    define_pair(db)
    run = {by: named(0)[by], **({} if by == "idempotency_key" else {"idempotency_key": None})}
    between = [run_line(**named(number)) for number in range(1, apart + 1)]
    lines = [component_line("verifier", **run), *between, run_line(**run), component_line("producer", **run)]
    summary, told = recorded(ledger, ndjson(lines))
    assert [(one.line, one.field, one.sqlstate) for one in told] == [(1, "process_run_id", "23503")]
    assert (summary.runs_created, summary.components_created) == (apart + 1, 1)
    # Now it has its run.
    summary, told = recorded(ledger, ndjson(lines))
    assert (told, summary.components_created, summary.recorded_before) == ([], 1, apart + 2)


@pytest.mark.parametrize("apart", [0, CHUNK])
def test_a_verifier_is_compared_with_the_producer_before_it_in_one_chunk_and_in_two(
    db: Database, ledger: Ledger, apart: int
) -> None:
    """The batch function alone would store the producer first."""
    with db.connect("cataloguer") as cataloguer:
        for dot in (PRODUCER, VERIFIER):
            cataloguer.execute("select dot.fn_dot_tool_register(%s)", (dot,))
        define = "select dot.fn_process_candidate_define(%s, %s, %s, 'ana', p_pins_output => true)"
        cataloguer.execute(define, (PAIR, PRODUCER, VERIFIER))
    run, between = named(0), [run_line(**named(number)) for number in range(1, apart + 1)]
    verifier = component_line("verifier", **run, input_ref="s3://out")
    lines = [run_line(**run), verifier, *between, component_line("producer", **run, output_ref="s3://out"), verifier]
    summary, told = recorded(ledger, ndjson(lines))
    assert [(one.line, one.field, one.sqlstate) for one in told] == [(2, "input_ref", "23514")]
    assert summary.components_created == 2


@pytest.mark.parametrize(
    "key", [lambda _: 0, lambda line: line["record"] == "component", lambda line: line.get("role", "")]
)
def test_runs_may_be_told_side_by_side(db: Database, ledger: Ledger, key: Callable[[dict[str, Any]], Any]) -> None:
    """A run after another, all headers before all components, and role by role."""
    define_pair(db)
    count = CHUNK * 2 // 3
    summary, told = recorded(ledger, ndjson(sorted(whole_runs(count), key=key)))
    assert (summary.runs_created, summary.components_created, told) == (count, 2 * count, [])
    states = rows(db.connect("reader"), "select distinct end_state from dot.v_process_run")
    assert states == [{"end_state": "completed"}]


def test_lines_of_several_candidates_stand_in_one_file(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    with db.connect("cataloguer") as cataloguer:
        cataloguer.execute("select dot.fn_process_candidate_define('pair.two', %s, %s, 'ana')", (PRODUCER, VERIFIER))
    lines = [
        {**line, "process_candidate_code": code} for line in whole_runs(5) for code in (PAIR, "pair.two", "pair.none")
    ]
    summary, told = recorded(ledger, ndjson(lines))
    assert {(one.field, one.constraint) for one in told} == {
        ("process_candidate_code", "process_run_observation_process_candidate_code_fkey"),
        ("process_candidate_code", "process_component_observation_process_candidate_code_fkey"),
    }
    assert [one.line for one in told] == list(range(3, len(lines) + 1, 3))
    assert (summary.runs_created, summary.components_created) == (10, 20)
    counted = "select process_candidate_code, count(*) from dot.v_process_run where end_state = 'completed' group by 1"
    assert {tuple(one.values()) for one in rows(db.connect("reader"), counted)} == {(PAIR, 5), ("pair.two", 5)}


@pytest.mark.parametrize("atomic", [False, True])
def test_a_file_of_one_line_more_than_the_batch_function_takes(db: Database, ledger: Ledger, atomic: bool) -> None:
    define_pair(db)
    lines = [run_line(idempotency_key=f"key-{number}") for number in range(10_001)]
    lines[5_000]["dot_code"] = "dot.unknown"
    summary, told = recorded(ledger, ndjson(lines), atomic=atomic)
    assert ([one.line for one in told], summary.runs_created, summary.undone) == ([5_001], 10_000, atomic)
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == (0 if atomic else 10_000)


@pytest.mark.parametrize("text", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_records_nothing(ledger: Ledger, text: bytes) -> None:
    for atomic in (False, True):
        assert recorded(ledger, text, atomic=atomic) == (record.RecordSummary(), [])


def test_with_atomic_one_refused_line_undoes_all_and_every_refusal_is_told(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    before = ledger_counts(db)
    lines = whole_runs(CHUNK)
    lines[3]["dot_code"] = "dot.nobody_knows"
    text = ndjson(lines) + b"{\n"
    summary, told = recorded(ledger, text, atomic=True)
    assert summary.undone
    # The run that was refused takes its two components with it.
    assert [one.line for one in told] == [4, 5, 6, len(lines) + 1]
    assert ledger_counts(db) == before
    summary, told = recorded(ledger, ndjson(whole_runs(CHUNK)), atomic=True)
    assert (summary.undone, summary.runs_created, told) == (False, CHUNK, [])
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == CHUNK


def test_with_atomic_a_lost_connection_stores_nothing(db: Database) -> None:
    define_pair(db)
    before = ledger_counts(db)
    creator = db.connect("creator")

    def cut(_count: int) -> None:
        if value(creator, WRITES, db.login("operator")):
            rows(creator, ENDED, db.login("operator"))

    with (
        Ledger(lambda: database.connect(db.url_as("operator"))) as ledger,
        pytest.raises(errors.DatabaseUnavailable),
    ):
        recorded(ledger, ndjson(whole_runs(CHUNK)), atomic=True, progress=cut)
    assert ledger_counts(db) == before


def test_with_atomic_a_serialization_failure_is_an_error_and_no_success(db: Database, ledger: Ledger) -> None:
    """A second attempt would find the stream read, store nothing, and report the first one's figures."""
    define_pair(db)
    db.connect("owner").execute("""
        create function dot.fn_fail() returns trigger language plpgsql as
            'begin raise serialization_failure; end';
        create constraint trigger fail after insert on dot.process_run_observation
            deferrable initially deferred for each row execute function dot.fn_fail()
    """)
    with pytest.raises(errors.RetryExhausted):
        recorded(ledger, ndjson([run_line()]), atomic=True)
    assert stored(db) == []


def test_a_component_finds_its_run_by_key_whatever_the_run_s_id_is(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    known = str(observe_run(db.connect("writer"), idempotency_key="key-1")["process_run_id"])
    named = str(uuid.uuid4())
    lines = [
        run_line(),  # recorded before, under another id
        component_line("producer"),
        run_line(idempotency_key="key-2", process_run_id=named),
        component_line("producer", idempotency_key="key-2"),
        component_line("verifier", idempotency_key="key-1"),
    ]
    for atomic in (False, True):
        summary, told = recorded(ledger, ndjson(lines), atomic=atomic)
        assert (summary.refused, told) == (0, [])
    of_run = {str(one["process_run_id"]) for one in stored(db) if one["component_role"]}
    assert of_run == {known, named}


def test_a_component_before_the_line_of_its_run_is_refused_by_name(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    summary, told = recorded(ledger, ndjson([component_line("producer"), run_line()]))
    assert (summary.runs_created, [(one.line, one.field) for one in told]) == (1, [(1, "process_run_id")])


def test_a_recording_that_the_database_stops_says_how_to_go_on_where_something_was_recorded(
    db: Database, ledger: Ledger
) -> None:
    define_pair(db)
    owner = db.connect("owner")

    def stop(_line: record.RefusedLine) -> None:
        owner.execute("revoke usage on schema dot from dot_writer")

    # A chunk is stored before the next one is read, and its line that is no observation stops the rest.
    lines = ndjson([*(run_line(idempotency_key=f"key-{number}") for number in range(CHUNK)), {}, run_line()])
    with pytest.raises(errors.DotWrapperError) as stopped:
        record.record(ledger, io.BytesIO(lines), refused=stop)
    assert stopped.value.__notes__ == [f"lines read: {CHUNK + 2}; what was recorded stays: record the same file again"]
    assert len(stored(db)) == CHUNK


def test_a_recording_that_never_began_says_nothing_of_what_was_recorded(
    db: Database, empty_url: str, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    define_pair(db)
    file = tmp_path / "one.ndjson"
    file.write_bytes(ndjson([run_line()]))
    for url in (db.url_as("reader"), empty_url, f"postgresql:///nowhere?host={tmp_path}"):
        monkeypatch.setenv("DATABASE_URL", url)
        outcome = dot_wrapper("record", str(file))
        assert (outcome.code, "recorded" in outcome.err) == (cli.FAILED, False), outcome


def test_a_connection_that_is_lost_in_the_middle_is_opened_again(db: Database) -> None:
    define_pair(db)
    creator = db.connect("creator")
    opened = []

    def connect() -> psycopg.Connection[Any]:
        opened.append(database.connect(db.url_as("operator")))
        return opened[-1]

    def cut(_count: int) -> None:
        rows(creator, ENDED, db.login("operator"))

    with Ledger(connect) as ledger:
        summary, told = recorded(ledger, ndjson(whole_runs(CHUNK)), progress=cut)
    assert len(opened) > 2
    assert (summary.runs_created, summary.components_created, told) == (CHUNK, 2 * CHUNK, [])
    assert len(stored(db)) == 2 * CHUNK


def test_a_connection_that_was_opened_again_leaves_nothing_on_standard_error(db: Database, tmp_path: Path) -> None:
    define_pair(db)
    file = tmp_path / "runs.ndjson"
    file.write_bytes(ndjson(whole_runs(10)))
    creator, owner = db.connect("creator"), db.connect("owner")
    owner.execute("begin; lock table dot.process_run_observation in exclusive mode")
    child = subprocess.Popen(
        [Path(sys.executable).parent / "dot-wrapper", "record", file],
        env={**os.environ, "DATABASE_URL": db.url_as("operator")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    stuck = (
        "select exists (select from pg_locks where relation = 'dot.process_run_observation'::regclass and not granted)"
    )
    wait_until(lambda: value(creator, stuck), unless=lambda: child.poll() is not None)
    rows(creator, ENDED, db.login("operator"))  # in the middle of a transaction, which it cannot roll back any more
    owner.execute("rollback")
    _, complaints = child.communicate(timeout=60)
    assert (child.returncode, complaints) == (0, b"")
    assert len(stored(db)) == 20


def test_of_many_refused_lines_each_is_told_and_the_report_holds_the_first_thousand(
    db: Database, dot_wrapper: DotWrapper, tmp_path: Path
) -> None:
    file = tmp_path / "refused.ndjson"
    file.write_text("{}\n" * 1100)
    outcome = dot_wrapper("record", str(file), "--json")
    assert outcome.code == cli.REFUSED
    assert outcome.json["refused"] == len(outcome.err.splitlines()) == 1100
    assert [one["line"] for one in outcome.json["refusals"]] == list(range(1, 1001))


def test_two_recorders_of_one_file_make_one_ledger(db: Database) -> None:
    define_pair(db)
    text = ndjson(whole_runs(CHUNK))
    ready = Barrier(4)

    def one() -> record.RecordSummary:
        with Ledger(lambda: database.connect(db.url_as("operator"))) as ledger:
            ledger.open_gates()  # connected
            ready.wait()
            summary, told = recorded(ledger, text)
            assert told == []
            return summary

    with ThreadPoolExecutor(4) as pool:
        summaries = [future.result() for future in [pool.submit(one) for _ in range(4)]]
    assert sum(summary.runs_created for summary in summaries) == CHUNK
    assert sum(summary.components_created for summary in summaries) == 2 * CHUNK
    assert len(stored(db)) == 2 * CHUNK


def test_killed_half_way_and_started_again_it_ends_in_the_same_ledger(db: Database, tmp_path: Path) -> None:
    define_pair(db)
    file = tmp_path / "runs.ndjson"
    lines = whole_runs(8 * CHUNK)
    file.write_bytes(ndjson(lines))
    program: list[str | Path] = [Path(sys.executable).parent / "dot-wrapper", "record", file]
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    reader = db.connect("reader")
    killed = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL)
    while value(reader, "select count(*) from dot.v_process_run") == 0:
        assert killed.poll() is None, "it was done before it was killed"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    half = value(reader, "select count(*) from dot.v_process_run")
    assert 0 < half < 8 * CHUNK, "the kill came too late to show anything"
    done = subprocess.run([*program, "--json"], env=environment, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["refused"] == 0
    assert 0 < summary["recorded_before"] < summary["lines"]
    resumed = stored(db)
    assert len(resumed) == 2 * 8 * CHUNK
    keys = {(one["run_key"], one["component_role"], one["end_state"]) for one in resumed}
    assert keys == {(f"key-{n}", role, "completed") for n in range(8 * CHUNK) for role in ("producer", "verifier")}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n \n"])
def test_line_ends_blank_lines_and_a_byte_order_mark_are_passed_over(db: Database, ledger: Ledger, ending: str) -> None:
    define_pair(db)
    text = "\ufeff" + ending.join(json.dumps(line) for line in (run_line(), component_line()))
    summary, told = recorded(ledger, text.encode())
    assert (summary.lines, summary.runs_created, summary.components_created, told) == (2, 1, 1, [])


def test_a_line_that_is_too_long_is_refused_and_the_next_one_recorded(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    for long in (b"x" * (record.LINE_LIMIT + 1), b"x" * 10 * record.LINE_LIMIT, b"x" * 2 * record.LINE_LIMIT + b"y"):
        summary, told = recorded(ledger, long + b"\n" + ndjson([run_line()]))
        assert [(one.line, one.reason) for one in told] == [(1, f"it is longer than {record.LINE_LIMIT} bytes")]
        assert summary.lines == 2
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 1


def peak_memory(db: Database, file: Path) -> int:
    """Kilobytes of the largest resident set of a process that records a file."""
    code = (
        "import resource, sys; from dot_wrapper import cli; cli.run(['record', sys.argv[1], '--json']);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    done = subprocess.run(
        [sys.executable, "-c", code, file], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stderr.split()[-1])


def test_memory_does_not_grow_with_the_file(db: Database, tmp_path: Path) -> None:
    define_pair(db)
    file = tmp_path / "large.ndjson"
    evidence = {"text": "x" * 8000}
    file.write_bytes(ndjson([run_line(idempotency_key=f"k{n}", evidence_ref=evidence) for n in range(CHUNK)]))
    small = peak_memory(db, file)
    with file.open("ab") as more:
        for number in range(CHUNK, 10 * CHUNK):
            more.write(ndjson([run_line(idempotency_key=f"k{number}", evidence_ref=evidence)]))
        for _ in range(200):
            more.write(b"x" * 1_000_000)  # one line without an end
    assert file.stat().st_size > 200_000_000
    assert peak_memory(db, file) < small + 15_000
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 10 * CHUNK


def test_the_command_reads_files_and_standard_input_and_says_what_became_of_them(
    db: Database, dot_wrapper: DotWrapper, tmp_path: Path
) -> None:
    define_pair(db)
    file = tmp_path / "runs.ndjson"
    file.write_bytes(ndjson(whole_runs(3)) + b"nonsense\n")
    outcome = dot_wrapper("record", str(file))
    assert outcome.code == cli.REFUSED
    assert outcome.err == "line 10: it is not JSON: Expecting value at character 1\n"
    assert "refused" in outcome.out
    outcome = dot_wrapper("record", str(file), "--json")
    assert outcome.code == cli.REFUSED
    assert outcome.json == {
        "lines": 10,
        "runs_created": 0,
        "components_created": 0,
        "recorded_before": 9,
        "refused": 1,
        "undone": False,
        "refusals": [
            {
                "line": 10,
                "field": None,
                "reason": "it is not JSON: Expecting value at character 1",
                "sqlstate": None,
                "constraint": None,
                "hint": None,
            }
        ],
    }
    program = Path(sys.executable).parent / "dot-wrapper"
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    for arguments in (["record"], ["record", "-"], ["record", "-", "--atomic"]):
        done = subprocess.run(
            [program, *arguments, "--json"],
            env=environment,
            input=ndjson(whole_runs(3)),
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["recorded_before"] == 9
        assert done.stderr == b""
    assert dot_wrapper("record", str(file), "--atomic").code == cli.REFUSED
    for missing in (str(tmp_path / "none"), str(tmp_path), "a\0b", "/proc/self/mem"):
        outcome = dot_wrapper("record", missing)
        assert (outcome.code, f"{escape_control_characters(missing)}: cannot be read: " in outcome.err) == (
            cli.BAD_INPUT,
            True,
        ), missing


def test_standard_input_that_breaks_is_bad_input(db: Database) -> None:
    """The other end of a terminal is closed after a line: what reads gets the line, and then an error of the system."""
    define_pair(db)
    terminal, end = os.openpty()
    try:
        os.write(end, ndjson([run_line()]))
        os.close(end)
        done = subprocess.run(
            [Path(sys.executable).parent / "dot-wrapper", "record"],
            env={**os.environ, "DATABASE_URL": db.url_as("operator")},
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(terminal)
    said = "cannot be read any more; without --atomic, what was recorded before stays: Input/output error"
    assert (done.returncode, done.stderr) == (cli.BAD_INPUT, f"input: standard input: {said}\n")


def test_the_published_schema_is_the_code_s(dot_wrapper: DotWrapper) -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema() == dot_wrapper("record", "--schema").json
    jsonschema.Draft202012Validator.check_schema(json_schema())


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Any:
    """JSON Schema's `$` is the end; Python's would let a newline stand behind it."""
    if validator.is_type(instance, "string") and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


VALIDATOR = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _pattern}
)(json_schema())

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from(["", "run", "producer", "started", "true", "REAL_RUN", "a b", "x\n", "x" * 200, "x" * 201, "ä"]),
    st.text(max_size=5),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.uuids().map(str),
    st.just({}),
    st.just([]),
)


@given(
    line=st.sampled_from([run_line(), component_line(), run_line(process_run_id=str(uuid.uuid4()))]),
    replaced=st.dictionaries(
        st.sampled_from(
            [*run_line(), "role", "parent_run_id", "process_run_id", "input_ref", "evidence_ref", "occurred_at", "else"]
        ),
        ODD,
        max_size=3,
    ),
    dropped=st.sets(st.sampled_from([*run_line(), "role"]), max_size=2),
)
def test_the_schema_accepts_a_line_exactly_where_the_code_does(
    line: dict[str, Any], replaced: dict[str, Any], dropped: set[str]
) -> None:
    line = {name: said for name, said in (line | replaced).items() if name not in dropped}
    try:
        parse(json.dumps(line).encode())
        accepted = True
    except LineProblem:
        accepted = False
    assert VALIDATOR.is_valid(line) == accepted


def test_codes_and_references_are_what_the_database_takes_for_such(db: Database) -> None:
    texts = ["", "a", "-a", "a b", "ä", "x" * 200, "x" * 201, "a\n", "A.z_0:/@+-", "s3://b?c=%20", "x" * 1025]
    connection = db.connect("owner")
    for text in texts:
        for field, question in (("actor", "dot.fn_is_code(%s, 200)"), ("input_ref", "dot.fn_is_ref(%s)")):
            legal = value(connection, f"select {question}", text)
            assert VALIDATOR.is_valid(run_line(**{field: text})) == legal, (field, text)


def test_the_example_file_is_recorded_whole(dot_wrapper: DotWrapper, db: Database) -> None:
    assert dot_wrapper("catalogue", "define", str(ROOT / "examples" / "catalogue.yaml"), "--actor", "ana").code == 0
    summary = dot_wrapper("record", str(ROOT / "examples" / "observations.ndjson"), "--json").json
    assert (summary["runs_created"], summary["components_created"], summary["refused"]) == (2, 3, 0)
    assert row(db.connect("reader"), "select simulated_runs from dot.v_process_run_count where simulated_runs > 0") == {
        "simulated_runs": 2
    }
