-- The words under which a component may be stored, and the stage that goes with each. Prepared carries its
-- phase and skipped its flag, and nothing else carries either.
create or replace function dot.fn_is_component_status(p_status text, p_stage text, p_evidence_ref jsonb)
returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $function$
begin
    if p_stage <> dot.fn_component_stage(p_status) then
        return false;
    end if;
    if p_status in ('step_started', 'step_completed', 'failed') then
        return not p_evidence_ref ?| array['wrapper_phase', 'skipped'];
    end if;
    return case p_status
        when 'observed' then p_evidence_ref ? 'wrapper_phase' and not p_evidence_ref ? 'skipped'
        when 'cancelled' then p_evidence_ref ? 'skipped' and not p_evidence_ref ? 'wrapper_phase'
        else false
    end;
end
$function$;

revoke all on function dot.fn_is_component_status(text, text, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_component_status(text, text, jsonb) is
    'Whether a component may be stored under a status: its word, its stage, and the flag in its evidence '
    'that goes with it.';
