-- Records many observations in one call, headers and components, one line of the arrays each:
-- p_component_role is NULL for a header, and for a component p_evidence_type, p_dry_run and p_parent_run_id
-- are. Per line says what became of it: created, stored before under its key (created = false), or refused
-- (created is NULL, and the five refused_ columns say why). A component follows its header: where the
-- header's line was stored before under another run, its components of this batch go on with that run.
--
-- Rules, order of checks and refusals are those of fn_process_run_observe and fn_process_component_observe.
-- A batch of which every line is plainly new is stored together, see fn_batch_store_new; any other one goes
-- through the functions, one line after the other, see fn_batch_observe_lines.
--
-- Atomic: the first refusal in the order in which lines are stored is raised, its line named, and nothing is
-- stored. Otherwise a refused line costs no other one. What is no refusal of a line, as a lock that is not
-- got, ends the batch. Locks: those of the functions. Lines are stored in one order, by candidate and key or
-- run, but the two ways differ in it: repeat a batch that ends in 40P01. A line that is stored through the
-- functions is a subtransaction: where not all are plainly new keep a batch below 64.
-- Raises:
--   23502  outbox_epoch_system_identifier_not_null, process_observe_batch_lines_not_null
--   23514  process_observe_batch_component_check, process_observe_batch_lines_check
--   what fn_process_run_observe and fn_process_component_observe raise: atomic, for the first line that is
--   refused; else 25006, 40001 and 55P03 alone
--   40P01  two batches wait for each other: repeat it
create or replace function dot.fn_process_observe_batch(
    p_process_candidate_code text[],
    p_dot_code text[],
    p_process_run_id uuid[],
    p_correlation_id text[],
    p_component_role text[],
    p_evidence_type text[],
    p_dry_run boolean[],
    p_status text[],
    p_actor text[],
    p_idempotency_key text[],
    p_parent_run_id uuid[],
    p_input_ref text[],
    p_output_ref text[],
    p_error_ref text[],
    p_evidence_ref jsonb[],
    p_lease_token bigint[],
    p_occurred_at timestamptz[],
    p_atomic boolean,
    out line integer,
    out process_run_id uuid,
    out correlation_id text,
    out component_id uuid,
    out created boolean,
    out refused_sqlstate text,
    out refused_constraint text,
    out refused_message text,
    out refused_detail text,
    out refused_hint text
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $function$
declare
    v_lines integer := cardinality(p_process_candidate_code);
    v_stored uuid[];
begin
    if num_nulls(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role,
        p_evidence_type, p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref,
        p_output_ref, p_error_ref, p_evidence_ref, p_lease_token, p_occurred_at, p_atomic
    ) > 0 then
        raise not_null_violation using
            message = 'an array of a batch, or p_atomic, is NULL',
            hint = 'Pass every array, with NULL as the element of a line that has no such value.',
            schema = 'dot', constraint = 'process_observe_batch_lines_not_null';
    end if;
    if (
        v_lines <= 10000
        and v_lines = all (array[
            cardinality(p_dot_code), cardinality(p_process_run_id), cardinality(p_correlation_id),
            cardinality(p_component_role), cardinality(p_evidence_type), cardinality(p_dry_run),
            cardinality(p_status), cardinality(p_actor), cardinality(p_idempotency_key),
            cardinality(p_parent_run_id), cardinality(p_input_ref), cardinality(p_output_ref),
            cardinality(p_error_ref), cardinality(p_evidence_ref), cardinality(p_lease_token),
            cardinality(p_occurred_at)
        ])
    ) is not true then
        raise check_violation using
            message = 'a batch has arrays of different lengths, or more than 10,000 lines',
            hint = 'Each has one element a line, NULL where the line has no such value, and at most 10,000.',
            schema = 'dot', constraint = 'process_observe_batch_lines_check';
    end if;

    v_stored := dot.fn_batch_store_new(
        p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role,
        p_evidence_type, p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref,
        p_output_ref, p_error_ref, p_evidence_ref, p_lease_token, p_occurred_at
    );
    if v_stored is not null then
        return query
            select
                l.nth::integer, l.run, l.correlation, case when l.role is not null then l.id end, true,
                null::text, null::text, null::text, null::text, null::text
            from unnest(v_stored, p_process_run_id, p_correlation_id, p_component_role)
                with ordinality as l (id, run, correlation, role, nth);
    else
        return query select o.* from dot.fn_batch_observe_lines(
            p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role,
            p_evidence_type, p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id, p_input_ref,
            p_output_ref, p_error_ref, p_evidence_ref, p_lease_token, p_occurred_at, p_atomic
        ) as o;
    end if;
end
$function$;

revoke all on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[], boolean
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[], boolean
) to dot_writer;

comment on function dot.fn_process_observe_batch(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[], boolean
) is 'Records many observations in one call, a line of the arrays each, and says per line: created, stored '
    'before, or refused.';
