-- Bridge to the host's leases: ends the live lease of a key, of any holder. Returns who had it last, and
-- whether it was live: then it ends now. The row and its token stay. All NULL where the key has no row.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_lease_end(
    p_lease_key text, out holder text, out session_actor text, out was_live boolean
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_now timestamptz;
    v_expires_at timestamptz;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    select l.holder, l.session_actor, l.expires_at into holder, session_actor, v_expires_at
    from dot.dot_iu_runtime_lease l where l.lease_key = p_lease_key for no key update;
    -- The clock is read after the lock was got: a lease may have run out while waiting for it. One that ends
    -- more than an hour from now was written by a clock that ran ahead, and is over.
    v_now := clock_timestamp();
    was_live := v_expires_at > v_now and v_expires_at <= v_now + interval '1 hour';
    if was_live then
        update dot.dot_iu_runtime_lease l set expires_at = v_now where l.lease_key = p_lease_key;
        if (
            select l.expires_at from dot.dot_iu_runtime_lease l where l.lease_key = p_lease_key
        ) is distinct from v_now then
            raise exception 'the host did not end the lease %', p_lease_key;
        end if;
    end if;
end
$function$;

alter function dot.fn_host_lease_end(text) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_lease_end(text)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_lease_end(text) to dot_owner;

comment on function dot.fn_host_lease_end(text) is
    'Bridge: ends the live lease of a key, of any holder; says who had it and whether it was live.';
