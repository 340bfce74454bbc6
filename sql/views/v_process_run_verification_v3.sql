-- Per real run whether it is verified, computed and never claimed: has_real_runtime and cross_component_correlation of v2.
-- reasons says what is missing; it is empty exactly where verified is true. Whether two logins recorded the two parts is
-- shown beside the verdict and does not enter it.
create or replace view dot.v_process_run_verification_v3 with (security_barrier = true) as
select
    v2.process_candidate_code,
    v2.process_run_id,
    v2.correlation_id,
    v2.observed_at,
    v2.has_real_runtime and v2.cross_component_correlation as verified,
    array_remove(array[
        case when not v2.producer_seen then 'producer_missing' end,
        case when v2.producer_seen and v2.producer_completed_at is null then 'producer_not_completed' end,
        case when not v2.verifier_seen then 'verifier_missing' end,
        case when v2.verifier_seen and v2.verifier_completed_at is null then 'verifier_not_completed' end,
        case
            when v2.producer_correlation_id <> v2.correlation_id or v2.verifier_correlation_id <> v2.correlation_id
            then 'correlation_differs'
        end,
        case when v2.verifier_first_at <= v2.producer_completed_at then 'verifier_not_after_producer' end
    ], null) as reasons,
    v2.producer_session_actor,
    v2.verifier_session_actor,
    v2.producer_session_actor = v2.verifier_session_actor as same_session_actor
from dot.v_process_run_runtime_v2 as v2;

revoke all on dot.v_process_run_verification_v3
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_verification_v3 to dot_reader;

comment on view dot.v_process_run_verification_v3 is
    'Per real run: verified, the reasons why not, and which logins recorded producer and verifier.';
