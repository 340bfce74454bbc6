"""Servers that the tests start: the embedded 16 and 18, and Debian's 15 where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from harness import embedded
from migrations.frozen_sql import ROOT

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
VERSIONS = (15, 16, 18)

# What a test server may lose in a crash is nobody's.
UNSAFE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n"


@contextmanager
def server(version: int) -> Iterator[str]:
    """A server of its own, in a folder of its own: yields the URL of its superuser; stops and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dotw", dir="/tmp"))  # a socket's path must be short
    folder.chmod(0o755)
    try:
        with _debian(folder) if version == 15 else _embedded(version, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _embedded(version: int, folder: Path) -> Iterator[str]:
    embedded.start(version, folder)
    embedded.stop(version, folder)
    with (folder / f"pg{version}" / "postgresql.conf").open("a") as settings:
        settings.write(UNSAFE)
    url = embedded.start(version, folder)
    try:
        yield url
    finally:
        embedded.stop(version, folder)


@contextmanager
def _debian(folder: Path) -> Iterator[str]:
    if not DEBIAN_15.exists():
        pytest.skip("Debian's postgresql-15 is not installed")
    data = folder / "pg15"
    as_postgres = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_postgres = ["runuser", "-u", "postgres", "--"]

    def run(*command: str) -> None:
        subprocess.run([*as_postgres, *command], cwd="/", check=True, capture_output=True, stdin=subprocess.DEVNULL)

    run(f"{DEBIAN_15}/initdb", "-D", str(data), "--auth=trust", "-U", "postgres", "--encoding=UTF8", "--no-sync")
    settings = "".join(f" -c {line.replace(' ', '')}" for line in UNSAFE.splitlines())
    run(
        f"{DEBIAN_15}/pg_ctl",
        "-w",
        "-D",
        str(data),
        "-l",
        str(folder / "log"),
        "-o",
        f"-h '' -k {folder}{settings}",
        "start",
    )
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        run(f"{DEBIAN_15}/pg_ctl", "-w", "-D", str(data), "-m", "immediate", "stop")


def database_url(server_url: str, database: str, login: str = "postgres") -> str:
    """The URL of another database or login on the same server."""
    parts = psycopg.conninfo.conninfo_to_dict(server_url)
    return f"postgresql://{login}@/{database}?host={parts['host']}"


def fresh_database(server_url: str, name: str, owner: str = "postgres") -> str:
    """Makes an empty database and returns its superuser URL."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')
        admin.execute(f'create database "{name}" owner "{owner}"')
    return database_url(server_url, name)


def upgrade(url: str, revision: str = "head") -> None:
    """`alembic upgrade` of the database at the URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        command.upgrade(Config(str(ROOT / "alembic.ini")), revision)
