"""Functions: the evidence ladder, the two observe functions, leases, preflight, gates, catalogue, command log, outbox."""

from dot_wrapper.deploy.frozen_sql import apply, revert

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPLIES = (
    # what the functions below share
    "functions/rules/fn_is_time",
    "functions/rules/fn_input_refuse",
    "functions/rules/fn_payload_mismatch_refuse",
    "functions/rules/fn_takes_components",
    "functions/rules/fn_is_plain_evidence",
    "functions/rules/fn_status_stored",
    "functions/rules/fn_component_status_stored",
    "functions/rules/fn_evidence_stored",
    "functions/rules/fn_observation_input_problem",
    "functions/rules/fn_run_input_problem",
    "functions/rules/fn_component_input_problem",
    "functions/rules/fn_event_type",
    "functions/rules/fn_run_event",
    "functions/rules/fn_component_event",
    "functions/rules/fn_lease_input_problem",
    "functions/rules/fn_login_may_act",
    # what messages say of a host
    "functions/rules/fn_seam_tables",
    "functions/rules/fn_dot_unknown_hint",
    # gates, preflight, lease
    "functions/rules/fn_gate_keys",
    "functions/rules/fn_gate_state",
    "functions/rules/fn_gate_status",
    "functions/rules/fn_prepare_forbid",
    "functions/rules/fn_gate_latch",
    "functions/rules/fn_gate_holders",
    "functions/api/fn_dot_iu_operator_runtime_enabled",
    "functions/api/fn_process_dot_runtime_execute_enabled",
    "functions/api/fn_process_dot_runtime_real_run_enabled",
    "functions/rules/fn_gate_refuse",
    "functions/rules/fn_gates_assert",
    "functions/rules/fn_preflight_attestation",
    "functions/api/fn_preflight_guard",
    "functions/api/fn_assert_safe_for_dot_action",
    "functions/rules/fn_lease_assert",
    "functions/rules/fn_admission_assert",
    "functions/api/fn_dot_iu_runtime_lease_acquire",
    "functions/api/fn_dot_iu_runtime_lease_renew",
    "functions/api/fn_dot_iu_runtime_lease_release",
    # outbox, as the observations need it
    "functions/rules/fn_database_here",
    "functions/rules/fn_outbox_epoch",
    # observations
    "functions/rules/fn_candidate_role_assert",
    "functions/rules/fn_candidate_newest",
    "functions/api/fn_process_run_observe",
    "functions/api/fn_process_component_observe",
    "functions/rules/fn_pair_store_new",
    "functions/api/fn_process_pair_observe",
    "functions/rules/fn_batch_events_wanted",
    "functions/rules/fn_batch_events",
    "functions/rules/fn_batch_store_new",
    "functions/rules/fn_batch_observe_lines",
    "functions/api/fn_process_observe_batch",
    "functions/api/fn_process_run_begin",
    "functions/api/fn_dot_iu_command_log",
    # catalogue
    "functions/api/fn_dot_tool_register",
    "functions/api/fn_process_candidate_define",
    # switches and attestations
    "functions/rules/fn_config_audit",
    "functions/api/fn_dot_iu_runtime_lease_end",
    "functions/api/fn_dot_config_set",
    "functions/api/fn_event_type_set",
    "functions/api/fn_preflight_attest",
    "functions/api/fn_dot_mechanism_attest",
    # outbox
    "functions/api/fn_dot_outbox_poll",
    "functions/api/fn_dot_outbox_ack",
    "functions/api/fn_dot_outbox_prune",
)


def upgrade() -> None:
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
