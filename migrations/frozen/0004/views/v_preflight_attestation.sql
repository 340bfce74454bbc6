-- Every attestation of a preflight check. The newest alone decides, and only where it counts: it was made in
-- this database of this cluster, is not ahead of the clock, and has not run out (fn_preflight_attestation).
-- One check is attested, so it is asked once.
create or replace view dot.v_preflight_attestation with (security_barrier = true) as
select
    a.attestation_id,
    a.attested_at,
    a.expires_at,
    a.check_name,
    a.verdict,
    a.finding,
    a.actor,
    a.session_actor,
    a.attestation_id is not distinct from standing.attestation_id as counts_now,
    case
        when a.attestation_id = standing.attestation_id then null
        when a.attestation_id = newest.attestation_id then standing.detail
        else 'a newer attestation decides'
    end as why_not
from dot.preflight_attestation as a
cross join dot.fn_preflight_attestation('fs_snapshot_present') as standing
cross join (select max(n.attestation_id) as attestation_id from dot.preflight_attestation as n) as newest;

revoke all on dot.v_preflight_attestation
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_preflight_attestation to dot_reader, dot_gatekeeper;

comment on view dot.v_preflight_attestation is
    'Every attestation of a preflight check, and whether it counts here and now.';
comment on column dot.v_preflight_attestation.attestation_id is 'Its number: the newest is the highest.';
comment on column dot.v_preflight_attestation.attested_at is 'When it was attested.';
comment on column dot.v_preflight_attestation.expires_at is 'When it ends.';
comment on column dot.v_preflight_attestation.check_name is 'The preflight check.';
comment on column dot.v_preflight_attestation.verdict is 'PASS, WARN or BLOCK.';
comment on column dot.v_preflight_attestation.finding is 'What was found.';
comment on column dot.v_preflight_attestation.actor is 'Who did it, as the call claims.';
comment on column dot.v_preflight_attestation.session_actor is 'The database login that really called.';
comment on column dot.v_preflight_attestation.counts_now is 'Whether it decides here and now.';
comment on column dot.v_preflight_attestation.why_not is 'Why it does not count; NULL where it does.';
