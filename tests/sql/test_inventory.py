"""Document 02's inventory and the funnel, on a database that holds document 02's figures."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support import Connection, Database, row, rows, set_gates, value
from support.ledgers import moment, store_candidate, store_component, store_run

DOTS, WITH_PATH, AGENT_API, COMMAND_RUNS, REFUSED = 303, 119, 103, 55, 9

AGENT, SCRIPT, COMMANDS, QUEUE, SCHEDULER, ENDPOINT = (
    "dot_tools engine agent_api",
    "DOT runner script (script_path/file_path)",
    "dot_iu_command_run + fn_dot_iu_command_log",
    "job_queue + worker",
    "cron / dual triggers",
    "API endpoint",
)
ANSWERS = (
    "mechanism_exists",
    "can_inject_process_run_id",
    "can_dry_run",
    "avoids_mutation",
    "logs_observation",
    "emits_events",
)

# Document 02, row by row: the answers, the verdict, the basis. What SQL cannot see is not known before it is attested.
MEASURED: dict[str, tuple[tuple[str | None, ...], str, str]] = {
    AGENT: (
        ("declared only", "no wiring", "no plan mode", "unbounded", "no", "no"),
        "DECLARED, NEVER INVOKED",
        "measured",
    ),
    SCRIPT: (
        ("119/303 have a path", "n/a", "n/a", "n/a", "n/a", "n/a"),
        "NO RUNNER binds these to execution; usage_count 0 everywhere",
        "measured",
    ),
    COMMANDS: (
        ("LIVE (55 rows)", "NO", "YES", "YES", "YES", "no"),
        "IU-COMMAND layer, not DOT layer: wrong grain",
        "measured",
    ),
    QUEUE: (("table LIVE; worker off", "partial", "n/a", "n/a", "n/a", "n/a"), "OFF", "measured"),
}
UNSEEN: tuple[tuple[str | None, ...], str, str] = ((None,) * 6, "NOT OBSERVABLE HERE", "not observable")


@pytest.fixture
def document_02(db: Database) -> Database:
    """303 DOTs, 119 with a path, no usage, one shared last_executed; 55 logged commands, refused ones among them."""
    owner = db.session("owner")
    owner.execute(
        "insert into dot.dot_tools (code, category, execution_engine, script_path, file_path, trigger_type, usage_count,"
        " last_executed)"
        " select 'DOT_' || n,"
        "     case when n <= %(agent)s then 'KG' else 'OPS' end,"
        "     case when n <= %(agent)s then 'agent_api' when n > %(dots)s - %(paths)s then 'script' else 'manual' end,"
        "     case when n > %(dots)s - %(paths)s and n %% 3 > 0 then 'scripts/' || n || '.sh' end,"
        "     case when n > %(dots)s - %(paths)s and n %% 3 < 2 then 'files/' || n || '.py' end,"
        "     case n %% 4 when 0 then 'cron' when 1 then 'dual' end,"
        "     case when n %% 2 = 0 then 0 end,"
        "     timestamptz '2026-03-01 04:05:06Z'"
        " from generate_series(1, %(dots)s) as n",
        {"dots": DOTS, "paths": WITH_PATH, "agent": AGENT_API},
    )
    owner.execute(
        "insert into dot.dot_iu_command_run (mutating, command_name, run_mode, run_status, actor, session_actor)"
        " select n %% 2 = 0, 'iu.command.' || n %% 7, (array['plan', 'verify', 'apply'])[n %% 3 + 1],"
        "     case when n <= %s then 'refused' else 'completed' end, 'operator', 'host'"
        " from generate_series(1, %s) as n",
        (REFUSED, COMMAND_RUNS),
    )
    owner.execute("insert into dot.job_queue (job_type, status, actor) values ('cut', 'done', 'host')")
    return db


@contextmanager
def undone(owner: Connection) -> Iterator[Callable[[], Connection]]:
    """One case of a matrix: the owner changes something, reads on as dot_reader, and nothing of it stays."""

    def as_reader() -> Connection:
        owner.execute("set local role dot_reader")
        return owner

    with owner.transaction(force_rollback=True):
        yield as_reader


def inventory(reader: Connection) -> dict[str, dict[str, Any]]:
    found = rows(reader, "select * from dot.v_dot_execution_inventory order by position")
    return {one["mechanism"]: one for one in found}


def said(one: dict[str, Any]) -> tuple[tuple[str | None, ...], str, str]:
    return tuple(one[answer] for answer in ANSWERS), one["verdict"], one["basis"]


def funnel(reader: Connection, dot: str) -> tuple[bool, ...]:
    """Declared, invoked, observed, simulated, verified."""
    words = "declared, invoked, observed, simulated, verified"
    return tuple(row(reader, f"select {words} from dot.v_dot_funnel where dot_code = %s", dot).values())


def total(reader: Connection) -> dict[str, int]:
    return row(reader, "select * from dot.v_dot_funnel_total")


def mechanism_attest(db: Database, mechanism: str, present: bool, finding: str, actor: str = "auditor") -> None:
    db.session("gatekeeper").execute(
        "select dot.fn_dot_mechanism_attest(%s, %s, %s, %s)", (mechanism, present, actor, finding)
    )


def test_the_measured_rows_are_document_02s_and_the_others_are_not_observable(document_02: Database) -> None:
    seen = inventory(document_02.session("reader"))
    assert list(seen) == [AGENT, SCRIPT, COMMANDS, QUEUE, SCHEDULER, ENDPOINT]
    assert [one["position"] for one in seen.values()] == [1, 2, 3, 4, 5, 6]
    for mechanism, expected in {**MEASURED, SCHEDULER: UNSEEN, ENDPOINT: UNSEEN}.items():
        assert said(seen[mechanism]) == expected, mechanism
        attestation = [seen[mechanism][column] for column in ("attested_by", "attested_at", "finding")]
        assert attestation == [None, None, None], mechanism


def test_the_figures_behind_each_row_are_document_02s(document_02: Database) -> None:
    with_trigger = sum(1 for number in range(1, DOTS + 1) if number % 4 in (0, 1))
    assert {mechanism: one["figures"] for mechanism, one in inventory(document_02.session("reader")).items()} == {
        AGENT: {"dots": DOTS, "agent_api_dots": AGENT_API, "executed": 0},
        SCRIPT: {"dots": DOTS, "dots_with_path": WITH_PATH, "executed": 0, "executed_dots": 0},
        COMMANDS: {"command_runs": COMMAND_RUNS, "refused": REFUSED, "plan": 18},
        QUEUE: {"jobs": 1, "worker_enabled": False},
        SCHEDULER: {"dots_with_trigger": with_trigger},
        ENDPOINT: {},
    }


def test_what_sql_cannot_see_has_document_02s_verdict_once_it_is_attested(document_02: Database) -> None:
    mechanism_attest(document_02, "scheduler", False, "crontabs of all hosts read: none names a DOT")
    mechanism_attest(document_02, "api_endpoint", False, "routes listed: none executes a DOT", actor="api.owner")
    seen = inventory(document_02.session("reader"))
    assert said(seen[SCHEDULER]) == (
        ("trigger_type metadata only", "no", "no", "no", "no", "no"),
        "NO scheduler binds DOT triggers to execution",
        "attested",
    )
    assert seen[ENDPOINT]["mechanism_exists"] == "none found for DOT execution"
    assert (seen[ENDPOINT]["verdict"], seen[ENDPOINT]["basis"]) == ("ABSENT", "attested")
    stored = rows(
        document_02.session("owner"),
        "select actor, attested_at, finding, session_actor from dot.dot_mechanism_attestation order by attestation_id",
    )
    for mechanism, attestation in zip((SCHEDULER, ENDPOINT), stored, strict=True):
        assert attestation.pop("session_actor") == document_02.login("gatekeeper")
        shown = [seen[mechanism][column] for column in ("attested_by", "attested_at", "finding")]
        assert shown == list(attestation.values()), mechanism
    assert {mechanism: said(seen[mechanism]) for mechanism in MEASURED} == MEASURED


def test_the_newest_attestation_of_a_mechanism_stands(document_02: Database) -> None:
    mechanism_attest(document_02, "scheduler", False, "nothing found")
    mechanism_attest(document_02, "scheduler", True, "a cron job calls DOT_7")
    seen = inventory(document_02.session("reader"))
    assert (seen[SCHEDULER]["verdict"], seen[SCHEDULER]["finding"]) == ("PRESENT", "a cron job calls DOT_7")
    assert seen[SCHEDULER]["mechanism_exists"] == "attested"
    assert said(seen[ENDPOINT]) == UNSEEN
    mechanism_attest(document_02, "scheduler", False, "removed again", actor="second")
    seen = inventory(document_02.session("reader"))
    assert (seen[SCHEDULER]["verdict"], seen[SCHEDULER]["attested_by"]) == (
        "NO scheduler binds DOT triggers to execution",
        "second",
    )


# A change, the row and column it shows in, and what it shows.
CHANGES: list[tuple[str, str, str, object]] = [
    ("update dot.dot_tools set usage_count = 1 where code = 'DOT_1'", AGENT, "verdict", "INVOKED"),
    ("update dot.dot_tools set usage_count = 1 where code = 'DOT_1'", AGENT, "can_inject_process_run_id", None),
    (
        "update dot.dot_tools set usage_count = 1 where code = 'DOT_1'",
        SCRIPT,
        "verdict",
        "NO RUNNER binds these to execution",
    ),
    ("update dot.dot_tools set usage_count = 1 where code = 'DOT_303'", SCRIPT, "verdict", "INVOKED"),
    (
        "update dot.dot_tools set usage_count = 1 where code = 'DOT_303'",
        AGENT,
        "verdict",
        "DECLARED, NEVER INVOKED",
    ),
    ("update dot.dot_tools set usage_count = -1 where code = 'DOT_1'", AGENT, "verdict", "DECLARED, NEVER INVOKED"),
    ("update dot.dot_tools set execution_engine = 'manual'", AGENT, "verdict", "NOT DECLARED"),
    ("update dot.dot_tools set execution_engine = null", AGENT, "mechanism_exists", "no"),
    ("update dot.dot_tools set script_path = null, file_path = null", SCRIPT, "verdict", "NO PATH DECLARED"),
    ("update dot.dot_tools set script_path = null", SCRIPT, "mechanism_exists", "79/303 have a path"),
    ("update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'", QUEUE, "verdict", "ON"),
    ("update dot.dot_config set value = 'TRUE' where key = 'queue.worker.enabled'", QUEUE, "verdict", "OFF"),
    ("update dot.dot_config set value = null where key = 'queue.worker.enabled'", QUEUE, "verdict", "OFF"),
    ("delete from dot.dot_config where key = 'queue.worker.enabled'", QUEUE, "verdict", "OFF"),
    *(
        (f"{change} dot.dot_config {where} key = 'queue.worker.enabled'", QUEUE, column, expected)
        for column, expected in (
            ("mechanism_exists", "table LIVE; worker off"),
            ("figures", {"jobs": 1, "worker_enabled": False}),
        )
        for change, where in (("delete from", "where"), ("update", "set value = null where"))
    ),
    (
        "update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'",
        QUEUE,
        "mechanism_exists",
        "table LIVE; worker on",
    ),
    (
        "alter table dot.job_queue add column process_run_id uuid",
        QUEUE,
        "can_inject_process_run_id",
        "YES",
    ),
    (
        "alter table dot.dot_iu_command_run add column process_run_id uuid",
        COMMANDS,
        "can_inject_process_run_id",
        "YES",
    ),
]


def test_a_measured_row_changes_with_its_figures(document_02: Database) -> None:
    owner = document_02.session("owner")
    for change, mechanism, column, expected in CHANGES:
        with undone(owner) as as_reader:
            owner.execute(change)
            assert inventory(as_reader())[mechanism][column] == expected, change


def test_one_dot_is_enough_to_be_declared(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    for engine, exists, verdict in (
        ("shell", "no", "NOT DECLARED"),
        ("agent_api", "declared only", "DECLARED, NEVER INVOKED"),
    ):
        owner.execute("insert into dot.dot_tools (code, execution_engine) values (%s, %s)", (f"DOT_{engine}", engine))
        seen = inventory(reader)[AGENT]
        assert (seen["mechanism_exists"], seen["verdict"]) == (exists, verdict)


def test_both_ledgers_of_the_host_may_be_keyed_by_the_run(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    keyed = []
    for table, mechanism in (("dot_iu_command_run", COMMANDS), ("job_queue", QUEUE)):
        owner.execute(f"alter table dot.{table} add column process_run_id uuid")
        keyed.append(mechanism)
        seen = inventory(reader)
        assert [one for one in (COMMANDS, QUEUE) if seen[one]["can_inject_process_run_id"] == "YES"] == keyed


def test_a_command_log_shows_what_its_rows_prove_and_no_more(db: Database) -> None:
    empty = inventory(db.session("reader"))[COMMANDS]
    assert said(empty)[0] == ("LIVE (0 rows)", "NO", "not shown", "not shown", "not shown", "no")
    insert = (
        "insert into dot.dot_iu_command_run (mutating, command_name, run_mode, run_status, actor, session_actor)"
        " values (false, 'c', %s, %s, 'a', 's')"
    )
    owner = db.session("owner")
    owner.execute(insert, ("apply", "completed"))
    assert said(inventory(db.session("reader"))[COMMANDS])[0] == (
        "LIVE (1 rows)",
        "NO",
        "not shown",
        "not shown",
        "YES",
        "no",
    )
    owner.execute(insert, ("apply", "refused"))
    assert said(inventory(db.session("reader"))[COMMANDS])[0] == (
        "LIVE (2 rows)",
        "NO",
        "not shown",
        "YES",
        "YES",
        "no",
    )
    owner.execute(insert, ("plan", "completed"))
    assert said(inventory(db.session("reader"))[COMMANDS])[0] == ("LIVE (3 rows)", "NO", "YES", "YES", "YES", "no")


def test_nothing_was_executed_and_a_shared_date_is_reported_as_a_backfill(document_02: Database) -> None:
    assert total(document_02.session("reader")) == {
        "declared_dots": DOTS,
        "executed_dots": 0,
        "observed_dots": 0,
        "simulated_dots": 0,
        "verified_dots": 0,
        "backfilled_dots": DOTS,
    }
    assert funnel(document_02.session("reader"), "DOT_1") == (True, False, False, False, False)


def test_dates_that_differ_are_no_backfill_and_no_date_counts_as_an_invocation(document_02: Database) -> None:
    owner = document_02.session("owner")
    owner.execute("update dot.dot_tools set last_executed = null where code <> 'DOT_1' and code <> 'DOT_2'")
    assert (
        total(document_02.session("reader"))["backfilled_dots"],
        total(document_02.session("reader"))["executed_dots"],
    ) == (0, 0)  # shared by two, not by all
    owner.execute("update dot.dot_tools set last_executed = %s where code = 'DOT_2'", (moment(1),))
    assert (
        total(document_02.session("reader"))["backfilled_dots"],
        total(document_02.session("reader"))["executed_dots"],
    ) == (0, 0)
    owner.execute("update dot.dot_tools set last_executed = null where code = 'DOT_2'")
    assert (
        total(document_02.session("reader"))["backfilled_dots"],
        total(document_02.session("reader"))["executed_dots"],
    ) == (0, 0)


def test_a_date_is_a_backfill_where_at_least_two_dots_share_it(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    for dots in (1, 2, 3):
        owner.execute("insert into dot.dot_tools (code, last_executed) values (%s, %s)", (f"DOT_{dots}", moment(1)))
        found = rows(reader, "select last_executed_is_backfill as backfill from dot.v_dot_funnel")
        assert [one["backfill"] for one in found] == [dots > 1] * dots
    owner.execute("update dot.dot_tools set last_executed = %s where code = 'DOT_2'", (moment(2),))
    found = rows(reader, "select last_executed_is_backfill as backfill from dot.v_dot_funnel")
    assert [one["backfill"] for one in found] == [False] * 3
    owner.execute("update dot.dot_tools set last_executed = %s where code = 'DOT_2'", (moment(1),))
    owner.execute("insert into dot.dot_tools (code) values ('DOT_4')")
    found = rows(reader, "select last_executed_is_backfill as backfill from dot.v_dot_funnel")
    assert [one["backfill"] for one in found] == [False] * 4


def test_a_dot_without_a_code_is_counted_nowhere(db: Database) -> None:
    """The wrapper's catalogue takes none; a host's may."""
    owner, reader = db.session("owner"), db.session("reader")
    owner.execute("insert into dot.dot_tools (code, execution_engine) values ('DOT_1', 'agent_api')")
    text = value(owner, "select rtrim(pg_get_viewdef('dot.v_host_tool'::regclass), ';')")
    null = "null, null::text, 'agent_api'::text, null::text, null::text, null::text, null::bigint, null::timestamptz"
    owner.execute(f"create or replace view dot.v_host_tool as {text} union all select {null}")
    assert inventory(reader)[AGENT]["figures"] == {"dots": 1, "agent_api_dots": 1, "executed": 0}


def test_what_was_recorded_of_one_candidate_says_nothing_of_another_s_dots(db: Database) -> None:
    """Not even under one run id."""
    owner, reader = db.session("owner"), db.session("reader")
    owner.execute("insert into dot.dot_tools (code) select 'DOT_' || n from generate_series(1, 4) as n")
    pairs = {"shop.one": ("DOT_1", "DOT_2"), "shop.two": ("DOT_3", "DOT_4")}
    for code, (producer, verifier) in pairs.items():
        store_candidate(owner, code, producer, verifier)
    for evidence_type in ("SIMULATED_DRY_RUN", "DRY_RUN"):
        for code, (producer, _) in pairs.items():  # the second is never invoked
            said: dict[str, Any] = {"evidence_type": evidence_type, "dot_code": producer}
            run_id = uuid.uuid5(uuid.NAMESPACE_OID, evidence_type)
            store_run(owner, code, run_id=run_id, **said)
            if code == "shop.one":
                store_component(owner, run_id, "producer", code=code, at=1, **said)
    assert funnel(reader, "DOT_1") == (True, True, True, True, False)
    assert funnel(reader, "DOT_3") == (True, False, False, False, False)


def test_a_usage_count_counts_as_an_invocation(document_02: Database) -> None:
    document_02.session("owner").execute("update dot.dot_tools set usage_count = 2 where code in ('DOT_1', 'DOT_303')")
    assert funnel(document_02.session("reader"), "DOT_1") == (True, True, False, False, False)
    assert total(document_02.session("reader"))["executed_dots"] == 2
    owner, reader = document_02.session("owner"), document_02.session("reader")
    for stored_count, shown, invoked in ((None, 0, False), (0, 0, False), (1, 1, True), (-1, -1, False)):
        owner.execute("update dot.dot_tools set usage_count = %s where code = 'DOT_2'", (stored_count,))
        figures = row(reader, "select usage_count, invoked from dot.v_dot_funnel where dot_code = 'DOT_2'")
        assert figures == {"usage_count": shown, "invoked": invoked}


def stored(owner: Connection, evidence_type: str, *roles: str) -> None:
    """One run of (DOT_1, DOT_2) with these roles completed."""
    run_id = store_run(owner, "pair", evidence_type=evidence_type, dot_code="DOT_1")
    for second, role in enumerate(roles, start=1):
        dot = {"producer": "DOT_1", "verifier": "DOT_2"}[role]
        store_component(owner, run_id, role, code="pair", at=second, evidence_type=evidence_type, dot_code=dot)


# A run of (DOT_1, DOT_2), and how far each of them came: declared, invoked, observed, simulated, verified.
CAME: list[tuple[str, tuple[str, ...], tuple[bool, ...], tuple[bool, ...]]] = [
    ("REAL_RUN", (), (True, False, False, False, False), (True, False, False, False, False)),
    (
        "SIMULATED_DRY_RUN",
        ("producer", "verifier"),
        (True, False, False, True, False),
        (True, False, False, True, False),
    ),
    ("DRY_RUN", ("producer", "verifier"), (True, True, True, False, False), (True, False, True, False, False)),
    ("REAL_RUN", ("producer",), (True, True, True, False, False), (True, False, False, False, False)),
    ("REAL_RUN", ("verifier",), (True, False, False, False, False), (True, False, True, False, False)),
    ("REAL_RUN", ("producer", "verifier"), (True, True, True, False, True), (True, False, True, False, True)),
    ("REAL_RUN", ("verifier", "producer"), (True, True, True, False, False), (True, False, True, False, False)),
]


def test_how_far_a_dot_came_is_told_by_its_observations(document_02: Database) -> None:
    owner = document_02.session("owner")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    for evidence_type, roles, producer, verifier in CAME:
        case = (evidence_type, roles)
        with undone(owner) as as_reader:
            stored(owner, evidence_type, *roles)
            reader = as_reader()
            assert (funnel(reader, "DOT_1"), funnel(reader, "DOT_2")) == (producer, verifier), case
            assert funnel(reader, "DOT_3") == (True, False, False, False, False), case
            _, executed, observed, simulated, verified = (sum(both) for both in zip(producer, verifier, strict=True))
            figures = total(reader)
            assert (figures["executed_dots"], figures["observed_dots"]) == (executed, observed), case
            assert (figures["simulated_dots"], figures["verified_dots"]) == (simulated, verified), case
            invoked = "INVOKED" if executed else "DECLARED, NEVER INVOKED"
            assert inventory(reader)[AGENT]["verdict"] == invoked, case


def test_a_component_of_one_role_shows_nothing_of_the_other_s_dot(document_02: Database) -> None:
    owner, reader = document_02.session("owner"), document_02.session("reader")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    stored(owner, "SIMULATED_DRY_RUN", "producer")
    assert (funnel(reader, "DOT_1"), funnel(reader, "DOT_2")) == (
        (True, False, False, True, False),
        (True,) + (False,) * 4,
    )
    stored(owner, "REAL_RUN", "producer")
    assert (funnel(reader, "DOT_1"), funnel(reader, "DOT_2")) == (
        (True, True, True, True, False),
        (True,) + (False,) * 4,
    )


def test_a_real_run_observes_the_dots_of_its_own_components_alone(document_02: Database) -> None:
    owner = document_02.session("owner")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    store_candidate(owner, "another", "DOT_1", "DOT_2")
    stored(owner, "SIMULATED_DRY_RUN", "producer", "verifier")
    empty = store_run(owner, "pair", dot_code="DOT_1")  # a header without a component
    other = store_run(owner, "another", dot_code="DOT_1", run_id=empty)  # the same id is another candidate's run
    assert other == empty
    reader = document_02.session("reader")
    for dot in ("DOT_1", "DOT_2"):
        assert funnel(reader, dot) == (True, False, False, True, False)


def test_many_simulations_of_a_dot_are_shown_as_one_is(document_02: Database) -> None:
    owner = document_02.session("owner")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    for _ in range(2):
        stored(owner, "SIMULATED_DRY_RUN", "producer", "verifier")
    for dot in ("DOT_1", "DOT_2"):
        assert funnel(document_02.session("reader"), dot) == (True, False, False, True, False)


def test_a_dot_in_many_roles_and_runs_came_as_far_as_the_best_of_them(document_02: Database) -> None:
    owner = document_02.session("owner")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    for evidence_type, roles in (
        ("SIMULATED_DRY_RUN", ("producer", "verifier")),
        ("DRY_RUN", ("producer", "verifier")),
        ("REAL_RUN", ("producer",)),
    ):
        stored(owner, evidence_type, *roles)
    reader = document_02.session("reader")
    assert funnel(reader, "DOT_1") == (True, True, True, True, False)
    assert funnel(reader, "DOT_2") == (True, False, True, True, False)
    store_candidate(owner, "another", "DOT_3", "DOT_1")
    run_id = store_run(owner, "another", dot_code="DOT_3")
    for at, (role, dot) in enumerate((("producer", "DOT_3"), ("verifier", "DOT_1")), start=1):
        store_component(owner, run_id, role, code="another", at=at, dot_code=dot)
    assert funnel(reader, "DOT_1") == (True, True, True, True, True)
    assert funnel(reader, "DOT_2") == (True, False, True, True, False)


def test_a_dot_that_the_catalogue_lost_is_in_no_funnel_and_one_in_two_pairs_is_one_row(document_02: Database) -> None:
    owner = document_02.session("owner")
    store_candidate(owner, "pair", "DOT_1", "DOT_2")
    store_candidate(owner, "pair.2", "DOT_1", "DOT_3")
    store_candidate(owner, "pair.3", "DOT_3", "DOT_1")
    stored(owner, "REAL_RUN", "producer", "verifier")
    owner.execute("delete from dot.dot_tools where code = 'DOT_2'")
    assert funnel(document_02.session("reader"), "DOT_1") == (True, True, True, False, True)
    assert (
        total(document_02.session("reader"))["declared_dots"],
        total(document_02.session("reader"))["verified_dots"],
    ) == (DOTS - 1, 1)


GATE = "select key, value, is_open, is_audited, actor, session_actor, reason from dot.v_dot_gate where key = %s"


def test_a_gate_moved_past_its_function_shows_as_not_audited(db: Database) -> None:
    owner, reader = db.session("owner"), db.session("reader")
    keys = [one["key"] for one in rows(owner, "select key from dot.dot_config order by key")]
    fresh = rows(reader, "select key, value, is_open, is_audited, changed_at from dot.v_dot_gate order by key")
    assert [tuple(one.values()) for one in fresh] == [(key, "false", False, True, None) for key in keys]

    for key in keys:
        set_gates(db, "true", key)
        audited = (key, "true", True, True, "tester", db.login("gatekeeper"), "for a test")
        assert tuple(row(reader, GATE, key).values()) == audited
        for stored_value, is_open in (("false", False), ("TRUE", False), (None, False)):
            owner.execute("update dot.dot_config set value = %s where key = %s", (stored_value, key))
            assert tuple(row(reader, GATE, key).values()) == (key, stored_value, is_open, False, *audited[4:])
        owner.execute("delete from dot.dot_config where key = %s", (key,))
        assert tuple(row(reader, GATE, key).values()) == (key, None, False, False, *audited[4:])
        set_gates(db, "false", key)
        assert tuple(row(reader, GATE, key).values()) == (key, "false", False, True, *audited[4:])
        owner.execute("update dot.dot_config set value = 'true' where key = %s", (key,))
        assert tuple(row(reader, GATE, key).values()) == (key, "true", False, False, *audited[4:])


def test_the_move_of_one_gate_says_nothing_of_another(db: Database) -> None:
    set_gates(db, "true", "process_dot_runtime.execute_enabled")
    found = rows(db.session("reader"), "select key from dot.v_dot_gate where actor is not null or not is_audited")
    assert [one["key"] for one in found] == ["process_dot_runtime.execute_enabled"]


def test_a_gate_opened_before_any_audit_shows_as_not_audited(db: Database) -> None:
    db.session("owner").execute("update dot.dot_config set value = 'true'")
    found = rows(db.session("reader"), "select is_open, is_audited, actor from dot.v_dot_gate")
    assert [tuple(one.values()) for one in found] == [(False, False, None)] * 4
    assert value(db.session("owner"), "select count(*) from dot.dot_config_audit") == 0
