"""Whatever a command sends, the first statement of each of its transactions pins the search_path: seen in the server's log.

What drivers, SQLAlchemy and alembic send by themselves is in there too. A transaction is one virtual transaction id of one backend.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine
from typer.main import get_command

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.ledger import AsyncLedger, Ledger
from dot_wrapper.proving.databases import fresh_database, upgrade
from support.catalog import HEAD, downgrade, in_process
from support.servers import data_directory, server
from support.strangers import COMMANDS

PIN = "set local search_path = pg_catalog, pg_temp"
OF_THE_SESSION = "set search_path = pg_catalog, pg_temp;"
# What looks nothing up.
SILENT = re.compile(
    r"(begin|commit|rollback|savepoint|release|show|deallocate|discard|set session|start transaction)\b", re.IGNORECASE
)
LINE = re.compile(
    r"^@(?P<application>[^|]*)\|(?P<backend>\d+)\|(?P<transaction>[\d/]+)\| LOG:  (?:statement|execute [^:]*): (?P<text>.*)$"
)


@pytest.fixture(scope="module")
def logging() -> Iterator[tuple[str, Path]]:
    """A database on a server that logs every statement, and the log."""
    settings = "log_statement = all\nlog_parameter_max_length = 0\nlog_line_prefix = '@%a|%p|%v| '\n"
    with server(18, settings) as url:
        yield fresh_database(url, "u_main"), data_directory(url) / "log"


def logged(log: Path, run: Callable[[], object]) -> Iterator[tuple[str, str, str]]:
    """What our connections send while something runs: backend, transaction, text."""
    before = log.stat().st_size
    run()
    with log.open(encoding="utf-8") as lines:
        lines.seek(before)
        for line in lines:
            found = LINE.match(line.rstrip("\n"))
            if found is None or not found["application"].startswith("dot-wrapper"):
                continue
            yield found["backend"], found["transaction"], (found["text"] or next(lines, "")).strip()


def unpinned(log: Path, run: Callable[[], object], *, in_sessions: bool = False) -> list[str]:
    """The first statements of the transactions of ours that are not the pin, while something runs.

    Args:
        in_sessions: let a transaction of a session pass that was pinned as a whole before.
    """
    seen: dict[tuple[str, str], str] = {}
    pinned: set[str] = set()
    for backend, transaction, text in logged(log, run):
        if text.lower().startswith(OF_THE_SESSION):
            pinned.add(backend)
        if not SILENT.match(text) and not (in_sessions and backend in pinned):
            seen.setdefault((backend, transaction), text)
    assert seen, "nothing was logged"
    return [text for text in seen.values() if not text.lower().startswith((PIN, OF_THE_SESSION))]


def test_each_command_that_reaches_a_database_is_in_the_list() -> None:
    def names(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, one in getattr(group, "commands", {}).items():
            yield from names(one, (*path, name)) if hasattr(one, "commands") else [(*path, name)]

    listed = {
        words[: len(name)] for words in COMMANDS for name in names(get_command(cli.app)) if words[: len(name)] == name
    }
    # `prove` has a test of its own; `review` reaches its own scratch servers alone.
    alone = {("db", one) for one in ("start", "stop", "url", "psql")} | {("prove",), ("review",)}
    assert set(names(get_command(cli.app))) - listed == alone


def test_alembic_pins_first(logging: tuple[str, Path]) -> None:
    url, log = logging
    steps: dict[str, Callable[[], object]] = {
        "upgrade": lambda: upgrade(url),
        "current": lambda: in_process(command.current, url),
        "history": lambda: in_process(lambda config: command.history(config, indicate_current=True), url),
        "stamp": lambda: in_process(lambda config: command.stamp(config, HEAD), url),
        "amendment": lambda: upgrade(url, section="amendment"),
        "current of the amendment": lambda: in_process(command.current, url, "amendment"),
        "amendment back": lambda: downgrade(url, section="amendment"),
        "downgrade": lambda: downgrade(url),
    }
    assert {name: wrong for name, step in steps.items() if (wrong := unpinned(log, step))} == {}


def test_each_command_pins_first(logging: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, log = logging
    monkeypatch.setenv("DATABASE_URL", url)
    found = {" ".join(words): unpinned(log, partial(cli.run, words)) for words in COMMANDS}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_programs_pin_first(logging: tuple[str, Path]) -> None:
    url, log = logging
    upgrade(url)

    def plain() -> None:
        with Ledger(lambda: database.connect(url)) as ledger:
            ledger.preflight()
            ledger.select("select * from dot.v_dot_gate")

    async def asynchronous() -> None:
        async with AsyncLedger(lambda: database.connect_async(url)) as ledger:
            await ledger.preflight()
            await ledger.select("select * from dot.v_dot_gate")

    arguments: dict[str, Any] = {**conninfo_to_dict(url), "application_name": "dot-wrapper of an engine"}
    engine = create_engine("postgresql+psycopg://", connect_args=arguments)
    with engine.connect():
        pass  # SQLAlchemy asks a new connection for itself, in transactions of its own

    def with_the_pool_of_an_engine() -> None:
        ledger = Ledger.from_engine(engine)
        ledger.preflight()
        ledger.select("select * from dot.v_dot_gate")

    assert unpinned(log, plain) == []
    assert unpinned(log, lambda: asyncio.run(asynchronous())) == []
    assert unpinned(log, with_the_pool_of_an_engine) == []
    engine.dispose()


def test_prove_pins_each_session_in_a_database_that_it_does_not_own(
    logging: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it makes and drops on the server too, for which it connects to the database that is in use."""
    url, log = logging
    upgrade(url)
    monkeypatch.setenv("DATABASE_URL", url)

    def prove() -> None:
        assert cli.run(("prove", "--examples", "3", "--seed", "1")) == cli.DONE

    assert unpinned(log, prove, in_sessions=True) == []


def test_a_statement_without_the_pin_is_seen(logging: tuple[str, Path]) -> None:
    url, log = logging

    def forgets() -> None:
        with psycopg.connect(url, application_name="dot-wrapper that forgets") as connection:
            connection.execute("select pg_backend_pid()")
            connection.execute("set local search_path = pg_catalog, pg_temp")

    assert unpinned(log, forgets) == ["select pg_backend_pid()"]


def test_a_call_of_a_login_that_inherits_the_role_is_one_statement_in_a_pinned_session(
    logging: tuple[str, Path],
) -> None:
    url, log = logging
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "create role u_inherits login in role dot_writer; create role u_sets login noinherit in role dot_writer"
        )
    sent = {}
    for login in ("u_inherits", "u_sets"):
        with Ledger(partial(database.connect, make_conninfo(url, user=login))) as ledger:
            connecting = [text for *_, text in logged(log, ledger.preflight)]
            sent[login] = [text for *_, text in logged(log, ledger.preflight)]
        pinned, session = connecting[:2]
        assert pinned.startswith(PIN)
        assert session.startswith(OF_THE_SESSION)
    assert sent["u_inherits"] == ["select check_name, verdict, detail from dot.fn_preflight_guard()"]
    assert len(sent["u_sets"]) == 4
