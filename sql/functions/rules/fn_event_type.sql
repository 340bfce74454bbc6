-- The type of the event that tells of an observation, from what it is of (run or component) and the word it
-- is stored under. `prepared` and `skipped` are stored under the optional amendment alone. Their events keep
-- the type that they have without it, so that a relay's subscription goes on.
create or replace function dot.fn_event_type(p_kind text, p_status text)
returns text
language sql immutable
return 'process.' || p_kind || '.' || case p_status
    when 'prepared' then 'observed'
    when 'skipped' then 'cancelled'
    else p_status
end;

revoke all on function dot.fn_event_type(text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_event_type(text, text) is
    'The type of the event of an observation stored under a word.';
