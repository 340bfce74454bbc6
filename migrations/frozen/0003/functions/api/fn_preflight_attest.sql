-- Attests a preflight check that SQL cannot make itself: the verdict, for how long, by whom, and what was
-- found. The newest attestation alone decides, so a BLOCK takes an earlier PASS back. It counts in this
-- database of this cluster alone, and does not wait for writes in flight: one that passed already may still
-- commit. Returns when it ends.
-- Raises:
--   23502  preflight_attestation_<argument>_not_null
--   23514  preflight_attestation_<argument>_check
--   40001  the transaction's snapshot is too old: retry it
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_preflight_attest(
    p_check_name text, p_verdict text, p_valid_seconds integer, p_actor text, p_finding text
)
returns timestamptz
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_check_name is null then 'check_name_not_null'
        when p_verdict is null then 'verdict_not_null'
        when p_valid_seconds is null then 'valid_seconds_not_null'
        when p_actor is null then 'actor_not_null'
        when p_finding is null then 'finding_not_null'
        when (p_check_name = 'fs_snapshot_present') is not true then 'check_name_check'
        when (p_verdict in ('PASS', 'WARN', 'BLOCK')) is not true then 'verdict_check'
        when (p_valid_seconds between 1 and 604800) is not true then 'valid_seconds_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_line(p_finding) is not true then 'finding_check'
    end;
    v_here record := dot.fn_database_identity();
    v_now timestamptz;
    v_expires_at timestamptz;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('preflight_attestation', v_problem);
    end if;
    -- One attestation after the other: the newest by number is the newest by commit.
    perform dot.fn_gate_latch('attest');
    v_now := clock_timestamp();
    insert into dot.preflight_attestation as a (
        attestation_id, attested_at, expires_at, system_identifier, database_oid, check_name, verdict,
        finding, actor, session_actor
    )
    values (
        (select coalesce(max(m.attestation_id), 0) + 1 from dot.preflight_attestation m),
        v_now, v_now + make_interval(secs => p_valid_seconds), v_here.system_identifier, v_here.database_oid,
        p_check_name, p_verdict, p_finding, p_actor, session_user
    )
    on conflict do nothing
    returning a.expires_at into v_expires_at;
    if v_expires_at is null then
        raise serialization_failure using
            message = 'a row that was stored meanwhile is not visible in this transaction',
            hint = 'Retry the whole transaction.';
    end if;
    return v_expires_at;
end
$function$;

revoke all on function dot.fn_preflight_attest(text, text, integer, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_preflight_attest(text, text, integer, text, text) to dot_gatekeeper;

comment on function dot.fn_preflight_attest(text, text, integer, text, text) is
    'Attests a preflight check for a time; the newest attestation alone decides; returns when it ends.';
