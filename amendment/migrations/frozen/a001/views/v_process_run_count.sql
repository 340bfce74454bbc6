-- Per candidate how many runs of each evidence type were observed, apart from each other. A refused call is
-- no run. No verdict reads this.
create or replace view dot.v_process_run_count with (security_barrier = true) as
select
    c.code as process_candidate_code,
    count(r.process_run_id) filter (where r.evidence_type = 'SIMULATED_DRY_RUN') as simulated_runs,
    count(r.process_run_id) filter (where r.evidence_type = 'DRY_RUN') as dry_runs,
    count(r.process_run_id) filter (where r.evidence_type = 'REAL_RUN') as real_runs
from dot.process_candidate as c
left join dot.process_run_observation as r on r.process_candidate_code = c.code and r.status <> 'blocked'
group by c.code;

revoke all on dot.v_process_run_count
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_process_run_count to dot_reader;

comment on view dot.v_process_run_count is
    'Per candidate the number of simulated, dry and real runs, apart from each other.';
comment on column dot.v_process_run_count.process_candidate_code is 'The process candidate.';
comment on column dot.v_process_run_count.simulated_runs is 'How many simulated runs were observed.';
comment on column dot.v_process_run_count.dry_runs is 'How many dry runs were observed.';
comment on column dot.v_process_run_count.real_runs is 'How many real runs were observed.';
