-- Bridge to the wrapper's own configuration: the value of a gate as it is stored, NULL where the row is
-- missing or its value is NULL. What a host says of it: fn_host_gate_words. p_locked reads FOR SHARE,
-- which ends in 40001 where the caller's snapshot is older than the last switch.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_gate_value(p_key text, p_locked boolean)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_value text;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    if p_locked then
        select c.value::text into v_value from dot.dot_config c where c.key = p_key for share;
    else
        select c.value::text into v_value from dot.dot_config c where c.key = p_key;
    end if;
    return v_value;
end
$function$;

alter function dot.fn_host_gate_value(text, boolean) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_gate_value(text, boolean)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_gate_value(text, boolean) to dot_owner;

comment on function dot.fn_host_gate_value(text, boolean) is
    'Bridge: the stored value of a gate, NULL where there is none.';
