"""What some tests need and no lock file brings: a Debian package each. Without one its tests are skipped, and the end of a run says so.

python -m tools.missing     prints the packages that are not installed, one a line; 1 where one is missing
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

DEBIAN_15: Final = Path("/usr/lib/postgresql/15/bin")

_PROGRAMS: Final = {
    "postgresql-15": DEBIAN_15 / "postgres",
    "postgresql-15-plpgsql-check": Path("/usr/share/postgresql/15/extension/plpgsql_check.control"),
}


def pgbouncer() -> str | None:
    """The path of the transaction pooler; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


def missing() -> list[str]:
    """The names of the packages that are not installed."""
    found = [package for package, file in _PROGRAMS.items() if not file.exists()]
    return found if pgbouncer() else [*found, "pgbouncer"]


def main() -> int:
    packages = missing()
    print("\n".join(packages))
    return int(bool(packages))


if __name__ == "__main__":
    sys.exit(main())
