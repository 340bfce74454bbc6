-- Bridge to the host's outbox: of the oldest events up to a position removes those that are older than
-- seven days, and returns how many. At most p_limit are looked at, so a call is short. The trigger of the
-- table has the last word on each.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_outbox_prune(
    p_epoch integer, p_xact_id xid8, p_id bigint, p_limit integer
)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_removed integer;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    delete from dot.event_outbox o
    using (
        select e.epoch, e.xact_id, e.id
        from dot.event_outbox e
        where (e.epoch, e.xact_id, e.id) <= (p_epoch, p_xact_id, p_id)
        order by e.epoch, e.xact_id, e.id
        limit p_limit
    ) as oldest
    where (o.epoch, o.xact_id, o.id) = (oldest.epoch, oldest.xact_id, oldest.id)
        and o.created_at < clock_timestamp() - interval '7 days';
    get diagnostics v_removed = row_count;
    return v_removed;
end
$function$;

alter function dot.fn_host_outbox_prune(integer, xid8, bigint, integer) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_outbox_prune(integer, xid8, bigint, integer)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_outbox_prune(integer, xid8, bigint, integer) to dot_owner;

comment on function dot.fn_host_outbox_prune(integer, xid8, bigint, integer) is
    'Bridge: removes the oldest events up to a position that are older than seven days.';
