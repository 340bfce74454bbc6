"""Rules that the whole catalog keeps, one query each, and each rule seen to report what breaks it."""

from __future__ import annotations

from support import AMENDED, IN_BOTH_STATES, Connection, Database, rows

# Functions of their arguments alone, or of the database that a session is in. Whatever reads a table sees what the statement sees: VOLATILE.
IMMUTABLE = (
    "fn_component_input_problem",
    "fn_component_stage",
    "fn_component_status_stored",
    "fn_database_here",
    "fn_event_type",
    "fn_evidence_stored",
    "fn_gate_keys",
    "fn_input_refuse",
    "fn_is_admitted",
    "fn_is_bounded_evidence",
    "fn_is_code",
    "fn_is_component_status",
    "fn_is_evidence",
    "fn_is_line",
    "fn_is_plain_evidence",
    "fn_is_ref",
    "fn_is_run_id",
    "fn_is_run_status",
    "fn_is_time",
    "fn_lease_input_problem",
    "fn_observation_input_problem",
    "fn_payload_mismatch_refuse",
    "fn_run_input_problem",
    "fn_status_stored",
    "fn_takes_components",
)

# Tables whose rows may be changed or removed; every other one is append-only. Of the first two no row ever goes.
MUTABLE = ("dot_iu_runtime_lease", "outbox_cursor")
FREE = (
    "alembic_version",
    "alembic_version_amendment",
    "dot_config",
    "dot_iu_command_catalog",
    "dot_tools",
    "event_type",
    "job_queue",
    "universal_edges",
)
# Views that grow with the ledger and show every row of a table: a security barrier, which is for rows that a view hides, would keep
# the newest page from being found by an index.
SHOW_ALL = ("v_dot_command_run", "v_process_run", "v_process_run_component")
HOST = (
    *("dot_config", "dot_iu_command_catalog", "dot_iu_command_run", "dot_iu_runtime_lease", "dot_tools"),
    *("event_outbox", "event_type", "job_queue", "universal_edges"),
)


def listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


FUNCTIONS = "from pg_proc p where p.pronamespace = 'dot'::regnamespace"
TABLES = "from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind = 'r'"
VIEWS = "from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind = 'v'"


def guarded(kind: int) -> str:
    """Whether a BEFORE trigger of the refusing function is on table c for this event: row level 1, delete 8, update 16,
    truncate 32 (pg_trigger.tgtype; BEFORE is 2)."""
    return (
        f"exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgtype & 2 = 2 and t.tgtype & {kind} = {kind}"
        " and t.tgenabled = 'A' and t.tgqual is null and t.tgattr = ''"
        " and (t.tgfoid = 'dot.fn_append_only_refuse'::regproc"
        " or c.relname = 'event_outbox' and t.tgfoid = 'dot.fn_event_outbox_refuse'::regproc))"
    )


# What each query returns breaks the rule.
RULES = {
    "a definer function fixes its search_path, first of its settings": f"""
        select p.proname {FUNCTIONS} and p.prosecdef
            and p.proconfig[1] is distinct from 'search_path=pg_catalog, pg_temp'""",
    "a function that a login calls or that crosses to the host is definer, and no other is": f"""
        select p.proname {FUNCTIONS} and p.prosecdef <> (
            starts_with(p.proname, 'fn_host_')
            or p.proname = 'fn_event_outbox_refuse' -- which crosses back, from the host's table to the cursor
            or p.proname = 'fn_gates_at_commit' -- which runs when the transaction of a login commits
            or exists (
                select from aclexplode(p.proacl) a
                where a.grantee not in (p.proowner, 'dot_owner'::regrole, 'dot_bridge'::regrole)
            )
        )""",
    "a function of a trigger or a CHECK, or that such a one calls, runs under any login's settings: it fixes its search_path or is kept parsed": f"""
        select p.proname {FUNCTIONS} and p.prosqlbody is null
            and (p.prorettype = 'trigger'::regtype or exists (
                select from pg_depend d where d.refobjid = p.oid and d.refclassid = 'pg_proc'::regclass
                    -- Of a function that is kept parsed it is also known which ones it calls.
                    and d.classid in ('pg_constraint'::regclass, 'pg_proc'::regclass)
            ))
            and p.proconfig[1] is distinct from 'search_path=pg_catalog, pg_temp'""",
    "what a writer, cataloguer or relay calls with arguments makes its plans for a large ledger": f"""
        select p.proname {FUNCTIONS} and p.pronargs > 0
            and exists (
                select from aclexplode(p.proacl) a where a.grantee in ('dot_writer'::regrole, 'dot_cataloguer'::regrole, 'dot_relay'::regrole)
            )
            and not p.proconfig @> '{{enable_seqscan=off,plan_cache_mode=force_generic_plan}}'""",
    "fn_host_ functions are the bridge's, in plpgsql": f"""
        select p.proname {FUNCTIONS} and starts_with(p.proname, 'fn_host_') and (
            p.proowner <> 'dot_bridge'::regrole
            or not p.prosecdef
            or p.prolang <> (select l.oid from pg_language l where l.lanname = 'plpgsql')
        )""",
    "a bridge function asks the policies of the wrapper's tables and runs none behind a seam, whatever the session has set": f"""
        select p.proname {FUNCTIONS} and starts_with(p.proname, 'fn_host_')
            and not coalesce(p.proconfig, '{{}}')
                @> array['row_security=' || case when p.prosrc ~ 'dot\\.v_' then 'off' else 'on' end]""",
    "a seam is read by the bridge, and no view stands on it": """
        select distinct r.ev_class::regclass::text from pg_rewrite r
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid and c.oid <> r.ev_class
        where c.relnamespace = 'dot'::regnamespace and starts_with(c.relname, 'v_host_')""",
    "every other function is the owner's": f"""
        select p.proname {FUNCTIONS} and not starts_with(p.proname, 'fn_host_') and p.proowner <> 'dot_owner'::regrole""",
    "PUBLIC executes nothing": f"""
        select p.proname {FUNCTIONS} and exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0
        )""",
    "a name is one function": f"select p.proname {FUNCTIONS} group by p.proname having count(*) > 1",
    "no function is STRICT": f"select p.proname {FUNCTIONS} and p.proisstrict",
    "nothing but the listed functions is IMMUTABLE or STABLE": f"""
        select p.proname {FUNCTIONS} and p.provolatile <> 'v' and p.proname not in ({listed(IMMUTABLE)})""",
    "an IMMUTABLE function names no table": f"""
        select p.proname {FUNCTIONS} and p.provolatile <> 'v' and exists (
            select {TABLES} and strpos(pg_get_functiondef(p.oid), 'dot.' || c.relname) > 0
        )""",
    "a body names its tables with their schema": """
        select p.proname || ': ' || c.relname from pg_proc p, pg_class c
        where p.pronamespace = 'dot'::regnamespace and c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v')
            and p.prosrc ~* ('\\m(from|join|into|update|table|only)\\s+' || c.relname || '\\M')""",
    "no function reads a clock that stands still": f"""
        select p.proname {FUNCTIONS}
            and p.prosrc ~* '\\m(now|transaction_timestamp|statement_timestamp)\\s*\\(|\\mcurrent_timestamp\\M'""",
    "no function runs text as SQL": f"""
        select p.proname {FUNCTIONS}
            and p.prosrc ~* '(^|[;\\n]|\\m(query|in|then|else|loop|begin))\\s*execute\\M'""",
    "a constraint is named after its table": """
        select r.conname from pg_constraint r join pg_class c on c.oid = r.conrelid
        where c.relnamespace = 'dot'::regnamespace and r.contype <> 'n' and not starts_with(c.relname, 'alembic_version')
            and r.conname !~ ('^' || c.relname || case r.contype
                when 'p' then '_pkey$' when 'f' then '_[a-z_]+_fkey$' when 'u' then '_[a-z_]+_key$' else '_[a-z_]+_check$'
            end)""",
    "an index is named after its table": """
        select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
        where t.relnamespace = 'dot'::regnamespace and not starts_with(t.relname, 'alembic_version')
            and c.relname !~ ('^' || t.relname || case
                when i.indisprimary then '_pkey$' when i.indisunique then '_[a-z_]+_key$' else '_[a-z_]+_idx$'
            end)""",
    "every constraint is valid and checked at once, but the gates at the commit": """
        select r.conname from pg_constraint r join pg_class c on c.oid = r.conrelid
        where c.relnamespace = 'dot'::regnamespace
            and (not r.convalidated or r.condeferrable <> (r.contype = 't') or r.condeferred <> (r.contype = 't'))""",
    "a dry or real run waits for the gates at the commit": f"""
        select c.relname {TABLES} and c.relname in ('process_run_observation', 'process_component_observation')
            and not exists (
                select from pg_trigger t where t.tgrelid = c.oid and t.tgfoid = 'dot.fn_gates_at_commit'::regproc
                    and t.tgtype = 5 and t.tgenabled = 'A' and t.tgdeferrable and t.tginitdeferred and t.tgattr = ''
                    and pg_get_triggerdef(t.oid) ~ ' WHEN \\(\\(new\\.admission IS NOT NULL\\)\\) '
            )""",
    "every trigger fires always": """
        select t.tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = 'dot'::regnamespace and not t.tgisinternal and t.tgenabled <> 'A'""",
    "an append-only table refuses UPDATE, DELETE and TRUNCATE": f"""
        select c.relname {TABLES} and c.relname not in ({listed(MUTABLE + FREE)})
            and not ({guarded(1 | 16)} and {guarded(1 | 8)} and {guarded(32)})""",
    "no row leaves the lease table or the cursor": f"""
        select c.relname {TABLES} and c.relname in ({listed(MUTABLE)}) and not ({guarded(1 | 8)} and {guarded(32)})""",
    "a ledger key begins with the candidate": """
        select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
        where i.indisunique and t.relname in ('process_run_observation', 'process_component_observation')
            and t.relnamespace = 'dot'::regnamespace
            and (
                select a.attname from pg_attribute a where a.attrelid = t.oid and a.attnum = i.indkey[0]
            ) is distinct from 'process_candidate_code'""",
    "no foreign key points into the host layer or at a candidate": f"""
        select r.conname from pg_constraint r join pg_class c on c.oid = r.confrelid
        where r.contype = 'f' and c.relnamespace = 'dot'::regnamespace
            and c.relname in ({listed((*HOST, "process_candidate"))})""",
    "every function, view and table has a comment": f"""
        select p.proname {FUNCTIONS} and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.relname from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v')
            and not starts_with(c.relname, 'alembic_version') and obj_description(c.oid, 'pg_class') is null""",
    "every column of a table or view has a comment": """
        select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v') and not starts_with(c.relname, 'alembic_version')
            and a.attnum > 0 and not a.attisdropped
            and coalesce(col_description(c.oid, a.attnum), '') !~ '^[A-Za-z].*[.]$'""",
    "a view is a security barrier unless it shows all, runs as its owner, and is dot_owner's": f"""
        select c.relname {VIEWS} and (
            c.relowner <> 'dot_owner'::regrole
            or (coalesce(c.reloptions, '{{}}') @> '{{security_barrier=true}}') = (c.relname in ({listed(SHOW_ALL)}))
            or coalesce(c.reloptions, '{{}}') && '{{security_invoker=true,security_invoker=on}}'
        )""",
    "tables, sequences and the schema are dot_owner's": """
        select c.relname from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'S')
            and c.relowner <> 'dot_owner'::regrole
        union all select n.nspname from pg_namespace n where n.nspname = 'dot' and n.nspowner <> 'dot_owner'::regrole""",
    "a domain has one constraint, named after it and valid, and only the owner may use it": """
        select t.typname from pg_type t
        where t.typnamespace = 'dot'::regnamespace and t.typtype = 'd' and (
            t.typowner <> 'dot_owner'::regrole
            or t.typnotnull
            or exists (
                select from aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a where a.grantee <> t.typowner
            )
            or (
                select array_agg(r.conname::text) from pg_constraint r where r.contypid = t.oid and r.contype <> 'n'
            ) is distinct from array[t.typname || '_check']
        )""",
    "a view shows the types below the domains, which only the owner may use": """
        select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
            join pg_type t on t.oid = a.atttypid
        where c.relnamespace = 'dot'::regnamespace and c.relkind = 'v' and t.typtype = 'd'""",
    "the schema holds tables, views, their indexes, sequences, functions and domains, and nothing else": """
        select c.relname from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind not in ('r', 'v', 'i', 'S')
        union all select t.typname from pg_type t where t.typnamespace = 'dot'::regnamespace and t.typtype not in ('c', 'd')
            and t.typelem = 0
        union all select o.oprname from pg_operator o where o.oprnamespace = 'dot'::regnamespace
        union all select p.proname from pg_proc p where p.pronamespace = 'dot'::regnamespace and p.prokind <> 'f'
        union all select w.rulename from pg_rewrite w join pg_class c on c.oid = w.ev_class
            where c.relnamespace = 'dot'::regnamespace and w.rulename <> '_RETURN'""",
    "no role holds a right on a table or sequence, but the bridge on the host's tables": f"""
        select c.relname from pg_class c, aclexplode(c.relacl) a
        where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'S') and a.grantee <> c.relowner
            and not (a.grantee = 'dot_bridge'::regrole and c.relkind = 'r' and c.relname in ({listed(HOST)}))
        union all
        select c.relname || '.' || t.attname from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
        where c.relnamespace = 'dot'::regnamespace
            and not (a.grantee = 'dot_bridge'::regrole and c.relname in ({listed(HOST)}))""",
    "every table has row security, and its owner passes": f"""
        select c.relname {TABLES} and (not c.relrowsecurity or c.relforcerowsecurity)""",
    "a policy lets the bridge do what it was granted, and there is no other": """
        with granted (relation, verb) as (
            select c.oid, a.privilege_type from pg_class c, aclexplode(c.relacl) a
            where c.relnamespace = 'dot'::regnamespace and c.relkind = 'r' and a.grantee = 'dot_bridge'::regrole
            union
            select c.oid, a.privilege_type from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
            where c.relnamespace = 'dot'::regnamespace and a.grantee = 'dot_bridge'::regrole
        ), allowed (relation, verb, narrow) as (
            select c.oid,
                case o.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE'
                    when 'd' then 'DELETE' else o.polcmd::text end,
                o.polroles = array['dot_bridge'::regrole::oid] and o.polpermissive
                    and coalesce(pg_get_expr(o.polqual, o.polrelid), 'true') = 'true'
                    and coalesce(pg_get_expr(o.polwithcheck, o.polrelid), 'true') = 'true'
            from pg_policy o join pg_class c on c.oid = o.polrelid where c.relnamespace = 'dot'::regnamespace
        )
        select coalesce(g.relation, a.relation)::regclass || ' ' || coalesce(g.verb, a.verb)
        from granted g full join allowed a on a.relation = g.relation and a.verb = g.verb
        where g.verb is null or a.narrow is not true""",
    "no view can be written through": f"select c.relname {VIEWS} and pg_relation_is_updatable(c.oid, true) <> 0",
    "no stored text is collated by rules that a library of the system can change": """
        select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'i') and not starts_with(c.relname, 'alembic_version')
            and a.attcollation not in (0, 'pg_catalog."C"'::regcollation)
        union all
        select t.typname from pg_type t where t.typnamespace = 'dot'::regnamespace and t.typtype = 'd'
            and t.typcollation not in (0, 'pg_catalog."C"'::regcollation)""",
    "no role may hand a right on": """
        select c.relname from pg_class c, aclexplode(c.relacl) a
        where c.relnamespace = 'dot'::regnamespace and a.is_grantable and a.grantee <> c.relowner
        union all
        select p.proname from pg_proc p, aclexplode(p.proacl) a
        where p.pronamespace = 'dot'::regnamespace and a.is_grantable and a.grantee <> p.proowner""",
    "new functions of the owner are the owner's alone, and no other default privilege exists": """
        select 'granted to ' || a.grantee::regrole from pg_default_acl d, aclexplode(d.defaclacl) a
        where a.grantee <> 'dot_owner'::regrole or d.defaclrole <> 'dot_owner'::regrole or d.defaclobjtype <> 'f'
        union all
        select 'missing' where not exists (
            select from pg_default_acl d where d.defaclrole = 'dot_owner'::regrole and d.defaclobjtype = 'f'
                and d.defaclnamespace = 0
        )""",
}

FORGED = "create function dot.fn_forged() returns integer language sql volatile {} return 1;"
BRIDGE_MAY_CREATE = "grant create on schema dot to dot_bridge; "
SAYING = "create function dot.fn_forged() returns void language plpgsql volatile as $$ begin {}; end $$"

# What a DBA could do by hand, and what the rule then reports.
BREACHES: list[tuple[str, str, str]] = [
    ("a definer function fixes its search_path, first of its settings", FORGED.format("security definer"), "fn_forged"),
    (
        "a definer function fixes its search_path, first of its settings",
        "alter function dot.fn_preflight_guard() set search_path = dot, pg_catalog, pg_temp",
        "fn_preflight_guard",
    ),
    (
        "a definer function fixes its search_path, first of its settings",
        "alter function dot.fn_host_gate_value(text, boolean) set search_path = pg_catalog",
        "fn_host_gate_value",
    ),
    (
        "a function that a login calls or that crosses to the host is definer, and no other is",
        "alter function dot.fn_preflight_guard() security invoker",
        "fn_preflight_guard",
    ),
    (
        "a function that a login calls or that crosses to the host is definer, and no other is",
        "alter function dot.fn_gates_assert(text, boolean) security definer set search_path = pg_catalog, pg_temp",
        "fn_gates_assert",
    ),
    (
        "a function that a login calls or that crosses to the host is definer, and no other is",
        "grant execute on function dot.fn_gates_assert(text, boolean) to dot_writer",
        "fn_gates_assert",
    ),
    (
        "a function of a trigger or a CHECK, or that such a one calls, runs under any login's settings: it fixes its search_path or is kept parsed",
        "alter function dot.fn_append_only_refuse() set search_path = pg_catalog",
        "fn_append_only_refuse",
    ),
    (
        "a function of a trigger or a CHECK, or that such a one calls, runs under any login's settings: it fixes its search_path or is kept parsed",
        "alter function dot.fn_is_run_status(text, jsonb) reset search_path",
        "fn_is_run_status",
    ),
    (
        "a function of a trigger or a CHECK, or that such a one calls, runs under any login's settings: it fixes its search_path or is kept parsed",
        "alter function dot.fn_is_bounded_evidence(jsonb) reset search_path",
        "fn_is_bounded_evidence",
    ),
    (
        "what a writer, cataloguer or relay calls with arguments makes its plans for a large ledger",
        "alter function dot.fn_dot_iu_command_log reset enable_seqscan",
        "fn_dot_iu_command_log",
    ),
    (
        "what a writer, cataloguer or relay calls with arguments makes its plans for a large ledger",
        "alter function dot.fn_process_run_observe set plan_cache_mode = auto",
        "fn_process_run_observe",
    ),
    (
        "fn_host_ functions are the bridge's, in plpgsql",
        "alter function dot.fn_host_gate_value(text, boolean) owner to dot_owner",
        "fn_host_gate_value",
    ),
    (
        "fn_host_ functions are the bridge's, in plpgsql",
        BRIDGE_MAY_CREATE
        + FORGED.replace("fn_forged", "fn_host_forged").format("security definer")
        + "alter function dot.fn_host_forged() owner to dot_bridge",
        "fn_host_forged",
    ),
    (
        "every other function is the owner's",
        BRIDGE_MAY_CREATE + FORGED.format("") + "alter function dot.fn_forged() owner to dot_bridge",
        "fn_forged",
    ),
    (
        "PUBLIC executes nothing",
        "alter default privileges for role dot_owner grant execute on functions to public; " + FORGED.format(""),
        "fn_forged",
    ),
    (
        "PUBLIC executes nothing",
        "grant execute on function dot.fn_dot_config_set(text, text, text, text) to public",
        "fn_dot_config_set",
    ),
    (
        "a name is one function",
        "create function dot.fn_is_ref(p_value text, p_more text) returns boolean language sql return true",
        "fn_is_ref",
    ),
    ("no function is STRICT", FORGED.format("strict"), "fn_forged"),
    (
        "nothing but the listed functions is IMMUTABLE or STABLE",
        "alter function dot.fn_host_gate_value(text, boolean) stable",
        "fn_host_gate_value",
    ),
    (
        "an IMMUTABLE function names no table",
        SAYING.replace("volatile", "immutable").format("perform 1 from dot.dot_config"),
        "fn_forged",
    ),
    (
        "a body names its tables with their schema",
        SAYING.format("perform 1 from dot_config"),
        "fn_forged: dot_config",
    ),
    (
        "no function reads a clock that stands still",
        SAYING.format("perform now()"),
        "fn_forged",
    ),
    (
        "no function runs text as SQL",
        SAYING.format("execute 'select 1'"),
        "fn_forged",
    ),
    (
        "a constraint is named after its table",
        "alter table dot.job_queue add constraint \"$1\" check (status <> '')",
        "$1",
    ),
    (
        "a constraint is named after its table",
        "alter table dot.job_queue add constraint status_check check (status <> '')",
        "status_check",
    ),
    ("an index is named after its table", "create index idx_job on dot.job_queue (status)", "idx_job"),
    (
        "every constraint is valid and checked at once, but the gates at the commit",
        "alter table dot.job_queue add constraint job_queue_status_check check (status <> '') not valid",
        "job_queue_status_check",
    ),
    (
        "every trigger fires always",
        "alter table dot.event_outbox enable trigger event_outbox_append_only",
        "event_outbox_append_only",
    ),
    (
        "every trigger fires always",
        "alter table dot.process_run_observation disable trigger process_run_observation_append_only_truncate",
        "process_run_observation_append_only_truncate",
    ),
    (
        "an append-only table refuses UPDATE, DELETE and TRUNCATE",
        "drop trigger process_run_observation_append_only on dot.process_run_observation",
        "process_run_observation",
    ),
    (
        "an append-only table refuses UPDATE, DELETE and TRUNCATE",
        "drop trigger event_outbox_append_only_truncate on dot.event_outbox",
        "event_outbox",
    ),
    (
        "an append-only table refuses UPDATE, DELETE and TRUNCATE",
        "alter table dot.dot_config_audit enable replica trigger dot_config_audit_append_only",
        "dot_config_audit",
    ),
    (
        "an append-only table refuses UPDATE, DELETE and TRUNCATE",
        "create or replace trigger dot_config_audit_append_only before update or delete on dot.dot_config_audit"
        " for each row when (old.key = 'x') execute function dot.fn_append_only_refuse();"
        " alter table dot.dot_config_audit enable always trigger dot_config_audit_append_only",
        "dot_config_audit",
    ),
    ("an append-only table refuses UPDATE, DELETE and TRUNCATE", "create table dot.new_evidence ()", "new_evidence"),
    (
        "no row leaves the lease table or the cursor",
        "drop trigger dot_iu_runtime_lease_append_only on dot.dot_iu_runtime_lease",
        "dot_iu_runtime_lease",
    ),
    (
        "a ledger key begins with the candidate",
        "create unique index process_run_observation_run_key on dot.process_run_observation (process_run_id)",
        "process_run_observation_run_key",
    ),
    (
        "no foreign key points into the host layer or at a candidate",
        "alter table dot.process_run_observation add constraint process_run_observation_dot_code_fkey"
        " foreign key (dot_code) references dot.dot_tools (code)",
        "process_run_observation_dot_code_fkey",
    ),
    (
        "no foreign key points into the host layer or at a candidate",
        "create table dot.theirs (code text references dot.process_candidate)",
        "theirs_code_fkey",
    ),
    ("every function, view and table has a comment", "comment on table dot.job_queue is null", "job_queue"),
    ("every function, view and table has a comment", "comment on view dot.v_dot_gate is null", "v_dot_gate"),
    ("every function, view and table has a comment", FORGED.format(""), "fn_forged"),
    *(
        ("every column of a table or view has a comment", breach, named)
        for breach, named in (
            ("alter table dot.job_queue add held text", "job_queue.held"),
            ("comment on column dot.dot_tools.usage_count is null", "dot_tools.usage_count"),
            ("comment on column dot.v_dot_gate.is_open is ' '", "v_dot_gate.is_open"),
        )
    ),
    (
        "a view is a security barrier unless it shows all, runs as its owner, and is dot_owner's",
        "alter view dot.v_dot_gate reset (security_barrier)",
        "v_dot_gate",
    ),
    (
        "a view is a security barrier unless it shows all, runs as its owner, and is dot_owner's",
        "alter view dot.v_process_run set (security_barrier = true)",
        "v_process_run",
    ),
    (
        "a view is a security barrier unless it shows all, runs as its owner, and is dot_owner's",
        "alter view dot.v_dot_gate set (security_invoker = true)",
        "v_dot_gate",
    ),
    (
        "a view is a security barrier unless it shows all, runs as its owner, and is dot_owner's",
        BRIDGE_MAY_CREATE + "create view dot.v_forged with (security_barrier = true) as select 1 as one;"
        " alter view dot.v_forged owner to dot_bridge",
        "v_forged",
    ),
    (
        "tables, sequences and the schema are dot_owner's",
        BRIDGE_MAY_CREATE + "alter table dot.universal_edges owner to dot_bridge",
        "universal_edges",
    ),
    (
        "the schema holds tables, views, their indexes, sequences, functions and domains, and nothing else",
        "create materialized view dot.mv as select 1 as one",
        "mv",
    ),
    (
        "the schema holds tables, views, their indexes, sequences, functions and domains, and nothing else",
        "create rule forged as on insert to dot.dot_tools do also delete from dot.process_run_observation",
        "forged",
    ),
    (
        "the schema holds tables, views, their indexes, sequences, functions and domains, and nothing else",
        "create type dot.word as enum ('a')",
        "word",
    ),
    (
        "a view shows the types below the domains, which only the owner may use",
        "create view dot.v_forged as select r.actor from dot.process_run_observation as r",
        "v_forged.actor",
    ),
    *(
        ("a domain has one constraint, named after it and valid, and only the owner may use it", breach, named)
        for breach, named in (
            ("create domain dot.word as text", "word"),
            ("alter domain dot.code drop constraint code_check", "code"),
            ("alter domain dot.ref set not null", "ref"),
            ("alter domain dot.evidence rename constraint evidence_check to another", "evidence"),
            ("grant usage on domain dot.run_id to dot_writer", "run_id"),
            ("grant usage on domain dot.component_key to public", "component_key"),
            ("alter domain dot.component_role add constraint another check (value <> '') not valid", "component_role"),
            (BRIDGE_MAY_CREATE + "alter domain dot.code owner to dot_bridge", "code"),
        )
    ),
    (
        "no role holds a right on a table or sequence, but the bridge on the host's tables",
        "grant select on dot.process_run_observation to dot_reader",
        "process_run_observation",
    ),
    (
        "no role holds a right on a table or sequence, but the bridge on the host's tables",
        "grant insert on dot.process_run_observation to dot_bridge",
        "process_run_observation",
    ),
    (
        "no role holds a right on a table or sequence, but the bridge on the host's tables",
        "grant usage on sequence dot.event_outbox_id_seq to dot_bridge",
        "event_outbox_id_seq",
    ),
    (
        "no role holds a right on a table or sequence, but the bridge on the host's tables",
        "grant update (usage_count) on dot.dot_tools to public",
        "dot_tools.usage_count",
    ),
    (
        "a bridge function asks the policies of the wrapper's tables and runs none behind a seam, whatever the session has set",
        "alter function dot.fn_host_gate_value(text, boolean) reset row_security",
        "fn_host_gate_value",
    ),
    (
        "a bridge function asks the policies of the wrapper's tables and runs none behind a seam, whatever the session has set",
        "alter function dot.fn_host_events_wanted(text[], text[]) set row_security = on",
        "fn_host_events_wanted",
    ),
    (
        "a seam is read by the bridge, and no view stands on it",
        "create view dot.v_forged as select h.key from dot.v_host_gate as h",
        "dot.v_forged",
    ),
    *(
        ("a dry or real run waits for the gates at the commit", breach, "process_run_observation")
        for breach in (
            "drop trigger process_run_observation_gates_at_commit_check on dot.process_run_observation",
            "alter table dot.process_run_observation enable trigger process_run_observation_gates_at_commit_check",
        )
    ),
    *(
        (
            "every table has row security, and its owner passes",
            f"alter table dot.{table} {done} row level security",
            table,
        )
        for table, done in (
            ("process_run_observation", "disable"),
            ("dot_config", "force"),
            ("alembic_version", "disable"),
        )
    ),
    *(
        ("a policy lets the bridge do what it was granted, and there is no other", breach, f"dot.{named}")
        for breach, named in (
            ("drop policy dot_config_bridge_update on dot.dot_config", "dot_config UPDATE"),
            ("alter policy dot_config_bridge_select on dot.dot_config using (key <> 'x')", "dot_config SELECT"),
            ("alter policy dot_config_bridge_select on dot.dot_config to dot_bridge, dot_reader", "dot_config SELECT"),
            ("create policy all_of_it on dot.job_queue using (true)", "job_queue *"),
            ("create policy more on dot.event_outbox for update to dot_bridge using (true)", "event_outbox UPDATE"),
            ("grant insert on dot.event_type to dot_bridge", "event_type INSERT"),
        )
    ),
    (
        "no view can be written through",
        "create view dot.v_forged as select t.code from dot.dot_tools as t",
        "v_forged",
    ),
    *(
        ("no stored text is collated by rules that a library of the system can change", breach, named)
        for breach, named in (
            ("alter table dot.universal_edges alter column edge_type type text", "universal_edges.edge_type"),
            ("create domain dot.word as text", "word"),
            (
                'create index job_queue_status_idx on dot.job_queue (status collate "default")',
                "job_queue_status_idx.status",
            ),
        )
    ),
    (
        "no role may hand a right on",
        "grant select on dot.v_dot_gate to dot_reader with grant option",
        "v_dot_gate",
    ),
    (
        "new functions of the owner are the owner's alone, and no other default privilege exists",
        "alter default privileges for role dot_owner grant execute on functions to public",
        "missing",
    ),
    (
        "new functions of the owner are the owner's alone, and no other default privilege exists",
        "alter default privileges for role dot_owner in schema dot grant select on tables to dot_reader",
        "granted to dot_reader",
    ),
]


def reported(owner: Connection, rule: str) -> list[str]:
    return [str(next(iter(one.values()))) for one in rows(owner, RULES[rule])]


@IN_BOTH_STATES
def test_the_catalog_keeps_every_rule(db: Database) -> None:
    owner = db.session("owner")
    assert {rule: found for rule in RULES if (found := reported(owner, rule))} == {}


def test_each_rule_reports_what_breaks_it(db: Database) -> None:
    owner = db.session("owner")
    assert {rule for rule, *_ in BREACHES} == set(RULES), "a rule that was never seen to fail"
    silent = []
    for rule, breach, named in BREACHES:
        with owner.transaction(force_rollback=True):
            owner.execute(breach)
            if named not in reported(owner, rule):
                silent.append((rule, breach, reported(owner, rule)))
    assert silent == []


@AMENDED
def test_the_lists_name_what_exists(db: Database) -> None:
    owner = db.session("owner")
    functions = {one["proname"] for one in rows(owner, f"select p.proname {FUNCTIONS}")}
    tables = {one["relname"] for one in rows(owner, f"select c.relname {TABLES}")}
    assert set(IMMUTABLE) < functions
    assert {*MUTABLE, *FREE, *HOST} < tables
