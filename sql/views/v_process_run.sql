-- One row per run, and where it stands. The header says where the run stood when it was written; the end comes from the
-- components. end_state, first match:
--   failed     a component failed; or there is none and the header failed
--   skipped    a component was cancelled; or there is none and the header was cancelled
--   completed  producer and verifier completed
--   prepared   a prepared header without a component
--   stale      a DRY_RUN or REAL_RUN whose highest token is not the candidate's live one: nobody works on it any more
--   open       everything else
create or replace view dot.v_process_run with (security_barrier = true) as
select
    r.process_candidate_code::text,
    r.process_run_id::uuid,
    r.parent_run_id::uuid,
    r.correlation_id::text,
    r.dot_code::text,
    r.evidence_type,
    r.dry_run,
    r.status,
    case
        when k.failed or (k.components = 0 and r.status = 'failed') then 'failed'
        when k.cancelled or (k.components = 0 and r.status = 'cancelled') then 'skipped'
        when k.producer_completed and k.verifier_completed then 'completed'
        when k.components = 0 and r.status = 'observed' then 'prepared'
        when r.evidence_type <> 'SIMULATED_DRY_RUN'
            and greatest(r.lease_token, k.lease_token) is distinct from l.token then 'stale'
        else 'open'
    end as end_state,
    r.observed_at,
    greatest(r.observed_at, k.last_observed_at) as last_observed_at,
    k.components,
    r.actor::text,
    r.session_actor,
    r.idempotency_key::text,
    r.input_ref::text,
    r.output_ref::text,
    r.error_ref::text,
    r.evidence_ref::jsonb,
    r.lease_token,
    r.admission
from dot.process_run_observation as r
cross join lateral (
    select
        count(*) as components,
        bool_or(c.status = 'failed') as failed,
        bool_or(c.status = 'cancelled') as cancelled,
        bool_or(c.component_role = 'producer' and c.status = 'step_completed') as producer_completed,
        bool_or(c.component_role = 'verifier' and c.status = 'step_completed') as verifier_completed,
        max(c.lease_token) as lease_token,
        max(c.observed_at) as last_observed_at
    from dot.process_component_observation as c
    where c.process_candidate_code = r.process_candidate_code and c.process_run_id = r.process_run_id
) as k
left join dot.dot_iu_runtime_lease as l
    on l.lease_key = 'dot_exec:' || r.process_candidate_code and l.expires_at > statement_timestamp();

revoke all on dot.v_process_run
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run to dot_reader;

comment on view dot.v_process_run is
    'One row per run with its end_state: failed, skipped, completed, prepared, stale or open.';
