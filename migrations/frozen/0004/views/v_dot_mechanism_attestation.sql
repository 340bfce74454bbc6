-- Every attestation of a mechanism that SQL cannot see. The newest of each stands, and
-- v_dot_execution_inventory shows it.
create or replace view dot.v_dot_mechanism_attestation with (security_barrier = true) as
select
    a.attestation_id,
    a.attested_at,
    a.mechanism,
    a.present,
    a.finding,
    a.actor,
    a.session_actor,
    a.attestation_id = max(a.attestation_id) over (partition by a.mechanism) as stands
from dot.dot_mechanism_attestation as a;

revoke all on dot.v_dot_mechanism_attestation
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_mechanism_attestation to dot_reader, dot_gatekeeper;

comment on view dot.v_dot_mechanism_attestation is
    'Every attestation of a scheduler or API endpoint, and which stand.';
comment on column dot.v_dot_mechanism_attestation.attestation_id is 'Its number: the newest is the highest.';
comment on column dot.v_dot_mechanism_attestation.attested_at is 'When it was attested.';
comment on column dot.v_dot_mechanism_attestation.mechanism is 'scheduler or api_endpoint.';
comment on column dot.v_dot_mechanism_attestation.present is 'Whether it executes DOTs here.';
comment on column dot.v_dot_mechanism_attestation.finding is 'What was found.';
comment on column dot.v_dot_mechanism_attestation.actor is 'Who did it, as the call claims.';
comment on column dot.v_dot_mechanism_attestation.session_actor is 'The database login that really called.';
comment on column dot.v_dot_mechanism_attestation.stands is
    'Whether it is the newest of its mechanism, which stands.';
