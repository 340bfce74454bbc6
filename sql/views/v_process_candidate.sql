-- The candidates as they were defined, and the newest of the chain that each is in. A role that was dropped since shows as its number.
create or replace view dot.v_process_candidate with (security_barrier = true) as
select
    c.code as process_candidate_code,
    c.producer_dot_code,
    c.verifier_dot_code,
    c.producer_role::text,
    c.verifier_role::text,
    c.pins_output,
    c.max_age,
    c.supersedes,
    nullif(dot.fn_candidate_newest(c.code), c.code) as superseded_by,
    c.source_time,
    c.description,
    c.defined_at,
    c.actor,
    c.session_actor
from dot.process_candidate as c;

revoke all on dot.v_process_candidate from public;
grant select on dot.v_process_candidate to dot_reader, dot_cataloguer, dot_writer;

comment on view dot.v_process_candidate is 'The candidates as they were defined: producer, verifier, by whom, when.';
