"""What each transaction of a deploy asks and sets, as SQL: online and with ``--sql`` the same statements run, in this order.

Settings that the database could have chosen come first, among them the search_path: no function of a stranger runs with the rights
of the login that migrates. What is found in the database is not trusted. Then the transaction waits for other deploys of the database
and acts as ``dot_owner``.
"""

from __future__ import annotations

from dot_wrapper.client.database import PIN

# "dot" in ASCII, twice: a number that no other program uses.
ADVISORY_LOCK = 0x646F745F646F74

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

BEGIN = (PIN, SETTINGS, TRUST, VERSION_TABLES, QUEUE)
"""How each transaction of a deploy begins."""

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

ACT_AS_OWNER = """
do $act$
begin
    if to_regrole('dot_owner') is not null then
        set local role dot_owner;
    end if;
end
$act$;
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

# A seam that stands over a host's tables must not be replaced by one over the wrapper's own: the rights it was given would stay, and
# the next upgrade would read an empty catalogue.
WITHOUT_ADOPTION = """
do $adoption$
declare
    v_seams text;
begin
    select string_agg(c.oid::regclass::text, ', ' order by c.relname) into v_seams
    from pg_class c
    where c.relnamespace = to_regnamespace('dot') and obj_description(c.oid, 'pg_class') like 'Seam: adopted %';
    if v_seams is not null then
        raise object_not_in_prerequisite_state using
            message = format('the database is adopted: %s stand over the tables of a host', v_seams),
            hint = 'Take the adoption back first (dot-wrapper adopt --unadopt-sql), and adopt again after it.',
            constraint = 'adoption_is_on';
    end if;
end
$adoption$;
"""

# The amendment's copies replace what the main line of the same software has installed. {head}: its newest revision.
ON_MAIN_LINE = """
do $main_line$
declare
    v_revision text;
begin
    if to_regclass('dot.alembic_version') is not null then
        select a.version_num into v_revision from dot.alembic_version a;
    end if;
    if v_revision is distinct from '{head}' then
        raise object_not_in_prerequisite_state using
            message = format('the amendment needs the main line at {head}, and it is at %s', coalesce(v_revision, 'none')),
            hint = 'Run first, from the same checkout: alembic upgrade head',
            constraint = 'amendment_main_line';
    end if;
end
$main_line$;
"""

# A script that was made for another revision than the database is at would put old text back. {table}, {revision}: as SQL.
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

# Taken back, nothing of the amendment is left.
DROP_UNUSED_VERSION_TABLE = """
do $version$
begin
    if not exists (select from dot.alembic_version_amendment) then
        drop table dot.alembic_version_amendment;
    end if;
end
$version$;
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
