-- Attests for the inventory what SQL cannot see: whether a scheduler or an API endpoint executes DOTs here,
-- by whom it was looked at, and what was found. The newest attestation of a mechanism stands. Returns when
-- it was attested.
-- Raises:
--   23502  dot_mechanism_attestation_<argument>_not_null
--   23514  dot_mechanism_attestation_<argument>_check
--   40001  the transaction's snapshot is too old: retry it
--   55P03  a lock was not got in 2 s
create or replace function dot.fn_dot_mechanism_attest(
    p_mechanism text, p_present boolean, p_actor text, p_finding text
)
returns timestamptz
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $function$
declare
    v_problem text := case
        when p_mechanism is null then 'mechanism_not_null'
        when p_present is null then 'present_not_null'
        when p_actor is null then 'actor_not_null'
        when p_finding is null then 'finding_not_null'
        when (p_mechanism in ('scheduler', 'api_endpoint')) is not true then 'mechanism_check'
        when dot.fn_is_code(p_actor, 200) is not true then 'actor_check'
        when dot.fn_is_line(p_finding) is not true then 'finding_check'
    end;
    v_attested_at timestamptz;
begin
    if v_problem is not null then
        perform dot.fn_input_refuse('dot_mechanism_attestation', v_problem);
    end if;
    -- One attestation after the other: the newest by number is the newest by commit.
    perform dot.fn_gate_latch('attest');
    insert into dot.dot_mechanism_attestation as a (
        attestation_id, attested_at, mechanism, present, finding, actor, session_actor
    )
    values (
        (select coalesce(max(m.attestation_id), 0) + 1 from dot.dot_mechanism_attestation m),
        clock_timestamp(), p_mechanism, p_present, p_finding, p_actor, session_user
    )
    on conflict do nothing
    returning a.attested_at into v_attested_at;
    if v_attested_at is null then
        raise serialization_failure using
            message = 'a row that was stored meanwhile is not visible in this transaction',
            hint = 'Retry the whole transaction.';
    end if;
    return v_attested_at;
end
$function$;

revoke all on function dot.fn_dot_mechanism_attest(text, boolean, text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_dot_mechanism_attest(text, boolean, text, text) to dot_gatekeeper;

comment on function dot.fn_dot_mechanism_attest(text, boolean, text, text) is
    'Attests whether a scheduler or API endpoint executes DOTs, with who and what was found, for the '
    'inventory.';
