-- What to do about a DOT that is not in the catalogue: it depends on whose catalogue it is.
create or replace function dot.fn_dot_unknown_hint()
returns text
language plpgsql volatile
as $function$
declare
    v_catalogue record := dot.fn_seam_tables('v_host_tool');
begin
    if v_catalogue.host is null then
        return 'A cataloguer registers it with fn_dot_tool_register.';
    end if;
    return format('It has to stand once in %s, the host''s catalogue', v_catalogue.host) || case
        when v_catalogue.has_own then ', or a cataloguer registers it with fn_dot_tool_register.'
        else '.'
    end;
end
$function$;

revoke all on function dot.fn_dot_unknown_hint()
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;

comment on function dot.fn_dot_unknown_hint() is
    'What to do about a DOT that is not in the catalogue, the host''s or the wrapper''s own.';
