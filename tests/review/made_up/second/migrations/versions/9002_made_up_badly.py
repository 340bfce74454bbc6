"""A made-up revision with most of what a reviewer should stop. No release has it."""

from dot_wrapper.deploy.frozen_sql import MAIN_LINE, apply, execute, lock_views

revision = "9002"
down_revision = "9001"
branch_labels = None
depends_on = None

APPLIES = ("functions/api/fn_made_up_note", "views/v_made_up_note", "views/v_made_up_count")


def upgrade() -> None:
    lock_views(APPLIES)
    execute("""
alter table dot.made_up_note add column attempt integer not null default 1;
alter table dot.made_up_note add column trace_id uuid not null default gen_random_uuid();
alter table dot.made_up_note add constraint made_up_note_attempt_check check (attempt > 0);
create index made_up_note_code_idx on dot.made_up_note (code);
grant update (body) on dot.made_up_note to dot_writer;
drop view dot.v_made_up_count;
""")
    apply(revision, APPLIES)


def downgrade() -> None:
    lock_views(APPLIES)
    # That writers may update a column is forgotten.
    execute("""
drop view dot.v_made_up_count;
drop view dot.v_made_up_note;
drop index dot.made_up_note_code_idx;
alter table dot.made_up_note drop column attempt;
alter table dot.made_up_note drop column trace_id;
""")
    for name in APPLIES:
        copy = MAIN_LINE.newest(name, before=revision)
        assert copy is not None
        execute(copy.read_text(encoding="utf-8"))
