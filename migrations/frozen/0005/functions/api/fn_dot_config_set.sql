-- Moves a gate, and writes who, when, why, old and new into dot_config_audit: the only way to move one.
-- Once it has committed no observation that needed the old value commits: it takes dot.gate_latch
-- EXCLUSIVE, which waits for the writes in flight, at most 2 s for each lock; then 55P03 names who holds
-- it. Closing depends on nothing but the gate's row. Returns the value before. Where a host governs the
-- gate, its row has to say so too; its queue.worker.enabled is its own, and no row of the wrapper's moves
-- it.
-- Raises:
--   23502  dot_config_<argument>_not_null
--   23514  dot_config_<argument>_check, dot_config_key_host_check
--   40001  the transaction's snapshot is too old: retry it
--   55P03  a lock was not got in 2 s; DETAIL names who holds it
create or replace function dot.fn_dot_config_set(p_key text, p_value text, p_actor text, p_reason text)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_key is null then 'key_not_null'
        when p_value is null then 'value_not_null'
        when p_actor is null then 'actor_not_null'
        when p_reason is null then 'reason_not_null'
        when (p_key = any (dot.fn_gate_keys('REAL_RUN') || 'queue.worker.enabled'::text)) is not true
            then 'key_check'
        when (p_value in ('true', 'false')) is not true then 'value_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_line(p_reason) is not true then 'reason_check'
    end;
    v_old text;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_config', v_problem);
    end if;
    if p_key = 'queue.worker.enabled' and (
        select g.is_governed_by_host from dot.fn_gate_state(array[p_key], false) as g
    ) then
        raise check_violation using
            message = format('%s is the host''s own: no row of the wrapper''s moves it', p_key),
            hint = format('The host''s owner changes it in %s.',
                (dot.fn_seam_tables('v_host_gate')).host),
            schema = 'dot', table = 'dot_config', constraint = 'dot_config_key_host_check';
    end if;

    begin
        perform dot.fn_gate_latch('switch');
        v_old := dot.fn_host_gate_set(p_key, p_value);
        perform dot.fn_config_audit(p_key, v_old, p_value, p_actor, p_reason);
    exception when lock_not_available then
        raise lock_not_available using
            message = format('gate %s was not moved: transactions in flight hold the gates', p_key),
            detail = 'Held by: ' || coalesce((
                select string_agg(
                    distinct coalesce(h.pid::text, format('prepared transaction %L', h.prepared_gid))
                    || case
                        when h.waits_for <> '{}'
                            then format(' (waits for %s)', array_to_string(
                                array_replace(h.waits_for::text[], '0', 'a prepared transaction'), ' and '))
                        else ''
                    end, ', '
                )
                from dot.fn_gate_holders() as h
            ), 'none that shows, it is gone since'),
            hint = 'Repeat the call. A backend that stays is ended with pg_terminate_backend(pid) by a '
                'member of pg_signal_backend, a prepared transaction with ROLLBACK PREPARED by its owner '
                'or a superuser.',
            schema = 'dot', table = 'gate_latch';
    end;
    return v_old;
end
$function$;

revoke all on function dot.fn_dot_config_set(text, text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_config_set(text, text, text, text) to dot_gatekeeper;

comment on function dot.fn_dot_config_set(text, text, text, text) is
    'Moves a gate and audits it; waits for observations in flight, then no one that needed the old value '
    'commits.';
