-- A host whose tables are named almost as the wrapper's own: a catalogue of 303 DOTs, of which 119 have a path and none was ever
-- used, the master switch off, 55 command runs with 9 refused ones, a queue whose worker is off. It has the triggers, functions and
-- older observation tables of a system that lives. Of such a database the pages and the tests say what adoption makes.
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f examples/hosts/near.sql
-- As a superuser, or a login that may create roles and owns the database. host_app owns all of it, host_ops moves its switches.
do $roles$
begin
    if to_regrole('host_app') is null then
        create role host_app nologin;
    end if;
    if to_regrole('host_ops') is null then
        create role host_ops nologin;
    end if;
    execute format('grant host_app to %I', current_user);
end
$roles$;
grant usage, create on schema public to host_app;
set role host_app;
set search_path = public;

create function tell_others() returns trigger language plpgsql as $f$
begin
    perform pg_notify('host', tg_table_name || ' ' || tg_op);
    return new;
end
$f$;

create table dot_tools (
    tool_id bigint generated always as identity primary key,
    code varchar(120) not null unique,
    name text not null,
    category varchar(40),
    execution_engine varchar(40),
    script_path text,
    file_path text,
    trigger_type varchar(20),
    owner_team text not null default 'knowledge',
    usage_count integer default 0,
    last_executed timestamptz,
    created_at timestamptz not null default now()
);
-- The first 103 are called through an agent. Of the others the last 119 have a path. All have the date of one backfill.
insert into dot_tools (code, name, category, execution_engine, script_path, file_path, trigger_type, usage_count, last_executed)
select
    case when n <= 103 then 'KG.' else 'OPS.' end || to_char(n, 'FM000'),
    'Tool ' || n,
    case when n <= 103 then 'KG' else 'OPS' end,
    case when n <= 103 then 'agent_api' when n <= 184 then 'manual' else 'script' end,
    case when n > 184 and n % 2 = 0 then format('jobs/%s.sh', n) end,
    case when n > 184 and n % 2 = 1 then format('jobs/%s.py', n) end,
    (array['cron', 'dual'])[n % 3],
    case when n % 5 > 0 then 0 end,
    '2026-03-01 04:05:06+00'
from generate_series(1, 303) as n;
create trigger dot_tools_tell after insert or update on dot_tools for each row execute function tell_others();

create table dot_config (key text primary key, value text, description text, changed_at timestamptz not null default now());
insert into dot_config (key, value, description) values
    ('iu_core.operator_runtime_enabled', 'false', 'the master switch: nothing is executed while it is off'),
    ('process_dot_runtime.execute_enabled', 'false', null),
    ('process_dot_runtime.real_run_enabled', 'false', null),
    ('queue.worker.enabled', 'false', null),
    ('queue.worker.batch', '20', null);
create trigger dot_config_tell after insert or update on dot_config for each row execute function tell_others();

create table dot_iu_command_catalog (command_name text primary key, mutating boolean not null, handler text not null);
insert into dot_iu_command_catalog
select format('iu.command.%s', n), n % 2 = 0, format('handlers.command_%s', n) from generate_series(0, 6) as n;
create table dot_iu_command_run (
    run_id uuid primary key default gen_random_uuid(),
    command_name text not null references dot_iu_command_catalog,
    run_mode text not null check (run_mode in ('plan', 'verify', 'apply')),
    run_status text not null check (run_status in ('ok', 'error', 'refused')),
    mutating boolean not null,
    actor text not null,
    started_at timestamptz not null default now()
);
insert into dot_iu_command_run (command_name, run_mode, run_status, mutating, actor)
select
    format('iu.command.%s', n % 7), (array['plan', 'verify', 'apply'])[n % 3 + 1], case when n <= 9 then 'refused' else 'ok' end,
    n % 7 % 2 = 0, 'operator'
from generate_series(1, 55) as n;

create table job_queue (
    job_id bigint generated always as identity primary key,
    job_type text not null,
    status text not null,
    run_id uuid,
    idempotency_key text unique,
    actor text
);
insert into job_queue (job_type, status, run_id, idempotency_key, actor)
select 'job:cut', 'done', gen_random_uuid(), format('cut-%s', n), 'iu' from generate_series(1, 12) as n;

-- Leases without a token, an outbox without the wrapper's key: the wrapper has its own.
create table dot_iu_runtime_lease (lease_key text primary key, holder text not null, expires_at timestamptz not null);
insert into dot_iu_runtime_lease values ('iu_core:refresh', 'worker-1', now() - interval '1 hour');
create table event_type (event_type text primary key, active boolean not null default false);
insert into event_type values ('process.run.started', false), ('iu.command.done', true);
create table event_outbox (
    event_id uuid primary key default gen_random_uuid(), event_type text not null references event_type, payload jsonb not null
);
create table universal_edges (
    edge_id bigint generated always as identity primary key, from_code text not null, to_code text not null, edge_type text not null
);
insert into universal_edges (from_code, to_code, edge_type)
select format('a%s', n), format('b%s', n), 'feeds' from generate_series(1, 500) as n;

-- What was there before the wrapper: it reads none of it and calls none of it.
create table process_run_observation (
    id uuid primary key default gen_random_uuid(), process_candidate_code text not null, dot_code text not null, status text not null
);
insert into process_run_observation (process_candidate_code, dot_code, status)
select 'kg.edges', 'KG.001', 'observed' from generate_series(1, 4);
create view v_process_runtime_v2 as select process_candidate_code, false as has_real_runtime from process_run_observation;
create function fn_dot_iu_operator_runtime_enabled() returns boolean language sql stable as $f$
    select coalesce((select value = 'true' from public.dot_config where key = 'iu_core.operator_runtime_enabled'), false)
$f$;
create function fn_preflight_guard() returns table (check_name text, status text) language sql stable as $f$
    select 'fs_snapshot_present', 'BLOCK'
$f$;

reset search_path;
reset role;
grant usage on schema public to host_ops;
grant select, update (value) on public.dot_config to host_ops;
