-- The event types of the wrapper, and whether an observation of that type writes one into the outbox. A
-- view of one table could be written through by a login that may write all data, with the rights of the
-- view's owner: it is a join, which cannot. The bridge reads them here: see fn_host_events_wanted.
create or replace view dot.v_dot_event_type with (security_barrier = true) as
select
    e.event_type,
    e.active
from dot.event_type as e
cross join (values (true)) as one_row (unused)
where starts_with(e.event_type, 'process.');

revoke all on dot.v_dot_event_type
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_event_type to dot_bridge, dot_reader, dot_gatekeeper, dot_relay;

comment on view dot.v_dot_event_type is 'The event types of the wrapper, and which of them fill the outbox.';
comment on column dot.v_dot_event_type.event_type is 'The event type.';
comment on column dot.v_dot_event_type.active is
    'Whether an observation of this type writes an event into the outbox.';
