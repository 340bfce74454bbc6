-- Refuses an argument, given the table it is meant for and what is wrong with it: `<argument>_not_null`,
-- which is a not_null_violation (23502), or `<argument>_check`, which is a check_violation (23514). Table
-- and problem together are the name of the constraint. The hint says what is legal for that argument of that
-- table; the value itself is not repeated: it is what could not be trusted to be printable.
create or replace function dot.fn_input_refuse(p_table text, p_problem text)
returns void
language plpgsql immutable
as $function$
declare
    c_code constant text := 'Letters, digits and . _ : / @ + - of ASCII, beginning with a letter or digit, '
        'at most ';
    v_missing boolean := p_problem like '%\_not\_null';
    v_argument text := regexp_replace(p_problem, '(_reserved|_attempt)?_(not_null|check)$', '');
    v_hint text;
begin
    if v_missing then
        v_hint := format('Pass p_%s; NULL is never replaced by a default.', v_argument);
    elsif p_problem = 'evidence_ref_reserved_check' then
        v_hint := 'The keys wrapper_phase and skipped are set by the function alone: leave them out.';
    elsif p_problem = 'evidence_ref_attempt_check' then
        v_hint := 'The key attempt is an object: what belongs to this attempt alone.';
    else
        -- What one table alone has, or means otherwise than another.
        v_hint := case p_table || '.' || v_argument
            when 'process_run_observation.status' then
                'One of prepared, started, completed, failed, skipped. Log a refused call with '
                'fn_dot_iu_command_log; with the optional amendment a header may also be blocked.'
            when 'process_run_observation.blocked' then
                'A blocked header is a SIMULATED_DRY_RUN with another parent_run_id, an error_ref and no '
                'idempotency_key.'
            when 'process_component_observation.status' then
                'One of prepared, started, completed, failed, skipped. A component is never blocked: log a '
                'refused call with fn_dot_iu_command_log.'
            when 'process_run_observation.evidence_type' then 'One of SIMULATED_DRY_RUN, DRY_RUN, REAL_RUN.'
            when 'process_run_observation.dry_run' then
                'true for SIMULATED_DRY_RUN and DRY_RUN, false for REAL_RUN.'
            when 'process_component_observation.component_role' then 'producer or verifier.'
            when 'process_component_observation.idempotency_key' then c_code || '240 bytes.'
            when 'process_candidate.max_age' then
                'An interval of at most 100 years, longer than nothing; NULL where a verification does not '
                'age.'
            when 'process_candidate.source_time' then
                'A point in time of the years 1 to 9999; NULL where the source has no time.'
            when 'preflight_attestation.check_name'
                then 'fs_snapshot_present is the only check that is attested.'
            when 'preflight_attestation.verdict' then 'PASS, WARN or BLOCK.'
            when 'preflight_attestation.valid_seconds' then 'Whole seconds from 1 to 604,800 (7 days).'
            when 'dot_mechanism_attestation.mechanism'
                then 'scheduler or api_endpoint: the others are measured.'
            when 'dot_config.key' then 'See the view v_dot_gate for the keys that exist.'
            when 'dot_config.value' then 'true or false, exactly.'
            when 'event_type.event_type' then 'See the view v_dot_event_type for the types that exist.'
            when 'dot_iu_command_run.command_name'
                then 'See the view v_dot_command for the commands that exist.'
            when 'dot_iu_command_run.run_mode' then 'plan, verify or apply.'
            when 'dot_iu_command_run.run_status' then 'started, completed, failed or refused.'
            when 'dot_iu_runtime_lease.lease_key' then
                'dot_exec: and a candidate''s code, or another key. ' || c_code || '240 bytes.'
            when 'dot_iu_runtime_lease.ttl_seconds' then 'Whole seconds from 1 to 3,600.'
            when 'outbox_cursor.limit' then 'From 1 to 10,000.'
            when 'event_outbox.limit' then 'From 1 to 10,000.'
        end;
        -- What means the same wherever it is.
        v_hint := coalesce(v_hint, case
            when v_argument = 'occurred_at' then
                'A point in time of the years 1 to 9999; NULL where the source does not say.'
            when v_argument in ('evidence_ref', 'detail') then
                'A JSON object of at most 8,192 bytes; numbers of at most 24 decimals and 2^53 - 1 in size, '
                'others as text.'
            when v_argument in ('input_ref', 'output_ref', 'error_ref') then
                'Printable ASCII without spaces, at most 1,024 bytes.'
            when v_argument in ('process_run_id', 'parent_run_id') then 'Any uuid but nil and max.'
            when v_argument in ('reason', 'finding', 'description', 'script_path', 'file_path') then
                'One line of printable ASCII, not blank, at most 1,024 bytes.'
            else c_code || '200 bytes.'
        end);
    end if;
    raise exception using
        errcode = case when v_missing then 'not_null_violation' else 'check_violation' end,
        message = format(case when v_missing then '%s is required' else '%s is not legal' end, v_argument),
        hint = v_hint,
        schema = 'dot',
        table = p_table,
        column = v_argument,
        constraint = format('%s_%s', p_table, p_problem);
end
$function$;

revoke all on function dot.fn_input_refuse(text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_input_refuse(text, text) is
    'Refuses a missing (23502) or illegal (23514) argument by constraint name, with a hint what is legal.';
