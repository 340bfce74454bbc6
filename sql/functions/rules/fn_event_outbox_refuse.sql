-- The trigger behind event_outbox: refuses UPDATE, and DELETE of what was not acknowledged or is not seven
-- days old, by any login, the owner included. Definer, because the bridge deletes, and the cursor is the
-- wrapper's: the bridge has no right on it.
-- Raises restrict_violation (23001), constraint event_outbox_append_only.
create or replace function dot.fn_event_outbox_refuse()
returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    if tg_op = 'DELETE'
        and old.created_at < clock_timestamp() - interval '7 days'
        and exists (
            select from dot.outbox_cursor c
            where (old.epoch, old.xact_id, old.id) <= (c.epoch, c.xact_id, c.outbox_id)
        )
    then
        return old;
    end if;
    raise restrict_violation using
        message = format('%s on dot.event_outbox is refused: the table is append-only', tg_op),
        detail = 'An event is never changed. It goes once it was acknowledged and is older than seven days.',
        hint = 'Remove what may go with fn_dot_outbox_prune.',
        schema = 'dot', table = 'event_outbox', constraint = 'event_outbox_append_only';
end
$function$;

revoke all on function dot.fn_event_outbox_refuse()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_event_outbox_refuse() is
    'Trigger: refuses UPDATE of an event, and DELETE of one that is not acknowledged and seven days old '
    '(23001).';
