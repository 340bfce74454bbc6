"""The amendment's way back: there is none once a row uses a word of its own."""

from __future__ import annotations

from dot_wrapper.deploy.frozen_sql import execute


def refuse_where_used(*, locked: bool) -> None:
    """Refuses, in SQL so that ``--sql`` refuses too, where a row is stored under a word of the amendment, naming how many are
    (restrict_violation, 23001, constraint ``amendment_keeps_rows``).

    Args:
        locked: whether no session may write from here until the transaction ends.
    """
    lock = "    lock table dot.process_run_observation, dot.process_component_observation in access exclusive mode;\n"
    execute(f"""
do $amendment$
declare
    v_runs bigint;
    v_components bigint;
begin
{lock if locked else ""}\
    select count(*) into v_runs
    from dot.process_run_observation r where r.status in ('prepared', 'skipped', 'blocked');
    select count(*) into v_components
    from dot.process_component_observation c where c.status in ('prepared', 'skipped', 'blocked');
    if v_runs + v_components > 0 then
        raise restrict_violation using
            message = format('%s runs and %s components are stored under a word of the amendment', v_runs, v_components),
            hint = 'The ledger is append-only: an amendment that was used stays. Nothing was changed.',
            constraint = 'amendment_keeps_rows';
    end if;
end
$amendment$;
""")  # noqa: S608  every name in it is a constant of ours
