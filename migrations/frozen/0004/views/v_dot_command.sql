-- The commands that may be logged with fn_dot_iu_command_log.
-- A view of one table could be written through by a login that may write all data, with the rights of the
-- view's owner: it is a join, which cannot.
create or replace view dot.v_dot_command with (security_barrier = true) as
select
    c.command_name,
    c.mutating,
    c.description
from dot.dot_iu_command_catalog as c
cross join (values (true)) as one_row (unused);

revoke all on dot.v_dot_command
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_command to dot_reader, dot_writer;

comment on view dot.v_dot_command is 'The commands that may be logged, and whether each changes production.';
comment on column dot.v_dot_command.command_name is 'The command.';
comment on column dot.v_dot_command.mutating is 'Whether the command changes production.';
comment on column dot.v_dot_command.description is 'What the command does.';
