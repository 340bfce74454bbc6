-- Per candidate whether it is verified: by its latest real run, so that an old success does not vouch for
-- ever. The parts:
--   latest   its latest real run: the one under the highest lease token, which only grows, whatever the
--            clock does
--   judged   the verdict of that run
--   once     where that is not verified: of the runs that ever were, the one whose verifier completed last
--   unreal   where there is no real run: whether there is any other, which alone looks at runs that are not
--            real
-- Each part is looked up by an index, so a verdict costs the same however many runs there are. The part once
-- walks over the runs that are not verified although their verifier completed: the producer had not
-- completed, or not before the verifier began.
--
-- The LIMIT of latest and once choose a row. Those of judged, verdict and unreal are for the planner: they
-- have one row at most or ask for any. A LIMIT keeps a LATERAL from being merged into the query around it,
-- and only then is the key pushed down into the view, which is a security barrier. The ORDER BY of unreal
-- makes the planner use the index also where there is no such run.
create or replace view dot.v_process_verification_v3 with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    coalesce(judged.verified, false) as verified,
    latest.process_run_id as latest_real_run_id,
    latest.observed_at as latest_real_run_at,
    case when judged.verified then latest.process_run_id
        else once.process_run_id end as last_verified_run_id,
    case when judged.verified then latest.observed_at else once.observed_at end as last_verified_at,
    case
        when judged.reasons is not null then judged.reasons
        when unreal.seen then array['no_real_run']
        else array['no_run']
    end as reasons,
    coalesce(judged.independently_verified, false) as independently_verified,
    coalesce(judged.caveats, '{}') as caveats,
    judged.producer_session_actor,
    judged.verifier_session_actor,
    judged.same_session_actor,
    nullif(dot.fn_candidate_newest(c.code), c.code) as superseded_by
from dot.process_candidate as c
left join lateral (
    select r.process_run_id::uuid, r.observed_at
    from dot.process_run_observation as r
    where r.process_candidate_code = c.code and r.evidence_type = 'REAL_RUN' and r.status <> 'skipped'
    order by r.lease_token desc, r.observed_at desc, r.process_run_id desc
    limit 1
) as latest on true
left join lateral (
    select v3.*
    from dot.v_process_run_verification_v3 as v3
    where v3.process_candidate_code = c.code and v3.process_run_id = latest.process_run_id
    limit 1  -- for the planner
) as judged on true
left join lateral (
    -- Backwards along the index of verifiers that completed in a real run, as far as the first run that is
    -- verified.
    select verdict.process_run_id, verdict.observed_at
    from dot.process_component_observation as k
    cross join lateral (
        select v3.process_run_id, v3.observed_at
        from dot.v_process_run_verification_v3 as v3
        where v3.process_candidate_code = c.code and v3.process_run_id = k.process_run_id and v3.verified
        limit 1  -- for the planner
    ) as verdict
    where judged.verified is not true
        and k.process_candidate_code = c.code
        and k.evidence_type = 'REAL_RUN'
        and k.component_role = 'verifier'
        and k.status = 'step_completed'
    order by k.lease_token desc, k.observed_at desc, k.process_run_id desc
    limit 1
) as once on true
left join lateral (
    select true as seen
    from dot.process_run_observation as r
    where latest.process_run_id is null and r.process_candidate_code = c.code and r.status <> 'blocked'
    order by r.process_run_id
    limit 1  -- for the planner
) as unreal on true;

revoke all on dot.v_process_verification_v3
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_verification_v3 to dot_reader;

comment on view dot.v_process_verification_v3 is
    'Per candidate: verified by its latest real run, the reasons why not, the caveats, the last verified '
    'run, the logins.';
comment on column dot.v_process_verification_v3.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_verification_v3.producer_dot_code is 'The DOT that produces.';
comment on column dot.v_process_verification_v3.verifier_dot_code is
    'The DOT that verifies; never the producer.';
comment on column dot.v_process_verification_v3.verified is
    'Whether it is verified: computed, never claimed.';
comment on column dot.v_process_verification_v3.latest_real_run_id is
    'The latest real run, by lease token; NULL where there is none.';
comment on column dot.v_process_verification_v3.latest_real_run_at is 'When its header was recorded.';
comment on column dot.v_process_verification_v3.last_verified_run_id is
    'The latest real run where it is verified, else the one that last was; NULL where none was.';
comment on column dot.v_process_verification_v3.last_verified_at is
    'When the header of that run was recorded.';
comment on column dot.v_process_verification_v3.reasons is
    'What is missing for a verdict, as words of v_process_reason; empty where verified.';
comment on column dot.v_process_verification_v3.independently_verified is 'Verified without a caveat.';
comment on column dot.v_process_verification_v3.caveats is
    'What a stranger would ask of a verdict, as words of v_process_reason; empty where not verified.';
comment on column dot.v_process_verification_v3.producer_session_actor is
    'The login that recorded the end of the producer.';
comment on column dot.v_process_verification_v3.verifier_session_actor is
    'The login that recorded the end of the verifier.';
comment on column dot.v_process_verification_v3.same_session_actor is
    'Whether these two are one login; NULL where one is missing.';
comment on column dot.v_process_verification_v3.superseded_by is
    'The newest candidate of its chain; NULL where it is the newest itself.';
