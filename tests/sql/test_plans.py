"""Each view's key question is answered by the index that was made for it, where a sequential scan is what would be chosen otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support import Connection, Database, define_pair, ready_for_real_runs, rows

RUNS = 30_000
CANDIDATES = 100

# Straight into the tables: every tenth run is real, and of those every second has a verifier that completed.
# The commit waits for the disk: a vacuum marks no page whose commit is not written yet.
FILLED = """
set synchronous_commit = on;
create temporary table made as
select i, gen_random_uuid() as run_id, 'pair.' || i %% {candidates} as code, i %% 10 = 0 as is_real
from generate_series(1, {runs}) as i;
insert into dot.process_run_observation (
    process_run_id, observed_at, lease_token, dry_run, process_candidate_code, dot_code, correlation_id, evidence_type, status,
    actor, session_actor, idempotency_key, evidence_ref, admission)
select run_id, clock_timestamp(), case when is_real then 1 end, not is_real, code, 'dot.load_orders', 'corr-' || i,
    case when is_real then 'REAL_RUN' else 'SIMULATED_DRY_RUN' end, 'started', 'tester', 'tester', 'key-' || i, '{{}}',
    case when is_real then '{{}}'::jsonb end
from made;
insert into dot.process_component_observation (
    process_run_id, observed_at, lease_token, process_candidate_code, component_role, stage, dot_code, correlation_id,
    evidence_type, status, actor, session_actor, idempotency_key, evidence_ref, admission)
select run_id, clock_timestamp(), case when is_real then 1 end, code, role, 'ended', 'dot.x', 'corr-' || i,
    case when is_real then 'REAL_RUN' else 'SIMULATED_DRY_RUN' end,
    case when role = 'verifier' and i / 10 %% 2 = 0 then 'failed' else 'step_completed' end, 'tester', 'tester',
    'key-' || i || ':' || role, '{{}}', case when is_real then '{{}}'::jsonb end
from made, unnest(array['producer', 'verifier']) as role;
""".replace("%%", "%")

HEADER, COMPONENT = "process_run_observation", "process_component_observation"
PKEYS = {f"{HEADER}_pkey", f"{COMPONENT}_pkey"}
REAL, VERIFIER = f"{HEADER}_above_simulation_idx", f"{COMPONENT}_real_verifier_idx"

# A question, the indexes of the ledger that answer it, and the most of the ledger's pages that it may read.
QUESTIONS: dict[str, tuple[str, set[str], int]] = {
    "the verdict of a candidate": (
        "select verified from dot.v_process_verification_v3 where process_candidate_code = 'pair.7'",
        {REAL, VERIFIER, f"{COMPONENT}_pkey", f"{HEADER}_pkey"},
        40,
    ),
    "why of a candidate": (
        "select * from dot.v_process_verification_v3 where process_candidate_code = 'pair.10'",
        {REAL, VERIFIER, f"{COMPONENT}_pkey", f"{HEADER}_pkey"},
        40,
    ),
    "the facts of a candidate": (
        "select * from dot.v_process_runtime_v2 where process_candidate_code = 'pair.10'",
        {REAL, f"{COMPONENT}_pkey", f"{HEADER}_pkey"},
        40,
    ),
    "a run": (
        "select * from dot.v_process_run where process_candidate_code = 'pair.10' and process_run_id = '{run_id}'",
        PKEYS,
        20,
    ),
    "the run under a key": (
        "select process_run_id from dot.v_process_run where process_candidate_code = 'pair.10' and idempotency_key = 'key-10'",
        {f"{HEADER}_idempotency_key_key"},
        20,
    ),
    "the components of a run": (
        "select * from dot.v_process_run_component where process_candidate_code = 'pair.10' and process_run_id = '{run_id}'",
        {f"{COMPONENT}_pkey"},
        20,
    ),
    "whether a real run is verified": (
        "select * from dot.v_process_run_verification_v3 where process_candidate_code = 'pair.10' and process_run_id = '{run_id}'",
        PKEYS,
        20,
    ),
    "all of a candidate on the board": (
        "select * from dot.v_process_board where process_candidate_code = 'pair.10'",
        {REAL, VERIFIER, f"{COMPONENT}_pkey", f"{HEADER}_pkey"},
        60,
    ),
    "why of a run": (
        "select * from dot.v_process_run_why where process_candidate_code = 'pair.10' and process_run_id = '{run_id}'",
        PKEYS,
        30,
    ),
    "how many runs a candidate has": (
        "select * from dot.v_process_run_count where process_candidate_code = 'pair.10'",
        {f"{HEADER}_pkey", REAL},
        20,
    ),
}


@pytest.fixture
def filled(db: Database) -> Connection:
    """A reader of a ledger with many runs, and as many candidates as make an index the cheaper way."""
    ready_for_real_runs(db)
    for number in range(CANDIDATES):
        define_pair(db, f"pair.{number}")
    owner = db.session("owner")
    owner.execute(FILLED.format(runs=RUNS, candidates=CANDIDATES).encode())
    for table in (HEADER, COMPONENT):
        owner.execute(f"vacuum (analyze) dot.{table}")
    return db.session("reader")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def explained(connection: Connection, query: str) -> dict[str, Any]:
    (found,) = rows(connection, f"explain (analyze, buffers, format json) {query}")
    plan: dict[str, Any] = found["QUERY PLAN"][0]["Plan"]
    return plan


def test_each_question_is_answered_by_its_indexes(db: Database, filled: Connection, subtests: pytest.Subtests) -> None:
    run_id = rows(filled, "select process_run_id from dot.v_process_run where idempotency_key = 'key-10'")[0][
        "process_run_id"
    ]
    for question, (query, indexes, pages) in QUESTIONS.items():
        with subtests.test(question=question):
            rows(
                filled, query.format(run_id=run_id)
            )  # what a session looks up of the catalog once is not the question's
            plan = explained(filled, query.format(run_id=run_id))
            used = [one for one in nodes(plan) if one.get("Relation Name") in (HEADER, COMPONENT)]
            assert {one["Node Type"] for one in used} <= {"Index Scan", "Index Only Scan"}, question
            assert {one["Index Name"] for one in used if one["Actual Loops"]} <= indexes
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= pages


def test_the_board_the_funnel_and_the_counts_read_no_ledger_table_from_end_to_end(
    db: Database, filled: Connection, subtests: pytest.Subtests
) -> None:
    for view in ("v_process_verification_v3", "v_process_board", "v_dot_funnel", "v_process_run_count"):
        with subtests.test(view=view):
            plan = explained(filled, f"select * from dot.{view}")
            scanned = {
                one["Relation Name"] for one in nodes(plan) if one["Node Type"] == "Seq Scan" and one["Actual Loops"]
            }
            assert scanned.isdisjoint({HEADER, COMPONENT})
