-- Per candidate whether it is verified: by its latest real run, so that an old success does not vouch for ever.
-- last_verified_run_id is the newest run that was verified, if ever one was. All of it comes from real runs, with one
-- exception: a candidate without one says no_run or no_real_run, and only that choice looks at other runs.
create or replace view dot.v_process_verification_v3 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    coalesce(v2.has_real_runtime and v2.cross_component_correlation, false) as verified,
    v2.latest_real_run_id,
    v2.latest_real_run_at,
    last_verified.process_run_id as last_verified_run_id,
    last_verified.observed_at as last_verified_at,
    case
        when latest.reasons is not null then latest.reasons
        when exists (
            select from dot.process_run_observation as any_run where any_run.process_candidate_code = c.code
        ) then array['no_real_run']
        else array['no_run']
    end as reasons,
    latest.producer_session_actor,
    latest.verifier_session_actor,
    latest.same_session_actor
from dot.process_candidate as c
join dot.v_process_runtime_v2 as v2 on v2.process_candidate_code = c.code
left join lateral (
    select v3.reasons, v3.producer_session_actor, v3.verifier_session_actor, v3.same_session_actor
    from dot.v_process_run_verification_v3 as v3
    where v3.process_candidate_code = c.code and v3.process_run_id = v2.latest_real_run_id
) as latest on true
left join lateral (
    select v3.process_run_id, v3.observed_at
    from dot.v_process_run_verification_v3 as v3
    where v3.process_candidate_code = c.code and v3.verified
    order by v3.observed_at desc, v3.process_run_id desc
    limit 1
) as last_verified on true;

revoke all on dot.v_process_verification_v3 from public;
grant select on dot.v_process_verification_v3 to dot_reader;

comment on view dot.v_process_verification_v3 is
    'Per candidate: verified by its latest real run, the reasons why not, the last verified run, the logins that recorded it.';
