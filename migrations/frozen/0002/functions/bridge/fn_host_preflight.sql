-- Bridge to the host's tables, for the preflight: whether the wrapper's configuration can be read; why not
-- what a host says of the gates (gates_problem; NULL where it can be); whether the catalogue holds a DOT
-- (NULL where it cannot be read, and catalogue_problem says why); and whether the lease table exists,
-- holds one row per key, and the bridge may read and write it. First and last from the system's catalog: a
-- probe row would be a write.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_preflight(
    out config_readable boolean, out gates_problem text, out catalogue_present boolean,
    out catalogue_problem text, out leases_usable boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = off
as $function$
declare
    v_leases regclass := to_regclass('dot.dot_iu_runtime_lease');
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    config_readable := coalesce(has_table_privilege(to_regclass('dot.dot_config'), 'select'), false);
    begin
        perform g.value from dot.v_host_gate g;
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        gates_problem := sqlerrm;
    end;
    begin
        catalogue_present := exists (select from dot.v_host_tool);
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        catalogue_problem := sqlerrm;
    end;
    leases_usable := coalesce(
        has_table_privilege(v_leases, 'select')
        and has_table_privilege(v_leases, 'insert')
        and has_table_privilege(v_leases, 'update')
        and exists (
            select
            from pg_index i
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = v_leases
                and i.indisunique and i.indisvalid and i.indimmediate
                and i.indnkeyatts = 1 and i.indpred is null
                and a.attname = 'lease_key'
        ),
        false
    );
end
$function$;

alter function dot.fn_host_preflight() owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_preflight()
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_preflight() to dot_owner;

comment on function dot.fn_host_preflight() is
    'Bridge: whether configuration, catalogue and leases are there and can be used.';
