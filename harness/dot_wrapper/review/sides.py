"""The two sides of a review: files of a commit, the revision of them that counts, and what their own migrations do.

Nothing of a side is imported here: its migrations run in a process of their own, with the package of that side, against a scratch server.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from dot_wrapper.client.errors import DotWrapperError, InputError
from dot_wrapper.files import ROOT

Section = Literal["alembic", "amendment"]
Direction = Literal["upgrade", "downgrade"]

BASE: Final = "base"
FIRST_WHOLE: Final = "0004"
"""The first revision of the main line that is a whole installation. Those before it are its first parts."""
_REVISION: Final = re.compile(r"base|head|\d{4}|a\d{3}")

# What the proposed code may see of this process's environment: no DATABASE_URL, no token, no setting of libpq.
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Side:
    """One side.

    Attributes:
        name: what the user called it.
        commit: its hash, shortened; None for the installed software.
        revision: a revision of its files, or ``base``.
        section: the main line, or the amendment on top of the main line.
        tree: where its files lie.
    """

    name: str
    commit: str | None
    revision: str
    section: Section
    tree: Path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is installed on this side."""
        return self.revision == BASE and self.section == "alembic"

    @property
    def is_unfinished(self) -> bool:
        """Whether a part of the wrapper is installed that takes no rows, because what its functions read comes with a later revision."""
        return self.section == "alembic" and self.revision != BASE and self.revision < FIRST_WHOLE

    def revisions(self, section: Section | None = None) -> list[str]:
        """All revisions of its files, the oldest first."""
        return revisions(self.tree, section or self.section)

    def command(self, *arguments: str) -> list[str]:
        """A command line of this side's alembic."""
        return [sys.executable, "-P", "-m", "alembic", *arguments]

    def environment(self, url: str | None = None) -> dict[str, str]:
        """The environment of its programs."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        package = self.tree / "harness" if (self.tree / "harness").is_dir() else ROOT.parent.parent
        own = {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        return {**kept, **own, **({"DATABASE_URL": url} if url else {})}

    def run(self, command: list[str], url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a program in its folder, with its package."""
        return subprocess.run(
            command, cwd=self.tree, env=self.environment(url), capture_output=True, text=True, check=False
        )

    def install(self, url: str) -> None:
        """Installs this side into an empty database, by its own migrations.

        Raises:
            DotWrapperError: they failed.
        """
        if self.section == "amendment":
            self.migrate(url, "upgrade", "head", "alembic")
        if self.revision != BASE:
            self.migrate(url, "upgrade", self.revision)

    def migrate(self, url: str, direction: Direction, revision: str, section: Section | None = None) -> None:
        """Runs its alembic.

        Raises:
            DotWrapperError: it failed.
        """
        done = self.run(self.command("-n", section or self.section, direction, revision), url)
        if done.returncode:
            raise DotWrapperError(
                f"{self.name} cannot be installed: `alembic {direction} {revision}` failed",
                detail=last_words(done.stdout + done.stderr),
            )

    def script(self, direction: Direction, start: str, end: str) -> str:
        """The script that a DBA would run from one of its revisions to another.

        Raises:
            DotWrapperError: it cannot be made.
        """
        span = end if direction == "upgrade" and start == BASE else f"{start}:{end}"
        done = self.run(self.command("-n", self.section, direction, span, "--sql"))
        if done.returncode:
            raise DotWrapperError(f"{self.name} has no script for {span}", detail=last_words(done.stderr))
        return done.stdout

    def texts(self) -> dict[str, list[str]]:
        """The text that this side installs of each function and view, by name: the newest frozen copy up to its revision."""
        found = {}
        for section in ("alembic", "amendment") if self.section == "amendment" else ("alembic",):
            if self.revision == BASE and section == self.section:
                continue
            frozen = folder_of(self.tree, section) / "frozen"
            for revision in sorted(path.name for path in frozen.iterdir()) if frozen.is_dir() else ():
                if section != self.section or revision <= self.revision:
                    for path in sorted((frozen / revision).rglob("*.sql")):
                        found[path.stem] = path.read_text(encoding="utf-8").splitlines()
        return found

    def history(self, revision: str, section: Section) -> dict[str, bytes]:
        """The files of one revision: its statements and the copies that it applies."""
        folder = folder_of(self.tree, section)
        files = [*folder.glob(f"versions/{revision}_*"), *(folder / "frozen" / revision).rglob("*.sql")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}

    def released(self) -> set[str]:
        """The revisions that its files declare released: none of them may change any more."""
        names = set()
        for section in ("alembic", "amendment"):
            file = folder_of(self.tree, section) / "RELEASED.sha256"
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            names |= set(re.findall(r"^\w+  versions/(\w+?)_", text, re.MULTILINE))
        return names


def resolve(names: tuple[str, str], section: Section, folder: Path, repository: Path) -> tuple[Side, Side]:
    """The sides that a user named: commits, revisions of HEAD, or ``commit:revision``. Their files are put into the folder.

    Outside a checkout a revision is one of the installed software.

    Raises:
        InputError: there is no such commit or revision.
        DotWrapperError: git is not installed, or refuses.
    """
    top = _top(repository)
    first, second = (_resolve(name, section, folder, top) for name in names)
    if section == "amendment" and first.revisions("alembic")[-1] != second.revisions("alembic")[-1]:
        raise InputError(
            "both sides of a review of the amendment stand on one revision of the main line: review that first, without --section"
        )
    return first, second


def rewritten(first: Side, second: Side) -> list[str]:
    """The revisions that both sides have up to their own, with another text."""
    found = []
    for section in ("alembic", "amendment") if first.section == "amendment" else ("alembic",):
        both = set(first.revisions(section)) & set(second.revisions(section))
        if section == first.section:
            both = {one for one in both if BASE not in (first.revision, second.revision)} & {
                one for one in both if one <= min(first.revision, second.revision)
            }
        found += [one for one in both if first.history(one, section) != second.history(one, section)]
    return sorted(found)


def laid_over(side: Side, files: Path, folder: Path) -> Side:
    """A side with more files laid over its own, at its newest revision."""
    shutil.copytree(side.tree, folder)
    shutil.copytree(files, folder, dirs_exist_ok=True)
    return replace(
        side, name=f"{side.name} with {files.name}", tree=folder, revision=revisions(folder, side.section)[-1]
    )


def revisions(tree: Path, section: Section) -> list[str]:
    """The revisions of a checkout, the oldest first: their ids have the order of their text."""
    names = (path.name.partition("_")[0] for path in (folder_of(tree, section) / "versions").glob("*_*.py"))
    return sorted(name for name in names if _REVISION.fullmatch(name))


def folder_of(tree: Path, section: str) -> Path:
    """Where a section's revisions lie."""
    return tree / "amendment" / "migrations" if section == "amendment" else tree / "migrations"


def last_words(printed: str) -> str:
    """The end of what a failed program printed."""
    return "\n".join([line for line in printed.splitlines() if line.strip()][-6:])


def _top(repository: Path) -> Path | None:
    try:
        return Path(_git(repository, "rev-parse", "--show-toplevel").decode().strip())
    except DotWrapperError:
        if any((one / ".git").exists() for one in (repository, *repository.parents)):
            raise
        return None


def _resolve(name: str, section: Section, folder: Path, top: Path | None) -> Side:
    at, _, revision = name.rpartition(":")
    if not _REVISION.fullmatch(revision):
        at, revision = name, "head"
    # git takes an empty name for HEAD. A script whose variable is not set would compare HEAD with itself, and pass.
    if not at.strip() and name != revision:
        raise InputError(
            f"a side of the review names no commit: {name!a}; name HEAD, or a revision alone, such as 0004"
        )
    if top is None:
        if at:
            raise InputError(
                f"{at} is a commit, and this is no git checkout: name two revisions, or run it in a checkout"
            )
        commit, tree = None, ROOT
    else:
        try:
            hashed = _git(top, "rev-parse", "--verify", "--quiet", f"{at or 'HEAD'}^{{commit}}")
        except DotWrapperError as error:
            raise InputError(f"{at} is neither a commit of {top} nor a revision such as 0004") from error
        commit = hashed.decode().strip()[:12]
        tree = folder / commit
        if not tree.exists():
            _unpack(top, commit, tree)
    if not (tree / "alembic.ini").exists() or not folder_of(tree, section).is_dir():
        raise InputError(f"{name} has no migrations of the DOT wrapper at its top")
    known = revisions(tree, section)
    if revision == "head":
        revision = known[-1]
    if revision not in (BASE, *known):
        raise InputError(f"{name}: there is no revision {revision} in the section {section}; --section says which")
    return Side(name, commit, revision, section, tree)


def _unpack(top: Path, commit: str, tree: Path) -> None:
    tree.mkdir(parents=True)
    # A zip, because ZipFile makes files and folders alone, none outside of the tree; tarfile does so from Python 3.11.4 on.
    with zipfile.ZipFile(io.BytesIO(_git(top, "archive", "--format=zip", commit))) as archive:
        archive.extractall(tree)


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise DotWrapperError("git is not installed, and the sides of a review are commits") from error
    if done.returncode:
        raise DotWrapperError(
            f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip() or 'no such commit'}",
            hint="A CI that fetches one commit alone has to fetch the others: fetch-depth: 0 for actions/checkout.",
        )
    return done.stdout
