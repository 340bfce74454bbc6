"""What must not change a verdict: any simulated or dry row, and the order of calls that have nothing to do with each other."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dot_wrapper.proving import model
from dot_wrapper.proving.support import GATES, Database, row, value
from dot_wrapper.proving.twin import Twin

Step = tuple[str, ...]

# Each example tells two stories.
half = settings(max_examples=settings().max_examples // 2)

roles = st.sampled_from(["producer", "verifier"])
statuses = st.sampled_from(["started", "completed", "completed", "completed", "failed", "skipped"])
beginnings = st.sampled_from(["started", "started", "started", "completed", "failed"])
numbers = st.sampled_from(["1", "1", "2", "3"])


def stories(*evidence_types: str) -> st.SearchStrategy[list[Step]]:
    """Steps of up to three runs: a header of one of the evidence types, or a component of a run."""
    header = st.tuples(st.just("run"), numbers, st.sampled_from(evidence_types), beginnings)
    component = st.tuples(st.just("component"), numbers, roles, statuses)
    return st.builds(
        lambda first, rest: [("run", "1", evidence_types[0], "started"), *first, *rest],
        st.lists(component, max_size=3),
        st.lists(header | component | component | component, max_size=8),
    )


def ready(db: Database) -> tuple[Twin, tuple[int, int]]:
    """Open gates, a passed preflight, and the lease of both candidates: their tokens."""
    twin = Twin(db)
    for gate in GATES:
        twin.set_gate(gate, "true")
    twin.attest("PASS")
    first, second = (twin.acquire("writer", candidate, "anna")[1] for candidate in twin.candidates)
    return twin, (first, second)


def tell(twin: Twin, tokens: tuple[int, int], at: int, step: Step, ids_from: int = 0) -> None:
    """One step of the candidate's story; a step that is refused is no part of it."""
    pair = twin.committed.all(model.Candidate)[-2:][at]
    kind, number, *rest = step
    run_id = uuid.UUID(int=ids_from + int(number))
    header = twin.committed.newest(model.Run, process_candidate_code=pair.code, process_run_id=run_id)
    evidence_type = rest[0] if kind == "run" else header.evidence_type if header else model.SIMULATED
    arguments: dict[str, Any] = {
        "process_candidate_code": pair.code,
        "process_run_id": run_id,
        "correlation_id": f"corr-{number}",
        "status": rest[1],
        "actor": "anna",
        "lease_token": None if evidence_type == model.SIMULATED else tokens[at],
    }
    if kind == "run":
        dry_run = evidence_type != model.REAL
        twin.observe_run("writer", **arguments, dot_code=pair.producer, evidence_type=evidence_type, dry_run=dry_run)
    else:
        dot = pair.producer if rest[0] == "producer" else pair.verifier
        twin.observe_component("writer", **arguments, dot_code=dot, component_role=rest[0])


def verdict(db: Database, candidate: str) -> dict[str, Any]:
    """The candidate's row of v3 without what names it, and when things happened."""
    found = row(
        db.session("reader"), "select * from dot.v_process_verification_v3 where process_candidate_code = %s", candidate
    )
    own = ("process_candidate_code", "producer_dot_code", "verifier_dot_code", "latest_real_run_at", "last_verified_at")
    return {column: found[column] for column in found if column not in own}


@half
@given(
    story=stories(model.REAL) | st.just([]),
    noise=stories(model.SIMULATED, model.DRY),
    places=st.lists(st.integers(0, 20), min_size=15, max_size=15),
)
def test_no_simulated_or_dry_row_changes_a_verdict(
    db: Database, story: list[Step], noise: list[Step], places: list[int]
) -> None:
    twin, tokens = ready(db)
    quiet, noisy = twin.candidates
    for step in story:
        tell(twin, tokens, 0, step)
    for place, step in enumerate(story):
        for other in (other for other, at in zip(noise, places, strict=False) if at == place):
            tell(twin, tokens, 1, other, ids_from=1000)
        tell(twin, tokens, 1, step)
    for step in noise:  # what has been told is told again, and refused for that
        tell(twin, tokens, 1, step, ids_from=1000)
    without, with_noise = verdict(db, quiet), verdict(db, noisy)
    assert value(db.session("reader"), "select simulated_runs + dry_runs from dot.v_process_run_count"
        " where process_candidate_code = %s", noisy) > 0  # fmt: skip
    if not story:
        assert (without.pop("reasons"), with_noise.pop("reasons")) == (["no_run"], ["no_real_run"])
    assert with_noise == without


@half
@given(
    stories=st.tuples(stories(*model.LADDER), stories(model.REAL)),
    turns=st.lists(st.sampled_from([0, 1]), min_size=24, max_size=24),
)
def test_the_order_of_calls_about_different_candidates_changes_no_verdict(
    db: Database, stories: tuple[list[Step], list[Step]], turns: list[int]
) -> None:
    one_after_the_other, tokens = ready(db)
    for at in (0, 1):
        for step in stories[at]:
            tell(one_after_the_other, tokens, at, step)
    interleaved, tokens = ready(db)
    left = [list(stories[0]), list(stories[1])]
    for at in [*turns, *[0] * 12, *[1] * 12]:
        if left[at]:
            tell(interleaved, tokens, at, left[at].pop(0))
    assert left == [[], []]
    for one, other in zip(one_after_the_other.candidates, interleaved.candidates, strict=True):
        assert verdict(db, one) == verdict(db, other)
        assert end_states(db, one) == end_states(db, other)


def end_states(db: Database, candidate: str) -> list[dict[str, Any]]:
    """How the candidate's runs stand."""
    return (
        db.session("reader")
        .execute(
            "select process_run_id, end_state, components from dot.v_process_run"
            " where process_candidate_code = %s order by process_run_id",
            (candidate,),
        )
        .fetchall()
    )
