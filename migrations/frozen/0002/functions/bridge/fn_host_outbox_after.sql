-- Bridge to the host's outbox: the events after a position, in the order (epoch, xact_id, id). Of the
-- current epoch only transactions below the oldest running one are shown: no lower position can still
-- appear, so a reader that goes forward misses nothing. Nothing is written in an earlier epoch any more.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_outbox_after(
    p_current_epoch integer, p_epoch integer, p_xact_id xid8, p_id bigint, p_limit integer
)
returns setof dot.event_outbox
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    return query
    select o.*
    from dot.event_outbox o
    where (o.epoch, o.xact_id, o.id) > (p_epoch, p_xact_id, p_id)
        and (o.epoch < p_current_epoch or o.xact_id < pg_snapshot_xmin(pg_current_snapshot()))
    order by o.epoch, o.xact_id, o.id
    limit p_limit;
end
$function$;

alter function dot.fn_host_outbox_after(integer, integer, xid8, bigint, integer) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_outbox_after(integer, integer, xid8, bigint, integer)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_outbox_after(integer, integer, xid8, bigint, integer) to dot_owner;

comment on function dot.fn_host_outbox_after(integer, integer, xid8, bigint, integer) is
    'Bridge: events after a position that no running transaction can overtake.';
