"""The SQL reference has what the catalog has: each kind of drift is seen to be reported, by what to add or to remove."""

from __future__ import annotations

import re

import pytest

from support import Database
from support.catalog import query
from tools.reference import PAGE, drift

TEXT = PAGE.read_text(encoding="utf-8")

# What is changed in one entry of the page: its name, the text, what it becomes, the lines that report it.
DRIFTS = {
    "an argument is missing from its table": (
        ("fn_dot_outbox_ack", r"\| `p_id` .*\n", ""),
        ["add: fn_dot_outbox_ack: argument p_id bigint, required"],
    ),
    "an argument is gone from the database": (
        ("fn_dot_outbox_ack", r"(?=\| `p_id`)", "| `p_by` | `text` | `null` | who |\n"),
        ["remove: fn_dot_outbox_ack: argument p_by text, null"],
    ),
    "an argument has another type": (
        ("fn_dot_outbox_ack", r"\| `p_id` \| `bigint`", "| `p_id` | `integer`"),
        [
            "add: fn_dot_outbox_ack: argument p_id bigint, required",
            "remove: fn_dot_outbox_ack: argument p_id integer, required",
        ],
    ),
    "an argument has another default": (
        ("fn_dot_outbox_poll", r"\| `100` \|", "| `10` |"),
        [
            "add: fn_dot_outbox_poll: argument p_limit integer, 100",
            "remove: fn_dot_outbox_poll: argument p_limit integer, 10",
        ],
    ),
    "a default has become required": (
        ("fn_process_candidate_define", r"`p_description` \| `text` \| `null`", "`p_description` | `text` | required"),
        [
            "add: fn_process_candidate_define: argument p_description text, null",
            "remove: fn_process_candidate_define: argument p_description text, required",
        ],
    ),
    "the signature has another argument": (
        ("fn_host_gate_set", r"p_value text\)", "p_value jsonb)"),
        [
            "add: fn_host_gate_set: dot.fn_host_gate_set(p_key text, p_value text) returns text",
            "remove: fn_host_gate_set: dot.fn_host_gate_set(p_key text, p_value jsonb) returns text",
        ],
    ),
    "the signature has another result": (
        ("fn_preflight_guard", r"returns setof \(", "returns ("),
        [
            "add: fn_preflight_guard: dot.fn_preflight_guard() returns setof (check_name text, verdict text, detail text)",
            "remove: fn_preflight_guard: dot.fn_preflight_guard() returns (check_name text, verdict text, detail text)",
        ],
    ),
    "the signature is missing": (
        ("fn_is_ref", r"```text\n.*\n```\n", ""),
        ["add: fn_is_ref: dot.fn_is_ref(p_value text) returns boolean"],
    ),
    "a returned column is missing": (
        ("fn_process_run_observe", r"\| `created` .*\n", ""),
        ["add: fn_process_run_observe: column created boolean"],
    ),
    "a view's column is missing": (
        ("v_dot_gate", r"\| `is_audited` .*\n", ""),
        ["add: v_dot_gate: column is_audited boolean"],
    ),
    "a view's column is gone from the database": (
        ("v_dot_gate", r"(?=\| `is_audited`)", "| `note` | `text` | a note |\n"),
        ["remove: v_dot_gate: column note text"],
    ),
    "a view's column has another type": (
        ("v_dot_outbox", r"\| `lag_seconds` \| `bigint`", "| `lag_seconds` | `interval`"),
        ["add: v_dot_outbox: column lag_seconds bigint", "remove: v_dot_outbox: column lag_seconds interval"],
    ),
    "a grant is missing": (
        ("fn_process_dot_runtime_execute_enabled", r"`dot_writer`, `dot_reader`", "`dot_writer`"),
        ["add: fn_process_dot_runtime_execute_enabled: role dot_reader"],
    ),
    "a view's grant is missing": (("v_dot_tool", r"`dot_reader`", "nobody"), ["add: v_dot_tool: role dot_reader"]),
    "a grant is gone from the database": (
        ("fn_gates_assert", r"\*\*Role\.\*\* none", "**Role.** `dot_writer`"),
        ["remove: fn_gates_assert: role dot_writer"],
    ),
    "a constraint is missing": (
        ("fn_process_candidate_define", r"\| 23505 .*\n", ""),
        ["add: fn_process_candidate_define: raises 23505 process_candidate_pair_conflict"],
    ),
    "a constraint that a called function raises is missing": (
        ("fn_process_component_observe", r"\| 23514 \| `lease_fencing_check` .*\n", ""),
        ["add: fn_process_component_observe: raises 23514 lease_fencing_check"],
    ),
    "a constraint of a changing name is missing": (
        ("fn_process_run_observe", r"\| 23514 \| `gate_.*\n", ""),
        ["add: fn_process_run_observe: raises 23514 gate_<word>_check"],
    ),
    "a constraint is raised by nobody": (
        ("fn_dot_outbox_ack", r"outbox_cursor_position_fkey", "outbox_cursor_place_fkey"),
        [
            "add: fn_dot_outbox_ack: raises 23503 outbox_cursor_position_fkey",
            "remove: fn_dot_outbox_ack: raises 23503 outbox_cursor_place_fkey",
        ],
    ),
    "a constraint has another SQLSTATE": (
        ("fn_dot_outbox_ack", r"23514", "23505"),
        [
            "add: fn_dot_outbox_ack: raises 23514 outbox_cursor_ahead_check",
            "remove: fn_dot_outbox_ack: raises 23505 outbox_cursor_ahead_check",
        ],
    ),
    "the refusals of arguments are missing": (
        ("fn_dot_iu_runtime_lease_release", r"\| 23502 .*\n", ""),
        [
            f"add: fn_dot_iu_runtime_lease_release: raises 23502 dot_iu_runtime_lease_{argument}_not_null"
            for argument in ("holder", "lease_key", "token")
        ],
    ),
    "the refusals of arguments do not cover what is no argument": (
        ("fn_process_run_observe", r"\| 23514 \| `\w+_reserved_check` .*\n", ""),
        ["add: fn_process_run_observe: raises 23514 process_run_observation_evidence_ref_reserved_check"],
    ),
}


def entry(name: str) -> str:
    (found,) = re.findall(rf"^### {name}\n.*?(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_reference_has_what_the_catalog_has(db: Database) -> None:
    assert drift(TEXT, db.url_as("owner")) == []


def test_each_kind_of_drift_is_reported_by_what_to_add_or_remove(db: Database) -> None:
    for kind, ((name, was, becomes), reported) in DRIFTS.items():
        changed, times = re.subn(was, becomes, entry(name))
        assert times == 1, kind
        assert drift(TEXT.replace(entry(name), changed), db.url_as("owner")) == reported, kind


@pytest.mark.parametrize("name", ["fn_is_run_id", "v_dot_schema_revision"])
def test_an_entry_that_is_missing_or_that_nothing_stands_for_is_reported(db: Database, name: str) -> None:
    assert f"add: {name}" in drift(TEXT.replace(entry(name), ""), db.url_as("owner"))
    ghost = entry(name).replace(name, f"{name}_of_old")
    reported = drift(TEXT + ghost, db.url_as("owner"))
    assert f"remove: {name}_of_old" in reported
    assert all(line.startswith(f"remove: {name}_of_old") for line in reported)


def test_a_new_function_and_a_new_view_are_reported(db: Database) -> None:
    query(
        db.url_as("owner"),
        "set role dot_owner; create function dot.fn_new(p_a text default 'x') returns integer language sql return 1;"
        " create view dot.v_new as select 1 as one; grant select on dot.v_new to public;"
        " grant create on schema dot to dot_bridge; set role dot_bridge; create function dot.fn_of_another_owner() returns integer language sql return 1",
    )
    assert drift(TEXT, db.url_as("owner")) == [
        "add: fn_new",
        "add: fn_new: dot.fn_new(p_a text default 'x') returns integer",
        "add: fn_of_another_owner",
        "add: fn_of_another_owner: dot.fn_of_another_owner() returns integer",
        "add: fn_of_another_owner: role PUBLIC",
        "add: v_new",
        "add: v_new: column one integer",
        "add: v_new: role PUBLIC",
    ]
