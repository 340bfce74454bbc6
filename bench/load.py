"""A large ledger, fast: rows made by the server itself, straight into the tables, through every constraint they have.

Nothing is switched off: CHECKs, unique indexes and foreign keys see each row as they see one of the functions', and the
append-only triggers, which are about UPDATE, DELETE and TRUNCATE, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from bench.server import LEDGER, open_gates

CANDIDATES = 1000
NEVER_RUN = 10  # the last candidates have no run at all
NEVER_REAL = 100  # the last ones have no real run
REAL_EVERY = 50  # of a candidate's runs one in so many is real, beginning with one of its first five
CHUNK = 25_000
LOADERS = 2

_CATALOGUE = f"""
select dot.fn_dot_tool_register(format('load.%s.%s', role, lpad(i::text, 4, '0')))
from generate_series(1, {CANDIDATES}) as i, unnest(array['producer', 'verifier']) as role;
select dot.fn_process_candidate_define(
    'candidate.' || n, 'load.producer.' || n, 'load.verifier.' || n, 'bench')
from (select lpad(i::text, 4, '0') as n from generate_series(1, {CANDIDATES}) as i) as numbered;
create table bench.admission as
select admission from dot.process_run_observation where evidence_type = 'REAL_RUN' limit 1;
"""

# A run's number says everything of it. Ids begin with a time, as those of the harness do.
_RUNS = f"""
create temporary view runs as
select
    i,
    (lpad(to_hex(1750000000000 + i * 100), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid
        as run_id,
    md5('c' || i)::uuid::text as correlation_id,
    lpad((1 + i % {CANDIDATES - NEVER_RUN})::text, 4, '0') as candidate,
    timestamptz '2026-01-01' + i * interval '100 ms' as at,
    i % {CANDIDATES - NEVER_RUN} < {CANDIDATES - NEVER_REAL} - 1
        and i / {CANDIDATES - NEVER_RUN} % {REAL_EVERY} = i % 5 as is_real,
    -- A candidate whose number ends in 3 has a verifier that fails in every real run; elsewhere a simulated one fails at times.
    case when i % 10 = 2 then i / {CANDIDATES - NEVER_RUN} % {REAL_EVERY} = i % 5 else i % 20 = 0 end as verifier_fails
from generate_series({{first}}::bigint, {{last}}::bigint) as i
"""
_HEADERS = """
insert into dot.process_run_observation (
    process_run_id, observed_at, lease_token, dry_run, process_candidate_code, dot_code, correlation_id, evidence_type, status,
    actor, session_actor, idempotency_key, input_ref, evidence_ref, admission)
select
    r.run_id, r.at, case when r.is_real then 1 end, not r.is_real, 'candidate.' || r.candidate, 'load.producer.' || r.candidate,
    r.correlation_id, case when r.is_real then 'REAL_RUN' else 'SIMULATED_DRY_RUN' end, 'started', 'bench', 'bench',
    'run-' || r.i, 's3://bench/in/' || r.i, '{"n": 1}', case when r.is_real then (select a.admission from bench.admission as a) end
from runs as r order by r.i
"""
_COMPONENTS = """
insert into dot.process_component_observation (
    process_run_id, observed_at, lease_token, process_candidate_code, component_role, stage, dot_code, correlation_id,
    evidence_type, status, actor, session_actor, idempotency_key, output_ref, evidence_ref, admission)
select
    r.run_id, r.at + p.later, case when r.is_real then 1 end, 'candidate.' || r.candidate, p.role, 'ended',
    format('load.%s.%s', p.role, r.candidate), r.correlation_id,
    case when r.is_real then 'REAL_RUN' else 'SIMULATED_DRY_RUN' end, s.status, 'bench', 'bench',
    format('run-%s:%s:%s', r.i, p.role, s.status), format('s3://bench/%s/%s', p.role, r.i), '{"n": 1}',
    case when r.is_real then (select a.admission from bench.admission as a) end
from runs as r
cross join (values ('producer', interval '10 ms'), ('verifier', interval '20 ms')) as p (role, later)
cross join lateral (
    select case when p.role = 'verifier' and r.verifier_fails then 'failed' else 'step_completed' end as status
) as s
order by r.i, p.role
"""

# Candidates of each kind there is, by what a verdict has to look at.
KINDS = {
    "verified": "candidate.0002",
    "never verified": "candidate.0003",
    "no real run": f"candidate.{CANDIDATES - NEVER_RUN:04}",
    "no run": f"candidate.{CANDIDATES:04}",
}


def prepare(url: str) -> None:
    """The candidates, and one real run by the functions, whose admission the loaded ones repeat."""
    real = (
        "select dot.fn_process_run_observe('bench.pair', 'bench.producer', gen_random_uuid(), 'c', 'REAL_RUN', false,"
        " 'started', 'bench', p_lease_token => %s)"
    )
    with open_gates(url) as token, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(real, (token,))
        admin.execute(_CATALOGUE.encode())


def load(url: str, first: int, last: int, done: Callable[[int], None] = lambda _: None) -> None:
    """Loads the runs of these numbers, each with producer and verifier, and vacuums; ``done`` is told how many at a time.

    The bare copy of the headers gets as many rows, so that it is compared at the same size.
    """

    def chunk(start: int) -> int:
        end = min(start + CHUNK, last + 1) - 1
        with psycopg.connect(url) as loader:
            loader.execute("set synchronous_commit = off")
            loader.execute(_RUNS.format(first=start, last=end).encode())
            loader.execute(_HEADERS.encode())
            loader.execute(_COMPONENTS.encode())
        return end + 1 - start

    with ThreadPoolExecutor(LOADERS) as pool:
        for count in pool.map(chunk, range(first, last + 1, CHUNK)):
            done(count)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "insert into bench.process_run_observation select * from dot.process_run_observation as r"
            " where not exists (select from bench.process_run_observation as b"
            " where b.process_candidate_code = r.process_candidate_code and b.process_run_id = r.process_run_id)"
        )
        for schema in ("dot", "bench"):
            for table in LEDGER:
                admin.execute(f"vacuum (analyze) {schema}.{table}".encode())
        admin.execute("checkpoint")
