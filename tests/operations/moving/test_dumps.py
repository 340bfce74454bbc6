"""Dump and restore, in each way that docs/howto/moving.md has."""

from __future__ import annotations

from support.moved import Mover, Server, connect, findings, look, safe

BEFORE_16 = {" with inherit false, set true": "", "found 'set'": "found 'inherit, set'"}


def test_a_custom_dump(mover: Mover) -> None:
    mover.follow("Dump and restore")
    assert look(mover.new) == safe(look(mover.old))
    assert findings(mover.new) == {"runs": "warn", "leases": "warn"}, "the run whose lease was ended"


def test_a_plain_dump(mover: Mover) -> None:
    mover.follow("A plain dump")
    assert look(mover.new) == safe(look(mover.old))


def test_a_login_that_may_read_all_data_dumps_nothing_and_is_told(mover: Mover, servers: tuple[Server, Server]) -> None:
    old, _ = servers
    with connect(old.superuser) as session:
        session.execute("create role backup login in role pg_read_all_data")
    mover.environment["BACKUP"] = old.url("shop", "backup")
    try:
        mover.follow("Which login dumps", BEFORE_16 if old.version == 15 else {})
    finally:
        with connect(old.superuser) as session:
            session.execute("drop role backup")


def test_a_login_that_is_no_superuser(mover: Mover, servers: tuple[Server, Server]) -> None:
    old, new = servers
    grant = "" if old.version == 15 else " with inherit false, set true"
    for server in servers:
        with connect(server.superuser) as session:
            session.execute("create role restorer login")
    with connect(old.superuser) as session:
        session.execute(f"grant dot_owner to restorer{grant}")
    mover.environment.update({"BACKUP": old.url("shop", "restorer"), "RESTORER": new.url("shop", "restorer")})
    try:
        mover.follow("A login that is no superuser", BEFORE_16 if new.version == 15 else {})
    finally:
        with connect(old.superuser) as session:
            session.execute("drop role restorer")
    assert look(mover.new) == safe(look(mover.old))


def test_without_owners_and_grants(mover: Mover) -> None:
    mover.follow("Without owners and grants")
    assert look(mover.new) == safe(look(mover.old))


def test_only_the_data(mover: Mover) -> None:
    mover.follow("Only the data")
    assert look(mover.new) == safe(look(mover.old))


def test_a_clone(servers: tuple[Server, Server], mover: Mover) -> None:
    old, _ = servers
    mover.environment.update({"SERVER": old.superuser, "CLONE": old.url("staging")})
    try:
        mover.follow("Under another name, and clones")
        assert look(old.url("staging")) == safe(look(mover.old))
    finally:
        with connect(old.superuser) as session:
            session.execute("drop database if exists staging")
