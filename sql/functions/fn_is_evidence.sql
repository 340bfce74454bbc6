-- Whether a jsonb may be stored as evidence: an object whose numbers are integers that every reader can hold
-- exactly, and whose text is at most 8 KB. The numbers come first: 9 KB of 1e131071 would print as 131 MB.
-- The size is that of the text, because pg_column_size of a compressed value says nothing. NULL gives NULL:
-- callers ask `is not true`.
create or replace function dot.fn_is_evidence(p_value jsonb)
returns boolean
language sql immutable parallel safe
return jsonb_typeof(p_value) = 'object'
    and not jsonb_path_exists(
        p_value,
        'strict $.** ? (@.type() == "number" && (@ > 9007199254740991 || @ < -9007199254740991 || @ != '
        '@.floor()))'
    )
    and octet_length(p_value::text) <= 8192;

revoke all on function dot.fn_is_evidence(jsonb) from public;

comment on function dot.fn_is_evidence(jsonb) is
    'Whether a jsonb is legal evidence: an object of at most 8 KB of text, numbers only as integers of at '
    'most 2^53 - 1.';
