-- The real runs, and nothing else: the only relation that verdicts are made from, so that no number of simulated or dry runs
-- can reach one. It keeps what a verdict needs of each run and of its two components.
create or replace view dot.v_process_real_run with (security_barrier = true) as
select
    r.process_candidate_code,
    r.process_run_id,
    r.correlation_id,
    r.observed_at,
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
        max(c.correlation_id) filter (where c.component_role = 'producer' and c.status = 'step_completed')
            as producer_correlation_id,
        max(c.session_actor) filter (where c.component_role = 'producer' and c.status = 'step_completed')
            as producer_session_actor,
        count(*) filter (where c.component_role = 'verifier') > 0 as verifier_seen,
        min(c.observed_at) filter (where c.component_role = 'verifier') as verifier_first_at,
        max(c.observed_at) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_completed_at,
        max(c.correlation_id) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_correlation_id,
        max(c.session_actor) filter (where c.component_role = 'verifier' and c.status = 'step_completed')
            as verifier_session_actor
    from dot.process_component_observation as c
    where c.process_candidate_code = r.process_candidate_code
        and c.process_run_id = r.process_run_id
        and c.evidence_type = 'REAL_RUN'
) as k
where r.evidence_type = 'REAL_RUN';

revoke all on dot.v_process_real_run from public;
grant select on dot.v_process_real_run to dot_reader;

comment on view dot.v_process_real_run is
    'REAL_RUN rows only, with what a verdict needs of their components: the relation that verdicts are made from.';
