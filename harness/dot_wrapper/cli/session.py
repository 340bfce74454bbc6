"""The database of a command, and a ledger on it that requires this software's schema revision."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from dot_wrapper.cli.output import print_error
from dot_wrapper.client import database
from dot_wrapper.client.errors import InputError, NoDatabase
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations import embedded, schema


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """Connects to the database of this command.

    Raises:
        NoDatabase: DATABASE_URL is set, and empty or mistyped.
        EmbeddedServerError: DATABASE_URL is not set, and the embedded server does not start.
        psycopg.OperationalError: the server cannot be reached.
    """
    _name_embedded_server()
    return database.connect(database_url())


def database_url() -> str:
    """``DATABASE_URL``; when it is not set, the URL of the embedded server, which is started if it does not run. Then the variables by
    which libpq is told where and how to connect do not count: they are meant for another server, and leave this process."""
    if not _is_embedded():
        return database.conninfo()
    for name in os.environ.keys() - embedded.without_libpq_settings(os.environ).keys():
        del os.environ[name]
    return embedded.start()


def given_url(url: str, place: str) -> str:
    """The connection string that an option or a line of a file gives.

    Raises:
        InputError: it is empty or mistyped.
    """
    try:
        return database.libpq(url, place)
    except NoDatabase as error:
        raise InputError(f"{error.message}. {error.hint}") from error


def open_ledger() -> Ledger:
    """A ledger on the database of this command. It connects with its first call.

    Raises, with the first call:
        NotInstalled: the database is at another revision, or has no wrapper.
    """
    _name_embedded_server()
    return Ledger(lambda: connect_to_schema(database_url()))


def connect_to_schema(url: str) -> psycopg.Connection[Any]:
    """Connects to a database whose schema is at the revision of this software.

    Raises:
        NotInstalled: the database is at another revision, or has no wrapper.
        psycopg.OperationalError: the server cannot be reached.
    """
    connection = database.connect(url)
    try:
        schema.require(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_embedded() -> bool:
    return os.environ.get("DATABASE_URL") is None


def _name_embedded_server() -> None:
    """Tells on standard error which database is used when none was named."""
    if _is_embedded():
        print_error(f"DATABASE_URL is not set: using the embedded PostgreSQL in {embedded.home()}")
