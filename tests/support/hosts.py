"""The hosts of examples/hosts, made and adopted in a database of a test's own by what `dot-wrapper adopt --sql` prints."""

from __future__ import annotations

import os
from typing import Literal, cast

import psycopg

from dot_wrapper.client import database
from dot_wrapper.files import ROOT
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.mapping import Mapping, read_mapping
from dot_wrapper.operations.adoption.scripts import adopt_sql
from dot_wrapper.proving.support import GATES, PAIR, Database, acquire, attest, set_gates

Host = Literal["near", "far"]
HOSTS: tuple[Host, ...] = ("near", "far")

# Where the tests of a run stand on an adopted database: DOT_TEST_HOST=near or far.
TEST_HOST = cast("Host | Literal['']", os.environ.get("DOT_TEST_HOST", ""))

# What an adoption can change of the rules: which DOTs are known, which gates are open, what is counted, and by which plans. `make test` runs
# these again with DOT_TEST_HOST, on both hosts. The others ask none of it, or as these do.
BY_HOST = (
    *(
        "tests/sql/test_begin.py",
        "tests/sql/test_catalogue.py",
        "tests/sql/test_definitions.py",
        "tests/sql/test_gates.py",
    ),
    *("tests/sql/test_idempotency.py", "tests/sql/test_inventory.py", "tests/sql/test_leases.py"),
    *(
        "tests/sql/test_pair_and_batch.py",
        "tests/sql/test_plans.py",
        "tests/sql/test_preflight.py",
        "tests/sql/test_state.py",
    ),
    *("tests/sql/test_verdicts.py", "tests/properties/test_ledger_stories.py"),
)

# Of a run with DOT_TEST_HOST, what is not true of an adopted database, and why; tests/sql/test_adopted.py has what is true of it.
NOT_ADOPTED = {
    "counts the DOTs of a catalogue, or the rows of a ledger, that begin empty": (
        "test_amendment.py::test_the_new_words_give_a_verdict_nothing",
        "test_inventory.py::test_a_command_log_shows_what_its_rows_prove_and_no_more",
        "test_inventory.py::test_a_date_is_a_backfill_where_at_least_two_dots_share_it",
        "test_inventory.py::test_a_dot_that_the_catalogue_lost_is_in_no_funnel_and_one_in_two_pairs_is_one_row",
        "test_inventory.py::test_a_dot_without_a_code_is_counted_nowhere",
        "test_inventory.py::test_a_measured_row_changes_with_its_figures",
        "test_inventory.py::test_a_usage_count_counts_as_an_invocation",
        "test_inventory.py::test_both_ledgers_of_the_host_may_be_keyed_by_the_run",
        "test_inventory.py::test_dates_that_differ_are_no_backfill_and_no_date_counts_as_an_invocation",
        "test_inventory.py::test_nothing_was_executed_and_a_shared_date_is_reported_as_a_backfill",
        "test_inventory.py::test_one_dot_is_enough_to_be_declared",
        "test_inventory.py::test_the_figures_behind_each_row_are_document_02s",
        "test_inventory.py::test_the_measured_rows_are_document_02s_and_the_others_are_not_observable",
        "test_inventory.py::test_what_sql_cannot_see_has_document_02s_verdict_once_it_is_attested",
        "test_preflight.py::test_a_fresh_database_blocks_until_somebody_registers_and_attests",
        "test_trails.py::test_each_role_sees_what_it_works_with",
    ),
    "compares the words that tell of a catalogue of the wrapper's own": (
        "test_pair_and_batch.py::test_a_batch_says_of_each_line_what_became_of_it",
        "test_preflight.py::test_each_check_says_what_it_found",
    ),
    "stores a real run outside READ COMMITTED": (
        "test_gates.py::test_a_new_run_after_a_replay_in_an_old_snapshot_and_a_switch_wait_for_each_other_in_one_order",
        "test_gates.py::test_a_switch_that_gives_up_names_each_backend_that_holds_it_up_once_and_nobody_else",
        "test_leases.py::test_an_old_snapshot_answers_no_replay_past_a_lost_lease",
        "test_leases.py::test_an_old_snapshot_takes_no_real_run_past_a_lost_lease",
    ),
}

# Two DOTs of each host.
DOTS = {"near": ("KG.001", "KG.002"), "far": ("DOT_1", "DOT_2")}

# The table of each host's switches, and the column that names them.
SWITCHES = {"near": ("public.dot_config", "key"), "far": ("automation.settings", "setting")}


def mapping_of(host: Host) -> Mapping:
    """The mapping of a host as it is beside it: its DOTs alone count, and it governs all of its switches."""
    return read_mapping(ROOT / "examples" / "hosts" / f"{host}.yaml")


def beside(mapping: Mapping) -> Mapping:
    """The same, but the DOTs that a test registers count too, and the queue's worker is the wrapper's."""
    assert mapping.catalogue
    assert mapping.gates
    return mapping.model_copy(
        update={
            "catalogue": mapping.catalogue.model_copy(update={"beside": "own"}),
            "gates": mapping.gates.model_copy(update={"governs": GATES}),
        }
    )


def make(url: str, host: Host) -> None:
    """Makes a host in a database, as a superuser. Its catalogue far away has row security: dot_owner passes by it.

    It is analyzed at once. Otherwise autovacuum may do that during a test, and run the functions that the test has put on a table.
    """
    script = (ROOT / "examples" / "hosts" / f"{host}.sql").read_bytes()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(script)
        admin.execute("select pg_stat_force_next_flush()")  # or the rows just written would count as not analyzed yet
        admin.execute("analyze")
        if host == "far":
            admin.execute("alter role dot_owner bypassrls")


def adopt(url: str, mapping: Mapping) -> None:
    """Adopts, as a superuser."""
    with database.connect(url) as connection:
        script = adopt_sql(connection, mapping, tables_of(connection, mapping))
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(script.encode())


def switch(url: str, host: Host, value: str, *gates: str) -> None:
    """Moves switches of a host, by default all that have to do with runs, as the host's operator does: a plain UPDATE."""
    table, key = SWITCHES[host]
    chosen = f"{key} = any (%s)" if gates else f"{key} !~ '^queue'"
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("set role host_ops")
        moved = operator.execute(
            f"update {table} set value = %s where {chosen}" + ("" if host == "near" else " and scope = 'global'"),
            (value, list(gates)) if gates else (value,),
        )
    assert moved.rowcount == (len(gates) or 3)


def adopted(url: str, host: Host) -> None:
    """For the rules that any database has to keep: own DOTs beside the host's, and the host's switches on."""
    make(url, host)
    adopt(url, beside(mapping_of(host)))
    switch(url, host, "true")


def ready(db: Database, host: Host) -> int:
    """In a database that is adopted strictly: a pair of the host's DOTs, open gates of both, a passed preflight, and the lease, whose
    token is returned. What is left for a REAL_RUN is its call."""
    producer, verifier = DOTS[host]
    db.session("cataloguer").execute(
        "select dot.fn_process_candidate_define(%s, %s, %s, 'tester')", (PAIR, producer, verifier)
    )
    set_gates(db)
    attest(db)
    switch(db.url, host, "true")
    return acquire(db.session("writer"))
