-- Bridge to the host's leases: the token of the lease that a login holds live, NULL where it holds none. No
-- lease is taken for more than an hour, so one that ends later was written by a clock that ran ahead, and is
-- over. p_locked keeps the lease from being taken over until the caller's transaction ends; FOR NO KEY
-- UPDATE, because shared row locks cost multixacts.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_lease_live_token(
    p_lease_key text, p_session_actor text, p_locked boolean
)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_lease record;
    v_now timestamptz;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    if p_locked then
        select l.token, l.expires_at, l.session_actor into v_lease
        from dot.dot_iu_runtime_lease l where l.lease_key = p_lease_key for no key update;
    else
        select l.token, l.expires_at, l.session_actor into v_lease
        from dot.dot_iu_runtime_lease l where l.lease_key = p_lease_key;
    end if;
    -- The clock is read after the lock was got: a lease may have run out while waiting for it.
    v_now := clock_timestamp();
    return case
        when v_lease.session_actor = p_session_actor
            and v_lease.expires_at > v_now and v_lease.expires_at <= v_now + interval '1 hour'
            then v_lease.token
    end;
end
$function$;

alter function dot.fn_host_lease_live_token(text, text, boolean) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_lease_live_token(text, text, boolean)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_lease_live_token(text, text, boolean) to dot_owner;

comment on function dot.fn_host_lease_live_token(text, text, boolean) is
    'Bridge: the token of the lease that a login holds live, NULL where it holds none.';
