-- The gates as they stand: the stored value, whether it opens, and the last audited move. A value that was changed past
-- fn_dot_config_set shows as one that differs from the last audited one.
create or replace view dot.v_dot_gate with (security_barrier = true) as
select
    g.key,
    c.value,
    coalesce(c.value = 'true', false) as is_open,
    a.changed_at,
    a.actor,
    a.session_actor,
    a.reason,
    coalesce(c.value = coalesce(a.new_value, 'false'), false) as is_audited
from unnest(array[
    'iu_core.operator_runtime_enabled',
    'process_dot_runtime.execute_enabled',
    'process_dot_runtime.real_run_enabled',
    'queue.worker.enabled'
]) as g (key)
left join dot.dot_config as c on c.key = g.key
left join lateral (
    select d.changed_at, d.actor, d.session_actor, d.reason, d.new_value
    from dot.dot_config_audit as d
    where d.key = g.key
    order by d.audit_id desc
    limit 1
) as a on true;

revoke all on dot.v_dot_gate
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_gate to dot_reader;

comment on view dot.v_dot_gate is 'The gates: stored value, whether it opens, the last audited move, and whether the two agree.';
