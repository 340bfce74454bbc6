"""A copy of the project in which a test adds a revision."""

from __future__ import annotations

import shutil
from pathlib import Path

from dot_wrapper.deploy.frozen_sql import FrozenSql
from dot_wrapper.files import ROOT
from support.catalog import finished, run_alembic, start_alembic, start_module


class Checkout:
    """A copy of the project in which a developer adds a revision, with the programs a developer uses."""

    def __init__(self, root: Path) -> None:
        for folder in ("sql", "migrations", "harness", "amendment", "tools"):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "alembic.ini", root)
        self.root = root
        self.tree = FrozenSql(root)

    def alembic(self, *arguments: str, url: str = "") -> str:
        status, printed = finished(start_alembic(*arguments, url=url, root=self.root))
        assert status == 0, printed
        return printed

    def frozen_sql(self, *arguments: str) -> tuple[int, str]:
        return finished(start_module("tools.frozen", *arguments, root=self.root))

    def revision(self, number: str, *names: str) -> Path:
        """Adds a revision from the template and lists the files it applies; returns its path."""
        done = run_alembic("revision", "--rev-id", number, "-m", "change a function", root=self.root)
        assert done[0] == 0, done
        path = self.root / "migrations" / "versions" / f"{number}_change_a_function.py"
        applies = "APPLIES: tuple[str, ...] = ()"
        text = path.read_text(encoding="utf-8")
        assert applies in text
        path.write_text(text.replace(applies, f"APPLIES = {names!r}"), encoding="utf-8")
        return path
