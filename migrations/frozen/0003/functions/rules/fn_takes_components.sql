-- Whether a run takes components whose header is stored under a word: one that began as failed, cancelled,
-- skipped or blocked takes none. NULL gives NULL: callers ask `is not true`.
create or replace function dot.fn_takes_components(p_status text)
returns boolean
language sql immutable
return p_status not in ('failed', 'cancelled', 'skipped', 'blocked');

revoke all on function dot.fn_takes_components(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_takes_components(text) is
    'Whether a run takes components whose header is stored under a word.';
