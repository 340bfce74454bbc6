-- The gates that an evidence type needs, in the order in which they are asked: the evidence ladder. Any other word, and NULL, give
-- every gate there is.
create or replace function dot.fn_gate_keys(p_evidence_type text)
returns text[]
language sql immutable
return case p_evidence_type
    when 'DRY_RUN' then array['iu_core.operator_runtime_enabled', 'process_dot_runtime.execute_enabled']
    when 'REAL_RUN' then array[
        'iu_core.operator_runtime_enabled', 'process_dot_runtime.execute_enabled', 'process_dot_runtime.real_run_enabled'
    ]
    else array[
        'iu_core.operator_runtime_enabled', 'process_dot_runtime.execute_enabled', 'process_dot_runtime.real_run_enabled',
        'queue.worker.enabled'
    ]
end;

revoke all on function dot.fn_gate_keys(text) from public;
grant execute on function dot.fn_gate_keys(text) to dot_reader;  -- v_dot_gate asks it with the reader's rights

comment on function dot.fn_gate_keys(text) is 'The gates that an evidence type needs, in order; every gate for any other word.';
