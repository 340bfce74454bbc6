"""Neighbouring systems, as SQL schemas of a database of their own on the same server: the call by which each records one thing.

dbos and procrastinate come from the hashed lock beside this file (``make bench`` installs it apart, in .venv/bench);
message-db and absurd are plain SQL that a user points the benchmark at.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from uuid_utils.compat import uuid7

from bench.operations import Operation
from bench.server import Connection, NotMeasured, Server, connected
from dot_wrapper.files import ROOT

PROGRAMS = ROOT / ".venv" / "bench" / "bin"


@dataclass(frozen=True)
class Peer:
    """A neighbouring system.

    Attributes:
        call: its statement that records one thing; ``{id}`` is the thing's id.
        install: makes its schema in a database, given the SQL file that the user named, if any.
        whole: the statements of a whole thing, from its beginning over two steps to its end, in their order; a word in braces is
            ``{id}`` or a column that a statement before has returned. Empty where its own client writes the rest.
    """

    call: str
    install: Callable[[str, Path | None], None]
    whole: tuple[str, ...] = ()


def _dbos(url: str, _file: Path | None) -> None:
    parts = conninfo_to_dict(url)
    _run("dbos", "migrate", "--sys-db-url", f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}")


def _procrastinate(url: str, _file: Path | None) -> None:
    printing = "from procrastinate.schema import SchemaManager; print(SchemaManager.get_schema())"
    _execute(url, _run("python", "-c", printing))


def _message_db(url: str, file: Path | None) -> None:
    _execute(url, _given(file, "--message-db"))
    with psycopg.connect(url) as admin:
        admin.execute(f'alter database "{admin.info.dbname}" set search_path = message_store, public'.encode())


def _absurd(url: str, file: Path | None) -> None:
    _execute(url, _given(file, "--absurd"))
    _execute(url, "select absurd.create_queue('bench')")


_DEFER = (
    "select procrastinate_defer_jobs_v1(array[row('bench', 'bench.pair', 0, null, null,"
    " jsonb_build_object('run', {id}), null)]::procrastinate_job_to_defer_v1[])"
)
_WRITE = "select message_store.write_message(gen_random_uuid()::varchar, 'bench-' || {id}, '%s', '{{\"n\": 1}}'::jsonb)"
_SPAWN = (
    "select task_id from absurd.spawn_task('bench', 'bench.pair', '{{\"n\": 1}}'::jsonb,"
    " jsonb_build_object('idempotency_key', {id}))"
)

PEERS: Mapping[str, Peer] = {
    "dbos enqueue_workflow": Peer(
        """select dbos.enqueue_workflow('bench', 'bench', array['{{"n": 1}}']::json[], workflow_id => {id})""", _dbos
    ),
    "procrastinate_defer_jobs_v1": Peer(
        _DEFER,
        _procrastinate,
        (
            _DEFER,
            "select id as job from procrastinate_fetch_job_v2(array['bench'], null)",
            "select procrastinate_finish_job_v1({job}, 'succeeded', false)",
        ),
    ),
    "message-db write_message": Peer(
        "select message_store.write_message({id}::varchar, 'bench-' || {id}, 'Observed', '{{\"n\": 1}}'::jsonb)",
        _message_db,
        tuple(_WRITE % word for word in ("Started", "Produced", "Verified")),
    ),
    "absurd spawn_task": Peer(
        _SPAWN,
        _absurd,
        (
            _SPAWN,
            "select run_id as run from absurd.claim_task('bench', 'bench', 60, 1)",
            "select absurd.complete_run('bench', {run}, '{{\"n\": 1}}'::jsonb)",
        ),
    ),
}


def operation(server: Server, name: str, files: Mapping[str, Path | None]) -> Operation:
    """The call of a peer, in a database of its own that is made and filled with its schema.

    Raises:
        NotMeasured: the peer is not here.
    """
    peer, database = PEERS[name], name.split()[0].split("_")[0]
    url = server.database(database, "template1")
    peer.install(url, files.get(database))
    statement = peer.call.format(id="%(id)s::text").encode()

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            connection.execute(statement, {"id": str(uuid7())}, prepare=True)

    with connected(url, "postgres") as connection:
        run(connection, 1)  # where its call does not fit what was installed, that is said now
    return Operation(run, url=url)


def whole_run(server: Server, name: str, files: Mapping[str, Path | None]) -> Operation:
    """A whole thing of a peer by its own calls, each a transaction, in a database of its own.

    Raises:
        NotMeasured: the peer is not here, or its own client writes the rest.
    """
    peer, database = PEERS[name], f"{name.split()[0].split('_')[0]}_whole"
    if not peer.whole:
        raise NotMeasured("its client writes the rest of it by statements of its own")
    url = server.database(database, "template1")
    peer.install(url, files.get(database.removesuffix("_whole")))

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            known: dict[str, object] = {"id": str(uuid7())}
            for statement in peer.whole:
                words = {"id": "%(id)s::text", **{word: f"%({word})s" for word in known if word != "id"}}
                cursor = connection.execute(statement.format(**words).encode(), known, prepare=True)
                found = cursor.fetchone()
                if cursor.description and found is not None:
                    known[cursor.description[0].name] = found[0]

    with connected(url, "postgres") as connection:
        run(connection, 1)
    return Operation(run, url=url)


def fill(operation: Operation, name: str, first: int, last: int) -> None:
    """Records so many things with a peer's own call, in one statement."""
    assert operation.url
    call = PEERS[name].call.format(id="('load-' || i)")
    if name.startswith("message-db"):  # its ids are uuids
        call = call.replace("('load-' || i)::varchar", "gen_random_uuid()::varchar")
    with psycopg.connect(operation.url, autocommit=True) as admin:
        admin.execute("set synchronous_commit = off")
        column, _, source = call.removeprefix("select ").partition(" from ")
        lateral = f"cross join lateral {source}" if source else ""
        admin.execute(f"select count({column}) from generate_series({first}, {last}) as i {lateral}".encode())
        admin.execute("vacuum (analyze)")


def _run(program: str, *arguments: str) -> str:
    path = PROGRAMS / program
    if not path.exists():
        raise NotMeasured(f"{path.relative_to(ROOT)} is not installed: `make bench` installs bench/requirements.lock")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} {arguments[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def _given(file: Path | None, option: str) -> str:
    if file is None:
        raise NotMeasured(f"plain SQL that is not part of this project: name its file with {option} FILE")
    return file.read_text(encoding="utf-8")


def _execute(url: str, script: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(script.encode())
