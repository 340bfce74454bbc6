"""An import of many dbt node results by ``dot-wrapper import dbt``, against COPY of the rows that it stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from bench.server import LEDGER, Connection, Server, connected, cpu_of, one
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import import_dbt

TESTS = 200  # of one project, each of a model of its own; an invocation finishes all of both


@dataclass(frozen=True)
class Imported:
    """One import: rows it stored, its seconds and the client's memory at its highest, and the seconds of COPY for the rows."""

    results: int
    rows: int
    seconds: float
    memory_mb: float
    copy_seconds: float


def imported(server: Server, results: int) -> Imported:
    """Imports so many node results into a database of their own, and copies the rows into tables that have the same
    constraints and indexes."""
    url = server.database(f"import_{results}")
    project = server.folder / f"dbt_{results}"
    _write_project(project, results)
    before = time.monotonic()
    memory = _run("import", "dbt", str(project), "--results", str(project / "dbt.jsonl"), url=url)
    seconds = time.monotonic() - before
    with connected(url, "postgres") as connection:
        rows = sum(int(one(connection, f"select count(*) from dot.{table}")) for table in LEDGER)
        return Imported(results, rows, seconds, memory, _copy_seconds(url, project))


def cpu(server: Server, results: int, rounds: int) -> dict[str, list[float]]:
    """CPU of client and server for a node result, in microseconds for each round: of an import, of its client, and of COPY of the same
    rows."""
    found: dict[str, list[float]] = {"import": [], "client": [], "COPY": []}
    project = server.folder / "dbt_cpu"
    _write_project(project, results)
    for number in range(rounds):
        url = server.database(f"import_cpu_{number}")
        with psycopg.connect(url, autocommit=True) as connection:
            client, of_server = cpu_of(connection, partial(_import, connection, project))
        _write_rows(url, project)
        with psycopg.connect(url) as connection:
            copied = cpu_of(connection, partial(_copy, connection, project))
        for name, seconds in zip(found, (client + of_server, client, sum(copied)), strict=True):
            found[name].append(seconds / results * 1e6)
    return found


def _import(connection: Connection, project: Path) -> None:
    import_dbt(Ledger(lambda: connection), read_dbt(project, results=project / "dbt.jsonl"))


def _write_project(folder: Path, results: int) -> None:
    """A manifest, and a structured log of as many invocations as it takes."""
    folder.mkdir()
    nodes: dict[str, object] = {}
    for number in range(TESTS):
        model = f"model.bench.m{number:04}"
        nodes[model] = {"resource_type": "model", "original_file_path": f"models/m{number:04}.sql"}
        test = f"test.bench.not_null_m{number:04}"
        nodes[test] = {"resource_type": "test", "attached_node": model, "original_file_path": "models/schema.yml"}
    (folder / "manifest.json").write_text(json.dumps({"nodes": nodes}), encoding="utf-8")
    with (folder / "dbt.jsonl").open("w", encoding="utf-8") as log:
        for number in range(results):
            node = list(nodes)[number % len(nodes)]
            run: dict[str, object] = {
                "status": "pass" if node.startswith("test") else "success",
                "num_failures": 0,
                "timing_info": [],
            }
            info = {"name": "NodeFinished", "invocation_id": f"invocation-{number // len(nodes):06}"}
            data = {"node_info": {"unique_id": node}, "run_result": run}
            log.write(json.dumps({"info": info, "data": data}) + "\n")


def _run(*arguments: str, url: str) -> float:
    """Runs a `dot-wrapper` command line; its memory at its highest, in MB. (What wait4 says counts the parent's.)"""
    command: list[str | Path] = [Path(sys.executable).parent / "dot-wrapper", *arguments]
    highest = 0
    with subprocess.Popen(
        command, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
            highest = int(found[1]) if found else highest  # an ending process has none
            time.sleep(0.02)
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"dot-wrapper {' '.join(arguments)}: {said}")
    return highest / 1024


def _copy_seconds(url: str, folder: Path) -> float:
    """The rows of the ledger, written to files and then copied from them, durably, in one transaction."""
    _write_rows(url, folder)
    before = time.monotonic()
    with psycopg.connect(url) as connection:
        _copy(connection, folder)
    return time.monotonic() - before


def _write_rows(url: str, folder: Path) -> None:
    with psycopg.connect(url) as connection:
        for table in LEDGER:
            with (
                (folder / table).open("wb") as out,
                connection.cursor().copy(f"copy dot.{table} to stdout".encode()) as rows,
            ):
                for row in rows:
                    out.write(row)


def _copy(connection: Connection, folder: Path) -> None:
    for table in LEDGER:
        with (
            (folder / table).open("rb") as rows,
            connection.cursor().copy(f"copy bench.{table} from stdin".encode()) as into,
        ):
            while part := rows.read(1 << 16):
                into.write(part)
    connection.commit()
