"""Fixtures: one embedded PostgreSQL 18 per test process, a template database with the wrapper, a clone of it per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories

from servers import database_url, fresh_database, server, upgrade
from support import ROLES, Database

_stack = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Starts this process's server and tells pytest-postgresql where it is (xdist's controller runs no test)."""
    os.environ.pop("DATABASE_URL", None)
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    url = _stack.enter_context(server(int(os.environ.get("DOT_TEST_POSTGRES", "18"))))
    parts = psycopg.conninfo.conninfo_to_dict(url)
    config.option.postgresql_host = parts["host"]
    config.option.postgresql_port = 5432
    config.option.postgresql_user = "postgres"
    config.option.postgresql_password = ""
    config.option.postgresql_dbname = "dot_test"


def pytest_unconfigure() -> None:
    """Stops the server."""
    _stack.close()


def install(host: str, dbname: str, **_: Any) -> None:
    """Fills the template database: the wrapper, and one login per role (roles are the cluster's)."""
    url = database_url(f"postgresql://postgres@/postgres?host={host}", dbname)
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"drop role if exists t_{role}")
            admin.execute(f"create role t_{role} login in role dot_{role}")
        for login, roles in (("t_nobody", ""), ("t_operator", "in role " + ", ".join(f"dot_{role}" for role in ROLES))):
            admin.execute(f"drop role if exists {login}")
            admin.execute(f"create role {login} login {roles}")


postgresql_noproc = factories.postgresql_noproc(load=[install])
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture
def db(postgresql: psycopg.Connection[Any]) -> Iterator[Database]:
    """A database of the test's own with the wrapper installed and nothing in it."""
    info = postgresql.info
    database = Database(database_url(f"postgresql://postgres@/postgres?host={info.host}", info.dbname))
    yield database
    database.close()


@pytest.fixture
def empty_url(postgresql_noproc: Any) -> Iterator[str]:
    """The superuser URL of an empty database on this process's server."""
    server_url = f"postgresql://postgres@/postgres?host={postgresql_noproc.host}"
    yield fresh_database(server_url, "dot_empty")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute('drop database if exists "dot_empty" with (force)')
