-- Whether a time may be stored as one that a source tells: of the years 1 to 9999, less a day at either end,
-- so that it is of them in every time zone. Beyond them a time is none to most programs that read it. NULL
-- gives NULL: callers ask `is not true`.
create or replace function dot.fn_is_time(p_value timestamptz)
returns boolean
language sql immutable parallel safe
return p_value between '0001-01-02 00:00+00'::timestamptz and '9999-12-30 00:00+00'::timestamptz;

revoke all on function dot.fn_is_time(timestamptz)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_time(timestamptz) is
    'Whether a time that a source tells is of the years 1 to 9999, in every time zone.';
