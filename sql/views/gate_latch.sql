-- The lock that orders observations and switches of the gates: see fn_gate_latch. It shows one row that
-- means nothing. It is a view because LOCK TABLE takes one like a table, while ANALYZE and VACUUM, by which
-- the database's owner could hold a table's lock, pass a view by.
create or replace view dot.gate_latch with (security_barrier = true) as
select true as unused;

revoke all on dot.gate_latch
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on view dot.gate_latch is
    'Its lock is what keeps a write from committing after a gate was closed.';
comment on column dot.gate_latch.unused is 'Means nothing: a view has a column.';
