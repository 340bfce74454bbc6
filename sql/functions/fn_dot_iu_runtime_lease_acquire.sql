-- Takes the TTL lease of a key and returns its token, or NULL where a live different holder has it. The same holder (same
-- name and same database login) gets a new token, which ends its old one. Tokens of a key strictly increase for ever.
-- Commit at once: until then the lease is a promise that only this transaction sees.
-- Waits at most 500 ms for a rival's open transaction, then 55P03. Raises 23502, 23514 (dot_iu_runtime_lease_*_check).
create or replace function dot.fn_dot_iu_runtime_lease_acquire(p_lease_key text, p_holder text, p_ttl_seconds integer)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
as $function$
declare
    v_problem text := dot.fn_lease_input_problem(p_lease_key, p_holder, 0, p_ttl_seconds);
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_iu_runtime_lease', v_problem);
    end if;
    return dot.fn_host_lease_acquire(p_lease_key, p_holder, session_user, p_ttl_seconds);
end
$function$;

revoke all on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer) to dot_writer;

comment on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer) is
    'Takes a TTL lease and returns its fencing token, NULL where a live different holder has it.';
