"""Both ledgers: one exception class per refusal, and a retry of exactly what is safe to repeat."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dot_wrapper.client import calls, database, errors
from dot_wrapper.client.caller_path import AsyncRun, Run
from dot_wrapper.client.calls import Call, Pair
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.proving.prepared import PREPARED
from support import GATES, PAIR, PRODUCER, VERIFIER, Database, acquire, define_pair, ready_for_real_runs, rows, value
from support.flavors import Flavor


@pytest.fixture
def ledger(db: Database, flavor: Flavor) -> Iterator[Any]:
    with flavor.ledger(lambda: flavor.connect(db.url_as("operator"))) as opened:
        yield opened


def header(ledger: Any, **replaced: Any) -> Any:
    """A legal header, or one with some arguments replaced."""
    return ledger.observe_run(
        **{
            "process_candidate_code": PAIR,
            "dot_code": PRODUCER,
            "process_run_id": uuid.uuid4(),
            "correlation_id": "corr-1",
            "evidence_type": "SIMULATED_DRY_RUN",
            "status": "started",
            "actor": "tester",
            **replaced,
        }
    )


def begin(ledger: Any, candidate: str, **replaced: Any) -> Any:
    return ledger.begin_run(
        **{
            "process_candidate_code": candidate,
            "dot_code": PRODUCER,
            "process_run_id": uuid.uuid4(),
            "correlation_id": "corr-1",
            "evidence_type": "SIMULATED_DRY_RUN",
            "actor": "tester",
            "holder": "worker",
            "ttl_seconds": 60,
            **replaced,
        }
    )


def component(ledger: Any, run_id: uuid.UUID, **replaced: Any) -> Any:
    return ledger.observe_component(
        **{
            "process_candidate_code": PAIR,
            "dot_code": VERIFIER,
            "process_run_id": run_id,
            "correlation_id": "corr-1",
            "component_role": "verifier",
            "status": "completed",
            "actor": "tester",
            **replaced,
        }
    )


def test_each_refusal_is_its_own_class_with_sqlstate_and_constraint(db: Database, ledger: Any) -> None:
    ready_for_real_runs(db)
    run_id = header(ledger, idempotency_key="k").process_run_id
    component(ledger, run_id)
    assert ledger.acquire_lease(PAIR, "other", 60) == 1
    for code, asked in (
        ("shop.roles", {"producer_role": "dot_owner", "verifier_role": "dot_owner"}),
        ("shop.first", {}),
        ("shop.second", {"supersedes": "shop.first", "pins_output": True}),
    ):
        assert ledger.define_candidate(code, PRODUCER, VERIFIER, "tester", **asked)
    pinned = header(ledger, process_candidate_code="shop.second")
    known: list[tuple[Callable[[], object], type[errors.Refusal], str, str]] = [
        (lambda: header(ledger, actor=None), errors.MissingInput, "23502", "process_run_observation_actor_not_null"),
        (lambda: header(ledger, actor="a b"), errors.InvalidInput, "23514", "process_run_observation_actor_check"),
        (
            lambda: header(ledger, dot_code="x"),
            errors.UnknownReference,
            "23503",
            "process_run_observation_dot_code_fkey",
        ),
        (lambda: header(ledger, evidence_type="REAL_RUN"), errors.LeaseNotLive, "23514", "lease_live_check"),
        (
            lambda: header(ledger, idempotency_key="k", output_ref="x"),
            errors.PayloadMismatch,
            "23505",
            "idempotency_payload_mismatch",
        ),
        (
            lambda: header(ledger, process_run_id=run_id),
            errors.DuplicateObservation,
            "23505",
            "process_run_observation_pkey",
        ),
        (
            lambda: component(ledger, run_id, status="failed"),
            errors.DuplicateObservation,
            "23505",
            "process_component_observation_terminal_key",
        ),
        (
            lambda: ledger.call(
                "dot_cataloguer",
                "fn_process_candidate_define",
                {"code": PAIR, "producer_dot_code": VERIFIER, "verifier_dot_code": PRODUCER, "actor": "tester"},
            ),
            errors.DefinitionConflict,
            "23505",
            "process_candidate_pair_conflict",
        ),
        (lambda: begin(ledger, PAIR), errors.LeaseHeld, "23514", "lease_held"),
        (
            lambda: begin(ledger, "shop.roles"),
            errors.NotTheWriter,
            "23514",
            "dot_iu_runtime_lease_role_check",
        ),
        (
            lambda: header(ledger, process_candidate_code="shop.roles"),
            errors.NotTheWriter,
            "23514",
            "process_candidate_producer_role_check",
        ),
        (
            lambda: begin(ledger, "shop.first", evidence_type="REAL_RUN"),
            errors.Superseded,
            "23514",
            "process_run_observation_superseded_check",
        ),
        (
            lambda: component(ledger, pinned.process_run_id, process_candidate_code="shop.second"),
            errors.OtherOutput,
            "23514",
            "process_component_observation_pinned_output_check",
        ),
    ]
    for attempt, kind, sqlstate, constraint in known:
        with pytest.raises(errors.Refusal) as refused:
            attempt()
        assert type(refused.value) is kind, constraint
        assert (refused.value.sqlstate, refused.value.constraint) == (sqlstate, constraint)
        assert refused.value.hint, constraint


def test_a_conflict_names_what_is_defined_otherwise(db: Database, ledger: Any) -> None:
    define_pair(db)
    with pytest.raises(errors.DefinitionConflict) as refused:
        ledger.define_candidate(PAIR, PRODUCER, VERIFIER, "tester", pins_output=True, max_age=timedelta(days=7))
    assert refused.value.fields == ("pins_output", "max_age")
    assert ledger.define_candidate(PAIR, PRODUCER, VERIFIER, "tester") is False


def test_a_run_that_is_begun_again_is_the_same_run_under_a_new_token(db: Database, ledger: Any) -> None:
    ready_for_real_runs(db)
    first = begin(ledger, PAIR, evidence_type="REAL_RUN", idempotency_key="today")
    again = begin(ledger, PAIR, evidence_type="REAL_RUN", idempotency_key="today")
    assert (first.observed.created, again.observed.created) == (True, False)
    assert again.observed.process_run_id == first.observed.process_run_id
    assert (first.lease_token, again.lease_token) == (1, 2)
    assert sorted(first.open_gates) == sorted(GATES)
    assert {one["check_name"]: one["verdict"] for one in first.preflight} == dict.fromkeys(
        ("fs_snapshot_present", "gates_readable", "catalogue_present", "lease_table_usable"), "PASS"
    )


def test_a_time_without_a_zone_is_refused_before_it_is_sent(db: Database, ledger: Any) -> None:
    define_pair(db)
    naive = datetime(2026, 11, 21, 9)
    attempts: list[Callable[[], object]] = [
        lambda: header(ledger, occurred_at=naive),
        lambda: component(ledger, uuid.uuid4(), occurred_at=naive),
        lambda: ledger.define_candidate("shop.timed", PRODUCER, VERIFIER, "tester", source_time=naive),
    ]
    for call in attempts:
        with pytest.raises(errors.InvalidInput, match="has no time zone"):
            call()


def test_a_standby_is_no_closed_gate() -> None:
    assert errors.of_sqlstate("25006", "gate_primary_check") is errors.ReadOnlyDatabase
    assert errors.of_sqlstate("25000", "gate_isolation_check") is errors.Refusal
    assert errors.of_sqlstate("25000", "gate_commit_check") is errors.Refusal


@pytest.mark.parametrize("text", ["nul\0byte", "half a pair \ud800"])
def test_what_cannot_even_be_sent_is_invalid_input(db: Database, ledger: Any, text: str) -> None:
    define_pair(db)
    calls_of_text: list[tuple[str, Callable[[], object]]] = [
        ("actor", lambda: header(ledger, actor=text)),
        ("code", lambda: ledger.pair(text)),
        ("key", lambda: ledger.call("dot_gatekeeper", "fn_dot_config_set", {"key": text})),
    ]
    for named, call in calls_of_text:
        with pytest.raises(errors.InvalidInput, match=f"^{named} has a character that PostgreSQL cannot store"):
            call()


def test_an_argument_of_another_type_is_invalid_input_and_named(db: Database, ledger: Any) -> None:
    """PostgreSQL would say that there is no such function, as where the wrapper is not installed."""
    define_pair(db)
    wrong: dict[str, object] = {
        "actor": 5,
        "correlation_id": uuid.uuid4(),
        "status": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "process_run_id": 7,
        "idempotency_key": b"key",
        "lease_token": True,
        "occurred_at": "2026-11-21T09:00:00Z",
        "evidence_ref": ["a"],
    }
    for name, given in wrong.items():
        for observe in (header, partial(component, run_id=uuid.uuid4())):
            with pytest.raises(errors.InvalidInput, match=f"^{name} is of type {type(given).__name__}, not "):
                observe(ledger, **{name: given})
    others: list[tuple[str, Callable[[], object]]] = [
        ("ttl_seconds", lambda: ledger.acquire_lease("shop.pair", "tester", "60")),
        ("token", lambda: ledger.release_lease("shop.pair", "tester", "1")),
        ("pins_output", lambda: ledger.define_candidate("a", PRODUCER, VERIFIER, "tester", pins_output="yes")),
        ("max_age", lambda: ledger.define_candidate("a", PRODUCER, VERIFIER, "tester", max_age=7)),
        ("category", lambda: ledger.register_dot("a", category=1)),
        ("detail", lambda: ledger.log_command("a", "b", "c", "tester", detail="d")),
    ]
    for name, call in others:
        with pytest.raises(errors.InvalidInput, match=f"^{name} is of type "):
            call()
    with pytest.raises(errors.InvalidInput, match=r"^token is an integer of more than 64 bits"):
        ledger.release_lease("shop.pair", "tester", 2**63)
    assert header(ledger, process_run_id=str(uuid.uuid4())).created, "an id may be text"


def test_a_login_without_the_role_is_told_so(db: Database, flavor: Flavor) -> None:
    with (
        flavor.ledger(lambda: flavor.connect(db.url_as("outsider"))) as ledger,
        pytest.raises(errors.NotPermitted) as refused,
    ):
        header(ledger)
    assert refused.value.hint


def test_a_database_without_the_wrapper_says_how_to_install_it(empty_url: str, flavor: Flavor) -> None:
    with flavor.ledger(lambda: flavor.connect(empty_url)) as ledger, pytest.raises(errors.NotInstalled) as refused:
        ledger.open_gates()
    assert "dot-wrapper upgrade" in str(refused.value.hint)


def test_a_server_that_is_not_there_is_unavailable(flavor: Flavor) -> None:
    with (
        flavor.ledger(lambda: flavor.connect("postgresql://x@/x?host=/nonexistent")) as ledger,
        pytest.raises(errors.DatabaseUnavailable) as refused,
    ):
        ledger.open_gates()
    assert refused.value.sqlstate is None


def test_an_unknown_candidate_is_an_unknown_reference(ledger: Any) -> None:
    with pytest.raises(errors.UnknownReference):
        ledger.pair("not.known")


def test_the_role_ends_with_the_transaction(db: Database, ledger: Any) -> None:
    (inside,) = ledger.select("select current_user::text as role", role="dot_writer")
    with database.connect(db.url_as("operator")) as connection:
        with database.transaction(connection, "dot_writer"):
            pass
        after = connection.execute("select current_user").fetchone()
    assert (inside, after) == ({"role": "dot_writer"}, (db.login("operator"),))


LOGIN: Call[tuple[str, str]] = Call(
    "dot_writer", "select current_user::text, current_setting('synchronous_commit')", (), lambda rows: rows[0]
)


@pytest.mark.parametrize(("given", "expected"), [("off", "on"), ("local", "local"), ("on", "on")])
def test_an_acknowledged_write_is_durable_whatever_the_session_says(
    db: Database, flavor: Flavor, given: str, expected: str
) -> None:
    url = make_conninfo(db.url_as("operator"), options=f"-c synchronous_commit={given}")
    with database.connect(url) as own, psycopg.connect(url, autocommit=True) as plain:
        for connection in (own, plain):
            with database.transaction(connection, "dot_writer"):
                assert connection.execute("show synchronous_commit").fetchone() == (expected,)
        assert plain.execute("show synchronous_commit").fetchone() == (given,)
    with flavor.ledger(lambda: flavor.connect(url)) as ledger:
        assert ledger.run(LOGIN) == (db.login("operator"), expected)


def test_a_call_is_made_as_its_role_where_the_login_does_not_inherit_it_or_has_every_right(
    db: Database, flavor: Flavor, subtests: pytest.Subtests
) -> None:
    login = psycopg.sql.Identifier(db.login("operator"))
    with db.connect("superuser") as admin:
        admin.execute(psycopg.sql.SQL("alter role {} noinherit").format(login))
        if admin.info.server_version >= 160000:  # where a grant says it
            admin.execute(psycopg.sql.SQL("grant dot_writer to {} with inherit false").format(login))
    try:
        for who, url in (("operator", db.url_as("operator")), ("owner", db.url_as("owner")), ("superuser", db.url)):
            connect = partial(flavor.connect, url)
            with subtests.test(who), flavor.ledger(connect) as ledger:
                assert ledger.run(LOGIN)[0] == "dot_writer"
    finally:
        with db.connect("superuser") as admin:
            admin.execute(psycopg.sql.SQL("alter role {} inherit").format(login))
            if admin.info.server_version >= 160000:
                admin.execute(psycopg.sql.SQL("grant dot_writer to {} with inherit true").format(login))


def test_a_session_that_found_no_schema_does_not_call_a_foreign_one(
    pytestconfig: pytest.Config, db: Database, flavor: Flavor
) -> None:
    with pytestconfig.stash[PREPARED].database() as empty:
        name = conninfo_to_dict(empty)["dbname"]
        url = make_conninfo(db.url_as("operator"), dbname=name)
        with flavor.ledger(lambda: flavor.connect(url)) as ledger:
            with pytest.raises(errors.NotInstalled):
                ledger.preflight()
            with psycopg.connect(empty, autocommit=True) as admin:
                admin.execute(
                    "create schema dot; create function dot.fn_preflight_guard(out check_name text, out verdict text, out detail text)"
                    " language sql as 'select null, null, null'"
                )
                admin.execute("grant usage on schema dot to public")
            with pytest.raises(errors.ForeignSchema):
                ledger.preflight()


class Flaky:
    """Connections of which the first few are lost right after the server has committed a call."""

    def __init__(self, db: Database, flavor: Flavor, cuts: int) -> None:
        self.db, self.flavor, self.cuts, self.opened = db, flavor, cuts, 0

    def __call__(self) -> Any:
        self.opened += 1
        return self.flavor.connect(self.db.url_as("operator"), cut=self.opened <= self.cuts)


def test_a_lost_acknowledgement_is_repeated_with_the_same_key_and_stores_once(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    with flavor.ledger(Flaky(db, flavor, cuts=2)) as ledger:
        run = header(ledger, idempotency_key="k")
    assert run.created is False  # the first attempt had committed
    stored = rows(db.connect("reader"), "select process_run_id from dot.v_process_run")
    assert [one["process_run_id"] for one in stored] == [run.process_run_id]


def test_a_lost_acknowledgement_without_a_key_is_not_repeated(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    with flavor.ledger(Flaky(db, flavor, cuts=1)) as ledger, pytest.raises(errors.DatabaseUnavailable):
        header(ledger)
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 1


def test_a_ledger_that_is_in_use_says_so_instead_of_losing_a_call(db: Database) -> None:
    define_pair(db)
    with Ledger(lambda: database.connect(db.url_as("operator"))) as ledger:

        def call_again(_connection: psycopg.Connection[Any]) -> None:
            header(ledger)

        with pytest.raises(errors.LedgerInUse):
            ledger.transaction("dot_writer", call_again, repeatable=False)
        assert header(ledger).created  # and it goes on
    assert value(db.connect("reader"), "select count(*) from dot.v_process_run") == 1


def test_a_connection_with_a_transaction_of_its_own_is_refused(db: Database) -> None:
    """A call inside it would be acknowledged and not committed."""
    define_pair(db)

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(db.url_as("operator"))
        connection.execute("select 1")
        return connection

    with Ledger(connect) as ledger, pytest.raises(errors.LedgerInUse, match="in the middle of a transaction"):
        header(ledger)


def test_a_mistake_in_a_query_is_no_lost_server(ledger: Any) -> None:
    with pytest.raises(errors.DotWrapperError) as mistaken:
        ledger.select("select 1 where 1 = %s")
    assert type(mistaken.value) is errors.DotWrapperError


def test_a_statement_that_is_cancelled_says_why(db: Database, flavor: Flavor) -> None:
    url = make_conninfo(db.url_as("operator"), options="-c statement_timeout=100")
    with (
        flavor.ledger(lambda: flavor.connect(url)) as ledger,
        pytest.raises(errors.StatementCancelled) as cancelled,
    ):
        ledger.select("select pg_sleep(10)")
    assert "statement_timeout" in str(cancelled.value.hint)


def test_the_retry_is_bounded(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    flaky = Flaky(db, flavor, cuts=100)
    with flavor.ledger(flaky) as ledger:
        ledger.retry_seconds = 0.5
        began = time.monotonic()
        with pytest.raises(errors.DatabaseUnavailable):
            header(ledger, idempotency_key="k")
    assert flaky.opened > 2
    assert time.monotonic() - began >= 0.5, "it gives up when its time is over, and not after some attempts"


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_serialization_failures_are_repeated_and_then_given_up(db: Database, ledger: Any, sqlstate: str) -> None:
    attempts = 0

    def fail(connection: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return connection.execute(f"do $$ begin raise exception using errcode = '{sqlstate}'; end $$")

    ledger.retry_seconds = 0.5
    with pytest.raises(errors.RetryExhausted):
        ledger.transaction("dot_writer", fail, repeatable=False)
    assert attempts > 2


def test_the_time_for_retries_is_the_argument_else_the_environment_s_else_long_enough_for_a_failover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DOT_WRAPPER_RETRY_SECONDS")
    assert Ledger().retry_seconds > 30
    monkeypatch.setenv("DOT_WRAPPER_RETRY_SECONDS", "2.5")
    assert (Ledger().retry_seconds, AsyncLedger().retry_seconds, Ledger().another().retry_seconds) == (2.5, 2.5, 2.5)
    assert (Ledger(retry_seconds=0).retry_seconds, Ledger(retry_seconds=7).another().retry_seconds) == (0, 7)
    for wrong in ("soon", "-1", "nan", "inf", "1e9"):
        monkeypatch.setenv("DOT_WRAPPER_RETRY_SECONDS", wrong)
        with pytest.raises(errors.InputError, match="DOT_WRAPPER_RETRY_SECONDS"):
            Ledger()


def test_a_repeated_call_is_logged_by_its_sqlstate_and_without_what_the_server_said(
    db: Database, flavor: Flavor, caplog: pytest.LogCaptureFixture
) -> None:
    define_pair(db)
    with flavor.ledger(Flaky(db, flavor, cuts=1)) as ledger, caplog.at_level("DEBUG", "dot_wrapper"):
        header(ledger, idempotency_key="k")
    assert [record.getMessage() for record in caplog.records if record.name == "dot_wrapper"] == [
        "repeating a call as dot_writer after a lost connection"
    ]


def test_a_refusal_is_never_repeated(db: Database, ledger: Any) -> None:
    attempts = 0

    def refuse(connection: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return connection.execute("do $$ begin raise check_violation; end $$")

    with pytest.raises(errors.InvalidInput):
        ledger.transaction("dot_writer", refuse, repeatable=True)
    assert attempts == 1


def test_a_lease_can_be_taken_renewed_and_released(db: Database, ledger: Any) -> None:
    define_pair(db)
    token = ledger.acquire_lease(PAIR, "worker", 60)
    assert token == 1
    assert ledger.renew_lease(PAIR, "worker", token, 120)
    assert ledger.acquire_lease(PAIR, "other", 60) is None
    assert ledger.release_lease(PAIR, "worker", token)
    assert not ledger.release_lease(PAIR, "worker", token)
    assert acquire(db.connect("writer")) == 2


def end_session(db: Database) -> None:
    with db.connect("creator") as creator:
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
        assert rows(creator, ended, db.login("operator"))


def test_a_connection_that_the_server_ended_is_opened_again(db: Database, ledger: Any) -> None:
    define_pair(db)
    first = ledger.pair(PAIR)
    end_session(db)
    assert ledger.pair(PAIR) == first


def test_a_server_that_is_away_for_a_moment_is_waited_for(db: Database, flavor: Flavor) -> None:
    define_pair(db)
    attempts = 0

    def connect() -> Any:
        nonlocal attempts
        attempts += 1
        if attempts in (2, 3):
            raise psycopg.OperationalError("the database system is starting up")
        return flavor.connect(db.url_as("operator"))

    with flavor.ledger(connect) as ledger:
        assert ledger.pair(PAIR)
        ledger.close()
        assert header(ledger).created  # without a key, too: nothing had been sent
    assert attempts == 4


def test_a_first_connection_that_fails_is_not_tried_again(flavor: Flavor) -> None:
    """A wrong password that is tried five times locks the account."""
    attempts = 0

    def connect() -> Any:
        nonlocal attempts
        attempts += 1
        raise psycopg.OperationalError("password authentication failed")

    with flavor.ledger(connect) as ledger, pytest.raises(errors.DatabaseUnavailable):
        ledger.open_gates()
    assert attempts == 1


def test_a_time_that_is_no_integer_of_the_database_is_invalid_input(db: Database, ledger: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        ledger.acquire_lease(PAIR, "worker", 10**10)


def test_help_shows_the_arguments_and_the_answer_of_each_call() -> None:
    for name, described in inspect.getmembers(calls, inspect.isfunction):
        # A batch is taken by a method of its own, which yields, and that of rows by the sources alone.
        if (
            name.startswith("_")
            or name in ("batch", "batch_of_rows")
            or not str(described.__annotations__.get("return")).startswith("Call[")
        ):
            continue
        method = getattr(Ledger, name)
        assert method is getattr(AsyncLedger, name)
        assert method.__doc__ == described.__doc__
        arguments = inspect.signature(described).parameters
        assert list(inspect.signature(method).parameters) == ["self", *arguments]
        assert list(inspect.signature(getattr(Ledger(), name)).parameters) == list(arguments)
    assert inspect.signature(Ledger.pair).return_annotation is Pair


def test_both_flavors_have_the_same_methods() -> None:
    for waiting, awaited in ((Ledger, AsyncLedger), (Run, AsyncRun)):
        assert {name for name in dir(waiting) if not name.startswith("_")} == {
            name for name in dir(awaited) if not name.startswith("_")
        }
