-- Bridge to the host's catalogue: whether it has a DOT described so.
-- Raises 55000 (host_readable_check).
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_dot_described(
    p_code text,
    p_category text,
    p_execution_engine text,
    p_script_path text,
    p_file_path text,
    p_trigger_type text
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = off
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    begin
        return exists (
            select from dot.v_host_tool t
            where t.code = p_code
                and (t.category, t.execution_engine, t.script_path, t.file_path, t.trigger_type)
                is not distinct from (
                    p_category, p_execution_engine, p_script_path, p_file_path, p_trigger_type
                )
        );
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        perform dot.fn_host_unreadable(sqlerrm);
    end;
end
$function$;

alter function dot.fn_host_dot_described(text, text, text, text, text, text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_dot_described(text, text, text, text, text, text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_dot_described(text, text, text, text, text, text) to dot_owner;

comment on function dot.fn_host_dot_described(text, text, text, text, text, text) is
    'Bridge: whether the catalogue has a DOT described so.';
