"""The ledger of a command: its database is at this software's revision, as far as its login may see."""

from __future__ import annotations

from typing import Any

import psycopg

from harness import database, schema
from harness.ledger import Ledger


def open_ledger() -> Ledger:
    """A ledger on the database of this process.

    Raises, with the first call:
        NotInstalled: the database is at another revision, or has no wrapper.
    """
    return Ledger(_connect)


def _connect() -> psycopg.Connection[Any]:
    connection = database.connect()
    try:
        schema.demand(connection)
    except BaseException:
        connection.close()
        raise
    return connection
