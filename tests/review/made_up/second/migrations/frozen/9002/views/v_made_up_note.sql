-- The notes.
create or replace view dot.v_made_up_note with (security_barrier = true) as
select
    n.note_id,
    n.code,
    n.body,
    n.attempt
from dot.made_up_note as n
where n.body <> '';

revoke all on dot.v_made_up_note from public;
grant select on dot.v_made_up_note to dot_reader;

comment on view dot.v_made_up_note is 'The notes.';
