-- The stage that a component is at under a stored word. Of each stage a role has one row in a run: the
-- primary key says so. A component ends once, under one word or another, so all ends are one stage.
create or replace function dot.fn_component_stage(p_status text)
returns text
language sql immutable
return case p_status
    when 'observed' then 'prepared'
    when 'prepared' then 'prepared'
    when 'step_started' then 'started'
    else 'ended'
end;

revoke all on function dot.fn_component_stage(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_component_stage(text) is
    'The stage of a component under a stored word: prepared, started or ended.';
