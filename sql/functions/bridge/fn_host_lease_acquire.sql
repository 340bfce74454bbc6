-- Bridge to the host's leases: takes the lease for the given seconds and returns its token, NULL where a
-- live different holder has it. A lease that is plainly held is answered without waiting for its holder's
-- transaction. The row is never deleted, so tokens of a key strictly increase. A lease that ends more than
-- an hour from now was written by a clock that ran ahead, and is over.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_lease_acquire(
    p_lease_key text, p_holder text, p_session_actor text, p_ttl_seconds integer
)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
declare
    v_now timestamptz := clock_timestamp();
    v_token bigint;
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    if exists (
        select from dot.dot_iu_runtime_lease l
        where l.lease_key = p_lease_key
            and l.expires_at > v_now and l.expires_at <= v_now + interval '1 hour'
            and (l.holder, l.session_actor) is distinct from (p_holder, p_session_actor)
    ) then
        return null;
    end if;
    insert into dot.dot_iu_runtime_lease as l (
        lease_key, holder, session_actor, token, acquired_at, expires_at
    )
    values (
        p_lease_key, p_holder, p_session_actor, 1, clock_timestamp(),
        clock_timestamp() + make_interval(secs => p_ttl_seconds)
    )
    on conflict (lease_key) do update set
        holder = excluded.holder,
        session_actor = excluded.session_actor,
        token = l.token + 1,
        acquired_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => p_ttl_seconds)
    where l.expires_at <= clock_timestamp()
        or l.expires_at > clock_timestamp() + interval '1 hour'
        or (l.holder, l.session_actor) is not distinct from (excluded.holder, excluded.session_actor)
    returning l.token into v_token;
    return v_token;
end
$function$;

alter function dot.fn_host_lease_acquire(text, text, text, integer) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_lease_acquire(text, text, text, integer)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_lease_acquire(text, text, text, integer) to dot_owner;

comment on function dot.fn_host_lease_acquire(text, text, text, integer) is
    'Bridge: takes a lease, returns its token, NULL where a live different holder has it.';
