"""Words: prepared, skipped and blocked may be stored, and are. What is stored already is checked by the next revision."""

from dot_wrapper.deploy.frozen_sql import MAIN_LINE, apply, execute, lock_views
from dot_wrapper.deploy.keeps_rows import refuse_where_used

revision = "a001"
down_revision = None
branch_labels = None
depends_on = None

# Each view comes after the views it reads.
APPLIES = (
    "functions/rules/fn_status_stored",
    "functions/rules/fn_evidence_stored",
    "functions/rules/fn_run_input_problem",
    "views/v_process_run_count",
    "views/v_dot_funnel",
    "views/v_dot_funnel_total",
)

# Views that have another column here, and those that read them.
WIDENED = ("views/v_dot_funnel", "views/v_dot_funnel_total", "views/v_dot_execution_inventory")


def upgrade() -> None:
    execute("alter table dot.alembic_version_amendment enable row level security")
    apply(revision, APPLIES)
    # Last, because no session can write from here to the end of the transaction. NOT VALID: no row is looked at.
    execute("""
alter table dot.process_run_observation
    -- A wider one takes its name.
    -- squawk-ignore ban-drop-constraint
    drop constraint process_run_observation_status_check,
    add constraint process_run_observation_status_check check (
        case status
            when 'observed' then evidence_ref ? 'wrapper_phase' and not evidence_ref ? 'skipped'
            when 'cancelled' then evidence_ref ? 'skipped' and not evidence_ref ? 'wrapper_phase'
            when 'prepared' then
                evidence_type = 'SIMULATED_DRY_RUN' and not evidence_ref ?| '{wrapper_phase,skipped}'
            else status in ('started', 'completed', 'failed', 'skipped', 'blocked')
                and not evidence_ref ?| '{wrapper_phase,skipped}'
        end
    ) not valid,
    -- It tells of a refused call, and stands in the way of none.
    add constraint process_run_observation_blocked_check check (
        status <> 'blocked'
        or evidence_type = 'SIMULATED_DRY_RUN'
            and parent_run_id is not null and parent_run_id <> process_run_id
            and error_ref is not null and idempotency_key is null
    ) not valid;
alter table dot.process_component_observation
    -- A wider one takes its name.
    -- squawk-ignore ban-drop-constraint
    drop constraint process_component_observation_status_check,
    add constraint process_component_observation_status_check check (
        case status
            when 'observed' then evidence_ref ? 'wrapper_phase' and not evidence_ref ? 'skipped'
            when 'cancelled' then evidence_ref ? 'skipped' and not evidence_ref ? 'wrapper_phase'
            when 'prepared' then
                evidence_type = 'SIMULATED_DRY_RUN' and not evidence_ref ?| '{wrapper_phase,skipped}'
            else status in ('step_started', 'step_completed', 'failed', 'skipped', 'blocked')
                and not evidence_ref ?| '{wrapper_phase,skipped}'
        end
        and stage = dot.fn_component_stage(status)
    ) not valid,
    -- The function stores none: where the call of a component is refused, a header tells of it.
    add constraint process_component_observation_blocked_check check (
        status <> 'blocked'
        or evidence_type = 'SIMULATED_DRY_RUN' and error_ref is not null and idempotency_key is null
    ) not valid;
""")


def downgrade() -> None:
    lock_views((*(name for name in APPLIES if name not in WIDENED), *WIDENED))
    refuse_where_used(locked=True)
    execute("""
alter table dot.process_run_observation
    drop constraint process_run_observation_blocked_check,
    drop constraint process_run_observation_status_check,
    add constraint process_run_observation_status_check check (dot.fn_is_run_status(status, evidence_ref));
alter table dot.process_component_observation
    drop constraint process_component_observation_blocked_check,
    drop constraint process_component_observation_status_check,
    add constraint process_component_observation_status_check check (
        dot.fn_is_component_status(status, stage, evidence_ref)
    );
""")
    for view in reversed(WIDENED):
        execute(f"drop view dot.{view.removeprefix('views/')}")
    for name in dict.fromkeys((*APPLIES, *WIDENED)):
        copy = MAIN_LINE.newest(name)
        assert copy is not None  # noqa: S101  the amendment replaces, and adds nothing
        execute(copy.read_text(encoding="utf-8"))
