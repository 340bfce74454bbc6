-- How much the relay has still to deliver, counted from the cursor: depth, the age of the event that comes
-- next, and the cursor. Only the depth costs more with every event that waits, and only where it is asked
-- for.
create or replace view dot.v_dot_outbox with (security_barrier = true) as
select
    (
        select count(*) from dot.event_outbox as o
        where (o.epoch, o.xact_id, o.id) > (c.epoch, c.xact_id, c.outbox_id)
    ) as depth,
    coalesce(extract(epoch from statement_timestamp() - next.created_at), 0)::bigint as lag_seconds,
    next.created_at as oldest_at,
    c.epoch as cursor_epoch,
    c.xact_id as cursor_xact_id,
    c.outbox_id as cursor_id,
    c.moved_at as cursor_moved_at
from dot.outbox_cursor as c
left join lateral (
    select o.created_at
    from dot.event_outbox as o
    where (o.epoch, o.xact_id, o.id) > (c.epoch, c.xact_id, c.outbox_id)
    order by o.epoch, o.xact_id, o.id
    limit 1
) as next on true;

revoke all on dot.v_dot_outbox
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_outbox to dot_reader, dot_relay;

comment on view dot.v_dot_outbox is 'Depth and lag of the outbox, counted from the cursor.';
comment on column dot.v_dot_outbox.depth is 'How many events are not delivered yet.';
comment on column dot.v_dot_outbox.lag_seconds is
    'How old the next event is, in seconds; 0 where none waits.';
comment on column dot.v_dot_outbox.oldest_at is 'When the next event was written; NULL where none waits.';
comment on column dot.v_dot_outbox.cursor_epoch is
    'The epoch of the last event that was delivered; 0 before the first.';
comment on column dot.v_dot_outbox.cursor_xact_id is 'The transaction of the last event that was delivered.';
comment on column dot.v_dot_outbox.cursor_id is 'The number of the last event that was delivered.';
comment on column dot.v_dot_outbox.cursor_moved_at is 'When the cursor was last moved.';
