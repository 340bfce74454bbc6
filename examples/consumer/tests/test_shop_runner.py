"""The fixtures ``dot_...`` are dot-wrapper's: a database for each test, with the wrapper installed."""

from __future__ import annotations

import psycopg
import pytest
from shop_runner import load_and_check

from dot_wrapper import GateClosed, Ledger
from dot_wrapper.proving.plugin import Candidate


def verdict(ledger: Ledger, candidate: Candidate) -> tuple[bool, list[str]]:
    (row,) = ledger.select(
        "select verified, reasons from dot.v_process_verification_v3 where process_candidate_code = %s",
        (candidate.code,),
    )
    return row["verified"], row["reasons"]


@pytest.mark.usefixtures("dot_gates_open")
def test_a_load_that_adds_up_is_verified(dot_ledger: Ledger, dot_candidate: Candidate) -> None:
    load_and_check(dot_ledger, dot_candidate.code, "2026-11-21", [40, 2], 42)
    assert verdict(dot_ledger, dot_candidate) == (True, [])


@pytest.mark.usefixtures("dot_gates_open")
def test_a_load_that_does_not_add_up_is_not_verified(dot_ledger: Ledger, dot_candidate: Candidate) -> None:
    load_and_check(dot_ledger, dot_candidate.code, "2026-11-21", [40, 1], 42)
    verified, reasons = verdict(dot_ledger, dot_candidate)
    assert not verified
    assert reasons


def test_while_the_gates_are_closed_nothing_is_recorded(dot_ledger: Ledger, dot_candidate: Candidate) -> None:
    with pytest.raises(GateClosed):
        load_and_check(dot_ledger, dot_candidate.code, "2026-11-21", [42], 42)
    assert verdict(dot_ledger, dot_candidate) == (False, ["no_run"])


@pytest.mark.usefixtures("dot_gates_open")
def test_another_day_is_another_run(
    dot_ledger: Ledger, dot_candidate: Candidate, dot_connection: psycopg.Connection[tuple[int]]
) -> None:
    for day in ("2026-11-21", "2026-11-22"):
        load_and_check(dot_ledger, dot_candidate.code, day, [42], 42)
    assert dot_connection.execute("select count(*) from dot.v_process_run").fetchone() == (2,)


def test_each_test_has_a_database_of_its_own(dot_connection: psycopg.Connection[tuple[int]], dot_database: str) -> None:
    assert dot_connection.execute("select count(*) from dot.v_process_candidate").fetchone() == (0,)
    assert dot_connection.info.dbname in dot_database
