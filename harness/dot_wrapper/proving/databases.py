"""Databases of a server: made, copied, upgraded and dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dot_wrapper.client import database
from dot_wrapper.deploy.transaction import connected
from dot_wrapper.files import ROOT

Strategy = Literal["file_copy", "wal_log"]


def connect(url: str) -> database.Session:
    """A connection in autocommit mode of the login that makes and drops: its search_path is pinned, because the database may be one in use,
    whose owner has functions and operators there.

    Raises:
        psycopg.OperationalError: the server cannot be reached.
    """
    return database.connect(url, application_name="dot-wrapper prove")


def database_url(server_url: str, name: str, login: str | None = None, password: str | None = None) -> str:
    """The connection string of another database, or another login, on the same server."""
    return make_conninfo(server_url, dbname=name, user=login, password=password)


def owner_url(url: str) -> str:
    """The connection string of the same login acting as dot_owner from the first statement on, in any program."""
    given = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{given} -c role=dot_owner".strip())


def fresh_database(server_url: str, name: str, template: str = "template1", *, strategy: Strategy = "file_copy") -> str:
    """Makes a database, empty or a copy, in place of one of that name, and returns its URL for the same login.

    Args:
        strategy: a copy of the files takes half as long as the default, ``wal_log``, and brings the cache that a first session would
            have to write. It begins and ends with a checkpoint, which is felt on a server that others use.
    """
    drop_database(server_url, name)
    create = sql.SQL("create database {} template {} strategy {}")
    with connect(server_url) as admin:
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template), sql.SQL(strategy)))
    return database_url(server_url, name)


def set_for_database(server_url: str, name: str, settings: Mapping[str, str]) -> None:
    """Sets configuration parameters for a database; a value as ``current_setting`` shows it."""
    with connect(server_url) as admin, admin.transaction():
        for parameter, value in settings.items():
            # FROM CURRENT, because a list of names would have to be quoted in another way than other values.
            admin.execute("select set_config(%s, %s, true)", (parameter, value))
            change = sql.SQL("alter database {} set {} from current")
            admin.execute(change.format(sql.Identifier(name), sql.Identifier(*parameter.split("."))))


def drop_database(server_url: str, name: str) -> None:
    """Drops a database with the sessions and prepared transactions in it."""
    with connect(server_url) as admin:
        end_sessions(admin, name)
        admin.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))


def end_sessions(admin: psycopg.Connection[Any], name: str) -> None:
    """Ends the sessions and prepared transactions of a database.

    Not ``drop database with (force)``: where autovacuum is in the database, that is refused to a login that is no superuser.
    """
    admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
        " and backend_type = 'client backend' and pg_has_role(usesysid, 'usage')",
        (name,),
    )
    for (gid,) in admin.execute("select gid from pg_prepared_xacts where database = %s", (name,)).fetchall():
        url = make_conninfo(admin.info.dsn, dbname=name, password=admin.info.password or None)
        with connect(url) as inside:
            inside.execute(sql.SQL("rollback prepared {}").format(gid))


def upgrade(url: str, revision: str = "head", section: str = "alembic") -> None:
    """`alembic upgrade` of the database at the URL; ``section`` is the main line's or ``amendment``."""
    # Imported here, because importing alembic takes half a second.
    from alembic import command
    from alembic.config import Config

    config = Config(str(ROOT / "alembic.ini"), ini_section=section)
    with connected(url) as config.attributes["connection"]:
        command.upgrade(config, revision)
