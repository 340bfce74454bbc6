-- Bridge to the host's outbox: whether an event stands at this position and no running transaction can still
-- come before it, that is, whether fn_host_outbox_after can have returned it.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_outbox_position_settled(
    p_current_epoch integer, p_epoch integer, p_xact_id xid8, p_id bigint
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    return (p_epoch < p_current_epoch or p_xact_id < pg_snapshot_xmin(pg_current_snapshot()))
        and exists (
            select from dot.event_outbox o where (o.epoch, o.xact_id, o.id) = (p_epoch, p_xact_id, p_id)
        );
end
$function$;

alter function dot.fn_host_outbox_position_settled(integer, integer, xid8, bigint) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_outbox_position_settled(integer, integer, xid8, bigint)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_outbox_position_settled(integer, integer, xid8, bigint) to dot_owner;

comment on function dot.fn_host_outbox_position_settled(integer, integer, xid8, bigint) is
    'Bridge: whether a position is one that a poll can have returned.';
