"""Nothing that a session may set changes a decision (I12): the same calls are let in and refused, by the same names."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from support import PAIR, Connection, Database, acquire, attest, define_pair, observe_component, observe_run, set_gates

SETTINGS = (
    "search_path = ''",
    "search_path = pg_temp, public",
    "transform_null_equals = on",
    "standard_conforming_strings = off",
    "backslash_quote = on",
    "array_nulls = off",
    "bytea_output = escape",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = sql_standard",
    "TimeZone = 'Pacific/Kiritimati'",
    "timezone_abbreviations = 'Australia'",
    "extra_float_digits = -15",
    "lc_monetary = 'C'",
    "client_encoding = 'LATIN1'",
    "plan_cache_mode = force_generic_plan",
    "plan_cache_mode = force_custom_plan",
    "constraint_exclusion = off",
    "enable_seqscan = off",
    "enable_indexscan = off",
    "jit = off",
    "row_security = off",
    "check_function_bodies = off",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "synchronous_commit = off",
    "statement_timeout = '1min'",
    "idle_in_transaction_session_timeout = '1min'",
    "xmlbinary = hex",
    "escape_string_warning = off",
    "dot.owner_granted = 'true'",
    "plpgsql.extra_errors = 'all'",
)


def decided(call: Callable[[], dict[str, Any]]) -> object:
    """What a call comes to: whether it created something, or what refused it."""
    try:
        return call()["created"]
    except psycopg.Error as error:
        return (error.sqlstate, error.diag.constraint_name)


def decisions(writer: Connection, token: int) -> list[object]:
    """A run, its replay, another payload, hostile words, what the gates decide, and a component; keys of this call alone."""
    key, run_id = str(uuid.uuid4()), uuid.uuid4()
    run = partial(observe_run, writer, process_run_id=run_id, idempotency_key=key)
    return [
        decided(run),
        decided(run),
        decided(partial(run, actor="another-actor")),
        decided(partial(observe_run, writer, actor=None)),
        decided(partial(observe_run, writer, actor="")),
        decided(partial(observe_run, writer, dry_run=False)),
        decided(partial(observe_run, writer, evidence_ref='{"a": 1e-25}')),
        decided(partial(observe_run, writer, dot_code="not.known")),
        decided(partial(observe_run, writer, evidence_type="DRY_RUN", lease_token=token)),
        decided(partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token)),
        decided(partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=token + 1)),
        decided(partial(observe_run, writer, evidence_type="REAL_RUN", lease_token=None)),
        decided(partial(observe_component, writer, run_id, "producer", correlation_id="other")),
        decided(partial(observe_component, writer, run_id, "producer")),
    ]


@pytest.mark.parametrize("gates", ["closed", "open"])
def test_no_setting_of_a_session_changes_a_decision(db: Database, gates: str, subtests: pytest.Subtests) -> None:
    define_pair(db)
    for _ in range(2):  # with older rows below the newest of each kind
        attest(db)
        set_gates(db, "true" if gates == "open" else "false")
    db.connect("owner").execute(
        "update dot.event_type set active = true;"
        " insert into dot.outbox_epoch (epoch, system_identifier, database_oid, began_at) values (1, 7, 7, now())"
    )
    token = acquire(db.connect("writer"), PAIR)
    expected = decisions(db.connect("writer"), token)
    assert expected.count(True) == (4 if gates == "open" else 2)
    for setting in SETTINGS:
        with subtests.test(setting=setting):
            writer = db.connect("writer")
            writer.execute(f"set {setting}")
            assert decisions(writer, token) == expected
