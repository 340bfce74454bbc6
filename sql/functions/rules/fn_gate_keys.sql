-- The gates that an evidence type needs, in the order in which they are asked: the evidence ladder. Any word
-- but DRY_RUN, and NULL, needs all of them.
create or replace function dot.fn_gate_keys(p_evidence_type text)
returns text[]
language sql immutable
return array['iu_core.operator_runtime_enabled', 'process_dot_runtime.execute_enabled']
    || case
        when p_evidence_type = 'DRY_RUN' then '{}'
        else array['process_dot_runtime.real_run_enabled']
    end;

revoke all on function dot.fn_gate_keys(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_gate_keys(text) is
    'The gates that an evidence type needs, in the order in which they are asked.';
