-- Whether evidence has no key that means something: `wrapper_phase` and `skipped`, which the functions set,
-- and `attempt`, which a replay may change. NULL gives NULL: callers ask `is not true`.
create or replace function dot.fn_is_plain_evidence(p_evidence_ref jsonb)
returns boolean
language sql immutable
return not p_evidence_ref ?| array['wrapper_phase', 'skipped', 'attempt'];

revoke all on function dot.fn_is_plain_evidence(jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_plain_evidence(jsonb) is
    'Whether evidence has no key that means something: wrapper_phase, skipped, attempt.';
