-- Takes the TTL lease of a key and returns its token, or NULL where a live different holder has it. The same
-- holder (same name and same database login) gets a new token, which ends its old one. Tokens of a key
-- strictly increase for ever. Commit at once: until then the lease is a promise that only this transaction
-- sees.
-- The token is good for the login that took it. A lease of a candidate (`dot_exec:<candidate>`) needs one
-- that is defined, and a login that may record one of its parts.
-- Raises:
--   23502  dot_iu_runtime_lease_<argument>_not_null
--   23503  dot_iu_runtime_lease_process_candidate_code_fkey
--   23514  dot_iu_runtime_lease_<argument>_check, dot_iu_runtime_lease_role_check
--   55P03  a lock was not got in 500 ms: a rival's transaction is open
create or replace function dot.fn_dot_iu_runtime_lease_acquire(
    p_lease_key text, p_holder text, p_ttl_seconds integer
)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '500ms'
as $function$
declare
    v_problem text := dot.fn_lease_input_problem(p_lease_key, p_holder, 0, p_ttl_seconds);
    v_candidate record;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_iu_runtime_lease', v_problem);
    end if;
    if starts_with(p_lease_key, 'dot_exec:') then
        select c.code, c.producer_role, c.verifier_role into v_candidate
        from dot.process_candidate c where c.code = substr(p_lease_key, 10);
        if v_candidate.code is null then
            raise foreign_key_violation using
                message = format('process candidate %s is not defined', substr(p_lease_key, 10)),
                hint = 'v_process_candidate lists those that are. A cataloguer defines one with '
                    'fn_process_candidate_define.',
                schema = 'dot', table = 'dot_iu_runtime_lease',
                constraint = 'dot_iu_runtime_lease_process_candidate_code_fkey';
        end if;
        if (
            v_candidate.producer_role is null or dot.fn_login_may_act(v_candidate.producer_role)
            or v_candidate.verifier_role is null or dot.fn_login_may_act(v_candidate.verifier_role)
        ) is not true then
            raise check_violation using
                message = format('%s may record no part of %s', session_user, v_candidate.code),
                detail = format('Its definition gives them to members of %s and of %s.',
                    v_candidate.producer_role, v_candidate.verifier_role),
                hint = 'Call by a login that is a member of one of the roles: a definition is not changed.',
                schema = 'dot', table = 'dot_iu_runtime_lease',
                constraint = 'dot_iu_runtime_lease_role_check';
        end if;
    end if;
    perform dot.fn_prepare_forbid();
    return dot.fn_host_lease_acquire(p_lease_key, p_holder, session_user, p_ttl_seconds);
end
$function$;

revoke all on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer) to dot_writer;

comment on function dot.fn_dot_iu_runtime_lease_acquire(text, text, integer) is
    'Takes a TTL lease and returns its fencing token, NULL where a live different holder has it.';
