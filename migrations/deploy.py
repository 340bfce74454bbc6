"""What the two sections of alembic.ini share: who a migration acts as, in which transaction, online and with ``--sql``.

A transaction begins with an advisory lock (two upgrades of one database queue up), a bound on how long it waits for a table, and
the right to act as the owner; it ends by giving that right back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alembic import context
from alembic.runtime.migration import RevisionStep
from alembic.util.exc import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from harness.database import connect_for_alembic
from migrations.frozen_sql import statement

# "dot" in ASCII, twice: any constant that nobody else uses.
ADVISORY_LOCK = 0x646F745F646F74


def locked(timeout: str) -> tuple[str, str]:
    """How a transaction begins: it waits for other upgrades as long as they take, and for each table no longer than ``timeout``.

    While it waits for a table everybody queues behind it: better to give up and be repeated.
    """
    return f"select pg_advisory_xact_lock({ADVISORY_LOCK})", f"set local lock_timeout = '{timeout}'"


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


def execute_all(*texts: str) -> None:
    """Executes SQL in this order."""
    for text in texts:
        context.execute(statement(text))


def direction() -> str:
    """``upgrade``, ``downgrade``, or the command that only reads."""
    name: str = context.get_context().opts["fn"].__name__
    return name


def steps() -> Sequence[RevisionStep]:
    """What an upgrade or downgrade is about to do; any other command does nothing. Online the version table is read for it."""
    this = context.get_context()
    if direction() not in ("upgrade", "downgrade"):
        return []
    return list(this.opts["fn"](this.get_current_heads(), this))


def start(run: Callable[[], None], **options: Any) -> None:
    """Configures alembic for the database, or for a script, and runs.

    Args:
        options: alembic's, for instance ``version_table``.
    """
    options |= {"version_table_schema": "dot"}
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, **options)
        run()
        return
    engine = create_engine("postgresql+psycopg://", creator=connect_for_alembic, poolclass=NullPool)
    try:
        connection = engine.connect()
    except DBAPIError as error:  # alembic prints this in one line, and anything else as a traceback
        raise CommandError(f"the database cannot be reached: {' '.join(str(error.orig).split())}") from error
    with connection:
        context.configure(connection=connection, **options)
        run()
