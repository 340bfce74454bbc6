"""The fixtures of the suite where ``pytest --dot-wrapper`` runs it; `dot-wrapper prove` brings its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import settings
from psycopg.conninfo import make_conninfo

from dot_wrapper.proving.prepared import Prepared, prepared, with_template
from dot_wrapper.proving.searching import COMMON, seeding
from dot_wrapper.proving.support import Database

settings.register_profile("dot-wrapper", parent=settings.get_profile(settings.get_current_profile_name()), **COMMON)
settings.load_profile("dot-wrapper")


@pytest.fixture(scope="session")
def dot_suite_server(dot_server: Any) -> Iterator[Prepared]:
    """The server of the session with the logins of the suite."""
    url = make_conninfo(
        host=dot_server.host,
        port=dot_server.port,
        user=dot_server.user,
        password=dot_server.password or None,
        dbname=dot_server.maintenance_dbname,
    )
    with prepared(url, own=False, superuser=True) as server:
        yield with_template(server)


@pytest.fixture
def db(request: pytest.FixtureRequest, dot_suite_server: Prepared) -> Iterator[Database]:
    """A database of the test's own, with the optional amendment where the test asks for it."""
    amended = getattr(request, "param", False)
    with (
        dot_suite_server.clone(amended=amended) as url,
        closing(Database(url, dot_suite_server, amended=amended)) as database,
    ):
        yield database


@pytest.fixture
def seeded() -> Callable[[type[Any]], type[Any]]:
    """State machines draw as the settings say."""
    return seeding(None)
