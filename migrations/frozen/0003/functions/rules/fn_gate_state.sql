-- Each of the named gates, by default of every gate there is: its stored value, and why it is off.
-- off_because is NULL where the gate is open, and only there: the value is exactly `true`, and the newest
-- audit row says that fn_dot_config_set opened it in this database of this cluster. A value that came by a
-- plain UPDATE, a restored dump or a clone opens nothing. Closing depends on the value alone. p_locked reads
-- the row FOR SHARE, which ends in 40001 where the caller's snapshot is older than the last switch.
create or replace function dot.fn_gate_state(
    p_keys text[], p_locked boolean, out key text, out value text, out off_because text
)
returns setof record
language plpgsql volatile
as $function$
declare
    v_here record := dot.fn_database_identity();
    v_moved record;
begin
    foreach key in array coalesce(p_keys, dot.fn_gate_keys('REAL_RUN') || 'queue.worker.enabled'::text) loop
        value := dot.fn_host_gate_value(key, p_locked);
        select a.new_value, a.system_identifier, a.database_oid into v_moved
        from dot.dot_config_audit a
        where a.key = fn_gate_state.key
        order by a.audit_id desc
        limit 1;
        off_because := case
            when value is null then 'it has no value'
            when (value = 'true') is not true then 'its value is not exactly true'
            when (v_moved.new_value = 'true') is not true
                then 'no gatekeeper opened it with fn_dot_config_set'
            when v_here.system_identifier is null then 'dot_owner may not call pg_control_system()'
            when (v_moved.system_identifier, v_moved.database_oid)
                is distinct from (v_here.system_identifier, v_here.database_oid)
                then 'it was opened in another database or cluster'
        end;
        return next;
    end loop;
end
$function$;

revoke all on function dot.fn_gate_state(text[], boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gate_state(text[], boolean) is
    'The stored value of each gate, and why it is off; NULL where it is open.';
