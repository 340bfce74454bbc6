"""A database whose owner, who is no superuser, has put code of its own wherever a name may be looked up before pg_catalog's.

Each shadow makes its owner a superuser, and raises where it cannot: a command that runs one has handed over the rights of its login,
or fails with ``TAKEN``.
"""

from __future__ import annotations

import re

import psycopg

from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import database_url
from support.catalog import downgrade_script, query, upgrade_script

COMMANDS = (
    ("upgrade",),
    ("version",),
    ("catalogue", "define", "examples/catalogue.yaml", "--actor", "a"),
    ("catalogue", "show"),
    ("import", "dbt", "examples/dbt"),
    ("preflight", "show"),
    ("preflight", "attest", "--actor", "a", "--finding", "f"),
    ("rehearse", "bakery.orders", "--actor", "a", "--key", "k"),
    ("record", "examples/observations.ndjson"),
    ("runs",),
    ("show", "00000000-0000-7000-8000-000000000001"),
    ("leases",),
    ("board",),
    ("why", "bakery.orders"),
    ("require", "bakery.orders"),
    ("inventory",),
    ("funnel",),
    ("attest", "scheduler", "--absent", "--actor", "a", "--finding", "f"),
    ("gates", "show"),
    ("gates", "holders"),
    ("gates", "set", "queue.worker.enabled", "false", "--actor", "a", "--reason", "r"),
    ("outbox", "show"),
    ("outbox", "switch", "process.run.failed", "--off", "--actor", "a", "--reason", "r"),
    ("outbox", "poll"),
    ("outbox", "ack", "1", "1", "1"),
    ("outbox", "prune"),
    ("adopt", "--inspect"),
    ("adopt", "--check"),
    ("doctor",),
    ("drift",),
    ("drift", "--rows"),
    ("drift", "--beside"),
    ("restored", "--actor", "a", "--reason", "r", "--dry-run"),
    ("restored", "--actor", "a", "--reason", "r"),
)
"""Each command that reaches a database, in an order in which the next has something to work on."""

OWNER = "m_stranger"
TAKEN = "taken over"

# What drivers and SQLAlchemy are known to call by themselves.
_OF_DRIVERS = (
    "version",
    "current_schema",
    "current_schemas",
    "to_regtype",
    "pg_backend_pid",
    "current_setting",
    "set_config",
)

_ATTACK = f"""
create function {{schema}}.attack() returns void language plpgsql set search_path = pg_catalog as $$
begin
    alter role {OWNER} superuser;
exception when others then
    raise exception '{TAKEN}: % in the session of %', sqlerrm, session_user;
end
$$
"""

# The function itself, and one that takes text: literals without a type prefer it.
_SHADOWS = """
select distinct format('create or replace function {schema}.%%I(%%s) returns %%s language plpgsql as $$ begin perform {schema}.attack();
    raise exception ''{taken}: %%s''; end $$', p.proname, arguments, pg_get_function_result(p.oid), p.proname)
from pg_proc p
cross join lateral (values
    (oidvectortypes(p.proargtypes)), (array_to_string(array_fill('text'::text, array[p.pronargs]), ', '))
) a (arguments)
where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.proname = any (%s)
"""

_OPERATORS = [
    (name, left, right)
    for name in ("=", "<>", "<", ">", ">=", "||", "~", "&&")
    for left, right in (
        ("text", "text"),
        ("name", "text"),
        ("name", "varchar"),
        ("name", "name"),
        ("oid", "oid"),
        ("oid", "regrole"),
        ("oid", "regclass"),
        ("integer", "integer"),
        ('"char"', '"char"'),
        ('"char"', "text"),
        ("bigint", "bigint"),
        ("boolean", "boolean"),
    )
]


def called_names() -> list[str]:
    """Every word that is followed by a parenthesis in what the project sends."""
    texts = [
        upgrade_script(),
        downgrade_script(),
        upgrade_script(section="amendment"),
        downgrade_script(section="amendment"),
    ]
    texts += [path.read_text(encoding="utf-8") for path in [*ROOT.glob("sql/*.sql"), *(ROOT / "harness").rglob("*.py")]]
    return sorted({*re.findall(r"\b([a-z_][a-z0-9_]*)\(", "\n".join(texts)), *_OF_DRIVERS})


def take_schema(admin: str, schema: str) -> int:
    """Puts the shadows into a schema of the stranger's; how many there are."""
    database = psycopg.conninfo.conninfo_to_dict(admin)["dbname"]
    with psycopg.connect(database_url(admin, str(database), OWNER), autocommit=True) as stranger:
        stranger.execute("set search_path = pg_catalog, pg_temp")
        stranger.execute(f'create schema if not exists "{schema}"')
        stranger.execute(f'grant usage on schema "{schema}" to public')
        stranger.execute(_ATTACK.format(schema=f'"{schema}"'))
        query = _SHADOWS.replace("{schema}", f'"{schema}"').replace("{taken}", TAKEN)
        made = sum(_make(stranger, statement) for (statement,) in stranger.execute(query, (called_names(),)).fetchall())
        for number, (name, left, right) in enumerate(_OPERATORS):
            function = f'"{schema}".operator_{number}'
            made += _make(
                stranger,
                f"create function {function}({left}, {right}) returns boolean language plpgsql as $$"
                f' begin perform "{schema}".attack(); return true; end $$;'
                f' create operator "{schema}".{name} (leftarg = {left}, rightarg = {right}, function = {function})',
            )
    return made


def _make(stranger: psycopg.Connection[tuple[object, ...]], statement: str) -> bool:
    """Makes a shadow; PL/pgSQL has none for a function of internal types."""
    try:
        stranger.execute(statement)
    except (psycopg.ProgrammingError, psycopg.NotSupportedError):
        return False
    return True


def has_taken(url: str) -> bool:
    """Whether the stranger has become a superuser."""
    return query(url, "select rolsuper from pg_catalog.pg_roles where rolname = %s", OWNER) == [{"rolsuper": True}]


def give_back(url: str) -> None:
    """Takes the stranger's gain away again."""
    query(url, f"alter role {OWNER} nosuperuser")
