"""Whole packets, made by the command from commits of a repository. The page of the made-up revision is kept, without times."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dot_wrapper.review import findings
from dot_wrapper.review.checks import checker_programs
from dot_wrapper.review.packet import Request, make
from dot_wrapper.review.page import BRIEF, page
from support.reviews import FIRST, SECOND, checkout, commit, lay_over

GOLDEN = Path(__file__).with_name("made_up.md")


def reviewed(repository: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs `dot-wrapper review` in a repository: exit code, standard output, standard error."""
    program = str(Path(sys.executable).parent / "dot-wrapper")
    done = subprocess.run(
        [program, "review", *arguments],
        cwd=repository,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def timeless(text: str) -> str:
    """A page without what differs from run to run: times, who was seen waiting, and what scripts and commits hash to."""
    text = re.sub(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\d+(\.\d+)? ms", "N ms", text)
    text = re.sub(r"\d+%", "N%", text)
    text = re.sub(r"Waited: .*?\. Milli", "Waited: SOMEBODY. Milli", text)
    text = re.sub(r"Behind the upgrade queued: .*?;", "Behind the upgrade queued: SOMEBODY;", text)
    text = re.sub(r"\d+ lines", "N lines", text)
    # The scripts begin with what every script begins with.
    return re.sub(r"(?ms)^(`{3,})sql\n.*?^\1$", r"\1sql\nTHE SCRIPT\n\1", text)


@pytest.mark.skipif(checker_programs() is None, reason="needs Debian's postgresql-15 with postgresql-15-plpgsql-check")
def test_the_page_of_the_made_up_revision(tmp_path: Path, subtests: pytest.Subtests) -> None:
    repository = checkout(tmp_path / "repository", FIRST)
    commit(repository, "first")
    lay_over(repository, SECOND)
    commit(repository, "second")
    packet = make(Request(("first", "second"), repository=repository, stats={"made_up_note": 12_000_000}))
    names = {"upgrade": "review.upgrade.sql", "downgrade": "review.downgrade.sql"}
    text = page(packet, names)  # type: ignore[arg-type]  # the two directions
    with subtests.test("it is the page that is kept"):
        if os.environ.get("DOT_PAGES") == "write":
            GOLDEN.write_text(timeless(text), encoding="utf-8")
        assert timeless(text) == GOLDEN.read_text(encoding="utf-8")
    with subtests.test("its verdict"):
        assert packet.verdict == "do not deploy"
    with subtests.test("a comment that forges a verdict stays inside its block"):
        assert hostile_outside(text) == []
    with subtests.test("it fits into a comment"):
        brief = page(packet, names, brief=True)  # type: ignore[arg-type]  # as above
        assert len(brief) <= BRIEF
        assert "THE SCRIPT" not in timeless(brief)
        long = dataclasses.replace(packet.changes[0], after=tuple(f"line {n}" for n in range(30_000)))
        packet.changes[0] = long
        shortened = page(packet, names, brief=True)  # type: ignore[arg-type]  # as above
        assert len(shortened) <= BRIEF
        assert "the diff is left out for its length" in shortened
        assert "## 6. Scripts" in shortened
    with subtests.test("with every red one declared a person decides"):
        reasons = {(one.rule, one.subject): "known" for one in packet.findings if one.level == "red"}
        assert findings.verdict(findings.declare(packet.findings, reasons)) == "a person decides"
        del reasons[next(iter(reasons))]
        assert findings.verdict(findings.declare(packet.findings, reasons)) == "do not deploy"


def hostile_outside(text: str) -> list[str]:
    """Lines outside of blocks and inline code that hold what the made-up comment forges."""
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", text)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    forged = [line for line in outside.splitlines() if "nothing to decide" in line or "<b>yes" in line]
    return forged + ([] if outside.count("<!-- dot-wrapper review -->") == 1 else ["a second marker"])
