-- Bridge to the figures of the host's other ledgers, for the inventory, which asks it as v_dot_tool asks
-- fn_host_tools.
-- Raises 55000 (host_readable_check).
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_ledgers(
    out ledger text, out rows_seen bigint, out refused bigint, out planned bigint, out keyed_by_run boolean
)
returns setof record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = off
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    begin
        return query
        select l.ledger, l.rows_seen, l.refused, l.planned, l.keyed_by_run from dot.v_host_ledger l;
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        perform dot.fn_host_unreadable(sqlerrm);
    end;
end
$function$;

alter function dot.fn_host_ledgers() owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_ledgers()
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_ledgers() to dot_owner, dot_reader;

comment on function dot.fn_host_ledgers() is
    'Bridge: the figures of the other ledgers.';
