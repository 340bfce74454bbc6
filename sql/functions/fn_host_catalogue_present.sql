-- Bridge to the host's catalogue: whether dot_tools holds at least one DOT.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_catalogue_present()
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    return exists (select from dot.dot_tools);
end
$function$;

alter function dot.fn_host_catalogue_present() owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_catalogue_present()
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_catalogue_present() to dot_owner;

comment on function dot.fn_host_catalogue_present() is
    'Bridge: whether the catalogue holds at least one DOT.';
