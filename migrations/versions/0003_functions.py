"""Functions: the evidence ladder, the two observe functions, leases, preflight, gates, catalogue, command log, outbox."""

from migrations.frozen_sql import apply, revert

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPLIES = (
    # what the functions below share
    "functions/fn_is_time",
    "functions/fn_input_refuse",
    "functions/fn_payload_mismatch_refuse",
    "functions/fn_status_stored",
    "functions/fn_component_status_stored",
    "functions/fn_evidence_stored",
    "functions/fn_observation_input_problem",
    "functions/fn_run_input_problem",
    "functions/fn_component_input_problem",
    "functions/fn_event_type",
    "functions/fn_run_event",
    "functions/fn_component_event",
    "functions/fn_lease_input_problem",
    "functions/fn_login_may_act",
    # gates, preflight, lease
    "functions/fn_gate_keys",
    "functions/fn_gate_state",
    "functions/fn_gate_status",
    "functions/fn_prepare_forbid",
    "functions/fn_gate_latch",
    "functions/fn_gate_holders",
    "functions/fn_dot_iu_operator_runtime_enabled",
    "functions/fn_process_dot_runtime_execute_enabled",
    "functions/fn_process_dot_runtime_real_run_enabled",
    "functions/fn_gates_assert",
    "functions/fn_preflight_attestation",
    "functions/fn_preflight_guard",
    "functions/fn_assert_safe_for_dot_action",
    "functions/fn_lease_assert",
    "functions/fn_admission_assert",
    "functions/fn_dot_iu_runtime_lease_acquire",
    "functions/fn_dot_iu_runtime_lease_renew",
    "functions/fn_dot_iu_runtime_lease_release",
    # outbox, as the observations need it
    "functions/fn_database_here",
    "functions/fn_outbox_epoch",
    # observations
    "functions/fn_candidate_role_assert",
    "functions/fn_candidate_newest",
    "functions/fn_process_run_observe",
    "functions/fn_process_component_observe",
    "functions/fn_pair_store_new",
    "functions/fn_process_pair_observe",
    "functions/fn_batch_events_wanted",
    "functions/fn_batch_events",
    "functions/fn_batch_store_new",
    "functions/fn_batch_observe_lines",
    "functions/fn_process_observe_batch",
    "functions/fn_process_run_begin",
    "functions/fn_dot_iu_command_log",
    # catalogue
    "functions/fn_dot_tool_register",
    "functions/fn_process_candidate_define",
    # switches and attestations
    "functions/fn_config_audit",
    "functions/fn_dot_iu_runtime_lease_end",
    "functions/fn_dot_config_set",
    "functions/fn_event_type_set",
    "functions/fn_preflight_attest",
    "functions/fn_dot_mechanism_attest",
    # outbox
    "functions/fn_dot_outbox_poll",
    "functions/fn_dot_outbox_ack",
    "functions/fn_dot_outbox_prune",
)


def upgrade() -> None:
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
