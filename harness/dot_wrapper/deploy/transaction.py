"""What the two sections of alembic.ini share: which database, which transaction, acting as whom, online and with ``--sql``.

A transaction begins with settings that its database cannot choose, among them the search_path: no function of a stranger runs
with the rights of the login that migrates. It waits for other deploys of the database, saying so, and acts as ``dot_owner``. It
gives a table up sooner than it would be found in a deadlock, and is then repeated as a whole.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from alembic import context
from alembic.runtime.migration import RevisionStep
from alembic.util.exc import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dot_wrapper.client.database import PIN, connect_for_alembic, libpq
from dot_wrapper.client.errors import READ_ONLY_HINT, NoDatabase
from dot_wrapper.deploy.frozen_sql import statement

# "dot" in ASCII, twice: any constant that nobody else uses.
ADVISORY_LOCK = 0x646F745F646F74

PATIENCE = 60.0
"""Seconds for which a transaction that could not have a table is repeated."""

REPEATABLE = ("55P03", "40P01")
"""lock_not_available and deadlock_detected."""

# What else a database's owner may set for every session in it, and would change how literals are read, or hide what is said.
SETTINGS = """
do $settings$
begin
    set local standard_conforming_strings = on;
    set local client_min_messages = notice;
    set local quote_all_identifiers = off;
end
$settings$;
"""

# What is found is not trusted. Each of these would run a stranger's code with the rights of the login that migrates, or hand it
# what is installed.
TRUST = """
do $trust$
declare
    v_found text;
begin
    if replace(current_setting('search_path'), '"', '') <> 'pg_catalog, pg_temp' then
        raise invalid_transaction_state using
            message = 'each statement of this connection is a transaction of its own',
            hint = 'The wrapper is installed in one transaction: give alembic a connection that is not in autocommit mode.',
            constraint = 'deploy_transaction';
    end if;
    -- A session that begins in another role would create the wrapper's roles as that role, which may then grant them.
    if exists (
        select from pg_db_role_setting s cross join unnest(s.setconfig) c (setting)
        where s.setrole = 0 and s.setdatabase = (select d.oid from pg_database d where d.datname = current_database())
            and split_part(c.setting, '=', 1) in ('role', 'session_authorization')
    ) then
        raise insufficient_privilege using
            message = format('database %s sets the role of each of its sessions', current_database()),
            hint = format('Look who did that, then: alter database %1$I reset role; alter database %1$I reset '
                'session_authorization;', current_database()),
            constraint = 'deploy_database_role';
    end if;
    -- An event trigger runs with the rights of the login that migrates; who owns its function can replace it.
    select string_agg(format('%s (function %s of %s)', e.evtname, e.evtfoid::regprocedure, r.rolname), ', ')
    into v_found
    from pg_event_trigger e
    join pg_proc p on p.oid = e.evtfoid
    join pg_roles r on r.oid = p.proowner
    where e.evtenabled <> 'D' and not r.rolsuper and r.rolname not in (current_user, session_user);
    if v_found is not null then
        raise insufficient_privilege using
            message = 'an event trigger would run code of another login with the rights of this one: '
                || v_found,
            hint = 'Disable it meanwhile (alter event trigger ... disable), or let a superuser own its '
                'function.',
            constraint = 'deploy_event_trigger';
    end if;
end
$trust$;
"""

# Who owns the schema owns the evidence. Alembic reads and writes its version tables: they are tables, and nothing else comes with that.
VERSION_TABLES = """
do $version_tables$
declare
    v_found text;
begin
    if exists (
        select from pg_namespace n where n.nspname = 'dot' and n.nspowner is distinct from to_regrole('dot_owner')
    ) then
        raise insufficient_privilege using
            message = 'schema dot does not belong to dot_owner',
            hint = 'Its owner could replace what is installed: drop it, or alter schema dot owner to dot_owner. '
                'Where it was restored: docs/howto/moving.md.',
            constraint = 'deploy_schema_owner';
    end if;
    select string_agg('dot.' || c.relname, ', ') into v_found
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'dot'
    where c.relname in ('alembic_version', 'alembic_version_amendment') and (
        c.relkind <> 'r'
        or c.relowner is distinct from to_regrole('dot_owner')
        or c.relforcerowsecurity
        or exists (select from pg_policy p where p.polrelid = c.oid)
        or exists (select from pg_trigger t where t.tgrelid = c.oid)
        or exists (select from pg_rewrite w where w.ev_class = c.oid)
        or exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent))
        or exists (select from pg_attrdef d where d.adrelid = c.oid)
        or exists (select from pg_index x where x.indrelid = c.oid and not x.indisprimary)
        or exists (
            select from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                and (a.attname <> 'version_num' or a.atttypid <> 'varchar'::regtype)
        )
        or exists (select from pg_constraint o where o.conrelid = c.oid and o.contype not in ('p', 'n'))
    );
    if v_found is not null then
        raise insufficient_privilege using
            message = format('%s is not the plain table of dot_owner that alembic makes', v_found),
            hint = 'Its owner, triggers, rules, policies, defaults or constraints were changed. Look who did that before you '
                'go on: they would run with the rights of the login that migrates.',
            constraint = 'deploy_version_table';
    end if;
end
$version_tables$;
"""

# A deploy of the same database waits for this one, as long as it takes.
QUEUE = f"""
do $queue$
declare
    v_holder text;
begin
    set local lock_timeout = '3s';
    loop
        begin
            perform pg_advisory_xact_lock({ADVISORY_LOCK});
            exit;
        exception when lock_not_available then
            select string_agg(format('pid %s (%s, %s)', l.pid, a.usename, a.application_name), ', ') into v_holder
            from pg_locks l
            left join pg_stat_activity a on a.pid = l.pid
            where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                and l.database = (select d.oid from pg_database d where d.datname = current_database())
                and (l.classid::bigint << 32) | l.objid::bigint = {ADVISORY_LOCK};
            raise notice 'waiting for another deploy of this database: %', coalesce(v_holder, 'it has just ended');
        end;
    end loop;
    set local lock_timeout = 0;
end
$queue$;
"""  # noqa: S608  a number of our own

# While a table is waited for, every writer queues behind. Shorter than the wait after which the server looks for a deadlock, of
# which it might end the other side: that is a second, unless it was set lower.
GIVE_UP_EARLY = """
set local lock_timeout = '500ms';

do $give_up_early$
begin
    perform set_config('lock_timeout', greatest(s.setting::integer / 2, 1) || 'ms', true)
    from pg_settings s where s.name = 'deadlock_timeout' and s.setting::integer < 1000;
end
$give_up_early$;
"""

BEGIN = (PIN, SETTINGS, TRUST, VERSION_TABLES, QUEUE)
"""How each transaction of a deploy begins."""

# A login that may not act as dot_owner, but may grant it, grants it to itself until the end of this transaction. What is noted is
# the transaction, which no setting of the database can name beforehand.
ENTER = """
do $enter$
declare
    v_new boolean := current_setting('server_version_num')::integer >= 160000;
begin
    if to_regrole('dot_owner') is null then
        return;
    end if;
    if not pg_has_role(current_user, 'dot_owner', case when v_new then 'set' else 'member' end) then
        begin
            execute format('grant dot_owner to %I', current_user)
                || case when v_new then ' with inherit false, set true' else '' end;
            perform set_config('dot.owner_granted', pg_current_xact_id()::text, true);
        exception when insufficient_privilege then
            raise insufficient_privilege using
                message = format('%s may not act as dot_owner', current_user),
                hint = format('A DBA runs: grant dot_owner to %I', current_user)
                    || case when v_new then ' with inherit false, set true;' else ';' end
                    || ' and revokes it after the upgrade. See sql/roles.sql.';
        end;
    end if;
end
$enter$;
"""

ACT_AS_OWNER = """
do $act$
begin
    if to_regrole('dot_owner') is not null then
        set local role dot_owner;
    end if;
end
$act$;
"""

LEAVE = """
do $leave$
begin
    reset role;
    if current_setting('dot.owner_granted', true) = pg_current_xact_id_if_assigned()::text then
        execute format('revoke dot_owner from %I', current_user);
    end if;
    -- The schema is there: its owner needs no right to make others.
    if to_regrole('dot_owner') is not null
        and has_database_privilege('dot_owner', current_database(), 'create')
        and pg_has_role(current_user, (select d.datdba from pg_database d where d.datname = current_database()), 'usage')
    then
        execute format('revoke create on database %I from dot_owner', current_database());
    end if;
end
$leave$;
"""

# Stamping writes the version table, so there has to be one.
INSTALLED = """
do $installed$
begin
    if to_regnamespace('dot') is null then
        raise object_not_in_prerequisite_state using
            message = 'the wrapper is not installed in this database',
            hint = 'Run: alembic upgrade head',
            constraint = 'deploy_not_installed';
    end if;
end
$installed$;
"""

# A script that was made for another revision than the database is at would put old text back.
BEGINS_AT = """
do $begins_at$
declare
    v_found text;
begin
    if exists (
        select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'dot' and c.relname = '{table}'
    ) then
        select string_agg(v.version_num, ', ') into v_found from dot.{table} v;
    end if;
    if v_found is distinct from {revision} then
        raise object_not_in_prerequisite_state using
            message = format('this script begins at revision %s, and the database is at %s: nothing was done',
                coalesce({revision}, 'none'), coalesce(v_found, 'none')),
            hint = 'Make one that begins there: alembic upgrade FROM:TO --sql, or downgrade FROM:TO --sql.',
            constraint = 'deploy_script_start';
    end if;
end
$begins_at$;
"""


class Refused(CommandError):
    """The server refused a migration. Alembic prints the message, what was found and what to do, and no SQL.

    Attributes:
        sqlstate: what it refused by; None where the server was lost.
        constraint: the name that tells refusals with one SQLSTATE apart.
    """

    def __init__(self, error: psycopg.Error | BaseException | None) -> None:
        diagnostics = error.diag if isinstance(error, psycopg.Error) else None
        self.sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
        self.constraint = diagnostics and diagnostics.constraint_name
        if diagnostics is None or diagnostics.message_primary is None:
            super().__init__(" ".join(str(error).split()))
            return
        hint = diagnostics.message_hint or (READ_ONLY_HINT if self.sqlstate == "25006" else None)
        said = (
            f"{diagnostics.message_primary} ({self.sqlstate})",
            diagnostics.message_detail and f"detail: {diagnostics.message_detail}",
            hint and f"next: {hint}",
        )
        super().__init__("\n".join(filter(None, said)))


def execute_all(*texts: str) -> None:
    """Executes SQL in this order."""
    for one in texts:
        context.execute(statement(one))


def direction() -> str:
    """``upgrade``, ``downgrade``, or what alembic calls the function of another command."""
    name: str = context.get_context().opts["fn"].__name__
    return name


def steps() -> Sequence[RevisionStep]:
    """What an upgrade or downgrade is about to do; any other command does nothing. Online the version table is read for it."""
    this = context.get_context()
    if direction() not in ("upgrade", "downgrade"):
        return []
    return list(this.opts["fn"](this.get_current_heads(), this))


def begins_at(heads: Sequence[str], table: str) -> None:
    """A script looks where the database is before it does anything; online alembic has looked."""
    if context.is_offline_mode() and direction() in ("upgrade", "downgrade"):
        revision = f"'{', '.join(heads)}'" if heads else "null::text"
        execute_all(BEGINS_AT.format(table=table, revision=revision))


def start(run: Callable[[], None], **options: Any) -> None:
    """Configures alembic for the database, or for a script, and runs.

    Args:
        run: a deploy, which may be repeated: a transaction that could not have its locks is done again.
        options: alembic's, for instance ``version_table``.

    Raises:
        CommandError: no database is named, it cannot be reached, or the command has no meaning here.
        Refused: the server refused; what it said is the cause.
    """
    options |= {"version_table_schema": "dot"}
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, **options)
        run()
        return
    with _connection() as connection, _notices(connection):
        outside = connection.in_transaction()
        end = time.monotonic() + PATIENCE
        pause = 0.1
        while True:
            context.configure(connection=connection, **options)
            if direction() == "retrieve_migrations":
                raise CommandError(
                    "the wrapper has no SQLAlchemy models to compare a database with: its definition is sql/,"
                    " and `dot-wrapper drift` compares a database with it"
                )
            try:
                run()
            except DBAPIError as error:
                refused = Refused(error.orig)
                if outside or refused.sqlstate not in REPEATABLE or time.monotonic() > end:
                    raise refused from error
                connection.rollback()
                _say(f"waiting for a lock: {_in_the_way(connection) or 'what held it has just ended'}")
                time.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                return


@contextmanager
def _connection() -> Iterator[Connection]:
    """The connection that a program gave, or one to the database that is named."""
    given = context.config.attributes.get("connection")
    if given is None:
        with connected(_url()) as connection:
            yield connection
        return
    if not isinstance(given, Connection) or given.dialect.name != "postgresql":
        raise CommandError('config.attributes["connection"] is not an SQLAlchemy connection to PostgreSQL')
    if given.in_transaction():
        # The program's own transaction goes on with the settings it had. SHOW looks no name up.
        before = {name: given.exec_driver_sql(f"show {name}").scalar_one() for name in LOCAL_SETTINGS}
        yield given
        for name, value in before.items():
            given.execute(_SET_LOCAL, {"name": name, "value": value})
        return
    try:
        yield given
    finally:
        given.rollback()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection for alembic: ``config.attributes["connection"]``.

    Raises:
        CommandError: the database cannot be reached.
    """
    engine = create_engine("postgresql+psycopg://", creator=partial(connect_for_alembic, url), poolclass=NullPool)
    try:
        connection = engine.connect()
    except DBAPIError as error:  # alembic prints this in one line, and anything else as a traceback
        raise CommandError(f"the database cannot be reached: {' '.join(str(error.orig).split())}") from error
    with connection:
        yield connection


def _url() -> str:
    """The database that this command was pointed at, by the first of these that is there."""
    given = context.get_x_argument(as_dictionary=True)
    if unknown := sorted(given.keys() - {"url"}):
        raise CommandError(f"-x {', '.join(unknown)} is not known: only -x url=... is")
    places = {
        "-x url=": given.get("url"),
        "sqlalchemy.url": context.config.get_main_option("sqlalchemy.url"),
        "DATABASE_URL": os.environ.get("DATABASE_URL"),
    }
    for place, url in places.items():
        if url is not None:
            try:
                return libpq(url, place)
            except NoDatabase as error:
                raise CommandError(str(error)) from error
    raise CommandError(
        'no database is named: give config.attributes["connection"], -x url=..., sqlalchemy.url in alembic.ini, or DATABASE_URL'
    )


@contextmanager
def _notices(connection: Connection) -> Iterator[None]:
    """What the server says while it works appears as it says it: what a deploy waits for, what it found."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        yield
        return

    def tell(notice: psycopg.errors.Diagnostic) -> None:
        hint = f" ({notice.message_hint})" if notice.message_hint else ""
        _say(f"{str(notice.severity).lower()}: {notice.message_primary}{hint}")

    driver.add_notice_handler(tell)
    try:
        yield
    finally:
        driver.remove_notice_handler(tell)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


LOCAL_SETTINGS = (
    "search_path",
    "standard_conforming_strings",
    "client_min_messages",
    "quote_all_identifiers",
    "lock_timeout",
)
_SET_LOCAL = text("select pg_catalog.set_config(:name, :value, true)")

# Who holds a lock on a table or view of the wrapper, and since when. A prepared transaction has no process.
_IN_THE_WAY = text("""
select string_agg(format('%s, open since %s, uses %s', h.holder, h.since::timestamptz(0), h.relations), '; ')
from (
    select coalesce(
            'prepared transaction ' || p.gid, format('pid %s (%s, %s)', l.pid, a.usename, a.application_name)
        ) as holder,
        coalesce(p.prepared, a.xact_start) as since,
        string_agg(distinct l.relation::regclass::text, ', ') as relations
    from pg_locks l
    join pg_class c on c.oid = l.relation and c.relkind in ('r', 'v')
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'dot'
    left join pg_stat_activity a on a.pid = l.pid
    left join pg_locks x on l.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
    left join pg_prepared_xacts p on p.transaction = x.transactionid
    where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
    group by 1, 2
) h
""")


def _in_the_way(connection: Connection) -> str | None:
    connection.exec_driver_sql(PIN)
    found: str | None = connection.execute(_IN_THE_WAY).scalar()
    connection.rollback()
    return found
