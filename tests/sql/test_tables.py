"""What the tables refuse by themselves, for every login: the owner's hand is held where a function's argument would be."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from support import (
    PAIR,
    Connection,
    Database,
    acquire,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
    refused,
    rows,
    value,
)

RUN, COMPONENT = "process_run_observation", "process_component_observation"
NIL, MAX = f"{uuid.UUID(int=0)}", f"{uuid.UUID(int=2**128 - 1)}"

# By table the columns that may not be NULL. A primary key's are refused by its definition.
REQUIRED = {
    "dot_iu_command_run": "logged_at mutating command_name run_mode run_status actor session_actor detail",
    "dot_iu_runtime_lease": "token acquired_at expires_at holder session_actor",
    "dot_iu_command_catalog": "mutating description",
    "dot_config_audit": "changed_at database_oid key new_value actor session_actor reason",
    "dot_mechanism_attestation": "attested_at present mechanism finding actor session_actor",
    "preflight_attestation": "attested_at expires_at database_oid check_name verdict finding actor session_actor",
    "event_outbox": "created_at event_id aggregatetype aggregateid type payload",
    "event_type": "active",
    "job_queue": "created_at job_type status",
    "universal_edges": "from_code to_code edge_type",
    "outbox_cursor": "epoch xact_id outbox_id",
    "outbox_epoch": "system_identifier database_oid began_at",
    "process_candidate": "defined_at chain chain_position pins_output producer_dot_code verifier_dot_code actor session_actor",
    RUN: "observed_at xact_id dry_run dot_code correlation_id evidence_type status actor session_actor evidence_ref",
    COMPONENT: "component_id status observed_at xact_id dot_code correlation_id evidence_type actor session_actor evidence_ref",
}

# Column, and how many bytes of a code it takes.
CODES = {
    "dot_tools": {"code": 200},
    "dot_iu_command_catalog": {"command_name": 200},
    "dot_iu_runtime_lease": {"lease_key": 240, "holder": 200},
    "event_type": {"event_type": 200},
    "process_candidate": {"code": 200},
}
# What a column of the ledger holds is said by its domain, which a refusal is named after.
DOMAINS = {
    "code": ("process_candidate_code", "dot_code", "correlation_id", "actor", "idempotency_key"),
    "component_key": ("idempotency_key",),
    "ref": ("input_ref", "output_ref", "error_ref"),
    "run_id": ("process_run_id", "parent_run_id"),
    "component_role": ("component_role",),
    "evidence": ("evidence_ref",),
}
COLUMNS = {
    RUN: {column: domain for domain in ("code", "ref", "run_id", "evidence") for column in DOMAINS[domain]},
    COMPONENT: {
        **{column: domain for domain in DOMAINS for column in DOMAINS[domain] if column != "parent_run_id"},
    },
}
LEGAL = {"code": "a" * 200, "component_key": "a" * 240, "ref": "a" * 1024}
ILLEGAL: dict[str, tuple[object, ...]] = {
    "code": ("a" * 201, "", "a b", "a\n"),
    "component_key": ("a" * 241, "", "a b", "a\n"),
    "ref": ("a" * 1025, "", "a b", "a\n"),
    "run_id": (NIL, MAX),
    "component_role": ("", "PRODUCER", "another"),
    "evidence": ([1], {"n": 1e-25}),
}

WORDS = {
    ("dot_iu_command_run", "run_mode"): ("plan", "verify", "apply"),
    ("dot_iu_command_run", "run_status"): ("started", "completed", "failed", "refused"),
    ("preflight_attestation", "verdict"): ("PASS", "WARN", "BLOCK"),
    ("preflight_attestation", "check_name"): ("fs_snapshot_present",),
    ("dot_mechanism_attestation", "mechanism"): ("scheduler", "api_endpoint"),
    (RUN, "status"): ("started", "completed", "failed"),
    (COMPONENT, "status"): ("step_started", "step_completed", "failed"),
}


@pytest.fixture
def owner(db: Database) -> Connection:
    """The owner of tables that hold a row each."""
    ready_for_real_runs(db)
    gatekeeper, writer = db.connect("gatekeeper"), db.connect("writer")
    gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'me', 'for a test')")
    gatekeeper.execute("select dot.fn_dot_mechanism_attest('scheduler', false, 'me', 'none found')")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token, idempotency_key="key-1")["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    writer.execute("select dot.fn_dot_iu_command_log('dot_wrapper.execute', 'apply', 'refused', 'me')")
    owner = db.connect("owner")
    owner.execute("insert into dot.universal_edges (from_code, to_code, edge_type) values ('a', 'b', 'feeds')")
    owner.execute("insert into dot.job_queue (job_type, status) values ('a', 'done')")
    return owner


def new_key(table: str) -> dict[str, Any]:
    """What makes a copy of a row another row."""
    keys: dict[str, dict[str, Any]] = {
        "dot_tools": {"code": "another"},
        "dot_iu_command_run": {"run_id": str(uuid.uuid4())},
        "dot_iu_command_catalog": {"command_name": "another"},
        "dot_iu_runtime_lease": {"lease_key": "another"},
        "event_type": {"event_type": "another"},
        "process_candidate": {"code": "another", "chain": "another"},
        RUN: {"process_run_id": str(uuid.uuid4()), "idempotency_key": None},
        COMPONENT: {"component_role": "verifier", "idempotency_key": None},
    }
    return keys.get(table, {"attestation_id": 77, "audit_id": 77, "id": 77, "job_id": 77, "edge_id": 77, "epoch": 77})


def store(owner: Connection, table: str, **changed: object) -> None:
    """Copies a row of the table under a new key and with these values, and takes the copy back."""
    owner.execute("begin")
    try:
        owner.execute(
            f"insert into dot.{table} overriding system value"
            f" select (jsonb_populate_record(t, %s)).* from dot.{table} as t limit 1",
            (json.dumps({**new_key(table), **changed}),),
        )
    finally:
        owner.execute("rollback")


def stage(status: str) -> str:
    return {"observed": "prepared", "step_started": "started"}.get(status, "ended")


def test_a_copy_of_a_row_is_legal_everywhere(owner: Connection) -> None:
    for table in {**REQUIRED, **CODES}.keys() - {"outbox_cursor"}:
        store(owner, table)


def test_each_column_that_says_what_happened_is_required(owner: Connection, subtests: pytest.Subtests) -> None:
    for table, columns in REQUIRED.items():
        for column in columns.split():
            with subtests.test(table=table, column=column), refused("23502", saying=f'"{column}"'):
                if table == "outbox_cursor":
                    owner.execute(f"update dot.outbox_cursor set {column} = null")
                else:
                    store(owner, table, **{column: None})


def test_a_table_takes_a_code_of_its_full_length_and_no_byte_more(owner: Connection, subtests: pytest.Subtests) -> None:
    bounds = [(table, column, bound) for table, columns in CODES.items() for column, bound in columns.items()]
    for table, column, bound in bounds:
        with subtests.test(table=table, column=column):
            # A candidate that follows none has a chain of its own name.
            named = (column, "chain") if table == "process_candidate" else (column,)
            store(owner, table, **dict.fromkeys(named, "a" * bound))
            for illegal in ("a" * (bound + 1), "", "a b", "a\n"):
                with refused("23514", f"{table}_{column}_check"):
                    store(owner, table, **dict.fromkeys(named, illegal))


def test_a_column_of_the_ledger_takes_what_its_domain_does(owner: Connection, subtests: pytest.Subtests) -> None:
    for table, columns in COLUMNS.items():
        for column, domain in columns.items():
            with subtests.test(table=table, column=column):
                # A row of another candidate has no header; of a candidate it is the domain alone that is asked about.
                if domain in LEGAL and (table, column) != (COMPONENT, "process_candidate_code"):
                    store(owner, table, **{column: LEGAL[domain]})
                for illegal in ILLEGAL[domain]:
                    with refused("23514", f"{domain}_check"):
                        store(owner, table, **{column: illegal})


def test_a_table_takes_its_own_words_and_no_other(owner: Connection, subtests: pytest.Subtests) -> None:
    for (table, column), words in WORDS.items():
        with subtests.test(table=table, column=column):
            for word in words:
                store(owner, table, **{column: word, **({"stage": stage(word)} if table == COMPONENT else {})})
            for other in ("", words[0].swapcase(), "another"):
                with refused("23514", f"{table}_{column}_check"):
                    store(owner, table, **{column: other})


def test_a_phase_and_a_flag_belong_to_one_word_each(owner: Connection, subtests: pytest.Subtests) -> None:
    phase: dict[str, object] = {"wrapper_phase": "prepared"}
    flag: dict[str, object] = {"skipped": True}
    simulated: dict[str, object] = {"evidence_type": "SIMULATED_DRY_RUN", "admission": None, "lease_token": None}
    legal: dict[str, dict[str, object]] = {"observed": phase, "cancelled": flag, "failed": {}}
    for table in (RUN, COMPONENT):
        for status, right in legal.items():
            for evidence in ({}, phase, flag, {**phase, **flag}):
                changed: dict[str, object] = {**simulated, "status": status, "evidence_ref": evidence}
                changed |= {"dry_run": True} if table == RUN else {"stage": stage(status)}
                with subtests.test(table=table, status=status, evidence=evidence):
                    if evidence == right:
                        store(owner, table, **changed)
                    else:
                        with refused("23514", f"{table}_status_check"):
                            store(owner, table, **changed)


def test_each_evidence_type_needs_what_let_it_in(owner: Connection, subtests: pytest.Subtests) -> None:
    admitted = {"admission": {"gates": []}, "lease_token": 1}
    nothing = {"admission": None, "lease_token": None}
    for table in (RUN, COMPONENT):
        for evidence_type, right in (("SIMULATED_DRY_RUN", nothing), ("DRY_RUN", admitted), ("REAL_RUN", admitted)):
            dry = {"dry_run": evidence_type != "REAL_RUN"} if table == RUN else {}
            changed: dict[str, Any] = {"evidence_type": evidence_type, **right, **dry}
            store(owner, table, **changed)
            wrong: list[dict[str, Any]] = [{"admission": {"gates": []} if right == nothing else None}]
            if right == admitted:
                prepared = {"status": "observed", "evidence_ref": {"wrapper_phase": "prepared"}}
                wrong += [{"lease_token": None}, prepared if table == RUN else {**prepared, "stage": "prepared"}]
            wrong += [{name: not value} for name, value in dry.items()]
            for one in wrong:
                refusal = refused("23514", f"{table}_evidence_type_check")
                with subtests.test(table=table, type=evidence_type, wrong=one), refusal:
                    store(owner, table, **changed | one)


def test_an_evidence_type_is_one_of_three_whatever_let_it_in(owner: Connection) -> None:
    for table, dry in ((RUN, {"dry_run": False}), (COMPONENT, {})):
        with refused("23514", f"{table}_evidence_type_check"):
            store(owner, table, evidence_type="ANOTHER", admission={"gates": []}, lease_token=1, **dry)


def test_a_component_is_at_the_stage_of_its_status(owner: Connection, subtests: pytest.Subtests) -> None:
    for status in ("step_started", "step_completed", "failed"):
        for other in {"prepared", "started", "ended", "another", ""} - {stage(status)}:
            with subtests.test(status=status, stage=other), refused("23514", f"{COMPONENT}_status_check"):
                store(owner, COMPONENT, status=status, stage=other)


def test_a_pair_is_two_dots_and_an_attestation_ends_after_it_began(owner: Connection) -> None:
    with refused("23514", "process_candidate_pair_check"):
        store(owner, "process_candidate", producer_dot_code="dot.same", verifier_dot_code="dot.same")
    instant = "2026-01-01T00:00:00Z"
    with refused("23514", "preflight_attestation_expires_at_check"):
        store(owner, "preflight_attestation", attested_at=instant, expires_at=instant)
    store(owner, "preflight_attestation", attested_at=instant, expires_at="2026-01-01T00:00:01Z")


def test_a_verification_is_asked_to_be_as_young_as_a_microsecond_or_as_old_as_a_century(owner: Connection) -> None:
    for code, legal in (("youngest", "1 microsecond"), ("oldest", "100 years")):
        store(owner, "process_candidate", code=code, chain=code, max_age=legal)
    for illegal in ("0", "100 years 1 microsecond"):
        with refused("23514", "process_candidate_max_age_check"):
            store(owner, "process_candidate", code="another", chain="another", max_age=illegal)


def test_the_first_of_a_chain_gives_it_its_name_and_each_has_a_place_of_its_own(owner: Connection) -> None:
    first = {"code": "first", "chain": "first", "chain_position": 1}
    second = {"code": "second", "chain": "first", "chain_position": 2, "supersedes": "first"}
    for illegal in ({**first, "chain": "another"}, {**first, "chain_position": 2}, {**second, "supersedes": None}):
        with refused("23514", "process_candidate_chain_check"):
            store(owner, "process_candidate", **illegal)
    store(owner, "process_candidate", **first)
    with refused("23514", "process_candidate_chain_check"):
        store(owner, "process_candidate", **{**second, "chain": "second", "chain_position": 1})
    store(owner, "process_candidate", **second)
    with refused("23505", "process_candidate_chain_key"):
        store(owner, "process_candidate", code="second", chain=PAIR, supersedes=PAIR)


def test_a_lease_token_is_positive(owner: Connection) -> None:
    store(owner, "dot_iu_runtime_lease", token=1)
    with refused("23514", "dot_iu_runtime_lease_token_check"):
        store(owner, "dot_iu_runtime_lease", token=0)


def test_a_component_without_its_header_is_refused(owner: Connection) -> None:
    with refused("23503", f"{COMPONENT}_process_run_id_fkey"):
        store(owner, COMPONENT, process_run_id=str(uuid.uuid4()))


def test_a_second_row_under_the_same_key_is_refused_by_each_table(owner: Connection, subtests: pytest.Subtests) -> None:
    tables = owner.execute(
        "select c.relname, k.conname from pg_constraint k join pg_class c on c.oid = k.conrelid"
        " where c.relnamespace = 'dot'::regnamespace and k.contype = 'p' and c.relname <> 'alembic_version'"
    ).fetchall()
    assert len(tables) == 17
    for one in tables:
        with subtests.test(table=one["relname"]), refused("23505", f"{one['relname']}_pkey"):
            owner.execute(
                f"insert into dot.{one['relname']} overriding system value select * from dot.{one['relname']}"
            )
    with refused("23514", "outbox_cursor_singleton_check"):
        owner.execute("insert into dot.outbox_cursor (epoch, xact_id, outbox_id, singleton) values (0, '0', 0, false)")


def test_names_sort_by_their_bytes(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    for key in ("a", "B", "b", "A", "a-b", "a.b", "aB", "ab"):
        observe_run(writer, idempotency_key=key)
    # A database made by C sorts so anyway: there the rule of the catalog is what fails, tests/security/test_catalog_lint.py.
    kept = rows(db.session("reader"), "select idempotency_key as key from dot.v_process_run order by 1")
    assert [one["key"] for one in kept] == ["A", "B", "a", "a-b", "a.b", "aB", "ab", "b"]


def test_a_text_of_the_host_joins_and_one_with_a_collation_of_its_own_does_once_that_is_said(db: Database) -> None:
    define_pair(db)
    host = db.session("creator")
    host.execute('create table public.host (own text, other text collate "POSIX")')
    host.execute("insert into public.host values ('shop.orders', 'shop.orders')")
    host.execute(f"grant select on public.host to {db.login('reader')}")
    reader = db.session("reader")
    joined = "select count(*) from dot.v_process_candidate c join public.host h on c.process_candidate_code = h."
    assert value(reader, joined + "own") == 1
    assert value(reader, joined + 'other collate "C"') == 1
    with refused("42P22"):
        value(reader, joined + "other")
    like = "select count(*) from dot.v_process_candidate where process_candidate_code {} %s"
    for operator, pattern in (("like", "shop.%"), ("ilike", "SHOP.%"), ("~", "^shop[.]o"), ("~*", "ORDERS$")):
        assert value(reader, like.format(operator), pattern) == 1
