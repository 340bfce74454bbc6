-- Bridge to the host's event types: switches a known type and returns what it was; NULL where the type is
-- unknown.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_event_set(p_event_type text, p_active boolean)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_old boolean;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    select e.active into v_old from dot.event_type e where e.event_type = p_event_type for update;
    update dot.event_type set active = p_active
    where event_type = p_event_type and active is distinct from p_active;
    if v_old is not null and (
        select e.active from dot.event_type e where e.event_type = p_event_type
    ) is distinct from p_active then
        raise exception 'the host did not store % in event_type', p_event_type;
    end if;
    return v_old;
end
$function$;

alter function dot.fn_host_event_set(text, boolean) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_event_set(text, boolean)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_event_set(text, boolean) to dot_owner;

comment on function dot.fn_host_event_set(text, boolean) is
    'Bridge: switches an event type, returns what it was, NULL where it is unknown.';
