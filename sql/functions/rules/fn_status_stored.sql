-- The word under which an observation's status is stored, from the wrapper's word: the CHECKs of the ledger
-- take no `prepared` and no `skipped`. A stored word gives itself, so that what is stored and what is said
-- can be compared.
create or replace function dot.fn_status_stored(p_status text)
returns text
language sql immutable
return case p_status
    when 'prepared' then 'observed'
    when 'skipped' then 'cancelled'
    else p_status
end;

revoke all on function dot.fn_status_stored(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_status_stored(text) is 'The word under which a status is stored.';
