-- Who holds a switch of a gate up: each transaction that has the latch, writes the configuration or keeps
-- its audit from being written, a prepared one by its gid. Only plain readers are left out, and VACUUM. A
-- prepared transaction has no pid and no application: its backend is gone, its login is its owner.
create or replace function dot.fn_gate_holders(
    out pid integer, out prepared_gid text, out login text, out application_name text, out lock_mode text,
    out locked_table text, out waits_for integer[]
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
    select
        l.pid, x.gid, coalesce(s.usename::text, x.owner::text), s.application_name, l.mode,
        l.relation::regclass::text, pg_blocking_pids(l.pid)
    from pg_locks as l
    join pg_database as d on d.oid = l.database and d.datname = current_database()
    -- A prepared transaction has no backend: its id is in the lock that it holds on itself.
    left join pg_locks as own
        on l.pid is null and own.pid is null
        and own.locktype = 'transactionid' and own.virtualtransaction = l.virtualtransaction
    left join pg_prepared_xacts as x on x.transaction = own.transactionid
    left join pg_stat_activity as s on s.pid = l.pid
    where l.granted
        and case l.relation
            when 'dot.gate_latch'::regclass then l.mode <> 'AccessShareLock'
            when 'dot.dot_config'::regclass
                then l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
            when 'dot.dot_config_audit'::regclass
                then l.mode in (
                    'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
                )
        end
        and l.pid is distinct from pg_backend_pid()
    order by l.pid, x.gid, l.relation;
end
$function$;

revoke all on function dot.fn_gate_holders()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
-- v_dot_gate_holder asks it with its reader's rights.
grant execute on function dot.fn_gate_holders() to dot_reader, dot_gatekeeper;

comment on function dot.fn_gate_holders() is
    'Who holds a switch of a gate up: backends, and prepared transactions by their gid.';
