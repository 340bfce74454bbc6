"""A database of the first release, with rows in it, is upgraded to head and to a revision that is still to come, and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dot_wrapper.client import database
from dot_wrapper.deploy.frozen_sql import AMENDMENT, MAIN_LINE, FrozenSql
from dot_wrapper.operations import drift
from dot_wrapper.proving.databases import owner_url, upgrade
from support import PAIR, value
from support.catalog import HEAD, catalog, downgrade, query, version
from support.checkout import Checkout
from support.moved import acquire, connect, fill, look, observe_real
from tools.frozen import hashes, problems, released

FIRST = "0004"
"""The newest revision of 0.1.0."""
ADDS = "alter table dot.process_candidate add column team text"
TAKES_BACK = "alter table dot.process_candidate drop column team"


def keep_what_is_released(tree: FrozenSql) -> None:
    """Removes from a copy of a tree the revisions and copies that are in no release, and gives ``sql/`` the text of the release."""
    kept = hashes(released(tree))
    for folder in ("versions", "frozen"):
        for path in (tree.migrations / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(tree.migrations)) not in kept:
                path.unlink()
    for copies in tree.frozen.iterdir():
        if not any(path.startswith(f"frozen/{copies.name}/") for path in kept):
            shutil.rmtree(copies)
    for name in tree.sources():
        if copy := tree.newest(name):
            shutil.copy(copy, tree.sql / f"{name}.sql")


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


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout of the release."""
    made = Checkout(tmp_path)
    keep_what_is_released(made.tree)
    return made


@pytest.fixture
def in_use(empty_url: str, checkout: Checkout) -> str:
    """A database of the release, with rows."""
    checkout.alembic("upgrade", "head", url=empty_url)
    assert version(empty_url) == [FIRST]
    fill(empty_url)
    return empty_url


@pytest.mark.parametrize("amended", [False, True], ids=["main line", "amended"])
def test_a_database_of_the_release_with_rows_goes_to_head_and_back(
    in_use: str, checkout: Checkout, amended: bool
) -> None:
    if amended:
        checkout.alembic("-n", "amendment", "upgrade", "head", url=in_use)
    owner = owner_url(in_use)
    before = (catalog(owner), stored(in_use), look(in_use))
    assert before[2].verified
    upgrade(in_use)
    assert (version(in_use), stored(in_use) | {"alembic_version": [f"({FIRST})"]}, look(in_use)) == (
        [HEAD],
        *before[1:],
    )
    with database.connect(in_use) as connection:
        assert drift.examine(connection).of("drift") == []
    downgrade(in_use, FIRST)
    assert (catalog(owner), stored(in_use), look(in_use)) == before


def test_a_database_of_the_release_with_rows_goes_to_a_later_revision_and_back(in_use: str, checkout: Checkout) -> None:
    owner = owner_url(in_use)
    before = (catalog(owner), stored(in_use), look(in_use))
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
    checkout.alembic("upgrade", "head", url=in_use)
    assert (version(in_use), look(in_use)) == (["0005"], before[2])
    with connect(in_use) as session:
        assert value(session, "select dot.fn_is_ref(repeat('a', 1024))") is False
        assert value(session, "select count(*) from dot.process_candidate where team is null") == 2

    checkout.alembic("downgrade", FIRST, url=in_use)
    assert version(in_use) == [FIRST]
    assert (catalog(owner), stored(in_use), look(in_use)) == before
    with connect(in_use) as session:
        assert observe_real(session, PAIR, acquire(session, PAIR))
