-- The events after the cursor in the order of delivery: where they stand and since when, and nothing of what
-- they say. The first of them, by LIMIT, cost the same however many there are: that is why the order is the
-- view's own.
create or replace view dot.v_dot_outbox_waiting with (security_barrier = true) as
select o.epoch, o.xact_id, o.id, o.created_at
from dot.event_outbox as o
cross join (values (true)) as one_row (unused)
where (o.epoch, o.xact_id, o.id) > (
    (select c.epoch from dot.outbox_cursor as c),
    (select c.xact_id from dot.outbox_cursor as c),
    (select c.outbox_id from dot.outbox_cursor as c)
)
order by o.epoch, o.xact_id, o.id;

revoke all on dot.v_dot_outbox_waiting
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_outbox_waiting to dot_reader;

comment on view dot.v_dot_outbox_waiting is
    'Position and time of the events after the cursor, in the order of delivery.';
comment on column dot.v_dot_outbox_waiting.epoch is 'The epoch that the event was written in.';
comment on column dot.v_dot_outbox_waiting.xact_id is 'The transaction that wrote the event.';
comment on column dot.v_dot_outbox_waiting.id is 'The number of the event.';
comment on column dot.v_dot_outbox_waiting.created_at is 'When it was written.';
