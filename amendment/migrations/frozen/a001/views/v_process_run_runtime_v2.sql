-- The real runs, and nothing else: the only relation that verdicts are made from, so that no number of simulated or dry runs
-- can reach one. No run and no component under a word of the amendment is looked at. Per run what a verdict needs of its two components,
-- and the two facts that make it:
--   has_real_runtime             the producer completed
--   cross_component_correlation  the verifier completed too, both under the header's correlation id, and the verifier's first
--                                row is later than the producer's end: it looked at what this run had produced
create or replace view dot.v_process_run_runtime_v2 with (security_barrier = true) as
select
    r.process_candidate_code::text,
    r.process_run_id::uuid,
    r.correlation_id::text,
    r.observed_at,
    k.producer_completed_at is not null as has_real_runtime,
    k.producer_completed_at is not null
        and k.verifier_completed_at is not null
        and k.producer_correlation_id = r.correlation_id
        and k.verifier_correlation_id = r.correlation_id
        and k.verifier_first_at > k.producer_completed_at as cross_component_correlation,
    k.producer_seen,
    k.producer_completed_at,
    k.producer_correlation_id,
    k.producer_session_actor,
    k.verifier_seen,
    k.verifier_first_at,
    k.verifier_completed_at,
    k.verifier_correlation_id,
    k.verifier_session_actor
from dot.process_run_observation as r
cross join lateral (
    select
        count(*) filter (where c.component_role = 'producer') > 0 as producer_seen,
        max(c.observed_at) filter (where c.component_role = 'producer' and c.status = 'step_completed')
            as producer_completed_at,
        max(c.correlation_id::text) filter (where c.component_role = 'producer' and c.status = 'step_completed')
            as producer_correlation_id,
        max(c.session_actor) filter (where c.component_role = 'producer' and c.status = 'step_completed')
            as producer_session_actor,
        count(*) filter (where c.component_role = 'verifier') > 0 as verifier_seen,
        min(c.observed_at) filter (where c.component_role = 'verifier') as verifier_first_at,
        max(c.observed_at) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_completed_at,
        max(c.correlation_id::text) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_correlation_id,
        max(c.session_actor) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_session_actor
    from dot.process_component_observation as c
    where c.process_candidate_code = r.process_candidate_code
        and c.process_run_id = r.process_run_id
        and c.evidence_type = 'REAL_RUN'
        and c.status not in ('prepared', 'skipped', 'blocked')
) as k
where r.evidence_type = 'REAL_RUN' and r.status <> 'skipped';

revoke all on dot.v_process_run_runtime_v2
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_runtime_v2 to dot_reader;

comment on view dot.v_process_run_runtime_v2 is
    'REAL_RUN rows only: has_real_runtime, cross_component_correlation, and what they are made of.';
