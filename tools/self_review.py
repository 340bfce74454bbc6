"""Makes the review packet of HEAD, from where it left main, and says whether it may land: what is red needs a line in
``migrations/declared.txt``, which says why.

Where the change has no revision of its own, the made-up one of the tests is rehearsed on top of it.

    python -m tools.self_review         the page is .venv/review.md; 1 where something is red and not declared, or no page
                                        could be made; 0, and NOT REVIEWED, where the checkout has no earlier commit
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dot_wrapper import cli
from dot_wrapper.cli.exit_codes import A_PERSON_DECIDES, DO_NOT_DEPLOY, DONE
from dot_wrapper.files import ROOT

MADE_UP = ROOT / "tests" / "review" / "made_up" / "first"
PAGE = ROOT / ".venv" / "review.md"


class NoBase(Exception):
    """There is no earlier commit to compare with; the message says what to do."""


def base(repository: Path) -> str | None:
    """The commit at which HEAD left main; on main the one before. None for the first commit of all.

    Raises:
        NoBase: the history was not fetched.
    """
    head = _git(repository, "rev-parse", "HEAD")
    if not head:
        raise NoBase("this is no clone of the repository: there is no earlier commit to compare with")
    for main in ("origin/main", "main"):
        found = _git(repository, "merge-base", main, "HEAD")
        if found and found != head:
            return found
    if before := _git(repository, "rev-parse", "--verify", "--quiet", "HEAD~"):
        return before
    if _git(repository, "rev-parse", "--is-shallow-repository") == "true":
        raise NoBase("only the newest commit was fetched: fetch the history, for instance by git fetch --unshallow")
    return None


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def main() -> int:
    try:
        start = base(ROOT)
    except NoBase as error:
        # A checkout that cannot be compared is no fault of the change: said, for the reader of the log.
        print(f"NOT REVIEWED: {error}", file=sys.stderr)
        return 0
    if start is None:
        print("the first commit of all: there is nothing to compare it with")
        return 0
    code = cli.run(["review", start, "HEAD", "--made-up", str(MADE_UP), "-o", str(PAGE)])
    if code == DO_NOT_DEPLOY:
        print(f"red and not declared in migrations/declared.txt: {PAGE} says what and why", file=sys.stderr)
    return 0 if code in (DONE, A_PERSON_DECIDES) else 1


if __name__ == "__main__":
    sys.exit(main())
