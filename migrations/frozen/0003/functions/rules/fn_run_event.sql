-- The payload of the event that tells of a header.
create or replace function dot.fn_run_event(p_run dot.process_run_observation)
returns jsonb
language sql volatile
return jsonb_build_object(
    'process_candidate_code', p_run.process_candidate_code, 'process_run_id', p_run.process_run_id,
    'correlation_id', p_run.correlation_id, 'parent_run_id', p_run.parent_run_id, 'dot_code', p_run.dot_code,
    'evidence_type', p_run.evidence_type, 'dry_run', p_run.dry_run, 'status', p_run.status,
    'actor', p_run.actor, 'occurred_at', p_run.occurred_at
);

revoke all on function dot.fn_run_event(dot.process_run_observation)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_run_event(dot.process_run_observation) is
    'The payload of the event that tells of a header.';
