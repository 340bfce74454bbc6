-- The attested check of the preflight, as it stands now: the newest attestation alone decides, an older PASS
-- does not outlive a newer BLOCK. It counts where it was made in this database of this cluster, its time is
-- not ahead of the clock, and it has not run out; else the verdict is BLOCK. attestation_id is the one that
-- counts, NULL where none does.
create or replace function dot.fn_preflight_attestation(
    p_check_name text, out verdict text, out detail text, out attestation_id bigint
)
returns record
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_here record := dot.fn_database_identity();
    v_now timestamptz;
    v_newest dot.preflight_attestation%rowtype;
begin
    select a.* into v_newest
    from dot.preflight_attestation a
    where a.check_name = p_check_name
    order by a.attestation_id desc
    limit 1;
    v_now := clock_timestamp();
    detail := case
        when v_newest.attestation_id is null then 'never attested: a gatekeeper calls fn_preflight_attest'
        when v_here.system_identifier is null then 'dot_owner may not call pg_control_system()'
        when (v_newest.system_identifier, v_newest.database_oid)
            is distinct from (v_here.system_identifier, v_here.database_oid)
            then format('the newest attestation, by %s, was made in another database or cluster',
                v_newest.actor)
        when v_newest.attested_at > v_now
            then format('the newest attestation, by %s, is of %s, ahead of the clock', v_newest.actor,
                v_newest.attested_at)
        when v_newest.expires_at <= v_now
            then format('the newest attestation, by %s, expired at %s', v_newest.actor, v_newest.expires_at)
    end;
    if detail is not null then
        verdict := 'BLOCK';
        return;
    end if;
    attestation_id := v_newest.attestation_id;
    verdict := v_newest.verdict;
    detail := format('attested by %s until %s: %s', v_newest.actor, v_newest.expires_at, v_newest.finding);
end
$function$;

revoke all on function dot.fn_preflight_attestation(text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
-- v_preflight_attestation asks it with its reader's rights.
grant execute on function dot.fn_preflight_attestation(text) to dot_reader, dot_gatekeeper;

comment on function dot.fn_preflight_attestation(text) is
    'Verdict and detail of an attested preflight check: the newest attestation, where it counts here and '
    'now.';
