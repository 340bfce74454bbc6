-- The candidates as they were defined.
-- A view of one table could be written through by a login that may write all data, with the rights of the view's owner: it is
-- a join, which cannot.
create or replace view dot.v_process_candidate with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    c.description,
    c.defined_at,
    c.actor,
    c.session_actor
from dot.process_candidate as c
cross join (values (true)) as one_row (unused);

revoke all on dot.v_process_candidate
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_candidate to dot_reader;

comment on view dot.v_process_candidate is 'The candidates as they were defined: producer, verifier, by whom, when.';
