-- The words under which a header may be stored. Prepared carries its phase and skipped its flag, and nothing
-- else carries either.
create or replace function dot.fn_is_run_status(p_status text, p_evidence_ref jsonb)
returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $function$
begin
    if p_status in ('started', 'completed', 'failed') then
        return not p_evidence_ref ?| array['wrapper_phase', 'skipped'];
    end if;
    return case p_status
        when 'observed' then p_evidence_ref ? 'wrapper_phase' and not p_evidence_ref ? 'skipped'
        when 'cancelled' then p_evidence_ref ? 'skipped' and not p_evidence_ref ? 'wrapper_phase'
        else false
    end;
end
$function$;

revoke all on function dot.fn_is_run_status(text, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_run_status(text, jsonb) is
    'Whether a header may be stored under a status: its word, and the flag in its evidence that goes with '
    'it.';
