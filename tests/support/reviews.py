"""What the tests of reviews share: a repository of one's own with the files of this one, and revisions made up for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dot_wrapper.files import ROOT

MADE_UP = ROOT / "tests" / "review" / "made_up"
FIRST, SECOND = MADE_UP / "first", MADE_UP / "second"

_FILES = ("alembic.ini", "squawk.toml", "migrations", "amendment", "sql", "harness")


def checkout(folder: Path, *laid_over: Path) -> Path:
    """A copy of what a review reads of this checkout, of which nothing is released, with more files laid over it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "migrations" / "RELEASED.sha256").write_text("# Nothing is released.\n", encoding="utf-8")
    for files in laid_over:
        lay_over(folder, files)
    return folder


def lay_over(folder: Path, files: Path) -> None:
    """Lays files over those of a checkout."""
    shutil.copytree(files, folder, dirs_exist_ok=True)


def commit(folder: Path, name: str) -> None:
    """Commits all files of a folder, which becomes a repository, under a tag."""
    if not (folder / ".git").exists():
        _git(folder, "init", "-q", "-b", "main")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", name)
    _git(folder, "tag", name)


def revision(folder: Path, upgrade: str, downgrade: str = "", number: str = "9002") -> None:
    """Adds a revision of some statements, or of lines of Python that begin with ``!``."""
    body = "\n".join(
        f"def {name}() -> None:\n{_python(text)}\n" for name, text in (("upgrade", upgrade), ("downgrade", downgrade))
    )
    (folder / "migrations" / "versions" / f"{number}_made_up.py").write_text(
        "from alembic import op\n"
        "from dot_wrapper.deploy.frozen_sql import MAIN_LINE, apply, execute, lock_views, revert\n"
        f'revision = "{number}"\ndown_revision = "{int(number) - 1}"\nbranch_labels = None\ndepends_on = None\n'
        f"APPLIES = ()\n\n\n{body}",
        encoding="utf-8",
    )


def _python(text: str) -> str:
    if text.startswith("!"):
        return "\n".join(f"    {line}" for line in text[1:].splitlines())
    return f"    execute({text!r})" if text else "    pass"


def _git(folder: Path, *arguments: str) -> None:
    someone = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", "-C", str(folder), *arguments], env={**os.environ, **someone}, check=True, capture_output=True
    )
