-- Step 1 of both observe functions, the part they share: required arguments, domains, reserved keys. Names the first
-- argument that is wrong. Raises not_null_violation (23502), constraint `<table>_<argument>_not_null`, and check_violation
-- (23514), constraint `<table>_<argument>_check`. Called by the observe functions alone, under their search_path.
create or replace function dot.fn_observation_input_assert(
    p_table text,
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
    p_evidence_ref jsonb
)
returns void
language plpgsql immutable
as $function$
declare
    v_missing text := case
        when p_process_candidate_code is null then 'process_candidate_code'
        when p_dot_code is null then 'dot_code'
        when p_process_run_id is null then 'process_run_id'
        when p_correlation_id is null then 'correlation_id'
        when p_status is null then 'status'
        when p_actor is null then 'actor'
        when p_evidence_ref is null then 'evidence_ref'
    end;
    v_illegal text;
begin
    if v_missing is not null then
        perform dot.fn_missing_refuse(p_table, v_missing);
    end if;

    v_illegal := case
        when dot.fn_is_code(p_process_candidate_code, 200) is not true then 'process_candidate_code'
        when dot.fn_is_code(p_dot_code, 200) is not true then 'dot_code'
        when dot.fn_is_run_id(p_process_run_id) is not true then 'process_run_id'
        when dot.fn_is_code(p_correlation_id, 200) is not true then 'correlation_id'
        when (p_status in ('prepared', 'started', 'completed', 'failed', 'skipped')) is not true then 'status'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor'
        when p_idempotency_key is not null
            and dot.fn_is_code(p_idempotency_key, p_idempotency_key_max_bytes) is not true then 'idempotency_key'
        when p_input_ref is not null and dot.fn_is_ref(p_input_ref) is not true then 'input_ref'
        when p_output_ref is not null and dot.fn_is_ref(p_output_ref) is not true then 'output_ref'
        when p_error_ref is not null and dot.fn_is_ref(p_error_ref) is not true then 'error_ref'
        when dot.fn_is_evidence(p_evidence_ref) is not true then 'evidence_ref'
        when (p_evidence_ref ?| array['wrapper_phase', 'skipped']) is not false then 'evidence_ref_reserved'
    end;
    if v_illegal is not null then
        perform dot.fn_illegal_refuse(p_table, v_illegal);
    end if;
end
$function$;

revoke all on function dot.fn_observation_input_assert(
    text, text, text, uuid, text, text, text, text, integer, text, text, text, jsonb
) from public;

comment on function dot.fn_observation_input_assert(
    text, text, text, uuid, text, text, text, text, integer, text, text, text, jsonb
) is 'Refuses NULLs, illegal values and reserved evidence keys of an observation, by name.';
