"""Removing a database with evidence, or the wrapper out of one, ends in a catalog that has nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dot_wrapper.proving.databases import fresh_database, upgrade
from support import rows
from support.moved import Mover, Server, connect, fill
from support.servers import server


@pytest.fixture(params=[15, 18])
def removable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Mover]]:
    """A filled database with a login that may record, a right on the database and a setting of a role."""
    with server(request.param) as superuser:
        of = Server(request.param, superuser)
        upgrade(fresh_database(superuser, "shop"))
        fill(of.url("shop"))
        with connect(of.url("shop")) as session:
            session.execute("create role restorer login; grant dot_writer, dot_reader to restorer")
            session.execute("grant connect on database shop to dot_writer; alter role dot_writer set work_mem = '8MB'")
        mover = Mover(of.url("shop"), of.url("shop"), request.param, tmp_path)
        mover.environment["SERVER"] = superuser
        yield of, mover


NOTHING = """
select 'role' as kind, rolname::text as name from pg_roles where rolname ~ '^dot_'
union all select 'schema', nspname::text from pg_namespace where nspname = 'dot'
union all select 'default rights', defaclrole::text from pg_default_acl
union all select 'setting', setconfig::text from pg_db_role_setting where setrole <> 0
union all select 'event trigger', evtname::text from pg_event_trigger
union all select 'object', c.oid::regclass::text from pg_class as c where c.oid >= 16384
    and c.relnamespace <> 'pg_toast'::regnamespace
union all select 'function', p.oid::regprocedure::text from pg_proc as p where p.oid >= 16384
union all select 'type', t.oid::regtype::text from pg_type as t where t.oid >= 16384
"""


def test_a_database_is_dropped(removable: tuple[Server, Mover]) -> None:
    of, mover = removable
    mover.follow("Removing a database")
    with connect(of.superuser) as session:
        assert rows(session, NOTHING) == []
        assert rows(session, "select 1 from pg_database where datname = 'shop'") == []
    assert (mover.folder / "shop.dump").stat().st_size > 10_000


def test_the_wrapper_is_removed_from_a_database(removable: tuple[Server, Mover]) -> None:
    of, mover = removable
    mover.follow("Removing the wrapper from a database")
    with connect(of.url("shop")) as session:
        assert rows(session, NOTHING) == []
        assert rows(session, "select datacl from pg_database where datacl::text like '%dot%'") == []
    upgrade(of.url("shop"))  # and it can be installed anew
