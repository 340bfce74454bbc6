-- The same host with other names, other words and other ways: codes that are unique among the living alone, engines that are an
-- enum, settings in jsonb with a scope, times without a zone, row security on the catalogue, a schema that PUBLIC may not use, and a
-- business table that every role may write. The figures are those of near.sql.
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f examples/hosts/far.sql
-- As a superuser, or a login that may create roles and owns the database.
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
create schema automation authorization host_app;
set role host_app;
set search_path = automation;

create type engine as enum ('AGENT_API', 'MANUAL', 'SCRIPT');
create table tools (
    tool_id uuid primary key default gen_random_uuid(),
    dot_code varchar(80) not null,
    title text not null,
    domain varchar(40) not null,
    run_by engine not null,
    script text,
    file text,
    started_by text,
    tenant integer not null default 1,
    times_used numeric,
    last_run timestamp,
    deleted_at timestamptz
);
create unique index tools_living_dot_code on tools (dot_code) where deleted_at is null;
insert into tools (dot_code, title, domain, run_by, script, file, started_by, times_used, last_run)
select
    format('DOT_%s', n),
    'Tool ' || n,
    case when n <= 103 then 'KG' else 'OPS' end,
    (case when n <= 103 then 'AGENT_API' when n <= 184 then 'MANUAL' else 'SCRIPT' end)::engine,
    case when n > 184 and n % 2 = 0 then format('jobs/%s.sh', n) when n <= 184 then '' end,
    case when n > 184 and n % 2 = 1 then format('jobs/%s.py', n) end,
    (array['CRON', 'DUAL'])[n % 3],
    case when n % 5 > 0 then 0 end,
    '2026-03-01 04:05:06'
from generate_series(1, 303) as n;
insert into tools (dot_code, title, domain, run_by, deleted_at) values
    ('DOT_5', 'Tool 5, the first try', 'KG', 'AGENT_API', now()),
    ('DOT_900', 'gone', 'KG', 'MANUAL', now());
alter table tools enable row level security;
create policy of_tenant on tools using (tenant = coalesce(nullif(current_setting('host.tenant', true), '')::integer, 0));

create table settings (
    setting text not null, value jsonb not null, scope text not null default 'global', primary key (setting, scope)
);
insert into settings (setting, value) values
    ('iu_core.operator_runtime_enabled', 'false'),
    ('process_dot_runtime.execute_enabled', '"false"'),
    ('process_dot_runtime.real_run_enabled', '{"enabled": false}'),
    ('queue.worker.enabled', 'false'),
    ('queue.worker.batch', '20');
insert into settings (setting, value, scope) values ('iu_core.operator_runtime_enabled', 'true', 'laboratory');

create table commands (command_id integer primary key, name text not null unique, is_mutating boolean not null);
insert into commands select n, format('iu.%s', n), n % 2 = 0 from generate_series(0, 6) as n;
create table command_runs (
    command_run_id bigint generated always as identity primary key,
    command_id integer not null references commands,
    outcome text not null check (outcome in ('DONE', 'FAILED', 'REJECTED')),
    dry boolean not null,
    who text not null
);
insert into command_runs (command_id, outcome, dry, who)
select n % 7, case when n <= 9 then 'REJECTED' else 'DONE' end, n % 3 = 0, 'operator' from generate_series(1, 55) as n;

create table jobs (
    job_id uuid primary key default gen_random_uuid(), kind text not null, state text not null, process_run_id uuid, who text not null
);
insert into jobs (kind, state, who) select 'cut', 'done', 'iu' from generate_series(1, 12);

create table edges (edge_id bigint generated always as identity primary key, src text not null, dst text not null);
insert into edges (src, dst) select format('a%s', n), format('b%s', n) from generate_series(1, 500) as n;
grant all on edges to public; -- a careless grant

reset search_path;
reset role;
grant usage on schema automation to host_ops;
grant select, update (value) on automation.settings to host_ops;
