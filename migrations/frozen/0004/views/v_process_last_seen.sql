-- Per candidate the newest run of any evidence type, and what was seen of it. It says nothing of a verdict:
-- a simulated run counts here like any other. Newest is the run that occurred last, as its source says, else
-- was recorded last: in which order reports were imported changes nothing. outcome, first match:
--   failed    a part of the run failed
--   warned    the verifier completed, and its evidence has the status warn
--   passed    the verifier completed
--   another   the end_state of v_process_run: skipped, or where the verifier has not ended
-- All headers of the candidate are read for it, along the primary key.
create or replace view dot.v_process_last_seen with (security_barrier = true) as
select
    c.code as process_candidate_code,
    newest.process_run_id,
    newest.evidence_type,
    case
        when part.failed then 'failed'
        when part.completed and part.evidence ->> 'status' = 'warn' then 'warned'
        when part.completed then 'passed'
        else run.end_state
    end as outcome,
    coalesce(part.evidence, '{}') as evidence_ref,
    newest.ran_at,
    newest.observed_at,
    newest.actor
from dot.process_candidate as c
left join lateral (
    select
        r.process_run_id::uuid,
        r.evidence_type,
        r.actor::text,
        r.observed_at,
        coalesce(r.occurred_at, r.observed_at) as ran_at
    from dot.process_run_observation as r
    where r.process_candidate_code = c.code and r.status <> 'blocked'
    order by coalesce(r.occurred_at, r.observed_at) desc, r.observed_at desc, r.process_run_id desc
    limit 1
) as newest on true
left join lateral (
    select
        bool_or(k.status = 'failed') as failed,
        bool_or(k.component_role = 'verifier' and k.status = 'step_completed') as completed,
        -- Of the row in which the verifier ended, of which there is one at most.
        (
            array_agg(k.evidence_ref::jsonb) filter (
                where k.component_role = 'verifier'
                    and k.status in ('step_completed', 'failed', 'cancelled', 'skipped')
            )
        )[1] as evidence
    from dot.process_component_observation as k
    where k.process_candidate_code = c.code and k.process_run_id = newest.process_run_id
) as part on true
left join dot.v_process_run as run
    on run.process_candidate_code = c.code and run.process_run_id = newest.process_run_id;

revoke all on dot.v_process_last_seen
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_last_seen to dot_reader;

comment on view dot.v_process_last_seen is
    'Per candidate its newest run of any evidence type and what was seen of it. No verdict reads this.';
comment on column dot.v_process_last_seen.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_last_seen.process_run_id is
    'The run that occurred last; NULL where there is none.';
comment on column dot.v_process_last_seen.evidence_type is 'Its evidence type.';
comment on column dot.v_process_last_seen.outcome is
    'failed, skipped, warned or passed; where the verifier has not ended, the end_state of the run.';
comment on column dot.v_process_last_seen.evidence_ref is
    'What the verifier''s end was recorded with, for instance failures.';
comment on column dot.v_process_last_seen.ran_at is
    'When it occurred, as its source says, else when it was recorded.';
comment on column dot.v_process_last_seen.observed_at is 'When it was recorded, by the clock of the server.';
comment on column dot.v_process_last_seen.actor is 'Who ran it, as the call claims.';
