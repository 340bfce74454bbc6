-- The word under which a component's status is stored, from the wrapper's word: what a component starts and
-- completes is a step.
create or replace function dot.fn_component_status_stored(p_status text)
returns text
language sql immutable
return case
    when p_status in ('started', 'completed') then 'step_' || p_status
    else dot.fn_status_stored(p_status)
end;

revoke all on function dot.fn_component_status_stored(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_component_status_stored(text) is
    'The word under which a component''s status is stored.';
