-- The command log: what was called beside the runs, and each call that was refused (run_status refused; its
-- detail says why). A view of one table could be written through by a login that may write all data, with
-- the rights of the view's owner: it is a join, which cannot. No security barrier: it shows every row.
create or replace view dot.v_dot_command_run as
select
    r.run_id,
    r.logged_at,
    r.command_name,
    r.run_mode,
    r.run_status,
    r.mutating,
    r.actor,
    r.session_actor,
    r.detail
from dot.dot_iu_command_run as r
cross join (values (true)) as one_row (unused);

revoke all on dot.v_dot_command_run
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_command_run to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_command_run is 'The command log, with the calls that were refused.';
comment on column dot.v_dot_command_run.run_id is 'The number of the logged call; no process run.';
comment on column dot.v_dot_command_run.logged_at is 'When it was logged.';
comment on column dot.v_dot_command_run.command_name is 'The command.';
comment on column dot.v_dot_command_run.run_mode is 'plan, verify or apply.';
comment on column dot.v_dot_command_run.run_status is 'started, completed, failed or refused.';
comment on column dot.v_dot_command_run.mutating is 'Whether the command changes production.';
comment on column dot.v_dot_command_run.actor is 'Who did it, as the call claims.';
comment on column dot.v_dot_command_run.session_actor is 'The database login that really called.';
comment on column dot.v_dot_command_run.detail is 'What the caller says of it, a JSON object.';
