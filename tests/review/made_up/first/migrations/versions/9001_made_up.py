"""A made-up revision: a table of notes, a function that writes one, two views, and a column of the ledger. No release has it."""

from dot_wrapper.deploy.frozen_sql import apply, execute, revert, tables
from dot_wrapper.operations.schema import revisions

revision = "9001"
down_revision = max(one for one in revisions() if one < revision)
branch_labels = None
depends_on = None

APPLIES = ("functions/api/fn_made_up_note", "views/v_made_up_note", "views/v_made_up_count")


def upgrade() -> None:
    execute(tables(__file__))
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
    execute("""
drop table dot.made_up_note;
drop function dot.fn_made_up_refuse();
alter table dot.process_run_observation drop column made_up_reason;
""")
