-- The master switch: whether anything may be executed at all. A plain read for callers and people; the
-- observe functions read it again, latched, before they write. Only a stored `true`, exactly, is on.
create or replace function dot.fn_dot_iu_operator_runtime_enabled()
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    return (select g.off_because is null
        from dot.fn_gate_state(array['iu_core.operator_runtime_enabled'], false) as g);
end
$function$;

revoke all on function dot.fn_dot_iu_operator_runtime_enabled()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_operator_runtime_enabled() to dot_writer, dot_reader;

comment on function dot.fn_dot_iu_operator_runtime_enabled() is
    'Whether the gate iu_core.operator_runtime_enabled is exactly true.';
