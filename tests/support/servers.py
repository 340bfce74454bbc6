"""What a test does to a server of its own: where it lies, how it listens, and how it dies."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dot_wrapper.operations.scratch import parent_folder, run_as_owner
from tools import scratch
from tools.scratch import programs


@contextmanager
def server(version: int, settings: str = "") -> Iterator[str]:
    """``tools.scratch.server``; where this machine has no programs of that version the test is skipped."""
    try:
        with scratch.server(version, settings) as url:
            yield url
    except scratch.NotInstalled as missing:
        pytest.skip(str(missing))


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
    options = f"-h 127.0.0.1 -p {port} -k {sockets}"
    log = str(data / "tcp.log")
    run_as_owner(
        data, programs(version) / "pg_ctl", "-w", "-D", str(data), "-l", log, "-m", "fast", "-o", options, "restart"
    )
    return port


@contextmanager
def folder_of(owner: Path) -> Iterator[Path]:
    """A folder of the user whose folder it is: where that user may make another data directory. Its path is short, for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir=parent_folder()))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, owner.owner())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby(superuser: str) -> Iterator[str]:
    """A hot standby that streams from a server of ours, for the length of the block: the URL of its superuser."""
    with psycopg.connect(superuser) as primary:
        here = programs(primary.info.server_version // 10000)
    with folder_of(data_directory(superuser)) as folder:
        data = str(folder / "standby")
        copy = ("--dbname", superuser, "--pgdata", data, "--write-recovery-conf", "--checkpoint", "fast")
        run_as_owner(folder, here / "pg_basebackup", *copy)
        log, options = str(folder / "log"), f"-h '' -k {folder}"
        run_as_owner(folder, here / "pg_ctl", "-w", "-D", data, "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run_as_owner(folder, here / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def kill(data: Path) -> None:
    """Kills a server of ours as a power cut would: every process of it at once, none has time to write anything.

    The postmaster is stopped first, so that it starts no process while its children are counted.
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
    # Who is dead and not waited for looks alive to the next postmaster.
    for lock in (data / "postmaster.pid", *Path(sockets).glob(".s.PGSQL.*.lock")):
        lock.unlink()
    run_as_owner(
        data,
        programs(version) / "pg_ctl",
        "-w",
        "-D",
        str(data),
        "-l",
        str(data / "again.log"),
        "-o",
        f"-h '' -k {sockets}",
        "start",
    )


def free_port() -> int:
    """A port of 127.0.0.1 on which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
