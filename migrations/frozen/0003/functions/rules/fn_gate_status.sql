-- Every gate as it stands, for v_dot_gate, which asks it with the reader's rights: fn_gate_state without
-- its lock. A reader that could lock the row of a gate would hold a switch up.
create or replace function dot.fn_gate_status(
    out key text, out value text, out is_governed_by_host boolean, out host_value text,
    out own_off_because text, out off_because text
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
    select g.key, g.value, g.is_governed_by_host, g.host_value, g.own_off_because, g.off_because
    from dot.fn_gate_state(null, false) as g;
end
$function$;

revoke all on function dot.fn_gate_status()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_gate_status() to dot_reader, dot_gatekeeper;

comment on function dot.fn_gate_status() is
    'Every gate: its stored value, what the host says of it, and why it is off; NULL where it is open.';
