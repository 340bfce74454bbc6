-- The fast way of a pair: stores its three rows by two INSERTs, and its events, where it is plainly new: a
-- simulation without a lease token (its caller asks that), both parts completed or failed; its DOTs the pair
-- of a candidate that gives its parts to no role and pins no output; evidence without a key of meaning; a
-- key that is not stored. Returns the ids of its components, the producer's first. Returns NULL, with
-- nothing stored, where it is not, or does not stand up to the tables: then it goes through the observe
-- functions, whose rules these are. It is a subtransaction: of many pairs in one transaction make a batch.
create or replace function dot.fn_pair_store_new(
    p_process_candidate_code text,
    p_producer_dot_code text,
    p_verifier_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_producer_status text,
    p_verifier_status text,
    p_actor text,
    p_idempotency_key text,
    p_parent_run_id uuid,
    p_input_ref text,
    p_evidence_ref jsonb,
    p_producer_output_ref text,
    p_producer_error_ref text,
    p_producer_evidence_ref jsonb,
    p_verifier_output_ref text,
    p_verifier_error_ref text,
    p_verifier_evidence_ref jsonb,
    p_verifier_input_ref text,
    p_occurred_at timestamptz,
    p_producer_occurred_at timestamptz,
    p_verifier_occurred_at timestamptz
)
returns uuid[]
language plpgsql volatile
as $function$
declare
    v_producer_status text := dot.fn_component_status_stored(p_producer_status);
    v_verifier_status text := dot.fn_component_status_stored(p_verifier_status);
    v_ids uuid[] := array[gen_random_uuid(), gen_random_uuid()];
    v_wanted text[];
    v_now timestamptz;
begin
    if (
        p_producer_status in ('completed', 'failed') and p_verifier_status in ('completed', 'failed')
        and dot.fn_is_plain_evidence(p_evidence_ref)
        and dot.fn_is_plain_evidence(p_producer_evidence_ref)
        and dot.fn_is_plain_evidence(p_verifier_evidence_ref)
        and (p_occurred_at is null or dot.fn_is_time(p_occurred_at))
        and (p_producer_occurred_at is null or dot.fn_is_time(p_producer_occurred_at))
        and (p_verifier_occurred_at is null or dot.fn_is_time(p_verifier_occurred_at))
        and exists (
            select from dot.process_candidate as c
            where c.code = p_process_candidate_code
                and c.producer_dot_code = p_producer_dot_code and c.producer_role is null
                and c.verifier_dot_code = p_verifier_dot_code and c.verifier_role is null
                and not c.pins_output
        )
        and not exists (
            select from dot.process_run_observation as r
            where r.process_candidate_code = p_process_candidate_code
                and r.idempotency_key = p_idempotency_key
        )
    ) is not true then
        return null;
    end if;
    v_wanted := dot.fn_host_events_wanted(
        array[p_producer_dot_code, p_verifier_dot_code],
        array[
            dot.fn_event_type('run', 'started'),
            dot.fn_event_type('component', v_producer_status),
            dot.fn_event_type('component', v_verifier_status)
        ]
    );
    if v_wanted is null then
        return null;
    end if;

    begin
        v_now := clock_timestamp();
        insert into dot.process_run_observation (
            process_run_id, parent_run_id, observed_at, occurred_at, dry_run, process_candidate_code,
            dot_code, correlation_id, evidence_type, status, actor, session_actor, idempotency_key,
            input_ref, evidence_ref
        )
        values (
            p_process_run_id, p_parent_run_id, v_now, p_occurred_at, true, p_process_candidate_code,
            p_producer_dot_code, p_correlation_id, 'SIMULATED_DRY_RUN', 'started', p_actor, session_user,
            p_idempotency_key, p_input_ref, p_evidence_ref
        );
        -- The rows are stored in one moment, and ordered by the microsecond.
        insert into dot.process_component_observation (
            component_id, process_run_id, observed_at, occurred_at, process_candidate_code, component_role,
            stage, dot_code, correlation_id, evidence_type, status, actor, session_actor, idempotency_key,
            input_ref, output_ref, error_ref, evidence_ref
        )
        values (
            v_ids[1], p_process_run_id, v_now + interval '1 microsecond', p_producer_occurred_at,
            p_process_candidate_code, 'producer', dot.fn_component_stage(v_producer_status),
            p_producer_dot_code, p_correlation_id, 'SIMULATED_DRY_RUN', v_producer_status, p_actor,
            session_user, p_idempotency_key || ':producer:' || p_producer_status, null,
            p_producer_output_ref, p_producer_error_ref, p_producer_evidence_ref
        ), (
            v_ids[2], p_process_run_id, v_now + interval '2 microseconds', p_verifier_occurred_at,
            p_process_candidate_code, 'verifier', dot.fn_component_stage(v_verifier_status),
            p_verifier_dot_code, p_correlation_id, 'SIMULATED_DRY_RUN', v_verifier_status, p_actor,
            session_user, p_idempotency_key || ':verifier:' || p_verifier_status, p_verifier_input_ref,
            p_verifier_output_ref, p_verifier_error_ref, p_verifier_evidence_ref
        );
        if v_wanted <> '{}' then
            perform dot.fn_batch_events(
                array_fill(p_process_candidate_code, array[3]), array_fill(p_process_run_id, array[3]),
                array[null, 'producer', 'verifier'], array['started', p_producer_status, p_verifier_status],
                array[p_idempotency_key, null, null], v_wanted
            );
        end if;
    exception when unique_violation or check_violation or not_null_violation then
        return null;
    end;

    return v_ids;
end
$function$;

revoke all on function dot.fn_pair_store_new(
    text, text, text, uuid, text, text, text, text, text, uuid, text, jsonb, text, text, jsonb, text, text,
    jsonb, text, timestamptz, timestamptz, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_pair_store_new(
    text, text, text, uuid, text, text, text, text, text, uuid, text, jsonb, text, text, jsonb, text, text,
    jsonb, text, timestamptz, timestamptz, timestamptz
) is 'Stores a pair together where it is plainly new; the ids of its components, or NULL.';
