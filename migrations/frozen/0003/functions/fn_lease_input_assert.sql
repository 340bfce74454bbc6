-- What the lease functions share: key and holder are required and legal. Raises 23502, 23514.
create or replace function dot.fn_lease_input_assert(p_lease_key text, p_holder text)
returns void
language plpgsql immutable
as $function$
begin
    if p_lease_key is null then
        perform dot.fn_missing_refuse('dot_iu_runtime_lease', 'lease_key');
    end if;
    if p_holder is null then
        perform dot.fn_missing_refuse('dot_iu_runtime_lease', 'holder');
    end if;
    if dot.fn_is_code(p_lease_key, 240) is not true then
        perform dot.fn_illegal_refuse('dot_iu_runtime_lease', 'lease_key');
    end if;
    if dot.fn_is_code(p_holder, 200) is not true then
        perform dot.fn_illegal_refuse('dot_iu_runtime_lease', 'holder');
    end if;
end
$function$;

revoke all on function dot.fn_lease_input_assert(text, text) from public;

comment on function dot.fn_lease_input_assert(text, text) is 'Refuses a missing or illegal lease key or holder, by name.';
