"""The Python API on the test's database, for the harness tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import database
from harness.ledger import Ledger
from support import Database


@pytest.fixture
def ledger(db: Database) -> Iterator[Ledger]:
    """The test's database through the Python API, as a login that holds the five roles and nothing else."""
    with Ledger(lambda: database.connect(db.url_as("operator"))) as opened:
        yield opened
