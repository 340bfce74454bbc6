-- Moves the outbox cursor forward to a position that poll returned: everything up to it is delivered. A
-- position that is not ahead is refused, so of two relays that deliver the same events one is told.
-- Raises:
--   23502  outbox_cursor_<argument>_not_null, outbox_epoch_system_identifier_not_null
--   23503  outbox_cursor_position_fkey
--   23514  outbox_cursor_ahead_check
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_dot_outbox_ack(p_epoch integer, p_xact_id xid8, p_id bigint)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $function$
declare
    v_cursor dot.outbox_cursor%rowtype;
begin
    if p_epoch is null then
        perform dot.fn_input_refuse('outbox_cursor', 'epoch_not_null');
    end if;
    if p_xact_id is null then
        perform dot.fn_input_refuse('outbox_cursor', 'xact_id_not_null');
    end if;
    if p_id is null then
        perform dot.fn_input_refuse('outbox_cursor', 'id_not_null');
    end if;
    select c.* into strict v_cursor from dot.outbox_cursor c for update;
    if ((p_epoch, p_xact_id, p_id) > (v_cursor.epoch, v_cursor.xact_id, v_cursor.outbox_id)) is not true then
        raise check_violation using
            message = format('position (%s, %s, %s) is not ahead of the cursor', p_epoch, p_xact_id, p_id),
            detail = format('The cursor stands at (%s, %s, %s).', v_cursor.epoch, v_cursor.xact_id,
                v_cursor.outbox_id),
            hint = 'There is one relay: another one has acknowledged this position or a later one.',
            schema = 'dot', table = 'outbox_cursor', constraint = 'outbox_cursor_ahead_check';
    end if;
    if dot.fn_host_outbox_position_settled(
        dot.fn_outbox_epoch(false), p_epoch, p_xact_id, p_id
    ) is not true then
        raise foreign_key_violation using
            message = format('position (%s, %s, %s) is not one that poll returned', p_epoch, p_xact_id,
                p_id),
            hint = 'Acknowledge epoch, xact_id and id of the last event that was delivered.',
            schema = 'dot', table = 'outbox_cursor', constraint = 'outbox_cursor_position_fkey';
    end if;
    update dot.outbox_cursor set
        epoch = p_epoch, xact_id = p_xact_id, outbox_id = p_id, session_actor = session_user,
        moved_at = clock_timestamp();
end
$function$;

revoke all on function dot.fn_dot_outbox_ack(integer, xid8, bigint)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_outbox_ack(integer, xid8, bigint) to dot_relay;

comment on function dot.fn_dot_outbox_ack(integer, xid8, bigint) is
    'Moves the outbox cursor forward to a position that poll returned; refuses one that is not ahead.';
