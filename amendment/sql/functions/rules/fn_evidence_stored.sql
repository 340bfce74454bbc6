-- What is stored as the evidence of an observation: the caller's. What was stored before the amendment loses
-- the flag that told a prepared or skipped one, so that what is stored and what is said can be compared: no
-- caller may send it.
create or replace function dot.fn_evidence_stored(p_status text, p_evidence_ref jsonb)
returns jsonb
language sql immutable
return p_evidence_ref - array['wrapper_phase', 'skipped'];

revoke all on function dot.fn_evidence_stored(text, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_evidence_stored(text, jsonb) is
    'What is stored as the evidence of an observation of a status.';
