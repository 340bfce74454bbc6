-- Seam: the catalogue of DOTs as the wrapper reads it, here its own. Adoption drops this view and makes it
-- again, the same columns over the host's table: the columns keep the collation of what is below, or no
-- index of it would be used. Only the bridge reads it, by functions that run no row policy of a host; so
-- no view stands on it. It is a join, which cannot be written through.
create or replace view dot.v_host_tool with (security_barrier = true) as
select
    t.code,
    t.category,
    t.execution_engine,
    t.script_path,
    t.file_path,
    t.trigger_type,
    t.usage_count,
    t.last_executed
from dot.dot_tools as t
cross join (values (true)) as one_row (unused);

revoke all on dot.v_host_tool
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_host_tool to dot_bridge;

comment on view dot.v_host_tool is 'Seam: the catalogue of DOTs, here the wrapper''s own.';
comment on column dot.v_host_tool.code is 'The DOT.';
comment on column dot.v_host_tool.category is 'What kind of DOT it is.';
comment on column dot.v_host_tool.execution_engine is 'What would execute it.';
comment on column dot.v_host_tool.script_path is 'Where its script is.';
comment on column dot.v_host_tool.file_path is 'Where its file is.';
comment on column dot.v_host_tool.trigger_type is 'What would start it.';
comment on column dot.v_host_tool.usage_count is 'How often the host says that it was used.';
comment on column dot.v_host_tool.last_executed is 'When the host says that it was last executed.';
