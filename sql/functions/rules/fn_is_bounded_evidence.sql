-- The part of fn_is_evidence that looks inside. Each step bounds the cost of the next one. (1) The size as
-- jsonb, of which 8 KB of text take 33 KB at most: 12 MB are refused without a walk. The || undoes
-- compression, so that the size is that of the whole value. (2) The numbers: 9 KB of 1e131071 would print as
-- 131 MB. (3) The text, of at most 8 KB. It is a function of its own, because pg_column_size is STABLE:
-- within fn_is_evidence it would keep that from being inlined.
create or replace function dot.fn_is_bounded_evidence(p_value jsonb)
returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $function$
declare
    v_numbers jsonb;
    v_number numeric;
begin
    if (
        jsonb_typeof(p_value) = 'object' and pg_column_size('{}'::jsonb || p_value) <= 40960
    ) is not true then
        return false;
    end if;
    v_numbers := jsonb_path_query_array(p_value, 'strict $.** ? (@.type() == "number")');
    for v_nth in 0 .. jsonb_array_length(v_numbers) - 1 loop
        v_number := (v_numbers -> v_nth)::numeric;
        if (scale(v_number) <= 24 and abs(v_number) <= 9007199254740991) is not true then
            return false;
        end if;
    end loop;
    return octet_length(p_value::text) <= 8192;
end
$function$;

revoke all on function dot.fn_is_bounded_evidence(jsonb)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_is_bounded_evidence(jsonb) is
    'Whether a jsonb is an object of at most 8 KB of text, with numbers of at most 24 decimals and 2^53 - 1 '
    'in size.';
