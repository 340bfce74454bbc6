"""``board``, ``require`` and ``runs`` over several ledgers: one list, in one order, that says whose each row is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dot_wrapper.client import database
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.proving.prepared import PREPARED
from support import (
    PAIR,
    Database,
    DotWrapper,
    define_pair,
    observe_component,
    observe_run,
    ready_for_real_runs,
)

STOCK = "shop.stock"


@dataclass(frozen=True)
class Two:
    """A ledger for orders, one for stock, and what asks both."""

    orders: Database
    stock: Database
    both: tuple[str, ...]


@pytest.fixture
def two(db: Database, pytestconfig: pytest.Config) -> Iterator[Two]:
    with pytestconfig.stash[PREPARED].installed() as url, closing(Database(url, db.server)) as other:
        ready_for_real_runs(db)
        ready_for_real_runs(other)
        define_pair(other, STOCK)
        named = (f"orders={db.url_as('operator')}", f"stock={other.url_as('operator')}")
        yield Two(db, other, tuple(word for one in named for word in ("--database-url", one)))


def verify(db: Database, candidate: str) -> None:
    with (
        Ledger(lambda: database.connect(db.url_as("operator"))) as ledger,
        caller_path(ledger, ledger.pair(candidate), evidence_type="REAL_RUN", actor="ci") as run,
    ):
        run.producer("completed")
        run.verifier("completed")


def test_the_board_of_two_ledgers_is_one_list_in_the_order_of_one(two: Two, dot_wrapper: DotWrapper) -> None:
    writer = two.stock.session("writer")
    failed = observe_run(writer, process_candidate_code=STOCK)["process_run_id"]
    observe_component(writer, failed, "verifier", process_candidate_code=STOCK, status="failed")
    verify(two.orders, PAIR)
    outcome = dot_wrapper("board", *two.both, "--json")
    shown = [(one["ledger"], one["process_candidate_code"], one["last_seen"], one["verified"]) for one in outcome.json]
    assert (outcome.code, shown) == (
        0,
        [("stock", STOCK, "failed", False), ("orders", PAIR, "passed", True), ("stock", PAIR, None, False)],
    )
    table = dot_wrapper("board", *two.both, "--limit", "2")
    assert "3 candidates, 1 verified" in table.out
    assert "and 1 more" in table.out
    assert "orders" in table.out


def test_the_runs_of_two_ledgers_are_paged_as_one_list(two: Two, dot_wrapper: DotWrapper) -> None:
    made = [
        str(observe_run(db.session("writer"))["process_run_id"]) for _ in range(3) for db in (two.orders, two.stock)
    ]
    newest = list(reversed(made))
    whole = dot_wrapper("runs", *two.both, "--json").json
    assert [one["process_run_id"] for one in whole] == newest
    assert [one["ledger"] for one in whole] == ["stock", "orders"] * 3
    pages: list[str] = []
    for _ in range(4):
        after = ("--after", pages[-1]) if pages else ()
        pages += [
            one["process_run_id"] for one in dot_wrapper("runs", *two.both, "--limit", "2", *after, "--json").json
        ]
    assert pages == newest
    assert (
        dot_wrapper("runs", *two.both, "--after", str(observe_run(two.orders.session("writer"))["correlation_id"])).code
        == 2
    )


def test_a_candidate_is_required_of_each_ledger_that_has_it(two: Two, dot_wrapper: DotWrapper) -> None:
    verify(two.orders, PAIR)
    outcome = dot_wrapper("require", PAIR, *two.both)
    assert (outcome.code, outcome.out.splitlines()) == (
        4,
        [f"stock: {PAIR}: no_real_run", "2 candidates, 1 verified"],
    )
    verify(two.stock, PAIR)
    verify(two.stock, STOCK)
    outcome = dot_wrapper("require", PAIR, STOCK, *two.both, "--json")
    assert outcome.code == 0
    assert [(one["ledger"], one["candidate"]) for one in outcome.json] == [
        ("orders", PAIR),
        ("stock", PAIR),
        ("stock", STOCK),
    ]
    assert dot_wrapper("require", "shop.unknown", *two.both).code == 3
    assert dot_wrapper("require", "--all", "--model", "shop.unknown", *two.both).code == 2


def test_one_that_cannot_be_asked_is_told_and_the_others_are_shown(
    two: Two, dot_wrapper: DotWrapper, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    verify(two.orders, PAIR)
    with pytestconfig.stash[PREPARED].database() as empty:
        gone = ("--database-url", f"payments=postgresql:///nowhere?host={tmp_path}", "--database-url", f"new={empty}")
        orders = two.both[:2]
        for command in (("board",), ("runs",), ("require", PAIR), ("require", "shop.elsewhere", PAIR)):
            table, listed = (dot_wrapper(*command, *orders, *gone, *more) for more in ((), ("--json",)))
            assert (table.code, listed.code) == (1, 1), command
            for outcome in (table, listed):
                assert "ledger payments could not be asked" in outcome.err
                assert "ledger new could not be asked" in outcome.err
            assert [one["ledger"] for one in listed.json] == ["orders", "payments", "new"], command
            assert listed.json[1]["error"]["message"]
    alone = dot_wrapper("board", *gone[:2])
    assert (alone.code, "0 candidates" in alone.out) == (1, True)


def test_a_file_names_the_ledgers(two: Two, dot_wrapper: DotWrapper, tmp_path: Path) -> None:
    file = tmp_path / "ledgers"
    lines = [f"orders = {two.both[1].removeprefix('orders=')}", "", "# and", two.both[3]]
    file.write_text("\n".join(lines), encoding="utf-8-sig")  # with a byte order mark
    shown = dot_wrapper("board", "--ledgers", str(file), "--json").json
    assert [one["ledger"] for one in shown] == ["orders", "stock", "stock"]
    assert dot_wrapper("board", "--ledgers", str(file), *two.both[:2]).code == 2, "one name for two ledgers"
    for wrong, said in (
        ("orders", "line 1: no NAME=URL"),
        ("# nothing", "names no ledger"),
        ("or ders=postgresql://h/x", "line 1: no NAME=URL"),
    ):
        file.write_text(wrong, encoding="utf-8")
        outcome = dot_wrapper("board", "--ledgers", str(file))
        assert (outcome.code, said in outcome.err) == (2, True), (wrong, outcome)
    file.write_bytes("größe=postgresql://h/x".encode("latin-1"))
    assert "not UTF-8" in dot_wrapper("board", "--ledgers", str(file)).err
    assert dot_wrapper("board", "--ledgers", str(tmp_path / "none")).code == 2


def test_a_ledger_without_a_name_is_called_by_its_database(two: Two, dot_wrapper: DotWrapper) -> None:
    url = two.stock.url_as("operator")
    (first, *_) = dot_wrapper("board", "--database-url", url, "--json").json
    assert first["ledger"] in url
    assert dot_wrapper("board", "--database-url", url, "--database-url", url).code == 2
    assert dot_wrapper("board", "--database-url", "").code == 2
    assert dot_wrapper("board", "--database-url", "what is this").code == 2
