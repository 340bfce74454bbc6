-- Bridge to the host's command log: appends one row and returns its run_id; NULL where the command is not
-- catalogued. Whether it is mutating is the catalogue's word.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_command_log(
    p_command_name text,
    p_run_mode text,
    p_run_status text,
    p_actor text,
    p_session_actor text,
    p_detail jsonb
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_mutating boolean;
    v_run_id uuid;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    select c.mutating into v_mutating
    from dot.dot_iu_command_catalog c where c.command_name = p_command_name;
    if v_mutating is null then
        return null;
    end if;
    insert into dot.dot_iu_command_run as r
        (command_name, run_mode, run_status, mutating, actor, session_actor, detail)
    values (p_command_name, p_run_mode, p_run_status, v_mutating, p_actor, p_session_actor, p_detail)
    returning r.run_id into v_run_id;
    if v_run_id is null then
        raise exception 'the host did not store the command %', p_command_name;
    end if;
    return v_run_id;
end
$function$;

alter function dot.fn_host_command_log(text, text, text, text, text, jsonb) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_command_log(text, text, text, text, text, jsonb)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_command_log(text, text, text, text, text, jsonb) to dot_owner;

comment on function dot.fn_host_command_log(text, text, text, text, text, jsonb) is
    'Bridge: appends one row to the command log, returns its run_id.';
