-- Step 1 of fn_process_run_observe: what is wrong with the arguments of a header, those that it shares with
-- a component first. Returns `<argument>_not_null` or `<argument>_check`, and NULL where all is well.
create or replace function dot.fn_run_input_problem(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_evidence_type text,
    p_dry_run boolean,
    p_status text,
    p_actor text,
    p_idempotency_key text,
    p_parent_run_id uuid,
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
        p_idempotency_key, 200, p_input_ref, p_output_ref, p_error_ref, p_evidence_ref, p_occurred_at
    ),
    case
        when p_evidence_type is null then 'evidence_type_not_null'
        when p_dry_run is null then 'dry_run_not_null'
        when (p_evidence_type in ('SIMULATED_DRY_RUN', 'DRY_RUN', 'REAL_RUN')) is not true
            then 'evidence_type_check'
        when (p_dry_run = (p_evidence_type <> 'REAL_RUN')) is not true then 'dry_run_check'
        when p_parent_run_id is not null and dot.fn_is_run_id(p_parent_run_id) is not true
            then 'parent_run_id_check'
    end
);

revoke all on function dot.fn_run_input_problem(
    text, text, uuid, text, text, boolean, text, text, text, uuid, text, text, text, jsonb, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_run_input_problem(
    text, text, uuid, text, text, boolean, text, text, text, uuid, text, text, text, jsonb, timestamptz
) is 'What is wrong with the arguments of a header: NULLs, domains, reserved keys; NULL where nothing is.';
