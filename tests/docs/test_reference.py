"""The reference has the facts of the catalog, and each kind of drift is seen to be reported."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from support import Database
from support.catalog import query
from tools.reference import CHAPTERS, DOCS, ERRORS, missing, pages

INTERNAL = Path("internals/functions.md")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy of the pages, to change."""
    return Path(shutil.copytree(DOCS, tmp_path / "docs"))


def outdated(docs: Path, url: str) -> list[str]:
    """The pages that are not what the catalog makes of them."""
    return [str(path.relative_to(docs)) for path, text in pages(docs, url).items() if path.read_text("utf-8") != text]


def change(page: Path, was: str, becomes: str) -> None:
    text, times = re.subn(was, becomes, page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert times == 1, was
    page.write_text(text, encoding="utf-8")


def test_the_reference_has_what_the_catalog_has(db: Database) -> None:
    assert outdated(DOCS, db.url_as("owner")) == []
    assert missing(DOCS, db.url_as("owner")) == []


@pytest.mark.parametrize(
    ("file", "was", "becomes"),
    [
        (CHAPTERS / "outbox.md", r"p_limit integer default 100\b", "p_limit integer default 10"),
        (CHAPTERS / "outbox.md", r"fn_dot_outbox_ack\(p_epoch integer, ", "fn_dot_outbox_ack(p_epoch bigint, "),
        (CHAPTERS / "gates.md", r"returns setof \(check_name", "returns (check_name"),
        (CHAPTERS / "gates.md", r"^\| `is_audited` .*\n", ""),
        (CHAPTERS / "outbox.md", r"^\| `lag_seconds` \| `bigint`", "| `lag_seconds` | `interval`"),
        (CHAPTERS / "outbox.md", r", `outbox_epoch_system_identifier_not_null` \|\n\| 23503", " |\n| 23503"),
        (CHAPTERS / "catalogue.md", r"^(\*\*Locks\.\*\* Where it supersedes one), ", r"\1 "),
        (CHAPTERS / "README.md", r"^\| \[v_dot_gate\].*\n", ""),
        (INTERNAL, r"^- `fn_is_ref\(p_value\)`.*\n", ""),
    ],
)
def test_a_fact_that_was_changed_by_hand_is_found_and_written_anew(
    db: Database, docs: Path, file: Path, was: str, becomes: str
) -> None:
    before = (docs / file).read_text(encoding="utf-8")
    change(docs / file, was, becomes)
    assert outdated(docs, db.url_as("owner")) == [str(file)]
    assert pages(docs, db.url_as("owner"))[docs / file] == before


@pytest.mark.parametrize(
    ("file", "was", "becomes", "told"),
    [
        (CHAPTERS / "outbox.md", r"^\| `p_xact_id` \| .*\n", "", "explain argument p_xact_id of fn_dot_outbox_ack"),
        (
            CHAPTERS / "outbox.md",
            r"^(?=\| `p_xact_id` \| )",
            "| `p_by` | who |\n",
            "remove argument p_by of fn_dot_outbox_ack",
        ),
        (CHAPTERS / "outbox.md", r"^\| `payload` \| .*\n", "", "explain column payload of fn_dot_outbox_poll"),
        (CHAPTERS / "trails.md", r"^<!-- facts: v_dot_state -->\n", "", "write an entry: v_dot_state"),
        (ERRORS, r"^\| 23514 \| `lease_held` .*\n", "", f"explain 23514 lease_held in {ERRORS}"),
        (ERRORS, r"^(?=\| 23514 \| `lease_held` )", "| 23514 | `lost` | | |\n", f"remove 23514 lost from {ERRORS}"),
        (
            ERRORS,
            r"^\| 23514 \| `process_run_observation_prepared_check` .*\n",
            "",
            f"explain 23514 process_run_observation_prepared_check in {ERRORS}",
        ),
    ],
)
def test_what_is_to_be_written_by_hand_is_told(
    db: Database, docs: Path, file: Path, was: str, becomes: str, told: str
) -> None:
    change(docs / file, was, becomes)
    assert missing(docs, db.url_as("owner")) == [told]


def test_an_entry_of_what_is_gone_is_told(db: Database, docs: Path) -> None:
    page = docs / CHAPTERS / "outbox.md"
    page.write_text(f"{page.read_text('utf-8')}\n## fn_of_old\n\n<!-- facts: fn_of_old -->\n<!-- end -->\n", "utf-8")
    assert missing(docs, db.url_as("owner")) == ["remove the entry: fn_of_old"]


def test_a_new_function_and_a_new_view_are_told_and_a_new_grant_and_comment_are_written(
    db: Database, docs: Path
) -> None:
    query(
        db.url_as("owner"),
        "set role dot_owner; create function dot.fn_new(p_a text default 'x') returns integer language sql return 1;"
        " create view dot.v_new as select 1 as one; grant select on dot.v_dot_tool to public;"
        " comment on column dot.v_dot_outbox.depth is 'How deep | it is.'",
    )
    url = db.url_as("owner")
    assert missing(docs, url) == ["write an entry: fn_new", "write an entry: v_new"]
    changed = pages(docs, url)
    assert "**Role.** `PUBLIC`, `dot_cataloguer`, `dot_reader`." in changed[docs / CHAPTERS / "catalogue.md"]
    assert "| `depth` | `bigint` | How deep \\| it is. |" in changed[docs / CHAPTERS / "outbox.md"]
