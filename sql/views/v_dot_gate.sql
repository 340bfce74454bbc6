-- The gates as they stand: the stored value, whether the gate is open and why not, the last audited move,
-- and what the host says of it. A value that was changed past fn_dot_config_set shows as one that differs
-- from the last audited one.
create or replace view dot.v_dot_gate with (security_barrier = true) as
select
    g.key,
    g.value,
    g.off_because is null as is_open,
    g.off_because,
    a.changed_at,
    a.actor,
    a.session_actor,
    a.reason,
    coalesce(g.value = coalesce(a.new_value, 'false'), false) as is_audited,
    g.is_governed_by_host,
    g.host_value
from dot.fn_gate_status() as g
left join lateral (
    select d.changed_at, d.actor, d.session_actor, d.reason, d.new_value
    from dot.dot_config_audit as d
    where d.key = g.key
    order by d.audit_id desc
    limit 1
) as a on true;

revoke all on dot.v_dot_gate
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_gate to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_gate is
    'The gates: stored value, whether it opens and why not, the last audited move, and whether the two '
    'agree.';
comment on column dot.v_dot_gate.key is 'The gate.';
comment on column dot.v_dot_gate.value is 'Its value as it is stored.';
comment on column dot.v_dot_gate.is_open is 'Whether it lets anything through.';
comment on column dot.v_dot_gate.off_because is 'Why it is off; NULL where it is open.';
comment on column dot.v_dot_gate.changed_at is 'When it was last moved; NULL where it never was.';
comment on column dot.v_dot_gate.actor is 'Who last moved it, as that call claims.';
comment on column dot.v_dot_gate.session_actor is 'The database login that last moved it.';
comment on column dot.v_dot_gate.reason is 'Why it was last moved.';
comment on column dot.v_dot_gate.is_audited is
    'Whether the value is that of the last move, or false where it was never moved.';
comment on column dot.v_dot_gate.is_governed_by_host is
    'Whether the host has to say true too, or may have to, because its word cannot be read.';
comment on column dot.v_dot_gate.host_value is 'What the host says of it; NULL where that is nothing.';
