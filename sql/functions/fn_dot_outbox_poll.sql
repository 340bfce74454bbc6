-- The events after the cursor, oldest first, in the order (xact_id, id). Only events below the oldest
-- running transaction are shown, so none can appear behind a position that was returned. Nothing moves until
-- fn_dot_outbox_ack. Raises 23502, 23514 (outbox_cursor_limit_check).
create or replace function dot.fn_dot_outbox_poll(
    p_limit integer default 100,
    out xact_id xid8,
    out id bigint,
    out aggregatetype text,
    out aggregateid text,
    out type text,
    out payload jsonb,
    out created_at timestamptz
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_cursor dot.outbox_cursor%rowtype;
begin
    if p_limit is null then
        perform dot.fn_input_refuse('outbox_cursor', 'limit_not_null');
    end if;
    if (p_limit between 1 and 10000) is not true then
        perform dot.fn_input_refuse('outbox_cursor', 'limit_check');
    end if;
    select c.* into strict v_cursor from dot.outbox_cursor c;
    return query
    select o.xact_id, o.id, o.aggregatetype, o.aggregateid, o.type, o.payload, o.created_at
    from dot.fn_host_outbox_after(v_cursor.xact_id, v_cursor.outbox_id, p_limit) as o;
end
$function$;

revoke all on function dot.fn_dot_outbox_poll(integer) from public;
grant execute on function dot.fn_dot_outbox_poll(integer) to dot_relay;

comment on function dot.fn_dot_outbox_poll(integer) is
    'The events after the cursor that no running transaction can still come before, oldest first.';
