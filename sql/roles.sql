-- Roles of the wrapper, and the two grants that its upgrade needs. Roles are cluster-wide: run this once per cluster, and
-- once in each database that the wrapper goes into (for the grant on the database):
--     psql -v ON_ERROR_STOP=1 -d DATABASE -f sql/roles.sql
-- `alembic upgrade` runs the same text first, so a login that may create roles needs no DBA. Only what the catalog shows
-- missing is created or granted: a second run changes nothing, and a login without rights passes where all is there.
do $roles$
declare
    v_role text;
begin
    foreach v_role in array array[
        'dot_owner',        -- owns the schema and everything in it but the bridge functions; nobody logs in as it
        'dot_bridge',       -- owns fn_host_*: the only code that writes the host's tables, and it cannot reach the ledger
        'dot_writer',       -- records runs
        'dot_cataloguer',   -- registers DOTs, defines candidates
        'dot_gatekeeper',   -- moves gates, attests
        'dot_relay',        -- delivers the outbox
        'dot_reader'        -- reads the views
    ] loop
        if to_regrole(v_role) is null then
            begin
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    null;  -- the upgrade of another database created it at the same moment
                when insufficient_privilege then
                    raise insufficient_privilege using
                        message = format('role %s is missing and %s may not create roles', v_role, current_user),
                        hint = 'A DBA runs sql/roles.sql in this database first, and then: grant dot_owner to the '
                            'login that upgrades (on 16 and later: with inherit false, set true).';
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

-- The schema is dot_owner's own, so dot_owner must be able to create it where the upgrading login cannot.
do $database$
begin
    if to_regnamespace('dot') is null
        and not has_database_privilege('dot_owner', current_database(), 'create')
        and pg_has_role(current_user, (select d.datdba from pg_database d where d.datname = current_database()), 'usage')
    then
        execute format('grant create on database %I to dot_owner', current_database());
    end if;
end
$database$;
