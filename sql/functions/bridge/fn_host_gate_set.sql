-- Bridge to the wrapper's own configuration: stores the value of a gate and returns the value before.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_gate_set(p_key text, p_value text)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_old text;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    select c.value::text into v_old from dot.dot_config c where c.key = p_key for update;
    insert into dot.dot_config (key, value) values (p_key, p_value)
    on conflict (key) do update set value = excluded.value;
    -- A trigger of the host's may have kept the write from happening: a switch that did not move must not
    -- say it did.
    if (select c.value::text from dot.dot_config c where c.key = p_key) is distinct from p_value then
        raise exception 'the host did not store % in dot_config', p_key;
    end if;
    return v_old;
end
$function$;

alter function dot.fn_host_gate_set(text, text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_gate_set(text, text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_gate_set(text, text) to dot_owner;

comment on function dot.fn_host_gate_set(text, text) is
    'Bridge: stores the value of a gate, returns the value before.';
