-- Whether a jsonb may be stored as evidence: an object of at most 8 KB of text whose numbers every reader
-- can hold. Most observations come with none, which is answered at once. NULL gives NULL: callers ask
-- `is not true`.
create or replace function dot.fn_is_evidence(p_value jsonb)
returns boolean
language sql immutable parallel safe
return p_value = '{}' or dot.fn_is_bounded_evidence(p_value);

revoke all on function dot.fn_is_evidence(jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_evidence(jsonb) is
    'Whether a jsonb is legal evidence: an object of at most 8 KB of text, with numbers of at most 24 '
    'decimals and 2^53 - 1 in size.';
