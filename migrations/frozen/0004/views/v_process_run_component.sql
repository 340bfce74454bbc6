-- The components of each run, as they were observed: what a reader asks for beside v_process_run. A view of
-- one table could be written through by a login that may write all data, with the rights of the view's
-- owner: it is a join, which cannot. No security barrier: it shows every row.
create or replace view dot.v_process_run_component as
select
    c.process_candidate_code::text,
    c.process_run_id::uuid,
    c.component_id,
    c.component_role::text,
    c.dot_code::text,
    c.correlation_id::text,
    c.evidence_type,
    c.status,
    c.occurred_at,
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
comment on column dot.v_process_run_component.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run_component.process_run_id is 'The run: with the candidate it is the key.';
comment on column dot.v_process_run_component.component_id is 'What callers and events call the row by.';
comment on column dot.v_process_run_component.component_role is 'producer or verifier.';
comment on column dot.v_process_run_component.dot_code is 'The DOT.';
comment on column dot.v_process_run_component.correlation_id is
    'What ties the parts of the run together; that of the header.';
comment on column dot.v_process_run_component.evidence_type is 'That of the header.';
comment on column dot.v_process_run_component.status is
    'observed, step_started, step_completed, failed or cancelled.';
comment on column dot.v_process_run_component.occurred_at is
    'When it happened, as the source says. It proves nothing.';
comment on column dot.v_process_run_component.observed_at is
    'When it was recorded, by the clock of the server.';
comment on column dot.v_process_run_component.actor is 'Who did it, as the call claims.';
comment on column dot.v_process_run_component.session_actor is 'The database login that really called.';
comment on column dot.v_process_run_component.idempotency_key is
    'The key under which a repeated call is the same call; NULL where there is none.';
comment on column dot.v_process_run_component.input_ref is 'What was looked at.';
comment on column dot.v_process_run_component.output_ref is 'What was written.';
comment on column dot.v_process_run_component.error_ref is 'Where the error is described.';
comment on column dot.v_process_run_component.evidence_ref is 'Further evidence, a JSON object.';
comment on column dot.v_process_run_component.lease_token is
    'The lease token it was recorded under; NULL for a simulation without one.';
comment on column dot.v_process_run_component.admission is
    'The gates and preflight checks that let it in; NULL for a simulation, which is asked for nothing.';
