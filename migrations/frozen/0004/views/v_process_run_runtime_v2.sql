-- Per real run the two facts that make a verdict:
--   has_real_runtime             the producer completed
--   cross_component_correlation  the verifier completed too, both under the header's correlation id, and the verifier's first
--                                row is later than the producer's end: it looked at what this run had produced
create or replace view dot.v_process_run_runtime_v2 with (security_barrier = true) as
select
    r.process_candidate_code,
    r.process_run_id,
    r.observed_at,
    r.producer_completed_at is not null as has_real_runtime,
    coalesce(
        r.producer_completed_at is not null
        and r.verifier_completed_at is not null
        and r.producer_correlation_id = r.correlation_id
        and r.verifier_correlation_id = r.correlation_id
        and r.verifier_first_at > r.producer_completed_at,
        false
    ) as cross_component_correlation
from dot.v_process_real_run as r;

revoke all on dot.v_process_run_runtime_v2 from public;
grant select on dot.v_process_run_runtime_v2 to dot_reader;

comment on view dot.v_process_run_runtime_v2 is
    'Per real run: has_real_runtime and cross_component_correlation, the facts a verdict is made of.';
