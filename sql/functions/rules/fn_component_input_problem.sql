-- Step 1 of fn_process_component_observe: what is wrong with the arguments of a component, those that it
-- shares with a header first. Returns `<argument>_not_null` or `<argument>_check`, and NULL where all is
-- well.
create or replace function dot.fn_component_input_problem(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_component_role text,
    p_status text,
    p_actor text,
    p_idempotency_key text,
    p_input_ref text,
    p_output_ref text,
    p_error_ref text,
    p_evidence_ref jsonb,
    p_occurred_at timestamptz
)
returns text
language sql immutable
return coalesce(
    dot.fn_observation_input_problem(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_status, p_actor,
        p_idempotency_key, 240, p_input_ref, p_output_ref, p_error_ref, p_evidence_ref, p_occurred_at
    ),
    case
        when p_component_role is null then 'component_role_not_null'
        when (p_component_role in ('producer', 'verifier')) is not true then 'component_role_check'
    end
);

revoke all on function dot.fn_component_input_problem(
    text, text, uuid, text, text, text, text, text, text, text, text, jsonb, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_component_input_problem(
    text, text, uuid, text, text, text, text, text, text, text, text, jsonb, timestamptz
) is 'What is wrong with the arguments of a component: NULLs, domains, reserved keys; NULL where nothing '
    'is.';
