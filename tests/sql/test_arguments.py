"""What every function says of its arguments: the longest that are legal are taken, and a refusal tells what is legal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from support import IN_BOTH_STATES, Database, define_pair, observe_component, observe_run, refused, rows
from support.hints import DEFINITIONS, problems_of

LEGAL_CODE = "at most 200 bytes"
LEGAL_PROSE = "One line of printable ASCII"
GREATEST = {604_800: 604_801, 3600: 3601, 10_000: 10_001}
LEGAL_JSON = "A JSON object of at most 8,192 bytes"


def test_each_refused_argument_is_told_what_is_legal(db: Database, subtests: pytest.Subtests) -> None:
    define_pair(db)
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]

    def asks(role: str, call: str) -> Callable[[], object]:
        return lambda: db.session(role).execute(f"select dot.{call}".encode())

    nil = "00000000-0000-0000-0000-000000000000"
    cases: list[tuple[str, str, str, Callable[[], object]]] = [
        ("23502", "p_actor", "NULL is never replaced by a default", lambda: observe_run(writer, actor=None)),
        (
            "23514",
            "evidence_ref_reserved",
            "leave them out",
            lambda: observe_run(writer, evidence_ref='{"skipped": true}'),
        ),
        ("23514", "evidence_ref", LEGAL_JSON, lambda: observe_run(writer, evidence_ref="[]")),
        ("23514", "input_ref", "Printable ASCII without spaces", lambda: observe_run(writer, input_ref="a b")),
        ("23514", "status", "One of prepared, started, completed", lambda: observe_run(writer, status="done")),
        ("23514", "evidence_type", "One of SIMULATED_DRY_RUN", lambda: observe_run(writer, evidence_type="run")),
        ("23514", "dry_run", "true for SIMULATED_DRY_RUN and DRY_RUN", lambda: observe_run(writer, dry_run=False)),
        ("23514", "process_run_id", "Any uuid but nil and max", lambda: observe_run(writer, process_run_id=nil)),
        ("23514", "parent_run_id", "Any uuid but nil and max", lambda: observe_run(writer, parent_run_id=nil)),
        ("23514", "actor", LEGAL_CODE, lambda: observe_run(writer, actor="a b")),
        *(
            ("23514", argument, hint, partial(observe, **{argument: "a" * (longest + 1)}))
            for observe, key in (
                (partial(observe_run, writer), 200),
                (partial(observe_component, writer, run_id, "producer"), 240),
            )
            for argument, longest, hint in (
                *(
                    (name, 200, LEGAL_CODE)
                    for name in ("process_candidate_code", "dot_code", "correlation_id", "actor")
                ),
                ("idempotency_key", key, f"at most {key} bytes"),
                *((name, 1024, "Printable ASCII without spaces") for name in ("input_ref", "output_ref", "error_ref")),
            )
        ),
        ("23514", "component_role", "producer or verifier", lambda: observe_component(writer, run_id, "judge")),
        (
            "23514",
            "run_mode",
            "plan, verify or apply",
            asks("writer", "fn_dot_iu_command_log('c', 'x', 'started', 'me')"),
        ),
        (
            "23514",
            "run_status",
            "started, completed, failed or refused",
            asks("writer", "fn_dot_iu_command_log('c', 'plan', 'x', 'me')"),
        ),
        ("23514", "detail", LEGAL_JSON, asks("writer", "fn_dot_iu_command_log('c', 'plan', 'started', 'me', '[]')")),
        ("23514", "ttl_seconds", "from 1 to 3,600", asks("writer", "fn_dot_iu_runtime_lease_acquire('k', 'me', 0)")),
        ("23514", "limit", "From 1 to 10,000", asks("relay", "fn_dot_outbox_poll(0)")),
        ("23514", "limit", "From 1 to 10,000", asks("relay", "fn_dot_outbox_prune(0)")),
        ("23514", "key", "the view v_dot_gate", asks("gatekeeper", "fn_dot_config_set('x', 'true', 'me', 'why')")),
        (
            "23514",
            "value",
            "true or false, exactly",
            asks("gatekeeper", "fn_dot_config_set('queue.worker.enabled', 'TRUE', 'me', 'why')"),
        ),
        (
            "23514",
            "reason",
            LEGAL_PROSE,
            asks("gatekeeper", "fn_dot_config_set('queue.worker.enabled', 'true', 'me', ' ')"),
        ),
        (
            "23514",
            "verdict",
            "PASS, WARN or BLOCK",
            asks("gatekeeper", "fn_preflight_attest('fs_snapshot_present', 'OK', 60, 'me', 'found')"),
        ),
        (
            "23514",
            "check_name",
            "the only check that is attested",
            asks("gatekeeper", "fn_preflight_attest('backup', 'PASS', 60, 'me', 'found')"),
        ),
        (
            "23514",
            "valid_seconds",
            "from 1 to 604,800",
            asks("gatekeeper", "fn_preflight_attest('fs_snapshot_present', 'PASS', 0, 'me', 'found')"),
        ),
        (
            "23514",
            "finding",
            LEGAL_PROSE,
            asks("gatekeeper", "fn_preflight_attest('fs_snapshot_present', 'PASS', 60, 'me', ' ')"),
        ),
        (
            "23514",
            "mechanism",
            "scheduler or api_endpoint",
            asks("gatekeeper", "fn_dot_mechanism_attest('cron', true, 'me', 'found')"),
        ),
        ("23514", "code", LEGAL_CODE, asks("cataloguer", "fn_dot_tool_register('a b')")),
        ("23514", "category", LEGAL_CODE, asks("cataloguer", "fn_dot_tool_register('d', 'a b')")),
        ("23514", "script_path", LEGAL_PROSE, asks("cataloguer", "fn_dot_tool_register('d', p_script_path => ' ')")),
        ("23514", "file_path", LEGAL_PROSE, asks("cataloguer", "fn_dot_tool_register('d', p_file_path => ' ')")),
        (
            "23514",
            "code",
            LEGAL_CODE,
            asks("cataloguer", "fn_process_candidate_define('a b', 'dot.a', 'dot.b', 'me')"),
        ),
        (
            "23514",
            "description",
            LEGAL_PROSE,
            asks("cataloguer", "fn_process_candidate_define('c', 'dot.a', 'dot.b', 'me', ' ')"),
        ),
    ]
    for sqlstate, argument, hint, refusal in cases:
        for told in (hint, argument.removesuffix("_reserved")):
            with subtests.test(argument=argument, told=told), refused(sqlstate, saying=told):
                refusal()


def test_each_argument_may_be_as_long_as_is_legal_and_no_byte_longer(db: Database, subtests: pytest.Subtests) -> None:
    code, key, prose = "c" * 200, "k" * 240, "p" * 1024
    cataloguer = db.session("cataloguer")
    for dot in ("dot.a", "dot.b", code, "d" * 200):
        cataloguer.execute("select dot.fn_dot_tool_register(%s)", (dot,))
    db.session("owner").execute("insert into dot.dot_iu_command_catalog values (%s, false, 'a command')", (code,))
    calls: list[tuple[str, str, tuple[Any, ...]]] = [
        ("cataloguer", "fn_dot_tool_register", ("e" * 200, code, code, prose, prose, code)),
        ("cataloguer", "fn_process_candidate_define", (code, code, "d" * 200, code, prose)),
        ("gatekeeper", "fn_dot_config_set", ("queue.worker.enabled", "true", code, prose)),
        ("gatekeeper", "fn_event_type_set", ("process.run.started", True, code, prose)),
        ("gatekeeper", "fn_preflight_attest", ("fs_snapshot_present", "PASS", 604_800, code, prose)),
        ("gatekeeper", "fn_dot_mechanism_attest", ("scheduler", True, code, prose)),
        ("writer", "fn_dot_iu_runtime_lease_acquire", (key, code, 3600)),
        ("writer", "fn_dot_iu_runtime_lease_renew", (key, code, 1, 3600)),
        ("writer", "fn_dot_iu_runtime_lease_release", (key, code, 1)),
        ("gatekeeper", "fn_dot_iu_runtime_lease_end", (key, code, prose)),
        ("writer", "fn_dot_iu_command_log", (code, "plan", "started", code)),
        ("relay", "fn_dot_outbox_poll", (10_000,)),
        ("relay", "fn_dot_outbox_prune", (10_000,)),
    ]
    for role, function, arguments in calls:
        query = f"select dot.{function}({', '.join(['%s'] * len(arguments))})"
        with subtests.test(function=function):
            db.session(role).execute(query, arguments)
        if function == "fn_event_type_set":
            for length, sqlstate in ((200, "23503"), (201, "23514")):
                with subtests.test(event_type=length), refused(sqlstate):
                    db.session(role).execute(query, (code[:1] * length, *arguments[1:]))
        for position, argument in enumerate(arguments):
            if argument in (code, key, prose, *GREATEST) or (isinstance(argument, str) and len(argument) == 200):
                longer = argument + "x" if isinstance(argument, str) else GREATEST[argument]
                with subtests.test(function=function, position=position), refused("23514", saying="is not legal"):
                    db.session(role).execute(query, (*arguments[:position], longer, *arguments[position + 1 :]))


CODE, LINE = "at most 200 bytes.", "One line of printable ASCII"
# What is legal, by the table that an argument is meant for: what its hint has to say.
LEGAL: dict[str, dict[str, str]] = {
    "process_run_observation": {
        **dict.fromkeys(("process_candidate_code", "dot_code", "correlation_id", "actor", "idempotency_key"), CODE),
        **dict.fromkeys(("process_run_id", "parent_run_id"), "Any uuid but nil and max"),
        **dict.fromkeys(("input_ref", "output_ref", "error_ref"), "Printable ASCII without spaces"),
        "evidence_ref": LEGAL_JSON,
        "evidence_ref_reserved": "wrapper_phase and skipped",
        "evidence_ref_attempt": "The key attempt is an object",
        "occurred_at": "NULL where the source does not say",
        "status": "with the optional amendment a header may also be blocked",
        "evidence_type": "SIMULATED_DRY_RUN, DRY_RUN, REAL_RUN",
        "dry_run": "false for REAL_RUN",
    },
    "dot_iu_command_run": {
        "command_name": "the view v_dot_command for",
        "run_mode": "plan, verify or apply",
        "run_status": "started, completed, failed or refused",
        "actor": CODE,
        "detail": LEGAL_JSON,
    },
    "dot_iu_runtime_lease": {
        "lease_key": "dot_exec: and a candidate's code, or another key",
        "holder": CODE,
        "actor": CODE,
        "reason": LINE,
        "ttl_seconds": "from 1 to 3,600",
    },
    "process_candidate": {
        **dict.fromkeys(("code", "producer_dot_code", "verifier_dot_code", "actor", "supersedes"), CODE),
        "description": LINE,
        "max_age": "An interval",
        "source_time": "NULL where the source has no time",
    },
    "dot_tools": {
        **dict.fromkeys(("code", "category", "execution_engine", "trigger_type"), CODE),
        **dict.fromkeys(("script_path", "file_path"), LINE),
    },
    "dot_config": {"key": "the view v_dot_gate", "value": "true or false, exactly", "actor": CODE, "reason": LINE},
    "event_type": {"event_type": "the view v_dot_event_type", "actor": CODE, "reason": LINE},
    "preflight_attestation": {
        "check_name": "fs_snapshot_present",
        "verdict": "PASS, WARN or BLOCK",
        "valid_seconds": "from 1 to 604,800",
        "actor": CODE,
        "finding": LINE,
    },
    "dot_mechanism_attestation": {"mechanism": "scheduler or api_endpoint", "actor": CODE, "finding": LINE},
    "outbox_cursor": {"limit": "From 1 to 10,000"},
    "event_outbox": {"limit": "From 1 to 10,000"},
}
LEGAL["process_component_observation"] = {
    **{
        argument: legal
        for argument, legal in LEGAL["process_run_observation"].items()
        if argument not in ("evidence_type", "dry_run", "parent_run_id")
    },
    "component_role": "producer or verifier",
    "idempotency_key": "at most 240 bytes.",
    "status": "A component is never blocked",
}
AMENDED_LEGAL = {
    **LEGAL,
    "process_run_observation": {
        **LEGAL["process_run_observation"],
        "blocked": "A blocked header is a SIMULATED_DRY_RUN",
    },
}


@IN_BOTH_STATES
def test_each_hint_is_of_its_own_argument_and_table(db: Database) -> None:
    owner = db.session("owner")
    definitions = {one["name"]: one["definition"] for one in rows(owner, DEFINITIONS)}
    asked = set().union(*(problems_of(name, definitions) for name in definitions if not name.startswith("fn_host_")))
    legal = AMENDED_LEGAL if db.amended else LEGAL
    missing = {problem for problem in asked if problem[1].endswith("_not_null")}
    assert {(table, problem.removesuffix("_check")) for table, problem in asked - missing} == {
        (table, argument) for table, arguments in legal.items() for argument in arguments
    }
    for table, problem in sorted(asked):
        with pytest.raises(psycopg.errors.IntegrityError) as caught:
            owner.execute("select dot.fn_input_refuse(%s, %s)", (table, problem))
        told = caught.value.diag
        argument = problem.removesuffix("_check").removesuffix("_not_null")
        saying = f"Pass p_{argument};" if (table, problem) in missing else legal[table][argument]
        assert saying in (told.message_hint or ""), (table, problem, told.message_hint)
        assert told.constraint_name == f"{table}_{problem}"
        assert (told.column_name or "") in argument
        assert told.table_name == table
