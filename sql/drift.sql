-- What is installed in schema dot and what guards it, one row per line: [kind, identity, property, value] in
-- JSON. Two databases have the same definitions where these lines are the same. Any login may run this;
-- nothing is changed.
--     psql -X -qAt -v ON_ERROR_STOP=1 -d DATABASE -f sql/drift.sql > found
--     diff sql/expected/head.jsonl found
-- The expected rows are those of PostgreSQL 16 and later without the amendment; beside them lies what
-- differs on 15 and with it. A host may have roles, publications and the like of its own:
-- docs/reference/cli.md says how bad a row is.
begin transaction read only;
set local search_path = pg_catalog, pg_temp;
-- The text of a view waits for a transaction that holds its tables ACCESS EXCLUSIVE, and other sessions
-- queue up behind that.
set local lock_timeout = '5s';
-- How a definition is printed must not depend on the session.
set local client_encoding = 'utf8';
set local quote_all_identifiers = off;
set local intervalstyle = 'postgres';
set local datestyle = 'iso, ymd';
set local timezone = 'utc';
set local bytea_output = 'hex';
set local extra_float_digits = 1;
set local jit = off;

with recursive
grantee (oid, name) as (
    values (0::oid, 'PUBLIC')
    union all select r.oid, quote_ident(r.rolname) from pg_roles r
),
firing (code, word) as (
    values ('A'::"char", 'always'), ('O', 'origin'), ('R', 'replica'), ('D', 'disabled')
),

-- The objects of the schema. A name is printed as SQL has it, so that a statement can be made of it.
namespace as (
    select n.oid, n.nspname, n.nspowner, n.nspacl from pg_namespace n where n.nspname = 'dot'
),
relation as (
    select c.*, format('dot.%I', c.relname) as identity,
        case c.relkind
            when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
            when 'f' then 'foreign table' when 'c' then 'type' else 'table'
        end as kind
    from pg_class c join namespace n on n.oid = c.relnamespace
    where c.relkind not in ('i', 'I', 't')
),
index as (
    select x.*, i.relname, i.reltablespace, r.identity as on_table, format('dot.%I', i.relname) as identity
    from pg_index x join relation r on r.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
),
routine as (
    select p.*, format('dot.%I(%s)', p.proname, oidvectortypes(p.proargtypes)) as identity
    from pg_proc p join namespace n on n.oid = p.pronamespace
),
-- Domains and the like; not the row types of tables nor arrays, which come with what they are of.
type as (
    select t.*, format('dot.%I', t.typname) as identity
    from pg_type t join namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
    where t.typtype in ('d', 'e', 'r', 'm', 'p') or t.typtype = 'b' and t.typelem = 0 or c.relkind = 'c'
),
-- A constraint trigger is among the triggers.
bound as (
    select c.*, coalesce(r.identity, t.identity) || '.' || quote_ident(c.conname) as identity
    from pg_constraint c left join relation r on r.oid = c.conrelid left join type t on t.oid = c.contypid
    where c.contype <> 't' and (r.oid is not null or t.oid is not null)
),
fired as (
    select t.*, r.identity || '.' || quote_ident(t.tgname) as identity
    from pg_trigger t join relation r on r.oid = t.tgrelid
),
rewritten as (
    select w.*, r.identity || '.' || quote_ident(w.rulename) as identity
    from pg_rewrite w join relation r on r.oid = w.ev_class
),
policy as (
    select p.*, r.identity || '.' || quote_ident(p.polname) as identity
    from pg_policy p join relation r on r.oid = p.polrelid
),
own (classid, objid, kind, identity) as (
    select 'pg_namespace'::regclass, oid, 'schema', nspname::text from namespace
    union all select 'pg_class'::regclass, oid, kind, identity from relation
    union all select 'pg_class'::regclass, indexrelid, 'index', identity from index
    union all select 'pg_proc'::regclass, oid, 'function', identity from routine
    union all
    select 'pg_type'::regclass, t.oid, case when t.oid in (select oid from type) then 'type' end,
        format('dot.%I', t.typname)
    from pg_type t join namespace n on n.oid = t.typnamespace
    union all select 'pg_constraint'::regclass, oid, 'constraint', identity from bound
    union all select 'pg_trigger'::regclass, oid, 'trigger', identity from fired
    union all select 'pg_rewrite'::regclass, oid, 'rule', identity from rewritten
    union all select 'pg_policy'::regclass, oid, 'policy', identity from policy
    union all select 'pg_attrdef'::regclass, d.oid, 'default', r.identity
    from pg_attrdef d join relation r on r.oid = d.adrelid
),

-- Owners, comments, security labels and extensions of all of them.
owned (kind, identity, property, value) as (
    select 'schema', nspname::text, 'owner', nspowner::regrole::text from namespace
    union all select kind, identity, 'owner', relowner::regrole::text from relation
    union all select 'function', identity, 'owner', proowner::regrole::text from routine
    union all select 'type', identity, 'owner', typowner::regrole::text from type
),
described (kind, identity, property, value) as (
    select case w.objsubid when 0 then o.kind else 'column' end,
        o.identity || coalesce('.' || quote_ident(a.attname), ''), w.property, w.value
    from own o
    join (
        select classoid, objoid, objsubid, 'comment', description from pg_description
        union all
        select classoid, objoid, objsubid, 'security label of ' || quote_ident(provider), label
        from pg_seclabel
    ) w (classoid, objoid, objsubid, property, value) on w.classoid = o.classid and w.objoid = o.objid
    left join pg_attribute a on w.objsubid > 0 and a.attrelid = w.objoid and a.attnum = w.objsubid
    where o.kind is not null
    union all
    select o.kind, o.identity, 'extension ' || quote_ident(e.extname),
        case d.deptype when 'e' then 'member' else 'dropped with it' end
    from own o join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.deptype in ('e', 'x')
    join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
    where o.kind is not null
),

-- Rights: one row per grantee and, for the owner, one where it lacks what owners have. The text is the same
-- whether rights are spelt out in the catalog or the default.
acl (kind, identity, objtype, owner, acl) as (
    select 'schema', nspname::text, 'n'::"char", nspowner, nspacl from namespace
    union all
    select kind, identity, case kind when 'sequence' then 's' else 'r' end::"char", relowner, relacl
    from relation
    where kind <> 'type'
    union all select 'column', r.identity || '.' || quote_ident(a.attname), 'c', r.relowner, a.attacl
    from relation r join pg_attribute a on a.attrelid = r.oid
    where a.attacl is not null and not a.attisdropped
    union all select 'function', identity, 'f', proowner, proacl from routine
    union all select 'type', identity, 'T', typowner, typacl from type
),
granted as (
    select a.kind, a.identity, a.owner, g.grantee, n.name, g.privilege_type,
        g.privilege_type || case when g.is_grantable then '*' else '' end
            || case when g.grantor <> a.owner then ' by ' || g.grantor::regrole else '' end as privilege
    from acl a
    cross join aclexplode(coalesce(a.acl, acldefault(a.objtype, a.owner))) g
    join grantee n on n.oid = g.grantee
),
rights (kind, identity, property, value) as (
    select kind, identity, 'granted to ' || name, string_agg(privilege, ', ' order by privilege collate "C")
    from granted where grantee <> owner group by kind, identity, name
    union all
    select a.kind, a.identity, 'owner lacks',
        string_agg(d.privilege_type, ', ' order by d.privilege_type collate "C")
    from acl a cross join aclexplode(acldefault(a.objtype, a.owner)) d
    where d.grantee = a.owner and a.acl is not null and a.kind <> 'column' and not exists (
        select from granted g
        where (g.kind, g.identity, g.grantee, g.privilege_type)
            = (a.kind, a.identity, a.owner, d.privilege_type)
    )
    group by a.kind, a.identity
    union all
    select 'default rights', d.defaclrole::regrole || coalesce(' in schema ' || n.nspname, ''),
        case d.defaclobjtype
            when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
            else 'schemas'
        end || ' to ' || e.name,
        string_agg(g.privilege_type || case when g.is_grantable then '*' else '' end, ', '
            order by g.privilege_type collate "C")
    from pg_default_acl d left join namespace n on n.oid = d.defaclnamespace
    cross join aclexplode(d.defaclacl) g join grantee e on e.oid = g.grantee
    where n.oid is not null or d.defaclnamespace = 0 and d.defaclrole in (select oid from role)
    group by d.defaclrole, n.nspname, d.defaclobjtype, e.name
),

-- Tables, views and sequences: what keeps rows, loses them, hides them or copies them.
stored (kind, identity, property, value) as (
    select r.kind, r.identity, p.property, p.value
    from relation r left join pg_am m on m.oid = r.relam left join pg_tablespace s on s.oid = r.reltablespace
    cross join lateral (values
        ('kind', case r.relkind when 'p' then 'partitioned table' else r.kind end),
        ('persistence',
            case r.relpersistence when 'p' then 'logged' when 'u' then 'unlogged' else 'temporary' end),
        -- Where the catalog says that a table has none, none is fired or checked.
        ('triggers', case when r.relkind in ('r', 'p') then nullif(r.relhastriggers, false)::text end),
        ('checks', nullif(r.relchecks, 0)::text),
        ('row security', case when r.relrowsecurity then 'enabled' end),
        ('row security forced', case when r.relforcerowsecurity then 'forced' end),
        ('replica identity', case when r.relkind in ('r', 'p', 'm') then
            case r.relreplident when 'f' then 'full' when 'n' then 'nothing' when 'i' then 'index' end
        end),
        ('access method', quote_ident(m.amname)),
        ('tablespace', quote_ident(s.spcname)),
        ('of type', nullif(r.reloftype, 0)::regtype::text),
        ('children', (
            select string_agg(c.name, ', ' order by c.name collate "C")
            from pg_inherits i cross join lateral (select i.inhrelid::regclass::text) c (name)
            where i.inhparent = r.oid)),
        ('parents', (
            select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
            from pg_inherits i where i.inhrelid = r.oid)),
        ('columns', (
            select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
            from pg_attribute a
            where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped and r.relkind <> 'S')),
        ('definition', case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid) end)
    ) p (property, value)
    union all
    select r.kind, r.identity, 'option ' || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)
    from relation r cross join unnest(r.reloptions) o
    union all
    select r.kind, r.identity, 'option toast.' || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)
    from relation r join pg_class t on t.oid = r.reltoastrelid cross join unnest(t.reloptions) o
    union all
    select r.kind, r.identity, p.property, p.value
    from relation r join pg_sequence s on s.seqrelid = r.oid
    left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype in ('a', 'i')
        and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
    left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    cross join lateral (values
        ('parameters', concat_ws(' ',
            'as', format_type(s.seqtypid, null), 'increment', s.seqincrement, 'minvalue', s.seqmin,
            'maxvalue', s.seqmax, 'start', s.seqstart, 'cache', s.seqcache,
            case when s.seqcycle then 'cycle' else 'no cycle' end)),
        ('owned by', d.refobjid::regclass || '.' || quote_ident(a.attname))
    ) p (property, value)
),

-- Columns: what may stand in them.
stored_column (kind, identity, property, value) as (
    select 'column', r.identity || '.' || quote_ident(a.attname), p.property, p.value
    from relation r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
    cross join lateral (values
        ('type', format_type(a.atttypid, a.atttypmod)),
        ('not null', nullif(a.attnotnull, false)::text),
        (case a.attgenerated when '' then 'default' else 'generated' end, pg_get_expr(d.adbin, d.adrelid)),
        ('identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end),
        ('collation',
            case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end),
        ('storage', case when a.attstorage <> t.typstorage then
            case a.attstorage
                when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended'
            end
        end),
        ('compression', case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end),
        ('statistics', nullif(coalesce(a.attstattarget, -1), -1)::text),
        ('options', array_to_string(a.attoptions, ', '))
    ) p (property, value)
    where r.relkind <> 'S'
),

-- Constraints and indexes. 18 has a constraint for each NOT NULL, which the column says, unless rows were
-- left out.
checked (kind, identity, property, value) as (
    select 'constraint', b.identity, p.property, p.value
    from bound b cross join lateral (values
        ('definition', pg_get_constraintdef(b.oid)),
        ('validated', b.convalidated::text),
        ('enforced', nullif(to_jsonb(b) ->> 'conenforced', 'true')),
        ('triggers', (
            select string_agg(p.proname || ' ' || f.word, ', ' order by p.proname collate "C")
            from pg_trigger t join pg_proc p on p.oid = t.tgfoid join firing f on f.code = t.tgenabled
            where t.tgconstraint = b.oid))
    ) p (property, value)
    where b.contype <> 'n' or not b.convalidated
    union all
    select 'index', i.identity, p.property, p.value
    from index i left join pg_tablespace s on s.oid = i.reltablespace cross join lateral (values
        ('definition', pg_get_indexdef(i.indexrelid)),
        ('valid', (i.indisvalid and i.indisready and i.indislive)::text),
        ('immediate', i.indimmediate::text),
        ('replica identity', nullif(i.indisreplident, false)::text),
        ('clustered', case when i.indisclustered then i.on_table end),
        ('tablespace', quote_ident(s.spcname))
    ) p (property, value)
),

-- What runs when a row is written or read.
reacting (kind, identity, property, value) as (
    select 'trigger', t.identity, p.property, p.value
    from fired t join firing f on f.code = t.tgenabled
    cross join lateral (values ('definition', pg_get_triggerdef(t.oid)), ('enabled', f.word))
        p (property, value)
    -- Those of foreign keys come with their constraint.
    where not t.tgisinternal or t.tgconstraint = 0
    union all
    select 'rule', w.identity, p.property, p.value
    from rewritten w join firing f on f.code = w.ev_enabled cross join lateral (values
        ('definition', case when w.rulename <> '_RETURN' then pg_get_ruledef(w.oid) end),
        ('enabled', f.word)
    ) p (property, value)
    where w.rulename <> '_RETURN' or w.ev_enabled <> 'O'
    union all
    select 'policy', p.identity, 'definition', concat_ws(' ',
        case when p.polpermissive then 'permissive' else 'restrictive' end,
        case p.polcmd
            when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
            when 'd' then 'delete' else 'all'
        end,
        'to', (
            select string_agg(g.name, ', ' order by g.name collate "C") from grantee g
            where g.oid = any(p.polroles)),
        'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
        'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from policy p
),

-- Functions: their text, and the rights and settings that they run with.
called (kind, identity, property, value) as (
    select 'function', f.identity, p.property, p.value
    from routine f join pg_language l on l.oid = f.prolang cross join lateral (values
        ('source', coalesce(pg_get_function_sqlbody(f.oid), f.prosrc)),
        ('library', f.probin),
        ('language', quote_ident(l.lanname)),
        ('kind', case f.prokind
            when 'f' then 'function' when 'p' then 'procedure' when 'a' then 'aggregate' else 'window'
        end),
        ('signature', '(' || pg_get_function_arguments(f.oid) || ')'
            || coalesce(' returns ' || pg_get_function_result(f.oid), '')),
        ('volatility',
            case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end),
        ('security', case when f.prosecdef then 'definer' else 'invoker' end),
        ('leakproof', nullif(f.proleakproof, false)::text),
        ('strict', nullif(f.proisstrict, false)::text),
        ('parallel', case f.proparallel when 's' then 'safe' when 'r' then 'restricted' else 'unsafe' end),
        ('settings', array_to_string(f.proconfig, '; ')),
        ('transforms', array_to_string(f.protrftypes::regtype[], ', ')),
        ('cost', f.procost::text),
        ('rows', nullif(f.prorows, 0)::text),
        ('support', nullif(f.prosupport, 0)::regproc::text)
    ) p (property, value)
),
typed (kind, identity, property, value) as (
    select 'type', t.identity, p.property, p.value
    from type t left join pg_type b on b.oid = t.typbasetype left join pg_range r on r.rngtypid = t.oid
    cross join lateral (values
        ('kind', case t.typtype
            when 'd' then 'domain' when 'e' then 'enum' when 'c' then 'composite' when 'r' then 'range'
            when 'm' then 'multirange' when 'p' then 'shell' else 'base'
        end),
        ('base', case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end),
        ('subtype', format_type(r.rngsubtype, null)),
        ('not null', nullif(t.typnotnull, false)::text),
        ('default', t.typdefault),
        ('collation', case when t.typtype = 'd' and t.typcollation <> b.typcollation
            then t.typcollation::regcollation::text end),
        ('labels', (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
            from pg_enum e where e.enumtypid = t.oid))
    ) p (property, value)
),

-- What else depends on all of this: in the schema (operators, statistics, ...), or outside it (views,
-- foreign keys, casts, ...).
strange (kind, identity, property, value) as (
    select case when i.schema = 'dot' then 'other' else 'outside' end, i.type || ' ' || i.identity, 'uses',
        string_agg(distinct o.identity, ', ' order by o.identity)
    from own o
    join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid and d.deptype in ('n', 'a')
    left join own w on w.classid = d.classid and w.objid = d.objid
    cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
    where w.objid is null
        and d.classid::regclass::text not in (
            'pg_default_acl', 'pg_publication_rel', 'pg_publication_namespace'
        )
    group by i.schema, i.type, i.identity
),

-- The wrapper's own roles, and no other that is named alike: what they may do, and who may act as them. A
-- superuser may anyway, and is no member.
role as (
    select r.* from pg_roles r where r.rolname in (
        'dot_owner', 'dot_bridge', 'dot_writer', 'dot_cataloguer', 'dot_gatekeeper', 'dot_relay',
        'dot_reader'
    )
),
membership as (
    select m.roleid, m.member, m.grantor, m.admin_option as admin,
        coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit) as inherits,
        coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) as sets
    from pg_auth_members m join pg_roles r on r.oid = m.member
    where not r.rolsuper
),
reach (role, member, acts, via) as (
    select m.roleid, m.member, m.inherits or m.sets, null::oid
    from membership m join role r on r.oid = m.roleid
    where m.member not in (select oid from role)
    union
    select h.role, m.member, h.acts and (m.inherits or m.sets), h.member
    from reach h join membership m on m.roleid = h.member
),
role_row (kind, identity, property, value) as (
    select 'role', r.rolname::text, p.property, p.value
    from role r cross join lateral (values
        ('login', r.rolcanlogin::text), ('superuser', r.rolsuper::text),
        ('createrole', r.rolcreaterole::text), ('createdb', r.rolcreatedb::text),
        ('inherit', r.rolinherit::text), ('replication', r.rolreplication::text),
        ('bypassrls', r.rolbypassrls::text), ('connection limit', nullif(r.rolconnlimit, -1)::text),
        ('valid until', nullif(r.rolvaliduntil, 'infinity')::text)
    ) p (property, value)
    union all
    select 'member', m.roleid::regrole::text,
        m.member::regrole::text
            -- Who granted the bridge to the owner is who installed.
            || case
                when m.grantor = 10 or m.member in (select oid from role) then ''
                else ' granted by ' || m.grantor::regrole
            end,
        concat_ws(', ', case when m.admin then 'admin' end, case when m.inherits then 'inherit' end,
            case when m.sets then 'set' end)
    from membership m
    where m.roleid in (select oid from role) or m.member in (select oid from role)
    union all
    select 'acts as', h.role::regrole::text, h.member::regrole::text,
        string_agg(
            case when h.acts then 'through ' else 'may grant it to itself through ' end || h.via::regrole,
            ', ' order by h.acts desc, h.via::regrole::text collate "C")
    from reach h where h.via is not null group by h.role, h.member
    union all
    select 'acts as', 'dot_owner', quote_ident(r.rolname), 'may grant it to itself: CREATEROLE, before 16'
    from pg_roles r
    where r.rolcreaterole and not r.rolsuper and current_setting('server_version_num')::integer < 160000
    union all
    select 'predefined role', m.roleid::regrole::text, m.member::regrole::text, 'member'
    from membership m
    where m.roleid::regrole::text in (
            'pg_read_all_data', 'pg_write_all_data', 'pg_maintain', 'pg_create_subscription',
            'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
        and m.member not in (select oid from role)
    group by m.roleid, m.member
),

-- Settings that are kept for a role or the database, and who may make them.
setting (kind, identity, property, value) as (
    select 'setting', coalesce(quote_ident(r.rolname), 'all roles'),
        split_part(c, '=', 1)
            || case s.setdatabase when 0 then ' in all databases' else ' in this database' end,
        substr(c, strpos(c, '=') + 1)
    from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole cross join unnest(s.setconfig) c
    where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
        and (s.setrole in (select oid from role)
            or split_part(c, '=', 1)
                ~ '^(session_replication_role|allow_system_table_mods|ignore_system_indexes)$'
            or split_part(c, '=', 1) ~ '^(search_path|row_security|event_triggers|check_function_bodies)$'
            or split_part(c, '=', 1) ~ '^(role|session_authorization|standard_conforming_strings)$'
            or split_part(c, '=', 1) ~ '^(transform_null_equals|createrole_self_grant|plpgsql[.].*)$'
            or split_part(c, '=', 1) ~ '^(default_transaction_.*|.*_preload_libraries)$')
    union all
    select 'parameter', p.parname, 'granted to ' || n.name,
        string_agg(g.privilege_type, ', ' order by g.privilege_type collate "C")
    from pg_parameter_acl p cross join aclexplode(p.paracl) g join grantee n on n.oid = g.grantee
    where g.grantee <> 10 group by p.parname, n.name
),

-- The database around the schema: what sees or copies its changes, and what stands where names are looked up
-- first.
around (kind, identity, property, value) as (
    select 'event trigger', quote_ident(e.evtname), 'definition',
        concat_ws(' ', 'on', e.evtevent, 'calls', e.evtfoid::regproc, 'of', e.evtowner::regrole, f.word,
            array_to_string(e.evttags, ', '))
    from pg_event_trigger e join firing f on f.code = e.evtenabled
    union all
    select 'publication', quote_ident(p.pubname), r.identity,
        concat_ws(' ', 'published', 'columns ' || x.prattrs::text,
            'where ' || pg_get_expr(x.prqual, x.prrelid))
    from pg_publication p join pg_publication_rel x on x.prpubid = p.oid join relation r on r.oid = x.prrelid
    union all
    select 'publication', quote_ident(p.pubname), 'dot',
        case when p.puballtables then 'all tables' else 'all tables of it' end
    from pg_publication p
    where p.puballtables or exists (
        select from pg_publication_namespace x join namespace n on n.oid = x.pnnspid where x.pnpubid = p.oid)
    union all
    select 'subscription', quote_ident(s.subname), r.identity, 'writes'
    from pg_subscription s join pg_subscription_rel x on x.srsubid = s.oid
    join relation r on r.oid = x.srrelid
    union all
    select 'database', 'this database', 'granted to ' || g.grantee::regrole,
        string_agg(g.privilege_type, ', ' order by g.privilege_type collate "C")
    from pg_database d cross join aclexplode(d.datacl) g
    where d.datname = current_database() and g.grantee in (select oid from role) group by g.grantee
    union all
    select 'system', 'schema pg_catalog', 'granted to ' || e.name, g.privilege_type
    from pg_namespace n cross join aclexplode(n.nspacl) g join grantee e on e.oid = g.grantee
    where n.nspname = 'pg_catalog' and g.privilege_type = 'CREATE' and g.grantee <> n.nspowner
    union all
    -- What a role of the wrapper may do elsewhere in the database.
    select 'right outside', i.type || ' ' || i.identity, s.refobjid::regrole::text,
        string_agg(distinct case s.deptype when 'o' then 'owner' else 'granted' end, ', ')
    from pg_shdepend s join role r on r.oid = s.refobjid and s.refclassid = 'pg_authid'::regclass
    left join own w on w.classid = s.classid and w.objid = s.objid
    cross join lateral pg_identify_object(s.classid, s.objid, s.objsubid) i
    where s.dbid = (select d.oid from pg_database d where d.datname = current_database())
        and s.deptype in ('a', 'o')
        and w.objid is null and i.schema is distinct from 'dot' and s.classid <> 'pg_default_acl'::regclass
    group by 2, 3
    union all
    -- What runs the text of every function in it. Who owns the language cannot change that.
    select 'system', 'language plpgsql', 'runs by', concat_ws(', ', (
            select string_agg(format('%s of %s', p.prosrc, p.probin), ', ' order by p.prosrc collate "C")
            from pg_proc p where p.oid in (l.lanplcallfoid, l.laninline, l.lanvalidator)),
        case when l.lanpltrusted then 'trusted' end)
    from pg_language l where l.lanname = 'plpgsql'
    union all
    -- An object id below 16384 is the server's own. Extensions put theirs there too.
    select 'system', i.type || ' ' || i.identity, 'there', 'true'
    from (
        select 'pg_proc'::regclass as classid, oid
        from pg_proc where pronamespace = 'pg_catalog'::regnamespace
        union all select 'pg_operator'::regclass, oid
        from pg_operator where oprnamespace = 'pg_catalog'::regnamespace
        union all select 'pg_type'::regclass, oid
        from pg_type where typnamespace = 'pg_catalog'::regnamespace
        union all select 'pg_class'::regclass, oid
        from pg_class where relnamespace = 'pg_catalog'::regnamespace
        union all select 'pg_cast'::regclass, oid from pg_cast where castcontext = 'i'
    ) o
    cross join lateral pg_identify_object(o.classid, o.oid, 0) i
    where o.oid >= 16384 and not exists (
        select from pg_depend d where d.classid = o.classid and d.objid = o.oid and d.deptype = 'e')
)

select json_build_array(kind, identity, property, value)
from (
    select * from owned union all select * from described union all select * from rights
    union all select * from stored union all select * from stored_column union all select * from checked
    union all select * from reacting union all select * from called union all select * from typed
    union all select * from strange union all select * from role_row union all select * from setting
    union all select * from around
) found (kind, identity, property, value)
where value is not null
order by kind collate "C", identity collate "C", property collate "C", value collate "C";
commit;
