-- The catalogue: what could be executed. How far each came is in v_dot_funnel. It asks a function and not
-- the seam, so that no row policy of a host runs as its reader: see fn_host_tools.
create or replace view dot.v_dot_tool with (security_barrier = true) as
select
    t.code as dot_code,
    t.category,
    t.execution_engine,
    t.script_path,
    t.file_path,
    t.trigger_type,
    t.usage_count,
    t.last_executed
from dot.fn_host_tools() as t;

revoke all on dot.v_dot_tool
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_tool to dot_reader, dot_cataloguer;

comment on view dot.v_dot_tool is 'The catalogue of DOTs: what could be executed.';
comment on column dot.v_dot_tool.dot_code is 'The DOT.';
comment on column dot.v_dot_tool.category is 'What kind of DOT it is.';
comment on column dot.v_dot_tool.execution_engine is 'What would execute it.';
comment on column dot.v_dot_tool.script_path is 'Where its script is.';
comment on column dot.v_dot_tool.file_path is 'Where its file is.';
comment on column dot.v_dot_tool.trigger_type is 'What would start it.';
comment on column dot.v_dot_tool.usage_count is 'How often the host says that it was used.';
comment on column dot.v_dot_tool.last_executed is 'When the host says that it was last executed.';
