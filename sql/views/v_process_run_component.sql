-- The components of each run, as they were observed: what a reader asks for beside v_process_run.
-- A view of one table could be written through by a login that may write all data, with the rights of the view's owner: it is
-- a join, which cannot.
create or replace view dot.v_process_run_component with (security_barrier = true) as
select
    c.process_candidate_code::text,
    c.process_run_id::uuid,
    c.component_id,
    c.component_role::text,
    c.dot_code::text,
    c.correlation_id::text,
    c.evidence_type,
    c.status,
    c.observed_at,
    c.actor::text,
    c.session_actor,
    c.idempotency_key::text,
    c.input_ref::text,
    c.output_ref::text,
    c.error_ref::text,
    c.evidence_ref::jsonb,
    c.lease_token,
    c.admission
from dot.process_component_observation as c
cross join (values (true)) as one_row (unused);

revoke all on dot.v_process_run_component
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_component to dot_reader;

comment on view dot.v_process_run_component is 'The components of each run as they were observed.';
