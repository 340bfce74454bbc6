-- The events after the cursor, oldest first, in the order (epoch, xact_id, id). Of the current epoch only
-- events below the oldest running transaction are shown, so none can appear behind a position that was
-- returned. Nothing moves until fn_dot_outbox_ack.
-- Raises:
--   23502  outbox_cursor_<argument>_not_null, outbox_epoch_system_identifier_not_null
--   23514  outbox_cursor_<argument>_check
create or replace function dot.fn_dot_outbox_poll(
    p_limit integer default 100,
    out epoch integer,
    out xact_id xid8,
    out id bigint,
    out event_id uuid,
    out aggregatetype text,
    out aggregateid text,
    out type text,
    out payload jsonb,
    out created_at timestamptz
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
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
    select
        o.epoch, o.xact_id, o.id, o.event_id, o.aggregatetype, o.aggregateid, o.type, o.payload, o.created_at
    from dot.fn_host_outbox_after(
        dot.fn_outbox_epoch(false), v_cursor.epoch, v_cursor.xact_id, v_cursor.outbox_id, p_limit
    ) as o;
end
$function$;

revoke all on function dot.fn_dot_outbox_poll(integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_outbox_poll(integer) to dot_relay;

comment on function dot.fn_dot_outbox_poll(integer) is
    'The events after the cursor that no running transaction can still come before, oldest first.';
