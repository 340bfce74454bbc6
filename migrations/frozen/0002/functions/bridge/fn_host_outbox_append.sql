-- Bridge to the host's outbox: appends one event in the transaction of the observation it tells of.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_outbox_append(
    p_epoch integer, p_aggregatetype text, p_aggregateid text, p_type text, p_payload jsonb
)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    insert into dot.event_outbox (epoch, aggregatetype, aggregateid, type, payload)
    values (p_epoch, p_aggregatetype, p_aggregateid, p_type, p_payload);
    if not found then
        raise exception 'the host did not store the event %', p_type;
    end if;
end
$function$;

alter function dot.fn_host_outbox_append(integer, text, text, text, jsonb) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_outbox_append(integer, text, text, text, jsonb)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_outbox_append(integer, text, text, text, jsonb) to dot_owner;

comment on function dot.fn_host_outbox_append(integer, text, text, text, jsonb) is
    'Bridge: appends one event to the outbox.';
