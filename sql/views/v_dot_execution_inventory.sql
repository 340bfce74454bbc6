-- Document 02's table: what could execute a DOT here, one row per mechanism, from the figures of this
-- database. A mechanism that SQL cannot see is NULL and NOT OBSERVABLE HERE until a gatekeeper attests it;
-- basis says which it is.
create or replace view dot.v_dot_execution_inventory with (security_barrier = true) as
with
dots as (
    select
        count(*) as dots,
        count(*) filter (where t.execution_engine = 'agent_api') as agent_api_dots,
        count(*) filter (where t.execution_engine = 'agent_api' and f.invoked) as agent_api_invoked,
        count(*) filter (where coalesce(t.script_path, t.file_path) is not null) as dots_with_path,
        count(*) filter (where coalesce(t.script_path, t.file_path) is not null and f.invoked)
            as dots_with_path_invoked,
        count(*) filter (where t.trigger_type is not null) as dots_with_trigger,
        count(*) filter (where f.invoked) as executed_dots
    from dot.fn_host_tools() as t
    join dot.v_dot_funnel as f on f.dot_code = t.code
),
ledger as (
    select l.* from dot.fn_host_ledgers() as l
),
commands as (
    select l.rows_seen as command_runs, l.refused as refused_runs, l.planned as plan_runs, l.keyed_by_run
    from ledger as l
    where l.ledger = 'dot_iu_command_run'
),
jobs as (
    select
        l.rows_seen as jobs,
        l.keyed_by_run,
        coalesce((
            select case when g.is_governed_by_host then g.host_value else g.value end = 'true'
            from dot.fn_gate_status() as g
            where g.key = 'queue.worker.enabled'
        ), false) as worker_on
    from ledger as l
    where l.ledger = 'job_queue'
),
attested as (
    select distinct on (a.mechanism) a.mechanism, a.present, a.finding, a.actor, a.attested_at
    from dot.dot_mechanism_attestation as a
    order by a.mechanism, a.attestation_id desc
)
select
    1 as position,
    'dot_tools engine agent_api' as mechanism,
    case when d.agent_api_dots > 0 then 'declared only' else 'no' end as mechanism_exists,
    case when d.agent_api_invoked = 0 then 'no wiring' end as can_inject_process_run_id,
    case when d.agent_api_invoked = 0 then 'no plan mode' end as can_dry_run,
    case when d.agent_api_invoked = 0 then 'unbounded' end as avoids_mutation,
    case when d.agent_api_invoked = 0 then 'no' end as logs_observation,
    case when d.agent_api_invoked = 0 then 'no' end as emits_events,
    jsonb_build_object(
        'dots', d.dots, 'agent_api_dots', d.agent_api_dots, 'executed', d.agent_api_invoked
    ) as figures,
    'measured' as basis,
    case
        when d.agent_api_dots = 0 then 'NOT DECLARED'
        when d.agent_api_invoked = 0 then 'DECLARED, NEVER INVOKED'
        else 'INVOKED'
    end as verdict,
    null::text as attested_by,
    null::timestamptz as attested_at,
    null::text as finding
from dots as d
union all
select
    2,
    'DOT runner script (script_path/file_path)',
    format('%s/%s have a path', d.dots_with_path, d.dots),
    'n/a', 'n/a', 'n/a', 'n/a', 'n/a',
    jsonb_build_object(
        'dots', d.dots, 'dots_with_path', d.dots_with_path, 'executed', d.dots_with_path_invoked,
        'executed_dots', d.executed_dots
    ),
    'measured',
    case
        when d.dots_with_path = 0 then 'NO PATH DECLARED'
        when d.executed_dots = 0 then 'NO RUNNER binds these to execution; usage_count 0 everywhere'
        when d.dots_with_path_invoked = 0 then 'NO RUNNER binds these to execution'
        else 'INVOKED'
    end,
    null, null, null
from dots as d
union all
select
    3,
    'dot_iu_command_run + fn_dot_iu_command_log',
    format('LIVE (%s rows)', c.command_runs),
    case when c.keyed_by_run then 'YES' else 'NO' end,
    case when c.plan_runs > 0 then 'YES' else 'not shown' end,
    case when c.refused_runs > 0 then 'YES' else 'not shown' end,
    case when c.command_runs > 0 then 'YES' else 'not shown' end,
    'no',
    jsonb_build_object('command_runs', c.command_runs, 'refused', c.refused_runs, 'plan', c.plan_runs),
    'measured',
    'IU-COMMAND layer, not DOT layer: wrong grain',
    null, null, null
from commands as c
union all
select
    4,
    'job_queue + worker',
    case when j.worker_on then 'table LIVE; worker on' else 'table LIVE; worker off' end,
    case when j.keyed_by_run then 'YES' else 'partial' end,
    'n/a', 'n/a', 'n/a', 'n/a',
    jsonb_build_object('jobs', j.jobs, 'worker_enabled', j.worker_on),
    'measured',
    case when j.worker_on then 'ON' else 'OFF' end,
    null, null, null
from jobs as j
union all
select
    m.position,
    m.label,
    case when a.present then 'attested' when not a.present then m.absent_word end,
    case when not a.present then 'no' end,
    case when not a.present then 'no' end,
    case when not a.present then 'no' end,
    case when not a.present then 'no' end,
    case when not a.present then 'no' end,
    m.figures,
    case when a.mechanism is null then 'not observable' else 'attested' end,
    case
        when a.mechanism is null then 'NOT OBSERVABLE HERE'
        when a.present then 'PRESENT'
        else m.absent_verdict
    end,
    a.actor,
    a.attested_at,
    a.finding
from dots as d
cross join lateral (
    values
    (
        5, 'scheduler', 'cron / dual triggers', 'trigger_type metadata only',
        jsonb_build_object('dots_with_trigger', d.dots_with_trigger),
        'NO scheduler binds DOT triggers to execution'
    ),
    (6, 'api_endpoint', 'API endpoint', 'none found for DOT execution', '{}'::jsonb, 'ABSENT')
) as m (position, mechanism, label, absent_word, figures, absent_verdict)
left join attested as a on a.mechanism = m.mechanism;

revoke all on dot.v_dot_execution_inventory
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_execution_inventory to dot_reader;

comment on view dot.v_dot_execution_inventory is
    'What could execute a DOT here, one row per mechanism: figures, basis (measured, attested, not '
    'observable) and verdict.';
comment on column dot.v_dot_execution_inventory.position is
    'The order in which document 02 lists the mechanisms.';
comment on column dot.v_dot_execution_inventory.mechanism is 'What could execute a DOT.';
comment on column dot.v_dot_execution_inventory.mechanism_exists is
    'Whether it is there; NULL where that cannot be seen.';
comment on column dot.v_dot_execution_inventory.can_inject_process_run_id is
    'Whether it can pass a run id on.';
comment on column dot.v_dot_execution_inventory.can_dry_run is 'Whether it can run without executing.';
comment on column dot.v_dot_execution_inventory.avoids_mutation is
    'Whether it can be kept from changing production.';
comment on column dot.v_dot_execution_inventory.logs_observation is 'Whether it logs what it did.';
comment on column dot.v_dot_execution_inventory.emits_events is 'Whether it emits events.';
comment on column dot.v_dot_execution_inventory.figures is 'The figures behind it, a JSON object.';
comment on column dot.v_dot_execution_inventory.basis is 'measured, attested or not observable.';
comment on column dot.v_dot_execution_inventory.verdict is 'What it comes to, in the words of document 02.';
comment on column dot.v_dot_execution_inventory.attested_by is 'Who attested it; NULL where it is measured.';
comment on column dot.v_dot_execution_inventory.attested_at is 'When it was attested.';
comment on column dot.v_dot_execution_inventory.finding is 'What was found by who attested.';
