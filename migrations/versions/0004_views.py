"""Views: runs, the v2 facts, the v3 verdict, the board, counts, catalogue, leases, trails, outbox, inventory."""

from dot_wrapper.deploy.frozen_sql import apply, revert

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Each view comes after the views it reads.
APPLIES = (
    "views/gate_latch",
    "views/v_dot_schema_revision",
    "views/v_dot_amendment",
    "views/v_dot_tool",
    "views/v_dot_lease",
    "views/v_dot_event_type",
    "views/v_process_candidate",
    "views/v_process_run",
    "views/v_process_run_component",
    "views/v_process_run_runtime_v2",
    "views/v_process_runtime_v2",
    "views/v_process_run_count",
    "views/v_process_last_seen",
    "views/v_process_run_verification_v3",
    "views/v_process_verification_v3",
    "views/v_process_reason",
    "views/v_process_board",
    "views/v_process_run_why",
    "views/v_dot_gate",
    "views/v_dot_gate_holder",
    "views/v_dot_config_audit",
    "views/v_preflight_attestation",
    "views/v_dot_mechanism_attestation",
    "views/v_dot_command",
    "views/v_dot_command_run",
    "views/v_dot_state",
    "views/v_dot_outbox",
    "views/v_dot_outbox_waiting",
    "views/v_dot_funnel",
    "views/v_dot_funnel_total",
    "views/v_dot_execution_inventory",
)


def upgrade() -> None:
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
