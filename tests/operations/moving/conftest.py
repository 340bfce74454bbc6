"""Fixtures of the tests of moves: servers of their own, and the commands of docs/howto/moving.md on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dot_wrapper.proving.databases import fresh_database, upgrade
from support.moved import Mover, Server, fill
from support.servers import server


@pytest.fixture(scope="module", params=[(15, 15), (16, 18)], ids="{0[0]} to {0[1]}".format)
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Two servers: the transactions of the second are numbered far below those of the first."""
    old_version, new_version = request.param
    with server(old_version) as old, server(new_version) as new:
        source = Server(old_version, old)
        source.use_ids(100_000)
        upgrade(fresh_database(old, "shop"))
        fill(source.url("shop"))
        yield source, Server(new_version, new)


@pytest.fixture
def mover(servers: tuple[Server, Server], tmp_path: Path) -> Mover:
    """The filled database ``shop`` of the first server as OLD, an empty one of the second as NEW, where nothing of the wrapper
    is, not even its roles."""
    old, new = servers
    new.clean()
    fresh_database(new.superuser, "shop")
    return Mover(old.url("shop"), new.url("shop"), new.version, tmp_path)
