-- Per real run whether it is verified, computed and never claimed: has_real_runtime and
-- cross_component_correlation of v2. The second contains the first, and that the verifier began after the
-- producer had completed; both stand here, as in the design. reasons says what is missing; it is empty
-- exactly where verified is true. caveats says what a stranger would ask of a run that is verified, and does
-- not enter the verdict:
--   same_session_actor   one login recorded both parts
--   output_not_named     the producer named no output, or the verifier no input
--   other_output         the verifier looked at something else than the producer wrote
--   older_than_max_age   the verifier completed longer ago than the candidate's definition allows
-- independently_verified is verified without a caveat.
create or replace view dot.v_process_run_verification_v3 with (security_barrier = true) as
select
    judged.process_candidate_code,
    judged.process_run_id,
    judged.correlation_id,
    judged.observed_at,
    judged.verified,
    judged.reasons,
    judged.verified and judged.caveats = '{}' as independently_verified,
    judged.caveats,
    judged.producer_session_actor,
    judged.verifier_session_actor,
    judged.producer_session_actor = judged.verifier_session_actor as same_session_actor,
    judged.producer_output_ref,
    judged.verifier_input_ref,
    judged.verifier_completed_at
from (
    select
        v2.*,
        v2.has_real_runtime and v2.cross_component_correlation as verified,
        array_remove(array[
            case when not v2.producer_seen then 'producer_missing' end,
            case
                when v2.producer_seen and v2.producer_completed_at is null then 'producer_not_completed'
            end,
            case when not v2.verifier_seen then 'verifier_missing' end,
            case
                when v2.verifier_seen and v2.verifier_completed_at is null then 'verifier_not_completed'
            end,
            case
                when v2.producer_correlation_id <> v2.correlation_id
                    or v2.verifier_correlation_id <> v2.correlation_id
                then 'correlation_differs'
            end,
            case when v2.verifier_first_at <= v2.producer_completed_at then 'verifier_not_after_producer' end
        ], null) as reasons,
        case
            when v2.has_real_runtime and v2.cross_component_correlation then array_remove(array[
                case
                    when v2.producer_session_actor = v2.verifier_session_actor then 'same_session_actor'
                end,
                case
                    when num_nulls(v2.producer_output_ref, v2.verifier_input_ref) > 0 then 'output_not_named'
                end,
                case when v2.producer_output_ref <> v2.verifier_input_ref then 'other_output' end,
                case
                    -- Compared as the definition was, in which a month is 30 days. To subtract max_age would
                    -- follow the calendar and the reader's time zone.
                    when statement_timestamp() - v2.verifier_completed_at > c.max_age
                        then 'older_than_max_age'
                end
            ], null)
            else '{}'
        end as caveats
    from dot.v_process_run_runtime_v2 as v2
    join dot.process_candidate as c on c.code = v2.process_candidate_code
) as judged;

revoke all on dot.v_process_run_verification_v3
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_verification_v3 to dot_reader;

comment on view dot.v_process_run_verification_v3 is
    'Per real run: verified, the reasons why not, the caveats of a verdict, and which logins recorded '
    'producer and verifier.';
comment on column dot.v_process_run_verification_v3.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run_verification_v3.process_run_id is
    'The run: with the candidate it is the key.';
comment on column dot.v_process_run_verification_v3.correlation_id is 'The correlation id of the header.';
comment on column dot.v_process_run_verification_v3.observed_at is 'When the header was recorded.';
comment on column dot.v_process_run_verification_v3.verified is
    'Whether it is verified: computed, never claimed.';
comment on column dot.v_process_run_verification_v3.reasons is
    'What is missing for a verdict, as words of v_process_reason; empty where verified.';
comment on column dot.v_process_run_verification_v3.independently_verified is 'Verified without a caveat.';
comment on column dot.v_process_run_verification_v3.caveats is
    'What a stranger would ask of a verdict, as words of v_process_reason; empty where not verified.';
comment on column dot.v_process_run_verification_v3.producer_session_actor is
    'The login that recorded the end of the producer.';
comment on column dot.v_process_run_verification_v3.verifier_session_actor is
    'The login that recorded the end of the verifier.';
comment on column dot.v_process_run_verification_v3.same_session_actor is
    'Whether these two are one login; NULL where one is missing.';
comment on column dot.v_process_run_verification_v3.producer_output_ref is 'What the producer wrote.';
comment on column dot.v_process_run_verification_v3.verifier_input_ref is 'What the verifier looked at.';
comment on column dot.v_process_run_verification_v3.verifier_completed_at is 'When the verifier completed.';
