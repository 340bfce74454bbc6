-- Whether a text may name something: a DOT, candidate, actor, holder, key or correlation. A whitelist of
-- ASCII, so that blanks, invisible characters, look-alikes of other scripts and a trailing newline cannot
-- make two names look the same. NULL gives NULL: callers ask `is not true`. The body is parsed here, once,
-- so no search_path can change its operators.
create or replace function dot.fn_is_code(p_value text, p_max_bytes integer)
returns boolean
language sql immutable parallel safe
return octet_length(p_value) <= p_max_bytes and p_value collate "C" ~ '^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$';

revoke all on function dot.fn_is_code(text, integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
-- it inserts into host tables that check by it.
grant execute on function dot.fn_is_code(text, integer) to dot_bridge;

comment on function dot.fn_is_code(text, integer) is
    'Whether a text is a legal code, key, actor, holder or correlation id of at most the given bytes.';
