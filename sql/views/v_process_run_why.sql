-- Per run, of whatever evidence type, whether it is verified and why not. A run that v_process_run_verification_v3 does not judge is
-- not verified, for the one reason that it is no real run. explanations has a sentence for each word of reasons and caveats.
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

revoke all on dot.v_process_run_why from public;
grant select on dot.v_process_run_why to dot_reader;

comment on view dot.v_process_run_why is
    'Per run, simulated ones too: whether it is verified, and why not, in words and sentences.';
