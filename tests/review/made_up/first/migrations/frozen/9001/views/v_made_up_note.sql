-- The notes.
create or replace view dot.v_made_up_note with (security_barrier = true) as
select
    n.note_id,
    n.code,
    n.body
from dot.made_up_note as n
where n.body <> '';

revoke all on dot.v_made_up_note
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_made_up_note to dot_reader, dot_gatekeeper;

comment on view dot.v_made_up_note is 'The notes.';
