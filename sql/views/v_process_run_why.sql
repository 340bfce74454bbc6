-- Per run, of whatever evidence type, whether it is verified and why not. A run that
-- v_process_run_verification_v3 does not judge is not verified, for the one reason that it is no real run.
-- explanations has a sentence for each word of reasons and caveats.
create or replace view dot.v_process_run_why with (security_barrier = true) as
select
    r.process_candidate_code,
    r.process_run_id,
    r.evidence_type,
    r.end_state,
    coalesce(v3.verified, false) as verified,
    coalesce(v3.independently_verified, false) as independently_verified,
    said.reasons,
    said.caveats,
    v3.producer_session_actor,
    v3.verifier_session_actor,
    v3.same_session_actor,
    (
        select coalesce(jsonb_object_agg(e.word, e.sentence), '{}')
        from dot.v_process_reason as e
        where e.word = any (said.reasons || said.caveats)
    ) as explanations
from dot.v_process_run as r
left join dot.v_process_run_verification_v3 as v3
    on v3.process_candidate_code = r.process_candidate_code and v3.process_run_id = r.process_run_id
cross join lateral (
    select
        coalesce(v3.reasons, array['not_a_real_run']) as reasons,
        coalesce(v3.caveats, '{}') as caveats
) as said;

revoke all on dot.v_process_run_why
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_why to dot_reader;

comment on view dot.v_process_run_why is
    'Per run, simulated ones too: whether it is verified, and why not, in words and sentences.';
comment on column dot.v_process_run_why.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run_why.process_run_id is 'The run: with the candidate it is the key.';
comment on column dot.v_process_run_why.evidence_type is 'SIMULATED_DRY_RUN, DRY_RUN or REAL_RUN.';
comment on column dot.v_process_run_why.end_state is 'Where it stands, as v_process_run says.';
comment on column dot.v_process_run_why.verified is 'Whether it is verified: computed, never claimed.';
comment on column dot.v_process_run_why.independently_verified is 'Verified without a caveat.';
comment on column dot.v_process_run_why.reasons is
    'What is missing for a verdict, as words of v_process_reason; empty where verified.';
comment on column dot.v_process_run_why.caveats is
    'What a stranger would ask of a verdict, as words of v_process_reason; empty where not verified.';
comment on column dot.v_process_run_why.producer_session_actor is
    'The login that recorded the end of the producer.';
comment on column dot.v_process_run_why.verifier_session_actor is
    'The login that recorded the end of the verifier.';
comment on column dot.v_process_run_why.same_session_actor is
    'Whether these two are one login; NULL where one is missing.';
comment on column dot.v_process_run_why.explanations is
    'A sentence for each word of reasons and caveats, by word.';
