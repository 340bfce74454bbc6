"""What a candidate's definition may ask for beside its pair: who records its parts, what its verifier looked at, how long a verification
counts, and which candidate it follows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from support import (
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    acquire,
    attest,
    batch,
    call,
    define_pair,
    header_line,
    ledger_counts,
    observe_component,
    observe_run,
    part_line,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
    waiting,
)
from support.ledgers import store_component


def define(db: Database, code: str, **asked: object) -> bool:
    """Defines a candidate of the two DOTs of the tests; whether it is new."""
    with db.connect("cataloguer") as cataloguer:
        for dot in (PRODUCER, VERIFIER):
            cataloguer.execute("select dot.fn_dot_tool_register(%s)", (dot,))
        return define_in(cataloguer, code, **asked)


def define_in(session: Connection, code: str, **asked: object) -> bool:
    given = {"code": code, "producer_dot_code": PRODUCER, "verifier_dot_code": VERIFIER, "actor": "tester"}
    return bool(call(session, "fn_process_candidate_define", given, **asked)["created"])


def defined(db: Database, code: str) -> dict[str, Any]:
    return row(db.connect("reader"), "select * from dot.v_process_candidate where process_candidate_code = %s", code)


def test_a_definition_asks_for_nothing_by_default(db: Database) -> None:
    assert define(db, PAIR)
    seen = defined(db, PAIR)
    optional = ("producer_role", "verifier_role", "max_age", "supersedes", "superseded_by", "source_time")
    assert {seen[name] for name in optional} == {None}
    assert seen["pins_output"] is False


def test_a_definition_is_stored_as_it_was_asked_for_and_never_changed(db: Database, subtests: pytest.Subtests) -> None:
    for code in ("shop.before", "shop.other"):
        define(db, code)
    asked: dict[str, object] = {
        "producer_role": db.login("writer"),
        "verifier_role": "dot_writer",
        "pins_output": True,
        "max_age": timedelta(days=1),
        "supersedes": "shop.before",
    }
    assert define(db, PAIR, **asked)
    assert not define(db, PAIR, **asked), "the same again is nothing new"
    assert {name: defined(db, PAIR)[name] for name in asked} == asked
    changed: dict[str, object] = {
        "producer_role": None,
        "verifier_role": db.login("reader"),
        "pins_output": False,
        "max_age": timedelta(hours=25),
        "supersedes": None,
    }
    before = ledger_counts(db)
    for name, other in (*changed.items(), ("verifier_role", None), ("max_age", None), ("supersedes", "shop.other")):
        with (
            subtests.test(changed=name, to=other),
            refused("23505", "process_candidate_pair_conflict", f"fields: {name}."),
        ):
            define(db, PAIR, **{**asked, name: other})
    with refused("23505", "process_candidate_pair_conflict", f"Differing fields: {', '.join(changed)}."):
        define(db, PAIR, **changed)
    assert ledger_counts(db) == before


def test_what_a_definition_may_not_ask_for_is_refused_by_name(db: Database, subtests: pytest.Subtests) -> None:
    define(db, "shop.timed", source_time="2026-01-01T00:00:00Z")
    define(db, "shop.plain")
    before = ledger_counts(db)
    for sqlstate, name, illegal in (
        ("23503", "producer_role_fkey", {"producer_role": "no_such_role"}),
        ("23503", "verifier_role_fkey", {"verifier_role": "DOT_WRITER"}),
        ("23503", "verifier_role_fkey", {"verifier_role": "public"}),
        ("23502", "pins_output_not_null", {"pins_output": None}),
        ("23503", "supersedes_fkey", {"supersedes": "no.such.candidate"}),
        ("23503", "supersedes_fkey", {"supersedes": PAIR}),
        ("23514", "supersedes_check", {"supersedes": "not legal"}),
        ("23514", "supersedes_check", {"supersedes": "c" * 201}),
        ("23503", "supersedes_fkey", {"supersedes": "c" * 200}),
        ("23514", "source_time_check", {"source_time": "infinity"}),
    ):
        with subtests.test(**illegal), refused(sqlstate, f"process_candidate_{name}"):
            define(db, PAIR, **illegal)
    with refused("23514", "process_candidate_source_time_chain_check", "shop.timed has one."):
        define(db, PAIR, supersedes="shop.timed")
    with refused("23514", "process_candidate_source_time_chain_check", "shop.plain has not one."):
        define(db, PAIR, supersedes="shop.plain", source_time="2026-01-02T00:00:00Z")
    assert ledger_counts(db) == before


def test_a_verification_may_be_asked_to_be_from_a_microsecond_to_a_century_old(db: Database) -> None:
    for illegal in ("0", "-1 second", "100 years 1 microsecond"):
        with refused("23514", "process_candidate_max_age_check", "max_age is not legal"):
            define(db, PAIR, max_age=illegal)
    assert define(db, PAIR, max_age="1 microsecond")
    assert define(db, "shop.oldest", max_age="100 years")


# Every way in by which a part is recorded, as a login that may record the other part alone.
def _header(session: Connection, _run: uuid.UUID) -> object:
    return observe_run(session)


def _producer(session: Connection, run: uuid.UUID) -> object:
    return observe_component(session, run, "producer")


def _verifier(session: Connection, run: uuid.UUID) -> object:
    return observe_component(session, run, "verifier")


def _pair(session: Connection, _run: uuid.UUID, **parts: object) -> object:
    given = {
        "process_candidate_code": PAIR,
        "producer_dot_code": PRODUCER,
        "verifier_dot_code": VERIFIER,
        "process_run_id": uuid.uuid4(),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": True,
        "producer_status": "completed",
        "verifier_status": "completed",
        "actor": "tester",
    }
    return call(session, "fn_process_pair_observe", given, **parts)


def _batch(session: Connection, run: uuid.UUID, role: str) -> object:
    line = header_line(uuid.uuid4()) if role == "header" else part_line(run, role)
    return batch(session, [line], atomic=True)


def _begin(session: Connection, _run: uuid.UUID) -> object:
    given = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": uuid.uuid4(),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": True,
        "actor": "tester",
        "holder": "tester",
        "ttl_seconds": 60,
    }
    return call(session, "fn_process_run_begin", given)


WAYS_IN: dict[str, tuple[str, Callable[[Connection, uuid.UUID], object]]] = {
    "a header": ("producer", _header),
    "a producer's part": ("producer", _producer),
    "a verifier's part": ("verifier", _verifier),
    "a pair": ("producer", _pair),
    "a header of a batch": ("producer", partial(_batch, role="header")),
    "a producer's part of a batch": ("producer", partial(_batch, role="producer")),
    "a verifier's part of a batch": ("verifier", partial(_batch, role="verifier")),
    "the beginning of a run": ("producer", _begin),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_part_is_recorded_by_a_member_of_its_role_and_by_no_other_login(db: Database, way: str) -> None:
    part, record = WAYS_IN[way]
    producer, verifier = db.connect("writer"), db.connect("operator")
    define(db, PAIR, producer_role=db.login("writer"), verifier_role=db.login("operator"))
    attest(db)
    run_id = observe_run(producer)["process_run_id"]
    other, own = (verifier, producer) if part == "producer" else (producer, verifier)
    before = ledger_counts(db)
    with refused("23514", f"process_candidate_{part}_role_check"):
        record(other, run_id)
    assert ledger_counts(db) == before
    if way == "a pair":  # one login records both parts of a pair
        with refused("23514", "process_candidate_verifier_role_check"):
            record(own, run_id)
        _pair(own, run_id, verifier_status=None)
    else:
        record(own, run_id)


def test_a_login_of_one_part_may_take_a_key_that_the_other_part_would_use_and_that_is_told(db: Database) -> None:
    """The keys of a candidate's components are one set. The call that comes later is refused, and names what stands there."""
    producer, verifier = db.connect("writer"), db.connect("operator")
    define(db, PAIR, producer_role=db.login("writer"), verifier_role=db.login("operator"))
    first, later = (observe_run(producer)["process_run_id"] for _ in range(2))
    observe_component(verifier, first, "verifier", idempotency_key="day9:producer:completed")
    with refused("23505", "idempotency_payload_mismatch", "day9:producer:completed"):
        observe_component(producer, later, "producer", idempotency_key="day9:producer:completed")


@pytest.mark.parametrize("part", ["producer", "verifier"])
def test_a_pair_is_refused_where_one_of_its_parts_is_of_a_role(db: Database, part: str) -> None:
    define(db, PAIR, **{f"{part}_role": db.login("operator")})
    with refused("23514", f"process_candidate_{part}_role_check"):
        _pair(db.connect("writer"), uuid.uuid4())
    _pair(db.connect("operator"), uuid.uuid4())


def test_a_lease_is_for_a_login_that_may_record_a_part(db: Database) -> None:
    define(db, PAIR, producer_role=db.login("writer"), verifier_role=db.login("gatekeeper"))
    halves = ("producer", "verifier")
    for part in halves:
        define(db, f"shop.{part}", **{f"{part}_role": db.login("writer")})
    with refused("23514", "dot_iu_runtime_lease_role_check"):
        acquire(db.connect("operator"))
    assert acquire(db.connect("writer")) == 1
    assert [acquire(db.connect("operator"), f"shop.{part}") for part in halves] == [1, 1]


def test_the_two_parts_of_a_real_run_are_handed_over_by_release_and_acquire(db: Database) -> None:
    define(db, PAIR, producer_role=db.login("writer"), verifier_role=db.login("operator"))
    set_gates(db)
    attest(db)
    producer, verifier = db.connect("writer"), db.connect("operator")
    token = acquire(producer)
    run_id = observe_run(producer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(producer, run_id, "producer", lease_token=token, output_ref="out")
    producer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
    state = "select end_state from dot.v_process_run where process_run_id = %s"
    assert value(db.connect("reader"), state, run_id) == "awaits_verifier"
    observe_component(verifier, run_id, "verifier", lease_token=acquire(verifier), input_ref="out")
    seen = row(db.connect("reader"), "select * from dot.v_process_verification_v3")
    assert (seen["verified"], seen["independently_verified"], seen["caveats"]) == (True, True, [])


def test_a_role_that_was_dropped_or_made_anew_refuses(db: Database) -> None:
    superuser = db.connect("superuser")
    name = f"t_{uuid.uuid4().hex}"
    superuser.execute(f"create role {name}; grant {name} to {db.login('writer')}")
    define(db, PAIR, verifier_role=name)
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]
    superuser.execute(f"alter role {name} rename to {name}_new")
    observe_component(writer, run_id, "verifier", status="started")
    superuser.execute(f"drop role {name}_new; create role {name}; grant {name} to {db.login('writer')}")
    try:
        with refused("23514", "process_candidate_verifier_role_check"):
            observe_component(writer, run_id, "verifier")
        assert defined(db, PAIR)["verifier_role"].isdigit()
    finally:
        superuser.execute(f"drop role {name}")


def test_a_membership_that_confers_nothing_does_not_count(db: Database) -> None:
    """On 16 and later a login that created a role has ADMIN on it, and can neither use nor set it."""
    superuser = db.connect("superuser")
    if superuser.info.server_version < 160000:
        pytest.skip("before 16 each membership confers something")
    name, writer = f"t_{uuid.uuid4().hex}", db.login("writer")
    superuser.execute(f"create role {name}")
    try:
        define(db, PAIR, producer_role=name, verifier_role=name)
        for options, may in (
            ("admin true, inherit false, set false", False),
            ("admin false, inherit true, set false", True),
            ("admin false, inherit false, set true", True),
        ):
            superuser.execute(f"grant {name} to {writer} with {options}")
            if may:
                assert observe_run(db.connect("writer"))["created"]
                acquire(db.connect("writer"))
            else:
                with refused("23514", "process_candidate_producer_role_check"):
                    observe_run(db.connect("writer"))
                with refused("23514", "dot_iu_runtime_lease_role_check"):
                    acquire(db.connect("writer"))
            superuser.execute(f"revoke {name} from {writer}")
    finally:
        superuser.execute(f"drop role {name}")


def test_the_output_that_is_pinned_is_that_of_the_producer_s_end_in_the_same_run(db: Database) -> None:
    writer, first, second = db.connect("writer"), uuid.uuid4(), uuid.uuid4()
    runs = {(PAIR, first): "out-1", (PAIR, second): "out-2", ("shop.other", first): "out-3"}
    for code in (PAIR, "shop.other"):
        define(db, code, pins_output=True)
    for (code, run_id), output in runs.items():
        said = {"process_candidate_code": code}
        observe_run(writer, process_run_id=run_id, **said)
        observe_component(writer, run_id, "producer", status="started", output_ref="draft", **said)
        observe_component(writer, run_id, "producer", output_ref=output, **said)
    for (code, run_id), output in runs.items():
        for other in {"draft", *runs.values()} - {output}:
            with refused("23514", "process_component_observation_pinned_output_check", f"output_ref is {output},"):
                observe_component(writer, run_id, "verifier", input_ref=other, process_candidate_code=code)
        observe_component(writer, run_id, "verifier", input_ref=output, process_candidate_code=code)
    begun = observe_run(writer)["process_run_id"]
    observe_component(writer, begun, "producer", status="started", output_ref="draft")
    with refused("23514", "process_component_observation_pinned_output_check", "output_ref is not stored,"):
        observe_component(writer, begun, "verifier", input_ref="draft")
    owner = db.session("owner")  # past the functions
    store_component(owner, begun, "verifier", at=1, evidence_type="SIMULATED_DRY_RUN", output_ref="report")
    with refused("23514", "process_component_observation_pinned_output_check", "output_ref is not stored,"):
        observe_component(writer, begun, "verifier", input_ref="report")


def test_a_pinned_output_is_what_the_verifier_looked_at(db: Database, subtests: pytest.Subtests) -> None:
    define(db, PAIR, pins_output=True)
    define_pair(db, "shop.free")
    writer = db.connect("writer")
    run_id, blind = observe_run(writer)["process_run_id"], observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "producer", output_ref="today")
    observe_component(writer, blind, "producer")
    before = ledger_counts(db)
    for status in ("completed", "failed"):
        for run, looked_at in ((run_id, "yesterday"), (run_id, None), (blind, "today"), (blind, None)):
            for record in (
                partial(observe_component, writer, run, "verifier", status=status, input_ref=looked_at),
                lambda: batch(writer, [part_line(run, "verifier", status=status, input_ref=looked_at)], atomic=True),  # noqa: B023  it is called at once
            ):
                with (
                    subtests.test(status=status, looked_at=looked_at),
                    refused("23514", "process_component_observation_pinned_output_check", str(looked_at or "NULL")),
                ):
                    record()
    with refused("23514", "process_component_observation_pinned_output_check", "today"):
        _pair(writer, run_id, producer_output_ref="today", verifier_input_ref="yesterday")
    assert ledger_counts(db) == before
    observe_component(writer, run_id, "verifier", status="started")
    observe_component(writer, run_id, "verifier", input_ref="today")
    observe_component(writer, blind, "verifier", status="skipped")
    _pair(writer, run_id, producer_output_ref="today", verifier_input_ref="today")
    free = observe_run(writer, process_candidate_code="shop.free")["process_run_id"]
    for role in ("producer", "verifier"):
        observe_component(writer, free, role, process_candidate_code="shop.free", input_ref=role, output_ref=role)


def caveats(db: Database) -> tuple[list[str], bool, bool]:
    seen = row(
        db.connect("reader"),
        "select caveats, verified, independently_verified from dot.v_process_verification_v3"
        " where process_candidate_code = %s",
        PAIR,
    )
    by_run = row(
        db.connect("reader"),
        "select v.caveats, v.verified, v.independently_verified from dot.v_process_run_verification_v3 v"
        " order by v.observed_at desc limit 1",
    )
    assert seen == by_run
    return seen["caveats"], seen["verified"], seen["independently_verified"]


def test_a_verified_run_says_what_a_stranger_would_ask(db: Database) -> None:
    ready_for_real_runs(db)
    writer, other = db.connect("writer"), db.connect("operator")

    def run(producer_refs: dict[str, str], verifier_refs: dict[str, str], verifier: Connection) -> None:
        token = acquire(writer)
        run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
        observe_component(writer, run_id, "producer", lease_token=token, **producer_refs)
        if verifier is not writer:
            writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
            token = acquire(verifier)
        observe_component(verifier, run_id, "verifier", lease_token=token, **verifier_refs)
        if verifier is not writer:
            verifier.execute(
                "select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token)
            )

    for producer_refs, verifier_refs, verifier, said in (
        ({"output_ref": "today"}, {"input_ref": "yesterday"}, writer, ["same_session_actor", "other_output"]),
        ({"output_ref": "today"}, {"input_ref": "yesterday"}, other, ["other_output"]),
        ({"output_ref": "today"}, {}, other, ["output_not_named"]),
        ({}, {"input_ref": "today"}, other, ["output_not_named"]),
        ({}, {}, writer, ["same_session_actor", "output_not_named"]),
        ({"output_ref": "today"}, {"input_ref": "today"}, writer, ["same_session_actor"]),
        ({"output_ref": "today"}, {"input_ref": "today"}, other, []),
    ):
        run(producer_refs, verifier_refs, verifier)
        assert caveats(db) == (said, True, not said)


def test_a_run_that_is_not_verified_has_reasons_and_no_caveats(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    assert caveats(db) == ([], False, False)
    observe_component(writer, run_id, "verifier", status="failed", lease_token=token)
    assert caveats(db) == ([], False, False)


@pytest.mark.parametrize(
    ("age", "said"),
    [
        ("1 hour", []),
        ("1 microsecond", ["older_than_max_age"]),
        # PostgreSQL takes these for equal to a day and a microsecond. By the calendar they are 525 days, forwards and back.
        ("-1200 months 36001 days", []),
        ("1200 months -36000 days 1 microsecond", ["older_than_max_age"]),
    ],
)
def test_a_verification_grows_older_than_its_definition_allows(db: Database, age: str, said: list[str]) -> None:
    define(db, PAIR, max_age=age)
    set_gates(db)
    attest(db)
    writer, other = db.connect("writer"), db.connect("operator")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token, output_ref="out")
    writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
    observe_component(other, run_id, "verifier", lease_token=acquire(other), input_ref="out")
    assert caveats(db) == (said, True, not said)


def newest(db: Database, *codes: str) -> dict[str, str | None]:
    seen = rows(db.connect("reader"), "select process_candidate_code, superseded_by from dot.v_process_verification_v3")
    found = {one["process_candidate_code"]: one["superseded_by"] for one in seen}
    assert found == {code: defined(db, code)["superseded_by"] for code in codes}
    return found


def test_a_chain_without_times_is_in_the_order_of_its_definitions(db: Database) -> None:
    define(db, "v1")
    define(db, "v2", supersedes="v1")
    define(db, "v3", supersedes="v1")
    assert newest(db, "v1", "v2", "v3") == {"v1": "v3", "v2": "v3", "v3": None}
    define(db, "v4", supersedes="v2")
    assert newest(db, "v1", "v2", "v3", "v4") == {"v1": "v4", "v2": "v4", "v3": "v4", "v4": None}
    positions = "select array_agg(chain_position order by code) from dot.process_candidate"
    assert value(db.session("owner"), positions) == [1, 2, 3, 4]


def test_a_chain_with_times_is_in_their_order_whoever_came_first(db: Database) -> None:
    define(db, "march", source_time="2026-03-01T00:00:00Z")
    define(db, "january", supersedes="march", source_time="2026-01-01T00:00:00Z")
    assert newest(db, "march", "january") == {"march": None, "january": "march"}
    define(db, "april", supersedes="january", source_time="2026-04-01T00:00:00Z")
    assert newest(db, "march", "january", "april") == {"march": "april", "january": "april", "april": None}


@pytest.mark.parametrize("otherwise", [False, True], ids=["the same", "otherwise"])
def test_of_two_that_define_a_candidate_at_once_the_second_is_told_of_the_first(db: Database, otherwise: bool) -> None:
    define(db, "shop.another", pins_output=True)
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    first.execute("begin")
    assert define_in(first, PAIR)
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(define_in, second, PAIR, pins_output=otherwise), pool, db)
        first.execute("commit")
        if otherwise:
            with refused("23505", "process_candidate_pair_conflict", "Differing fields: pins_output."):
                late.result()
        else:
            assert late.result() is False


def test_of_two_that_supersede_one_candidate_at_once_the_second_comes_after_the_first(db: Database) -> None:
    define(db, "v1")
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    first.execute("begin")
    assert define_in(first, "v2", supersedes="v1")
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(define_in, second, "v3", supersedes="v1"), pool, db)
        first.execute("commit")
        assert late.result() is True
    assert newest(db, "v1", "v2", "v3") == {"v1": "v3", "v2": "v3", "v3": None}


def test_a_successor_whose_place_is_taken_past_the_functions_is_to_be_retried(db: Database) -> None:
    define(db, "v1")
    owner, cataloguer = db.connect("owner"), db.connect("cataloguer")
    stored = row(owner, "select * from dot.process_candidate") | {"code": "v2", "supersedes": "v1", "chain_position": 2}
    owner.execute("begin")
    owner.execute(
        f"insert into dot.process_candidate ({', '.join(stored)}) values ({', '.join(['%s'] * len(stored))})",
        tuple(stored.values()),
    )
    with ThreadPoolExecutor(1) as pool:
        late = waiting(cataloguer, partial(define_in, cataloguer, "v3", supersedes="v1"), pool, db)
        owner.execute("commit")
        with refused("40001"):
            late.result()


def test_a_definition_waits_for_none_in_another_chain(db: Database) -> None:
    for code in ("one", "two"):
        define(db, code)
    first, second = db.connect("cataloguer"), db.connect("cataloguer")
    first.execute("begin")
    assert define_in(first, "one.a", supersedes="one")
    second.execute("set lock_timeout = '1s'")
    assert define_in(second, "two.a", supersedes="two")


def test_a_candidate_that_is_defined_again_keeps_the_time_of_its_source(db: Database) -> None:
    define(db, "v1")
    define(db, "v2", supersedes="v1")
    assert define(db, "v2", supersedes="v1", source_time="2026-03-01T00:00:00Z") is False
    assert defined(db, "v2")["source_time"] is None


@pytest.mark.parametrize("changed", ["the candidate is superseded", "the DOT leaves the catalogue"])
def test_what_changes_while_a_real_run_waits_for_the_latch_is_seen(db: Database, changed: str) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    token = acquire(writer)
    owner.execute("begin")
    owner.execute("lock table dot.gate_latch in exclusive mode")
    real = partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)
    with ThreadPoolExecutor(1) as pool:
        run = waiting(writer, real, pool, db)
        if changed == "the candidate is superseded":
            define(db, "shop.next", supersedes=PAIR)
        else:
            db.connect("owner").execute("delete from dot.dot_tools where code = %s", (PRODUCER,))
        owner.execute("commit")
        with refused(
            *{
                "the candidate is superseded": ("23514", "process_run_observation_superseded_check"),
                "the DOT leaves the catalogue": ("40001",),
            }[changed]
        ):
            run.result()
    assert value(owner, "select count(*) from dot.process_run_observation") == 0


def test_a_dot_that_leaves_the_catalogue_while_a_part_of_a_real_run_waits_for_the_latch_is_seen(db: Database) -> None:
    ready_for_real_runs(db)
    writer, owner = db.connect("writer"), db.connect("owner")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    owner.execute("begin")
    owner.execute("lock table dot.gate_latch in exclusive mode")
    with ThreadPoolExecutor(1) as pool:
        part = waiting(writer, partial(observe_component, writer, run_id, "producer", lease_token=token), pool, db)
        db.connect("owner").execute("delete from dot.dot_tools where code = %s", (PRODUCER,))
        owner.execute("commit")
        with refused("40001"):
            part.result()
    assert value(owner, "select count(*) from dot.process_component_observation") == 0


def test_a_superseded_candidate_takes_simulations_and_no_dry_or_real_run(db: Database) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    begun = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    define(db, "shop.next", supersedes=PAIR)
    before = ledger_counts(db)
    for evidence_type in ("DRY_RUN", "REAL_RUN"):
        with refused("23514", "process_run_observation_superseded_check", "The newest of its chain is shop.next."):
            observe_run(writer, evidence_type=evidence_type, lease_token=token)
    assert ledger_counts(db) == before
    assert observe_run(writer)["created"]
    observe_component(writer, begun, "producer", lease_token=token)  # a run in flight goes to its end
    assert observe_run(
        writer,
        evidence_type="REAL_RUN",
        process_candidate_code="shop.next",
        lease_token=acquire(writer, "shop.next"),
    )["created"]
