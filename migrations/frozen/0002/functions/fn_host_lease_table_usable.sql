-- Bridge to the host's leases: whether the table exists, holds one row per key, and the bridge may read and
-- write it. All from the catalog: a probe row would be a write of a check.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_lease_table_usable()
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_table regclass := to_regclass('dot.dot_iu_runtime_lease');
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    if v_table is null then
        return false;
    end if;
    return has_table_privilege(v_table, 'select')
        and has_table_privilege(v_table, 'insert')
        and has_table_privilege(v_table, 'update')
        and exists (
            select
            from pg_index i
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = v_table
                and i.indisunique and i.indisvalid and i.indimmediate
                and i.indnkeyatts = 1 and i.indpred is null
                and a.attname = 'lease_key'
        );
end
$function$;

alter function dot.fn_host_lease_table_usable() owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_lease_table_usable()
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_lease_table_usable() to dot_owner;

comment on function dot.fn_host_lease_table_usable() is
    'Bridge: whether the lease table exists with its unique key and the rights to use it.';
