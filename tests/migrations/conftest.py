"""Fixtures of the migration tests: servers of their own, where roles come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.clusters import Cluster
from support.servers import server
from support.versions import BEFORE_AND_AFTER_16


@pytest.fixture(scope="module", params=BEFORE_AND_AFTER_16, ids="on {}".format)
def running(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of each kind; a test whose catalog may differ on each version says ``ON_EACH_VERSION``."""
    with server(request.param) as url:
        yield Cluster(request.param, url)


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The server without a database, login or role of the wrapper."""
    running.clean()
    return running
