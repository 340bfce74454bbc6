-- A lease lives from 1 second to 1 hour: never for ever, never not at all. Raises 23502, 23514.
create or replace function dot.fn_lease_ttl_assert(p_ttl_seconds integer)
returns void
language plpgsql immutable
as $function$
begin
    if p_ttl_seconds is null then
        perform dot.fn_missing_refuse('dot_iu_runtime_lease', 'ttl_seconds');
    end if;
    if (p_ttl_seconds between 1 and 3600) is not true then
        perform dot.fn_illegal_refuse('dot_iu_runtime_lease', 'ttl_seconds');
    end if;
end
$function$;

revoke all on function dot.fn_lease_ttl_assert(integer) from public;

comment on function dot.fn_lease_ttl_assert(integer) is 'Refuses a lease time outside 1 second to 1 hour.';
