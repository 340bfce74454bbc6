"""Two databases of one server share the seven roles: what doctor says of it, and what keeps them apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dot_wrapper.client import database
from dot_wrapper.operations.doctor import Finding, examine
from dot_wrapper.proving.databases import fresh_database, upgrade
from support import define_pair_as, observe_run
from support.moved import Mover, Server, connect
from support.servers import server


@pytest.fixture(params=[15, 18])
def of(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the wrapper in two databases, an application's login for each, and a third database without the wrapper."""
    with server(request.param) as superuser:
        for name in ("shop", "staging"):
            upgrade(fresh_database(superuser, name))
        fresh_database(superuser, "other")
        with connect(superuser) as session:
            session.execute("create role shop_app login; grant dot_writer, dot_cataloguer to shop_app")
            session.execute("create role staging_app login; grant dot_writer, dot_reader to staging_app")
            session.execute("create role stranger login")
        yield Server(request.param, superuser)


def databases(url: str) -> list[Finding]:
    with database.connect(url) as connection:
        return [one for one in examine(connection).findings if one.check == "databases"]


def test_a_login_may_record_in_every_database_until_connecting_is_refused(of: Server, tmp_path: Path) -> None:
    with connect(of.url("staging", "shop_app")) as session:
        define_pair_as(session)
        assert observe_run(session)["created"], "one grant, two ledgers"
    for who in ("shop_app", "stranger"):
        (finding,) = databases(of.url("shop", who))
        assert finding.level == "warn"
        assert (
            finding.figure
            == "staging has the wrapper too, and 2 logins with a role may use both: shop_app, staging_app"
        )
        assert finding.advice
        assert "revoke connect on database staging from public" in finding.advice

    mover = Mover("", of.url("shop"), of.version, tmp_path)
    mover.environment["SERVER"] = of.superuser
    mover.follow("Two databases of one server")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(of.url("staging", "shop_app"))
    (finding,) = databases(of.url("shop", "shop_app"))
    assert (finding.level, finding.figure) == ("ok", "no login with a role may use this one and staging")


def test_a_database_alone_is_well(of: Server) -> None:
    with connect(of.superuser) as session:
        session.execute("drop database staging")
    (finding,) = databases(of.url("shop"))
    assert (finding.level, finding.figure) == ("ok", "no other has the wrapper")
