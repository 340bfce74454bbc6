"""Alembic environment of the main line: one transaction for the whole run, as ``dot_owner``, online and with ``--sql``.

Before the first revision come the roles that are missing, the right to act as their owner, and the schema. Where the optional
amendment is on, nothing is moved that it stands on.
"""

from __future__ import annotations

from alembic import context
from alembic.runtime.migration import RevisionStep

from migrations.deploy import ACT_AS_OWNER, ENTER, LEAVE, direction, execute_all, locked, start, steps
from migrations.frozen_sql import AMENDMENT, ROOT

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

# What the amendment has replaced must not be replaced again, nor dropped beneath it.
WITHOUT_AMENDMENT = """
do $amendment$
begin
    if to_regclass('dot.alembic_version_amendment') is null then
        return;
    end if;
    if exists (select from dot.alembic_version_amendment) then
        raise object_not_in_prerequisite_state using
            message = 'the optional amendment is on: the main line stays where it is',
            hint = 'Take the amendment back first: alembic -n amendment downgrade base. Where it is in use: docs/amendment.md.',
            constraint = 'amendment_is_on';
    end if;
end
$amendment$;
"""


def goes_with_amendment(step: RevisionStep) -> bool:
    """Whether a revision may be run in either direction while the amendment is on: it says so by ``WITH_AMENDMENT = True``, and
    applies no file that the amendment has its own copy of. What it does to tables its author answers for."""
    module = step.revision.module
    return getattr(module, "WITH_AMENDMENT", False) and not set(module.APPLIES) & set(AMENDMENT.sources())


def run() -> None:
    """Runs the migrations of this call inside one transaction. Nothing may come before it, or nothing is installed."""
    with context.begin_transaction():
        if direction() == "upgrade":
            roles = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
            execute_all(*locked("30s"), VERSION, roles, ENTER, SCHEMA, ACT_AS_OWNER)
        else:
            execute_all(*locked("30s"), ENTER, ACT_AS_OWNER)
        if not all(goes_with_amendment(step) for step in steps()):
            execute_all(WITHOUT_AMENDMENT)
        context.run_migrations()
        execute_all(LEAVE)


start(run)
