-- Takes back what `alembic downgrade base` leaves: the version table, the schema, and the roles. Run it in
-- each database that had the wrapper, after the downgrade, as the login that ran roles.sql or the first
-- upgrade:
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f sql/roles_drop.sql
-- It never cascades: it stops with an error where anything of the wrapper's is left in this database. A role
-- that something else holds stays, with a notice that says what holds it.

begin;
set local search_path = pg_catalog, pg_temp;

-- An event trigger runs with the rights of the login that drops; who owns its function can replace it.
do $trust$
declare
    v_found text;
begin
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

do $schema_drop$
declare
    v_owner_granted boolean := false;
begin
    if to_regrole('dot_owner') is null then
        return;
    end if;
    -- A login that created the role but may not act as it (16 and later give the creator ADMIN alone).
    if not pg_has_role(current_user, 'dot_owner', 'usage') then
        execute format('grant dot_owner to %I', current_user);
        v_owner_granted := true;
    end if;
    set local role dot_owner;
    drop table if exists dot.alembic_version;
    drop schema if exists dot;
    reset role;
    if v_owner_granted then
        execute format('revoke dot_owner from %I', current_user);
    end if;
end
$schema_drop$;

do $roles_drop$
declare
    v_role text;
    v_held_by text;
begin
    foreach v_role in array array[
        'dot_reader', 'dot_relay', 'dot_gatekeeper', 'dot_cataloguer', 'dot_writer', 'dot_bridge',
        'dot_owner'
    ] loop
        continue when to_regrole(v_role) is null;
        if v_role = 'dot_owner' and has_database_privilege(v_role, current_database(), 'create') then
            execute format('revoke create on database %I from dot_owner', current_database());
        end if;
        begin
            execute format('drop role %I', v_role);
        exception when dependent_objects_still_exist then
            get stacked diagnostics v_held_by = pg_exception_detail;
            raise notice 'role % stays, it is held by: %', v_role, replace(v_held_by, e'\n', '; ');
        end;
    end loop;
end
$roles_drop$;

commit;
