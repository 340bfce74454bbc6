"""The promises that ``dot-wrapper prove`` puts a database to, and the tests of ``suite`` that try to break each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise of the wrapper.

    Attributes:
        name: a word for tables.
        sentence: what is promised.
        tests: whole modules of ``suite``, and single tests of others, as ``module::test``.
    """

    name: str
    sentence: str
    tests: tuple[str, ...]


PROMISES: Final = (
    Promise(
        "idempotency",
        "one key is stored once: the same call is answered with it, another payload under it is refused",
        (
            "test_promises::test_the_same_key_and_payload_is_one_run",
            "test_promises::test_the_same_key_and_another_payload_is_refused_naming_exactly_what_differs",
            "test_promises::test_the_same_key_with_another_number_is_a_mismatch_and_with_another_spelling_of_it_a_replay",
            "test_promises::test_a_component_is_idempotent_too",
            "test_ledger_stories::test_a_key_belongs_to_its_candidate",
            "test_ledger_stories::test_a_replay_asks_for_the_same_gates_and_the_live_token_again",
            "test_ledger_stories::test_a_call_that_clashes_with_an_open_transaction_waits_and_then_is_a_replay",
            "test_ledger_stories::test_the_other_clash_is_named_when_a_component_has_ended",
            "test_ledger_stories::test_what_was_rolled_back_to_a_savepoint_frees_its_key_and_left_no_event",
            "test_ledger_stories::test_evidence_differs_as_jsonb_differs",
            "test_ledger_stories::test_a_word_that_sets_a_flag_differs_in_status_and_evidence",
            "test_ledger_stories::test_when_it_happened_is_payload_and_the_attempt_is_not",
        ),
    ),
    Promise(
        "fail-closed inputs",
        "input outside its domain, NULL included, is refused by name",
        (
            "test_promises::test_a_text_is_stored_as_it_is_or_refused_by_its_own_name",
            "test_promises::test_evidence_is_an_object_with_bounded_numbers_or_refused",
            "test_promises::test_null_is_never_replaced_by_a_default",
            "test_hostile_input",
        ),
    ),
    Promise(
        "REAL_RUN refusal",
        "a run above a simulation gets in only past open gates, a passed preflight and a live lease",
        (
            "test_promises::test_a_run_above_a_simulation_gets_in_only_where_each_gate_it_needs_is_exactly_true",
            "test_promises::test_no_spelling_of_the_evidence_type_slips_past_closed_gates",
            "test_hostile_input::test_no_look_alike_of_true_lets_a_component_in",
            "test_ledger_stories::test_a_refusal_names_the_first_rule_that_is_broken_all_the_way_down",
            "test_ledger_stories::test_a_component_s_refusal_names_the_first_rule_that_is_broken_too",
            "test_ledger_stories::test_a_gate_that_was_opened_past_its_function_is_off_and_closing_it_takes_no_function",
            "test_ledger_stories::test_a_run_is_begun_by_one_call_or_not_at_all",
            "test_ledger_stories::test_the_lease_of_one_login_is_no_permission_of_another",
            "test_ledger_stories::test_one_name_in_two_logins_is_two_holders",
            "test_ledger_stories::test_a_token_below_the_run_s_is_fenced_off_when_the_lease_table_was_put_back",
        ),
    ),
    Promise("append-only", "what is stored stays as it is, for every role", ("test_append_only",)),
    Promise("rights", "each role calls its own functions and reads its own views, and nothing else", ("test_roles",)),
    Promise(
        "verdicts", "no simulated or dry row changes a verdict, and no order of other calls", ("test_metamorphic",)
    ),
    Promise(
        "every rule",
        "each call ends, and each view shows, as the model says",
        ("test_ledger_machine", "test_ledger_stories"),
    ),
)


def promise_of(module: str, test: str) -> Promise:
    """The promise that a test of ``suite`` belongs to: a single test before its module.

    Raises:
        KeyError: it belongs to none.
    """
    for name in (f"{module}::{test}", module):
        for promise in PROMISES:
            if name in promise.tests:
                return promise
    raise KeyError(f"{module}::{test}")
