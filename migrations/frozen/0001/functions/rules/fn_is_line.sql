-- Whether a text may stand as a reason, finding, description or path: one line of printable ASCII that is
-- not blank, at most 1,024 bytes, so that whatever prints it cannot be made to print something else. NULL
-- gives NULL.
create or replace function dot.fn_is_line(p_value text)
returns boolean
language sql immutable parallel safe
return octet_length(p_value) <= 1024 and p_value collate "C" ~ '^[ -~]*[!-~][ -~]*$';

revoke all on function dot.fn_is_line(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_line(text) is
    'Whether a text is one non-blank line of printable ASCII of at most 1,024 bytes.';
