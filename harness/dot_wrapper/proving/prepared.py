"""A server made ready for the tests or a proof, and all of it taken back: the wrapper's roles, and a login per role.

What is made has random names that begin with one prefix; nothing else is touched.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import connect, drop_database, fresh_database, owner_url, set_for_database, upgrade

ROLES = ("writer", "cataloguer", "gatekeeper", "relay", "reader")
OWN_ROLES = ("dot_reader", "dot_relay", "dot_gatekeeper", "dot_cataloguer", "dot_writer", "dot_bridge", "dot_owner")

# The test logins, and the roles that each of them holds.
LOGINS: dict[str, tuple[str, ...]] = {**{role: (role,) for role in ROLES}, "operator": ROLES, "outsider": ()}


class NotPrepared(DotWrapperError):
    """A server cannot be used: the message says which right the login lacks, and what a DBA runs."""


Admin = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Prepared:
    """A server with the test logins, whose names and passwords are random."""

    url: str
    """The login that made all of it: a superuser on a server of the tests' own, on any other perhaps not."""
    own: bool
    """Whether the server is the tests' own, where a test may do anything."""
    superuser: bool
    """Whether that login is a superuser that tests may use, inside of their own databases at least."""
    prefix: str
    """How the name of each database begins that the tests make."""
    logins: dict[str, tuple[str, str]] = field(repr=False)
    """Name and password of each test login."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is set for each database that the tests make: a copy does not take over what is set for the database."""
    template: str | None = None
    """The database that ``clone`` copies: see ``with_template``. None where pytest-postgresql makes the tests' databases."""

    @property
    def between(self) -> sql.Identifier:
        """The role by which a login acts as dot_owner that may not set it, and may grant it."""
        return sql.Identifier(f"{self.prefix}_between")

    def url_as(self, url: str, who: str) -> str:
        """The URL of the same database for a test login, or for ``owner``: the creator acting as dot_owner."""
        if who == "owner":
            return owner_url(url)
        name, password = self.logins[who]
        return make_conninfo(url, user=name, password=password)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A database for the length of the block: its URL, as the creator."""
        name = f"{self.prefix}_{secrets.token_hex(4)}"
        try:
            url = fresh_database(self.url, name, template, strategy="file_copy" if self.own else "wal_log")
            set_for_database(self.url, name, self.settings)
            yield url
        finally:
            drop_database(self.url, name)

    @contextmanager
    def clone(self, *, amended: bool = False) -> Iterator[str]:
        """A copy of the template for the length of the block: its URL, as the creator."""
        assert self.template
        with self.database(_amended(self) if amended else self.template) as url:
            yield url

    @contextmanager
    def installed(self) -> Iterator[str]:
        """A database for the length of the block with the wrapper installed in it now: its URL, as the creator."""
        with self.database() as url:
            upgrade(url)
            yield url


def with_template(server: Prepared) -> Prepared:
    """The server with a template of our own, for what pytest-postgresql does not do:

    - It carries host, port, user and password, and no other part of a connection string.
    - It ends every session in a database before it copies or drops it. A login that is no superuser may not do that to
      autovacuum's.
    - The mutation run copies a template that it has changed, and other runs look into each database before it goes.
    """
    template = f"{server.prefix}_template"
    upgrade(fresh_database(server.url, template))
    return replace(server, template=template)


def _amended(server: Prepared) -> str:
    """A copy of the template in which the optional amendment is on: each test process makes its own when it first needs it."""
    name = f"{server.template}_{os.environ.get('PYTEST_XDIST_WORKER', 'own')}_amended"
    if (os.getpid(), name) not in _AMENDED:
        assert server.template
        upgrade(fresh_database(server.url, name, server.template), section="amendment")
        _AMENDED.add((os.getpid(), name))
    return name


# By process, because a fork may have another template of the same name.
_AMENDED: set[tuple[int, str]] = set()

# Where the configuration of a test run keeps its server.
PREPARED = pytest.StashKey[Prepared]()


@contextmanager
def prepared(
    url: str, *, own: bool, superuser: bool | None = None, installs: bool = True, prefix: str | None = None
) -> Iterator[Prepared]:
    """Prepares a server for the length of the block.

    Args:
        own: see ``Prepared``; so is ``superuser``, which is as ``own`` by default.
        installs: whether the wrapper will be installed there. A deploy refuses members of dot_owner but the login itself, which must
            then be able to set it; else a role between the two will do, with which the right goes again.
        prefix: how each name begins; a random one by default.

    Raises:
        NotPrepared: the login lacks a right; the message says which, and what a DBA runs.
    """
    prefix = prefix or f"dot_test_{secrets.token_hex(4)}"
    # A password that breaks whatever puts a connection string together by hand.
    logins = {who: (f"{prefix}_{who}", f"{secrets.token_urlsafe()} @:/?#%'\\") for who in LOGINS}
    server = Prepared(url, own, own if superuser is None else superuser, prefix, logins)
    with _connected(url, "DATABASE_URL") as admin:
        had_roles = _require_rights(admin, installs)
    try:
        _make_logins(server, installs)
        yield server
    finally:
        _remove(server, with_roles=not had_roles)


def _connected(url: str, otherwise: str) -> Admin:
    try:
        return connect(url)
    except psycopg.Error as error:
        raise NotPrepared(f"{otherwise}: {' '.join(str(error).split())}") from error


def _is_16(admin: Admin) -> bool:
    """Whether grants have the options INHERIT and SET, and a creator of roles may grant only those it has ADMIN on."""
    return admin.info.server_version >= 160000


def _has_role(admin: Admin, role: str, right: str) -> bool:
    return admin.execute("select pg_has_role(%s, %s)", (role, right)).fetchone() == (True,)


def _may_act_as_owner(admin: Admin) -> bool:
    return _has_role(admin, "dot_owner", "set" if _is_16(admin) else "member")


def _may_grant(admin: Admin, role: str) -> bool:
    """Before 16 a creator of roles may grant any."""
    return not _is_16(admin) or _has_role(admin, role, "member with admin option")


def _grant_of_owner(admin: Admin, login: str) -> str:
    return f"grant dot_owner to {login}" + (" with inherit false, set true" if _is_16(admin) else "")


def _require_rights(admin: Admin, installs: bool) -> bool:
    """Whether the wrapper's roles are on the server already; stops the run where the login cannot do what tests need."""
    found = admin.execute(
        "select quote_ident(rolname), rolsuper or (rolcreatedb and rolcreaterole),"
        " array(select name from unnest(%s::text[]) as name where to_regrole(name) is null)"
        " from pg_roles where rolname = current_user",
        (list(OWN_ROLES),),
    ).fetchone()
    assert found
    login, creates, missing = found
    if not creates:
        raise NotPrepared(
            f"{login} may not create databases and roles here: a DBA runs: alter role {login} createdb createrole;"
        )
    if len(missing) == len(OWN_ROLES):
        return False
    if missing:
        raise NotPrepared(
            f"of the wrapper's roles some are here already and {', '.join(missing)} not: a DBA runs sql/roles.sql"
        )
    may_not, grants = [], []
    if not (_may_act_as_owner(admin) or (_may_grant(admin, "dot_owner") and not installs)):
        may_not.append("set dot_owner")
        grants.append(_grant_of_owner(admin, login))
    ungrantable = [f"dot_{role}" for role in ROLES if not _may_grant(admin, f"dot_{role}")]
    if ungrantable:
        may_not.append(f"grant {', '.join(ungrantable)} to the test logins")
        grants.append(f"grant {', '.join(ungrantable)} to {login} with admin option")
    if may_not:
        raise NotPrepared(
            f"the wrapper's roles are here already and {login} may not {' and '.join(may_not)}:"
            f" a DBA runs: {'; '.join(grants)};"
        )
    return True


def _make_logins(server: Prepared, installs: bool) -> None:
    """The wrapper's roles where they are missing, and the test logins."""
    with server.database() as url:
        with connect(url) as admin:
            admin.execute((ROOT / "sql" / "roles.sql").read_bytes())
            if not _may_act_as_owner(admin) and installs:  # the role was made just now
                admin.execute(_grant_of_owner(admin, "current_user"))
            elif not _may_act_as_owner(
                admin
            ):  # by a role between them, so that nothing of it stays when that is dropped
                between = server.between.as_string(admin)
                admin.execute(
                    f"create role {between}; {_grant_of_owner(admin, between)}; grant {between} to current_user"
                )
            for who, (name, password) in server.logins.items():
                login = sql.Identifier(name)
                admin.execute(sql.SQL("create role {} login password {}").format(login, password))
                for role in LOGINS[who]:
                    admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(f"dot_{role}"), login))
                # So the creator can see and end the login's sessions.
                admin.execute(sql.SQL("grant {} to current_user").format(login))
        _connected(server.url_as(url, "outsider"), "a new login with a password is not let in, see pg_hba.conf").close()


def _remove(server: Prepared, *, with_roles: bool) -> None:
    """Drops every database and login of these tests, and the wrapper's roles where the upgrade above made them."""
    with connect(server.url) as admin:
        databases = admin.execute("select datname from pg_database where starts_with(datname, %s)", (server.prefix,))
        for (name,) in databases.fetchall():
            admin.execute(sql.SQL("alter database {} is_template false").format(sql.Identifier(name)))
            drop_database(server.url, name)
        for role in (server.between, *(sql.Identifier(name) for name, _ in server.logins.values())):
            admin.execute(sql.SQL("drop role if exists {}").format(role))
        if not with_roles:
            return
        with server.database() as last, connect(last) as connection:
            connection.execute((ROOT / "sql" / "roles_drop.sql").read_bytes())
        left = [role for role in OWN_ROLES if admin.execute("select to_regrole(%s)", (role,)).fetchone() != (None,)]
        if left:
            print(f"{', '.join(left)} stay: another database uses them by now", file=sys.stderr)
