-- Whether a uuid may identify a run: any but nil and max, which stand for "none" and "all" elsewhere. NULL
-- gives NULL.
create or replace function dot.fn_is_run_id(p_value uuid)
returns boolean
language sql immutable parallel safe
return p_value not in (
    '00000000-0000-0000-0000-000000000000'::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
);

revoke all on function dot.fn_is_run_id(uuid)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_run_id(uuid) is 'Whether a uuid may identify a run: any but nil and max.';
