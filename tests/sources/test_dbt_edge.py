"""Inputs that real dbt wrote or that stand for such, where they lie beside the checkout: what the import makes of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from dot_wrapper import cli
from support import Database, DotWrapper, rows

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "dbt-edge"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the inputs are not beside this checkout")


@pytest.mark.parametrize(
    ("folder", "code", "candidates", "runs", "said"),
    [
        ("01_compile_recorded_as_completed", cli.DONE, 1, 0, "dbt compile executed nothing"),
        ("03_clone_recorded_as_completed", cli.DONE, 1, 0, "dbt clone executed nothing"),
        (
            "05a_singular_day1",
            cli.DONE,
            0,
            0,
            "over several nodes: test.shop.orders_match_customers: model.shop.orders, ",
        ),
        ("06_long_test_name", cli.DONE, 2, 2, "renamed: test.shop.accepted_values_orders_status__placed__"),
        ("08_custom_test_name", cli.DONE, 2, 2, "renamed: test.shop.orders:id>=1.cb5cabf5e3 is test.shop.orders:id_1"),
        ("09_dbt_parse_then_import", cli.DONE, 1, 0, "no results yet: run `dbt build`"),
        ("10_docs_generate_last", cli.DONE, 1, 0, "dbt docs generate executed nothing"),
        ("11_warn_reported_as_passed", cli.DONE, 1, 1, "1 warned"),
        ("14_json_log_with_a_warning_line", cli.PARTLY, 1, 1, "dbt.log: line 2: no event of dbt's structured log"),
        ("16_unit_test_is_no_pair", cli.DONE, 2, 2, "dbt failed: 1 of 3 nodes failed, 2 skipped"),
    ],
)
def test_each_gives_what_is_right(
    db: Database, dot_wrapper: DotWrapper, folder: str, code: int, candidates: int, runs: int, said: str
) -> None:
    outcome = dot_wrapper("import", "dbt", str(DATA / folder))
    assert (outcome.code, said in outcome.out) == (code, True)
    reader = db.connect("reader")
    assert len(rows(reader, "select from dot.v_process_candidate")) == candidates
    assert len(rows(reader, "select from dot.v_process_run")) == runs


def test_a_test_that_gets_one_more_join_keeps_its_pair_and_another_pair_is_a_successor_once(
    db: Database, dot_wrapper: DotWrapper
) -> None:
    def day(folder: str, producer: str) -> tuple[int, int]:
        option = ("--producer", f"orders_match_customers={producer}")
        found = dot_wrapper("import", "dbt", str(DATA / folder), *option, "--json").json
        return found["candidates_created"], len(found["conflicts"])

    assert [day("05a_singular_day1", "orders"), day("05b_singular_day2_one_more_join", "orders")] == [(1, 0), (0, 0)]
    assert [day("05b_singular_day2_one_more_join", "customers") for _ in range(3)] == [(1, 0), (0, 0), (0, 0)]
    found = rows(db.connect("reader"), "select * from dot.v_process_candidate order by defined_at")
    assert [(one["producer_dot_code"], one["supersedes"]) for one in found] == [
        ("model.shop.orders", None),
        ("model.shop.customers", "test.shop.orders_match_customers@model.shop.orders"),
    ]
