-- Bridge to the host's catalogue: all DOTs. The views ask it with their reader's rights, and not the seam: a
-- row policy of the host would run as the login that reads. With row_security off it raises instead.
-- Raises 55000 (host_readable_check).
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_tools(
    out code text, out category text, out execution_engine text, out script_path text, out file_path text,
    out trigger_type text, out usage_count bigint, out last_executed timestamptz
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = off
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    begin
        return query
        select
            t.code, t.category, t.execution_engine, t.script_path, t.file_path, t.trigger_type,
            t.usage_count, t.last_executed
        from dot.v_host_tool t;
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        perform dot.fn_host_unreadable(sqlerrm);
    end;
end
$function$;

alter function dot.fn_host_tools() owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_tools()
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_tools() to dot_owner, dot_reader, dot_cataloguer;

comment on function dot.fn_host_tools() is
    'Bridge: all DOTs of the catalogue.';
