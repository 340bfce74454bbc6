-- What the lease functions share: key, holder and token or time are required and legal; a lease lives from 1
-- second to 1 hour, never for ever and never not at all. Returns what is wrong as `<argument>_not_null` or
-- `<argument>_check`, else NULL.
create or replace function dot.fn_lease_input_problem(
    p_lease_key text, p_holder text, p_token bigint, p_ttl_seconds integer
)
returns text
language sql immutable
return case
    when p_lease_key is null then 'lease_key_not_null'
    when p_holder is null then 'holder_not_null'
    when p_token is null then 'token_not_null'
    when p_ttl_seconds is null then 'ttl_seconds_not_null'
    when dot.fn_is_code(p_lease_key, 240) is not true then 'lease_key_check'
    when dot.fn_is_code(p_holder, 200) is not true then 'holder_check'
    when (p_ttl_seconds between 1 and 3600) is not true then 'ttl_seconds_check'
end;

revoke all on function dot.fn_lease_input_problem(text, text, bigint, integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_lease_input_problem(text, text, bigint, integer) is
    'What is wrong with the arguments of a lease function; NULL where nothing is.';
