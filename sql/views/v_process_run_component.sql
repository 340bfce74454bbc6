-- The components of each run, as they were observed: what a reader asks for beside v_process_run.
create or replace view dot.v_process_run_component with (security_barrier = true) as
select
    c.process_candidate_code,
    c.process_run_id,
    c.component_id,
    c.component_role,
    c.dot_code,
    c.correlation_id,
    c.evidence_type,
    c.status,
    c.observed_at,
    c.actor,
    c.session_actor,
    c.idempotency_key,
    c.input_ref,
    c.output_ref,
    c.error_ref,
    c.evidence_ref,
    c.lease_token,
    c.admission
from dot.process_component_observation as c;

revoke all on dot.v_process_run_component from public;
grant select on dot.v_process_run_component to dot_reader;

comment on view dot.v_process_run_component is 'The components of each run as they were observed.';
