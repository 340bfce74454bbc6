-- What is stored as the evidence of an observation: the caller's, and the flag that tells a prepared or
-- skipped one from what else is stored under its word. A stored word adds nothing.
create or replace function dot.fn_evidence_stored(p_status text, p_evidence_ref jsonb)
returns jsonb
language sql immutable
return p_evidence_ref || case p_status
    when 'prepared' then '{"wrapper_phase": "prepared"}'::jsonb
    when 'skipped' then '{"skipped": true}'::jsonb
    else '{}'::jsonb
end;

revoke all on function dot.fn_evidence_stored(text, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_evidence_stored(text, jsonb) is
    'What is stored as the evidence of an observation of a status.';
