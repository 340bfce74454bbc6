"""A command says where it goes, and goes nowhere by accident: which database, which revision, and what it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from dot_wrapper import cli
from dot_wrapper.client.database import libpq
from dot_wrapper.client.errors import READ_ONLY_HINT, NoDatabase
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.deploy.transaction import Refused, connected
from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded
from dot_wrapper.proving.databases import upgrade
from support import refused
from support.catalog import (
    HEAD,
    downgrade_script,
    finished,
    in_process,
    psql,
    query,
    run_alembic,
    start_alembic,
    upgrade_script,
    version,
)
from support.clusters import Cluster
from support.servers import server

NOT_REACHED = "postgresql://x@/x?host=/nonexistent"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An empty database on a server of the module's own."""
    with server(18) as found:
        yield found


@pytest.fixture
def empty(url: str) -> str:
    return Cluster(18, url).database()


def configured(section: str = "alembic") -> Config:
    return Config(str(ROOT / "alembic.ini"), ini_section=section)


@pytest.mark.parametrize("section", ["alembic", "amendment"])
@pytest.mark.parametrize(
    "words", [("upgrade", "head"), ("downgrade", "base"), ("current",), ("stamp", "head"), ("check",)]
)
def test_alembic_without_a_database_stops_and_names_the_four_places(
    section: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PGHOST", "/nonexistent")
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(tmp_path))
    code, printed = run_alembic("-n", section, *words)
    assert (code, "Traceback" in printed) == (255, False), printed
    for place in ('config.attributes["connection"]', "-x url=", "sqlalchemy.url", "DATABASE_URL"):
        assert place in printed
    assert list(tmp_path.iterdir()) == [], "an embedded server was started"


@pytest.mark.parametrize("empty_url", ["", "  "])
def test_an_empty_database_url_is_an_error_everywhere(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(tmp_path))
    with pytest.raises(CommandError, match="DATABASE_URL is empty"):
        command.upgrade(configured(), "head")
    with pytest.raises(CommandError, match="DATABASE_URL is empty"):
        command.current(configured("amendment"))
    with Ledger() as ledger, pytest.raises(NoDatabase):
        ledger.preflight()
    for words in (("version",), ("upgrade",), ("board",), ("doctor",), ("rehearse", "x", "--actor", "a")):
        assert (cli.run(words), "DATABASE_URL is empty" in capsys.readouterr().err) == (cli.FAILED, True), words
    for module in ("pytest", "tools.demo"):
        status, printed = run_module(module, DATABASE_URL=empty_url)
        assert (status != 0, "DATABASE_URL is empty" in printed) == (True, True), printed
    for target in ("test", "run"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ("DOT_TEST_POSTGRES" in done.stdout) is False, target
    assert list(tmp_path.iterdir()) == [], "an embedded server was started"


@pytest.mark.parametrize(
    "mistyped",
    [
        '"postgresql://ana:topsecret@127.0.0.1:1/db"',
        " postgresql://ana:topsecret@127.0.0.1:1/db",
        "mysql://ana:topsecret@127.0.0.1:1/db",
        "postgresql://ana:top%secret@127.0.0.1:1/db",
        "postgresql://ana:top secret@127.0.0.1:1/db",
        "postgresql://ana:top@secret@127.0.0.1:1/db",
        "postgresql://ana:top/secret@127.0.0.1:1/db",
        "postgresql://ana:1/secret@127.0.0.1:1/db",
        "postgresql://ana:topsecret\udcff@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password=top secret",
        "host=postgresql://ana:topsecret@127.0.0.1:1/db",
        "payments =postgresql://ana:topsecret@127.0.0.1:1/db",
    ],
)
def test_nothing_of_a_mistyped_connection_string_is_printed(
    mistyped: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def told(code: int, *words: str) -> None:
        assert cli.run((*words, "--json")) == code, words
        printed = "".join(capfd.readouterr())
        for part in ("secret", "127.0.0.1", "ana"):
            assert part not in printed, (words, printed)
        assert "A URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in printed, words

    monkeypatch.setenv("DATABASE_URL", mistyped)
    for command_name in ("version", "upgrade", "board"):
        told(cli.FAILED, command_name)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/db")
    told(cli.BAD_INPUT, "prove", "--database-url", mistyped)
    told(cli.BAD_INPUT, "prove", "--clean", "--scratch", mistyped)
    if not mistyped.startswith((" ", "payments")):  # here a name and spaces may be before the URL
        told(cli.BAD_INPUT, "board", "--database-url", mistyped)
    monkeypatch.setenv("DATABASE_URL", mistyped)
    with pytest.raises(CommandError, match="A URL is") as caught:
        command.current(configured())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://ana%40server:to%2Fp%40%25@h:1,g:2/db?host=/tmp",
        "postgres:///db?host=@abstract",
        "postgresql+psycopg://ana@h/db",
        "postgresql://[::1]:5432/db?application_name='x'",
        "postgresql://ana:what?ever#1@h/db",
        "host=h port=1 password='a://b@c/d'",
        " host=h",
        "service=payments",
        "postgresql://",
    ],
)
def test_a_connection_string_of_libpq_is_taken_as_it_is(written: str) -> None:
    assert libpq(written, "it") == written.replace("+psycopg", "")


def run_module(module: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_only_dot_wrapper_falls_back_to_the_embedded_server_and_says_so(
    server_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(server_home))
    with Ledger() as ledger, pytest.raises(NoDatabase):
        ledger.preflight()
    assert not embedded.is_running()
    assert cli.run(("upgrade",)) == cli.DONE
    told = capsys.readouterr()
    assert told.err.count(f"DATABASE_URL is not set: using the embedded PostgreSQL in {server_home}\n") == 1
    assert "embedded" not in told.out


def test_the_four_places_come_in_their_order(empty: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The first that is there counts, and what comes after it is not looked at."""

    def reached(config: Config) -> bool:
        try:
            command.current(config)
        except CommandError as error:
            assert "cannot be reached" in str(error)
            return False
        return True

    def given(**places: str) -> Config:
        config = configured()
        if "x" in places:
            config.cmd_opts = type("Options", (), {"x": [f"url={places['x']}"]})()
        if "ini" in places:
            config.set_main_option("sqlalchemy.url", places["ini"].replace("%", "%%"))
        monkeypatch.setenv("DATABASE_URL", places.get("environment", NOT_REACHED))
        return config

    assert reached(given(environment=empty))
    assert reached(given(ini=empty))
    assert not reached(given(ini=NOT_REACHED, environment=empty))
    assert reached(given(x=empty, ini=NOT_REACHED))
    assert not reached(given(x=NOT_REACHED, ini=empty, environment=empty))
    config = given(x=NOT_REACHED, ini=NOT_REACHED)
    with connected(empty) as config.attributes["connection"]:
        assert reached(config)
    with pytest.raises(CommandError, match="-x url= is empty"):
        command.current(given(x="", environment=empty))


def test_a_program_s_connection_keeps_its_transaction_its_path_and_its_rows(empty: str) -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty))
    config = configured()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with connection.begin() as transaction:
            connection.exec_driver_sql("create table public.mine (a int)")
            connection.exec_driver_sql("set local search_path = public")
            connection.exec_driver_sql("set local lock_timeout = '7s'")
            command.upgrade(config, "head")
            assert connection.exec_driver_sql("show lock_timeout").scalar() == "7s"
            connection.exec_driver_sql("insert into mine values (1)")
            transaction.rollback()
        assert query(empty, "select nspname from pg_namespace where nspname = 'dot'") == []
        command.upgrade(config, "head")
        assert not connection.in_transaction()
    assert version(empty) == [HEAD]
    engine.dispose()


def test_a_connection_in_autocommit_mode_installs_nothing(empty: str) -> None:
    config = configured()
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as config.attributes["connection"]:
        with pytest.raises(Refused) as told:
            command.upgrade(config, "head")
        assert told.value.constraint == "deploy_transaction"
    assert query(empty, "select nspname from pg_namespace where nspname = 'dot'") == []
    engine.dispose()


@pytest.mark.parametrize("given", ["postgresql://x", object(), None.__class__])
def test_what_is_no_connection_is_refused_in_a_sentence(given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", NOT_REACHED)
    config = configured()
    config.attributes["connection"] = given
    with pytest.raises(CommandError, match="is not an SQLAlchemy connection to PostgreSQL"):
        command.current(config)


@pytest.mark.parametrize("section", ["alembic", "amendment"])
def test_commands_that_look_or_stamp_answer_on_an_empty_and_on_an_installed_database(empty: str, section: str) -> None:
    for words in (("heads",), ("history",), ("show", "head"), ("branches",)):
        assert run_alembic("-n", section, *words, url=NOT_REACHED)[0] == 0, words
    for words in (("stamp", "head"), ("ensure_version",)):
        code, printed = run_alembic("-n", section, *words, url=empty)
        assert (code, "the wrapper is not installed" in printed, "Traceback" in printed) == (255, True, False), printed
    assert run_alembic("-n", section, "current", url=empty) == (0, "")
    upgrade(empty)
    if section == "amendment":
        upgrade(empty, section=section)
    for words in (("current",), ("history", "-i"), ("stamp", "head"), ("ensure_version",)):
        code, printed = run_alembic("-n", section, *words, url=empty)
        assert (code, "Traceback" in printed) == (0, False), (words, printed)
    code, printed = run_alembic("-n", section, "check", url=empty)
    assert (code, "dot-wrapper drift" in printed, "Traceback" in printed) == (255, True, False), printed


def test_a_refused_upgrade_ends_in_what_to_do_and_prints_no_sql(empty: str) -> None:
    query(empty, "create schema dot")
    code, printed = finished(start_alembic("upgrade", "head", url=empty))
    assert code == 255
    last = printed.strip().splitlines()[-2:]
    assert last[0] == "FAILED: schema dot does not belong to dot_owner (42501)", printed
    assert last[1].startswith("  next: ") or last[1].startswith("next: "), printed
    assert ("Traceback" in printed, "do $schema$" in printed) == (False, False)


WHY = ("--actor", "ana", "--reason", "a test")


@pytest.mark.parametrize(
    ("installed", "of_alembic", "others"),
    [
        ("0003", ("upgrade", "head"), [("upgrade",)]),
        (
            "head",
            ("-n", "amendment", "upgrade", "head"),
            [("gates", "set", "queue.worker.enabled", "true", *WHY), ("restored", *WHY)],
        ),
    ],
)
def test_a_read_only_database_ends_in_what_to_do(
    empty: str,
    installed: str,
    of_alembic: tuple[str, ...],
    others: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upgrade(empty, installed)
    name = psycopg.conninfo.conninfo_to_dict(empty)["dbname"]
    query(empty, f'alter database "{name}" set default_transaction_read_only = on')
    code, printed = finished(start_alembic(*of_alembic, url=empty))
    *_, said, following = printed.strip().splitlines()
    assert (code, "(25006)" in said, following.strip()) == (255, True, f"next: {READ_ONLY_HINT}"), printed
    monkeypatch.setenv("DATABASE_URL", empty)
    for arguments in others:
        assert cli.run(arguments) == cli.FAILED
        assert f"next: {READ_ONLY_HINT}" in capsys.readouterr().err.splitlines(), arguments


@pytest.mark.parametrize("at", ["0003", "nothing"])
def test_a_script_begins_at_the_revision_it_was_made_for_and_nowhere_else(empty: str, at: str) -> None:
    if at != "nothing":
        upgrade(empty, at)
    before = query(empty, "select oid, xmin from pg_proc where pronamespace = to_regnamespace('dot') order by oid")
    scripts = {
        "0003": (upgrade_script(f"0002:{HEAD}"), upgrade_script("0001:0002"), upgrade_script(), downgrade_script()),
        "nothing": (upgrade_script(f"0002:{HEAD}"), downgrade_script(), downgrade_script("0002:base")),
    }[at]
    for script in scripts:
        status, printed = psql(empty, script)
        expected = "deploy_script_start" if at != "nothing" or "begins at revision 0002" in script else ""
        assert (status, expected in printed) == (3, True), printed
        assert version(empty) == ([at] if at != "nothing" else [])
    after = query(empty, "select oid, xmin from pg_proc where pronamespace = to_regnamespace('dot') order by oid")
    assert before == after
    assert psql(empty, upgrade_script(f"{at}:{HEAD}" if at != "nothing" else HEAD)) == (0, "")
    assert version(empty) == [HEAD]
    # A second time, with psql that goes on after an error: nothing is done either.
    status, printed = psql(empty, "\\set ON_ERROR_STOP 0\n" + upgrade_script())
    assert (status, "deploy_script_start" in printed, version(empty)) == (0, True, [HEAD])


def test_each_transaction_of_the_amendment_s_script_begins_where_the_one_before_ended(empty: str) -> None:
    upgrade(empty)
    script = upgrade_script(section="amendment")
    first, second = script.split("COMMIT;\n")[:2]
    status, printed = psql(empty, second + "COMMIT;\n")
    assert (status, "deploy_script_start" in printed) == (3, True), printed
    assert psql(empty, first + "COMMIT;\n") == (0, "")
    status, printed = psql(empty, script)
    assert (status, "deploy_script_start" in printed, version(empty, "alembic_version_amendment")) == (
        3,
        True,
        ["a001"],
    )
    assert psql(empty, second + "COMMIT;\n") == (0, "")
    assert version(empty, "alembic_version_amendment") == ["a002"]


def test_a_deploy_that_waits_for_another_says_for_which(empty: str) -> None:
    with psycopg.connect(empty, application_name="the other deploy") as other:
        other.execute("select pg_advisory_xact_lock(%s)", (0x646F745F646F74,))
        running = start_alembic("upgrade", "head", url=empty)
        assert running.stdout
        line = running.stdout.readline()
        pid = other.info.backend_pid
        other.rollback()
    assert line.startswith(f"notice: waiting for another deploy of this database: pid {pid} ("), line
    assert "the other deploy" in line
    code, printed = finished(running)
    assert code == 0, printed


@pytest.mark.parametrize("prepared", [False, True])
def test_a_deploy_that_waits_for_a_table_says_what_holds_it_lets_writers_pass_and_then_goes_on(
    empty: str, prepared: bool
) -> None:
    upgrade(empty)
    with psycopg.connect(empty, application_name="the reader") as reader:
        reader.execute("select count(*) from dot.v_dot_funnel")
        if prepared:
            reader.execute("prepare transaction 'the_reader'")
        running = start_alembic("downgrade", "0003", url=empty)
        assert running.stdout
        line = running.stdout.readline()
        holder = "prepared transaction the_reader" if prepared else f"pid {reader.info.backend_pid} ("
        assert (line.startswith("waiting for a lock: "), holder in line) == (True, True), line
        # Meanwhile another reader waits no longer than one attempt.
        with psycopg.connect(empty, options="-c lock_timeout=5s") as second:
            second.execute("select count(*) from dot.v_dot_funnel")
        assert running.poll() is None
        if prepared:
            with psycopg.connect(empty, autocommit=True) as ending:
                ending.execute("rollback prepared 'the_reader'")
        else:
            reader.rollback()
        code, printed = finished(running)
    assert code == 0, printed
    assert version(empty) == ["0003"]


def test_beside_a_reader_that_never_stops_the_amendment_comes_and_goes_without_a_deadlock(empty: str) -> None:
    """A query locks a view before what the view reads; replaced the other way round they ended in a deadlock each time."""
    upgrade(empty)
    reading = (
        "import psycopg, sys\n"
        "connection = psycopg.connect(sys.argv[1], autocommit=True)\n"
        "print('reading', flush=True)\n"
        "while True:\n"
        "    connection.execute('select count(*) from dot.v_dot_execution_inventory, dot.v_dot_funnel_total,'\n"
        "                       ' dot.v_process_verification_v3')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reading, empty], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "reading\n"
        for _ in range(3):
            upgrade(empty, section="amendment")
            in_process(lambda config: command.downgrade(config, "base"), empty, "amendment")
        assert reader.poll() is None, reader.communicate()
        reader.kill()
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    assert query(empty, f"select pg_stat_force_next_flush(); {deadlocks}") is not None
    assert query(empty, deadlocks) == [{"deadlocks": 0}]


def test_a_lock_that_is_never_given_ends_in_an_error_and_changes_nothing(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty)
    monkeypatch.setattr("dot_wrapper.deploy.transaction.PATIENCE", 1.0)
    with psycopg.connect(empty) as reader:
        reader.execute("select count(*) from dot.v_dot_funnel")
        with refused("55P03"):
            in_process(lambda config: command.downgrade(config, "0003"), empty)
    assert version(empty) == [HEAD]
