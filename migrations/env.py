"""Alembic environment: one transaction for the whole run, as ``dot_owner``, online and with ``--sql``.

Before the first revision: an advisory lock (two upgrades of one database queue up), the roles that are missing, the right to
act as their owner, the schema. After the last: that right is given back.
"""

from __future__ import annotations

from alembic import context
from alembic.util.exc import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from harness.database import connect_for_alembic
from migrations.frozen_sql import ROOT, statement

# "dot" in ASCII, twice: any constant that nobody else uses.
ADVISORY_LOCK = 0x646F745F646F74

LOCK = f"select pg_advisory_xact_lock({ADVISORY_LOCK})"

# An upgrade that waits for a table makes everybody queue behind it: better to give up and be repeated.
LOCK_TIMEOUT = "set local lock_timeout = '30s'"

VERSION = """
do $version$
begin
    if current_setting('server_version_num')::integer < 150000 then
        raise feature_not_supported using
            message = 'PostgreSQL 15 or later is needed, this is ' || current_setting('server_version');
    end if;
end
$version$;
"""

# A login that may not act as dot_owner, but may grant it, grants it to itself until the end of this transaction.
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
            perform set_config('dot.owner_granted', 'true', true);
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

# What the upgrade finds is not trusted: who owns the schema, or can become its owner, owns the evidence.
SCHEMA = """
do $schema$
declare
    v_members text;
begin
    if exists (
        select from pg_roles r where r.rolname in ('dot_owner', 'dot_bridge') and (r.rolcanlogin or r.rolsuper)
    ) then
        raise insufficient_privilege using
            message = 'dot_owner or dot_bridge can log in or is a superuser',
            hint = 'Nobody may enter them: alter role dot_owner nologin nosuperuser; the same for dot_bridge.';
    end if;
    select string_agg(distinct m.member::regrole::text, ', ') into v_members
    from pg_auth_members m
    where m.roleid = to_regrole('dot_owner') and m.member <> to_regrole(current_user)
        and pg_has_role(m.member, m.roleid, 'usage');
    if v_members is not null then
        raise warning 'dot_owner has members that act with its rights: %', v_members
            using hint = 'Whoever owns the ledger can change it. Revoke the membership after the deploy.';
    end if;
    if to_regnamespace('dot') is not null then
        if (select n.nspowner from pg_namespace n where n.nspname = 'dot') <> to_regrole('dot_owner') then
            raise insufficient_privilege using
                message = 'schema dot belongs to somebody else',
                hint = 'Its owner could replace what the upgrade installs: drop it, or alter schema dot owner to dot_owner.';
        end if;
        return;
    end if;
    if has_database_privilege(current_user, current_database(), 'create') then
        create schema dot authorization dot_owner;
    elsif has_database_privilege('dot_owner', current_database(), 'create') then
        set local role dot_owner;
        create schema dot;
    else
        raise insufficient_privilege using
            message = format('neither %s nor dot_owner may create a schema in %s', current_user, current_database()),
            hint = 'A DBA runs sql/roles.sql in this database first.';
    end if;
end
$schema$;
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
    if current_setting('dot.owner_granted', true) = 'true' then
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


def run() -> None:
    """Runs the migrations of this call inside one transaction. Nothing may come before it, or nothing is installed."""
    with context.begin_transaction():
        context.execute(statement(LOCK))
        context.execute(statement(LOCK_TIMEOUT))
        if context.get_context().opts["fn"].__name__ == "upgrade":
            prelude = [VERSION, (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8"), ENTER, SCHEMA, ACT_AS_OWNER]
        else:
            prelude = [ENTER, ACT_AS_OWNER]
        for sql in prelude:
            context.execute(statement(sql))
        context.run_migrations()
        context.execute(statement(LEAVE))


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, version_table_schema="dot")
    run()
else:
    engine = create_engine("postgresql+psycopg://", creator=connect_for_alembic, poolclass=NullPool)
    try:
        connection = engine.connect()
    except DBAPIError as error:  # alembic prints this in one line, and anything else as a traceback
        raise CommandError(f"the database cannot be reached: {' '.join(str(error.orig).split())}") from error
    with connection:
        context.configure(connection=connection, version_table_schema="dot")
        run()
