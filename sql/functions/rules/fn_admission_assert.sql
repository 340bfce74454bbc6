-- What lets a DRY_RUN or REAL_RUN in: its gates, the preflight, the live lease. The observe functions ask
-- twice. In their step 3 (p_held false) all of it is asked as it stands, and what this returns is stored as
-- the observation's admission. In their step 5 (p_held true), right before the write, what could have
-- changed is asked again: the gates under the latch and the lease row, both held until the transaction ends;
-- last the attestation, which may have run out or been taken back while the lease was waited for. It is not
-- held: a BLOCK may commit before this transaction does. Raises what fn_gates_assert,
-- fn_assert_safe_for_dot_action and fn_lease_assert raise.
create or replace function dot.fn_admission_assert(
    p_process_candidate_code text, p_evidence_type text, p_lease_token bigint, p_used_token bigint,
    p_held boolean
)
returns jsonb
language plpgsql volatile
as $function$
declare
    v_admission jsonb;
    v_attested record;
begin
    v_admission := jsonb_build_object('gates', dot.fn_gates_assert(p_evidence_type, p_held));
    if not p_held then
        v_admission := v_admission || jsonb_build_object('preflight', dot.fn_assert_safe_for_dot_action());
    end if;
    perform dot.fn_lease_assert(p_process_candidate_code, p_lease_token, p_used_token, p_held);
    if p_held then
        v_attested := dot.fn_preflight_attestation('fs_snapshot_present');
        if (v_attested.verdict in ('PASS', 'WARN')) is not true then
            raise check_violation using
                message = format('preflight blocks: fs_snapshot_present (%s: %s)', v_attested.verdict,
                    v_attested.detail),
                hint = 'It ran out or was taken back while this call waited. A gatekeeper attests it with '
                    'fn_preflight_attest.',
                schema = 'dot', constraint = 'preflight_check';
        end if;
    end if;
    return v_admission;
end
$function$;

revoke all on function dot.fn_admission_assert(text, text, bigint, bigint, boolean)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_admission_assert(text, text, bigint, bigint, boolean) is
    'Refuses a DRY_RUN or REAL_RUN without open gates, preflight and live lease; held, until the '
    'transaction ends.';
