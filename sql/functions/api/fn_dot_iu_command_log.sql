-- Appends one row to the command log and returns its run_id. Fails closed on a command that is not
-- catalogued. This is where a refusal is kept: what the refusing function itself wrote is rolled back with
-- it, so the caller logs it afterwards. Whether the command is mutating is the catalogue's word, not the
-- caller's.
-- Raises:
--   23502  dot_iu_command_run_<argument>_not_null
--   23503  dot_iu_command_run_command_name_fkey
--   23514  dot_iu_command_run_<argument>_check
create or replace function dot.fn_dot_iu_command_log(
    p_command_name text, p_run_mode text, p_run_status text, p_actor text, p_detail jsonb default '{}'
)
returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
declare
    v_problem text := case
        when p_command_name is null then 'command_name_not_null'
        when p_run_mode is null then 'run_mode_not_null'
        when p_run_status is null then 'run_status_not_null'
        when p_actor is null then 'actor_not_null'
        when p_detail is null then 'detail_not_null'
        when dot.fn_is_code(p_command_name, 200) is not true then 'command_name_check'
        when (p_run_mode in ('plan', 'verify', 'apply')) is not true then 'run_mode_check'
        when (p_run_status in ('started', 'completed', 'failed', 'refused')) is not true
            then 'run_status_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_evidence(p_detail) is not true then 'detail_check'
    end;
    v_run_id uuid;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_iu_command_run', v_problem);
    end if;
    v_run_id := dot.fn_host_command_log(
        p_command_name, p_run_mode, p_run_status, p_actor, session_user, p_detail
    );
    if v_run_id is null then
        raise foreign_key_violation using
            message = format('command %s is not catalogued', p_command_name),
            hint = 'v_dot_command lists those that are.',
            schema = 'dot', table = 'dot_iu_command_run',
            constraint = 'dot_iu_command_run_command_name_fkey';
    end if;
    return v_run_id;
end
$function$;

revoke all on function dot.fn_dot_iu_command_log(text, text, text, text, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_command_log(text, text, text, text, jsonb) to dot_writer;

comment on function dot.fn_dot_iu_command_log(text, text, text, text, jsonb) is
    'Appends one row to the command log, refusals included; fails closed on an uncatalogued command; '
    'returns its run_id.';
