"""The server that is measured, and what every measurement needs of it: databases of its own, and figures from it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dot_wrapper.operations import embedded
from dot_wrapper.proving.databases import upgrade
from tools import scratch

Connection = psycopg.Connection[tuple[Any, ...]]

LEDGER = ("process_run_observation", "process_component_observation")
TEMPLATE = "bench_template"

# It does nothing by itself while it is measured: no checkpoint, no page images, no vacuum; the benchmark vacuums.
SETTINGS = """
checkpoint_timeout = '1h'
max_wal_size = '8GB'
full_page_writes = off
autovacuum = off
shared_buffers = '1GB'
max_parallel_workers_per_gather = 0  # a worker's CPU is not its leader's
"""


class NotMeasured(Exception):
    """Something is not there to be measured; the message says what. It is no error, and never a target met."""


@dataclass(frozen=True)
class Server:
    """A server of the benchmark's own. Its template database has the wrapper, the pair ``bench.pair``, and the tables and
    functions of ``limits.sql`` in schema ``bench``: what the wrapper is measured against."""

    url: str
    folder: Path
    made: list[str] = field(default_factory=list)

    def database(self, name: str, template: str = TEMPLATE) -> str:
        """The URL of a database, made from the template where it is not there yet."""
        if name not in self.made:
            with psycopg.connect(self.url, autocommit=True) as admin:
                names = sql.Identifier(name), sql.Identifier(template)
                admin.execute(sql.SQL("create database {} template {}").format(*names))
            self.made.append(name)
            url = make_conninfo(self.url, dbname=name)
            if template == TEMPLATE:  # an attestation counts where it was made
                with psycopg.connect(url, autocommit=True) as admin:
                    admin.execute(
                        "select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'bench', 'scratch server')"
                    )
        return make_conninfo(self.url, dbname=name)

    def pgbench(self, url: str, script: str, *options: str) -> str:
        """What pgbench prints of a script run on a database."""
        file = self.folder / "script.sql"
        file.write_text(script, encoding="utf-8")
        program = embedded.bin_folder() / "pgbench"
        done = subprocess.run(
            [program, "--no-vacuum", "--protocol=prepared", "--file", file, *options, "--dbname", url],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pgbench: {done.stderr}")
        return done.stdout


@contextmanager
def running() -> Iterator[Server]:
    """A settled server with the template, for the length of the block, in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="dotb") as scripts,
        scratch.server(base=SETTINGS, parent=tempfile.gettempdir()) as url,  # on a disk, as a user's server
    ):
        server = Server(url, Path(scripts))
        _fill(server.database(TEMPLATE, "template1"))
        yield server


def _fill(url: str) -> None:
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as admin:
        for statement in (
            "select dot.fn_dot_tool_register('bench.producer'), dot.fn_dot_tool_register('bench.verifier')",
            "select dot.fn_process_candidate_define('bench.pair', 'bench.producer', 'bench.verifier', 'bench')",
        ):
            admin.execute(statement)
        admin.execute((Path(__file__).parent / "limits.sql").read_bytes())


@contextmanager
def connected(url: str, role: str = "dot_owner") -> Iterator[Connection]:
    """A connection that does not wait for the disk. The bare statements and the functions run as the same role, so that both
    pay for the same checks of rights."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        yield connection


def one(connection: Connection, query: LiteralString, *parameters: object) -> Any:
    """The single value of a query."""
    row = connection.execute(query, parameters or None).fetchone()
    assert row is not None
    return row[0]


def require_function(url: str, name: str) -> None:
    """Lets a measurement go on where schema dot has the function.

    Raises:
        NotMeasured: it has not.
    """
    with psycopg.connect(url) as connection:
        if one(connection, "select to_regproc(%s)", f"dot.{name}") is None:
            raise NotMeasured(f"dot.{name} does not exist")


@contextmanager
def open_gates(url: str) -> Iterator[int]:
    """Opens the gates and takes the pair's lease for the length of the block; yields the token."""
    with psycopg.connect(url, autocommit=True) as admin:
        move = "select dot.fn_dot_config_set(key, %s, 'bench', 'scratch server') from dot.v_dot_gate"
        admin.execute(move, ("true",))
        try:
            yield int(one(admin, "select dot.fn_dot_iu_runtime_lease_acquire('dot_exec:bench.pair', 'bench', 3600)"))
        finally:
            admin.execute(move, ("false",))


def cpu_seconds(connection: Connection) -> float:
    """User and system time of a connection's server process; from schedstat, which counts nanoseconds and not ticks."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_of(connection: Connection, work: Callable[[], object]) -> tuple[float, float]:
    """User and system time that some work takes in this thread, and in a connection's server process."""
    before = time.thread_time(), cpu_seconds(connection)
    work()
    return time.thread_time() - before[0], cpu_seconds(connection) - before[1]


def next_multixact(url: str) -> int:
    """The next multixact id of the cluster."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("checkpoint")
        return int(one(admin, "select next_multixact_id::text::bigint from pg_control_checkpoint()"))


def ledger_pages(url: str) -> int:
    """Pages of the ledger's two tables, their indexes not counted."""
    with psycopg.connect(url) as admin:
        return sum(int(one(admin, "select pg_relation_size(%s::regclass) / 8192", f"dot.{table}")) for table in LEDGER)
