-- Records the header of a run: one row per run, idempotent by (candidate, key), and never above the evidence
-- that the gates allow now. Returns the run the caller goes on with: its own, or the one stored under the
-- same key (created = false).
--
-- Order: (1) NULLs, domains, reserved keys; (2) DOT and candidate; (3) gates, preflight, lease; (4) replay;
-- (5) gates, lease and attestation again, now so that no switch and no rival overtakes; (6) insert, event. A
-- replay passes 1 to 3 like a first call, because a returned run is taken as permission to go on.
-- The two planner settings: each plan is made once in a session, by indexes, and not for the arguments at
-- hand. A plan that was made for an empty ledger would be slow on one that has grown.
-- Locks: for a new DRY_RUN or REAL_RUN dot.gate_latch in ROW SHARE mode and the lease row, both until the
-- transaction ends; outside READ COMMITTED latch, gate rows and lease row wherever they are asked, in a
-- replay too.
-- Raises:
--   23502  process_run_observation_<argument>_not_null, outbox_epoch_system_identifier_not_null
--   23503  process_run_observation_dot_code_fkey, process_run_observation_process_candidate_code_fkey
--   23505  idempotency_payload_mismatch, process_run_observation_pkey
--   23514  process_run_observation_<argument>_check, gate_<gate>_check, lease_fencing_check,
--          lease_live_check, preflight_check, process_candidate_<part>_role_check,
--          process_run_observation_evidence_ref_attempt_check,
--          process_run_observation_evidence_ref_reserved_check, process_run_observation_prepared_check,
--          process_run_observation_producer_check, process_run_observation_superseded_check
--   25000  gate_isolation_check
--   25006  gate_primary_check
--   40001  what clashes is not visible in this transaction: retry it with the same key
--   55P03  a DRY_RUN or REAL_RUN waited 5 s for the latch, or for any lock after it
create or replace function dot.fn_process_run_observe(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_evidence_type text,
    p_dry_run boolean,
    p_status text,
    p_actor text,
    p_idempotency_key text default null,
    p_parent_run_id uuid default null,
    p_input_ref text default null,
    p_output_ref text default null,
    p_error_ref text default null,
    p_evidence_ref jsonb default '{}',
    p_lease_token bigint default null,
    p_occurred_at timestamptz default null,
    out process_run_id uuid,
    out correlation_id text,
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
    v_candidate record;
    v_admission jsonb;
    v_event_wanted boolean;
    v_latest record;
    v_observed_at timestamptz;
    v_stored_run_id uuid;
    v_differing text[];
begin
    -- 1. NULLs, domains, reserved keys.
    v_problem := dot.fn_run_input_problem(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_evidence_type, p_dry_run,
        p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, p_output_ref, p_error_ref,
        p_evidence_ref, p_occurred_at
    );
    if v_problem is not null then
        perform dot.fn_input_refuse('process_run_observation', v_problem);
    end if;
    if p_status = 'prepared' and (p_evidence_type = c_simulated) is not true then
        raise check_violation using
            message = format('a prepared run is a simulation, not a %s', p_evidence_type),
            hint = 'Start for real with a new run whose parent_run_id is the prepared one.',
            schema = 'dot', table = 'process_run_observation',
            constraint = 'process_run_observation_prepared_check';
    end if;
    v_status := dot.fn_status_stored(p_status);
    v_evidence := dot.fn_evidence_stored(p_status, p_evidence_ref);
    v_event_type := dot.fn_event_type('run', v_status);

    -- 2. The DOT is known, the candidate is known, and the DOT is its producer. One bridge call says whether
    -- the DOT stands in the catalogue (NULL where not) and whether its event is wanted.
    v_event_wanted := dot.fn_host_events_wanted(array[p_dot_code], array[v_event_type]) <> '{}';
    if v_event_wanted is null then
        raise foreign_key_violation using
            message = format('DOT %s is not in the catalogue', p_dot_code),
            hint = dot.fn_dot_unknown_hint(),
            schema = 'dot', table = 'process_run_observation',
            constraint = 'process_run_observation_dot_code_fkey';
    end if;
    select c.producer_dot_code, c.producer_role into v_candidate
    from dot.process_candidate c where c.code = p_process_candidate_code;
    if v_candidate.producer_dot_code is null then
        raise foreign_key_violation using
            message = format('process candidate %s is not defined', p_process_candidate_code),
            hint = 'v_process_candidate lists those that are. A cataloguer defines one with '
                'fn_process_candidate_define.',
            schema = 'dot', table = 'process_run_observation',
            constraint = 'process_run_observation_process_candidate_code_fkey';
    end if;
    if (p_dot_code = v_candidate.producer_dot_code) is not true then
        raise check_violation using
            message = format('%s is not the producer of %s', p_dot_code, p_process_candidate_code),
            detail = format('Its producer is %s.', v_candidate.producer_dot_code),
            schema = 'dot', table = 'process_run_observation',
            constraint = 'process_run_observation_producer_check';
    end if;
    if v_candidate.producer_role is not null then
        perform dot.fn_candidate_role_assert(p_process_candidate_code, 'producer',
            v_candidate.producer_role);
    end if;

    -- 3. What lets evidence above a simulation in. A token that is given must be live whatever it is given
    -- for.
    if p_evidence_type is distinct from c_simulated then
        v_admission := dot.fn_admission_assert(p_process_candidate_code, p_evidence_type, p_lease_token,
            null, false);
    elsif p_lease_token is not null then
        perform dot.fn_lease_assert(p_process_candidate_code, p_lease_token, null, false);
    end if;

    -- 4. Replay. It writes nothing: in READ COMMITTED it burns no transaction id.
    if p_idempotency_key is not null then
        select r.process_run_id::uuid into v_stored_run_id
        from dot.process_run_observation r
        where r.process_candidate_code = p_process_candidate_code and r.idempotency_key = p_idempotency_key;
    end if;

    if v_stored_run_id is null then
        -- 5. The same again, held until the transaction ends.
        if p_evidence_type is distinct from c_simulated then
            perform dot.fn_admission_assert(p_process_candidate_code, p_evidence_type, p_lease_token, null,
                true);
            -- Only a new header is refused: a run that was begun before goes on to its end.
            if dot.fn_candidate_newest(p_process_candidate_code)
                is distinct from p_process_candidate_code
            then
                raise check_violation using
                    message = format('process candidate %s is superseded', p_process_candidate_code),
                    detail = format('The newest of its chain is %s.',
                        dot.fn_candidate_newest(p_process_candidate_code)),
                    hint = 'Record the run under the newest; a superseded candidate takes simulations only.',
                    schema = 'dot', table = 'process_run_observation',
                    constraint = 'process_run_observation_superseded_check';
            end if;
            -- Asked again too: DOT and event type may have changed while latch or lease were waited for.
            v_event_wanted := dot.fn_host_events_wanted(array[p_dot_code], array[v_event_type]) <> '{}';
            if v_event_wanted is null then
                raise serialization_failure using
                    message = format('DOT %s left the catalogue while this call waited', p_dot_code),
                    hint = 'Retry the transaction.';
            end if;
            -- A new run sorts after the latest one that this statement sees, whatever clock and lease table
            -- say. Where its token is lower it is refused, and where its token is the same it is stored as
            -- later. The literal lets the planner use the index of runs above a simulation.
            select r.lease_token, r.observed_at into v_latest
            from dot.process_run_observation r
            where r.process_candidate_code = p_process_candidate_code and r.evidence_type = p_evidence_type
                and r.evidence_type <> 'SIMULATED_DRY_RUN'
            order by r.lease_token desc, r.observed_at desc
            limit 1;
            if v_latest.lease_token > p_lease_token then
                perform dot.fn_lease_assert(p_process_candidate_code, p_lease_token, v_latest.lease_token,
                    true);
            elsif v_latest.lease_token = p_lease_token then
                v_observed_at := v_latest.observed_at + interval '1 microsecond';
            end if;
        end if;

        -- 6. Insert. No conflict target: a concurrent retry clashes in several unique indexes at once.
        insert into dot.process_run_observation (
            process_run_id, parent_run_id, observed_at, occurred_at, lease_token, dry_run,
            process_candidate_code, dot_code, correlation_id, evidence_type, status, actor, session_actor,
            idempotency_key, input_ref, output_ref, error_ref, evidence_ref, admission
        )
        values (
            p_process_run_id, p_parent_run_id, greatest(clock_timestamp(), v_observed_at), p_occurred_at,
            p_lease_token, p_dry_run, p_process_candidate_code, p_dot_code, p_correlation_id,
            p_evidence_type, v_status, p_actor, session_user, p_idempotency_key, p_input_ref, p_output_ref,
            p_error_ref, v_evidence, v_admission
        )
        on conflict do nothing
        returning true into created;

        if created then
            process_run_id := p_process_run_id;
            correlation_id := p_correlation_id;
            if v_event_wanted then
                perform dot.fn_host_outbox_append(
                    dot.fn_outbox_epoch(true), 'process_run', p_process_run_id::text, v_event_type,
                    dot.fn_run_event(r)
                )
                from dot.process_run_observation r
                where r.process_candidate_code = p_process_candidate_code
                    and r.process_run_id = p_process_run_id;
            end if;
            return;
        end if;

        -- Nothing inserted, so something clashed. A new statement sees who won; no clash is swallowed.
        if p_idempotency_key is not null then
            select r.process_run_id::uuid into v_stored_run_id
            from dot.process_run_observation r
            where r.process_candidate_code = p_process_candidate_code
                and r.idempotency_key = p_idempotency_key;
        end if;
        if v_stored_run_id is null then
            if exists (
                select from dot.process_run_observation r
                where r.process_candidate_code = p_process_candidate_code
                    and r.process_run_id = p_process_run_id
            ) then
                raise unique_violation using
                    message = format('run %s of %s has a header', p_process_run_id,
                        p_process_candidate_code),
                    detail = 'A run has one header, and this call''s key is not the one it was stored '
                        'under.',
                    hint = 'Repeat a call with its idempotency key; start another run under a new '
                        'process_run_id.',
                    schema = 'dot', table = 'process_run_observation',
                    constraint = 'process_run_observation_pkey';
            end if;
            raise serialization_failure using
                message = 'the run that clashes with this one is not visible in this transaction',
                hint = 'Retry the whole transaction with the same key.';
        end if;
    end if;

    -- A replay: the same call again returns the stored run; another payload under the key is an error. Not
    -- payload are run id, correlation id, lease token and evidence_ref.attempt, which belong to an attempt.
    -- dry_run follows from evidence_type.
    select r.process_run_id::uuid, r.correlation_id::text, array_remove(array[
        case when r.dot_code <> p_dot_code then 'dot_code' end,
        case when r.evidence_type <> p_evidence_type then 'evidence_type' end,
        case when dot.fn_status_stored(r.status) <> v_status then 'status' end,
        case when r.actor <> p_actor then 'actor' end,
        case when r.parent_run_id is distinct from p_parent_run_id then 'parent_run_id' end,
        case when r.input_ref is distinct from p_input_ref then 'input_ref' end,
        case when r.output_ref is distinct from p_output_ref then 'output_ref' end,
        case when r.error_ref is distinct from p_error_ref then 'error_ref' end,
        case when r.occurred_at is distinct from p_occurred_at then 'occurred_at' end,
        case
            when dot.fn_evidence_stored(r.status, r.evidence_ref) - 'attempt' <> v_evidence - 'attempt'
                then 'evidence_ref'
        end
    ], null)
    into process_run_id, correlation_id, v_differing
    from dot.process_run_observation r
    where r.process_candidate_code = p_process_candidate_code and r.idempotency_key = p_idempotency_key;
    if (v_differing = '{}') is not true then
        perform dot.fn_payload_mismatch_refuse(
            'process_run_observation', p_idempotency_key, process_run_id, v_differing
        );
    end if;
    created := false;
end
$function$;

revoke all on function dot.fn_process_run_observe(
    text, text, uuid, text, text, boolean, text, text, text, uuid, text, text, text, jsonb, bigint,
    timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_run_observe(
    text, text, uuid, text, text, boolean, text, text, text, uuid, text, text, text, jsonb, bigint,
    timestamptz
) to dot_writer;

comment on function dot.fn_process_run_observe(
    text, text, uuid, text, text, boolean, text, text, text, uuid, text, text, text, jsonb, bigint,
    timestamptz
) is 'Records the header of a run, idempotent by (candidate, key), never above the evidence that the gates '
    'allow.';
