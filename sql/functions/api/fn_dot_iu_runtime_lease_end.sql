-- Ends a live lease of another login, one that is gone for instance: its token is refused from then on, and
-- any login may acquire. Returns true, or false where it was over already: then nothing changed, and nothing
-- is audited. What it did is audited under the key `lease:<lease key>`, with the login and holder that had
-- it as the old value. The row and its token stay: tokens only grow. Locks: the audit's place (gate_latch)
-- and the lease row. It waits for an observation in flight under the lease.
-- Raises:
--   23502  dot_iu_runtime_lease_<argument>_not_null
--   23503  dot_iu_runtime_lease_lease_key_fkey
--   23514  dot_iu_runtime_lease_<argument>_check
--   40001  the transaction's snapshot is too old: retry it
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_dot_iu_runtime_lease_end(p_lease_key text, p_actor text, p_reason text)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_lease_key is null then 'lease_key_not_null'
        when p_actor is null then 'actor_not_null'
        when p_reason is null then 'reason_not_null'
        when dot.fn_is_code(p_lease_key, 240) is not true then 'lease_key_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_line(p_reason) is not true then 'reason_check'
    end;
    v_had record;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_iu_runtime_lease', v_problem);
    end if;
    perform dot.fn_gate_latch('attest');
    v_had := dot.fn_host_lease_end(p_lease_key);
    if v_had.was_live is null then
        raise foreign_key_violation using
            message = format('there is no lease %s', p_lease_key),
            hint = 'v_dot_lease lists those that there are.',
            schema = 'dot', table = 'dot_iu_runtime_lease',
            constraint = 'dot_iu_runtime_lease_lease_key_fkey';
    end if;
    if v_had.was_live then
        perform dot.fn_config_audit(
            'lease:' || p_lease_key, format('login %s, holder %s', v_had.session_actor, v_had.holder),
            'ended', p_actor, p_reason
        );
    end if;
    return v_had.was_live;
end
$function$;

revoke all on function dot.fn_dot_iu_runtime_lease_end(text, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_runtime_lease_end(text, text, text) to dot_gatekeeper;

comment on function dot.fn_dot_iu_runtime_lease_end(text, text, text) is
    'Ends a live lease of another login, audited; false where it was over already.';
