"""v2 facts and v3 verdicts against ledgers made by hand, as a reader sees them."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support import (
    PAIR,
    Connection,
    Database,
    acquire,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
    row,
    rows,
    value,
)
from support.ledgers import moment, store_candidate, store_component, store_run

# A component: role, stored status, second, correlation id.
Component = tuple[str, str, float, str]
DONE, BEGUN = "step_completed", "step_started"
P: Component = ("producer", DONE, 1, "corr-1")
V: Component = ("verifier", DONE, 2, "corr-1")

# Real runs and the reasons why they are not verified. The header has corr-1.
SHAPES: list[tuple[list[Component], list[str]]] = [
    ([P, V], []),
    ([("producer", BEGUN, 0.5, "corr-1"), P, ("verifier", BEGUN, 1.5, "corr-1"), V], []),
    ([], ["producer_missing", "verifier_missing"]),
    ([P], ["verifier_missing"]),
    ([V], ["producer_missing"]),
    ([("producer", BEGUN, 1, "corr-1")], ["producer_not_completed", "verifier_missing"]),
    ([("producer", "failed", 1, "corr-1")], ["producer_not_completed", "verifier_missing"]),
    ([("producer", "cancelled", 1, "corr-1"), V], ["producer_not_completed"]),
    ([("verifier", BEGUN, 2, "corr-1")], ["producer_missing", "verifier_not_completed"]),
    ([P, ("verifier", BEGUN, 2, "corr-1")], ["verifier_not_completed"]),
    ([P, ("verifier", "failed", 2, "corr-1")], ["verifier_not_completed"]),
    ([P, ("verifier", "cancelled", 2, "corr-1")], ["verifier_not_completed"]),
    (
        [("producer", BEGUN, 1, "corr-1"), ("verifier", BEGUN, 2, "corr-1")],
        ["producer_not_completed", "verifier_not_completed"],
    ),
    ([("producer", DONE, 1, "other"), V], ["correlation_differs"]),
    ([P, ("verifier", DONE, 2, "other")], ["correlation_differs"]),
    ([("producer", DONE, 1, "other"), ("verifier", DONE, 2, "other")], ["correlation_differs"]),
    ([("producer", DONE, 1, "other")], ["verifier_missing", "correlation_differs"]),
    ([P, ("verifier", DONE, 1, "corr-1")], ["verifier_not_after_producer"]),
    ([P, ("verifier", DONE, 0.9, "corr-1")], ["verifier_not_after_producer"]),
    ([P, ("verifier", BEGUN, 1, "corr-1"), V], ["verifier_not_after_producer"]),
    ([P, ("verifier", BEGUN, 0.5, "corr-1"), V], ["verifier_not_after_producer"]),
    ([P, ("verifier", BEGUN, 0.5, "corr-1")], ["verifier_not_completed", "verifier_not_after_producer"]),
    ([P, ("verifier", "failed", 0.5, "corr-1")], ["verifier_not_completed", "verifier_not_after_producer"]),
    ([P, ("verifier", DONE, 0.5, "other")], ["correlation_differs", "verifier_not_after_producer"]),
    (
        [P, ("verifier", BEGUN, 0.5, "corr-1"), ("verifier", "failed", 3, "corr-1")],
        ["verifier_not_completed", "verifier_not_after_producer"],
    ),
    (
        [("producer", DONE, 1, "other"), ("verifier", BEGUN, 0.5, "corr-1")],
        ["verifier_not_completed", "correlation_differs", "verifier_not_after_producer"],
    ),
]

WORDS = {
    "no_run",
    "no_real_run",
    "producer_missing",
    "producer_not_completed",
    "verifier_missing",
    "verifier_not_completed",
    "correlation_differs",
    "verifier_not_after_producer",
}


def store_shape(
    owner: Connection, code: str, components: list[Component], at: float = 0, run_id: uuid.UUID | None = None
) -> uuid.UUID:
    """A real run of this shape whose header was written at the given second."""
    run_id = store_run(owner, code, at=at, run_id=run_id)
    for role, status, second, correlation_id in components:
        store_component(owner, run_id, role, status, code, at=at + second, correlation_id=correlation_id)
    return run_id


def verdict(db: Database, code: str = PAIR) -> dict[str, Any]:
    return row(
        db.session("reader"), "select * from dot.v_process_verification_v3 where process_candidate_code = %s", code
    )


def verdicts(db: Database) -> dict[str, dict[str, Any]]:
    found = rows(
        db.session("reader"),
        "select * from dot.v_process_verification_v3 v3 join dot.v_process_runtime_v2 v2 using (process_candidate_code)",
    )
    return {one["process_candidate_code"]: one for one in found}


def test_each_shape_of_a_real_run_gives_its_reasons_and_facts(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    assert {"no_run", "no_real_run"}.union(*(reasons for _, reasons in SHAPES)) == WORDS
    for number, (components, reasons) in enumerate(SHAPES):
        code = f"shape.{number}"
        store_candidate(owner, code)
        run_id = store_shape(owner, code, components)
        completed = {role for role, status, *_ in components if status == DONE}

        seen = verdict(db, code)
        assert (seen["reasons"], seen["verified"]) == (reasons, reasons == []), components
        assert seen["latest_real_run_id"] == run_id
        assert seen["last_verified_run_id"] == (None if reasons else run_id), components

        of_run = row(reader, "select * from dot.v_process_run_verification_v3 where process_run_id = %s", run_id)
        assert (of_run["reasons"], of_run["verified"]) == (reasons, reasons == []), components

        facts = {
            "has_real_runtime": "producer" in completed,
            "cross_component_correlation": reasons == [],
        }
        for view, key in (
            ("v_process_run_runtime_v2", "process_run_id"),
            ("v_process_runtime_v2", "latest_real_run_id"),
        ):
            found = row(
                reader,
                f"select has_real_runtime, cross_component_correlation from dot.{view} where {key} = %s",
                run_id,
            )
            assert found == facts, (view, components)


def test_of_all_combinations_only_one_is_verified_and_verified_means_no_reason(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    store_candidate(owner, PAIR)
    statuses = [None, BEGUN, DONE, "failed", "cancelled"]
    expected = {}
    combinations = itertools.product(statuses, statuses, (0.5, 1, 2), ("corr-1", "other"), ("corr-1", "other"))
    for produced, verified, second, of_producer, of_verifier in combinations:
        components: list[Component] = []
        if produced:
            components.append(("producer", produced, 1, of_producer))
        if verified:
            components.append(("verifier", verified, second, of_verifier))
        run_id = store_shape(owner, PAIR, components)
        expected[run_id] = sorted(components) == [P, V]
    found = rows(reader, "select process_run_id, verified, reasons from dot.v_process_run_verification_v3")
    assert {one["process_run_id"]: one["verified"] for one in found} == expected
    assert [one for one in found if one["verified"] != (one["reasons"] == [])] == []
    assert {word for one in found for word in one["reasons"]} < WORDS


def test_a_run_recorded_through_the_functions_is_verified(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    assert verdict(db)["reasons"] == ["producer_missing", "verifier_missing"]
    observe_component(writer, run_id, "producer", lease_token=token)
    assert verdict(db)["reasons"] == ["verifier_missing"]
    observe_component(writer, run_id, "verifier", lease_token=token)
    seen = verdict(db)
    assert (seen["verified"], seen["reasons"], seen["last_verified_run_id"]) == (True, [], run_id)
    actors = seen["producer_session_actor"], seen["verifier_session_actor"], seen["same_session_actor"]
    assert actors == (db.login("writer"), db.login("writer"), True)


def test_who_recorded_the_two_parts_is_shown_and_does_not_enter_the_verdict(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    seen = verdict(db)
    actors = seen["producer_session_actor"], seen["verifier_session_actor"], seen["same_session_actor"]
    assert actors == (db.login("writer"), None, None)
    writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
    with psycopg.connect(db.url_as("operator"), autocommit=True, row_factory=dict_row) as operator:
        observe_component(operator, run_id, "verifier", lease_token=acquire(operator))
    seen = verdict(db)
    actors = seen["producer_session_actor"], seen["verifier_session_actor"], seen["same_session_actor"]
    assert (actors, seen["verified"]) == ((db.login("writer"), db.login("operator"), False), True)


def test_a_claimed_actor_does_not_change_the_session_actor(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.session("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token, actor="alice")
    observe_component(writer, run_id, "verifier", lease_token=token, actor="bob")
    assert verdict(db)["same_session_actor"] is True


def test_without_a_real_run_the_reason_is_no_run_or_no_real_run(db: Database) -> None:
    define_pair(db)
    nothing = {
        "verified": False,
        "independently_verified": False,
        "latest_real_run_id": None,
        "latest_real_run_at": None,
        "last_verified_run_id": None,
        "last_verified_at": None,
        "producer_session_actor": None,
        "verifier_session_actor": None,
        "same_session_actor": None,
    }
    seen = verdict(db)
    assert (seen["reasons"], {key: seen[key] for key in nothing}) == (["no_run"], nothing)
    observe_run(db.session("writer"))
    seen = verdict(db)
    assert (seen["reasons"], {key: seen[key] for key in nothing}) == (["no_real_run"], nothing)
    facts = row(db.session("reader"), "select * from dot.v_process_runtime_v2")
    assert (facts["has_real_runtime"], facts["cross_component_correlation"]) == (False, False)
    assert rows(db.session("reader"), "select process_run_id from dot.v_process_run_runtime_v2") == []


def test_the_latest_real_run_decides_and_the_last_verified_one_is_named(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)

    def state() -> tuple[bool, uuid.UUID, uuid.UUID, list[str]]:
        seen = verdict(db)
        header = "select observed_at from dot.v_process_run where process_run_id = %s"
        assert seen["last_verified_at"] == value(db.session("reader"), header, seen["last_verified_run_id"])
        return seen["verified"], seen["latest_real_run_id"], seen["last_verified_run_id"], seen["reasons"]

    old = store_shape(owner, PAIR, [P, V], at=100)
    assert state() == (True, old, old, [])
    unfinished = store_shape(owner, PAIR, [], at=200)
    assert state() == (False, unfinished, old, ["producer_missing", "verifier_missing"])
    store_component(owner, unfinished, "producer", at=201)
    assert state() == (False, unfinished, old, ["verifier_missing"])
    store_shape(owner, PAIR, [P, V], at=50)
    assert state() == (False, unfinished, old, ["verifier_missing"])
    new = store_shape(owner, PAIR, [P, V], at=300)
    assert state() == (True, new, new, [])
    failed = store_shape(owner, PAIR, [P, ("verifier", "failed", 2, "corr-1")], at=400)
    assert state() == (False, failed, new, ["verifier_not_completed"])


def test_an_older_run_that_is_completed_later_does_not_become_the_latest(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    old = store_run(owner, at=0)
    latest = store_run(owner, at=10)
    store_component(owner, old, "producer", at=20)
    store_component(owner, old, "verifier", at=21)
    seen = verdict(db)
    assert (seen["verified"], seen["latest_real_run_id"], seen["last_verified_run_id"]) == (False, latest, old)


@pytest.mark.parametrize("descending", [False, True], ids=["by ascending ids", "by descending ids"])
def test_of_runs_that_were_verified_the_one_whose_verifier_completed_last_is_the_last(
    db: Database, descending: bool
) -> None:
    """Whichever header, producer or id came first."""
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    old, slow, quick, unfinished = ids = sorted((uuid.uuid4() for _ in range(4)), reverse=descending)
    for at, run_id in enumerate(ids):
        store_run(owner, at=at, run_id=run_id)
    for run_id, produced, verified in ((old, 10, 11), (slow, 20, 40), (quick, 25, 30)):
        store_component(owner, run_id, "producer", at=produced)
        store_component(owner, run_id, "verifier", at=verified)
    seen = verdict(db)
    assert (seen["verified"], seen["latest_real_run_id"], seen["last_verified_run_id"]) == (False, unfinished, slow)
    store_component(owner, unfinished, "producer", at=35)
    store_component(owner, unfinished, "verifier", at=36)
    seen = verdict(db)
    assert (seen["verified"], seen["last_verified_run_id"]) == (True, unfinished)


@pytest.mark.parametrize("late", [("verifier", BEGUN), ("producer", BEGUN)], ids=" ".join)
def test_no_row_but_a_verifier_s_end_makes_a_run_the_last_verified_one(db: Database, late: tuple[str, str]) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    first, second = (store_shape(owner, PAIR, [P, V], at=at) for at in (0, 10))
    store_component(owner, first, *late, at=30)
    store_run(owner, at=40)
    assert verdict(db)["last_verified_run_id"] == second


def test_a_producer_s_token_makes_no_run_the_last_verified_one(db: Database) -> None:
    """It may be higher than the verifier's, where the lease table was put back to an older state."""
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    first, second = (store_run(owner, at=at, lease_token=token) for at, token in ((0, 1), (10, 2)))
    for run_id, at, tokens in ((first, 20, (5, 1)), (second, 30, (2, 2))):
        for second_of_run, (role, token) in enumerate(zip(("producer", "verifier"), tokens, strict=True)):
            store_component(owner, run_id, role, at=at + second_of_run, lease_token=token)
    store_run(owner, at=40, lease_token=3)
    assert verdict(db)["last_verified_run_id"] == second


def test_the_last_verified_run_is_the_one_under_the_highest_token_of_its_own_candidate(db: Database) -> None:
    """Whatever the clock says, and under whatever token another candidate has a run of the same id."""
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    store_candidate(owner, "shop.other")
    first, second = (uuid.uuid4() for _ in range(2))
    for code, run_id, token, at in ((PAIR, first, 1, 30), (PAIR, second, 2, 20), ("shop.other", first, 9, 40)):
        store_run(owner, code, run_id=run_id, at=at, lease_token=token)
        store_component(owner, run_id, "producer", code=code, at=at + 1, lease_token=token)
        store_component(owner, run_id, "verifier", code=code, at=at + 2, lease_token=token)
    store_run(owner, at=50, lease_token=3)
    assert verdict(db)["last_verified_run_id"] == second


def test_of_verifiers_that_completed_in_one_moment_the_later_run_id_is_the_last(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    for at, run_id in enumerate(sorted(uuid.uuid4() for _ in range(3))):
        store_run(owner, run_id=run_id, at=at)
        store_component(owner, run_id, "producer", at=10)
        store_component(owner, run_id, "verifier", at=11)
    store_run(owner, at=20)
    assert verdict(db)["last_verified_run_id"] == run_id


def test_a_verified_run_of_the_same_id_is_another_candidate_s_last_verified_run(db: Database) -> None:
    owner, run_id = db.session("owner"), uuid.uuid4()
    for code in (PAIR, "shop.other"):
        store_candidate(owner, code)
        store_run(owner, code, run_id=run_id)
        store_component(owner, run_id, "verifier", code=code, at=2)
    store_component(owner, run_id, "producer", code="shop.other", at=1)
    assert verdict(db)["last_verified_run_id"] is None
    assert verdict(db, "shop.other")["last_verified_run_id"] == run_id


def test_a_candidate_with_several_simulated_runs_has_no_real_run(db: Database) -> None:
    owner = db.session("owner")
    store_candidate(owner, PAIR)
    for at in range(3):
        store_run(owner, at=at, evidence_type="SIMULATED_DRY_RUN")
    assert verdict(db)["reasons"] == ["no_real_run"]


def test_the_latest_run_decides_whichever_way_the_rows_are_read(db: Database, subtests: pytest.Subtests) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    codes = {"shop.first": True, "shop.last": False, "shop.between": True, "shop.between-failed": False}
    for code in codes:
        store_candidate(owner, code)
    # The latest run is the first, the last, or between others in the table, by id, and among verified ones and others.
    ids = [uuid.UUID(int=number) for number in range(1, 6)]
    for code, order in (("shop.first", (4, 1, 0)), ("shop.last", (0, 1, 4)), ("shop.between", (0, 4, 1))):
        for at in order:
            store_shape(owner, code, [P, V] if (at == 4) == codes[code] else [P], at=100 * at, run_id=ids[at])
    for at, run_id in ((0, ids[0]), (4, ids[2]), (1, ids[4])):
        store_shape(owner, "shop.between-failed", [P] if at == 4 else [P, V], at=100 * at, run_id=run_id)
    for banned in ("seqscan", "indexscan, bitmapscan, indexonlyscan"):
        with subtests.test(without=banned), reader.transaction(force_rollback=True):
            for kind in banned.split(", "):
                reader.execute(f"set local enable_{kind} = off")
            for relation in ("v_process_verification_v3", "v_process_runtime_v2"):
                wanted = "verified" if relation.endswith("v3") else "cross_component_correlation"
                seen = rows(reader, f"select process_candidate_code as code, {wanted} as verdict from dot.{relation}")
                assert {one["code"]: one["verdict"] for one in seen} == codes
            found = rows(reader, "select process_candidate_code as code, reasons from dot.v_process_verification_v3")
            assert {one["code"]: not one["reasons"] for one in found} == codes


def test_of_two_real_runs_of_one_moment_one_is_the_latest_in_every_view(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    store_candidate(owner, PAIR)
    first, second = sorted((uuid.uuid4(), uuid.uuid4()))
    for run_id in (second, first):
        store_run(owner, run_id=run_id)
    store_component(owner, first, "producer", at=1)
    store_component(owner, first, "verifier", at=2)
    seen = verdict(db)
    assert (seen["latest_real_run_id"], seen["verified"], seen["last_verified_run_id"]) == (second, False, first)
    assert row(reader, "select latest_real_run_id from dot.v_process_runtime_v2")["latest_real_run_id"] == second
    store_component(owner, second, "producer", at=1)
    store_component(owner, second, "verifier", at=2)
    seen = verdict(db)
    assert (seen["verified"], seen["last_verified_run_id"]) == (True, second)


def test_simulated_and_dry_runs_of_any_shape_change_no_verdict_but_the_word_for_none(db: Database) -> None:
    owner = db.session("owner")
    shapes = [components for components, _ in SHAPES]
    for number, components in enumerate(shapes):
        store_candidate(owner, f"shape.{number}")
        store_shape(owner, f"shape.{number}", components, at=100)
    store_candidate(owner, "shape.none")
    before = verdicts(db)
    assert sum(one["verified"] for one in before.values()) == 2

    for code in before:
        for evidence_type, at in itertools.product(("SIMULATED_DRY_RUN", "DRY_RUN"), (50, 100, 200)):
            for components in shapes:
                run_id = store_run(owner, code, at=at, evidence_type=evidence_type)
                for role, status, second, correlation_id in components:
                    store_component(
                        owner,
                        run_id,
                        role,
                        status,
                        code,
                        at=at + second,
                        evidence_type=evidence_type,
                        correlation_id=correlation_id,
                    )
        for status in ("observed", "completed", "failed", "cancelled"):
            store_run(owner, code, at=300, evidence_type="SIMULATED_DRY_RUN", status=status)
        for status in ("completed", "failed", "cancelled"):
            store_run(owner, code, at=300, evidence_type="DRY_RUN", status=status)

    assert before["shape.none"]["reasons"] == ["no_run"]
    before["shape.none"]["reasons"] = ["no_real_run"]
    assert verdicts(db) == before


def test_components_of_another_evidence_type_than_their_header_count_for_nothing(db: Database) -> None:
    owner = db.session("owner")
    for evidence_type in ("SIMULATED_DRY_RUN", "DRY_RUN"):
        code = f"real.header.{evidence_type}"
        store_candidate(owner, code)
        run_id = store_run(owner, code)
        store_component(owner, run_id, "producer", code=code, at=1, evidence_type=evidence_type)
        store_component(owner, run_id, "verifier", code=code, at=2, evidence_type=evidence_type)
        assert verdict(db, code)["reasons"] == ["producer_missing", "verifier_missing"]

        code = f"real.components.{evidence_type}"
        store_candidate(owner, code)
        run_id = store_run(owner, code, evidence_type=evidence_type)
        store_component(owner, run_id, "producer", code=code, at=1)
        store_component(owner, run_id, "verifier", code=code, at=2)
        assert (verdict(db, code)["verified"], verdict(db, code)["reasons"]) == (False, ["no_real_run"])


def test_a_run_of_the_same_id_under_another_candidate_is_another_run(db: Database) -> None:
    owner = db.session("owner")
    run_id = uuid.uuid4()
    for code in ("one", "two"):
        store_candidate(owner, code)
        store_run(owner, code, run_id=run_id)
    store_component(owner, run_id, "producer", code="one", at=1)
    store_component(owner, run_id, "verifier", code="two", at=2)
    assert verdict(db, "one")["reasons"] == ["verifier_missing"]
    assert verdict(db, "two")["reasons"] == ["producer_missing"]


def test_a_verified_run_lends_nothing_to_a_run_of_the_same_id_under_another_candidate(db: Database) -> None:
    owner = db.session("owner")
    run_id = uuid.uuid4()
    codes = ("one", "two", "three")
    for second, code in enumerate(codes):
        store_candidate(owner, code)
        store_run(owner, code, run_id=run_id, at=second / 10)
    store_component(owner, run_id, "producer", code="two", at=1)
    store_component(owner, run_id, "verifier", code="two", at=2)
    seen = verdicts(db)
    for code in codes:
        whole = code == "two"
        of_code = seen[code]
        facts = of_code["verified"], of_code["has_real_runtime"], of_code["cross_component_correlation"]
        assert (facts, of_code["reasons"] == []) == ((whole,) * 3, whole), code
        last = of_code["last_verified_run_id"], of_code["last_verified_at"]
        assert last == ((run_id, of_code["latest_real_run_at"]) if whole else (None, None)), code


def test_simulated_dry_and_real_runs_are_counted_apart(db: Database) -> None:
    owner = db.session("owner")
    for code in ("counted", "never.run"):
        store_candidate(owner, code)
    for evidence_type, runs in (("SIMULATED_DRY_RUN", 1), ("DRY_RUN", 2), ("REAL_RUN", 4)):
        for _ in range(runs):
            run_id = store_run(owner, "counted", evidence_type=evidence_type)
            store_component(owner, run_id, "producer", code="counted", at=1, evidence_type=evidence_type)
            store_component(owner, run_id, "verifier", code="counted", at=2, evidence_type=evidence_type)
    assert rows(db.session("reader"), "select * from dot.v_process_run_count order by 1") == [
        {"process_candidate_code": "counted", "simulated_runs": 1, "dry_runs": 2, "real_runs": 4},
        {"process_candidate_code": "never.run", "simulated_runs": 0, "dry_runs": 0, "real_runs": 0},
    ]


def test_the_facts_of_a_component_come_from_its_completed_row_alone(db: Database) -> None:
    """Its other rows are made to win wherever they are looked at: later, and greater in every text."""
    define_pair(db)
    owner = db.connect("owner")
    for role in ("producer", "verifier"):
        run_id = store_run(owner)
        store_component(owner, run_id, role, at=2, input_ref="in", output_ref="out")
        store_component(
            owner,
            run_id,
            role,
            "step_started",
            at=9,
            correlation_id="zzz",
            session_actor="zzz",
            input_ref="zzz",
            output_ref="zzz",
        )
        facts = row(
            db.session("reader"), "select * from dot.v_process_run_runtime_v2 where process_run_id = %s", run_id
        )
        assert facts[f"{role}_completed_at"] == moment(2)
        assert facts[f"{role}_correlation_id"] == "corr-1"
        assert facts[f"{role}_session_actor"] == f"login_of_{role}"
        assert (facts["producer_output_ref"], facts["verifier_input_ref"]) == (
            ("out", None) if role == "producer" else (None, "in")
        )
        other = "verifier" if role == "producer" else "producer"
        assert [facts[f"{other}_{fact}"] for fact in ("seen", "completed_at", "correlation_id", "session_actor")] == [
            False,
            None,
            None,
            None,
        ]
