-- Records the producer's or the verifier's part of a run whose header is stored. Evidence type and dry_run
-- are the header's. A run has one row per role and stage: prepared, started, ended. A retry is a new run.
-- Returns the row's component_id, or the one stored under the same key (created = false).
--
-- Order and locks as in fn_process_run_observe. A failed, cancelled, skipped or blocked header takes no
-- component.
-- Raises:
--   23502  process_component_observation_<argument>_not_null, outbox_epoch_system_identifier_not_null
--   23503  process_component_observation_dot_code_fkey,
--          process_component_observation_process_candidate_code_fkey,
--          process_component_observation_process_run_id_fkey
--   23505  idempotency_payload_mismatch, process_component_observation_pkey,
--          process_component_observation_terminal_key
--   23514  process_component_observation_<argument>_check,
--          process_component_observation_header_<argument>_check, gate_<gate>_check, lease_fencing_check,
--          lease_live_check, preflight_check, process_candidate_<part>_role_check,
--          process_component_observation_component_role_dot_check,
--          process_component_observation_correlation_id_header_check,
--          process_component_observation_evidence_ref_attempt_check,
--          process_component_observation_evidence_ref_reserved_check,
--          process_component_observation_pinned_output_check, process_component_observation_prepared_check
--   25000  gate_isolation_check
--   25006  gate_primary_check
--   40001  what clashes is not visible in this transaction: retry it with the same key
--   55P03  a part of a DRY_RUN or REAL_RUN waited 5 s for the latch, or for any lock after it
create or replace function dot.fn_process_component_observe(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_component_role text,
    p_status text,
    p_actor text,
    p_idempotency_key text default null,
    p_input_ref text default null,
    p_output_ref text default null,
    p_error_ref text default null,
    p_evidence_ref jsonb default '{}',
    p_lease_token bigint default null,
    p_occurred_at timestamptz default null,
    out component_id uuid,
    out created boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
declare
    c_simulated constant text := 'SIMULATED_DRY_RUN';
    v_problem text;
    v_status text;
    v_evidence jsonb;
    v_event_type text;
    v_event_wanted boolean;
    v_candidate record;
    v_header record;
    v_admission jsonb;
    v_output_ref text;
    v_stored_component_id uuid;
    v_stored_run_id uuid;
    v_stored_status text;
    v_differing text[];
begin
    -- 1. NULLs, domains, reserved keys.
    v_problem := dot.fn_component_input_problem(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role, p_status,
        p_actor, p_idempotency_key, p_input_ref, p_output_ref, p_error_ref, p_evidence_ref, p_occurred_at
    );
    if v_problem is not null then
        perform dot.fn_input_refuse('process_component_observation', v_problem);
    end if;
    v_status := dot.fn_component_status_stored(p_status);
    v_evidence := dot.fn_evidence_stored(p_status, p_evidence_ref);
    v_event_type := dot.fn_event_type('component', v_status);

    -- 2. The DOT is known, the candidate is known and has it in that role, the header is there and open to
    -- components, and a verifier looked at the pinned output. One bridge call says whether the DOT stands in
    -- the catalogue (NULL where not) and whether its event is wanted.
    v_event_wanted := dot.fn_host_events_wanted(array[p_dot_code], array[v_event_type]) <> '{}';
    if v_event_wanted is null then
        raise foreign_key_violation using
            message = format('DOT %s is not in the catalogue', p_dot_code),
            hint = dot.fn_dot_unknown_hint(),
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_dot_code_fkey';
    end if;
    select c.producer_dot_code, c.verifier_dot_code, c.pins_output,
        case p_component_role
            when 'producer' then c.producer_role
            when 'verifier' then c.verifier_role
        end as writer_role
    into v_candidate
    from dot.process_candidate c where c.code = p_process_candidate_code;
    if v_candidate.producer_dot_code is null then
        raise foreign_key_violation using
            message = format('process candidate %s is not defined', p_process_candidate_code),
            hint = 'v_process_candidate lists those that are. A cataloguer defines one with '
                'fn_process_candidate_define.',
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_process_candidate_code_fkey';
    end if;
    if (
        p_dot_code = case p_component_role
            when 'producer' then v_candidate.producer_dot_code
            when 'verifier' then v_candidate.verifier_dot_code
        end
    ) is not true then
        raise check_violation using
            message = format('%s is not the %s of %s', p_dot_code, p_component_role,
                p_process_candidate_code),
            detail = format('Its producer is %s, its verifier %s.', v_candidate.producer_dot_code,
                v_candidate.verifier_dot_code),
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_component_role_dot_check';
    end if;
    if v_candidate.writer_role is not null then
        perform dot.fn_candidate_role_assert(p_process_candidate_code, p_component_role,
            v_candidate.writer_role);
    end if;
    select r.correlation_id, r.evidence_type, r.status, r.lease_token, r.observed_at into v_header
    from dot.process_run_observation r
    where r.process_candidate_code = p_process_candidate_code and r.process_run_id = p_process_run_id;
    if v_header.evidence_type is null then
        raise foreign_key_violation using
            message = format('run %s of %s has no header', p_process_run_id, p_process_candidate_code),
            hint = 'Record it first with fn_process_run_observe, and go on with the process_run_id that it '
                'returns.',
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_process_run_id_fkey';
    end if;
    if (p_correlation_id = v_header.correlation_id) is not true then
        raise check_violation using
            message = format('correlation_id %s is not that of run %s', p_correlation_id, p_process_run_id),
            detail = format('The header has %s.', v_header.correlation_id),
            hint = 'Go on with the correlation_id that fn_process_run_observe returned.',
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_correlation_id_header_check';
    end if;
    if dot.fn_takes_components(v_header.status) is not true then
        raise check_violation using
            message = format('run %s began as %s and takes no component', p_process_run_id, v_header.status),
            hint = 'A retry is a new run whose parent_run_id is this one.',
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_header_status_check';
    end if;
    if p_status = 'prepared' and (v_header.evidence_type = c_simulated) is not true then
        raise check_violation using
            message = format('a prepared component is a simulation, not a %s', v_header.evidence_type),
            schema = 'dot', table = 'process_component_observation',
            constraint = 'process_component_observation_prepared_check';
    end if;

    -- Also where the verifier failed: its failure must be about this run's output.
    if v_candidate.pins_output and p_component_role = 'verifier' and p_status in ('completed', 'failed') then
        select k.output_ref into v_output_ref
        from dot.process_component_observation k
        where k.process_candidate_code = p_process_candidate_code and k.process_run_id = p_process_run_id
            and k.component_role = 'producer' and k.status = 'step_completed';
        if (p_input_ref = v_output_ref) is not true then
            raise check_violation using
                message = format('the verifier of %s did not look at what its producer wrote',
                    p_process_candidate_code),
                detail = format('The producer''s output_ref is %s, the verifier''s input_ref is %s.',
                    coalesce(v_output_ref, 'not stored'), coalesce(p_input_ref, 'NULL')),
                hint = 'The candidate pins its output: pass the producer''s output_ref as the verifier''s '
                    'p_input_ref.',
                schema = 'dot', table = 'process_component_observation',
                constraint = 'process_component_observation_pinned_output_check';
        end if;
    end if;

    -- 3. What lets evidence above a simulation in. A token that is given must be live whatever it is given
    -- for.
    if v_header.evidence_type is distinct from c_simulated then
        v_admission := dot.fn_admission_assert(
            p_process_candidate_code, v_header.evidence_type, p_lease_token, v_header.lease_token, false
        );
    elsif p_lease_token is not null then
        perform dot.fn_lease_assert(p_process_candidate_code, p_lease_token, v_header.lease_token, false);
    end if;

    -- 4. Replay. It writes nothing: in READ COMMITTED it burns no transaction id.
    if p_idempotency_key is not null then
        select k.component_id into v_stored_component_id
        from dot.process_component_observation k
        where k.process_candidate_code = p_process_candidate_code and k.idempotency_key = p_idempotency_key;
    end if;

    if v_stored_component_id is null then
        -- 5. The same again, held until the transaction ends.
        if v_header.evidence_type is distinct from c_simulated then
            perform dot.fn_admission_assert(
                p_process_candidate_code, v_header.evidence_type, p_lease_token, v_header.lease_token, true
            );
            -- Asked again too: DOT and event type may have changed while latch or lease were waited for.
            v_event_wanted := dot.fn_host_events_wanted(array[p_dot_code], array[v_event_type]) <> '{}';
            if v_event_wanted is null then
                raise serialization_failure using
                    message = format('DOT %s left the catalogue while this call waited', p_dot_code),
                    hint = 'Retry the transaction.';
            end if;
        end if;

        -- 6. Insert. No conflict target: a concurrent retry clashes in several unique indexes at once.
        -- The row is stored as later than every row of its run that this statement sees, whatever the
        -- clock does, because a verdict compares these times. It sees the rows of its own session, and in
        -- READ COMMITTED, where a lease orders the writers of a DRY_RUN or REAL_RUN, all of them.
        insert into dot.process_component_observation as k (
            process_run_id, observed_at, occurred_at, lease_token, process_candidate_code, component_role,
            stage, dot_code, correlation_id, evidence_type, status, actor, session_actor, idempotency_key,
            input_ref, output_ref, error_ref, evidence_ref, admission
        )
        values (
            p_process_run_id,
            greatest(clock_timestamp(), interval '1 microsecond' + greatest(v_header.observed_at, (
                select max(before.observed_at)
                from dot.process_component_observation before
                where before.process_candidate_code = p_process_candidate_code
                    and before.process_run_id = p_process_run_id
            ))),
            p_occurred_at, p_lease_token, p_process_candidate_code, p_component_role,
            dot.fn_component_stage(v_status), p_dot_code, p_correlation_id, v_header.evidence_type, v_status,
            p_actor, session_user, p_idempotency_key, p_input_ref, p_output_ref, p_error_ref, v_evidence,
            v_admission
        )
        on conflict do nothing
        returning k.component_id, true into component_id, created;

        if created then
            if v_event_wanted then
                perform dot.fn_host_outbox_append(
                    dot.fn_outbox_epoch(true), 'process_run', p_process_run_id::text, v_event_type,
                    dot.fn_component_event(k)
                )
                from dot.process_component_observation k
                where k.process_candidate_code = p_process_candidate_code
                    and k.process_run_id = p_process_run_id
                    and k.component_role = p_component_role and k.stage = dot.fn_component_stage(v_status);
            end if;
            return;
        end if;

        -- Nothing inserted, so something clashed. A new statement sees who won; no clash is swallowed.
        if p_idempotency_key is not null then
            select k.component_id into v_stored_component_id
            from dot.process_component_observation k
            where k.process_candidate_code = p_process_candidate_code
                and k.idempotency_key = p_idempotency_key;
        end if;
        if v_stored_component_id is null then
            select dot.fn_status_stored(k.status) into v_stored_status
            from dot.process_component_observation k
            where k.process_candidate_code = p_process_candidate_code and k.process_run_id = p_process_run_id
                and k.component_role = p_component_role and k.stage = dot.fn_component_stage(v_status);
            if v_stored_status = v_status then
                raise unique_violation using
                    message = format('run %s has its %s row %s', p_process_run_id, p_component_role,
                        v_status),
                    detail = 'There is one row per run, role and status, and this call''s key is not the '
                        'one it was stored under.',
                    hint = 'Repeat a call with its idempotency key; a retry of the work is a new run.',
                    schema = 'dot', table = 'process_component_observation',
                    constraint = 'process_component_observation_pkey';
            end if;
            if v_stored_status is not null then
                raise unique_violation using
                    message = format('the %s of run %s has ended', p_component_role, p_process_run_id),
                    detail = format('A component ends once, and it is stored as %s.', v_stored_status),
                    hint = 'A retry is a new run whose parent_run_id is this one.',
                    schema = 'dot', table = 'process_component_observation',
                    constraint = 'process_component_observation_terminal_key';
            end if;
            raise serialization_failure using
                message = 'the component that clashes with this one is not visible in this transaction',
                hint = 'Retry the whole transaction with the same key.';
        end if;
    end if;

    -- A replay: the same call again returns the stored row; another payload under the key is an error.
    select k.component_id, k.process_run_id::uuid, array_remove(array[
        case when k.process_run_id <> p_process_run_id then 'process_run_id' end,
        case when k.correlation_id <> p_correlation_id then 'correlation_id' end,
        case when k.component_role <> p_component_role then 'component_role' end,
        case when k.dot_code <> p_dot_code then 'dot_code' end,
        case when dot.fn_status_stored(k.status) <> v_status then 'status' end,
        case when k.actor <> p_actor then 'actor' end,
        case when k.input_ref is distinct from p_input_ref then 'input_ref' end,
        case when k.output_ref is distinct from p_output_ref then 'output_ref' end,
        case when k.error_ref is distinct from p_error_ref then 'error_ref' end,
        case when k.occurred_at is distinct from p_occurred_at then 'occurred_at' end,
        case
            when dot.fn_evidence_stored(k.status, k.evidence_ref) - 'attempt' <> v_evidence - 'attempt'
                then 'evidence_ref'
        end
    ], null)
    into component_id, v_stored_run_id, v_differing
    from dot.process_component_observation k
    where k.process_candidate_code = p_process_candidate_code and k.idempotency_key = p_idempotency_key;
    if (v_differing = '{}') is not true then
        perform dot.fn_payload_mismatch_refuse(
            'process_component_observation', p_idempotency_key, v_stored_run_id, v_differing
        );
    end if;
    created := false;
end
$function$;

revoke all on function dot.fn_process_component_observe(
    text, text, uuid, text, text, text, text, text, text, text, text, jsonb, bigint, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_component_observe(
    text, text, uuid, text, text, text, text, text, text, text, text, jsonb, bigint, timestamptz
) to dot_writer;

comment on function dot.fn_process_component_observe(
    text, text, uuid, text, text, text, text, text, text, text, text, jsonb, bigint, timestamptz
) is 'Records the producer''s or verifier''s part of a run, idempotent by (candidate, key), under the '
    'header''s evidence type.';
