"""The tree of folders in ``docs/architecture.md`` is that of the repository."""

from __future__ import annotations

import re
from pathlib import Path

from dot_wrapper.files import ROOT

PAGE = ROOT / "docs" / "architecture.md"


def drawn(page: str) -> set[str]:
    """The paths of the tree under the heading ``Folders``; those of folders end in a slash."""
    (tree,) = re.findall(r"^## Folders$.*?^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    above: list[str] = []
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        above = [*above[: len(indent) // 2], name]
        found.add("".join(above))
    return found


def folders(root: Path) -> set[str]:
    """The folders that have a file of the repository somewhere below; the frozen copies as one folder."""
    files = (
        path.relative_to(root)
        for top in ("harness", "sql", "migrations", "amendment", "tools", "tests", "bench", "examples", "docs")
        for path in (root / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "egg-info" not in str(path)
    )
    found = {str(folder) for file in files for folder in file.parents if str(folder) not in (".", "harness")}
    return {re.sub(r"(?<=/frozen)/.*", "", folder) + "/" for folder in found}


def test_each_folder_is_drawn_and_all_that_is_drawn_exists() -> None:
    tree = drawn(PAGE.read_text(encoding="utf-8"))
    assert sorted(path for path in tree if not (ROOT / path).exists()) == []
    assert sorted(folders(ROOT) - tree) == []


def test_a_folder_that_is_not_drawn_is_told(tmp_path: Path) -> None:
    for file in ("tests/new/test_a.py", "migrations/frozen/0001/a.sql", "tools/__pycache__/a.pyc"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert folders(tmp_path) == {"tests/", "tests/new/", "migrations/", "migrations/frozen/"}
    page = "## Folders\n\n```text\ntests/     the tests\n  new/     new ones\ntools/\n```\n"
    assert drawn(page) == {"tests/", "tests/new/", "tools/"}
