-- Bridge to the host's outbox: appends one event in the transaction of the observation it tells of.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_outbox_append(p_aggregatetype text, p_aggregateid text, p_type text, p_payload jsonb)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    insert into dot.event_outbox (aggregatetype, aggregateid, type, payload)
    values (p_aggregatetype, p_aggregateid, p_type, p_payload);
end
$function$;

alter function dot.fn_host_outbox_append(text, text, text, jsonb) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_outbox_append(text, text, text, jsonb) from public;
grant execute on function dot.fn_host_outbox_append(text, text, text, jsonb) to dot_owner;

comment on function dot.fn_host_outbox_append(text, text, text, jsonb) is
    'Bridge: appends one event to the outbox.';
