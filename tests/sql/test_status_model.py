"""The status model [seed]: callers say the wrapper's words, the ledger stores what its CHECK domain has."""

from __future__ import annotations

import json
from functools import partial

import pytest

from support import (
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
    rows,
)

EVIDENCE_TYPES = ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN")

# wrapper status: (stored on the run, stored on a component, what the function adds to the evidence)
MODEL: dict[str, tuple[str, str, dict[str, object]]] = {
    "prepared": ("observed", "observed", {"wrapper_phase": "prepared"}),
    "started": ("started", "step_started", {}),
    "completed": ("completed", "step_completed", {}),
    "failed": ("failed", "failed", {}),
    "skipped": ("cancelled", "cancelled", {"skipped": True}),
}


def stored_run(reader: Connection, run_id: object) -> dict[str, object]:
    return row(
        reader,
        "select status, evidence_type, dry_run, evidence_ref from dot.v_process_run where process_run_id = %s",
        run_id,
    )


def stored_component(reader: Connection, component_id: object) -> dict[str, object]:
    return row(
        reader,
        "select status, evidence_type, evidence_ref from dot.v_process_run_component where component_id = %s",
        component_id,
    )


def test_each_status_of_a_run_is_stored_as_its_word_under_the_evidence_type_asked_for(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    writer, reader = db.connect("writer"), db.connect("reader")
    token = acquire(writer)
    for evidence_type in EVIDENCE_TYPES:
        for status, (word, _, added) in MODEL.items():
            for sent in ({}, {"rows": 3}):
                if status == "prepared" and evidence_type != "SIMULATED_DRY_RUN":
                    continue
                with subtests.test(status=status, evidence_type=evidence_type, sent=sent):
                    run_id = observe_run(
                        writer,
                        status=status,
                        evidence_type=evidence_type,
                        lease_token=token,
                        evidence_ref=json.dumps(sent),
                    )["process_run_id"]
                    assert stored_run(reader, run_id) == {
                        "status": word,
                        "evidence_type": evidence_type,
                        "dry_run": evidence_type != "REAL_RUN",
                        "evidence_ref": sent | added,
                    }


def test_each_status_of_a_component_is_stored_as_its_word_under_the_header_s_evidence_type(
    db: Database, subtests: pytest.Subtests
) -> None:
    ready_for_real_runs(db)
    writer, reader = db.connect("writer"), db.connect("reader")
    token = acquire(writer)
    for evidence_type in EVIDENCE_TYPES:
        for status, (_, word, added) in MODEL.items():
            for role in ("producer", "verifier"):
                if status == "prepared" and evidence_type != "SIMULATED_DRY_RUN":
                    continue
                with subtests.test(status=status, evidence_type=evidence_type, role=role):
                    run_id = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
                    component = observe_component(
                        writer, run_id, role, status=status, lease_token=token, evidence_ref='{"rows": 3}'
                    )
                    assert stored_component(reader, component["component_id"]) == {
                        "status": word,
                        "evidence_type": evidence_type,
                        "evidence_ref": {"rows": 3} | added,
                    }


def test_what_one_transaction_records_has_the_time_at_which_each_part_was_recorded(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    writer.execute("begin")
    run_id = observe_run(writer)["process_run_id"]
    for role in ("producer", "verifier"):
        observe_component(writer, run_id, role)
    times = row(writer, "select now() as began, clock_timestamp() as ended")
    writer.execute("commit")
    owner = db.connect("owner")
    recorded = rows(owner, "select observed_at from dot.process_run_observation")
    recorded += rows(owner, "select observed_at from dot.process_component_observation order by component_role")
    in_order = [times["began"], *(one["observed_at"] for one in recorded), times["ended"]]
    assert in_order == sorted(set(in_order))


def test_prepared_must_be_simulated_on_the_run_and_on_a_component(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    for evidence_type in ("DRY_RUN", "REAL_RUN"):
        run_id = observe_run(writer, evidence_type=evidence_type, lease_token=token)["process_run_id"]
        before = ledger_counts(db)
        with refused("23514", "process_run_observation_prepared_check"):
            observe_run(writer, evidence_type=evidence_type, lease_token=token, status="prepared")
        with refused("23514", "process_component_observation_prepared_check"):
            observe_component(writer, run_id, "producer", lease_token=token, status="prepared")
        assert ledger_counts(db) == before


def test_blocked_is_never_stored_and_the_refusal_says_where_it_is_logged(db: Database) -> None:
    define_pair(db)
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]
    before = ledger_counts(db)
    for observe in (partial(observe_run, writer), partial(observe_component, writer, run_id, "producer")):
        with refused("23514", saying="fn_dot_iu_command_log"):
            observe(status="blocked")
    assert ledger_counts(db) == before


def test_the_table_itself_refuses_a_row_whose_words_and_flags_disagree(db: Database, subtests: pytest.Subtests) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    for table, other in (
        ("process_run_observation", "process_run_id"),
        ("process_component_observation", "component_role"),
    ):
        for forged, constraint in (
            ({"status": "blocked"}, "status"),
            ({"status": "prepared"}, "status"),
            ({"status": "failed", "evidence_ref": {"skipped": True}}, "status"),
            ({"status": "failed", "evidence_ref": {"wrapper_phase": "prepared"}}, "status"),
            ({"status": "cancelled", "evidence_ref": {}}, "status"),
            ({"status": "cancelled", "evidence_ref": {"skipped": True, "wrapper_phase": "prepared"}}, "status"),
            ({"status": "observed", "evidence_ref": {"wrapper_phase": "prepared"}}, "evidence_type"),
            ({"evidence_type": "SIMULATED_DRY_RUN", "dry_run": True}, "evidence_type"),
            ({"evidence_type": "DRY_RUN", "dry_run": True, "admission": None}, "evidence_type"),
            ({"admission": None}, "evidence_type"),
            ({"lease_token": None}, "evidence_type"),
            ({"evidence_type": "REAL", "dry_run": False}, "evidence_type"),
        ):
            changed = {other: "verifier" if other == "component_role" else str(run_id)[::-1].replace("-", ""), **forged}
            with subtests.test(table=table, forged=forged), refused("23514", f"{table}_{constraint}_check"):
                owner.execute(
                    f"insert into dot.{table} select (jsonb_populate_record(t, %s)).* from dot.{table} as t",
                    (json.dumps(changed),),
                )
