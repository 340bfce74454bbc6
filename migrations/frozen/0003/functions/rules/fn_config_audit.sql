-- Appends a row to dot_config_audit: what was moved, by whom, why, and in which database of which cluster.
-- The caller holds the latch to switch or to attest, so that one row is numbered after the other. No
-- sequence: a replica that takes over would not have it. Raises 40001 in a transaction whose snapshot is
-- older than the last row.
create or replace function dot.fn_config_audit(
    p_key text, p_old_value text, p_new_value text, p_actor text, p_reason text
)
returns void
language plpgsql volatile
as $function$
declare
    v_here record := dot.fn_database_identity();
begin
    insert into dot.dot_config_audit (
        audit_id, changed_at, system_identifier, database_oid, key, old_value, new_value, actor,
        session_actor, reason
    )
    values (
        (select coalesce(max(a.audit_id), 0) + 1 from dot.dot_config_audit a), clock_timestamp(),
        v_here.system_identifier, v_here.database_oid, p_key, p_old_value, p_new_value, p_actor,
        session_user, p_reason
    )
    on conflict do nothing;
    if not found then
        raise serialization_failure using
            message = 'a row that was stored meanwhile is not visible in this transaction',
            hint = 'Retry the whole transaction.';
    end if;
end
$function$;

revoke all on function dot.fn_config_audit(text, text, text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_config_audit(text, text, text, text, text) is
    'Appends to dot_config_audit: what was moved, by whom, why and where.';
