"""Validate: what was stored before the amendment is checked too, while others write."""

from dot_wrapper.deploy.frozen_sql import execute
from dot_wrapper.deploy.keeps_rows import refuse_where_used
from dot_wrapper.deploy.transaction import next_transaction

revision = "a002"
down_revision = "a001"
branch_labels = None
depends_on = None

APPLIES: tuple[str, ...] = ()


def upgrade() -> None:
    next_transaction(after="a001")  # which locked both tables against writers
    execute("""
alter table dot.process_run_observation validate constraint process_run_observation_status_check;
alter table dot.process_run_observation validate constraint process_run_observation_blocked_check;
alter table dot.process_component_observation validate constraint process_component_observation_status_check;
alter table dot.process_component_observation
    validate constraint process_component_observation_blocked_check;
""")


def downgrade() -> None:
    # Before anything is taken back, and while others write. A constraint that was validated stays so.
    refuse_where_used(locked=False)
