-- Roles of the wrapper, and the two grants that its upgrade needs. Roles are cluster-wide: run this once per
-- cluster, and once in each database that the wrapper goes into (for the grant on the database):
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f sql/roles.sql
-- `alembic upgrade` runs the same statements first, so a login that may create roles needs no DBA. Only what
-- the catalog shows missing is created or granted: a second run changes nothing, and a login without rights
-- passes where all is there. It stops where roles of these names were prepared by a stranger: who can act as
-- them owns the evidence.

begin;
set local search_path = pg_catalog, pg_temp;

do $roles$
declare
    v_role text;
begin
    foreach v_role in array array[
        -- Owns the schema and everything in it but the bridge functions; no login is it.
        'dot_owner',
        -- Owns fn_host_*: the only code that writes the host's tables, and it cannot reach the ledger.
        'dot_bridge',
        'dot_writer',       -- records runs
        'dot_cataloguer',   -- registers DOTs, defines candidates
        'dot_gatekeeper',   -- moves gates, attests
        'dot_relay',        -- delivers the outbox
        'dot_reader'        -- reads the views
    ] loop
        if to_regrole(v_role) is null then
            begin
                -- From 16 on a database may have it that the creator of a role becomes a member of it.
                perform set_config(s.name, '', true)
                from pg_settings s where s.name = 'createrole_self_grant';
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    null;  -- the upgrade of another database created it at the same moment
                when insufficient_privilege then
                    raise insufficient_privilege using
                        message = format('role %s is missing and %s may not create roles', v_role,
                            current_user),
                        hint = 'A DBA runs sql/roles.sql in this database first, and then: grant '
                            'dot_owner to the login that upgrades (on 16 and later: with inherit false, '
                            'set true).';
            end;
        end if;
    end loop;
end
$roles$;

-- dot_owner hands the bridge functions over (SET) and replaces them later (INHERIT).
do $bridge$
declare
    v_missing boolean := not pg_has_role('dot_owner', 'dot_bridge', 'usage');
begin
    if current_setting('server_version_num')::integer < 160000 then
        if v_missing then
            grant dot_bridge to dot_owner;
        end if;
    else
        if not v_missing then
            v_missing := not pg_has_role('dot_owner', 'dot_bridge', 'set');
        end if;
        if v_missing then
            execute 'grant dot_bridge to dot_owner with inherit true, set true';
        end if;
    end if;
end
$bridge$;

-- The login that runs this may act as dot_owner for the deploy. No other may, but superusers, who need no
-- grant.
do $members$
declare
    v_new boolean := current_setting('server_version_num')::integer >= 160000;
    v_found text;
    v_grants text;
begin
    select string_agg(r.rolname, ', ' order by r.rolname) into v_found
    from pg_roles r
    where r.rolname in ('dot_owner', 'dot_bridge') and (r.rolcanlogin or r.rolsuper or r.rolcreaterole);
    if v_found is not null then
        raise insufficient_privilege using
            message = format('%s can log in, create roles, or is a superuser', v_found),
            hint = 'Look who did that, then: alter role dot_owner nologin nosuperuser nocreaterole; the '
                'same for dot_bridge.',
            constraint = 'deploy_role_attributes';
    end if;

    select string_agg(format('%s of %s', r.rolname, o.rolname), ', ' order by o.rolname, r.rolname),
        (
            select string_agg(format('revoke %I from %I', m.roleid::regrole::text, u.rolname), '; ')
            from pg_auth_members m join pg_roles u on u.oid = m.member
            where m.roleid in (to_regrole('dot_owner'), to_regrole('dot_bridge'))
                and u.rolname not in ('dot_owner', current_user)
        )
    into v_found, v_grants
    from pg_roles o
    join pg_roles r
        on r.oid <> o.oid and not r.rolsuper and r.rolname not in ('dot_owner', current_user, session_user)
    where o.rolname in ('dot_owner', 'dot_bridge') and case
        when v_new then pg_has_role(r.oid, o.oid, 'set') or pg_has_role(r.oid, o.oid, 'usage')
        else pg_has_role(r.oid, o.oid, 'member')
    end;
    if v_found is not null then
        raise insufficient_privilege using
            message = 'there are members that can act as owner of the evidence: ' || v_found,
            hint = format('They could change or forge it. Outside a deploy there are none: %s;', v_grants),
            constraint = 'deploy_members';
    end if;

    select string_agg(format('%s (%s)', m.member::regrole, m.roleid::regrole), ', ') into v_found
    from pg_auth_members m
    join pg_roles r on r.oid = m.member and not r.rolsuper and r.rolname not in (current_user, session_user)
    where m.admin_option and m.roleid in (to_regrole('dot_owner'), to_regrole('dot_bridge'));
    if v_found is not null then
        raise warning 'these logins may grant themselves a role that owns the evidence: %', v_found
            using hint = 'They have ADMIN on it, as who creates a role has. Where that is not wanted a '
                'superuser revokes the role.';
    end if;
end
$members$;

-- The schema is dot_owner's own, so dot_owner must be able to create it where the upgrading login cannot.
do $database$
begin
    if to_regnamespace('dot') is null
        and not has_database_privilege('dot_owner', current_database(), 'create')
        and pg_has_role(
            current_user, (select d.datdba from pg_database d where d.datname = current_database()), 'usage'
        )
    then
        execute format('grant create on database %I to dot_owner', current_database());
    end if;
end
$database$;

commit;
