-- Adds a DOT to the catalogue, or replaces what describes it, all five descriptions, so one that is left out
-- becomes NULL; never its usage figures. Says which: created, updated or unchanged. Of a catalogue that is a
-- host's nothing is written: what stands there is unchanged, all else is refused.
-- Raises:
--   23502  dot_tools_<argument>_not_null
--   23514  dot_tools_<argument>_check, dot_tools_code_host_check
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_dot_tool_register(
    p_code text,
    p_category text default null,
    p_execution_engine text default null,
    p_script_path text default null,
    p_file_path text default null,
    p_trigger_type text default null
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_code is null then 'code_not_null'
        when dot.fn_is_code(p_code, 200) is not true then 'code_check'
        when p_category is not null and dot.fn_is_code(p_category, 200) is not true then 'category_check'
        when p_execution_engine is not null and dot.fn_is_code(p_execution_engine, 200) is not true
            then 'execution_engine_check'
        when p_script_path is not null and dot.fn_is_line(p_script_path) is not true
            then 'script_path_check'
        when p_file_path is not null and dot.fn_is_line(p_file_path) is not true then 'file_path_check'
        when p_trigger_type is not null and dot.fn_is_code(p_trigger_type, 200) is not true
            then 'trigger_type_check'
    end;
    v_catalogue record;
    v_done text;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_tools', v_problem);
    end if;
    -- Asked first without a lock, and again below by a session that waited for another registration.
    if dot.fn_host_dot_described(
        p_code, p_category, p_execution_engine, p_script_path, p_file_path, p_trigger_type
    ) then
        return 'unchanged';
    end if;
    v_done := dot.fn_host_dot_register(
        p_code, p_category, p_execution_engine, p_script_path, p_file_path, p_trigger_type
    );
    if not dot.fn_host_dot_described(
        p_code, p_category, p_execution_engine, p_script_path, p_file_path, p_trigger_type
    ) then
        v_catalogue := dot.fn_seam_tables('v_host_tool');
        if v_catalogue.host is not null then
            raise check_violation using
                message = format('DOT %s is not registered: the catalogue is the host''s, %s', p_code,
                    v_catalogue.host),
                detail = 'The wrapper writes nothing there.',
                hint = format('The owner of %s adds or changes the DOT there.', v_catalogue.host),
                schema = 'dot', table = 'dot_tools', constraint = 'dot_tools_code_host_check';
        end if;
        -- A trigger of the host's may have kept or changed the write: what did not happen must not be said.
        raise exception 'the host did not store % in dot_tools', p_code;
    end if;
    return v_done;
end
$function$;

revoke all on function dot.fn_dot_tool_register(text, text, text, text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_tool_register(text, text, text, text, text, text) to dot_cataloguer;

comment on function dot.fn_dot_tool_register(text, text, text, text, text, text) is
    'Adds a DOT or updates its description, never its usage figures; says created, updated or unchanged.';
