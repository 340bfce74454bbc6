-- Per DOT how far it came: declared, invoked, observed, verified. Invoked needs a usage figure or a producer row of a dry or
-- real run; a last_executed that all DOTs share is a backfill, and no date ever counts.
-- Simulated runs are shown apart: they are proof of the ledger, not of the DOT.
create or replace view dot.v_dot_funnel with (security_barrier = true) as
select
    t.code as dot_code,
    t.category,
    t.execution_engine,
    coalesce(t.usage_count, 0) as usage_count,
    t.last_executed,
    shared.dots > 1 and shared.dated = shared.dots and shared.values_seen = 1 as last_executed_is_backfill,
    true as declared,
    coalesce(t.usage_count, 0) > 0 or coalesce(k.invoked, false) as invoked,
    coalesce(k.observed, false) as observed,
    coalesce(k.simulated, false) as simulated,
    coalesce(k.verified, false) as verified
from dot.dot_tools as t
cross join (
    select count(*) as dots, count(d.last_executed) as dated, count(distinct d.last_executed) as values_seen
    from dot.dot_tools as d
) as shared
left join (
    -- Whether there is one is asked, never how many: candidate by candidate, as far as the first row that answers.
    select
        d.dot_code,
        bool_or(d.component_role = 'producer' and above.seen) as invoked,
        bool_or(above.seen) as observed,
        bool_or((
            select true from dot.process_component_observation as k
            where k.process_candidate_code = v3.process_candidate_code
                and k.component_role = d.component_role
                and k.evidence_type = 'SIMULATED_DRY_RUN'
            order by k.process_run_id  -- along the primary key, also where there is none to be found
            limit 1
        )) as simulated,
        bool_or(v3.verified) as verified
    from dot.v_process_verification_v3 as v3
    cross join lateral (
        values ('producer', v3.producer_dot_code), ('verifier', v3.verifier_dot_code)
    ) as d (component_role, dot_code)
    cross join lateral (
        select exists (
            select from dot.process_run_observation as r
            where r.process_candidate_code = v3.process_candidate_code
                and r.evidence_type <> 'SIMULATED_DRY_RUN'
                and exists (
                    select from dot.process_component_observation as k
                    where k.process_candidate_code = r.process_candidate_code
                        and k.process_run_id = r.process_run_id
                        and k.component_role = d.component_role
                )
        ) as seen
    ) as above
    group by d.dot_code
) as k on k.dot_code = t.code;

revoke all on dot.v_dot_funnel
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_funnel to dot_reader;

comment on view dot.v_dot_funnel is 'Per DOT: declared, invoked, observed (simulated apart), verified.';
