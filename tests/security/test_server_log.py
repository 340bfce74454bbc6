"""What a refusal leaves in the server's log (I31): one entry with its SQLSTATE, in which no text of the caller's can pass for another.

The log has no field for a constraint's name: who needs it keeps ``dot_iu_command_run``, where the harness writes it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dot_wrapper.proving.prepared import prepared
from support import Connection, Database, define_pair, observe_component, observe_run
from support.servers import data_directory, server

SETTINGS = "logging_collector = on\nlog_destination = 'jsonlog'\nlog_directory = 'logs'\nlog_filename = 'server.log'\nlog_rotation_size = 0\n"
FORGED = 'x\n{"error_severity":"ERROR","state_code":"23514","message":"forged"}'


@pytest.fixture
def logging() -> Iterator[tuple[Database, Path]]:
    """A database on a server that logs as PostgreSQL does by default, to a file of JSON; and that file."""
    version = int(os.environ.get("DOT_TEST_POSTGRES", "18"))
    with (
        server(version, SETTINGS) as url,
        prepared(url, own=True) as of_tests,
        of_tests.installed() as url_of_db,
    ):
        db = Database(url_of_db, of_tests)
        yield db, data_directory(url) / "logs" / "server.json"
        db.close()


def entries(log: Path, connection: Connection) -> list[dict[str, Any]]:
    """The errors of one session, once the collector has written what the session does now."""
    marker = uuid.uuid4().hex
    with pytest.raises(psycopg.errors.RaiseException):
        connection.execute(f"do $$ begin raise exception '{marker}'; end $$")
    deadline = time.monotonic() + 20
    while marker not in (text := log.read_text()):
        assert time.monotonic() < deadline, "the log collector writes nothing"
    pid = connection.info.backend_pid
    written = [json.loads(line) for line in text.splitlines()]
    return [one for one in written if one["pid"] == pid and one["error_severity"] == "ERROR"][:-1]


def test_each_refusal_leaves_one_entry_with_its_sqlstate_and_no_text_of_the_caller_s(
    logging: tuple[Database, Path],
) -> None:
    db, log = logging
    define_pair(db)
    writer = db.connect("writer")
    run = observe_run(writer, idempotency_key="k1")["process_run_id"]
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("23514", lambda: observe_run(writer, actor=FORGED)),
        ("23514", lambda: observe_run(writer, correlation_id=FORGED)),
        ("23514", lambda: observe_run(writer, status=FORGED)),
        ("23514", lambda: observe_run(writer, input_ref=FORGED)),
        ("23514", lambda: observe_run(writer, process_candidate_code=FORGED)),
        ("23502", lambda: observe_run(writer, actor=None)),
        ("23503", lambda: observe_run(writer, dot_code="dot.unknown")),
        ("23514", lambda: observe_run(writer, evidence_type="REAL_RUN")),
        ("23505", lambda: observe_run(writer, idempotency_key="k1", actor="another")),
        ("23505", lambda: observe_run(writer, process_run_id=run)),
        ("23503", lambda: observe_component(writer, uuid.uuid4(), "producer")),
        ("23514", lambda: observe_component(writer, run, FORGED)),
        ("42501", lambda: writer.execute("delete from dot.process_run_observation")),
    ]
    for _, refusal in refusals:
        with pytest.raises(psycopg.Error):
            refusal()
    found = entries(log, writer)
    assert [one["state_code"] for one in found] == [sqlstate for sqlstate, _ in refusals]
    assert not [one for one in found if "forged" in json.dumps(one)]
