"""What can be done to a database past its migrations, and how drift has to tell it."""

from __future__ import annotations

from dataclasses import dataclass

from dot_wrapper.operations.drift import Level

RUN, PART = "dot.process_run_observation", "dot.process_component_observation"
GUARD = "process_run_observation_append_only"
CHECK = "process_run_observation_evidence_type_check"
KEY = "process_run_observation_idempotency_key_key"
FKEY = "process_component_observation_process_run_id_fkey"
OBSERVE = "dot.fn_process_run_observe"


@dataclass(frozen=True)
class Tamper:
    """Statements of a superuser; the row that has to be told, as ``kind identity: property``; and how bad it is.

    Attributes:
        cured: whether what drift tells to run puts it back.
        versions: where the server knows the statement.
    """

    name: str
    done: str
    told: str
    level: Level = "drift"
    cured: bool = True
    versions: tuple[int, ...] = (15, 16, 17, 18)


def view(name: str, before: str, after: str) -> str:
    """Replaces part of a view's text, by a regular expression."""
    return (
        f"do $tamper$ declare v_text text := pg_get_viewdef('dot.{name}'::regclass); v_other text; begin"
        f" v_other := regexp_replace(v_text, '{before}', '{after}'); if v_other = v_text then raise 'not in it'; end if;"
        f" execute 'create or replace view dot.{name} with (security_barrier) as ' || v_other; end $tamper$"
    )


def replaced(function: str, before: str, after: str) -> str:
    """Replaces part of a function's definition, by a regular expression."""
    return (
        f"do $tamper$ declare v_text text := pg_get_functiondef('dot.{function}'::regproc); v_other text; begin"
        f" v_other := regexp_replace(v_text, '{before}', '{after}'); if v_other = v_text then raise 'not in it'; end if;"
        " execute v_other; end $tamper$"
    )


def guard(events: str = "delete or update", when: str = "", function: str = "dot.fn_append_only_refuse()") -> str:
    """Puts another trigger in the place of the append-only one of the headers."""
    return (
        f"drop trigger {GUARD} on {RUN}; create trigger {GUARD} before {events} on {RUN} for each row {when}"
        f" execute function {function}; alter table {RUN} enable always trigger {GUARD}"
    )


def catalog(change: str) -> str:
    """A change that only the catalogs can be told."""
    return f"set local allow_system_table_mods = on; {change}; reset allow_system_table_mods"


FN = "create function public.f() returns trigger language plpgsql as 'begin return coalesce(new, old); end'"
PLAIN_INDEX = f"drop index dot.{KEY}; create index {KEY} on {RUN} (process_candidate_code, idempotency_key) where idempotency_key is not null"
TRUE_CHECK = f"alter table {RUN} drop constraint {CHECK}, add constraint {CHECK} check (true)"
TRIGGER, TRIGGER_ROW = f"alter table {RUN} %s trigger {GUARD}", f"trigger {RUN}.{GUARD}"
POLICY, POLICY_ROW = "dot_config_bridge_select on dot.dot_config", "dot.dot_config.dot_config_bridge_select"
OBSERVED = "function dot.fn_process_run_observe("

# What changes a field, what an operations handbook does, and more.
FIRST = [
    Tamper(
        "function body emptied",
        "create or replace function dot.fn_gates_assert(p_evidence_type text, p_held boolean) returns jsonb"
        " language plpgsql as $$ begin return '{}'::jsonb; end $$",
        "function dot.fn_gates_assert(text, boolean): source",
    ),
    Tamper(
        "verdict view says verified",
        view("v_process_verification_v3", r"COALESCE\((\w+\.)?verified, false\)", "true"),
        "view dot.v_process_verification_v3: definition",
    ),
    Tamper("CHECK of the same name weakened", TRUE_CHECK, f"constraint {RUN}.{CHECK}: definition"),
    Tamper("append-only trigger never fires", guard(when="when (false)"), f"{TRIGGER_ROW}: definition"),
    Tamper(
        "writer may write the ledger",
        f"grant insert, update, delete on {RUN} to dot_writer",
        f"table {RUN}: granted to dot_writer",
    ),
    Tamper(
        "definer back door",
        "create function dot.fn_back_door(t text) returns void language plpgsql security definer as"
        " $$ begin execute t; end $$; alter function dot.fn_back_door owner to dot_owner;"
        " grant execute on function dot.fn_back_door to public",
        "function dot.fn_back_door(text): signature",
    ),
    Tamper("search_path of a definer reset", f"alter function {OBSERVE} reset search_path", OBSERVED),
    Tamper("definer made invoker", f"alter function {OBSERVE} security invoker", OBSERVED),
    Tamper(
        "bridge function owned by a superuser",
        "alter function dot.fn_host_outbox_append owner to postgres",
        "function dot.fn_host_outbox_append(",
    ),
    Tamper("extra column", f"alter table {RUN} add column x integer", f"column {RUN}.x: type"),
    Tamper(
        "execute for PUBLIC",
        "grant execute on function dot.fn_dot_config_set to public",
        "function dot.fn_dot_config_set(",
    ),
    Tamper("unique index made plain", PLAIN_INDEX, f"index dot.{KEY}: definition"),
    Tamper("trigger disabled", TRIGGER % "disable", f"{TRIGGER_ROW}: enabled"),
    Tamper("trigger not ALWAYS", TRIGGER % "enable", f"{TRIGGER_ROW}: enabled"),
    Tamper("trigger for replicas only", TRIGGER % "enable replica", f"{TRIGGER_ROW}: enabled"),
    Tamper("trigger function swapped", f"{FN}; {guard(function='public.f()')}", f"{TRIGGER_ROW}: definition"),
    Tamper("trigger narrowed to DELETE", guard("delete"), f"{TRIGGER_ROW}: definition"),
    Tamper("trigger narrowed to a column", guard("delete or update of actor"), f"{TRIGGER_ROW}: definition"),
    Tamper("trigger dropped", f"drop trigger {GUARD} on {RUN}", f"{TRIGGER_ROW}: definition"),
    Tamper(
        "extra trigger that changes rows",
        f"{FN}; create trigger aaa before insert on {PART} for each row execute function public.f()",
        f"trigger {PART}.aaa: definition",
    ),
    Tamper(
        "rule that swallows rows",
        "create rule r as on insert to dot.preflight_attestation do instead nothing",
        "rule dot.preflight_attestation.r: definition",
    ),
    Tamper("unique index dropped", f"drop index dot.{KEY}", f"index dot.{KEY}: definition"),
    Tamper(
        "foreign key dropped", f"alter table {PART} drop constraint {FKEY}", f"constraint {PART}.{FKEY}: definition"
    ),
    Tamper(
        "plpgsql body changed",
        "create or replace function dot.fn_is_admitted(p_evidence_type text, p_dry_run boolean, p_status text,"
        " p_lease_token bigint, p_admission jsonb) returns boolean language plpgsql as 'begin return true; end'",
        "function dot.fn_is_admitted(",
    ),
    Tamper(
        "SQL body changed",
        replaced("fn_is_line", "RETURN .*", "RETURN true"),
        "function dot.fn_is_line(text): source",
    ),
    Tamper("function dropped", "drop function dot.fn_dot_outbox_ack", "function dot.fn_dot_outbox_ack("),
    Tamper("bridge function dropped", "drop function dot.fn_host_outbox_append", "function dot.fn_host_outbox_append("),
    Tamper(
        "overload added",
        f"create function {OBSERVE}(a integer) returns integer language sql as 'select 1'",
        f"function {OBSERVE}(integer): signature",
    ),
    Tamper("view dropped", "drop view dot.v_dot_event_type", "view dot.v_dot_event_type: definition"),
    Tamper(
        "barrier dropped",
        "alter view dot.v_dot_gate reset (security_barrier)",
        "view dot.v_dot_gate: option security_barrier",
    ),
    Tamper(
        "stranger may move gates",
        "grant update, select on dot.dot_config to eve",
        "table dot.dot_config: granted to eve",
    ),
    Tamper("stranger may insert", f"grant insert on {RUN} to eve", f"table {RUN}: granted to eve"),
    Tamper("schema usable by PUBLIC", "grant usage on schema dot to public", "schema dot: granted to PUBLIC"),
    Tamper("writer lost execute", f"revoke execute on function {OBSERVE} from dot_writer", OBSERVED),
    Tamper("table owned by a stranger", f"alter table {RUN} owner to eve", f"table {RUN}: owner"),
    Tamper(
        "table with an identity owned by a stranger",
        "alter table dot.event_outbox owner to eve",
        "table dot.event_outbox: owner",
    ),
    Tamper("function owned by a superuser", f"alter function {OBSERVE} owner to postgres", OBSERVED),
    Tamper(
        "bridge function owned by dot_owner",
        "alter function dot.fn_host_gate_value owner to dot_owner",
        "function dot.fn_host_gate_value(text, boolean): owner",
    ),
    Tamper("stranger in dot_owner", "grant dot_owner to eve", "member dot_owner: eve"),
    Tamper("dot_owner can log in", "alter role dot_owner login", "role dot_owner: login"),
    Tamper(
        "row security forced",
        f"alter table {RUN} force row level security",
        f"table {RUN}: row security forced",
    ),
    Tamper(
        "default changed",
        "alter table dot.event_outbox alter column xact_id set default '1'::xid8",
        "column dot.event_outbox.xact_id: default",
    ),
    Tamper("NOT NULL dropped", f"alter table {RUN} alter column actor drop not null", f"column {RUN}.actor: not null"),
    Tamper("UNLOGGED", "alter table dot.event_outbox set unlogged", "table dot.event_outbox: persistence"),
    Tamper("latch dropped", "drop view dot.gate_latch", "view dot.gate_latch: definition", cured=False),
    Tamper("published", f"create publication p for table {RUN}", f"publication p: {RUN}", "info"),
    Tamper(
        "login without triggers",
        "alter role eve set session_replication_role = replica",
        "setting eve: session_replication_role in all databases",
    ),
    Tamper(
        "domain CHECK replaced",
        "alter domain dot.code drop constraint code_check; alter domain dot.code add constraint code_check check (true)",
        "constraint dot.code.code_check: definition",
    ),
    Tamper("domain default", "alter domain dot.code set default 'x'", "type dot.code: default"),
    Tamper("child table", f"create table public.child () inherits ({RUN})", f"table {RUN}: children"),
    Tamper(
        "foreign key from outside",
        f"create table public.o (c text, i uuid, foreign key (c, i) references {RUN} on delete cascade)",
        "outside table constraint o_c_i_fkey on public.o: uses",
        "info",
    ),
    Tamper("row security off", f"alter table {RUN} disable row level security", f"table {RUN}: row security"),
    Tamper(
        "row security of the version table off",
        "alter table dot.alembic_version disable row level security",
        "table dot.alembic_version: row security",
    ),
    Tamper(
        "policy for a login",
        f"create policy p on {RUN} for select to eve using (true)",
        f"policy {RUN}.p: definition",
    ),
    Tamper("policy of the bridge dropped", f"drop policy {POLICY}", f"policy {POLICY_ROW}: definition"),
    Tamper("policy hides rows", f"alter policy {POLICY} using (key <> 'x')", f"policy {POLICY_ROW}: definition"),
    Tamper("policy lets others in", f"alter policy {POLICY} to dot_bridge, eve", f"policy {POLICY_ROW}: definition"),
    Tamper("policy", f"create policy p on {RUN} using (false)", f"policy {RUN}.p: definition"),
    Tamper(
        "foreign key's triggers disabled",
        f"do $$ declare t name; begin for t in select tgname from pg_trigger where tgrelid = '{PART}'::regclass and tgisinternal"
        f" loop execute format('alter table {PART} disable trigger %I', t); end loop; end $$",
        f"constraint {PART}.{FKEY}: triggers",
    ),
    Tamper(
        "CHECK not valid",
        f"do $$ declare d text := pg_get_constraintdef(oid) from pg_constraint where conname = '{CHECK}'; begin execute"
        f" 'alter table {RUN} drop constraint {CHECK}, add constraint {CHECK} ' || d || ' not valid'; end $$",
        f"constraint {RUN}.{CHECK}: validated",
    ),
    Tamper(
        "view runs as its reader",
        "alter view dot.v_process_run set (security_invoker = true)",
        "view dot.v_process_run: option security_invoker",
    ),
    Tamper(
        "immutable made volatile",
        "alter function dot.fn_is_code volatile",
        "function dot.fn_is_code(text, integer): volatility",
    ),
    Tamper("leakproof", "alter function dot.fn_is_code leakproof", "function dot.fn_is_code(text, integer): leakproof"),
    Tamper("cost", "alter function dot.fn_is_code cost 1000", "function dot.fn_is_code(text, integer): cost"),
    Tamper(
        "default rights in the schema",
        "alter default privileges for role dot_owner in schema dot grant all on tables to public",
        "default rights dot_owner in schema dot: tables to PUBLIC",
    ),
    Tamper(
        "event trigger",
        "create function public.e() returns event_trigger language plpgsql as 'begin end';"
        " create event trigger e on ddl_command_end execute function public.e()",
        "event trigger e: definition",
        "info",
    ),
    Tamper(
        "operator in the schema",
        "create operator dot.=== (leftarg = text, rightarg = text, function = texteq)",
        "other operator dot.===(pg_catalog.text,pg_catalog.text): uses",
    ),
    Tamper("enum", "create type dot.e as enum ('a')", "type dot.e: kind"),
    Tamper(
        "statistics object",
        f"create statistics dot.s on actor, status from {RUN}",
        "other statistics object dot.s: uses",
        "info",
    ),
    Tamper(
        "right on a column",
        f"grant update (actor) on {RUN} to dot_writer",
        f"column {RUN}.actor: granted to dot_writer",
    ),
    Tamper("writer is owner", "grant dot_owner to dot_writer", "member dot_owner: dot_writer"),
    Tamper(
        "bridge may write everything", "grant pg_write_all_data to dot_bridge", "member pg_write_all_data: dot_bridge"
    ),
    Tamper("schema owner", "alter schema dot owner to postgres", "schema dot: owner"),
    Tamper("writer may create", "grant create on schema dot to dot_writer", "schema dot: granted to dot_writer"),
    Tamper(
        "collation",
        'alter table dot.outbox_cursor alter column session_actor type text collate "default"',
        "column dot.outbox_cursor.session_actor: collation",
    ),
    Tamper(
        "identity by default",
        "alter table dot.event_outbox alter column id set generated by default",
        "column dot.event_outbox.id: identity",
    ),
    Tamper("replica identity", f"alter table {RUN} replica identity full", f"table {RUN}: replica identity", "info"),
    Tamper(
        "autovacuum off",
        f"alter table {RUN} set (autovacuum_enabled = off)",
        f"table {RUN}: option autovacuum_enabled",
        "info",
    ),
    Tamper(
        "index invalid",
        catalog(f"update pg_index set indisvalid = false where indexrelid = 'dot.{KEY}'::regclass"),
        f"index dot.{KEY}: valid",
    ),
    Tamper(
        "rule of a view disabled",
        catalog("update pg_rewrite set ev_enabled = 'D' where ev_class = 'dot.v_process_run'::regclass"),
        'rule dot.v_process_run."_RETURN": enabled',
        cured=False,
    ),
    Tamper(
        "comment",
        "comment on function dot.fn_is_code is 'x'",
        "function dot.fn_is_code(text, integer): comment",
        "warn",
    ),
    Tamper(
        "setting of dot_owner",
        "alter role dot_owner set statement_timeout = 1",
        "setting dot_owner: statement_timeout in all databases",
        "warn",
    ),
    Tamper("may grant on", f"grant execute on function {OBSERVE} to dot_writer with grant option", OBSERVED),
    Tamper(
        "function moved away",
        "alter function dot.fn_is_line set schema public",
        "function dot.fn_is_line(text): signature",
        cured=False,
    ),
]

# More kinds.
MORE = [
    Tamper("role missing", "alter role dot_relay rename to dot_relay_gone", "role dot_relay: login", cured=False),
    Tamper("role of the host that is named alike", "create role dot_batch login superuser", "", "info"),
    Tamper("working role with powers", "alter role dot_reader bypassrls createrole", "role dot_reader: bypassrls"),
    Tamper("working role logs in", "alter role dot_writer login", "role dot_writer: login", "warn"),
    Tamper(
        "working role limited",
        "alter role dot_writer connection limit 0 valid until '2020-01-01'",
        "role dot_writer: connection limit",
        "warn",
    ),
    Tamper(
        "owner through another role", "create role m; grant dot_owner to m; grant m to eve", "acts as dot_owner: eve"
    ),
    Tamper(
        "owner through three roles",
        "create role m; create role n; grant dot_owner to m; grant m to n; grant n to eve",
        "acts as dot_owner: eve",
    ),
    Tamper(
        "bridge through another role", "create role m; grant dot_bridge to m; grant m to eve", "acts as dot_bridge: eve"
    ),
    Tamper(
        "ADMIN alone",
        "grant dot_owner to eve with admin true, inherit false, set false",
        "member dot_owner: eve",
        "warn",
        versions=(16, 17, 18),
    ),
    Tamper(
        "SET alone",
        "grant dot_owner to eve with inherit false, set true",
        "member dot_owner: eve",
        versions=(16, 17, 18),
    ),
    Tamper(
        "granted by another than a superuser",
        "grant dot_owner to eve with admin option; create role a; create role m; set local role eve;"
        " grant dot_owner to m with admin option; set local role m; grant dot_owner to a; reset role",
        "member dot_owner: a",
        versions=(16, 17, 18),
    ),
    Tamper(
        "a predefined role handed on",
        "grant pg_write_all_data to eve with admin option; create role a; create role m; set local role eve;"
        " grant pg_write_all_data to a; grant pg_write_all_data to m; reset role",
        "predefined role pg_write_all_data: a",
        "warn",
    ),
    Tamper(
        "a parameter handed on",
        "grant set on parameter session_replication_role to eve with grant option; create role a; create role m;"
        " set local role eve; grant set on parameter session_replication_role to a with grant option;"
        " set local role a; grant set on parameter session_replication_role to m; reset role",
        "parameter session_replication_role: granted to a",
    ),
    Tamper(
        "a right on pg_catalog handed on",
        "grant create on schema pg_catalog to eve with grant option; create role a; create role m;"
        " set local role eve; grant create on schema pg_catalog to a with grant option; grant create on schema pg_catalog to m;"
        " reset role",
        "system schema pg_catalog: granted to a",
    ),
    Tamper(
        "rights handed on, and to a role of the wrapper's",
        f"create role a; grant usage on schema dot to eve, a; grant select on {RUN} to eve with grant option; set local role eve; grant select on {RUN} to a with grant"
        f" option; set local role a; grant select on {RUN} to dot_writer; reset role;"
        f" grant execute on function {OBSERVE} to eve with grant option; set local role eve;"
        f" grant execute on function {OBSERVE} to dot_writer; reset role",
        f"table {RUN}: granted to a",
    ),
    Tamper(
        "ADMIN through another role",
        "create role m; grant dot_owner to m with admin true, inherit false, set false; grant m to eve",
        "acts as dot_owner: eve",
        "warn",
        versions=(16, 17, 18),
    ),
    Tamper(
        "CREATEROLE before 16",
        "alter role eve createrole",
        "acts as dot_owner: eve",
        "warn",
        versions=(15,),
        cured=False,
    ),
    Tamper("bridge taken from the owner", "revoke dot_bridge from dot_owner", "member dot_bridge: dot_owner"),
    Tamper("writer in the gatekeepers", "grant dot_gatekeeper to dot_writer", "member dot_gatekeeper: dot_writer"),
    Tamper("reader in a host's role", "create role app; grant app to dot_reader", "member app: dot_reader", "warn"),
    Tamper("a member of a working role", "grant dot_writer to eve", "member dot_writer: eve", "info"),
    Tamper(
        "a member through another role",
        "create role m; grant dot_gatekeeper to m; grant m to eve",
        "acts as dot_gatekeeper: eve",
        "info",
    ),
    Tamper(
        "a member who may make members", "grant dot_writer to eve with admin option", "member dot_writer: eve", "warn"
    ),
    Tamper(
        "stranger may write all data",
        "grant pg_write_all_data to eve",
        "predefined role pg_write_all_data: eve",
        "warn",
    ),
    Tamper(
        "stranger may read all data", "grant pg_read_all_data to eve", "predefined role pg_read_all_data: eve", "info"
    ),
    Tamper(
        "stranger writes files",
        "grant pg_write_server_files to eve",
        "predefined role pg_write_server_files: eve",
        "warn",
    ),
    Tamper(
        "stranger maintains", "grant pg_maintain to eve", "predefined role pg_maintain: eve", "warn", versions=(17, 18)
    ),
    Tamper(
        "anyone may turn triggers off",
        "grant set on parameter session_replication_role to eve",
        "parameter session_replication_role: granted to eve",
    ),
    Tamper(
        "database without triggers",
        "do $$ begin execute format('alter database %I set session_replication_role = replica', current_database()); end $$",
        "setting all roles: session_replication_role in this database",
    ),
    Tamper(
        "every role without triggers",
        "alter role all set session_replication_role = replica",
        "setting all roles: session_replication_role in all databases",
    ),
    Tamper(
        "search_path of a role in the database",
        "do $$ begin execute format('alter role dot_writer in database %I set search_path = evil', current_database()); end $$",
        "setting dot_writer: search_path in this database",
        "warn",
    ),
    Tamper(
        "library preloaded",
        "alter role eve set session_preload_libraries = 'x'",
        "setting eve: session_preload_libraries in all databases",
        "warn",
    ),
    Tamper(
        "writer may create in the database",
        "do $$ begin execute format('grant create on database %I to dot_writer', current_database()); end $$",
        "database this database: granted to dot_writer",
        "warn",
        cured=False,
    ),
    Tamper(
        "right on pg_catalog", "grant create on schema pg_catalog to eve", "system schema pg_catalog: granted to eve"
    ),
    Tamper(
        "operator where it is looked up first",
        "create function public.f(dot.code, text) returns boolean language sql as 'select true';"
        " create operator pg_catalog.= (leftarg = dot.code, rightarg = text, function = public.f)",
        "system operator pg_catalog.=(dot.code,pg_catalog.text): there",
        cured=False,
    ),
    Tamper(
        "function where it is looked up first",
        "create function pg_catalog.starts_with(text, varchar) returns boolean language sql as 'select true'",
        "system function pg_catalog.starts_with(pg_catalog.text,character varying): there",
    ),
    Tamper(
        "implicit cast of the server's types",
        "create function public.c(text) returns boolean language sql as 'select true';"
        " create cast (text as boolean) with function public.c(text) as implicit",
        "system cast (pg_catalog.text AS boolean): there",
    ),
    Tamper(
        "cast of a row of the ledger",
        f"create function public.c({RUN}) returns text language sql as 'select 1::text';"
        f" create cast ({RUN} as text) with function public.c({RUN})",
        f"outside cast ({RUN} AS pg_catalog.text): uses",
    ),
    Tamper(
        "view from outside",
        f"create view public.v as select actor from {RUN}",
        'outside rule "_RETURN" on public.v: uses',
        "info",
    ),
    Tamper(
        "column from outside",
        "create table public.t (c dot.code, d text default dot.fn_event_type('a', 'b'))",
        "outside table column public.t.c: uses",
        "info",
    ),
    Tamper(
        "trigger from outside",
        "create table public.t (c text); create trigger t before insert on public.t for each row"
        " execute function dot.fn_append_only_refuse()",
        "outside trigger t on public.t: uses",
        "info",
    ),
    Tamper(
        "default of a view's column",
        "alter view dot.v_dot_gate alter column actor set default 'x'",
        "column dot.v_dot_gate.actor: default",
    ),
    Tamper(
        "rights on a view's column",
        "grant update (value) on dot.v_dot_gate to dot_reader",
        "column dot.v_dot_gate.value: granted to dot_reader",
    ),
    Tamper(
        "rights of the owner revoked", f"revoke insert, update on {RUN} from dot_owner", f"table {RUN}: owner lacks"
    ),
    Tamper("rights on a domain", "grant usage on domain dot.code to public", "type dot.code: granted to PUBLIC"),
    Tamper(
        "rights on a sequence",
        "grant update on sequence dot.event_outbox_id_seq to eve",
        "sequence dot.event_outbox_id_seq: granted to eve",
    ),
    Tamper(
        "right handed on",
        f"grant select on {RUN} to dot_reader with grant option; set local role dot_reader; grant select on {RUN} to eve; reset role",
        f"table {RUN}: granted to eve",
    ),
    Tamper(
        "the owner may read a table outside",
        "create table public.t (i integer); grant select on public.t to dot_owner",
        "right outside table public.t: dot_owner",
        "warn",
        cured=False,
    ),
    Tamper(
        "the owner has a schema and a column outside",
        "create schema s authorization dot_owner; create table public.t (i integer); grant update (i) on public.t to dot_owner",
        "right outside schema s: dot_owner",
        "warn",
        cured=False,
    ),
    Tamper(
        "the bridge may write a table outside",
        "create table public.t (i integer); grant insert on public.t to dot_bridge",
        "right outside table public.t: dot_bridge",
        "info",
    ),
    Tamper(
        "a working role may call a function outside",
        "create function public.f() returns integer language sql as 'select 1'; grant execute on function public.f to dot_writer",
        "right outside function public.f(): dot_writer",
        "info",
    ),
    Tamper(
        "default rights of new functions",
        "alter default privileges for role dot_owner grant execute on functions to public",
        "default rights dot_owner: functions to dot_owner",
    ),
    Tamper(
        "sequence jumps",
        "alter sequence dot.event_outbox_id_seq increment 7 cache 50 cycle",
        "sequence dot.event_outbox_id_seq: parameters",
    ),
    Tamper(
        "identity dropped",
        "alter table dot.universal_edges alter column edge_id drop identity",
        "column dot.universal_edges.edge_id: identity",
    ),
    Tamper(
        "generated column",
        f"alter table {RUN} add column g text generated always as (actor) stored",
        f"column {RUN}.g: type",
    ),
    Tamper(
        "column moved to the end",
        f"alter table {RUN} drop column error_ref cascade; alter table {RUN} add column error_ref dot.ref",
        f"table {RUN}: columns",
        cured=False,
    ),
    Tamper(
        "type widened",
        "alter table dot.universal_edges alter column edge_type type varchar(10)",
        "column dot.universal_edges.edge_type: type",
    ),
    Tamper(
        "storage",
        f"alter table {RUN} alter column status set storage external",
        f"column {RUN}.status: storage",
        "info",
    ),
    Tamper(
        "compression",
        f"alter table {RUN} alter column evidence_ref set compression pglz",
        f"column {RUN}.evidence_ref: compression",
        "info",
    ),
    Tamper(
        "statistics target",
        f"alter table {RUN} alter column status set statistics 500",
        f"column {RUN}.status: statistics",
        "info",
    ),
    Tamper(
        "column options",
        f"alter table {RUN} alter column status set (n_distinct = 5)",
        f"column {RUN}.status: options",
        "info",
    ),
    Tamper(
        "fillfactor",
        "alter table dot.dot_iu_runtime_lease reset (fillfactor)",
        "table dot.dot_iu_runtime_lease: option fillfactor",
        "info",
    ),
    Tamper(
        "toast option",
        f"alter table {RUN} set (toast.autovacuum_enabled = off)",
        f"table {RUN}: option toast.autovacuum_enabled",
        "info",
    ),
    Tamper(
        "child of a foreign table",
        f"create table public.parent (like {RUN}); alter table {RUN} inherit public.parent",
        f"table {RUN}: parents",
    ),
    Tamper(
        "clustered",
        f"alter table {RUN} cluster on process_run_observation_pkey",
        "index dot.process_run_observation_pkey: clustered",
        "info",
    ),
    Tamper(
        "extra table",
        "create table dot.t (i integer primary key, j integer generated always as identity)",
        "table dot.t: kind",
    ),
    Tamper("extra view", "create view dot.v as select 1 as one", "view dot.v: definition"),
    Tamper(
        "materialized view",
        f"create materialized view dot.m as select actor from {RUN}",
        "materialized view dot.m: definition",
    ),
    Tamper("composite type", "create type dot.c as (a text)", "type dot.c: kind"),
    Tamper("extra index", f"create unique index x on {RUN} (correlation_id)", "index dot.x: definition"),
    Tamper(
        "extra constraint",
        f"alter table {RUN} add constraint x check (false) not valid",
        f"constraint {RUN}.x: definition",
    ),
    Tamper(
        "constraint of a domain not valid",
        "alter domain dot.ref add constraint x check (value <> 'a') not valid",
        "constraint dot.ref.x: definition",
    ),
    Tamper("domain NOT NULL", "alter domain dot.ref set not null", "type dot.ref: not null"),
    Tamper(
        "foreign key deferred",
        f"alter table {PART} alter constraint {FKEY} deferrable initially deferred",
        f"constraint {PART}.{FKEY}: definition",
    ),
    Tamper(
        "foreign key not enforced",
        f"alter table {PART} alter constraint {FKEY} not enforced",
        f"constraint {PART}.{FKEY}: definition",
        versions=(18,),
    ),
    Tamper(
        "NOT NULL without its rows",
        f"alter table {RUN} alter column actor drop not null; alter table {RUN} add constraint n not null actor not valid",
        f"constraint {RUN}.n: definition",
        versions=(18,),
    ),
    Tamper(
        "foreign key's triggers deleted",
        catalog(
            f"delete from pg_trigger where tgconstraint = (select oid from pg_constraint where conname = '{FKEY}')"
        ),
        f"constraint {PART}.{FKEY}: triggers",
        cured=False,
    ),
    Tamper("setting of a function", f"alter function {OBSERVE} set row_security = off", OBSERVED),
    Tamper(
        "setting of a function before its search_path", f"alter function {OBSERVE} set search_path = public", OBSERVED
    ),
    Tamper("strict", "alter function dot.fn_is_code strict", "function dot.fn_is_code(text, integer): strict"),
    Tamper(
        "parallel",
        "alter function dot.fn_gates_assert parallel safe",
        "function dot.fn_gates_assert(text, boolean): parallel",
    ),
    Tamper(
        "planner support",
        "alter function dot.fn_is_line support pg_catalog.textlike_support",
        "function dot.fn_is_line(text): support",
    ),
    Tamper(
        "written in another language",
        "create or replace function dot.fn_process_dot_runtime_execute_enabled() returns boolean language sql stable"
        " security definer set search_path = pg_catalog, pg_temp as 'select true'",
        "function dot.fn_process_dot_runtime_execute_enabled(): language",
    ),
    Tamper(
        "default of an argument",
        replaced("fn_dot_iu_runtime_lease_acquire", r"(p_[a-z_]+ integer)\)", r"\1 DEFAULT 3600)"),
        "function dot.fn_dot_iu_runtime_lease_acquire(",
        cured=False,
    ),
    Tamper(
        "procedure, aggregate",
        "create procedure dot.p() language sql as ''; create aggregate dot.a(integer) (sfunc = int4pl, stype = integer)",
        "function dot.a(integer): signature",
        cured=False,
    ),
    Tamper(
        "goes with an extension",
        "alter function dot.fn_is_code depends on extension plpgsql",
        "function dot.fn_is_code(text, integer): extension plpgsql",
    ),
    Tamper(
        "language run by something else",
        catalog("update pg_proc set probin = 'x' where proname = 'plpgsql_call_handler'"),
        "system language plpgsql: runs by",
        cured=False,
    ),
    Tamper(
        "language without its validator",
        catalog("update pg_language set lanvalidator = 0 where lanname = 'plpgsql'"),
        "system language plpgsql: runs by",
        cured=False,
    ),
    Tamper("language of another owner", "alter language plpgsql owner to eve", "", "info"),
    Tamper("part of an extension", f"alter extension plpgsql add table {RUN}", f"table {RUN}: extension plpgsql"),
    Tamper(
        "security label",
        catalog(f"insert into pg_seclabel values ('{RUN}'::regclass, 'pg_class'::regclass, 0, 'x', 'secret')"),
        f"table {RUN}: security label of x",
        cured=False,
    ),
    Tamper(
        "comment on a constraint",
        f"comment on constraint {CHECK} on {RUN} is 'off'",
        f"constraint {RUN}.{CHECK}: comment",
        "warn",
    ),
    Tamper(
        "comment on a trigger",
        f"comment on trigger {GUARD} on {RUN} is E'\\x1b[31mred'",
        f"{TRIGGER_ROW}: comment",
        "warn",
    ),
    Tamper("comment on a column", f"comment on column {RUN}.actor is 'it''s'", f"column {RUN}.actor: comment", "warn"),
    Tamper("comment gone", f"comment on table {RUN} is null", f"table {RUN}: comment", "warn"),
    Tamper("published as a schema", "create publication p for tables in schema dot", "publication p: dot", "info"),
    Tamper("published with everything", "create publication p for all tables", "publication p: dot", "info"),
    Tamper(
        "written by a subscription",
        "create subscription s connection 'dbname=nowhere' publication p with (connect = false, slot_name = none);"
        + catalog(
            f"insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, '{RUN}'::regclass, 'r' from pg_subscription"
        ),
        f"subscription s: {RUN}",
        "warn",
        cured=False,
    ),
    Tamper(
        "restrictive policy",
        f"create policy p on {RUN} as restrictive for select to dot_writer using (true)",
        f"policy {RUN}.p: definition",
    ),
    Tamper(
        "operator class",
        "create operator class dot.oc for type text using btree as operator 1 <",
        "other operator class dot.oc USING btree: uses",
        cured=False,
    ),
    Tamper("collation in the schema", "create collation dot.l (locale = 'C')", "other collation dot.l: uses"),
    Tamper(
        "text search in the schema",
        "create text search configuration dot.t (copy = simple)",
        "other text search configuration dot.t: uses",
    ),
    Tamper("a name with quotes", 'create table dot."a.b""; drop" (i integer)', 'table dot."a.b""; drop": kind'),
    Tamper(
        "a role with quotes",
        f'create role "x; --"; grant select on {RUN} to "x; --"',
        f'table {RUN}: granted to "x; --"',
    ),
]

ALL = [*FIRST, *MORE]
