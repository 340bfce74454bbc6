"""The two flavors of the Python API, for tests that hold both to the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from support.flavors import Asyncio, Flavor, Waiting


@pytest.fixture(params=["waiting", "asyncio"])
def flavor(request: pytest.FixtureRequest) -> Iterator[Flavor]:
    if request.param == "waiting":
        yield Waiting()
        return
    with asyncio.Runner() as runner:
        yield Asyncio(runner)
