-- The epoch of the events that are written here. Transactions are numbered by the cluster: after a restore,
-- clone, upgrade or cut-over their numbers say nothing of those that came with the database. So the first
-- event here begins the next epoch, and positions go by it first. With p_open that epoch is stored;
-- without, it is only told, for a reader. Two transactions that begin it at once: the second waits for the
-- first. Where that one commits, the epoch is one for both (outside READ COMMITTED the second is to retry,
-- 40001); where it is rolled back, the second begins it. A transaction that begins one cannot be prepared:
-- prepared, it would keep every other first event waiting without end.
-- Raises 23502 (outbox_epoch_system_identifier_not_null): the cluster cannot be told, and an event might be
-- lost unseen.
create or replace function dot.fn_outbox_epoch(p_open boolean)
returns integer
language plpgsql volatile
as $function$
declare
    v_here bigint[] := dot.fn_database_here();
    v_last dot.outbox_epoch%rowtype;
    v_next integer;
begin
    select e.* into v_last from dot.outbox_epoch e order by e.epoch desc limit 1;
    if v_here = array[v_last.system_identifier, v_last.database_oid::bigint] then
        return v_last.epoch;
    end if;
    v_next := coalesce(v_last.epoch, 0) + 1;
    if p_open then
        perform dot.fn_prepare_forbid();
        insert into dot.outbox_epoch (system_identifier, database_oid, began_at, epoch)
        values (v_here[1], v_here[2]::oid, clock_timestamp(), v_next)
        on conflict do nothing;
    end if;
    return v_next;
end
$function$;

revoke all on function dot.fn_outbox_epoch(boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_outbox_epoch(boolean) is
    'The epoch of the events that are written on this cluster and in this database; begun where it is to be '
    'opened.';
