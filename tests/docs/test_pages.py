"""Every page is true: its blocks run and print what it shows, its files exist. A page is any file in docs/ or a folder of it, and README.md."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from dot_wrapper.files import ROOT
from support import Database
from support.documents import Session, blocks, check

PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]

TUTORIAL = "docs/tutorial.md"


@pytest.mark.usefixtures("client_programs")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_does_what_the_page_shows(
    page: str, db: Database, tmp_path: Path, server_home: Path
) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # the pages are written for somebody in the checkout
    environment = {
        "DATABASE_URL": db.url_as("operator"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if page == TUTORIAL:  # it begins with nothing: an embedded server of its own
        environment |= {"DOT_WRAPPER_HOME": str(server_home)}
        del environment["DATABASE_URL"]
    with Session(db.url_as("operator"), tmp_path, environment) as session:
        assert check(page, text, session) == sum(block.not_run is None for block in blocks(text))


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_run_says_why(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    reasons = [block.not_run for block in blocks(text) if block.not_run is not None]
    assert all(reasons)
    assert len(reasons) == text.count("not run:"), "a comment that is not directly above a block that would be run"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w./-])((?:sql|migrations|harness|tests|bench|docs|examples)/[\w./-]*\w)", text))
    folder = (ROOT / page).parent
    linked = set(re.findall(r"\]\(([\w./-]+\.(?:md|svg))(?:#[\w-]*)?\)", text))
    assert named | linked
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    assert [path for path in sorted(linked) if not (folder / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_a_page_has_a_heading(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert [link for link in re.findall(r"\]\(#([\w-]+)\)", text) if link not in anchors] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    files = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
    exist = set(re.findall(r"^def (test_\w+)", "\n".join(files), re.MULTILINE))
    assert sorted(set(re.findall(r"(?<![\w/])test_\w+\b(?!\.py)", text)) - exist) == []
