"""Servers on which roles come and go, for the migration tests: the kinds of login that install, and what is left afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import database_url, fresh_database
from support.catalog import psql_file, query

ROLES_SQL, ROLES_DROP_SQL = ROOT / "sql" / "roles.sql", ROOT / "sql" / "roles_drop.sql"

KINDS = ("superuser", "creator_owning_the_database", "creator_with_create_on_it", "prepared")

# What `downgrade base` leaves.
EMPTIED = """\
CREATE SCHEMA dot;

ALTER SCHEMA dot OWNER TO dot_owner;

CREATE TABLE dot.alembic_version (
    version_num character varying(32) NOT NULL
);

ALTER TABLE dot.alembic_version OWNER TO dot_owner;

ALTER TABLE ONLY dot.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
"""


@dataclass(frozen=True)
class Target:
    """An empty database, as its superuser sees it and as the login that upgrades it."""

    admin: str
    url: str


@dataclass(frozen=True)
class Cluster:
    """A server of these tests' own: roles come and go."""

    version: int
    url: str

    def clean(self) -> None:
        """Drops every database, login and role of an earlier test."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            for (name,) in admin.execute("select datname from pg_database where datname like 'u\\_%'").fetchall():
                admin.execute(f"drop database {name} with (force)")
            for (name,) in admin.execute(
                "select rolname from pg_roles where rolname ~ '^(dot|m)_' order by 1"
            ).fetchall():
                admin.execute(f"drop role {name}")

    def database(self, name: str = "u_main") -> str:
        return fresh_database(self.url, name)

    def target(self, kind: str, name: str = "u_main") -> Target:
        """An empty database and a login of the kind, with no more rights than that kind has."""
        admin = self.database(name)
        if kind == "superuser":
            return Target(admin, admin)
        login = f"m_{kind}"
        query(admin, f"create role {login} login")
        if kind == "creator_owning_the_database":
            query(admin, f"alter role {login} createrole; alter database {name} owner to {login}")
        elif kind == "creator_with_create_on_it":
            query(admin, f"alter role {login} createrole; grant create on database {name} to {login}")
        elif kind == "prepared":
            assert psql_file(admin, ROLES_SQL) == (0, "")
            if self.version == 15:
                query(admin, f"alter role {login} noinherit; grant dot_owner to {login}")
            else:
                query(admin, f"grant dot_owner to {login} with inherit false, set true")
        return Target(admin, database_url(admin, name, login))

    def own_roles(self) -> list[str]:
        return [one["rolname"] for one in query(self.url, "select rolname from pg_roles where rolname like 'dot\\_%'")]

    def owners(self) -> list[str]:
        """Who may act as dot_owner by a grant: SET or INHERIT on 16 and later, any membership on 15."""
        return [
            one["member"]
            for one in query(
                self.url,
                "select m.member::regrole::text as member from pg_auth_members m where m.roleid = 'dot_owner'::regrole"
                " and (coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)"
                " or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true))",
            )
        ]


def rows_of(url: str) -> dict[str, int]:
    tables = query(url, "select relname from pg_class where relkind = 'r' and relnamespace = 'dot'::regnamespace")
    counts = " union all ".join(
        f"select '{one['relname']}' as t, count(*) as n from dot.{one['relname']}" for one in tables
    )
    return {one["t"]: one["n"] for one in query(url, counts)}
