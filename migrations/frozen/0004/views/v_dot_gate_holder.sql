-- Who holds a switch of a gate up now: one row for each lock that it would wait for. A prepared transaction has a gid and no pid.
create or replace view dot.v_dot_gate_holder with (security_barrier = true) as
select h.pid, h.prepared_gid, h.login, h.application_name, h.lock_mode, h.locked_table
from dot.fn_gate_holders() as h;

revoke all on dot.v_dot_gate_holder from public;
grant select on dot.v_dot_gate_holder to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_gate_holder is 'Who holds a switch of a gate up now, prepared transactions included.';
