-- Bridge to the host's catalog: whether a table exists and the bridge may read it. No row is touched.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_table_readable(p_table text)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    return coalesce(has_table_privilege(to_regclass(p_table), 'select'), false);
end
$function$;

alter function dot.fn_host_table_readable(text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_table_readable(text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_table_readable(text) to dot_owner;

comment on function dot.fn_host_table_readable(text) is
    'Bridge: whether a host table exists and can be read.';
