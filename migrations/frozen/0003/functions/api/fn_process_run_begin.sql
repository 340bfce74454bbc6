-- Begins a run in one call and one transaction: what the caller path does before the DOT, in its order.
-- Gates (for a DRY_RUN or REAL_RUN; a simulation goes on without), preflight for every evidence type, lease,
-- header as started. Returns the run that the caller goes on with, its lease token, and which gates were
-- open and which checks passed, for people. A refusal leaves nothing, the lease neither: log it afterwards
-- with fn_dot_iu_command_log. Repeated with the same key and holder it gives the same run under a new token.
-- Locks: the lease row until the transaction ends, and those of fn_process_run_observe. Commit before the
-- DOT is invoked.
-- Raises:
--   23502  process_run_observation_<argument>_not_null
--   23514  process_run_observation_<argument>_check, gate_<gate>_check, lease_held,
--          process_run_observation_evidence_ref_attempt_check,
--          process_run_observation_evidence_ref_reserved_check
--   25000  gate_isolation_check
--   25006  gate_primary_check
--   what fn_assert_safe_for_dot_action, fn_dot_iu_runtime_lease_acquire and fn_process_run_observe raise
create or replace function dot.fn_process_run_begin(
    p_process_candidate_code text,
    p_dot_code text,
    p_process_run_id uuid,
    p_correlation_id text,
    p_evidence_type text,
    p_dry_run boolean,
    p_actor text,
    p_holder text,
    p_ttl_seconds integer,
    p_idempotency_key text default null,
    p_parent_run_id uuid default null,
    p_input_ref text default null,
    p_evidence_ref jsonb default '{}',
    p_occurred_at timestamptz default null,
    out process_run_id uuid,
    out correlation_id text,
    out created boolean,
    out lease_token bigint,
    out open_gates text[],
    out preflight jsonb
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
declare
    v_problem text;
begin
    v_problem := dot.fn_run_input_problem(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_evidence_type, p_dry_run,
        'started', p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, null, null, p_evidence_ref,
        p_occurred_at
    );
    if v_problem is not null then
        perform dot.fn_input_refuse('process_run_observation', v_problem);
    end if;
    -- All three gates, whatever the evidence type: told to people, decides nothing.
    open_gates := array(
        select g.key from dot.fn_gate_state(dot.fn_gate_keys('REAL_RUN'), false) as g
        where g.off_because is null
    );
    -- fn_process_run_observe asks gates and preflight of a DRY_RUN or REAL_RUN again. They are asked
    -- here too, because the caller path asks them before the lease, and the preflight of a simulation as
    -- well.
    if p_evidence_type is distinct from 'SIMULATED_DRY_RUN' then
        perform dot.fn_gates_assert(p_evidence_type, false);
    end if;
    preflight := dot.fn_assert_safe_for_dot_action();
    lease_token := dot.fn_dot_iu_runtime_lease_acquire(
        'dot_exec:' || p_process_candidate_code, p_holder, p_ttl_seconds);
    if lease_token is null then
        raise check_violation using
            message = format('another holder has the lease of %s', p_process_candidate_code),
            detail = 'One run of a candidate is in flight at a time.',
            hint = 'v_dot_lease shows whose it is, and until when.',
            schema = 'dot', table = 'dot_iu_runtime_lease', constraint = 'lease_held';
    end if;
    select o.process_run_id, o.correlation_id, o.created into process_run_id, correlation_id, created
    from dot.fn_process_run_observe(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_evidence_type, p_dry_run,
        'started', p_actor, p_idempotency_key, p_parent_run_id, p_input_ref, null, null, p_evidence_ref,
        lease_token, p_occurred_at
    ) as o;
end
$function$;

revoke all on function dot.fn_process_run_begin(
    text, text, uuid, text, text, boolean, text, text, integer, text, uuid, text, jsonb, timestamptz
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_run_begin(
    text, text, uuid, text, text, boolean, text, text, integer, text, uuid, text, jsonb, timestamptz
) to dot_writer;

comment on function dot.fn_process_run_begin(
    text, text, uuid, text, text, boolean, text, text, integer, text, uuid, text, jsonb, timestamptz
) is 'Begins a run in one call: gates, preflight, lease, header. A refusal leaves nothing.';
