-- How many notes there are.
create or replace view dot.v_made_up_count as
select
    count(*) as notes,
    max(n.note_id) as newest
from dot.v_made_up_note as n;

revoke all on dot.v_made_up_count
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_made_up_count to dot_reader;

comment on view dot.v_made_up_count is 'How many notes there are.';
