-- Stores a note.
create or replace function dot.fn_made_up_note(p_code text, p_body text)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
    v_note_id bigint;
begin
    insert into dot.made_up_note (code, body) values (p_code, p_body) returning note_id into v_note_id;
    return v_note_id;
end
$function$;

revoke all on function dot.fn_made_up_note(text, text)
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant execute on function dot.fn_made_up_note(text, text) to dot_cataloguer;

comment on function dot.fn_made_up_note(text, text) is 'Stores a note.';
