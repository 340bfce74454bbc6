"""The whole server is killed under six writers, again and again (I15, I16): what was acknowledged is there, once, and whole.

The negative control, the same with synchronous_commit off, loses some: the test can fail.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dot_wrapper.client import database
from dot_wrapper.client.errors import DatabaseUnavailable
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.proving.prepared import prepared
from support import PAIR, PRODUCER, VERIFIER, Connection, Database, define_pair, observe_run, rows, value
from support.servers import data_directory, kill, server, start_again
from support.sizes import size

WRITERS, ROUNDS, CALLS = 6, size(5, 500), 240


@dataclass
class Doomed:
    """A server that is killed: a database on it, and how."""

    db: Database
    version: int
    data: Path
    sockets: str

    def kill(self) -> None:
        kill(self.data)

    def start_again(self) -> None:
        start_again(self.version, self.data, self.sockets)


@pytest.fixture
def doomed(version: int = 18) -> Iterator[Doomed]:
    with server(version) as url, prepared(url, own=True) as of_tests, of_tests.installed() as url_of_db:
        db = Database(url_of_db, of_tests)
        sockets = str(conninfo_to_dict(url)["host"])
        yield Doomed(db, version, data_directory(url), sockets)
        db.close()


@dataclass
class Answers:
    """What the writers were told: the runs and components that were acknowledged, and the calls that got no answer."""

    runs: dict[str, uuid.UUID] = field(default_factory=dict)
    components: dict[str, uuid.UUID] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    each: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


def observe(ledger: Ledger, answers: Answers, key: str) -> None:
    """A run with its two components, each committed by itself."""
    run = ledger.observe_run(
        process_candidate_code=PAIR,
        dot_code=PRODUCER,
        process_run_id=uuid.uuid4(),
        correlation_id=key,
        evidence_type="SIMULATED_DRY_RUN",
        status="started",
        actor="crash",
        idempotency_key=key,
    )
    answers.runs[key] = run.process_run_id
    answers.each.release()
    for role, dot_code in (("producer", PRODUCER), ("verifier", VERIFIER)):
        component = ledger.observe_component(
            process_candidate_code=PAIR,
            dot_code=dot_code,
            process_run_id=run.process_run_id,
            correlation_id=run.correlation_id,
            component_role="producer" if role == "producer" else "verifier",
            status="completed",
            actor="crash",
            idempotency_key=f"{key}:{role}:completed",
        )
        answers.components[f"{key}:{role}:completed"] = component.component_id
        answers.each.release()


def until_killed(doomed: Doomed, write: Callable[[int], None], answers: Answers) -> None:
    """Lets six writers write until they were answered so many calls, then kills the server under them, and starts it again."""
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, writer) for writer in range(WRITERS)]
        for _ in range(CALLS):
            assert answers.each.acquire(timeout=60)
        doomed.kill()
        for future in writing:
            future.result(timeout=60)
    doomed.start_again()


def all_events(db: Database) -> None:
    with db.connect("gatekeeper") as gatekeeper:
        for one in rows(db.connect("reader"), "select event_type from dot.v_dot_event_type"):
            gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'crash', 'all')", (one["event_type"],))


def test_what_was_acknowledged_is_there_once_and_whole(doomed: Doomed) -> None:
    db = doomed.db
    define_pair(db)
    all_events(db)

    def connect() -> psycopg.Connection[object]:
        return database.connect(db.url_as("operator"))

    recorded = 0
    for number in range(ROUNDS):
        answers = Answers()

        def write(writer: int, number: int = number, answers: Answers = answers) -> None:
            with Ledger(connect) as ledger:
                for done in count():
                    key = f"round-{number}-writer-{writer}-{done}"
                    try:
                        observe(ledger, answers, key)
                    except DatabaseUnavailable:
                        answers.unanswered.append(key)
                        return

        until_killed(doomed, write, answers)
        reader, owner = db.connect("reader"), db.connect("owner")
        # Every acknowledged row of the round is there exactly once, under the id that was returned.
        this_round = "where correlation_id like %s"
        of_round = f"round-{number}-%"
        found = rows(reader, f"select idempotency_key, process_run_id from dot.v_process_run {this_round}", of_round)
        runs = {one["idempotency_key"]: one["process_run_id"] for one in found}
        assert len(runs) == len(found)
        assert answers.runs.items() <= runs.items()
        query = f"select idempotency_key, component_id from dot.v_process_run_component {this_round}"
        found = rows(reader, query, of_round)
        components = {one["idempotency_key"]: one["component_id"] for one in found}
        assert len(components) == len(found)
        assert answers.components.items() <= components.items()
        # No half of a call: each row has its event, and each event its row.
        of_rows = {str(one) for one in (*runs.values(), *components.values())}
        events = (
            "select coalesce(payload ->> 'component_id', aggregateid) as of_row from dot.event_outbox"
            " where payload ->> 'correlation_id' like %s"
        )
        of_events = [one["of_row"] for one in rows(owner, events, of_round)]
        assert sorted(of_events) == sorted(of_rows)
        # A call without an answer is made again with its key, and ends in one row, whatever had become of it.
        with Ledger(connect) as ledger:
            for key in answers.unanswered:
                observe(ledger, answers, key)
                assert runs.get(key, answers.runs[key]) == answers.runs[key]
        states = rows(reader, f"select distinct end_state from dot.v_process_run {this_round}", of_round)
        assert states == [{"end_state": "completed"}]
        recorded += len(runs.keys() | set(answers.unanswered))
        # Of the rounds before nothing has gone.
        assert (
            value(reader, "select count(*) from dot.v_process_run_count as c where simulated_runs = %s", recorded) == 1
        )
        db.close()
        db.opened.clear()


def test_without_durable_commits_acknowledged_runs_are_lost(doomed: Doomed) -> None:
    db = doomed.db
    define_pair(db)
    with db.connect("superuser") as superuser:
        superuser.execute("alter system set wal_writer_delay = '10s'")
        superuser.execute("select pg_reload_conf()")
        superuser.execute("checkpoint")  # what was made for the test is not lost with the runs
    answers = Answers()

    def write(writer: int) -> None:
        connection: Connection = db.connect("writer")
        connection.execute("set synchronous_commit = off")
        try:
            for done in range(10_000):
                key = f"writer-{writer}-{done}"
                answers.runs[key] = observe_run(connection, idempotency_key=key)["process_run_id"]
                answers.each.release()
        except psycopg.OperationalError:
            return

    until_killed(doomed, write, answers)
    found = rows(db.connect("reader"), "select idempotency_key from dot.v_process_run")
    assert set(answers.runs) - {one["idempotency_key"] for one in found}
