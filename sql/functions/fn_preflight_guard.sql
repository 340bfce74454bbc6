-- The required checks, one row each: name, PASS, WARN or BLOCK, detail. Nothing is written, nothing is remembered. A signal
-- that is missing, stale or unreadable is BLOCK, so a fresh database blocks until somebody attests.
create or replace function dot.fn_preflight_guard(out check_name text, out verdict text, out detail text)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_attestation dot.preflight_attestation%rowtype;
    v_unreadable text;
begin
    -- The newest attestation alone decides: an older PASS does not outlive a newer BLOCK.
    check_name := 'fs_snapshot_present';
    select a.* into v_attestation
    from dot.preflight_attestation a
    where a.check_name = 'fs_snapshot_present'
    order by a.attestation_id desc
    limit 1;
    verdict := case
        when v_attestation.expires_at > clock_timestamp() then v_attestation.verdict
        else 'BLOCK'
    end;
    detail := case
        when v_attestation.attestation_id is null then 'never attested: fn_preflight_attest'
        when v_attestation.expires_at > clock_timestamp() then format(
            'attested by %s until %s: %s', v_attestation.actor, v_attestation.expires_at, v_attestation.finding)
        else format('the newest attestation, by %s, expired at %s', v_attestation.actor, v_attestation.expires_at)
    end;
    return next;

    check_name := 'gates_readable';
    if dot.fn_host_table_readable('dot.dot_config') then
        select string_agg(g.key, ', ') into v_unreadable
        from unnest(array[
            'iu_core.operator_runtime_enabled',
            'process_dot_runtime.execute_enabled',
            'process_dot_runtime.real_run_enabled'
        ]) as g (key)
        where (dot.fn_host_gate_value(g.key, false) in ('true', 'false')) is not true;
        verdict := case when v_unreadable is null then 'PASS' else 'BLOCK' end;
        detail := coalesce('neither true nor false: ' || v_unreadable, 'all three gates are true or false');
    else
        verdict := 'BLOCK';
        detail := 'dot_config cannot be read';
    end if;
    return next;

    check_name := 'catalogue_present';
    verdict := 'BLOCK';
    detail := 'dot_tools cannot be read';
    if dot.fn_host_table_readable('dot.dot_tools') then
        verdict := case when dot.fn_host_catalogue_present() then 'PASS' else 'BLOCK' end;
        detail := case verdict when 'PASS' then 'dot_tools holds DOTs' else 'dot_tools is empty: fn_dot_tool_register' end;
    end if;
    return next;

    check_name := 'lease_table_usable';
    verdict := case when dot.fn_host_lease_table_usable() then 'PASS' else 'BLOCK' end;
    detail := case verdict
        when 'PASS' then 'dot_iu_runtime_lease has its unique key and can be written'
        else 'dot_iu_runtime_lease is missing, has no unique lease_key, or cannot be written'
    end;
    return next;
end
$function$;

revoke all on function dot.fn_preflight_guard()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_preflight_guard() to dot_writer;

comment on function dot.fn_preflight_guard() is 'The required preflight checks, one row each: name, PASS, WARN or BLOCK, detail.';
