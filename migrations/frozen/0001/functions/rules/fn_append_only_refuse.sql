-- The trigger behind every append-only table: refuses UPDATE, DELETE and TRUNCATE of any login, the owner
-- included. Raises restrict_violation (23001), constraint `<table>_append_only`.
create or replace function dot.fn_append_only_refuse()
returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
begin
    raise restrict_violation using
        message = format('%s on dot.%s is refused: the table is append-only', tg_op, tg_table_name),
        detail = 'A row that is stored is evidence. It is never changed and never removed.',
        hint = 'Record what happened since as a new row.',
        schema = tg_table_schema,
        table = tg_table_name,
        constraint = tg_table_name || '_append_only';
end
$function$;

revoke all on function dot.fn_append_only_refuse()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_append_only_refuse() is
    'Trigger: refuses UPDATE, DELETE and TRUNCATE of an append-only table (23001).';
