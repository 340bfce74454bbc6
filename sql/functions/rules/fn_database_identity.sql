-- Which database this is: the cluster's system identifier and the database's own number in it. A clone, a
-- restored dump and an upgraded cluster differ in one of them, so what was decided elsewhere can be told
-- from what was decided here. A standby that is promoted has both, and so has a copy of the files that is
-- started elsewhere: nothing inside can tell that one. system_identifier is NULL where dot_owner may not
-- call pg_control_system: then nothing counts as decided here.
create or replace function dot.fn_database_identity(out system_identifier bigint, out database_oid oid)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    select d.oid into database_oid from pg_database d where d.datname = current_database();
    if has_function_privilege('pg_control_system()', 'execute') then
        select s.system_identifier into system_identifier from pg_control_system() as s;
    end if;
end
$function$;

revoke all on function dot.fn_database_identity()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_database_identity() to dot_bridge, dot_reader, dot_gatekeeper;

comment on function dot.fn_database_identity() is
    'Which cluster and database this is; the first is NULL where dot_owner may not call pg_control_system.';
