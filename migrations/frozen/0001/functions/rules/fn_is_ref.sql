-- Whether a text may point somewhere (input_ref, output_ref, error_ref): printable ASCII without spaces, at
-- most 1,024 bytes. NULL gives NULL: callers ask `is not true`.
create or replace function dot.fn_is_ref(p_value text)
returns boolean
language sql immutable parallel safe
return octet_length(p_value) <= 1024 and p_value collate "C" ~ '^[!-~]+$';

revoke all on function dot.fn_is_ref(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_ref(text) is
    'Whether a text is a legal reference: printable ASCII, no spaces, at most 1,024 bytes.';
