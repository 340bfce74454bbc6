-- Whether a REAL_RUN may be recorded, as far as this gate goes. A plain read for callers and people;
-- the observe functions read it again, latched, before they write. Only a stored `true`, exactly, is on.
create or replace function dot.fn_process_dot_runtime_real_run_enabled()
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    return (select g.off_because is null
        from dot.fn_gate_state(array['process_dot_runtime.real_run_enabled'], false) as g);
end
$function$;

revoke all on function dot.fn_process_dot_runtime_real_run_enabled()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_dot_runtime_real_run_enabled() to dot_writer, dot_reader;

comment on function dot.fn_process_dot_runtime_real_run_enabled() is
    'Whether the gate process_dot_runtime.real_run_enabled is exactly true.';
