-- What each word in reasons and caveats means, for people: why a candidate or run is not verified, or what a
-- stranger would ask of one that is. not_a_real_run is said of a single run alone (v_process_run_why).
create or replace view dot.v_process_reason with (security_barrier = true) as
select r.word, r.kind, r.sentence
from (
    values
    ('no_run', 'reason', 'No run of this candidate was ever observed. Record one.'),
    (
        'no_real_run', 'reason',
        'Only simulated or dry runs were observed, and they can never verify. It takes a REAL_RUN.'
    ),
    (
        'not_a_real_run', 'reason',
        'The run is simulated or dry, or was skipped: it can never verify. It takes a REAL_RUN.'
    ),
    ('producer_missing', 'reason', 'The real run has no producer row.'),
    ('producer_not_completed', 'reason', 'The producer of the real run has not completed.'),
    ('verifier_missing', 'reason', 'The real run has no verifier row: nothing looked at what it produced.'),
    ('verifier_not_completed', 'reason', 'The verifier of the real run has not completed.'),
    (
        'correlation_differs', 'reason',
        'A component of the real run carries another correlation id than its header.'
    ),
    (
        'verifier_not_after_producer', 'reason',
        'The verifier began before the producer had ended: it did not look at this output.'
    ),
    ('same_session_actor', 'caveat', 'One login recorded both the producer and the verifier.'),
    ('output_not_named', 'caveat', 'The producer named no output_ref, or the verifier no input_ref.'),
    ('other_output', 'caveat', 'The verifier looked at something else than the producer wrote.'),
    (
        'older_than_max_age', 'caveat',
        'The verifier completed longer ago than the definition of the candidate allows.'
    )
) as r (word, kind, sentence);

revoke all on dot.v_process_reason
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_reason to dot_reader;

comment on view dot.v_process_reason is 'What each word in reasons and caveats means.';
comment on column dot.v_process_reason.word is 'The word, as it is in reasons or caveats.';
comment on column dot.v_process_reason.kind is 'reason or caveat.';
comment on column dot.v_process_reason.sentence is 'What it means.';
