-- fn_database_identity in one value, {system_identifier, database_oid}, asked once a session. It is
-- IMMUTABLE because neither part changes as long as a session lives: plans keep what an IMMUTABLE function
-- answered, and no plan outlives its session. Asked with every event it was a quarter of what an
-- observation costs. A custom setting would keep it too, but the caller could set that.
-- Raises 23502 (outbox_epoch_system_identifier_not_null), which no plan keeps: the cluster cannot be told.
create or replace function dot.fn_database_here()
returns bigint[]
language plpgsql immutable
as $function$
declare
    v_here record;
begin
    select i.system_identifier, i.database_oid into v_here from dot.fn_database_identity() as i;
    if v_here.system_identifier is null then
        raise not_null_violation using
            message = 'which cluster this is cannot be told, so no event can be placed',
            hint = 'A superuser lets dot_owner call pg_control_system().',
            schema = 'dot', table = 'outbox_epoch', constraint = 'outbox_epoch_system_identifier_not_null';
    end if;
    return array[v_here.system_identifier, v_here.database_oid::bigint];
end
$function$;

revoke all on function dot.fn_database_here()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_database_here() is
    'Which cluster and database this is, {system_identifier, database_oid}, kept by a session.';
