"""A database of a test's own, a login per role in it, and calls with defaults that are legal."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from dot_wrapper.proving.prepared import Prepared
from dot_wrapper.proving.story import Story

Connection = psycopg.Connection[dict[str, Any]]

GATES = (
    "iu_core.operator_runtime_enabled",
    "process_dot_runtime.execute_enabled",
    "process_dot_runtime.real_run_enabled",
)
PAIR, PRODUCER, VERIFIER = "shop.orders", "dot.load_orders", "dot.check_orders"


# What a test's database is: without the optional amendment, and with it.
IN_BOTH_STATES = pytest.mark.parametrize(
    "db", [pytest.param(False, id="main line"), pytest.param(True, id="amended")], indirect=True
)


@dataclass
class Database:
    """A database of the test's own, with the wrapper installed. Each role is a login that has that role and nothing else."""

    url: str
    server: Prepared
    amended: bool = False
    opened: list[Connection] = field(default_factory=list)
    sessions: dict[str, Connection] = field(default_factory=dict)
    story: Story | None = None
    """Where its connections write down what they send."""
    done: set[Callable[[Database], None]] = field(default_factory=set)
    """What ``once`` has done."""

    def connect(self, who: str = "owner") -> Connection:
        """A new autocommit connection as ``writer``, ``reader``, ``operator`` ..., or as the login that made the database:
        acting as dot_owner (``owner``), as itself (``creator``), or as the superuser that it is (``superuser``). Where it is none, or
        may not be used as one, the test is skipped."""
        if who == "superuser" and not self.server.superuser:
            pytest.skip("needs a superuser: the login of this server is none, or may not be used as one")
        url = self.url if who in ("creator", "superuser") else self.url_as(who)
        connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        if self.story:
            connection.cursor_factory = self.story.cursor_for(who)
        self.opened.append(connection)
        return connection

    def session(self, role: str) -> Connection:
        """One connection as a role for the whole test, opened at its first use."""
        if role not in self.sessions:
            self.sessions[role] = self.connect(role)
        return self.sessions[role]

    def once(self, action: Callable[[Database], None]) -> None:
        """Does what all examples of a test need, for the first of them."""
        if action not in self.done:
            self.done.add(action)
            with self.story.preparing() if self.story else nullcontext():
                action(self)

    def looking(self) -> AbstractContextManager[None]:
        """What is done in the block is no part of the story."""
        return self.story.silent() if self.story else nullcontext()

    def url_as(self, who: str) -> str:
        """The URL for a role, for instance ``operator``, which holds all five, ``outsider``, which holds none, or ``owner``."""
        return self.server.url_as(self.url, who)

    def login(self, who: str) -> str:
        """The name of a role's login."""
        return self.server.logins[who][0]

    def close(self) -> None:
        for connection in self.opened:
            connection.close()


def rows(connection: Connection, query: str, *parameters: object) -> list[dict[str, Any]]:
    return connection.execute(query, parameters or None).fetchall()


def row(connection: Connection, query: str, *parameters: object) -> dict[str, Any]:
    found = rows(connection, query, *parameters)
    assert len(found) == 1, found
    return found[0]


def value(connection: Connection, query: str, *parameters: object) -> Any:
    return next(iter(row(connection, query, *parameters).values()))


def call(connection: Connection, function: str, arguments: Mapping[str, object], **replaced: object) -> dict[str, Any]:
    """Calls a function of schema dot by named arguments; ``replaced`` changes or adds some (without the ``p_``)."""
    given = {**arguments, **replaced}
    names = ", ".join(f"p_{name} => %({name})s" for name in given)
    found = connection.execute(f"select * from dot.{function}({names})", given).fetchall()
    assert len(found) == 1, found
    return found[0]


def observe_run(connection: Connection, **replaced: object) -> dict[str, Any]:
    """fn_process_run_observe with legal defaults: a started simulation of the pair, a new run each time, no key."""
    defaults = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER,
        "process_run_id": uuid.uuid4(),
        "correlation_id": "corr-1",
        "evidence_type": "SIMULATED_DRY_RUN",
        "dry_run": replaced.get("evidence_type", "SIMULATED_DRY_RUN") != "REAL_RUN",
        "status": "started",
        "actor": "tester",
    }
    return call(connection, "fn_process_run_observe", defaults, **replaced)


def observe_component(connection: Connection, run_id: uuid.UUID, role: str, **replaced: object) -> dict[str, Any]:
    """fn_process_component_observe with legal defaults: the role's DOT of the pair, completed, no key."""
    defaults = {
        "process_candidate_code": PAIR,
        "dot_code": PRODUCER if role == "producer" else VERIFIER,
        "process_run_id": run_id,
        "correlation_id": "corr-1",
        "component_role": role,
        "status": "completed",
        "actor": "tester",
    }
    return call(connection, "fn_process_component_observe", defaults, **replaced)


def poll(relay: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Events that the relay is shown now."""
    return rows(relay, "select * from dot.fn_dot_outbox_poll(%s)", limit)


def poll_until(relay: Connection, number: int) -> list[dict[str, Any]]:
    """Polls until that many events are shown: any older transaction of the whole server, such
    as an ANALYZE or another test's, holds them back."""
    events: list[dict[str, Any]] = []

    def shown() -> bool:
        events[:] = poll(relay)
        return len(events) >= number

    wait_until(shown)
    assert len(events) == number
    return events


def define_pair(db: Database, code: str = PAIR, producer: str = PRODUCER, verifier: str = VERIFIER) -> None:
    """Registers two DOTs and names them as a candidate, as a cataloguer."""
    with db.connect("cataloguer") as cataloguer:
        define_pair_as(cataloguer, code, producer, verifier)


def define_pair_as(session: Connection, code: str = PAIR, producer: str = PRODUCER, verifier: str = VERIFIER) -> None:
    """``define_pair`` in a session that may."""
    for dot in (producer, verifier):
        session.execute("select dot.fn_dot_tool_register(%s)", (dot,))
    session.execute("select dot.fn_process_candidate_define(%s, %s, %s, 'tester')", (code, producer, verifier))


def set_gates(db: Database, value: str = "true", *gates: str) -> None:
    """Moves gates (all three by default), as a gatekeeper."""
    with db.connect("gatekeeper") as gatekeeper:
        for gate in gates or GATES:
            gatekeeper.execute("select dot.fn_dot_config_set(%s, %s, 'tester', 'for a test')", (gate, value))


def attest(db: Database, verdict: str = "PASS", seconds: int = 3600) -> None:
    """Attests fs_snapshot_present, as a gatekeeper."""
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute(
            "select dot.fn_preflight_attest('fs_snapshot_present', %s, %s, 'tester', 'a snapshot')", (verdict, seconds)
        )


def acquire(connection: Connection, candidate: str = PAIR, holder: str = "tester", seconds: int = 600) -> int:
    """Takes the candidate's lease; it must be free."""
    token = value(
        connection,
        "select dot.fn_dot_iu_runtime_lease_acquire(%s, %s, %s)",
        f"dot_exec:{candidate}",
        holder,
        seconds,
    )
    assert token is not None
    return int(token)


def ready_for_real_runs(db: Database) -> None:
    """The pair, open gates, a passed preflight: what is left for a REAL_RUN is the lease."""
    define_pair(db)
    set_gates(db)
    attest(db)


@contextmanager
def refused(sqlstate: str, constraint: str | None = None, saying: str | None = None) -> Iterator[None]:
    """The block must be refused with this SQLSTATE and constraint; ``saying`` must be in message, detail or hint."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    diagnostic = caught.value.diag
    assert caught.value.sqlstate == sqlstate, (caught.value.sqlstate, diagnostic.message_primary)
    if constraint is not None:
        assert diagnostic.constraint_name == constraint, (diagnostic.constraint_name, diagnostic.message_primary)
    if saying is not None:
        said = " ".join(filter(None, (diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint)))
        assert saying in said, said


def wait_until(holds: Callable[[], Any], seconds: float = 30, *, unless: Callable[[], Any] = bool) -> None:
    """Returns once the condition holds. It fails after some seconds, and at once where ``unless`` holds.

    It asks a hundred times a second: without a pause it would take the processor from what it waits for.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert not (other := unless()), f"it will not come about: {other}"
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def ledger_counts(db: Database) -> dict[str, int]:
    """Rows of every table of schema dot, to show that a refused call left nothing anywhere."""
    with db.connect("owner") as owner:
        tables = [
            one["relname"]
            for one in rows(
                owner,
                "select relname from pg_class where relkind = 'r' and"
                " relnamespace = 'dot'::regnamespace order by relname",
            )
        ]
        return {table: int(value(owner, f"select count(*) from dot.{table}")) for table in tables}
