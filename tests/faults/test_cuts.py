"""The backend of the caller path is ended before each statement it sends, and after each commit (I15, I16, I33).

Whatever was stored by then, the same key ends in one whole run: nothing twice, nothing half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.calls import EvidenceType, Pair
from dot_wrapper.client.errors import DatabaseUnavailable
from dot_wrapper.client.ledger import Ledger
from support import PAIR, PRODUCER, VERIFIER, Database, ready_for_real_runs, row, rows, value


@dataclass
class Knife:
    """Counts the statements and commits of all connections, and ends the backend at one of them."""

    db: Database
    at: tuple[str, int] | None = None
    statements: int = 0
    commits: int = 0

    def reached(self, what: str) -> bool:
        count = self.statements if what == "statement" else self.commits
        if what == "statement":
            self.statements += 1
        else:
            self.commits += 1
        return self.at == (what, count)

    def end(self, connection: psycopg.Connection[Any]) -> None:
        self.db.session("superuser").execute("select pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))

    def connect(self) -> psycopg.Connection[Any]:
        knife = self

        class Cut(psycopg.Connection[Any]):
            def execute(self, *arguments: Any, **options: Any) -> Any:
                if knife.reached("statement"):
                    knife.end(self)
                return super().execute(*arguments, **options)

            def transaction(self, *arguments: Any, **options: Any) -> Any:
                return Transaction(self, super().transaction(*arguments, **options))

        class Transaction:
            def __init__(self, connection: Cut, outer: Any) -> None:
                self.connection, self.outer = connection, outer

            def __enter__(self) -> Any:
                return self.outer.__enter__()

            def __exit__(self, *error: Any) -> Any:
                handled = self.outer.__exit__(*error)
                if error[0] is None and knife.reached("commit"):
                    self.connection.close()  # it has committed, and the caller is not told
                    raise psycopg.OperationalError("the connection was lost before the answer")
                return handled

        return Cut.connect(self.db.url_as("operator"), autocommit=True)


def walk(ledger: Ledger, evidence_type: EvidenceType, key: str | None) -> None:
    pair = Pair(PAIR, PRODUCER, VERIFIER)
    with caller_path(ledger, pair, evidence_type=evidence_type, actor="ci", idempotency_key=key) as run:
        run.producer("started")
        run.producer("completed", output_ref="s3://out")
        run.verifier("completed")


@pytest.mark.parametrize("evidence_type", ["SIMULATED_DRY_RUN", "REAL_RUN"])
def test_the_same_key_resumes_a_path_that_was_cut_anywhere(db: Database, evidence_type: EvidenceType) -> None:
    ready_for_real_runs(db)
    with db.connect("gatekeeper") as gatekeeper:
        for one in rows(db.connect("reader"), "select event_type from dot.v_dot_event_type"):
            gatekeeper.execute("select dot.fn_event_type_set(%s, true, 'ci', 'all')", (one["event_type"],))
    whole = Knife(db)
    with Ledger(whole.connect) as ledger:
        walk(ledger, evidence_type, "whole")
    assert (whole.statements, whole.commits) == (10, 5)
    places = [("statement", number) for number in range(whole.statements)]
    places += [("commit", number) for number in range(whole.commits)]
    for place in places:
        key = f"{place[0]}-{place[1]}"
        knife = Knife(db, place)
        with Ledger(knife.connect) as ledger:
            walk(ledger, evidence_type, key)  # each call of it may be made again, and is
        with Ledger(lambda: database.connect(db.url_as("operator"))) as ledger:
            walk(ledger, evidence_type, key)  # no lease was left behind
        reader = db.session("reader")
        run = row(reader, "select * from dot.v_process_run where idempotency_key = %s", key)
        assert (run["end_state"], run["components"]) == ("completed", 3), place
        events = "select count(*) from dot.event_outbox where aggregateid = %s"
        assert value(db.session("owner"), events, str(run["process_run_id"])) == 4, place
    counted = "select simulated_runs + real_runs from dot.v_process_run_count"
    assert value(db.session("reader"), counted) == len(places) + 1


def test_a_path_without_a_key_gives_back_the_lease_of_an_answer_that_was_lost(db: Database) -> None:
    ready_for_real_runs(db)
    knife = Knife(db, ("commit", 0))
    with Ledger(knife.connect) as ledger, pytest.raises(DatabaseUnavailable) as lost:
        walk(ledger, "REAL_RUN", None)
    assert lost.value.was_sent
    reader = db.session("reader")
    assert value(reader, "select lease_token from dot.v_process_run") == 1  # it had been committed
    assert row(reader, "select is_live, token from dot.v_dot_lease") == {"is_live": False, "token": 2}


def test_a_cut_is_felt_where_a_call_has_no_key(db: Database) -> None:
    """The negative control: the knife does end backends."""
    knife = Knife(db, ("statement", 1))
    with Ledger(knife.connect) as ledger, pytest.raises(DatabaseUnavailable):
        ledger.log_command("dot_wrapper.rehearse", "plan", "refused", "ci")
