-- Bridge to the host's leases: moves the end of a live lease to the given seconds from now (0 ends it), for
-- its holder and token alone. Returns whether it did: an ended or stolen lease does not come back, nor one
-- that ends more than an hour from now.
grant create on schema dot to dot_bridge;

create or replace function dot.fn_host_lease_extend(
    p_lease_key text, p_holder text, p_session_actor text, p_token bigint, p_ttl_seconds integer
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set row_security = on
as $function$
begin
    if current_user <> 'dot_bridge' then
        raise insufficient_privilege using
            message = 'a bridge function runs as dot_bridge alone',
            constraint = 'bridge_definer_check';
    end if;
    update dot.dot_iu_runtime_lease l
    set expires_at = clock_timestamp() + make_interval(secs => p_ttl_seconds)
    where l.lease_key = p_lease_key
        and l.holder = p_holder
        and l.session_actor = p_session_actor
        and l.token = p_token
        and l.expires_at > clock_timestamp()
        and l.expires_at <= clock_timestamp() + interval '1 hour';
    return found;
end
$function$;

alter function dot.fn_host_lease_extend(text, text, text, bigint, integer) owner to dot_bridge;

revoke create on schema dot from dot_bridge;

revoke all on function dot.fn_host_lease_extend(text, text, text, bigint, integer)
    from public, dot_owner, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_host_lease_extend(text, text, text, bigint, integer) to dot_owner;

comment on function dot.fn_host_lease_extend(text, text, text, bigint, integer) is
    'Bridge: moves the end of a live lease; says whether it was live.';
