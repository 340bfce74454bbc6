-- Removes events that were acknowledged and are older than seven days, the oldest first, and returns how
-- many. It looks at the p_limit oldest that were acknowledged, so call it until it returns 0. An event
-- whose time lies ahead is not old.
-- Raises:
--   23502  event_outbox_<argument>_not_null
--   23514  event_outbox_<argument>_check
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_dot_outbox_prune(p_limit integer default 1000)
returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $function$
declare
    v_cursor dot.outbox_cursor%rowtype;
begin
    if p_limit is null then
        perform dot.fn_input_refuse('event_outbox', 'limit_not_null');
    end if;
    if (p_limit between 1 and 10000) is not true then
        perform dot.fn_input_refuse('event_outbox', 'limit_check');
    end if;
    select c.* into strict v_cursor from dot.outbox_cursor c;
    return dot.fn_host_outbox_prune(v_cursor.epoch, v_cursor.xact_id, v_cursor.outbox_id, p_limit);
end
$function$;

revoke all on function dot.fn_dot_outbox_prune(integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_outbox_prune(integer) to dot_relay;

comment on function dot.fn_dot_outbox_prune(integer) is
    'Removes the oldest events that were acknowledged and are older than seven days; returns how many.';
