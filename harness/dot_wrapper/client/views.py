"""Views that are queried with varying conditions, as tables of SQLAlchemy Core.

They are declared here, because reflecting them would query the catalog at each start. A test compares them with the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, column, table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.types import BigInteger, Boolean, DateTime, Text, Uuid

_TIME = DateTime(timezone=True)

RUNS = table(
    "v_process_run",
    column("process_candidate_code", Text()),
    column("process_run_id", Uuid()),
    column("parent_run_id", Uuid()),
    column("correlation_id", Text()),
    column("dot_code", Text()),
    column("evidence_type", Text()),
    column("dry_run", Boolean()),
    column("status", Text()),
    column("end_state", Text()),
    column("occurred_at", _TIME),
    column("observed_at", _TIME),
    column("last_observed_at", _TIME),
    column("components", BigInteger()),
    column("actor", Text()),
    column("session_actor", Text()),
    column("idempotency_key", Text()),
    column("input_ref", Text()),
    column("output_ref", Text()),
    column("error_ref", Text()),
    column("evidence_ref", JSONB()),
    column("lease_token", BigInteger()),
    column("admission", JSONB()),
    schema="dot",
)


def compiled(query: Select[Any]) -> tuple[bytes, Mapping[str, object]]:
    """A select as text with psycopg's placeholders, and its parameters."""
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    found = query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(found).encode(), found.params
