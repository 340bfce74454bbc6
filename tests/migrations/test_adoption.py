"""Migrations of a database that is adopted: what would replace a seam is refused, and all else goes on beneath it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dot_wrapper.client import database
from dot_wrapper.operations.adoption.scripts import unadopt_sql
from dot_wrapper.proving.databases import upgrade
from support import Database, refused, value
from support.catalog import HEAD, catalog, downgrade, downgrade_script, psql, server_errors, upgrade_script, version
from support.hosts import Host, adopt, mapping_of

pytestmark = pytest.mark.usefixtures("client_programs")


def unadopt(url: str) -> None:
    with database.connect(url) as connection:
        script = unadopt_sql(connection)
    assert psql(url, script)[0] == 0


def counted(db: Database) -> int:
    return int(value(db.session("superuser"), "select count(*) from dot.v_dot_tool"))


def test_the_seams_of_an_adopted_database_are_not_taken_back(db: Database, host: Host) -> None:
    """Dropped and made again they would stand on an empty catalogue, and the rights on the host's tables would stay."""
    assert host
    before = catalog(db.url)
    for revision in ("base", "0001"):
        with refused("55000", "adoption_is_on", "dot-wrapper adopt --unadopt-sql"), server_errors():
            downgrade(db.url, revision)
    for script in (downgrade_script(), downgrade_script(f"{HEAD}:0001"), upgrade_script(f"0001:{HEAD}")):
        status, printed = psql(db.url, script)
        assert (status, "55000" in printed, "the database is adopted" in printed) == (3, True, True), printed
    assert (catalog(db.url), version(db.url_as("owner"))) == (before, [HEAD])
    unadopt(db.url)
    downgrade(db.url)


def test_above_the_seams_the_main_line_goes_down_and_up_again(db: Database, host: Host) -> None:
    assert host
    before = catalog(db.url)
    for revision in ("0003", "0002"):
        downgrade(db.url, revision)
        upgrade(db.url)
        assert (catalog(db.url), counted(db)) == (before, 303)


@pytest.mark.parametrize("name", ["near", "far"])
def test_the_amendment_and_the_adoption_go_on_and_off_in_either_order(
    db: Database, made: Callable[[Host], Host], name: Host
) -> None:
    made(name)
    plain = catalog(db.url)
    adopt(db.url, mapping_of(name))
    adopted = catalog(db.url)
    upgrade(db.url, section="amendment")
    both = catalog(db.url)
    assert counted(db) == 303
    unadopt(db.url)
    amended = catalog(db.url)
    adopt(db.url, mapping_of(name))
    assert (catalog(db.url), counted(db)) == (both, 303)
    downgrade(db.url, section="amendment")
    assert (catalog(db.url), counted(db)) == (adopted, 303)
    unadopt(db.url)
    assert (catalog(db.url), counted(db)) == (plain, 0)
    upgrade(db.url, section="amendment")
    assert catalog(db.url) == amended
    assert len({plain, adopted, amended, both}) == 4
