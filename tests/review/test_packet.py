"""Whole packets, made by the command from commits of a repository. The page of the made-up revision is kept, without times."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.review import findings
from dot_wrapper.review import packet as packets
from dot_wrapper.review.checks import checker_programs, squawk, stats, suite
from dot_wrapper.review.packet import Packet, Request, make
from dot_wrapper.review.page import BRIEF, page
from dot_wrapper.review.sides import Side, rewritten
from support.catalog import HEAD
from support.reviews import FIRST, SECOND, checkout, commit, lay_over
from support.reviews import revision as add_revision

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
    text = re.sub(r"Waited: .*", "Waited: THOSE SEEN.", text)
    text = re.sub(r"Behind the upgrade queued: .*? Once", "Behind the upgrade queued: THOSE SEEN. Once", text)
    text = re.sub(r"\d+ lines", "N lines", text)
    text = re.sub(r"on PostgreSQL \d+: ", "on PostgreSQL N: ", text)
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
    with subtests.test("reasons that are too many for the top are in their chapter"):
        many = [findings.Finding("yellow", "settings", str(n), f"setting {n}", findings.RIGHTS) for n in range(5)]
        top, _, chapters = page(dataclasses.replace(packet, findings=many), {}).partition("## 1. Rights")
        assert "5 of this kind, such as: setting 0" in top
        assert re.findall("^- 🟡 (setting .) · `settings`$", chapters, re.MULTILINE) == [one.text for one in many]
    with subtests.test("an upgrade that the amendment does not stop is not said to be refused"):
        free = dataclasses.replace(packet, scripts={"upgrade": "select 1"})
        assert "are refused (SQLSTATE 55000" in text
        assert "are refused (SQLSTATE 55000" not in page(free, {})
    with subtests.test("tables that lose rows are not said to keep them"):
        assert packet.rehearsal is not None
        lossy = dataclasses.replace(packet.rehearsal, lost={("downgrade", "made_up_note"): (1000, 999)})
        assert "no table has fewer rows" in text
        assert "no table has fewer rows" not in page(dataclasses.replace(packet, rehearsal=lossy), {})
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


def rewrite(repository: Path) -> None:
    """Takes a right out of a copy that a revision applies, and silences a rule of squawk there."""
    (copy, *_) = sorted((repository / "migrations" / "frozen").rglob("v_dot_tool.sql"))
    text = copy.read_text("utf-8").replace("to dot_reader, dot_cataloguer", "to dot_reader")
    copy.write_text(f"-- squawk-ignore ban-drop-view\n{text}", encoding="utf-8")


def test_history_that_is_rewritten_is_compared_and_a_made_up_revision_rehearsed(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    repository = checkout(tmp_path / "repository")
    commit(repository, "first")
    rewrite(repository)
    commit(repository, "second")
    made_up = repository / "made_up"
    lay_over(made_up, FIRST)
    # What is proposed may not see where a real database is, nor a token.
    seen = tmp_path / "environment"
    (file,) = made_up.rglob("9001_made_up.py")
    looks = f"import os\nfrom pathlib import Path\nPath({str(seen)!r}).write_text(repr(dict(os.environ)))\n"
    file.write_text(file.read_text("utf-8") + looks, encoding="utf-8")
    secrets = {"DATABASE_URL": "postgresql://real@/real?host=/nowhere", "GITHUB_TOKEN": "a token", "PGHOST": "/nowhere"}
    out = tmp_path / "review.md"
    code, printed, error = reviewed(
        repository, "first", "second", "--made-up", str(made_up), "-o", str(out), "--json", **secrets
    )
    assert code == 6, error
    told = json.loads(printed)
    with subtests.test("the verdict and what it rests on"):
        assert told["verdict"] == "a person decides"
        rules = {(one["level"], one["rule"]) for one in told["findings"] if one["level"] != "note"}
        assert rules >= {("yellow", "rewritten"), ("yellow", "right-lost"), ("yellow", "suite-not-run")}
        assert told["scripts"] == {}
    with subtests.test("the page says what was rehearsed"):
        text = out.read_text("utf-8")
        assert "rewritten before the release: `0004`" in text
        assert (
            "B upgraded by the revision of `made_up`, made up because B has none of its own, is both installed" in text
        )
        assert "### Downgrade: " in text
    with subtests.test("the proposed code saw scratch servers alone"):
        environment = seen.read_text("utf-8")
        assert "DATABASE_URL" in environment
        assert [secret for secret in ("/nowhere", "a token") if secret in environment] == []


def test_a_squawk_that_does_not_run_has_not_found_nothing(tmp_path: Path) -> None:
    config = tmp_path / "squawk.toml"
    config.write_text('pg_version = "15.0', encoding="utf-8")
    with pytest.raises(DotWrapperError, match="squawk failed"):
        squawk("select 1;", config, tmp_path)


def test_a_first_installation_is_a_matrix_and_short(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository")
    commit(repository, "first")
    result = tmp_path / "suite.xml"
    result.write_text('<testsuite><testcase classname="a.b" name="t"/></testsuite>')
    out = tmp_path / "review.md"
    code, _, error = reviewed(repository, "base", "head", "--suite", str(result), "-o", str(out))
    assert code == 6, error
    text = out.read_text("utf-8")
    assert len(text.splitlines()) < 300
    assert len(text) < BRIEF
    (row,) = re.findall(r"^\| `fn_process_run_observe` \|(.*)\|$", text, re.MULTILINE)
    (heading,) = re.findall(r"^\| function or view \|(.*)\|$", text, re.MULTILINE)
    roles = [role.strip().replace("\\", "") for role in heading.split("|")]
    assert [role for role, mark in zip(roles, row.split("|"), strict=True) if mark.strip()] == ["dot_writer"]
    assert "1 property tests on B: 0 failed, 0 skipped." in text
    script = out.with_name("review.upgrade.sql").read_bytes()
    assert hashlib.sha256(script).hexdigest() in text


def test_a_revision_on_top_of_rewritten_history_is_rehearsed_from_its_own_start(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository")
    (repository / "migrations" / "RELEASED.sha256").write_text("0f  versions/0004_views.py\n", encoding="utf-8")
    commit(repository, "first")
    rewrite(repository)
    lay_over(repository, FIRST)
    # Red, unless the change says why.
    (repository / "migrations" / "declared.txt").write_text("rewritten 0004: no database has it\n", encoding="utf-8")
    commit(repository, "second")
    out = tmp_path / "review.md"
    code, printed, error = reviewed(repository, "first", "second", "-o", str(out), "--json")
    assert code == 6, error
    assert {one["declared"] for one in json.loads(printed)["findings"] if one["level"] == "red"} == {
        "no database has it"
    }
    rules = {one["rule"]: one["subject"] for one in json.loads(printed)["findings"] if one["level"] != "note"}
    assert rules["rewritten"] == "0004"
    assert rules["right-lost"] == "view dot.v_dot_tool dot_cataloguer"
    assert f"B's own {HEAD} upgraded is B installed" in out.read_text("utf-8")
    assert "9001.1" in out.read_text("utf-8")
    # The script from there on has nothing of 0004 itself.
    assert "silenced in the text: `ban-drop-view` 1 times" in out.read_text("utf-8")
    assert "(`--stats`)" in out.read_text("utf-8")


def test_the_amendment_is_a_section_of_its_own(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository")
    commit(repository, "first")
    out = tmp_path / "review.md"
    code, printed, error = reviewed(repository, "base", "HEAD:a002", "--section", "amendment", "-o", str(out), "--json")
    assert code == 6, error
    told = json.loads(printed)
    assert told["to"]["revision"] == "a002"
    assert {one["rule"] for one in told["findings"] if one["level"] == "red"} == set()
    text = out.read_text("utf-8")
    assert re.search(r"^### Upgrade: \d+ statements in 2 transactions, lock_timeout 500ms$", text, re.MULTILINE)
    assert "fn_status_stored" in text


def test_the_same_on_both_sides_is_nothing_to_decide(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository")
    commit(repository, "first")
    (repository / "README.md").write_text("other words")
    commit(repository, "second")
    code, printed, error = reviewed(repository, "first", "HEAD")
    assert code == 0, error
    assert "**✅ nothing to decide**" in printed
    assert "No object differs." in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such", "HEAD"], "no-such is neither a commit"),
        (["", "HEAD"], "names no commit: ''"),
        (["HEAD", " "], "names no commit: ' '"),
        (["", "0004"], "names no commit: ''"),
        ([":0004", "HEAD"], "names no commit: ':0004'"),
        (["0004", "9999"], "there is no revision 9999"),
        (["0004", "HEAD:a002"], "there is no revision a002 in the section alembic"),
        (["HEAD:0004", "HEAD:0003"], "name the older side first"),
        (["0003", "0004"], "as its older side a review takes base, or a revision from 0004 on"),
        (["0002", "0003"], "0002 is at revision 0002, which is no whole installation"),
        (["--upload-pack=x", "HEAD"], "No such option"),
        (["HEAD", "HEAD", "--section", "no"], "--section is alembic or amendment"),
        (["HEAD", "HEAD", "--suite", "alembic.ini"], "is no JUnit XML"),
        (["HEAD", "HEAD", "--stats", "alembic.ini"], "is not CSV of relname, n_live_tup"),
    ],
)
def test_what_is_misspelt_is_bad_use_and_no_verdict(tmp_path: Path, arguments: list[str], said: str) -> None:
    repository = checkout(tmp_path / "repository")
    commit(repository, "first")
    code, printed, error = reviewed(repository, *arguments)
    assert (code, printed) == (2, "")
    assert said in " ".join(error.replace("│", "").split())


def test_files_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("relname,n_live_tup\nevent_outbox,7\n", encoding="utf-8-sig")
    assert stats(file) == {"event_outbox": 7}
    file.write_text('<testsuite><testcase classname="a" name="b"/></testsuite>', encoding="utf-8-sig")
    assert suite(file).tests == 1


def test_outside_a_checkout_a_revision_is_one_of_the_installed_software(tmp_path: Path) -> None:
    code, printed, error = reviewed(tmp_path, "head", "head")
    assert code == 0, error
    assert "commits" not in printed.partition("A is ")[0]
    code, _, error = reviewed(tmp_path, "HEAD~", "head")
    assert (code, "HEAD~ is a commit, and this is no git checkout" in error) == (2, True)


def test_a_side_that_cannot_be_installed_is_no_verdict(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository", FIRST)
    commit(repository, "first")
    add_revision(repository, "select 1 / 0")
    commit(repository, "second")
    code, printed, error = reviewed(repository, "first", "second")
    assert (code, printed) == (1, "")
    assert "second cannot be installed" in error
    assert "division by zero (22012)" in error


def test_a_revision_that_is_released_may_not_be_rewritten(tmp_path: Path) -> None:
    first, second = (Side(name, None, "9001", "alembic", checkout(tmp_path / name, FIRST)) for name in ("a", "b"))
    assert rewritten(first, second) == []
    view = next((second.tree / "migrations" / "frozen" / "9001").rglob("v_made_up_note.sql"))
    view.write_text(view.read_text("utf-8") + "-- other\n", encoding="utf-8")
    assert rewritten(first, second) == ["9001"]
    packet = Packet(Request(("a", "b")), first, second, rewritten=["9001"])
    assert packets.of_history(packet).level == "yellow"
    released = first.tree / "migrations" / "RELEASED.sha256"
    released.write_text("0f  versions/9001_made_up.py\n0f  frozen/9001/views/v_made_up_note.sql\n", encoding="utf-8")
    one = packets.of_history(packet)
    assert (one.level, one.rule, one.subject) == ("red", "rewritten", "9001")
    assert "rewritten after the release" in one.text
