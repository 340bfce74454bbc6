-- Seam: what a host says of the gates that it governs, one row each; its value is NULL where its row is
-- missing. Such a gate is open only where both say true. No host governs a gate of a database of the
-- wrapper's own: no row. Adopted and read as v_host_tool.
create or replace view dot.v_host_gate with (security_barrier = true) as
select
    g.key,
    g.value
from (values (null::text, null::text)) as g (key, value)
where false;

revoke all on dot.v_host_gate
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_host_gate to dot_bridge;

comment on view dot.v_host_gate is 'Seam: what a host says of the gates that it governs, here none.';
comment on column dot.v_host_gate.key is 'The gate.';
comment on column dot.v_host_gate.value is 'The host''s value of it; NULL where it has none.';
