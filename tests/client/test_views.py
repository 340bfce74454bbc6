"""The tables of SQLAlchemy Core that stand for views: they have what the catalog has, and selects of them run."""

from __future__ import annotations

import pytest
from sqlalchemy import TableClause, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from dot_wrapper.client import views
from dot_wrapper.client.ledger import Ledger
from support import PAIR, Database, define_pair, observe_run, rows

TABLES = [one for one in vars(views).values() if isinstance(one, TableClause)]


@pytest.mark.parametrize("view", TABLES, ids=lambda view: view.name)
def test_a_declared_view_has_the_columns_of_the_catalog(db: Database, view: TableClause) -> None:
    found = rows(
        db.connect("owner"),
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        f"{view.schema}.{view.name}",
    )
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    assert [(one.name, one.type.compile(dialect).lower()) for one in view.columns] == [
        (one["name"], one["type"]) for one in found
    ]


def test_a_ledger_runs_a_select(db: Database, ledger: Ledger) -> None:
    define_pair(db)
    observe_run(db.connect("writer"))
    run = views.RUNS.c
    query = select(run.process_candidate_code, run.dry_run).where(run.status.in_(["started", "100%"])).limit(1)
    assert ledger.select(query) == [{"process_candidate_code": PAIR, "dry_run": True}]
    assert ledger.select(query.where(run.actor == "'; select 1 --")) == []
