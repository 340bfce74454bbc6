-- Seam: the figures of the other ledgers, one row each, and whether such a ledger is keyed by the run at
-- all, from its columns. Adopted and read as v_host_tool.
create or replace view dot.v_host_ledger with (security_barrier = true) as
select
    'dot_iu_command_run' as ledger,
    count(*) as rows_seen,
    count(*) filter (where r.run_status = 'refused') as refused,
    count(*) filter (where r.run_mode = 'plan') as planned,
    exists (
        select from pg_attribute as a
        where a.attrelid = 'dot.dot_iu_command_run'::regclass and a.attname = 'process_run_id'
            and not a.attisdropped
    ) as keyed_by_run
from dot.dot_iu_command_run as r
union all
select
    'job_queue',
    count(*),
    null,
    null,
    exists (
        select from pg_attribute as a
        where a.attrelid = 'dot.job_queue'::regclass and a.attname = 'process_run_id' and not a.attisdropped
    )
from dot.job_queue as j;

revoke all on dot.v_host_ledger
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_host_ledger to dot_bridge;

comment on view dot.v_host_ledger is
    'Seam: the figures of the command log and the queue, here the wrapper''s own.';
comment on column dot.v_host_ledger.ledger is 'dot_iu_command_run or job_queue.';
comment on column dot.v_host_ledger.rows_seen is 'How many rows it has.';
comment on column dot.v_host_ledger.refused is 'How many of them are refused; NULL for the queue.';
comment on column dot.v_host_ledger.planned is 'How many of them are plans; NULL for the queue.';
comment on column dot.v_host_ledger.keyed_by_run is 'Whether it has a column process_run_id.';
