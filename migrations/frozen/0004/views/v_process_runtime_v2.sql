-- Per candidate the two facts of its latest real run, so that an old success does not vouch for ever. Both
-- are false where there is no real run. The latest run is chosen on the table, by its index, before any
-- component is looked at. The second LIMIT is for the planner: it keeps the LATERAL from being merged, and
-- only then is the key pushed down into the view, which is a security barrier. The counts of runs are in
-- v_process_run_count, so that a verdict never counts. A run under the word `skipped`, which only the
-- optional amendment stores, is never the latest run: the verdict of the one before stands. Without the
-- amendment a skipped run is stored as `cancelled`, and may be the latest.
create or replace view dot.v_process_runtime_v2 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    latest.process_run_id as latest_real_run_id,
    latest.observed_at as latest_real_run_at,
    coalesce(v2.has_real_runtime, false) as has_real_runtime,
    coalesce(v2.cross_component_correlation, false) as cross_component_correlation
from dot.process_candidate as c
left join lateral (
    select r.process_run_id::uuid, r.observed_at
    from dot.process_run_observation as r
    where r.process_candidate_code = c.code and r.evidence_type = 'REAL_RUN' and r.status <> 'skipped'
    order by r.lease_token desc, r.observed_at desc, r.process_run_id desc
    limit 1
) as latest on true
left join lateral (
    select run.has_real_runtime, run.cross_component_correlation
    from dot.v_process_run_runtime_v2 as run
    where run.process_candidate_code = c.code and run.process_run_id = latest.process_run_id
    limit 1
) as v2 on true;

revoke all on dot.v_process_runtime_v2
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_runtime_v2 to dot_reader;

comment on view dot.v_process_runtime_v2 is
    'Per candidate has_real_runtime and cross_component_correlation of its latest real run.';
comment on column dot.v_process_runtime_v2.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_runtime_v2.latest_real_run_id is
    'The latest real run, by lease token; NULL where there is none.';
comment on column dot.v_process_runtime_v2.latest_real_run_at is 'When its header was recorded.';
comment on column dot.v_process_runtime_v2.has_real_runtime is 'Whether the producer of that run completed.';
comment on column dot.v_process_runtime_v2.cross_component_correlation is
    'Whether its verifier completed too, after it and under the same correlation id.';
