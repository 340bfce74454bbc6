-- Switches a known process.* event type, audited like a gate under the key event_type:<type>. Returns what
-- it was.
-- Raises:
--   23502  event_type_<argument>_not_null
--   23503  event_type_event_type_fkey
--   23514  event_type_<argument>_check
--   40001  the transaction's snapshot is too old: retry it
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_event_type_set(
    p_event_type text, p_active boolean, p_actor text, p_reason text
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_event_type is null then 'event_type_not_null'
        when p_active is null then 'active_not_null'
        when p_actor is null then 'actor_not_null'
        when p_reason is null then 'reason_not_null'
        when dot.fn_is_code(p_event_type, 200) is not true then 'event_type_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_line(p_reason) is not true then 'reason_check'
    end;
    v_old boolean;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('event_type', v_problem);
    end if;
    perform dot.fn_gate_latch('attest');
    if starts_with(p_event_type, 'process.') then
        v_old := dot.fn_host_event_set(p_event_type, p_active);
    end if;
    if v_old is null then
        raise foreign_key_violation using
            message = format('%s is not a known process.* event type', p_event_type),
            hint = 'v_dot_event_type lists those that are.',
            schema = 'dot', table = 'event_type', constraint = 'event_type_event_type_fkey';
    end if;
    perform dot.fn_config_audit('event_type:' || p_event_type, v_old::text, p_active::text, p_actor,
        p_reason);
    return v_old;
end
$function$;

revoke all on function dot.fn_event_type_set(text, boolean, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_event_type_set(text, boolean, text, text) to dot_gatekeeper;

comment on function dot.fn_event_type_set(text, boolean, text, text) is
    'Switches a known process.* event type, audited like a gate; returns what it was.';
