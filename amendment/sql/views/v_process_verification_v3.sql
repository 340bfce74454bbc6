-- Per candidate whether it is verified: by its latest real run, so that an old success does not vouch for ever.
-- last_verified_run_id is the newest run that was verified, if ever one was. All of it comes from real runs, with one
-- exception: a candidate without one says no_run or no_real_run, and only that choice looks at other runs. A refused call is
-- no run.
create or replace view dot.v_process_verification_v3 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    v2.has_real_runtime and v2.cross_component_correlation as verified,
    v2.latest_real_run_id,
    v2.latest_real_run_at,
    last_verified.process_run_id as last_verified_run_id,
    last_verified.observed_at as last_verified_at,
    case
        when latest.reasons is not null then latest.reasons
        when exists (
            select from dot.process_run_observation as any_run where any_run.process_candidate_code = c.code
                and any_run.status <> 'blocked'
        ) then array['no_real_run']
        else array['no_run']
    end as reasons,
    latest.producer_session_actor,
    latest.verifier_session_actor,
    latest.same_session_actor
from dot.process_candidate as c
cross join lateral (
    select v.latest_real_run_id, v.latest_real_run_at, v.has_real_runtime, v.cross_component_correlation
    from dot.v_process_runtime_v2 as v
    where v.process_candidate_code = c.code
    limit 1
) as v2
left join lateral (
    select run.reasons, run.producer_session_actor, run.verifier_session_actor, run.same_session_actor
    from dot.v_process_run_verification_v3 as run
    where run.process_candidate_code = c.code and run.process_run_id = v2.latest_real_run_id
    limit 1
) as latest on true
left join lateral (
    -- Backwards along the index of real runs, as far as the first one that is verified.
    select r.process_run_id, r.observed_at
    from dot.process_run_observation as r
    cross join lateral (
        select from dot.v_process_run_verification_v3 as run
        where run.process_candidate_code = c.code and run.process_run_id = r.process_run_id and run.verified
        limit 1
    ) as verified_run
    where r.process_candidate_code = c.code and r.evidence_type = 'REAL_RUN'
    order by r.observed_at desc, r.process_run_id desc
    limit 1
) as last_verified on true;

revoke all on dot.v_process_verification_v3 from public;
grant select on dot.v_process_verification_v3 to dot_reader;

comment on view dot.v_process_verification_v3 is
    'Per candidate: verified by its latest real run, the reasons why not, the last verified run, the logins that recorded it.';
