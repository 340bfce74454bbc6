"""Whatever connection string libpq takes the harness takes, and a transaction pooler may stand between."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import psycopg
import pytest
from alembic import command
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.operations.scratch import as_owner
from dot_wrapper.proving.databases import upgrade
from dot_wrapper.proving.prepared import Prepared, prepared, with_template
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import import_dbt
from dot_wrapper.sources.dbt.summary import ImportSummary
from support import Database, DotWrapper, define_pair, value
from support.catalog import HEAD, downgrade, in_process
from support.servers import data_directory, free_port, listen_on_tcp, server
from support.strangers import COMMANDS, OWNER, TAKEN, has_taken, take_schema
from tools.missing import pgbouncer

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"
PASSWORD = "p@ss:w/rd%#? é"  # noqa: S105  of a login that lives as long as these tests
CLIENTS, POOL = 6, 2


@pytest.fixture(scope="module")
def listening() -> Iterator[Prepared]:
    """A server of these tests' own: it wants a password on 127.0.0.1, and has no TLS. Its URL is the socket's."""
    with (
        server(18) as url,
        prepared(make_conninfo(url, port=listen_on_tcp(18, url)), own=True) as made,
    ):
        with psycopg.connect(made.url, autocommit=True, client_encoding="utf8") as admin:
            login = sql.Identifier(made.logins["operator"][0])
            admin.execute(sql.SQL("alter role {} password {}").format(login, PASSWORD))
        yield with_template(made)


@pytest.fixture
def db(listening: Prepared) -> Iterator[Database]:
    """A database with the wrapper on that server."""
    with listening.clone() as url, closing(Database(url, listening)) as made:
        yield made


@dataclass(frozen=True)
class Place:
    """A database, and the login that is to reach it over TCP."""

    host: str
    port: str
    dbname: str
    user: str
    password: str = PASSWORD

    def url(self, scheme: str = "postgresql") -> str:
        return f"{scheme}://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{self.dbname}"

    def lines(self) -> str:
        return "".join(f"{name}={text}\n" for name, text in vars(self).items())


@pytest.fixture
def place(db: Database) -> Place:
    parts = conninfo_to_dict(db.url)
    return Place("127.0.0.1", str(parts["port"]), str(parts["dbname"]), db.login("operator"))


Form = Callable[[Place, Path, pytest.MonkeyPatch], str]


def service(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = folder / "pg_service.conf"
    file.write_text(f"[dot]\n{place.lines()}", encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    return "service=dot"


def service_in_a_url(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"postgresql://?{service(place, folder, monkeypatch)}"


def service_of_the_environment(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    service(place, folder, monkeypatch)
    monkeypatch.setenv("PGSERVICE", "dot")
    return "postgresql://"


def password_file(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = folder / "pgpass"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file.write_text(f"{place.host}:{place.port}:{place.dbname}:{place.user}:{escaped}\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    return f"postgresql://{place.user}@{place.host}:{place.port}/{place.dbname}"


FORMS: dict[str, Form] = {
    "a URL with a percent-encoded password": lambda place, *_: place.url(),
    "the short scheme": lambda place, *_: place.url("postgres"),
    "SQLAlchemy's form": lambda place, *_: place.url("postgresql+psycopg"),
    "SQLAlchemy's form for another driver": lambda place, *_: place.url("postgresql+psycopg2"),
    "keywords": lambda place, *_: make_conninfo(**vars(place)),
    "a service": service,
    "a service in a URL": service_in_a_url,
    "a service of the environment": service_of_the_environment,
    "a password file": password_file,
}


def reached() -> tuple[str, str]:
    """Database and login of the harness's connection; that of alembic's is the same."""
    query = "select current_database(), session_user"
    with closing(database.connect()) as connection, closing(database.connect_for_alembic(database.conninfo())) as other:
        found = connection.execute(query).fetchone()
        assert other.execute(query).fetchone() == found
    assert found
    return found[0], found[1]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_connection_string_reaches_the_database(
    place: Place, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    monkeypatch.setenv("DATABASE_URL", FORMS[form](place, tmp_path, monkeypatch))
    assert reached() == (place.dbname, place.user)
    assert dot_wrapper("board", "--json").json == []


def test_a_socket_url_without_a_user_is_the_system_user_s_and_alembic_upgrades_through_it(
    listening: Prepared, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.delenv("PGUSER", raising=False)
    with listening.database() as empty, psycopg.connect(empty, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} superuser login").format(sql.Identifier(me)))
        parts = conninfo_to_dict(empty)
        url = f"postgresql:///{parts['dbname']}?host={parts['host']}&port={parts['port']}"
        upgrade(url)
        assert in_process(command.current, url) == f"{HEAD} (head)\n"
        monkeypatch.setenv("DATABASE_URL", url)
        assert reached() == (parts["dbname"], me)
        assert dot_wrapper("board", "--json").json == []


def test_sslmode_require_is_encrypted(monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed: no certificate for a server")
    with server(15) as url:  # the embedded ones know no TLS
        data = data_directory(url)
        certificate = ["-keyout", str(data / "server.key"), "-out", str(data / "server.crt"), "-subj", "/CN=localhost"]
        make = [*as_owner(data), openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *certificate]
        subprocess.run(make, check=True, capture_output=True)
        port = listen_on_tcp(15, url, "ssl = on")
        with psycopg.connect(make_conninfo(url, port=port), client_encoding="utf8") as admin:
            admin.execute(sql.SQL("alter role postgres password {}").format(PASSWORD))
        place = Place("127.0.0.1", str(port), "postgres", "postgres")
        monkeypatch.setenv("DATABASE_URL", f"{place.url()}?sslmode=require")
        assert dot_wrapper("upgrade", "--json").json == {"before": None, "after": HEAD}
        assert dot_wrapper("board", "--json").json == []
        with closing(database.connect()) as connection:
            found = connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
        assert found == (True,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("a server without TLS", "server does not support SSL, but SSL was required"),
        ("a wrong password", "password authentication failed"),
        ("a service that is nowhere", 'definition of service "nowhere" not found'),
    ],
)
def test_what_does_not_connect_is_one_line_and_what_to_do(
    place: Place, wrong: str, said: str, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    urls = {
        "a server without TLS": f"{place.url()}?sslmode=require",
        "a wrong password": Place(place.host, place.port, place.dbname, place.user, "wrong").url(),
        "a service that is nowhere": "service=nowhere",
    }
    monkeypatch.setenv("DATABASE_URL", urls[wrong])
    for arguments in (("board",), ("upgrade",)):
        outcome = dot_wrapper(*arguments)
        error, hint = outcome.err.splitlines()
        assert (outcome.code, outcome.out, said in error) == (cli.FAILED, "", True), outcome
        assert (error.startswith("error: "), hint.startswith("next: Check DATABASE_URL")) == (True, True), outcome


@pytest.fixture(scope="module")
def pooler(listening: Prepared) -> Iterator[int]:
    """PgBouncer before that server, in transaction mode, with fewer server connections than clients: its port."""
    program = pgbouncer()
    if not program:
        pytest.skip("pgbouncer is not installed")
    data, parts, port = data_directory(listening.url), conninfo_to_dict(listening.url), free_port()
    users, settings = data / "pgbouncer.users", data / "pgbouncer.ini"
    users.write_text("".join(f'"{name}" ""\n' for name in ("postgres", listening.logins["operator"][0])))
    settings.write_text(
        f"[databases]\n* = host={parts['host']} port={parts['port']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = {POOL}\n"
    )
    with subprocess.Popen(
        [*as_owner(data), program, "--quiet", str(settings)], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        try:
            deadline = monotonic() + 20
            listens = False
            while not listens:
                assert running.poll() is None, running.communicate()
                assert monotonic() < deadline
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    listens = True
            yield port
        finally:
            running.terminate()
            running.communicate()


def through(pooler: int, url: str, user: str) -> str:
    return make_conninfo(url, host="127.0.0.1", port=pooler, user=user)


def test_several_clients_import_and_rehearse_through_a_smaller_pool_and_no_role_leaks(
    db: Database, pooler: int
) -> None:
    url = through(pooler, db.url, db.login("operator"))
    given = read_dbt(EXAMPLE)
    for number in range(CLIENTS):
        define_pair(db, f"shop.client_{number}")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 600, 'tester', 'a snapshot')")

    def client(number: int) -> ImportSummary:
        with Ledger(lambda: database.connect(url)) as ledger:
            summary = import_dbt(ledger, given)
            for _ in range(10):  # more often than psycopg waits before it prepares a statement by itself
                pair = ledger.pair(f"shop.client_{number}")
                with caller_path(ledger, pair, evidence_type="SIMULATED_DRY_RUN", actor="ci") as run:
                    run.producer("completed")
                    run.verifier("completed")
            return summary

    with ThreadPoolExecutor(CLIENTS) as clients:
        summaries = list(clients.map(client, range(CLIENTS)))
    assert [summary.conflicts for summary in summaries] == [[]] * CLIENTS
    imported = sum(summary.runs_created for summary in summaries)
    assert imported == summaries[0].runs
    reader = db.connect("reader")
    ended = "select count(*) from dot.v_process_run where end_state = 'completed' and process_candidate_code ~ '^shop'"
    assert value(reader, ended) == 10 * CLIENTS

    # All the server connections that there are, at once, as the next client gets them.
    for left in [psycopg.connect(url, prepare_threshold=None) for _ in range(POOL)]:
        who = left.execute("select current_user, current_setting('role')").fetchone()
        assert who == (db.login("operator"), "none")
        assert (
            left.execute(
                "select name, setting from pg_settings where source = 'session' and name <> 'application_name'"
            ).fetchall()
            == []
        )
        assert left.execute("select name from pg_prepared_statements").fetchall() == []
        db.opened.append(left)  # type: ignore[arg-type]
    backends = "select count(*) from pg_stat_activity where usename = %s and datname = current_database()"
    assert value(db.connect("superuser"), backends, db.login("operator")) == POOL


def test_every_command_works_through_the_pool(
    db: Database, pooler: int, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    monkeypatch.setenv("DATABASE_URL", through(pooler, db.url, db.login("operator")))
    assert dot_wrapper("import", "dbt", str(EXAMPLE), "--json").json["runs_created"] == 4
    assert dot_wrapper("preflight", "attest", "--actor", "ana", "--finding", "a snapshot").code == 0
    assert dot_wrapper("gates", "set", "queue.worker.enabled", "true", "--actor", "ana", "--reason", "trial").code == 0
    candidate = dot_wrapper("board", "--json").json[0]["process_candidate_code"]
    assert dot_wrapper("rehearse", candidate, "--key", "today", "--json").json["created"] is True
    assert dot_wrapper("rehearse", candidate, "--key", "today", "--json").json["created"] is False
    for reading in (("why", candidate), ("inventory",), ("funnel",), ("gates", "show"), ("preflight", "show")):
        assert dot_wrapper(*reading).code == 0, reading


def test_alembic_upgrades_and_takes_back_through_the_pool(listening: Prepared, pooler: int) -> None:
    with listening.database() as empty:
        url = through(pooler, empty, "postgres")
        for _ in range(2):
            upgrade(url)
            upgrade(url)
            assert in_process(command.current, url) == f"{HEAD} (head)\n"
            downgrade(url)
        with psycopg.connect(url, prepare_threshold=None) as left:
            assert left.execute("select current_user").fetchone() == ("postgres",)
            assert left.execute("select name from pg_prepared_statements").fetchall() == []


def test_through_the_pool_too_no_command_runs_code_of_the_database_s_owner(
    listening: Prepared, pooler: int, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    with psycopg.connect(listening.url, autocommit=True) as admin:
        admin.execute(f"create role {OWNER} login")
        try:
            with listening.database() as empty:
                name = conninfo_to_dict(empty)["dbname"]
                admin.execute(f"alter database {name} owner to {OWNER}")
                take_schema(empty, "evil")
                admin.execute(f"alter database {name} set search_path = evil, pg_catalog")
                url = through(pooler, empty, "postgres")
                upgrade(url)
                upgrade(url, section="amendment")
                assert in_process(command.current, url) == f"{HEAD} (head)\n"
                monkeypatch.setenv("DATABASE_URL", url)
                taken = {words for words in COMMANDS if TAKEN in str(dot_wrapper(*words)) or has_taken(listening.url)}
                assert taken == set()
        finally:
            admin.execute(f"drop role {OWNER}")


async def prepares_awaited() -> bool:
    async with await database.connect_async() as connection:
        return connection.prepare_threshold is not None


def test_only_behind_a_pooler_no_statement_is_prepared(
    db: Database, pooler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url, prepares in ((db.url, True), (through(pooler, db.url, db.login("operator")), False)):
        monkeypatch.setenv("DATABASE_URL", url)
        with (
            closing(database.connect()) as connection,
            closing(database.connect_for_alembic(database.conninfo())) as alembic,
        ):
            for one in (connection, alembic):
                assert (one.prepare_threshold is not None) == prepares
        assert asyncio.run(prepares_awaited()) == prepares
