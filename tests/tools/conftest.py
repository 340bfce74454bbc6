"""The mutants of the SQL, found once: they are the same in every database with the wrapper, and it takes ten seconds."""

from __future__ import annotations

import pytest

from support import Database
from tools.mutants.find import Mutant, find

_found: list[Mutant] = []


@pytest.fixture
def mutants(db: Database) -> list[Mutant]:
    """All mutants, the equivalent ones too."""
    if not db.server.own:
        pytest.skip("mutants are made on a server of the tests' own")
    if not _found:
        _found.extend(find(db.url))
    return _found
