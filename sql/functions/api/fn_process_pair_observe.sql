-- Records a whole run in one call: its started header, and how its producer and its verifier ended.
-- p_producer_status or p_verifier_status NULL means that this part is not recorded. All or nothing, and the
-- same as the calls one after the other: fn_process_run_observe, then fn_process_component_observe for the
-- producer and for the verifier, under the run that the first returned and the keys `<key>:<role>:<status>`.
-- The verifier's row is later than the producer's. What is plainly new is stored together, see
-- fn_pair_store_new; all else goes through the functions.
--
-- Locks are those of the two functions.
-- Raises:
--   23502  outbox_epoch_system_identifier_not_null
--   what fn_process_run_observe and fn_process_component_observe raise
create or replace function dot.fn_process_pair_observe(
    p_process_candidate_code text,
    p_producer_dot_code text,
    p_verifier_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_evidence_type text,
    p_dry_run boolean,
    p_producer_status text,
    p_verifier_status text,
    p_actor text,
    p_idempotency_key text default null,
    p_parent_run_id uuid default null,
    p_input_ref text default null,
    p_evidence_ref jsonb default '{}',
    p_producer_output_ref text default null,
    p_producer_error_ref text default null,
    p_producer_evidence_ref jsonb default '{}',
    p_verifier_output_ref text default null,
    p_verifier_error_ref text default null,
    p_verifier_evidence_ref jsonb default '{}',
    p_lease_token bigint default null,
    p_verifier_input_ref text default null,
    p_occurred_at timestamptz default null,
    p_producer_occurred_at timestamptz default null,
    p_verifier_occurred_at timestamptz default null,
    out process_run_id uuid,
    out correlation_id text,
    out created boolean,
    out producer_component_id uuid,
    out producer_created boolean,
    out verifier_component_id uuid,
    out verifier_created boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
declare
    v_components uuid[];
begin
    if (p_evidence_type = 'SIMULATED_DRY_RUN' and p_dry_run and p_lease_token is null) is true then
        v_components := dot.fn_pair_store_new(
            p_process_candidate_code, p_producer_dot_code, p_verifier_dot_code, p_process_run_id,
            p_correlation_id, p_producer_status, p_verifier_status, p_actor, p_idempotency_key,
            p_parent_run_id, p_input_ref, p_evidence_ref, p_producer_output_ref, p_producer_error_ref,
            p_producer_evidence_ref, p_verifier_output_ref, p_verifier_error_ref, p_verifier_evidence_ref,
            p_verifier_input_ref, p_occurred_at, p_producer_occurred_at, p_verifier_occurred_at
        );
    end if;
    if v_components is not null then
        process_run_id := p_process_run_id;
        correlation_id := p_correlation_id;
        created := true;
        producer_component_id := v_components[1];
        producer_created := true;
        verifier_component_id := v_components[2];
        verifier_created := true;
        return;
    end if;
    select o.process_run_id, o.correlation_id, o.created into process_run_id, correlation_id, created
    from dot.fn_process_run_observe(
        p_process_candidate_code, p_producer_dot_code, p_process_run_id, p_correlation_id, p_evidence_type,
        p_dry_run, 'started', p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, null, null,
        p_evidence_ref, p_lease_token, p_occurred_at
    ) as o;
    if p_producer_status is not null then
        select o.component_id, o.created into producer_component_id, producer_created
        from dot.fn_process_component_observe(
            p_process_candidate_code, p_producer_dot_code, process_run_id, correlation_id, 'producer',
            p_producer_status, p_actor, p_idempotency_key || ':producer:' || p_producer_status, null,
            p_producer_output_ref, p_producer_error_ref, p_producer_evidence_ref, p_lease_token,
            p_producer_occurred_at
        ) as o;
    end if;
    if p_verifier_status is not null then
        select o.component_id, o.created into verifier_component_id, verifier_created
        from dot.fn_process_component_observe(
            p_process_candidate_code, p_verifier_dot_code, process_run_id, correlation_id, 'verifier',
            p_verifier_status, p_actor, p_idempotency_key || ':verifier:' || p_verifier_status,
            p_verifier_input_ref, p_verifier_output_ref, p_verifier_error_ref, p_verifier_evidence_ref,
            p_lease_token, p_verifier_occurred_at
        ) as o;
    end if;
end
$function$;

revoke all on function dot.fn_process_pair_observe(
    text, text, text, uuid, text, text, boolean, text, text, text, text, uuid, text, jsonb, text, text,
    jsonb, text, text, jsonb, bigint, text, timestamptz, timestamptz, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_pair_observe(
    text, text, text, uuid, text, text, boolean, text, text, text, text, uuid, text, jsonb, text, text,
    jsonb, text, text, jsonb, bigint, text, timestamptz, timestamptz, timestamptz
) to dot_writer;

comment on function dot.fn_process_pair_observe(
    text, text, text, uuid, text, text, boolean, text, text, text, text, uuid, text, jsonb, text, text,
    jsonb, text, text, jsonb, bigint, text, timestamptz, timestamptz, timestamptz
) is 'Records a whole run in one call: its header, and how its producer and its verifier ended. All or '
    'nothing.';
