-- Per candidate the two facts of its latest real run, so that an old success does not vouch for ever. Both are false where
-- there is no real run. The counts of runs are in v_process_run_count, so that a verdict never counts.
create or replace view dot.v_process_runtime_v2 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    latest.process_run_id as latest_real_run_id,
    latest.observed_at as latest_real_run_at,
    coalesce(latest.has_real_runtime, false) as has_real_runtime,
    coalesce(latest.cross_component_correlation, false) as cross_component_correlation
from dot.process_candidate as c
left join lateral (
    select v2.process_run_id, v2.observed_at, v2.has_real_runtime, v2.cross_component_correlation
    from dot.v_process_run_runtime_v2 as v2
    where v2.process_candidate_code = c.code
    order by v2.observed_at desc, v2.process_run_id desc
    limit 1
) as latest on true;

revoke all on dot.v_process_runtime_v2 from public;
grant select on dot.v_process_runtime_v2 to dot_reader;

comment on view dot.v_process_runtime_v2 is
    'Per candidate has_real_runtime and cross_component_correlation of its latest real run.';
