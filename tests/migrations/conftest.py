"""Fixtures of the migration tests: servers of their own, where roles come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.clusters import Cluster
from support.servers import VERSIONS, server


@pytest.fixture(scope="module", params=VERSIONS, ids="on {}".format)
def running(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """15 where Debian's server is installed, 16 and 18."""
    with server(request.param) as url:
        yield Cluster(request.param, url)


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The server without a database, login or role of the wrapper."""
    running.clean()
    return running
