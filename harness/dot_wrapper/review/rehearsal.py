"""The migrations, rehearsed on copies of a filled database: traced; beside clients; behind an old transaction; with the amendment."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from dot_wrapper.operations.drift import Key
from dot_wrapper.proving.databases import fresh_database
from dot_wrapper.review import catalog
from dot_wrapper.review.clients import Calls, Clients, counts, fill, old_transaction
from dot_wrapper.review.sides import Direction, Section, Side, last_words

GIVEN_FOR_LOCKS: Final = 30.0
"""Seconds after which a migration that has begun again and again is ended: with clients that never rest it gets no further."""

WAITING: Final = "waiting for a lock: "
"""What a migration says when it gives up its transaction and begins again."""

_TRACER: Final = Path(__file__).with_name("trace.py")


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, and what it did to relations that were there before.

    Attributes:
        revision: whose it is; None for what env.py does before and after.
        transaction: when its transaction began: it tells transactions apart.
        locks: relation, kind and mode, of locks that the transaction did not have before.
        rewritten: tables that were written anew.
        scanned: tables and the number of their rows that sequential scans read.
    """

    revision: str | None
    sql: str
    lock_timeout: str
    transaction: str
    locks: list[tuple[str, str, str]]
    rewritten: list[str]
    scanned: list[tuple[str, int]]
    error: str | None
    ms: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A command, statement by statement.

    Attributes:
        error: why it failed; None if it did not.
        outside: relation and mode of locks that another session saw.
    """

    steps: list[Step]
    error: str | None
    outside: set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Beside:
    """The plain command beside clients, untraced.

    Attributes:
        error: its last words if it failed.
        repeated: how often it gave its transaction up for a lock, and began again.
        began, ended: on the clock of the calls.
        waits: who waited, for which relation in which mode: for whom.
        views: what the reader read.
    """

    error: str | None
    repeated: int
    began: float
    ended: float
    calls: dict[str, Calls]
    waits: dict[tuple[str, str, str], set[str]]
    views: Sequence[str]


@dataclass(slots=True)
class Rehearsal:
    """What was seen. None where it was not run, because what comes before failed or there is nothing to run.

    Attributes:
        made_up: what was laid over B, because it has no revision of its own to rehearse.
        rows: the rows of each table before the upgrade.
        upgraded, downgraded: the rows of ``sql/drift.sql`` after each.
        lost: by direction and table how many rows there were before the upgrade, where afterwards there are fewer.
        amendment: why the amendment cannot be had on B; empty if it can.
    """

    start: str
    end: str
    made_up: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    before: dict[Key, str] = field(default_factory=dict)
    target: dict[Key, str] = field(default_factory=dict)
    upgrade: Trace | None = None
    downgrade: Trace | None = None
    upgraded: dict[Key, str] | None = None
    downgraded: dict[Key, str] | None = None
    lost: dict[tuple[Direction, str], tuple[int, int | None]] = field(default_factory=dict)
    beside: dict[Direction, Beside] = field(default_factory=dict)
    behind: Beside | None = None
    amendment: str | None = None


class Rehearsing:
    """One server, and what is rehearsed there from one side to another."""

    def __init__(self, server: str, start: Side, end: Side, filled_from: str) -> None:
        """
        Args:
            server: the URL of its superuser.
            start: the side that is installed in the database ``filled_from``.
            end: the side whose migrations run.
        """
        self.server, self.start, self.end = server, start, end
        self.filled_from = filled_from
        self.result = Rehearsal(start.revision, end.revision)

    def run(self, target: dict[Key, str]) -> Rehearsal:
        """All rehearsals, in this order.

        Args:
            target: the rows of the end, installed afresh.
        """
        self.result.target = target
        self.fill()
        self.traced()
        if self.result.upgraded is not None and not self.start.is_empty:
            self.beside()
            if self.result.beside["upgrade"].error is None:
                self.behind()
        return self.result

    def fill(self) -> None:
        """Fills the database that all of them begin with."""
        url = fresh_database(self.server, "filled", self.filled_from)
        if not self.start.is_empty:
            fill(url)
        self.result.rows = counts(url)
        self.result.before = catalog.read(url)

    def traced(self) -> None:
        """The upgrade and the downgrade, statement by statement."""
        url = fresh_database(self.server, "traced", "filled")
        self.result.upgrade = trace(self.end, url, "upgrade", self.end.revision)
        if self.result.upgrade.error is None:
            self.result.upgraded = catalog.read(url)
            self.count("upgrade", url)
            self.result.downgrade = trace(self.end, url, "downgrade", self.start.revision)
            if self.result.downgrade.error is None:
                self.result.downgraded = catalog.read(url)
                self.count("downgrade", url)

    def count(self, direction: Direction, url: str) -> None:
        """Counts the rows after a direction, and keeps where they are fewer than at the beginning."""
        after = counts(url)
        for table, number in self.result.rows.items():
            if after.get(table, -1) < number:
                self.result.lost[direction, table] = (number, after.get(table))

    def beside(self) -> None:
        """Both, as a user runs them, while clients work."""
        url = fresh_database(self.server, "beside", "filled")
        both: tuple[tuple[Direction, str], ...] = (("upgrade", self.end.revision), ("downgrade", self.start.revision))
        for direction, revision in both if self.result.downgraded is not None else both[:1]:
            with Clients(url, self.touched_views()).working() as clients:
                began = time.monotonic()
                running = Running(self.end, self.end.command("-n", self.end.section, direction, revision), url)
                seen = _seen(*running.ended(), began, clients)
            self.result.beside[direction] = seen
            if seen.error is not None:
                return

    def behind(self) -> None:
        """The upgrade behind a transaction that is left open, which ends once the waiting sessions were seen."""
        url = fresh_database(self.server, "behind", "filled")
        views = self.touched_views()
        with Clients(url, views).working() as clients, old_transaction(url, views) as old:
            began = time.monotonic()
            command = self.end.command("-n", self.end.section, "upgrade", self.end.revision)
            running = Running(self.end, command, url)
            has_ended = running.process.poll
            clients.wait_until(
                lambda: has_ended() is not None or any("old transaction" in of for of in clients.waits.values())
            )
            if has_ended() is None:
                clients.wait_for_calls(3)
            old.rollback()
            seen = _seen(*running.ended(), began, clients)
        self.result.behind = seen

    def touched_views(self) -> list[str]:
        """Views of both sides that the upgrade keeps everybody from, and a reader may read."""
        steps = self.result.upgrade.steps if self.result.upgrade else []
        locked = {
            name for step in steps for name, kind, mode in step.locks if kind == "v" and mode == "AccessExclusiveLock"
        }
        readable = [
            catalog.name_of(identity)
            for kind, identity, name in sorted(self.result.before)
            if kind == "view" and name == "granted to dot_reader" and (kind, identity, name) in self.result.target
        ]
        return [name for name in readable if name in locked]


def amended(side: Side, server: str, fresh: str) -> str:
    """Why the amendment cannot be had on a side, and taken back; empty if it can."""
    url = fresh_database(server, "amended", fresh)
    for direction, revision in (("upgrade", "head"), ("downgrade", "base")):
        done = side.run(side.command("-n", "amendment", direction, revision), url)
        if done.returncode:
            return f"alembic -n amendment {direction} {revision}: {last_words(done.stdout + done.stderr)}"
    return ""


def trace(side: Side, url: str, direction: Direction, revision: str, section: Section | None = None) -> Trace:
    """Runs a command of a side, asks after each statement, and looks from outside meanwhile."""
    with tempfile.TemporaryDirectory(prefix="dotw") as folder:
        out = Path(folder) / "trace.json"
        command = [side.command()[0], "-P", str(_TRACER), str(out), section or side.section, direction, revision]
        running = Running(side, command, url)
        outside = _look(running.process, url)
        _, printed = running.ended()
        if not out.exists():
            return Trace([], last_words(printed) or "the tracer ended without a word", outside)
        told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    steps = [
        Step(
            **{
                **one,
                "locks": [tuple(lock) for lock in one["locks"]],
                "scanned": [tuple(scan) for scan in one["scanned"]],
            }
        )
        for one in told["steps"]
    ]
    return Trace(steps, told["error"], outside)


class Running:
    """A program of a side that has been started. What it prints goes to a file, because no process reads a pipe meanwhile."""

    def __init__(self, side: Side, command: list[str], url: str) -> None:
        self._printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  ended() closes it
        self.process = subprocess.Popen(
            command,
            cwd=side.tree,
            env=side.environment(url),
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self) -> tuple[int, str]:
        """Waits for it: its exit code, and what it printed. One that does not get its locks is ended after a while."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GIVEN_FOR_LOCKS)
                break
            self._printed.seek(0)
            if WAITING in self._printed.read():
                self.process.terminate()
        with self._printed as printed:
            printed.seek(0)
            return self.process.returncode, printed.read()


_LOOK: Final = """
select c.relname, l.mode from pg_locks l join pg_stat_activity a on a.pid = l.pid
join pg_class c on c.oid = l.relation and c.relnamespace = to_regnamespace('dot') and c.relkind in ('r', 'p', 'v', 'm')
where l.granted and l.locktype = 'relation' and a.datname = current_database() and a.pid <> pg_backend_pid()"""


def _look(process: subprocess.Popen[str], url: str) -> set[tuple[str, str]]:
    """The locks of a process as another session sees them: those that a statement gives back before the next one too."""
    seen: set[tuple[str, str]] = set()
    with psycopg.connect(url, autocommit=True) as watcher:
        while True:
            seen.update(watcher.execute(_LOOK).fetchall())
            try:
                process.wait(0.005)
            except subprocess.TimeoutExpired:
                continue
            return seen


def _seen(returncode: int, printed: str, began: float, clients: Clients) -> Beside:
    said = [line for line in printed.splitlines() if not line.startswith(WAITING)]
    repeated = len(printed.splitlines()) - len(said)
    error = None
    if returncode:
        error = last_words("\n".join(said)) or f"it did not get its locks within {GIVEN_FOR_LOCKS:.0f} s"
    return Beside(error, repeated, began, time.monotonic(), clients.calls, clients.waits, clients.views)


def installed(server: str, side: Side, name: str) -> str:
    """Installs a side into a database of a server, and returns its URL."""
    url = fresh_database(server, name)
    side.install(url)
    return url
