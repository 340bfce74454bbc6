-- Whether the optional amendment is on, in one row: its constraint is there. is_validated is whether what
-- was stored before it was looked through too, which is its second step.
create or replace view dot.v_dot_amendment with (security_barrier = true) as
select
    count(*) > 0 as is_on,
    coalesce(bool_and(c.convalidated), false) as is_validated
from pg_constraint as c
where c.conrelid = to_regclass('dot.process_run_observation')
    and c.conname = 'process_run_observation_blocked_check';

revoke all on dot.v_dot_amendment
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_amendment to dot_reader, dot_writer;

comment on view dot.v_dot_amendment is 'Whether the optional amendment is on, and validated; one row.';
comment on column dot.v_dot_amendment.is_on is 'Whether prepared, skipped and blocked are stored as words.';
comment on column dot.v_dot_amendment.is_validated is 'Whether what was stored before was checked too.';
