-- One row per candidate, with what one asks of it first: its pair, whether it is verified and why not, its
-- latest real run, its runs. explanations has a sentence for each word of reasons and caveats. Each row is
-- found by the indexes of v_process_verification_v3 and v_process_run_count; only the counts cost more with
-- every run of the candidate.
create or replace view dot.v_process_board with (security_barrier = true) as
select
    v3.process_candidate_code,
    v3.producer_dot_code,
    v3.verifier_dot_code,
    v3.verified,
    v3.independently_verified,
    v3.reasons,
    v3.caveats,
    v3.latest_real_run_id,
    v3.latest_real_run_at,
    v3.last_verified_run_id,
    v3.last_verified_at,
    counted.simulated_runs,
    counted.dry_runs,
    counted.real_runs,
    v3.producer_session_actor,
    v3.verifier_session_actor,
    v3.same_session_actor,
    v3.superseded_by,
    (
        select coalesce(jsonb_object_agg(r.word, r.sentence), '{}')
        from dot.v_process_reason as r
        where r.word = any (v3.reasons || v3.caveats)
    ) as explanations
from dot.v_process_verification_v3 as v3
join dot.v_process_run_count as counted on counted.process_candidate_code = v3.process_candidate_code;

revoke all on dot.v_process_board
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_board to dot_reader;

comment on view dot.v_process_board is
    'Per candidate: its pair, whether it is verified and why not, its latest real run, how many runs it '
    'has.';
comment on column dot.v_process_board.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_board.producer_dot_code is 'The DOT that produces.';
comment on column dot.v_process_board.verifier_dot_code is 'The DOT that verifies; never the producer.';
comment on column dot.v_process_board.verified is 'Whether it is verified: computed, never claimed.';
comment on column dot.v_process_board.independently_verified is 'Verified without a caveat.';
comment on column dot.v_process_board.reasons is
    'What is missing for a verdict, as words of v_process_reason; empty where verified.';
comment on column dot.v_process_board.caveats is
    'What a stranger would ask of a verdict, as words of v_process_reason; empty where not verified.';
comment on column dot.v_process_board.latest_real_run_id is
    'The latest real run, by lease token; NULL where there is none.';
comment on column dot.v_process_board.latest_real_run_at is 'When its header was recorded.';
comment on column dot.v_process_board.last_verified_run_id is
    'The latest real run where it is verified, else the one that last was; NULL where none was.';
comment on column dot.v_process_board.last_verified_at is 'When the header of that run was recorded.';
comment on column dot.v_process_board.simulated_runs is 'How many simulated runs were observed.';
comment on column dot.v_process_board.dry_runs is 'How many dry runs were observed.';
comment on column dot.v_process_board.real_runs is 'How many real runs were observed.';
comment on column dot.v_process_board.producer_session_actor is
    'The login that recorded the end of the producer.';
comment on column dot.v_process_board.verifier_session_actor is
    'The login that recorded the end of the verifier.';
comment on column dot.v_process_board.same_session_actor is
    'Whether these two are one login; NULL where one is missing.';
comment on column dot.v_process_board.superseded_by is
    'The newest candidate of its chain; NULL where it is the newest itself.';
comment on column dot.v_process_board.explanations is
    'A sentence for each word of reasons and caveats, by word.';
