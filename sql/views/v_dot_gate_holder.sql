-- Who holds a switch of a gate up now: one row for each lock that it would wait for. A prepared transaction
-- has a gid and no pid.
create or replace view dot.v_dot_gate_holder with (security_barrier = true) as
select h.pid, h.prepared_gid, h.login, h.application_name, h.lock_mode, h.locked_table, h.waits_for
from dot.fn_gate_holders() as h;

revoke all on dot.v_dot_gate_holder
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_gate_holder to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_gate_holder is
    'Who holds a switch of a gate up now, prepared transactions included.';
comment on column dot.v_dot_gate_holder.pid is 'The backend; NULL for a prepared transaction.';
comment on column dot.v_dot_gate_holder.prepared_gid is
    'The name of the prepared transaction; NULL for a backend.';
comment on column dot.v_dot_gate_holder.login is 'The database login that it is of.';
comment on column dot.v_dot_gate_holder.application_name is 'What the backend calls itself.';
comment on column dot.v_dot_gate_holder.lock_mode is 'The lock that it holds.';
comment on column dot.v_dot_gate_holder.locked_table is 'What the lock is on.';
comment on column dot.v_dot_gate_holder.waits_for is
    'The backends that it waits for itself, 0 for a prepared transaction; empty where it does not wait.';
