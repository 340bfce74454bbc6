-- Each of the named gates, where p_keys is NULL of every gate there is: value in the wrapper's own row,
-- host_value in the host's where the host governs the gate, and why it is off: own_off_because by the
-- wrapper's row, host_off_because by the host's, off_because both; each NULL where nothing keeps it off.
-- Open is a gate whose value is
-- exactly `true`, whose newest audit row says that fn_dot_config_set opened it in this database of this
-- cluster, and of which the host, where it governs it, says exactly `true` too. A value that came by a
-- plain UPDATE, a restored dump or a clone opens nothing. Closing depends on either value alone. The
-- queue's worker is no gate of the wrapper's: where the host governs it, its word alone counts. p_locked
-- reads the wrapper's row FOR SHARE, which ends in 40001 where the caller's snapshot is older than the
-- last switch.
create or replace function dot.fn_gate_state(
    p_keys text[], p_locked boolean, out key text, out value text, out is_governed_by_host boolean,
    out host_value text, out own_off_because text, out host_off_because text, out off_because text
)
returns setof record
language plpgsql volatile
as $function$
declare
    c_worker constant text := 'queue.worker.enabled';
    v_keys text[] := coalesce(p_keys, dot.fn_gate_keys('REAL_RUN') || c_worker);
    v_here record := dot.fn_database_identity();
    v_host record := dot.fn_host_gate_words(v_keys);  -- of the adopted host's rows
    v_moved record;
begin
    foreach key in array v_keys loop
        value := dot.fn_host_gate_value(key, p_locked);  -- of the wrapper's own row
        -- A host that cannot be read may govern it: the gate is off then.
        is_governed_by_host := v_host.problem is not null or v_host.words ? key;
        select a.new_value, a.system_identifier, a.database_oid into v_moved
        from dot.dot_config_audit a
        where a.key = fn_gate_state.key
        order by a.audit_id desc
        limit 1;
        own_off_because := case
            when is_governed_by_host and key = c_worker then null
            when value is null then 'it has no value'
            when (value = 'true') is not true then 'its value is not exactly true'
            when (v_moved.new_value = 'true') is not true
                then 'no gatekeeper opened it with fn_dot_config_set'
            when v_here.system_identifier is null then 'dot_owner may not call pg_control_system()'
            when (v_moved.system_identifier, v_moved.database_oid)
                is distinct from (v_here.system_identifier, v_here.database_oid)
                then 'it was opened in another database or cluster'
        end;
        host_value := null;
        host_off_because := null;
        off_because := own_off_because;
        if is_governed_by_host then
            host_value := v_host.words ->> key;
            host_off_because := case
                when v_host.problem is not null
                    then 'what the host says of it cannot be read: ' || v_host.problem
                when (host_value = 'true') is not true
                    then format('in %s, the host''s, ', (dot.fn_seam_tables('v_host_gate')).host) || case
                        when host_value is null then 'it has no value'
                        else 'its value is not exactly true'
                    end
            end;
            off_because := nullif(concat_ws('; ', own_off_because, host_off_because), '');
        end if;
        return next;
    end loop;
end
$function$;

revoke all on function dot.fn_gate_state(text[], boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gate_state(text[], boolean) is
    'The stored value of each gate, what the host says of it, and why it is off; NULL where it is open.';
