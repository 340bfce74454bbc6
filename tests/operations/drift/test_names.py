"""Names that look like drift's own words, or like SQL, change neither what it tells nor what it says to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift_cures import Context, cure
from dot_wrapper.proving.databases import fresh_database, upgrade
from support.servers import server
from support.versions import BEFORE_AND_AFTER_16


@pytest.fixture(scope="module", params=BEFORE_AND_AFTER_16, ids="on {}".format)
def superuser(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser in a database with head."""
    with server(request.param) as url:
        head = fresh_database(url, "head")
        upgrade(head)
        with psycopg.connect(head, autocommit=True) as connection:
            yield connection


def context(superuser: psycopg.Connection[tuple[object, ...]]) -> Context:
    return Context(superuser.info.server_version, "head", "off")


def told(superuser: psycopg.Connection[tuple[object, ...]], kind: str) -> list[drift.Difference]:
    return [one for one in drift.examine(superuser).differences if one.kind == kind]


def test_a_grantor_s_name_is_no_part_of_a_statement(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    if superuser.info.server_version < 160000:
        pytest.skip("before 16 a superuser is the grantor")
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "create role boss createrole; grant dot_relay to boss with admin option;"
            'create role "g; z by w"; create role "x; drop table secret;--"; create table public.secret ();'
            'set role boss; grant dot_relay to "g; z by w" with admin option; reset role;'
            'set role "g; z by w"; grant dot_relay to "x; drop table secret;--" with admin option; reset role;'
        )
        members = told(superuser, "member")
        assert '"x; drop table secret;--" granted by "g; z by w"' in [one.property for one in members]
        # The others stand on the first grant.
        assert {one.cure for one in members} == {"revoke dot_relay from boss cascade;"}
        alone = {
            cure(
                (one.kind, one.identity, one.property),
                None,
                one.found,
                {},
                {},
                context(superuser),
                whole=False,
                kept={},
            )
            for one in members
        }
        assert alone == {f"revoke dot_relay from {one.property};" for one in members}
        superuser.execute("reset role")  # the look at the revision left one, for all of this is one transaction
        for statement in (*alone, *(one.cure for one in members)):
            with suppress(psycopg.Error), superuser.transaction():  # who granted by a grant that is gone cannot revoke
                superuser.execute(str(statement).encode())
        assert told(superuser, "member") == []
        assert superuser.execute("select to_regclass('public.secret') is not null").fetchone() == (True,)


def test_who_takes_members_in_is_removed_and_they_stay(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    """From 16 on a membership goes with the grantor's ADMIN."""
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "create role boss; create role a; create role m; create role z; grant dot_relay to boss with admin option;"
            "set local role boss; grant dot_relay to a with admin option; grant dot_relay to z;"
            "set local role a; grant dot_relay to m; grant dot_relay to dot_writer; reset role"
        )
        if superuser.info.server_version >= 160000:
            superuser.execute("grant dot_relay to z with set false, inherit true granted by boss")
        cures = dict.fromkeys(one.cure for one in drift.examine(superuser).differences if one.cure)
        superuser.execute("reset role")
        for statement in cures:
            superuser.execute(statement.encode())
        left = {one.property.partition(" ")[0]: one for one in drift.examine(superuser).differences}
        assert {member: one.level for member, one in left.items()} == {"m": "info", "z": "info"}
        if superuser.info.server_version >= 160000:
            assert {member: one.found for member, one in left.items()} == {"m": "inherit, set", "z": "inherit"}


def test_a_name_of_a_role_in_between_hides_no_way_to_the_owner(
    superuser: psycopg.Connection[tuple[object, ...]],
) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            'create role "may grant it to itself"; create role m_far; grant dot_owner to "may grant it to itself";'
            ' grant "may grant it to itself" to m_far'
        )
        assert {(one.property, one.level) for one in told(superuser, "acts as")} >= {("m_far", "drift")}


def test_a_right_to_act_is_drift_whoever_else_granted_less(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    if superuser.info.server_version < 160000:
        pytest.skip("grants have no options before 16")
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "create role ga; create role gb; create role tgt; grant dot_owner to ga with admin true, inherit false, set false;"
            "grant dot_owner to gb with admin true, inherit false, set false;"
            "grant dot_owner to tgt with admin true, inherit false, set false granted by ga;"
            "grant dot_owner to tgt with inherit false, set true granted by gb"
        )
        levels = {one.property: one.level for one in told(superuser, "member")}
        assert levels["tgt granted by gb"] == "drift"
        assert levels["tgt granted by ga"] == "warn"


def test_default_rights_of_a_login_without_rights_are_no_drift(
    superuser: psycopg.Connection[tuple[object, ...]],
) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "create role m_any; set role m_any;"
            " alter default privileges in schema dot grant select on tables to public; reset role"
        )
        assert [one.level for one in told(superuser, "default rights")] == ["info"]


def test_a_child_s_name_with_a_comma_is_one_name(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute('create table public."a, b" () inherits (dot.event_outbox)')
        (one,) = [one for one in drift.examine(superuser).differences if one.property == "children"]
        assert one.cure == 'alter table public."a, b" no inherit dot.event_outbox;'


@pytest.mark.parametrize(
    "done",
    [
        "update pg_class set relhastriggers = false where oid = 'dot.process_run_observation'::regclass",
        "update pg_class set relchecks = 0 where oid = 'dot.process_run_observation'::regclass",
        "create function public.f() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger hidden before insert on dot.process_run_observation for each row execute function public.f();"
        " update pg_trigger set tgisinternal = true where tgname = 'hidden'",
        "alter database head set role = 'dot_owner'",
    ],
)
def test_a_guard_that_is_there_by_name_alone_is_told(
    superuser: psycopg.Connection[tuple[object, ...]], done: str
) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(done.encode())
        assert [one.level for one in drift.examine(superuser).of("drift")] != [], done


def test_a_role_s_name_of_another_encoding_blinds_nothing(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    superuser.execute(
        "create database latin template template0 encoding latin1 locale_provider libc lc_collate 'C' lc_ctype 'C'"
    )
    with psycopg.connect(superuser.info.dsn, dbname="latin", autocommit=True, client_encoding="utf8") as other:
        other.execute('create role "café"; grant dot_reader to "café"')
    try:
        assert [one.level for one in told(superuser, "member")] == ["info"]
    finally:
        with psycopg.connect(superuser.info.dsn, dbname="latin", autocommit=True, client_encoding="utf8") as other:
            other.execute('drop role "café"')
        superuser.execute("drop database latin")
