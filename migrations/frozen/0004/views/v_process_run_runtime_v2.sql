-- The real runs, and nothing else: the only relation that verdicts are made from, so that no number of
-- simulated or dry runs can reach one. Per run what a verdict needs of its two components, and the two facts
-- that make it:
--   has_real_runtime             the producer completed
--   cross_component_correlation  the verifier completed too, both under the header's correlation id, and the
--                                verifier's first row is later than the producer's end: it looked at what
--                                this run had produced
-- No run and no component under a word that only the optional amendment stores is looked at.
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
    k.producer_output_ref,
    k.verifier_seen,
    k.verifier_first_at,
    k.verifier_completed_at,
    k.verifier_correlation_id,
    k.verifier_session_actor,
    k.verifier_input_ref
from dot.process_run_observation as r
cross join lateral (
    select
        count(*) filter (where c.component_role = 'producer') > 0 as producer_seen,
        max(c.observed_at) filter (where c.is_producer_end) as producer_completed_at,
        max(c.correlation_id) filter (where c.is_producer_end) as producer_correlation_id,
        max(c.session_actor) filter (where c.is_producer_end) as producer_session_actor,
        max(c.output_ref) filter (where c.is_producer_end) as producer_output_ref,
        count(*) filter (where c.component_role = 'verifier') > 0 as verifier_seen,
        min(c.observed_at) filter (where c.component_role = 'verifier') as verifier_first_at,
        max(c.observed_at) filter (where c.is_verifier_end) as verifier_completed_at,
        max(c.correlation_id) filter (where c.is_verifier_end) as verifier_correlation_id,
        max(c.session_actor) filter (where c.is_verifier_end) as verifier_session_actor,
        max(c.input_ref) filter (where c.is_verifier_end) as verifier_input_ref
    from (
        select
            o.component_role, o.observed_at, o.correlation_id::text, o.session_actor, o.input_ref::text,
            o.output_ref::text,
            o.component_role = 'producer' and o.status = 'step_completed' as is_producer_end,
            o.component_role = 'verifier' and o.status = 'step_completed' as is_verifier_end
        from dot.process_component_observation as o
        where o.process_candidate_code = r.process_candidate_code
            and o.process_run_id = r.process_run_id
            and o.evidence_type = 'REAL_RUN'
            and o.status not in ('prepared', 'skipped', 'blocked')
    ) as c
) as k
where r.evidence_type = 'REAL_RUN' and r.status <> 'skipped';

revoke all on dot.v_process_run_runtime_v2
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_runtime_v2 to dot_reader;

comment on view dot.v_process_run_runtime_v2 is
    'REAL_RUN rows only: has_real_runtime, cross_component_correlation, and what they are made of.';
comment on column dot.v_process_run_runtime_v2.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run_runtime_v2.process_run_id is
    'The run: with the candidate it is the key.';
comment on column dot.v_process_run_runtime_v2.correlation_id is 'The correlation id of the header.';
comment on column dot.v_process_run_runtime_v2.observed_at is 'When the header was recorded.';
comment on column dot.v_process_run_runtime_v2.has_real_runtime is 'Whether the producer completed.';
comment on column dot.v_process_run_runtime_v2.cross_component_correlation is
    'Whether the verifier completed too, after it and under the same correlation id.';
comment on column dot.v_process_run_runtime_v2.producer_seen is 'Whether there is a row of the producer.';
comment on column dot.v_process_run_runtime_v2.producer_completed_at is 'When the producer completed.';
comment on column dot.v_process_run_runtime_v2.producer_correlation_id is 'The correlation id of that row.';
comment on column dot.v_process_run_runtime_v2.producer_session_actor is
    'The login that recorded the end of the producer.';
comment on column dot.v_process_run_runtime_v2.producer_output_ref is 'What the producer wrote.';
comment on column dot.v_process_run_runtime_v2.verifier_seen is 'Whether there is a row of the verifier.';
comment on column dot.v_process_run_runtime_v2.verifier_first_at is
    'When the first row of the verifier was recorded.';
comment on column dot.v_process_run_runtime_v2.verifier_completed_at is 'When the verifier completed.';
comment on column dot.v_process_run_runtime_v2.verifier_correlation_id is 'The correlation id of that row.';
comment on column dot.v_process_run_runtime_v2.verifier_session_actor is
    'The login that recorded the end of the verifier.';
comment on column dot.v_process_run_runtime_v2.verifier_input_ref is 'What the verifier looked at.';
