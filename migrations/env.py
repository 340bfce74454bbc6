"""Alembic environment of the main line: one transaction for the whole run, as ``dot_owner``, online and with ``--sql``.

Before the first revision come the roles that are missing, the right to act as their owner, and the schema. What is found there is
not trusted. Where the optional amendment is on, nothing is moved that it stands on.
"""

from __future__ import annotations

from alembic import context
from alembic.runtime.migration import RevisionStep

from dot_wrapper.client.database import PIN
from dot_wrapper.deploy.frozen_sql import AMENDMENT
from dot_wrapper.deploy.transaction import (
    ACT_AS_OWNER,
    BEGIN,
    ENTER,
    GIVE_UP_EARLY,
    INSTALLED,
    LEAVE,
    begins_at,
    direction,
    execute_all,
    start,
    steps,
)
from dot_wrapper.files import ROOT

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

# The schema is made as its owner's.
SCHEMA = """
do $schema$
begin
    if to_regnamespace('dot') is not null then
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

# What a stranger made there, or owns, would become a part of what is installed, and would run as the login that migrates next.
CONTENTS = """
do $contents$
declare
    v_installed boolean := false;
    v_found text;
begin
    if to_regclass('dot.alembic_version') is not null then
        v_installed := exists (select from dot.alembic_version);
    end if;
    if not v_installed then
        select string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') into v_found
        from pg_depend d
        where d.refclassid = 'pg_namespace'::regclass and d.refobjid = to_regnamespace('dot') and d.deptype = 'n'
            and not (d.classid = 'pg_class'::regclass and d.objid is not distinct from to_regclass('dot.alembic_version'))
            and d.classid <> 'pg_default_acl'::regclass;
        if v_found is not null then
            raise insufficient_privilege using
                message = 'schema dot holds what the wrapper did not install: ' || v_found,
                hint = 'Look who made it, and drop it.',
                constraint = 'deploy_schema_contents';
        end if;
    end if;
    select string_agg(o.name, ', ') into v_found
    from (
        select c.oid::regclass::text, c.relowner from pg_class c where c.relnamespace = to_regnamespace('dot')
        union all
        select p.oid::regprocedure::text, p.proowner from pg_proc p where p.pronamespace = to_regnamespace('dot')
        union all
        select t.oid::regtype::text, t.typowner from pg_type t where t.typnamespace = to_regnamespace('dot')
    ) o (name, owner)
    where o.owner not in (to_regrole('dot_owner'), to_regrole('dot_bridge'));
    if v_found is not null then
        raise insufficient_privilege using
            message = 'in schema dot another role than dot_owner and dot_bridge owns ' || v_found,
            hint = 'A restore without owners leaves it so: dot-wrapper restored puts them back. Otherwise look who did that.',
            constraint = 'deploy_object_owner';
    end if;
end
$contents$;
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
            hint = 'Take the amendment back first: alembic -n amendment downgrade base. Where it is in use: docs/reference/amendment.md.',
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


def roles() -> str:
    """The statements of ``sql/roles.sql``, which for psql is a transaction of its own."""
    text = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
    return text.partition(f"\nbegin;\n{PIN};\n")[2].rpartition("\ncommit;\n")[0]


def run() -> None:
    """Runs the migrations of this call inside one transaction. Nothing may come before it, or nothing is installed."""
    with context.begin_transaction():
        if direction() == "upgrade":
            execute_all(*BEGIN, VERSION, roles(), ENTER, SCHEMA, ACT_AS_OWNER, CONTENTS)
        else:
            execute_all(*BEGIN, ENTER, ACT_AS_OWNER)
        if direction() in ("do_stamp", "do_ensure_version"):
            execute_all(INSTALLED)
        execute_all(GIVE_UP_EARLY)
        if not all(goes_with_amendment(step) for step in steps()):
            execute_all(WITHOUT_AMENDMENT)
        begins_at(context.get_context().get_current_heads(), "alembic_version")
        context.run_migrations()
        execute_all(LEAVE)


start(run)
