-- Ends a live lease now. Returns true, or false where it is not live under this holder, login and token. The
-- row and its token stay.
-- Raises:
--   23502  dot_iu_runtime_lease_<argument>_not_null
--   23514  dot_iu_runtime_lease_<argument>_check
--   55P03  a lock was not got in 500 ms
create or replace function dot.fn_dot_iu_runtime_lease_release(
    p_lease_key text, p_holder text, p_token bigint
)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '500ms'
as $function$
declare
    v_problem text := dot.fn_lease_input_problem(p_lease_key, p_holder, p_token, 1);
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_iu_runtime_lease', v_problem);
    end if;
    perform dot.fn_prepare_forbid();
    return dot.fn_host_lease_extend(p_lease_key, p_holder, session_user, p_token, 0);
end
$function$;

revoke all on function dot.fn_dot_iu_runtime_lease_release(text, text, bigint)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_runtime_lease_release(text, text, bigint) to dot_writer;

comment on function dot.fn_dot_iu_runtime_lease_release(text, text, bigint) is
    'Ends a live lease now; false where it is not live under this holder and token.';
