-- Every move of a gate or event type, and every lease that a gatekeeper ended. kind says which, subject
-- names it: a gate's key, an event type, a lease's key. made_here is whether it was decided in this database
-- of this cluster: a gate opens by no other row.
create or replace view dot.v_dot_config_audit with (security_barrier = true) as
select
    a.audit_id,
    a.changed_at,
    split.kind,
    case when split.kind = 'gate' then a.key else substr(a.key, strpos(a.key, ':') + 1) end as subject,
    a.old_value,
    a.new_value,
    a.actor,
    a.session_actor,
    a.reason,
    coalesce(
        (a.system_identifier, a.database_oid) = (here.system_identifier, here.database_oid), false
    ) as made_here
from dot.dot_config_audit as a
cross join dot.fn_database_identity() as here
cross join lateral (
    select case
        when starts_with(a.key, 'event_type:') then 'event_type'
        when starts_with(a.key, 'lease:') then 'lease'
        else 'gate'
    end as kind
) as split;

revoke all on dot.v_dot_config_audit
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_config_audit to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_config_audit is
    'Every move of a gate or event type and every lease ended by a gatekeeper: who, when, why, old, new, '
    'and whether here.';
comment on column dot.v_dot_config_audit.audit_id is 'Its number: the newest is the highest.';
comment on column dot.v_dot_config_audit.changed_at is 'When it was moved.';
comment on column dot.v_dot_config_audit.kind is 'gate, event_type or lease.';
comment on column dot.v_dot_config_audit.subject is
    'The key of the gate, the event type or the key of the lease.';
comment on column dot.v_dot_config_audit.old_value is
    'What it was before; of a lease, the login and holder that had it.';
comment on column dot.v_dot_config_audit.new_value is 'What it was moved to; ended, of a lease.';
comment on column dot.v_dot_config_audit.actor is 'Who did it, as the call claims.';
comment on column dot.v_dot_config_audit.session_actor is 'The database login that really called.';
comment on column dot.v_dot_config_audit.reason is 'Why it was done.';
comment on column dot.v_dot_config_audit.made_here is
    'Whether it was decided in this database of this cluster.';
