-- Per DOT how far it came: declared, invoked, observed, verified. Invoked needs a usage figure or a producer
-- row of a dry or real run; a last_executed that all DOTs share is a backfill, and no date ever counts.
-- Simulated runs are shown apart: they are proof of the ledger, not of the DOT. A skipped component shows
-- nothing of either, a blocked one nothing at all. blocked_runs counts the refused calls of which a header
-- tells. The parts:
--   tool        the catalogue, as v_dot_tool asks for it
--   catalogue   whether the last_executed of all DOTs is one date
--   part        each candidate's producer and verifier
--   observed    for each part whether there is a row of it: asked as far as the first that answers, and
--               never how many
--   per_dot     the same for each DOT, which may be a part of many candidates
create or replace view dot.v_dot_funnel with (security_barrier = true) as
with
tool as (
    select t.* from dot.fn_host_tools() as t
),
catalogue as (
    select
        count(*) > 1
        and count(t.last_executed) = count(*)
        and count(distinct t.last_executed) = 1 as is_backfilled
    from tool as t
),
part as (
    select v3.process_candidate_code, named.component_role, named.dot_code, v3.verified
    from dot.v_process_verification_v3 as v3
    cross join lateral (
        values ('producer', v3.producer_dot_code), ('verifier', v3.verifier_dot_code)
    ) as named (component_role, dot_code)
),
observed as (
    select
        p.dot_code,
        p.component_role,
        p.verified,
        exists (
            select from dot.process_run_observation as r
            where r.process_candidate_code = p.process_candidate_code
                and r.evidence_type <> 'SIMULATED_DRY_RUN'
                and exists (
                    select from dot.process_component_observation as k
                    where k.process_candidate_code = r.process_candidate_code
                        and k.process_run_id = r.process_run_id
                        and k.component_role = p.component_role
                        and k.status <> 'skipped'
                )
        ) as above_simulation,
        (
            select true
            from dot.process_component_observation as k
            where k.process_candidate_code = p.process_candidate_code
                and k.component_role = p.component_role
                and k.evidence_type = 'SIMULATED_DRY_RUN'
                and k.status <> 'blocked'
            -- The planner's: along the primary key, also where there is none to be found.
            order by k.process_run_id
            limit 1
        ) as simulated
    from part as p
),
per_dot as (
    select
        o.dot_code,
        bool_or(o.above_simulation and o.component_role = 'producer') as invoked,
        bool_or(o.above_simulation) as observed,
        bool_or(o.simulated) as simulated,
        bool_or(o.verified) as verified
    from observed as o
    group by o.dot_code
),
blocked as (
    select r.dot_code, count(*) as runs
    from dot.process_run_observation as r
    where r.status = 'blocked'
    group by r.dot_code
)
select
    t.code as dot_code,
    t.category,
    t.execution_engine,
    coalesce(t.usage_count, 0) as usage_count,
    t.last_executed,
    catalogue.is_backfilled as last_executed_is_backfill,
    true as declared,
    coalesce(t.usage_count, 0) > 0 or coalesce(d.invoked, false) as invoked,
    coalesce(d.observed, false) as observed,
    coalesce(d.simulated, false) as simulated,
    coalesce(d.verified, false) as verified,
    coalesce(blocked.runs, 0) as blocked_runs
from tool as t
cross join catalogue
left join per_dot as d on d.dot_code = t.code
left join blocked on blocked.dot_code = t.code;

revoke all on dot.v_dot_funnel
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_funnel to dot_reader;

comment on view dot.v_dot_funnel is
    'Per DOT: declared, invoked, observed (simulated apart), verified; and blocked runs.';
comment on column dot.v_dot_funnel.dot_code is 'The DOT.';
comment on column dot.v_dot_funnel.category is 'What kind of DOT it is.';
comment on column dot.v_dot_funnel.execution_engine is 'What would execute it.';
comment on column dot.v_dot_funnel.usage_count is
    'How often the host says that it was used; 0 where it says nothing.';
comment on column dot.v_dot_funnel.last_executed is 'When the host says that it was last executed.';
comment on column dot.v_dot_funnel.last_executed_is_backfill is
    'Whether all DOTs have the same last_executed: then it is a backfill.';
comment on column dot.v_dot_funnel.declared is 'Always true: the DOT is in the catalogue.';
comment on column dot.v_dot_funnel.invoked is
    'Whether it was used, or is the producer of a dry or real run.';
comment on column dot.v_dot_funnel.observed is 'Whether a dry or real run has a row of it.';
comment on column dot.v_dot_funnel.simulated is 'Whether a simulated run has a row of it.';
comment on column dot.v_dot_funnel.verified is 'Whether it is in a verified pair.';
comment on column dot.v_dot_funnel.blocked_runs is
    'How many refused calls of its runs a blocked header tells of.';
