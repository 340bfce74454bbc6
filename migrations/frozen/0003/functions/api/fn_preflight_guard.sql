-- The required checks, one row each: name, PASS, WARN or BLOCK, detail. Nothing is written, nothing is
-- remembered. A signal that is missing, stale or unreadable is BLOCK, so a fresh database blocks until
-- a gatekeeper attests.
create or replace function dot.fn_preflight_guard(out check_name text, out verdict text, out detail text)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_host record := dot.fn_host_preflight();
    v_catalogue text;
    v_unreadable text;
begin
    check_name := 'fs_snapshot_present';
    select a.verdict, a.detail into verdict, detail from dot.fn_preflight_attestation(check_name) as a;
    return next;

    check_name := 'gates_readable';
    if v_host.gates_problem is not null then
        verdict := 'BLOCK';
        detail := 'what the host says of them cannot be read: ' || v_host.gates_problem;
    elsif v_host.config_readable then
        select string_agg(g.key, ', ') into v_unreadable
        from unnest(dot.fn_gate_keys('REAL_RUN')) as g (key)
        where (dot.fn_host_gate_value(g.key, false) in ('true', 'false')) is not true;
        verdict := case when v_unreadable is null then 'PASS' else 'BLOCK' end;
        detail := coalesce('neither true nor false: ' || v_unreadable, 'all three gates are true or false');
    else
        verdict := 'BLOCK';
        detail := 'dot_config cannot be read';
    end if;
    return next;

    check_name := 'catalogue_present';
    if v_host.catalogue_present then
        verdict := 'PASS';
        detail := 'the catalogue holds DOTs';
    else
        verdict := 'BLOCK';
        v_catalogue := coalesce((dot.fn_seam_tables('v_host_tool')).host, 'dot_tools');
        detail := case
            when v_host.catalogue_present is null
                then format('%s cannot be read: %s', v_catalogue, v_host.catalogue_problem)
            when v_catalogue = 'dot_tools'
                then 'dot_tools is empty: a cataloguer calls fn_dot_tool_register'
            else v_catalogue || ', the host''s catalogue, is empty'
        end;
    end if;
    return next;

    check_name := 'lease_table_usable';
    verdict := case when v_host.leases_usable then 'PASS' else 'BLOCK' end;
    detail := case verdict
        when 'PASS' then 'dot_iu_runtime_lease has its unique key and can be written'
        else 'dot_iu_runtime_lease is missing, has no unique lease_key, or cannot be written'
    end;
    return next;
end
$function$;

revoke all on function dot.fn_preflight_guard()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_preflight_guard() to dot_writer, dot_gatekeeper;

comment on function dot.fn_preflight_guard() is
    'The required preflight checks, one row each: name, PASS, WARN or BLOCK, detail.';
