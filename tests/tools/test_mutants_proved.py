"""What `dot-wrapper prove` makes of mutants, beside `make mutants`, which asks all tests: each is seen by drift, and many break a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from dot_wrapper import cli
from dot_wrapper.operations import drift
from support import Database
from support.prove import proved
from support.sizes import size
from tools.mutants.find import Mutant
from tools.mutants.run import described, equivalents


@pytest.fixture
def in_any_order(mutants: list[Mutant]) -> list[Mutant]:
    """All that are not equivalent, in an order that has nothing to do with what they change."""
    known = equivalents()
    return sorted((one for one in mutants if one.id not in known), key=lambda one: one.id)


def installed(superuser: psycopg.Connection[dict[str, Any]], mutant: Mutant) -> bool:
    """Makes it, where the server takes it."""
    try:
        with superuser.transaction():
            superuser.execute(mutant.sql.encode())
    except psycopg.Error:
        return False
    return True


def test_drift_sees_each(db: Database, in_any_order: list[Mutant]) -> None:
    superuser = db.connect("superuser")
    unseen = []
    for mutant in in_any_order[: size(60, len(in_any_order))]:
        with superuser.transaction(force_rollback=True):
            if installed(superuser, mutant) and not drift.examine(superuser).of("drift"):
                unseen.append(described(mutant))
    assert unseen == []


@pytest.mark.sabotage
@pytest.mark.usefixtures("client_programs")
def test_prove_finds_each_and_its_suite_alone_some(
    db: Database, in_any_order: list[Mutant], record_property: Callable[[str, object], None]
) -> None:
    broken: list[str] = []
    left: list[str] = []
    for mutant in in_any_order[: size(5, 60)]:
        with db.server.installed() as url:
            with psycopg.connect(url, autocommit=True, row_factory=dict_row) as superuser:
                if not installed(superuser, mutant):
                    continue
            code, told = proved(url, "--seed", "1", examples=size(3, 20))
        assert code == cli.FOUND, described(mutant)
        is_broken = any(one["holds"] is False for one in told["promises"])
        (broken if is_broken else left).append(described(mutant))
    record_property("break a promise", len(broken))
    record_property("seen by drift alone", "\n".join(left))
    assert broken
