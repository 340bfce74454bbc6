"""Every page is true: its blocks run and print what it shows, its files and links exist. A page is any Markdown file in docs/ or a folder
of it, and those beside README.md."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from dot_wrapper.files import ROOT
from support import Database
from support.documents import Session, blocks, check

PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

ON_ITS_OWN = ("docs/tutorial.md", "docs/howto/prove.md", "docs/howto/adopt.md")
"""The pages that begin with nothing: an embedded server of their own."""


@pytest.mark.usefixtures("client_programs")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_does_what_the_page_shows(
    page: str, db: Database, tmp_path: Path, server_home: Path
) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # the pages are written for a reader in the checkout
    environment = {
        "DATABASE_URL": db.url_as("operator"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if page in ON_ITS_OWN:
        environment |= {"DOT_WRAPPER_HOME": str(server_home)}
        del environment["DATABASE_URL"]
    written = [text]

    def write(shown: str, printed: str) -> None:
        """``DOT_PAGES=write`` puts what was printed into the page."""
        told = re.sub(
            r"^DATABASE_URL is not set: .*\n", "", printed, flags=re.MULTILINE
        )  # it names a folder of the test
        before, after = (f"\n{one.strip(chr(10))}\n```" for one in (shown, told))
        written.append(written[-1].replace(before, after))
        (ROOT / page).write_text(written[-1], encoding="utf-8")

    differs = write if os.environ.get("DOT_PAGES") == "write" else None
    with Session(db.url_as("operator"), tmp_path, environment) as session:
        assert check(page, text, session, differs) == sum(block.not_run is None for block in blocks(text))


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_run_says_why(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    reasons = [block.not_run for block in blocks(text) if block.not_run is not None]
    assert all(reasons)
    assert len(reasons) == text.count("not run:"), "a comment that is not directly above a block that would be run"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_a_page_names_exists(page: str) -> None:
    text = re.sub(r"\]\([^)]*\)", "]", (ROOT / page).read_text(encoding="utf-8"))
    named = set(re.findall(r"(?<![\w./-])((?:sql|migrations|harness|tests|bench|docs|examples)/[\w./-]*\w)", text))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]*)\)", text) if not link.startswith("https://")]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as GitHub spells them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = (ROOT / "tests", ROOT / "harness" / "dot_wrapper" / "proving" / "suite")
    files = [file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("test_*.py")]
    exist = set(re.findall(r"^def (test_\w+)", "\n".join(files), re.MULTILINE))
    assert sorted(set(re.findall(r"(?<![\w/])test_\w+\b(?!\.py)", text)) - exist) == []


def test_the_diff_of_the_first_page_is_of_the_file_of_today() -> None:
    (diff,) = re.findall(r"^```diff\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    _, name, _, *lines = diff.splitlines()
    kept = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    assert kept in (ROOT / name.removeprefix("+++ ")).read_text(encoding="utf-8")


def test_every_page_that_a_file_of_the_repository_names_exists() -> None:
    folders = ("harness", "sql", "migrations", "amendment", "tools", "tests", "bench")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sql")]
    texts = {path: path.read_text(encoding="utf-8") for path in [*files, ROOT / "Makefile", ROOT / "alembic.ini"]}
    named = {(str(path), name) for path, text in texts.items() for name in re.findall(r"\bdocs/[\w./-]+\.\w+\b", text)}
    assert len(named) > 10
    assert sorted((path, name) for path, name in named if not (ROOT / name).exists()) == []
