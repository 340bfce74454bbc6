"""Prepared transactions that would keep others waiting are refused, and what holds up a switch is named."""

from dot_wrapper.deploy.frozen_sql import apply, revert

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What it applies, the amendment has no copies of: a database that has it need not take it back first.
WITH_AMENDMENT = True

APPLIES = (
    "functions/rules/fn_gate_holders",
    "functions/rules/fn_lease_assert",
    "functions/rules/fn_outbox_epoch",
    "functions/api/fn_process_candidate_define",
    "functions/api/fn_dot_config_set",
)


def upgrade() -> None:
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
