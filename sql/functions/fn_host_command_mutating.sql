-- Bridge to the host's command catalogue: whether a command changes production; NULL where it is not
-- catalogued.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_command_mutating(p_command_name text)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    return (select c.mutating from dot.dot_iu_command_catalog c where c.command_name = p_command_name);
end
$function$;

alter function dot.fn_host_command_mutating(text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_command_mutating(text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_command_mutating(text) to dot_owner;

comment on function dot.fn_host_command_mutating(text) is
    'Bridge: whether a catalogued command is mutating, NULL where it is not catalogued.';
