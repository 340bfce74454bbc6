-- How much the relay has still to deliver, counted from the cursor: depth, the age of the oldest event, and the cursor.
create or replace view dot.v_dot_outbox with (security_barrier = true) as
select
    waiting.depth,
    coalesce(extract(epoch from statement_timestamp() - waiting.oldest_at), 0)::bigint as lag_seconds,
    waiting.oldest_at,
    c.xact_id as cursor_xact_id,
    c.outbox_id as cursor_id,
    c.moved_at as cursor_moved_at
from dot.outbox_cursor as c
cross join lateral (
    select count(*) as depth, min(o.created_at) as oldest_at
    from dot.event_outbox as o
    where (o.xact_id, o.id) > (c.xact_id, c.outbox_id)
) as waiting;

revoke all on dot.v_dot_outbox
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_outbox to dot_reader;

comment on view dot.v_dot_outbox is 'Depth and lag of the outbox, counted from the cursor.';
