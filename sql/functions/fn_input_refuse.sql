-- Refuses an argument, given the table it is meant for and what is wrong with it: `<argument>_not_null`, which is a
-- not_null_violation (23502), or `<argument>_check`, which is a check_violation (23514). Table and problem together are the
-- name of the constraint. The value itself is not repeated: it is what could not be trusted to be printable.
create or replace function dot.fn_input_refuse(p_table text, p_problem text)
returns void
language plpgsql immutable
as $function$
declare
    v_missing boolean := p_problem like '%\_not\_null';
    v_argument text := regexp_replace(p_problem, '(_reserved|_attempt)?_(not_null|check)$', '');
begin
    raise exception using
        errcode = case when v_missing then 'not_null_violation' else 'check_violation' end,
        message = format(case when v_missing then '%s is required' else '%s is not legal' end, v_argument),
        hint = case
            when v_missing then format('Pass p_%s; NULL is never replaced by a default.', v_argument)
            when p_problem = 'evidence_ref_reserved_check' then
                'The keys wrapper_phase and skipped are set by the function alone: leave them out.'
            when p_problem = 'evidence_ref_attempt_check' then 'The key attempt is an object: what belongs to this attempt alone.'
            when v_argument = 'occurred_at' then 'A point in time of the years 1 to 9999; NULL where the source does not say.'
            when v_argument in ('evidence_ref', 'detail') then
                'A JSON object of at most 8,192 bytes; numbers of at most 24 decimals and 2^53 - 1 in size, others as text.'
            when v_argument like '%\_ref' then 'Printable ASCII without spaces, at most 1,024 bytes.'
            when v_argument = 'status' then
                'One of prepared, started, completed, failed, skipped. A blocked run is never stored: log it as a refused '
                'command with fn_dot_iu_command_log.'
            when v_argument = 'evidence_type' then 'One of SIMULATED_DRY_RUN, DRY_RUN, REAL_RUN.'
            when v_argument = 'dry_run' then 'true for SIMULATED_DRY_RUN and DRY_RUN, false for REAL_RUN.'
            when v_argument = 'component_role' then 'producer or verifier.'
            when v_argument in ('process_run_id', 'parent_run_id') then 'Any uuid but nil and max.'
            when v_argument in ('reason', 'finding', 'description', 'script_path', 'file_path') then
                'One line of printable ASCII, not blank, at most 1,024 bytes.'
            when v_argument = 'verdict' then 'PASS, WARN or BLOCK.'
            when v_argument = 'check_name' then 'fs_snapshot_present is the only check that is attested.'
            when v_argument = 'mechanism' then 'scheduler or api_endpoint: the others are measured.'
            when v_argument = 'value' then 'true or false, exactly.'
            when v_argument = 'key' then 'See the view v_dot_gate for the keys that exist.'
            when v_argument = 'ttl_seconds' then 'Whole seconds from 1 to 3,600.'
            when v_argument = 'valid_seconds' then 'Whole seconds from 1 to 604,800 (7 days).'
            when v_argument = 'limit' then 'From 1 to 10,000.'
            when v_argument = 'run_mode' then 'plan, verify or apply.'
            when v_argument = 'run_status' then 'started, completed, failed or refused.'
            else 'Letters, digits and . _ : / @ + - of ASCII, beginning with a letter or digit, at most 200 bytes '
                '(lease keys and the keys of components 240).'
        end,
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
