-- The one-by-one way of a batch: each line by the observe function that it is for, and what became of it.
-- Runs come by candidate and their header's key, those without a header's line by their id, and the lines of
-- each as a run goes: header, producer, verifier.
create or replace function dot.fn_batch_observe_lines(
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
language plpgsql volatile
as $function$
declare
    v_one record;
    v_asked_candidate text;
    v_asked_run_id uuid;
    v_asked_correlation_id text;
    v_told_run_id uuid;
    v_told_correlation_id text;
    v_table text;
    v_column text;
begin
    for v_one in
        select l.*
        from (
            select
                l.*,
                l.nth::integer as line,
                min(coalesce(l.idempotency_key, l.process_run_id::text))
                    filter (where l.component_role is null) over run as run_key,
                min(l.nth) filter (where l.component_role is null) over run as run_line
            from unnest(
                p_process_candidate_code, p_dot_code, p_process_run_id, p_correlation_id, p_component_role,
                p_evidence_type, p_dry_run, p_status, p_actor, p_idempotency_key, p_parent_run_id,
                p_input_ref, p_output_ref, p_error_ref, p_evidence_ref, p_lease_token, p_occurred_at
            ) with ordinality as l (
                process_candidate_code, dot_code, process_run_id, correlation_id, component_role,
                evidence_type, dry_run, status, actor, idempotency_key, parent_run_id, input_ref, output_ref,
                error_ref, evidence_ref, lease_token, occurred_at, nth
            )
            window run as (partition by l.process_candidate_code, l.process_run_id)
        ) as l
        order by
            l.process_candidate_code collate "C",
            coalesce(l.run_key, l.process_run_id::text) collate "C",
            l.run_line, l.component_role is not null, l.component_role collate "C",
            array_position(array['prepared', 'started'], l.status), l.line
    loop
        line := v_one.line;
        component_id := null;
        created := null;
        refused_sqlstate := null;
        refused_constraint := null;
        refused_message := null;
        refused_detail := null;
        refused_hint := null;
        begin
            if v_one.component_role is null then
                select o.process_run_id, o.correlation_id, o.created
                into process_run_id, correlation_id, created
                from dot.fn_process_run_observe(
                    v_one.process_candidate_code, v_one.dot_code, v_one.process_run_id, v_one.correlation_id,
                    v_one.evidence_type, v_one.dry_run, v_one.status, v_one.actor, v_one.idempotency_key,
                    v_one.parent_run_id, v_one.input_ref, v_one.output_ref, v_one.error_ref,
                    v_one.evidence_ref, v_one.lease_token, v_one.occurred_at
                ) as o;
                v_asked_candidate := v_one.process_candidate_code;
                v_asked_run_id := v_one.process_run_id;
                v_asked_correlation_id := v_one.correlation_id;
                v_told_run_id := process_run_id;
                v_told_correlation_id := correlation_id;
            else
                if num_nonnulls(v_one.evidence_type, v_one.dry_run, v_one.parent_run_id) > 0 then
                    raise check_violation using
                        message = 'evidence type, dry_run and parent_run_id are the header''s alone',
                        schema = 'dot', constraint = 'process_observe_batch_component_check';
                end if;
                process_run_id := v_one.process_run_id;
                correlation_id := v_one.correlation_id;
                if (process_run_id = v_asked_run_id and v_one.process_candidate_code = v_asked_candidate
                    and correlation_id = v_asked_correlation_id) is true
                then
                    process_run_id := v_told_run_id;
                    correlation_id := v_told_correlation_id;
                end if;
                select o.component_id, o.created into component_id, created
                from dot.fn_process_component_observe(
                    v_one.process_candidate_code, v_one.dot_code, process_run_id, correlation_id,
                    v_one.component_role, v_one.status, v_one.actor, v_one.idempotency_key, v_one.input_ref,
                    v_one.output_ref, v_one.error_ref, v_one.evidence_ref, v_one.lease_token,
                    v_one.occurred_at
                ) as o;
            end if;
        exception when integrity_constraint_violation then
            get stacked diagnostics
                refused_sqlstate = returned_sqlstate,
                refused_constraint = constraint_name,
                refused_message = message_text,
                refused_detail = pg_exception_detail,
                refused_hint = pg_exception_hint,
                v_table = table_name,
                v_column = column_name;
            if p_atomic then
                raise exception using
                    errcode = refused_sqlstate,
                    message = format('line %s: %s', line, refused_message),
                    detail = refused_detail, hint = refused_hint,
                    schema = 'dot', table = v_table, column = v_column, constraint = refused_constraint;
            end if;
            refused_detail := nullif(refused_detail, '');
            refused_hint := nullif(refused_hint, '');
            process_run_id := null;
            correlation_id := null;
        end;
        return next;
    end loop;
end
$function$;

revoke all on function dot.fn_batch_observe_lines(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[], boolean
) from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_batch_observe_lines(
    text[], text[], uuid[], text[], text[], text[], boolean[], text[], text[], text[], uuid[], text[],
    text[], text[], jsonb[], bigint[], timestamptz[], boolean
) is 'Observes the lines of a batch one by one, and says per line what became of it.';
