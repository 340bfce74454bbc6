-- Refuses an argument outside its domain: check_violation (23514), constraint `<table>_<argument>_check`. The value itself is
-- not repeated: it is what could not be trusted to be printable.
create or replace function dot.fn_illegal_refuse(p_table text, p_argument text)
returns void
language plpgsql immutable
as $function$
begin
    raise check_violation using
        message = format('%s is not legal', p_argument),
        hint = case
            when p_argument in ('evidence_ref', 'detail') then
                'A JSON object of at most 8,192 bytes; numbers only as integers of at most 2^53 - 1, others as text.'
            when p_argument = 'evidence_ref_reserved' then
                'The keys wrapper_phase and skipped are set by the function alone: leave them out.'
            when p_argument like '%\_ref' then 'Printable ASCII without spaces, at most 1,024 bytes.'
            when p_argument = 'status' then
                'One of prepared, started, completed, failed, skipped. A blocked run is never stored: log it as a refused '
                'command with fn_dot_iu_command_log.'
            when p_argument = 'evidence_type' then 'One of SIMULATED_DRY_RUN, DRY_RUN, REAL_RUN.'
            when p_argument = 'dry_run' then 'true for SIMULATED_DRY_RUN and DRY_RUN, false for REAL_RUN.'
            when p_argument = 'component_role' then 'producer or verifier.'
            when p_argument in ('process_run_id', 'parent_run_id') then 'Any uuid but nil and max.'
            when p_argument in ('reason', 'finding', 'description', 'script_path', 'file_path') then
                'One line of printable ASCII, not blank, at most 1,024 bytes.'
            when p_argument = 'verdict' then 'PASS, WARN or BLOCK.'
            when p_argument = 'check_name' then 'fs_snapshot_present is the only check that is attested.'
            when p_argument = 'mechanism' then 'scheduler or api_endpoint: the others are measured.'
            when p_argument = 'value' then 'true or false, exactly.'
            when p_argument = 'key' then 'See the view v_dot_gate for the keys that exist.'
            when p_argument = 'ttl_seconds' then 'Whole seconds from 1 to 3,600.'
            when p_argument = 'valid_seconds' then 'Whole seconds from 1 to 604,800 (7 days).'
            when p_argument = 'limit' then 'From 1 to 10,000.'
            when p_argument = 'run_mode' then 'plan, verify or apply.'
            when p_argument = 'run_status' then 'started, completed, failed or refused.'
            else 'Letters, digits and . _ : / @ + - of ASCII, beginning with a letter or digit, at most 200 bytes '
                '(lease keys and the keys of components 240).'
        end,
        schema = 'dot',
        table = p_table,
        column = p_argument,
        constraint = format('%s_%s_check', p_table, p_argument);
end
$function$;

revoke all on function dot.fn_illegal_refuse(text, text) from public;

comment on function dot.fn_illegal_refuse(text, text) is 'Refuses an argument outside its domain (23514), with a hint what is legal.';
