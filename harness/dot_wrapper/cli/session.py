"""The database of a command, and the ledger on it, which is at this software's revision as far as the login may see."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import psycopg

from dot_wrapper.cli.output import complain
from dot_wrapper.client import database
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations import embedded, schema


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """Connects to the database of this command.

    Raises:
        NoDatabase: DATABASE_URL is set and empty.
        EmbeddedServerError: DATABASE_URL is not set, and the embedded server does not start.
        psycopg.OperationalError: the server cannot be reached.
    """
    return database.connect(database_url())


def database_url() -> str:
    """``DATABASE_URL``; where it is not set, the embedded server, started where needed and named on standard error."""
    if os.environ.get("DATABASE_URL") is not None:
        return database.conninfo()
    _say_once(f"DATABASE_URL is not set: using the embedded PostgreSQL in {embedded.home()}")
    return embedded.start()


@cache
def _say_once(text: str) -> None:
    complain(text)


def open_ledger() -> Ledger:
    """A ledger on the database of this process.

    Raises, with the first call:
        NotInstalled: the database is at another revision, or has no wrapper.
    """
    return Ledger(_connect_to_schema)


def _connect_to_schema() -> psycopg.Connection[Any]:
    connection = connect()
    try:
        schema.demand(connection)
    except BaseException:
        connection.close()
        raise
    return connection
