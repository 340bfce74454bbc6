-- The evidence ladder: DRY_RUN needs the operator runtime and execute_enabled, REAL_RUN those and real_run_enabled. Only a
-- stored `true`, exactly, is on. Returns the values that let the observation in; raises check_violation (23514), constraint
-- gate_operator_runtime_enabled_check, gate_execute_enabled_check or gate_real_run_enabled_check.
--
-- p_latched is for the write that follows: it takes dot.gate_latch in ROW SHARE mode until the transaction ends, which
-- fn_dot_config_set takes EXCLUSIVE, so a switch waits for writes that saw the old value and no such write commits after it.
-- Outside READ COMMITTED the snapshot may be older than the last switch: the rows are read FOR SHARE, so a stale one is 40001.
-- The latch then comes before them even where nothing is written: a switch takes both in this order, and would deadlock.
create or replace function dot.fn_gates_assert(p_evidence_type text, p_latched boolean)
returns jsonb
language plpgsql volatile
as $function$
declare
    v_stale_snapshot_possible boolean := current_setting('transaction_isolation') is distinct from 'read committed';
    v_gates text[] := array['iu_core.operator_runtime_enabled', 'process_dot_runtime.execute_enabled'];
    v_gate text;
    v_value text;
    v_values jsonb := '{}';
begin
    if (p_evidence_type = 'DRY_RUN') is not true then
        v_gates := v_gates || 'process_dot_runtime.real_run_enabled'::text;
    end if;
    if p_latched or v_stale_snapshot_possible then
        lock table dot.gate_latch in row share mode;
    end if;
    foreach v_gate in array v_gates loop
        v_value := dot.fn_host_gate_value(v_gate, v_stale_snapshot_possible);
        if (v_value = 'true') is not true then
            raise check_violation using
                message = format('%s is refused: gate %s is off', p_evidence_type, v_gate),
                detail = case when v_value is null then 'The gate has no value.'
                    else 'Its value is not exactly true.' end,
                hint = 'SIMULATED_DRY_RUN needs no gate. A gatekeeper opens a gate with fn_dot_config_set.',
                schema = 'dot',
                table = 'dot_config',
                constraint = format('gate_%s_check', split_part(v_gate, '.', 2));
        end if;
        v_values := v_values || jsonb_build_object(v_gate, v_value);
    end loop;
    return v_values;
end
$function$;

revoke all on function dot.fn_gates_assert(text, boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gates_assert(text, boolean) is
    'Refuses a DRY_RUN or REAL_RUN unless every gate it needs is exactly true (23514); returns the values it read.';
