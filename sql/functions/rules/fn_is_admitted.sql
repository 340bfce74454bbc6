-- The evidence ladder as the tables check it, of each writer. A simulation was asked for nothing; what let a
-- dry or real run in is stored with it (admission), and so is its lease token; prepared is a simulation. A
-- header says whether it was dry, and a component, which passes NULL, does not.
create or replace function dot.fn_is_admitted(
    p_evidence_type text, p_dry_run boolean, p_status text, p_lease_token bigint, p_admission jsonb
)
returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $function$
begin
    if p_evidence_type = 'SIMULATED_DRY_RUN' then
        return p_admission is null and p_dry_run is not false;
    end if;
    return p_evidence_type in ('DRY_RUN', 'REAL_RUN')
        and p_admission is not null
        and p_lease_token is not null
        and p_status <> 'observed'
        and (p_dry_run is null or p_dry_run = (p_evidence_type = 'DRY_RUN'));
end
$function$;

revoke all on function dot.fn_is_admitted(text, boolean, text, bigint, jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_admitted(text, boolean, text, bigint, jsonb) is
    'Whether an observation carries what its evidence type needs: admission and lease token above a '
    'simulation, and no admission below.';
