-- Bridge to the wrapper's own catalogue: adds a DOT, or updates what describes it. Usage figures are the
-- host's: dot_bridge holds no right to write them. A description that is already stored is not written
-- again: a repeated import leaves no dead row. What of it the catalogue shows, fn_host_dot_described says.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_dot_register(
    p_code text,
    p_category text,
    p_execution_engine text,
    p_script_path text,
    p_file_path text,
    p_trigger_type text
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_created boolean;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    insert into dot.dot_tools as t (code, category, execution_engine, script_path, file_path, trigger_type)
    values (p_code, p_category, p_execution_engine, p_script_path, p_file_path, p_trigger_type)
    on conflict (code) do update set
        category = excluded.category,
        execution_engine = excluded.execution_engine,
        script_path = excluded.script_path,
        file_path = excluded.file_path,
        trigger_type = excluded.trigger_type
    where (t.category, t.execution_engine, t.script_path, t.file_path, t.trigger_type)
        is distinct from (
            excluded.category, excluded.execution_engine, excluded.script_path, excluded.file_path,
            excluded.trigger_type
        )
    returning t.xmax = 0 into v_created;
    return case when v_created then 'created' when not v_created then 'updated' else 'unchanged' end;
end
$function$;

alter function dot.fn_host_dot_register(text, text, text, text, text, text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_dot_register(text, text, text, text, text, text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_dot_register(text, text, text, text, text, text) to dot_owner;

comment on function dot.fn_host_dot_register(text, text, text, text, text, text) is
    'Bridge: adds a DOT or updates its description; says created, updated or unchanged.';
