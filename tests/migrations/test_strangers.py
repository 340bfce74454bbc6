"""Installing, taking back and looking run no code of the database's owner with the rights of the login that does it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic import command

from dot_wrapper import cli
from dot_wrapper.cli.exit_codes import NOT_VERIFIED
from dot_wrapper.client import database
from dot_wrapper.client.errors import ForeignSchema
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.deploy.guards import TRUST
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.inspection import inspect
from dot_wrapper.operations.adoption.mapping import MappingError
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from dot_wrapper.proving.databases import database_url, upgrade
from support import refused
from support.catalog import (
    HEAD,
    downgrade,
    downgrade_script,
    in_process,
    psql,
    psql_file,
    query,
    server_errors,
    upgrade_script,
)
from support.clusters import ROLES_DROP_SQL, ROLES_SQL, Cluster
from support.strangers import COMMANDS, OWNER, TAKEN, give_back, has_taken, take_schema
from support.versions import first_on_15

# Where the stranger's names come before pg_catalog's, or are a closer match.
WAYS = ("public", "a schema of the login's name", "a path of the database", "a path of the login in the database")


@pytest.fixture
def taken(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes the database of a stranger, one way or another, and returns its URL as the superuser that migrates."""

    def make(way: str) -> str:
        admin = cluster.database()
        login = query(admin, "select current_user::text as name")[0]["name"]
        query(admin, f"create role {OWNER} login; alter database u_main owner to {OWNER}")
        schema = {"public": "public", "a schema of the login's name": login}.get(way, "evil")
        assert take_schema(admin, schema) > 100
        if way == "a path of the database":
            query(database_url(admin, "u_main", OWNER), "alter database u_main set search_path = evil, pg_catalog")
        elif way == "a path of the login in the database":
            query(admin, f"alter role {login} in database u_main set search_path = evil, pg_catalog")
        return admin

    yield make
    for one in query(cluster.url, "select rolname from pg_roles where rolname <> 'postgres' and rolsuper"):
        assert one["rolname"] == OWNER
    query(cluster.url, "alter role postgres reset all")


HOST = "create schema host; create table host.dot_tools (code text primary key); insert into host.dot_tools values ('DOT_1')"
OF_HOST = ("adopt", "--host-schema", "host")


def scripts(url: str) -> tuple[str, str]:
    """What `dot-wrapper adopt` prints for that host, --sql and --unadopt-sql."""
    with database.connect(url) as connection:
        mapping = inspect(connection, "host").mapping
        assert mapping is not None
        try:
            back = unadopt_sql(connection)
        except MappingError:  # nothing is adopted yet
            back = ""
        return adopt_sql(connection, mapping, tables_of(connection, mapping)), back


@first_on_15("way", WAYS)
def test_no_command_hands_the_rights_of_its_login_over(
    cluster: Cluster,
    taken: Callable[[str], str],
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = taken(way)
    amendment = {"section": "amendment"}
    steps: dict[str, Callable[[], object]] = {
        "roles.sql": lambda: psql_file(url, ROLES_SQL),
        "upgrade by psql": lambda: psql(url, upgrade_script()),
        "downgrade by psql": lambda: psql(url, downgrade_script()),
        "upgrade": lambda: upgrade(url),
        "current": lambda: in_process(command.current, url),
        "history": lambda: in_process(lambda config: command.history(config, indicate_current=True), url),
        "stamp": lambda: in_process(lambda config: command.stamp(config, HEAD), url),
        "amendment": lambda: upgrade(url, **amendment),
        "current of the amendment": lambda: in_process(command.current, url, **amendment),
        "amendment back": lambda: downgrade(url, **amendment),
        "amendment by psql": lambda: psql(url, upgrade_script(**amendment)),
        "amendment back by psql": lambda: psql(url, downgrade_script(**amendment)),
        "downgrade": lambda: downgrade(url),
        "roles_drop.sql": lambda: psql_file(url, ROLES_DROP_SQL),
        **{" ".join(words): _command(url, words, monkeypatch, capsys) for words in COMMANDS},
        "a host": lambda: psql(url, HOST),
        **{
            f"{word} of a host": _command(url, (*OF_HOST, word), monkeypatch, capsys)
            for word in ("--inspect", "--draft")
        },
        "adopt by psql": lambda: psql(url, scripts(url)[0]),
        "adopt --check of a host": _command(url, ("adopt", "--check"), monkeypatch, capsys),
        "unadopt by psql": lambda: psql(url, scripts(url)[1]),
    }
    wrong = {}
    for name, step in steps.items():
        try:
            told = str(step() or "")
        except Exception as error:  # whatever it ends in, the next step is tried
            told = f"{type(error).__name__}: {error}"
        if TAKEN in told or "Error" in told or "ERROR" in told or has_taken(url):
            wrong[name] = told[-300:]
            give_back(url)
    assert wrong == {}


def _command(
    url: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    def run() -> str:
        monkeypatch.setenv("DATABASE_URL", url)
        code = cli.run(words)
        monkeypatch.delenv("DATABASE_URL")
        told = capsys.readouterr()
        expected = code in (cli.DONE, cli.FAILED, NOT_VERIFIED, cli.FOUND) or words[:2] in (
            ("show", COMMANDS[10][1]),
            ("outbox", "ack"),
        )
        return "" if expected and TAKEN not in told.err + told.out else f"Error {code}: {told.err}"

    return run


@pytest.mark.parametrize("way", WAYS)
def test_the_attack_is_real(taken: Callable[[str], str], way: str) -> None:
    """One statement without the pin, as they were: it makes the owner of the database a superuser."""
    url = taken(way)
    query(url, "create role dot_owner; create role dot_bridge")
    call = "select pg_has_role('dot_owner', 'dot_bridge', 'usage')"
    try:
        query(url, call)
    except psycopg.errors.RaiseException as error:
        assert TAKEN in str(error)
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.RaiseException, match=TAKEN):
            connection.execute(call)
    else:
        assert has_taken(url)


# A function that leaves the role which was set for the transaction, and is the login that reads again.
LEAVES = (
    "create schema x; grant usage on schema x to public; create function x.f() returns text language plpgsql cost 0.0001 as $$"
    " begin perform set_config('role', 'none', true);"
    " if (select rolsuper from pg_roles where rolname = current_user) then execute 'alter role m_stranger superuser'; end if;"
    " return '0001'; end $$;"
)
FOREIGN = {
    "a schema of the stranger's own": f"{LEAVES} create schema dot; create table dot.alembic_version (version_num text);"
    " create view dot.v_dot_schema_revision as select x.f() as revision; grant usage on schema dot to public;"
    " grant all on all tables in schema dot to public",
    "a view of the stranger's in the schema": f"{LEAVES} create view dot.v_dot_schema_revision as select x.f() as revision;"
    " grant select on dot.v_dot_schema_revision to public",
    "another text of the view": f"{LEAVES} create view dot.v_dot_schema_revision as select x.f() as revision;"
    " grant select on dot.v_dot_schema_revision to public; alter view dot.v_dot_schema_revision owner to dot_owner",
    "a view instead of the version table": f"{LEAVES} create view dot.alembic_version as select x.f() as version_num;"
    " grant select on dot.alembic_version to public; alter view dot.alembic_version owner to dot_owner",
    "a gate's view": f"{LEAVES} create or replace view dot.v_dot_gate with (security_barrier) as"
    " select x.f() as key, ''::text as value, null::boolean as is_open, null::boolean as is_audited,"
    " null::text as changed_by, null::text as session_actor, null::text as reason, null::timestamptz as changed_at",
}


@first_on_15("what", FOREIGN)
def test_what_a_stranger_made_of_the_schema_is_neither_read_nor_called(
    cluster: Cluster, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade(cluster.database("u_elsewhere"))  # the wrapper's roles are there
    admin = cluster.database()
    query(admin, f"create role {OWNER} login; alter database u_main owner to {OWNER}")
    if what == "a schema of the stranger's own":
        query(database_url(admin, "u_main", OWNER), FOREIGN[what])
    else:
        upgrade(admin)
        gone = re.search(r"create (?:or replace )?view (\S+)", FOREIGN[what])
        assert gone
        query(admin, f"drop {'table' if 'alembic' in gone[1] else 'view'} {gone[1]} cascade")
        query(admin, f"grant {OWNER} to postgres; grant create on schema dot to {OWNER}; set role {OWNER}; {LEAVES}")
        query(admin, FOREIGN[what].removeprefix(LEAVES))
    wrong = {}
    safe = [words for words in COMMANDS if words[0] in ("version", "drift", "doctor", "restored", "runs", "board")]
    reading = safe if what != "a gate's view" else [words for words in safe if words[0] not in ("runs", "board")]
    for words in reading:
        told = _command(admin, words, monkeypatch, capsys)()
        if has_taken(admin):
            wrong[words] = told
            give_back(admin)
    assert wrong == {}
    if what == "a schema of the stranger's own":
        with pytest.raises(ForeignSchema), Ledger(lambda: database.connect(admin)) as ledger:
            ledger.select("table dot.v_dot_schema_revision")
    query(cluster.url, "drop database u_main with (force)")


PLANTED = {
    "deploy_event_trigger": (
        "create function public.m_fired() returns event_trigger language plpgsql as 'begin alter role m_stranger superuser; end';"
        "alter function public.m_fired() owner to m_stranger;"
        "create event trigger m_fires on ddl_command_start execute function public.m_fired();"
    ),
    "deploy_database_role": "alter database u_main set role = 'm_stranger'",
    "deploy_role_attributes": "create role dot_bridge; create role dot_owner login",
    "deploy_members, by hand": "create role dot_owner; create role dot_bridge; grant dot_bridge to dot_owner;"
    " grant dot_owner to m_stranger",
    "deploy_members, of the bridge": "create role dot_owner; create role dot_bridge; grant dot_bridge to dot_owner;"
    " grant dot_bridge to m_stranger",
    "deploy_members, by way of a group": "create role dot_owner; create role m_group; grant dot_owner to m_group;"
    " grant m_group to m_stranger",
    "deploy_schema_owner": "create schema dot; alter schema dot owner to m_stranger",
    "deploy_schema_contents, a function": "create role dot_owner; create schema dot authorization dot_owner;"
    " set role dot_owner; create function dot.fn_is_code(text, integer) returns boolean language sql as 'select true'",
    "deploy_schema_contents, a type": "create role dot_owner; create schema dot authorization dot_owner;"
    " set role dot_owner; create type dot.code as enum ('a')",
    "deploy_schema_contents, an operator": "create role dot_owner; create schema dot authorization dot_owner; grant create on"
    " schema dot to m_stranger; create operator dot.= (leftarg = name, rightarg = text, function = pg_catalog.nameeqtext)",
}
VERSION_TABLE = "create table dot.alembic_version (version_num varchar(32) primary key);"
FUNCTION = "create function public.m_fired() returns trigger language plpgsql as 'begin return new; end';"
PLANTED |= {
    f"deploy_version_table, {what}": f"create role dot_owner; create schema dot authorization dot_owner; {made}"
    for what, made in {
        "owned by the stranger": f"{VERSION_TABLE} alter table dot.alembic_version owner to m_stranger",
        "a trigger": f"set role dot_owner; {VERSION_TABLE} reset role; {FUNCTION} create trigger m_trigger before insert on"
        " dot.alembic_version for each row execute function public.m_fired()",
        "a rule": f"set role dot_owner; {VERSION_TABLE} create rule m_rule as on insert to dot.alembic_version do also"
        " select pg_catalog.now()",
        "a default": f"set role dot_owner; {VERSION_TABLE} alter table dot.alembic_version alter version_num set default 'x'",
        "a check": f"set role dot_owner; {VERSION_TABLE} alter table dot.alembic_version add check (version_num <> '')",
        "a policy": f"set role dot_owner; {VERSION_TABLE} create policy m_policy on dot.alembic_version using (true)",
        "row security for its owner": f"set role dot_owner; {VERSION_TABLE} alter table dot.alembic_version enable row level"
        " security, force row level security",
        "an index of an expression": f"set role dot_owner; {VERSION_TABLE}"
        " create index on dot.alembic_version (pg_catalog.lower(version_num))",
        "another column": "set role dot_owner; create table dot.alembic_version (version_num varchar(32) primary key, x text)",
        "a child": f"set role dot_owner; {VERSION_TABLE} create table dot.child () inherits (dot.alembic_version)",
        "a view": "set role dot_owner; create view dot.alembic_version as select 'x'::varchar as version_num",
    }.items()
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_a_stranger_prepared_stops_the_upgrade_before_it_does_anything(cluster: Cluster, planted: str) -> None:
    admin = cluster.database()
    query(admin, f"create role {OWNER} login")
    query(admin, PLANTED[planted])
    name = planted.split(",")[0]
    roles = cluster.own_roles()

    with refused("42501", name), server_errors():
        upgrade(admin)
    status, printed = psql(admin, upgrade_script())
    assert (status, name in printed) == (3, True), printed

    assert not has_taken(admin)
    assert cluster.own_roles() == roles
    assert query(admin, "select proname from pg_proc where proname = 'fn_process_run_observe'") == []
    query(cluster.url, "drop database u_main with (force)")


def test_nothing_of_a_stranger_s_stays_trusted_once_installed(cluster: Cluster) -> None:
    """A trigger on the version table, an owner, an event trigger: planted between two deploys, each stops the next command."""
    admin = cluster.database()
    upgrade(admin)
    query(admin, f"create role {OWNER} login")
    planted = {
        "deploy_event_trigger": PLANTED["deploy_event_trigger"],
        "deploy_version_table": f"{FUNCTION} create trigger m_trigger before insert or update or delete on dot.alembic_version"
        " for each row execute function public.m_fired()",
        "deploy_object_owner": f"alter function dot.fn_is_code(text, integer) owner to {OWNER}",
        "deploy_members": f"grant dot_bridge to {OWNER}",
    }
    put_back = {
        "deploy_event_trigger": "drop event trigger m_fires; drop function public.m_fired()",
        "deploy_version_table": "drop trigger m_trigger on dot.alembic_version; drop function public.m_fired()",
        "deploy_object_owner": "alter function dot.fn_is_code(text, integer) owner to dot_owner",
        "deploy_members": f"revoke dot_bridge from {OWNER}",
    }
    for name, statement in planted.items():
        query(admin, statement)
        with refused("42501", name), server_errors():
            upgrade(admin)
        if name in ("deploy_event_trigger", "deploy_version_table"):
            with refused("42501", name), server_errors():
                downgrade(admin)
            with refused("42501", name), server_errors():
                in_process(command.current, admin)
            with refused("42501", name), server_errors():
                upgrade(admin, section="amendment")
        if name == "deploy_event_trigger":
            status, printed = psql_file(admin, ROLES_DROP_SQL)
            assert (status, name in printed) == (3, True), printed
        query(admin, put_back[name])
        upgrade(admin)
    assert not has_taken(admin)


def test_a_creator_keeps_no_membership_that_its_database_gives_it(cluster: Cluster) -> None:
    """createrole_self_grant makes the creator of a role a member that inherits it; a database's owner may set it for everyone."""
    if cluster.version == 15:
        pytest.skip("createrole_self_grant is new in 16")
    admin = cluster.database()
    query(admin, "create role m_creator login createrole; grant create on database u_main to m_creator")
    query(admin, "alter database u_main set createrole_self_grant = 'set, inherit'")
    upgrade(database_url(admin, "u_main", "m_creator"))
    assert cluster.owners() == []
    members = "select m.member::regrole::text from pg_auth_members m where m.member::regrole::text like 'm\\_%%' and {}"
    assert query(admin, members.format("(m.set_option or m.inherit_option)")) == []
    assert query(admin, members.format("m.admin_option and m.roleid = 'dot_owner'::regrole")) != []


def test_who_may_grant_itself_the_owner_is_named(cluster: Cluster) -> None:
    """From 16 on the creator of a role has ADMIN on it. The upgrade by another login says so, online and in psql."""
    if cluster.version == 15:
        pytest.skip("before 16 a CREATEROLE login may grant itself any role: docs/threats.md")
    admin = cluster.database()
    query(admin, "create role m_creator login createrole")
    query(database_url(admin, "u_main", "m_creator"), "create role dot_owner; create role dot_bridge")
    status, printed = psql(admin, upgrade_script())
    assert (status, "may grant themselves a role that owns the evidence: m_creator (dot_owner)" in printed) == (
        0,
        True,
    ), printed


@pytest.mark.parametrize(
    "setting",
    [
        "standard_conforming_strings = off",
        "client_min_messages = error",
        "lock_timeout = '1ms'",
        "quote_all_identifiers = on",
    ],
)
def test_a_setting_of_the_database_changes_nothing_of_what_is_installed(cluster: Cluster, setting: str) -> None:
    plain = cluster.database("u_plain")
    upgrade(plain)
    url = cluster.database()
    query(url, f"alter database u_main set {setting}")
    upgrade(url)
    query(url, "alter database u_main reset all")  # it is not to change how the definitions are printed
    functions = "select proname, prosrc, pg_get_functiondef(oid) as text from pg_proc where pronamespace = 'dot'::regnamespace order by 1"
    assert query(url, functions) == query(plain, functions)


def test_a_deploy_and_the_removal_of_the_roles_refuse_the_same_event_triggers() -> None:
    """psql runs the one without the other, so the statement stands in both."""
    guards = [
        re.findall(r"( +select string_agg\(format\('%s \(function.*?\n    end if;)", text, re.DOTALL)
        for text in (TRUST, ROLES_DROP_SQL.read_text(encoding="utf-8"))
    ]
    assert len(guards[0]) == 1
    assert guards[0] == guards[1]
