"""Servers that live as long as a block, with a folder of their own: the embedded one, or programs that are installed on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dot_wrapper.operations import embedded

# Room in memory for the servers of two processes, in bytes.
ROOM: Final = 4 << 30

# A scratch server may lose what it has when the machine stops.
UNSAFE: Final = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nmax_prepared_transactions = 4\n"


@contextmanager
def scratch_server(which: int | Path, settings: str = UNSAFE, *, parent: str | None = None) -> Iterator[str]:
    """A server of its own: yields the URL of its superuser; stops and removes it afterwards.

    Args:
        which: the version of the embedded server, or the folder of installed programs.
        settings: lines of postgresql.conf.
        parent: where its folder lies; by default ``parent_folder()``.

    Raises:
        EmbeddedServerError: the embedded server is not installed, or does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir=parent or parent_folder()))
    folder.chmod(0o755)
    try:
        started = _installed(which, folder, settings) if isinstance(which, Path) else _embedded(which, folder, settings)
        with started as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parent_folder() -> str:
    """Where the folders of servers lie: ``DOT_TEST_FOLDER``, or memory where there is room, or /tmp. A socket's path must be short."""
    memory = Path("/dev/shm")  # noqa: S108 - the name of each folder is random
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM
    return os.environ.get("DOT_TEST_FOLDER") or str(memory if roomy else "/tmp")  # noqa: S108  as above


@contextmanager
def _embedded(version: int, folder: Path, settings: str) -> Iterator[str]:
    embedded.start(version, folder)
    embedded.stop(version, folder)
    with (folder / f"pg{version}" / "postgresql.conf").open("a") as file:
        file.write(settings)
    url = embedded.start(version, folder)
    try:
        yield url
    finally:
        embedded.stop(version, folder)


@contextmanager
def _installed(programs: Path, folder: Path, settings: str) -> Iterator[str]:
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    initdb = ("-D", str(data), "--auth=trust", "-U", "postgres", "--encoding=UTF8", "--no-sync")
    run_as_owner(folder, programs / "initdb", *initdb)
    with (data / "postgresql.conf").open("a") as file:
        file.write(settings)
    log = str(folder / "log")
    run_as_owner(data, programs / "pg_ctl", "-w", "-D", str(data), "-l", log, "-o", f"-h '' -k {folder}", "start")
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        run_as_owner(data, programs / "pg_ctl", "-w", "-D", str(data), "-m", "immediate", "stop")


def as_owner(folder: Path) -> list[str]:
    """How a command begins that runs as the user whose folder it is: no server runs as root."""
    return ["runuser", "-u", folder.owner(), "--"] if os.geteuid() == 0 else []


def run_as_owner(folder: Path, program: Path, *arguments: str) -> None:
    """Runs a program of a server as the user whose folder it is."""
    command = [*as_owner(folder), str(program), *arguments]
    subprocess.run(command, cwd="/", check=True, capture_output=True, stdin=subprocess.DEVNULL)
