-- The candidates as they were defined, and the newest of the chain that each is in. A role that was dropped
-- since shows as its number.
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
from dot.process_candidate as c
cross join (values (true)) as one_row (unused);

revoke all on dot.v_process_candidate
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_candidate to dot_reader, dot_cataloguer, dot_writer;

comment on view dot.v_process_candidate is
    'The candidates as they were defined: producer, verifier, by whom, when.';
comment on column dot.v_process_candidate.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_candidate.producer_dot_code is 'The DOT that produces.';
comment on column dot.v_process_candidate.verifier_dot_code is 'The DOT that verifies; never the producer.';
comment on column dot.v_process_candidate.producer_role is
    'The role whose members alone record the producer; NULL for any login.';
comment on column dot.v_process_candidate.verifier_role is
    'The role whose members alone record the verifier; NULL for any login.';
comment on column dot.v_process_candidate.pins_output is
    'Whether the verifier has to look at what the producer wrote.';
comment on column dot.v_process_candidate.max_age is
    'How old a verification may be before it has a caveat; NULL for any age.';
comment on column dot.v_process_candidate.supersedes is
    'The candidate that it follows; NULL for the first of its chain.';
comment on column dot.v_process_candidate.superseded_by is
    'The newest candidate of its chain; NULL where it is the newest itself.';
comment on column dot.v_process_candidate.source_time is
    'The time of what it was made from; it orders the chain.';
comment on column dot.v_process_candidate.description is 'What the candidate is, in words.';
comment on column dot.v_process_candidate.defined_at is 'When it was defined.';
comment on column dot.v_process_candidate.actor is 'Who did it, as the call claims.';
comment on column dot.v_process_candidate.session_actor is 'The database login that really called.';
