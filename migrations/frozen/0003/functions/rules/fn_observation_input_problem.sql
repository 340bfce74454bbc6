-- Step 1 of both observe functions, the part they share: required arguments, domains, reserved keys. Returns
-- what is wrong as `<argument>_not_null` or `<argument>_check`, the end of the constraint's name, and NULL
-- where all is well. It returns the problem and does not raise it, because its caller can then assign the
-- answer: PL/pgSQL evaluates an assignment faster than a PERFORM, and this is asked at every call.
create or replace function dot.fn_observation_input_problem(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_status text,
    p_actor text,
    p_idempotency_key text,
    p_idempotency_key_max_bytes integer,
    p_input_ref text,
    p_output_ref text,
    p_error_ref text,
    p_evidence_ref jsonb,
    p_occurred_at timestamptz
)
returns text
language sql immutable
return case
    when p_process_candidate_code is null then 'process_candidate_code_not_null'
    when p_dot_code is null then 'dot_code_not_null'
    when p_process_run_id is null then 'process_run_id_not_null'
    when p_correlation_id is null then 'correlation_id_not_null'
    when p_status is null then 'status_not_null'
    when p_actor is null then 'actor_not_null'
    when p_evidence_ref is null then 'evidence_ref_not_null'
    when dot.fn_is_code(p_process_candidate_code, 200) is not true then 'process_candidate_code_check'
    when dot.fn_is_code(p_dot_code, 200) is not true then 'dot_code_check'
    when dot.fn_is_run_id(p_process_run_id) is not true then 'process_run_id_check'
    when dot.fn_is_code(p_correlation_id, 200) is not true then 'correlation_id_check'
    when (p_status in ('prepared', 'started', 'completed', 'failed', 'skipped')) is not true
        then 'status_check'
    when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
    when p_idempotency_key is not null
        and dot.fn_is_code(p_idempotency_key, p_idempotency_key_max_bytes) is not true
            then 'idempotency_key_check'
    when p_input_ref is not null and dot.fn_is_ref(p_input_ref) is not true then 'input_ref_check'
    when p_output_ref is not null and dot.fn_is_ref(p_output_ref) is not true then 'output_ref_check'
    when p_error_ref is not null and dot.fn_is_ref(p_error_ref) is not true then 'error_ref_check'
    when dot.fn_is_evidence(p_evidence_ref) is not true then 'evidence_ref_check'
    when (p_evidence_ref ?| array['wrapper_phase', 'skipped']) is not false
        then 'evidence_ref_reserved_check'
    when (jsonb_typeof(p_evidence_ref -> 'attempt') <> 'object') is true then 'evidence_ref_attempt_check'
    when p_occurred_at is not null and dot.fn_is_time(p_occurred_at) is not true then 'occurred_at_check'
    -- With the flag that it is stored with it may be too long.
    when p_status in ('prepared', 'skipped')
        and dot.fn_is_evidence(dot.fn_evidence_stored(p_status, p_evidence_ref)) is not true
            then 'evidence_ref_check'
end;

revoke all on function dot.fn_observation_input_problem(
    text, text, uuid, text, text, text, text, integer, text, text, text, jsonb, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_observation_input_problem(
    text, text, uuid, text, text, text, text, integer, text, text, text, jsonb, timestamptz
) is 'What is wrong with the arguments of an observation: NULLs, domains, reserved keys; NULL where nothing '
    'is.';
