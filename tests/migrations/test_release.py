"""A database of the first release, with rows in it, is upgraded to a revision that is still to come, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dot_wrapper.deploy.frozen_sql import AMENDMENT, MAIN_LINE, FrozenSql
from dot_wrapper.proving.databases import owner_url
from support import PAIR, value
from support.catalog import catalog, query, version
from support.checkout import Checkout
from support.moved import acquire, connect, fill, look, observe_real
from tools.frozen import hashes, problems, released

FIRST = "0004"
"""The newest revision of 0.1.0."""
ADDS = "alter table dot.process_candidate add column team text"
TAKES_BACK = "alter table dot.process_candidate drop column team"


def keep_what_is_released(tree: FrozenSql) -> None:
    """Removes from a copy of a tree the revisions and copies that are in no release."""
    kept = hashes(released(tree))
    for folder in ("versions", "frozen"):
        for path in (tree.migrations / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(tree.migrations)) not in kept:
                path.unlink()


def stored(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    tables = query(url, "select relname from pg_class where relkind = 'r' and relnamespace = 'dot'::regnamespace")
    return {
        one["relname"]: [
            row["r"] for row in query(url, f"select t::text as r from dot.{one['relname']} as t order by 1")
        ]
        for one in tables
    }


@pytest.mark.parametrize(("tree", "newest"), [(MAIN_LINE, FIRST), (AMENDMENT, "a002")])
def test_the_release_is_declared_and_nothing_of_it_was_changed(tree: FrozenSql, newest: str) -> None:
    files = hashes(released(tree))
    assert any(path.startswith(f"versions/{newest}_") for path in files)
    assert [path for path in files if path.startswith("frozen/")] != []
    assert problems(tree) == []


def test_a_database_of_the_release_with_rows_goes_to_a_later_revision_and_back(empty_url: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    keep_what_is_released(checkout.tree)
    checkout.alembic("upgrade", "head", url=empty_url)
    assert version(empty_url) == [FIRST]
    fill(empty_url)
    owner = owner_url(empty_url)
    before = (catalog(owner), stored(empty_url), look(empty_url))
    assert before[2].verified

    source = checkout.tree.sql / "functions/rules/fn_is_ref.sql"
    source.write_text(source.read_text(encoding="utf-8").replace("1024", "1023"), encoding="utf-8")
    revision = checkout.revision("0005", "functions/rules/fn_is_ref")
    text = revision.read_text(encoding="utf-8")
    text = text.replace("import apply,", "import apply, execute,")
    text = text.replace("    apply(revision, APPLIES)", f'    execute("{ADDS}")\n    apply(revision, APPLIES)')
    text = text.replace("    revert(revision, APPLIES)", f'    revert(revision, APPLIES)\n    execute("{TAKES_BACK}")')
    revision.write_text(text, encoding="utf-8")
    assert checkout.frozen_sql("freeze", "0005") == (0, "")
    assert problems(checkout.tree) == []
    checkout.alembic("upgrade", "head", url=empty_url)
    assert (version(empty_url), look(empty_url)) == (["0005"], before[2])
    with connect(empty_url) as session:
        assert value(session, "select dot.fn_is_ref(repeat('a', 1024))") is False
        assert value(session, "select count(*) from dot.process_candidate where team is null") == 2

    checkout.alembic("downgrade", FIRST, url=empty_url)
    assert version(empty_url) == [FIRST]
    assert (catalog(owner), stored(empty_url), look(empty_url)) == before
    with connect(empty_url) as session:
        assert observe_real(session, PAIR, acquire(session, PAIR))
