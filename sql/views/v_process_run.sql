-- One row per run, and where it stands. The header says where the run stood when it was written; the end
-- comes from the components, of which one under `blocked` is none. `prepared`, `skipped` and `blocked` as
-- stored words come with the optional amendment alone. end_state, first match:
--   blocked          a header that tells of a refused call
--   failed           a component failed; or there is none and the header failed
--   skipped          a component was skipped; or there is none and the header was skipped
--   completed        producer and verifier completed
--   prepared         a prepared header without a component
--   awaits_verifier  a DRY_RUN or REAL_RUN whose producer completed, without a row of the verifier, and
--                    whose lease is over
--   stale            a DRY_RUN or REAL_RUN whose lease is over: its highest token is not the candidate's
--                    live one
--   open             everything else
-- No security barrier, which is for rows that a view hides: this one shows each, and the newest page is
-- found by an index.
create or replace view dot.v_process_run as
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
        when r.status = 'blocked' then 'blocked'
        when k.failed or (k.components = 0 and r.status = 'failed') then 'failed'
        when k.skipped or (k.components = 0 and r.status in ('cancelled', 'skipped')) then 'skipped'
        when k.producer_completed and k.verifier_completed then 'completed'
        when k.components = 0 and r.status in ('observed', 'prepared') then 'prepared'
        when r.evidence_type = 'SIMULATED_DRY_RUN' or greatest(r.lease_token, k.lease_token) = l.token
            then 'open'
        when k.producer_completed and not k.verifier_seen then 'awaits_verifier'
        else 'stale'
    end as end_state,
    r.occurred_at,
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
        bool_or(c.status in ('cancelled', 'skipped')) as skipped,
        bool_or(c.component_role = 'producer' and c.status = 'step_completed') as producer_completed,
        bool_or(c.component_role = 'verifier') as verifier_seen,
        bool_or(c.component_role = 'verifier' and c.status = 'step_completed') as verifier_completed,
        max(c.lease_token) as lease_token,
        max(c.observed_at) as last_observed_at
    from dot.process_component_observation as c
    where c.process_candidate_code = r.process_candidate_code and c.process_run_id = r.process_run_id
        and c.status <> 'blocked'
) as k
left join dot.dot_iu_runtime_lease as l
    on l.lease_key = 'dot_exec:' || r.process_candidate_code
    and l.expires_at > statement_timestamp() and l.expires_at <= statement_timestamp() + interval '1 hour';

revoke all on dot.v_process_run
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run to dot_reader;

comment on view dot.v_process_run is
    'One row per run with its end_state: failed, skipped, completed, prepared, awaits_verifier, stale or '
    'open.';
comment on column dot.v_process_run.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run.process_run_id is 'The run: with the candidate it is the key.';
comment on column dot.v_process_run.parent_run_id is
    'The run that this one follows, as claimed; it is not looked up.';
comment on column dot.v_process_run.correlation_id is
    'What ties the parts of the run together; that of the header.';
comment on column dot.v_process_run.dot_code is 'The DOT of the producer.';
comment on column dot.v_process_run.evidence_type is 'SIMULATED_DRY_RUN, DRY_RUN or REAL_RUN.';
comment on column dot.v_process_run.dry_run is
    'Whether nothing was executed for real: false for a REAL_RUN alone.';
comment on column dot.v_process_run.status is 'Where the run stood when its header was written.';
comment on column dot.v_process_run.end_state is
    'Where it stands, by its components: failed, skipped, completed, prepared, awaits_verifier, stale or '
    'open.';
comment on column dot.v_process_run.occurred_at is
    'When it happened, as the source says. It proves nothing.';
comment on column dot.v_process_run.observed_at is 'When it was recorded, by the clock of the server.';
comment on column dot.v_process_run.last_observed_at is 'When its last row was recorded.';
comment on column dot.v_process_run.components is 'How many rows its parts have.';
comment on column dot.v_process_run.actor is 'Who did it, as the call claims.';
comment on column dot.v_process_run.session_actor is 'The database login that really called.';
comment on column dot.v_process_run.idempotency_key is
    'The key under which a repeated call is the same call; NULL where there is none.';
comment on column dot.v_process_run.input_ref is 'What was looked at.';
comment on column dot.v_process_run.output_ref is 'What was written.';
comment on column dot.v_process_run.error_ref is 'Where the error is described.';
comment on column dot.v_process_run.evidence_ref is 'Further evidence, a JSON object.';
comment on column dot.v_process_run.lease_token is
    'The lease token of the header; NULL for a simulation without one.';
comment on column dot.v_process_run.admission is
    'The gates and preflight checks that let it in; NULL for a simulation, which is asked for nothing.';
