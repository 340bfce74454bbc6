-- Bridge to the host's catalogue and to the event types. It answers two questions in one call, because each
-- bridge call costs an observation a tenth of its insert: NULL where one of the DOTs, each named once, does
-- not stand in the catalogue exactly once; else those of the event types that are wanted. An unknown type is
-- not wanted. The event types are read through their view, because the bridge reads their table by a policy,
-- and row_security is off here.
-- Raises 55000 (host_readable_check).
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_events_wanted(p_codes text[], p_event_types text[])
returns text[]
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set row_security = off
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    begin
        -- As many rows as codes can also mean that one code stands twice and another is missing. Of two
        -- codes min(code) = max(code) tells that; of more this query does.
        if cardinality(p_codes) > 2 then
            if exists (
                select from dot.v_host_tool t
                where t.code = any (p_codes)
                group by t.code
                having count(*) > 1
            ) then
                return null;
            end if;
        end if;
        return (
            select case
                when count(*) = cardinality(p_codes) and (count(*) = 1 or min(t.code) <> max(t.code))
                    then array(
                        select e.event_type
                        from dot.v_dot_event_type e where e.event_type = any (p_event_types) and e.active
                    )
            end
            from dot.v_host_tool t where t.code = any (p_codes)
        );
    exception when syntax_error_or_access_rule_violation or data_exception or cardinality_violation then
        perform dot.fn_host_unreadable(sqlerrm);
    end;
end
$function$;

alter function dot.fn_host_events_wanted(text[], text[]) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_events_wanted(text[], text[])
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_events_wanted(text[], text[]) to dot_owner;

comment on function dot.fn_host_events_wanted(text[], text[]) is
    'Bridge: which of the event types are wanted; NULL where a DOT is not once in the catalogue.';
