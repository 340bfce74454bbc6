-- Per candidate whether it is verified: by its latest real run, so that an old success does not vouch for ever. What makes it so are
-- the two facts of v2 about that run. last_verified_run_id is that run where it is verified, else of those that ever were the one
-- whose verifier completed last. All of it comes from real runs, with one
-- exception: a candidate without one says no_run or no_real_run, and only that choice looks at other runs.
--
-- Everything is looked up by an index and in a LATERAL of its own, so a verdict costs the same however many runs there are. Only runs
-- whose verifier completed and that are not verified all the same, because it began before its producer was done, are walked over.
create or replace view dot.v_process_verification_v3 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    coalesce(run.verified, false) as verified,
    latest.process_run_id as latest_real_run_id,
    latest.observed_at as latest_real_run_at,
    case when run.verified then latest.process_run_id else once.process_run_id end as last_verified_run_id,
    case when run.verified then latest.observed_at else once.observed_at end as last_verified_at,
    case
        when run.reasons is not null then run.reasons
        when (
            select true from dot.process_run_observation as any_run
            where any_run.process_candidate_code = c.code
            order by any_run.process_run_id  -- along the primary key, also where there is none to be found
            limit 1
        ) then array['no_real_run']
        else array['no_run']
    end as reasons,
    run.producer_session_actor,
    run.verifier_session_actor,
    run.same_session_actor
from dot.process_candidate as c
left join lateral (
    select r.process_run_id::uuid, r.observed_at
    from dot.process_run_observation as r
    where r.process_candidate_code = c.code and r.evidence_type = 'REAL_RUN'
    order by r.observed_at desc, r.process_run_id desc
    limit 1
) as latest on true
left join lateral (
    select v3.verified, v3.reasons, v3.producer_session_actor, v3.verifier_session_actor, v3.same_session_actor
    from dot.v_process_run_verification_v3 as v3
    where v3.process_candidate_code = c.code and v3.process_run_id = latest.process_run_id
    limit 1
) as run on true
left join lateral (
    -- Backwards along the index of verifiers that completed in a real run, as far as the first run that is verified.
    select v3.process_run_id, v3.observed_at
    from dot.process_component_observation as k
    cross join lateral (
        select one.process_run_id, one.observed_at
        from dot.v_process_run_verification_v3 as one
        where one.process_candidate_code = c.code and one.process_run_id = k.process_run_id and one.verified
        limit 1
    ) as v3
    where run.verified is not true
        and k.process_candidate_code = c.code
        and k.evidence_type = 'REAL_RUN'
        and k.component_role = 'verifier'
        and k.status = 'step_completed'
    order by k.observed_at desc, k.process_run_id desc
    limit 1
) as once on true;

revoke all on dot.v_process_verification_v3
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_verification_v3 to dot_reader;

comment on view dot.v_process_verification_v3 is
    'Per candidate: verified by its latest real run, the reasons why not, the last verified run, the logins that recorded it.';
