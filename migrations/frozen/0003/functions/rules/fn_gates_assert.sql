-- The evidence ladder: refuses a DRY_RUN or REAL_RUN unless every gate that it needs is open, see
-- fn_gate_keys and fn_gate_state. Returns the values that let the observation in. Raises check_violation
-- (23514), constraint gate_operator_runtime_enabled_check, gate_execute_enabled_check or
-- gate_real_run_enabled_check, 25006 (gate_primary_check) on a standby, whose gates are those of a moment
-- ago, and 25000 (gate_isolation_check) outside READ COMMITTED where a host governs the gate: its row is
-- not locked, so an old snapshot would show an old value.
--
-- p_held is for the write that follows: it holds dot.gate_latch until the transaction ends, so a switch
-- waits for writes that saw the old value and no such write commits after it. Outside READ COMMITTED the
-- snapshot may be older than the last switch: the rows are read FOR SHARE, so a stale one is 40001. The
-- latch then comes before them even where nothing is written: a switch takes both in this order, and would
-- deadlock.
create or replace function dot.fn_gates_assert(p_evidence_type text, p_held boolean)
returns jsonb
language plpgsql volatile
as $function$
declare
    v_stale_snapshot_possible boolean :=
        current_setting('transaction_isolation') is distinct from 'read committed';
    v_gate record;
    v_values jsonb := '{}';
begin
    if pg_is_in_recovery() then
        raise read_only_sql_transaction using
            message = format('%s is refused: this server is a standby', p_evidence_type),
            detail = 'Its gates are those of a moment ago.',
            hint = 'Ask the primary.',
            schema = 'dot', table = 'dot_config', constraint = 'gate_primary_check';
    end if;
    if p_held or v_stale_snapshot_possible then
        perform dot.fn_gate_latch('observe');
    end if;
    for v_gate in
        select g.* from dot.fn_gate_state(dot.fn_gate_keys(p_evidence_type), v_stale_snapshot_possible) as g
    loop
        if v_stale_snapshot_possible and v_gate.is_governed_by_host then
            raise invalid_transaction_state using
                message = format('%s is refused: the host governs gate %s, and this transaction is not READ '
                    'COMMITTED', p_evidence_type, v_gate.key),
                detail = 'It might not see that the host has closed the gate.',
                hint = 'Begin the transaction with ISOLATION LEVEL READ COMMITTED.',
                schema = 'dot', constraint = 'gate_isolation_check';
        end if;
        if v_gate.off_because is not null then
            perform dot.fn_gate_refuse(p_evidence_type, v_gate.key, v_gate.own_off_because,
                v_gate.host_off_because);
        end if;
        v_values := v_values || jsonb_build_object(v_gate.key, v_gate.value);
    end loop;
    return v_values;
end
$function$;

revoke all on function dot.fn_gates_assert(text, boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gates_assert(text, boolean) is
    'Refuses a DRY_RUN or REAL_RUN unless every gate it needs is open (23514); returns the values it read.';
