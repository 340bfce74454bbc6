-- The payload of the event that tells of a component.
create or replace function dot.fn_component_event(p_component dot.process_component_observation)
returns jsonb
language sql volatile
return jsonb_build_object(
    'process_candidate_code', p_component.process_candidate_code,
    'process_run_id', p_component.process_run_id, 'component_id', p_component.component_id,
    'component_role', p_component.component_role, 'correlation_id', p_component.correlation_id,
    'dot_code', p_component.dot_code, 'evidence_type', p_component.evidence_type,
    'status', p_component.status, 'actor', p_component.actor, 'occurred_at', p_component.occurred_at
);

revoke all on function dot.fn_component_event(dot.process_component_observation)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_component_event(dot.process_component_observation) is
    'The payload of the event that tells of a component.';
