-- The event types of the wrapper, and whether an observation of that type writes one into the outbox.
create or replace view dot.v_dot_event_type with (security_barrier = true) as
select
    e.event_type,
    e.active
from dot.event_type as e
where starts_with(e.event_type, 'process.');

revoke all on dot.v_dot_event_type from public;
grant select on dot.v_dot_event_type to dot_reader, dot_gatekeeper, dot_relay;

comment on view dot.v_dot_event_type is 'The event types of the wrapper, and which of them fill the outbox.';
comment on column dot.v_dot_event_type.event_type is 'The event type.';
comment on column dot.v_dot_event_type.active is
    'Whether an observation of this type writes an event into the outbox.';
