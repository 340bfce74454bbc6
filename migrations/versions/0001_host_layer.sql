-- What the columns of the ledger may hold, each by its function. A domain and no CHECK of each column: the
-- server parses a table's CHECKs anew for every statement, which cost an observation more than all else
-- together; a domain's once in a session. squawk is right that a domain's constraint is hard to change under
-- writers: what these allow is a contract, and a wider one would be another domain.
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.code as text collate "C" constraint code_check check (dot.fn_is_code(value, 200));
comment on domain dot.code is 'A code, key, actor or correlation id of at most 200 bytes, see fn_is_code.';
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.component_key as text collate "C" constraint component_key_check check (
    dot.fn_is_code(value, 240)
);
comment on domain dot.component_key is
    'The idempotency key of a component: a run''s key, its role and status, at most 240 bytes.';
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.ref as text collate "C" constraint ref_check check (dot.fn_is_ref(value));
comment on domain dot.ref is 'A reference to something elsewhere, see fn_is_ref.';
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.run_id as uuid constraint run_id_check check (dot.fn_is_run_id(value));
comment on domain dot.run_id is 'The id of a run: any uuid but nil and max.';
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.evidence as jsonb constraint evidence_check check (dot.fn_is_evidence(value));
comment on domain dot.evidence is
    'Evidence: a JSON object of at most 8 KB of text with bounded numbers, see fn_is_evidence.';
-- squawk-ignore ban-create-domain-with-constraint
create domain dot.component_role as text collate "C" constraint component_role_check check (
    value in ('producer', 'verifier')
);
comment on domain dot.component_role is 'The part of a component: producer or verifier.';
-- Types are born usable by PUBLIC: another owner's table that used one would stand in the way of a
-- downgrade.
revoke all on domain dot.code, dot.component_key, dot.ref, dot.run_id, dot.evidence, dot.component_role
    from public;

-- The catalogue: what could be executed.
create table dot.dot_tools (
    code text collate "C" not null,
    category text collate "C",
    execution_engine text collate "C",
    script_path text collate "C",
    file_path text collate "C",
    trigger_type text collate "C",
    usage_count bigint default 0,
    last_executed timestamptz,
    constraint dot_tools_pkey primary key (code),
    constraint dot_tools_code_check check (dot.fn_is_code(code, 200))
);
comment on table dot.dot_tools is 'Host layer: the catalogue of DOTs, what could be executed.';
comment on column dot.dot_tools.code is 'The code of the DOT.';
comment on column dot.dot_tools.category is 'What kind of DOT it is.';
comment on column dot.dot_tools.execution_engine is 'What would execute it.';
comment on column dot.dot_tools.script_path is 'Where its script is.';
comment on column dot.dot_tools.file_path is 'Where its file is.';
comment on column dot.dot_tools.trigger_type is 'What would start it.';
comment on column dot.dot_tools.usage_count is 'How often the host says that it was used.';
comment on column dot.dot_tools.last_executed is 'When the host says that it was last executed.';

-- Gates and settings. A value is text on purpose: only a stored true, exactly, opens a gate.
create table dot.dot_config (
    key text collate "C" not null,
    value text collate "C",
    constraint dot_config_pkey primary key (key)
);
comment on table dot.dot_config is
    'Host layer: gates and settings. A gate is on only where its value is exactly true.';
comment on column dot.dot_config.key is 'The gate or setting.';
comment on column dot.dot_config.value is 'Its value as text; a gate is on only where it is exactly true.';

-- Which commands may be logged, and whether they change production.
create table dot.dot_iu_command_catalog (
    command_name text collate "C" not null,
    mutating boolean not null,
    description text collate "C" not null,
    constraint dot_iu_command_catalog_pkey primary key (command_name),
    constraint dot_iu_command_catalog_command_name_check check (dot.fn_is_code(command_name, 200))
);
comment on table dot.dot_iu_command_catalog is 'Host layer: the commands that may be logged.';
comment on column dot.dot_iu_command_catalog.command_name is 'The command.';
comment on column dot.dot_iu_command_catalog.mutating is 'Whether the command changes production.';
comment on column dot.dot_iu_command_catalog.description is 'What the command does.';

-- The command log: keyed by command, not by run. Refusals are kept here.
create table dot.dot_iu_command_run (
    run_id uuid not null default gen_random_uuid(),
    logged_at timestamptz not null default clock_timestamp(),
    mutating boolean not null,
    command_name text collate "C" not null,
    run_mode text collate "C" not null,
    run_status text collate "C" not null,
    actor text collate "C" not null,
    session_actor text collate "C" not null,
    detail jsonb not null default '{}',
    constraint dot_iu_command_run_pkey primary key (run_id),
    constraint dot_iu_command_run_run_mode_check check (run_mode in ('plan', 'verify', 'apply')),
    constraint dot_iu_command_run_run_status_check check (
        run_status in ('started', 'completed', 'failed', 'refused')
    )
);
comment on table dot.dot_iu_command_run is 'Host layer: the command log, append-only.';
comment on column dot.dot_iu_command_run.run_id is 'The number of the logged call; no process run.';
comment on column dot.dot_iu_command_run.logged_at is 'When it was logged.';
comment on column dot.dot_iu_command_run.mutating is 'Whether the command changes production.';
comment on column dot.dot_iu_command_run.command_name is 'The command.';
comment on column dot.dot_iu_command_run.run_mode is 'plan, verify or apply.';
comment on column dot.dot_iu_command_run.run_status is 'started, completed, failed or refused.';
comment on column dot.dot_iu_command_run.actor is 'Who did it, as the call claims.';
comment on column dot.dot_iu_command_run.session_actor is 'The database login that really called.';
comment on column dot.dot_iu_command_run.detail is 'What the caller says of it, a JSON object.';
create index dot_iu_command_run_logged_at_idx on dot.dot_iu_command_run (logged_at desc);

-- TTL leases. A row is never deleted: its token would start again.
create table dot.dot_iu_runtime_lease (
    token bigint not null,
    acquired_at timestamptz not null,
    expires_at timestamptz not null,
    lease_key text collate "C" not null,
    holder text collate "C" not null,
    session_actor text collate "C" not null,
    constraint dot_iu_runtime_lease_pkey primary key (lease_key),
    constraint dot_iu_runtime_lease_token_check check (token > 0),
    constraint dot_iu_runtime_lease_lease_key_check check (dot.fn_is_code(lease_key, 240)),
    constraint dot_iu_runtime_lease_holder_check check (dot.fn_is_code(holder, 200))
) with (fillfactor = 70);
comment on table dot.dot_iu_runtime_lease is 'Host layer: TTL leases with fencing tokens that only grow.';
comment on column dot.dot_iu_runtime_lease.token is 'The fencing token, which only grows.';
comment on column dot.dot_iu_runtime_lease.acquired_at is 'When it was acquired.';
comment on column dot.dot_iu_runtime_lease.expires_at is
    'When it ends; more than an hour ahead is over, for a clock that ran ahead wrote it.';
comment on column dot.dot_iu_runtime_lease.lease_key is
    'What is leased: dot_exec:<candidate> for the runs of a candidate.';
comment on column dot.dot_iu_runtime_lease.holder is 'Who holds it, as the call claims.';
comment on column dot.dot_iu_runtime_lease.session_actor is
    'The database login that took it; the token is good for it alone.';

create table dot.job_queue (
    job_id bigint generated always as identity,
    run_id uuid,
    created_at timestamptz not null default clock_timestamp(),
    job_type text collate "C" not null,
    status text collate "C" not null,
    idempotency_key text collate "C",
    actor text collate "C",
    constraint job_queue_pkey primary key (job_id)
);
comment on table dot.job_queue is 'Host layer: the job queue. The wrapper reads it for the inventory alone.';
comment on column dot.job_queue.job_id is 'The number of the job.';
comment on column dot.job_queue.run_id is 'A run of the host, as the host means it.';
comment on column dot.job_queue.created_at is 'When it was queued.';
comment on column dot.job_queue.job_type is 'What kind of job it is.';
comment on column dot.job_queue.status is 'Where it stands, in words of the host.';
comment on column dot.job_queue.idempotency_key is 'The key of it, as the host means it.';
comment on column dot.job_queue.actor is 'Who queued it.';

-- Which events are wanted. All inactive: a fresh database fills no outbox.
create table dot.event_type (
    event_type text collate "C" not null,
    active boolean not null default false,
    constraint event_type_pkey primary key (event_type),
    constraint event_type_event_type_check check (dot.fn_is_code(event_type, 200))
);
comment on table dot.event_type is 'Host layer: event types and whether events of them are wanted.';
comment on column dot.event_type.event_type is 'The event type.';
comment on column dot.event_type.active is
    'Whether an observation of this type writes an event into the outbox.';

-- The outbox, with the column names that Debezium's router expects. xact_id is what lets a reader miss
-- nothing; each cluster counts its transactions from its own beginning, so they come in order within an
-- epoch alone: see dot.outbox_epoch. event_id is what a consumer knows an event by, wherever its row was
-- carried to.
create table dot.event_outbox (
    id bigint generated always as identity,
    xact_id xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default clock_timestamp(),
    event_id uuid not null default gen_random_uuid(),
    -- squawk-ignore prefer-bigint-over-int
    epoch integer not null, -- one more with each move
    aggregatetype text collate "C" not null,
    aggregateid text collate "C" not null,
    type text collate "C" not null,
    payload jsonb not null,
    constraint event_outbox_pkey primary key (epoch, xact_id, id)
);
comment on table dot.event_outbox is
    'Host layer: the transactional outbox. Nothing is changed; what was acknowledged goes after seven days. '
    'Read it with fn_dot_outbox_poll.';
comment on column dot.event_outbox.id is 'The number of the event; with epoch and xact_id its position.';
comment on column dot.event_outbox.event_id is 'What a consumer knows the event by.';
comment on column dot.event_outbox.epoch is 'The epoch that it was written in, see outbox_epoch.';
comment on column dot.event_outbox.xact_id is 'The transaction that wrote it: what lets a reader miss none.';
comment on column dot.event_outbox.created_at is 'When it was written.';
comment on column dot.event_outbox.aggregatetype is 'What the event tells of: process_run.';
comment on column dot.event_outbox.aggregateid is 'The id of the run.';
comment on column dot.event_outbox.type is 'The event type.';
comment on column dot.event_outbox.payload is 'What happened, a JSON object.';

-- A business table. Nothing of the wrapper may ever touch it; the tests watch it.
create table dot.universal_edges (
    edge_id bigint generated always as identity,
    from_code text collate "C" not null,
    to_code text collate "C" not null,
    edge_type text collate "C" not null,
    constraint universal_edges_pkey primary key (edge_id)
);
comment on table dot.universal_edges is 'Host layer: a business table that the wrapper never touches.';
comment on column dot.universal_edges.edge_id is 'The number of the edge.';
comment on column dot.universal_edges.from_code is 'Where it begins.';
comment on column dot.universal_edges.to_code is 'Where it ends.';
comment on column dot.universal_edges.edge_type is 'What kind of edge it is.';

-- Evidence is never changed or removed, by its owner neither, and in replica mode neither (ENABLE ALWAYS).
create trigger dot_iu_command_run_append_only before update or delete on dot.dot_iu_command_run
    for each row execute function dot.fn_append_only_refuse();
create trigger dot_iu_command_run_append_only_truncate before truncate on dot.dot_iu_command_run
    for each statement execute function dot.fn_append_only_refuse();
-- What was acknowledged may go, once it is old.
create trigger event_outbox_append_only before update or delete on dot.event_outbox
    for each row execute function dot.fn_event_outbox_refuse();
create trigger event_outbox_append_only_truncate before truncate on dot.event_outbox
    for each statement execute function dot.fn_append_only_refuse();
create trigger dot_iu_runtime_lease_append_only before delete on dot.dot_iu_runtime_lease
    for each row execute function dot.fn_append_only_refuse();
create trigger dot_iu_runtime_lease_append_only_truncate before truncate on dot.dot_iu_runtime_lease
    for each statement execute function dot.fn_append_only_refuse();
alter table dot.dot_iu_command_run enable always trigger dot_iu_command_run_append_only;
alter table dot.dot_iu_command_run enable always trigger dot_iu_command_run_append_only_truncate;
alter table dot.event_outbox enable always trigger event_outbox_append_only;
alter table dot.event_outbox enable always trigger event_outbox_append_only_truncate;
alter table dot.dot_iu_runtime_lease enable always trigger dot_iu_runtime_lease_append_only;
alter table dot.dot_iu_runtime_lease enable always trigger dot_iu_runtime_lease_append_only_truncate;

-- The bridge: what fn_host_* need, and no more. No usage figure of a DOT can be written by it, no business
-- table read.
grant select on dot.dot_tools to dot_bridge;
grant insert (code, category, execution_engine, script_path, file_path, trigger_type),
    update (category, execution_engine, script_path, file_path, trigger_type) on dot.dot_tools to dot_bridge;
grant select, insert, update on dot.dot_config to dot_bridge;
grant select on dot.dot_iu_command_catalog to dot_bridge;
grant select, insert on dot.dot_iu_command_run to dot_bridge;
grant select, insert, update on dot.dot_iu_runtime_lease to dot_bridge;
grant select, update on dot.event_type to dot_bridge;
grant select, insert, delete on dot.event_outbox to dot_bridge;

-- A login with a right on all tables of the database (pg_read_all_data, pg_write_all_data) needs no grant.
-- Row security keeps it out: it lets the owner pass, and no other role without a policy. Not FORCE: the
-- owner's functions, views and keys would stop. The bridge has a policy for each verb that it was granted,
-- and its functions set row_security on: a session that has set it off would fail where a policy is asked.
alter table dot.alembic_version enable row level security;
