"""Who uses the database while a migration runs: writers and a reader that call the wrapper's functions and views, and a watcher."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

PAIRS: Final = 20
RUNS: Final = 2000

PATIENCE: Final = 60.0
"""Seconds for which something that has to come about is waited for."""

PAUSE: Final = 0.002
"""Seconds between the calls of a client: the migration and its server need a processor too."""

_NAMED: Final = "dot-wrapper review: "

_FILL: Final = (
    "select dot.fn_dot_tool_register(format('review.%s.%s', r, i)) from generate_series(1, {pairs}) i, unnest('{{made,checked}}'::text[]) r",
    "select dot.fn_process_candidate_define('review.pair.' || i, 'review.made.' || i, 'review.checked.' || i, 'review')"
    " from generate_series(1, {pairs}) i",
    "select dot.fn_process_pair_observe('review.pair.' || n, 'review.made.' || n, 'review.checked.' || n, gen_random_uuid(), 'review',"
    " 'SIMULATED_DRY_RUN', true, 'completed', 'completed', 'review')"
    " from generate_series(1, {runs}) i cross join lateral (select 1 + i % {pairs}) one (n)",
)
WRITTEN: Final = "fn_process_pair_observe"
"""The function that the writers call."""

_WRITE: Final = (
    f"select dot.{WRITTEN}('review.pair.1', 'review.made.1', 'review.checked.1', gen_random_uuid(), 'review',"
    " 'SIMULATED_DRY_RUN', true, 'completed', 'completed', 'review')"
)

# A view that every version of the wrapper has: it stands on most of the others.
_ALWAYS_READ: Final = "v_process_verification_v3"

# Which lock a session waits for, of whom, and who that is.
_WAITS: Final = """
select a.application_name, l.relation::regclass::text, l.mode,
    array(select b.application_name from pg_stat_activity b where b.pid = any (pg_blocking_pids(a.pid)))
from pg_stat_activity a join pg_locks l on l.pid = a.pid and not l.granted and l.locktype = 'relation'
where a.datname = current_database()"""
_HELD: Final = """
select l.relation::regclass::text, l.mode from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.granted and l.locktype = 'relation' and a.datname = current_database() and a.backend_type = 'client backend'
    and not starts_with(a.application_name, %s)"""


@dataclass(slots=True)
class Calls:
    """What one kind of client did: how long each call took, in seconds, and what failed."""

    ended: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def usual(self, before: float) -> float:
        """The median of the calls that ended before a moment."""
        return statistics.median([took for at, took in self.ended if at < before] or [0.0])

    def longest(self, since: float) -> float:
        """The longest call that ended after a moment."""
        return max([took for at, took in self.ended if at >= since], default=0.0)


def fill(url: str, runs: int = RUNS) -> None:
    """Stores rows through the wrapper's own functions."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _FILL:
            connection.execute(statement.format(pairs=PAIRS, runs=runs).encode())
        connection.execute("analyze")


def counts(url: str) -> dict[str, int]:
    """The rows of each table."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = connection.execute(
            "select c.relname from pg_class c where c.relnamespace = to_regnamespace('dot') and c.relkind in ('r', 'p')"
            " and not starts_with(c.relname, 'alembic_version')"
        ).fetchall()
        found = {}
        for (name,) in names:
            query = psycopg.sql.SQL("select count(*) from dot.{}").format(psycopg.sql.Identifier(name))
            found[name] = (connection.execute(query).fetchone() or (0,))[0]
        return found


class Clients:
    """Two writers and a reader that call again and again, and a watcher, until the block ends."""

    def __init__(self, url: str, views: Sequence[str]) -> None:
        self.calls = {"writer": Calls(), "reader": Calls()}
        self.waits: dict[tuple[str, str, str], set[str]] = {}
        self.held: set[tuple[str, str]] = set()
        self._url = url
        self.views = (_ALWAYS_READ, *(view for view in views if view != _ALWAYS_READ))
        self._stop = threading.Event()
        self._told = threading.Condition()
        self._failed: list[BaseException] = []

    @contextmanager
    def working(self) -> Iterator[Clients]:
        """Each kind has made some calls when the block begins, and some more before it ends.

        Raises:
            DotWrapperError: they do not get on.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(self._client, *what))
            for what in (
                ("writer", "dot_writer", self._write),
                ("writer", "dot_writer", self._write),
                ("reader", "dot_reader", self._read),
            )
        ]
        threads.append(threading.Thread(target=self._guarded, args=(self._watch,)))
        for thread in threads:
            thread.start()
        try:
            self.wait_for_calls(20)
            yield self
            self.wait_for_calls(5)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for_calls(self, more: int) -> None:
        """Returns once each kind has made so many more calls."""
        goal = {kind: len(calls.ended) + more for kind, calls in self.calls.items()}
        self.wait_until(lambda: all(len(self.calls[kind].ended) >= number for kind, number in goal.items()))

    def wait_until(self, holds: Callable[[], Any]) -> None:
        """Returns once something holds; it is asked again after each call and each look at the locks.

        Raises:
            TimeoutError: it does not come about.
        """
        with self._told:
            if not self._told.wait_for(lambda: self._failed or holds(), PATIENCE):
                raise TimeoutError("the clients of the rehearsal do not get on")
        if self._failed:
            raise self._failed[0]

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # it is raised where the block is
            with self._told:
                self._failed.append(error)
                self._told.notify_all()

    def _client(self, kind: str, role: str, call: Callable[[psycopg.Connection[Any], int], None]) -> None:
        calls, number = self.calls[kind], 0
        # Nothing is prepared: a statement that a driver has prepared may not change its columns.
        with psycopg.connect(
            self._url, autocommit=True, application_name=_NAMED + kind, prepare_threshold=None
        ) as session:
            session.execute(f"set role {role}".encode())
            while not self._stop.wait(PAUSE):
                started = time.monotonic()
                error = None
                try:
                    call(session, number)
                except psycopg.Error as failure:
                    error = str(failure).splitlines()[0]
                number += 1
                with self._told:
                    calls.ended.append((time.monotonic(), time.monotonic() - started))
                    if error is not None and error not in calls.errors:
                        calls.errors.append(error)
                    self._told.notify_all()

    def _write(self, session: psycopg.Connection[Any], _number: int) -> None:
        session.execute(_WRITE)

    def _read(self, session: psycopg.Connection[Any], number: int) -> None:
        view = psycopg.sql.Identifier(self.views[number % len(self.views)])
        session.execute(psycopg.sql.SQL("select * from dot.{} limit 1").format(view))

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True, application_name=f"{_NAMED}watcher") as session:
            while not self._stop.wait(0.005):
                waits = session.execute(_WAITS).fetchall()
                held = session.execute(_HELD, (_NAMED,)).fetchall()
                with self._told:
                    for who, relation, mode, of in waits:
                        blockers = {one.removeprefix(_NAMED) if one.startswith(_NAMED) else "migration" for one in of}
                        waiter = who.removeprefix(_NAMED) if who.startswith(_NAMED) else "migration"
                        self.waits.setdefault((waiter, relation.removeprefix("dot."), mode), set()).update(blockers)
                    self.held.update((relation.removeprefix("dot."), mode) for relation, mode in held)
                    self._told.notify_all()


@contextmanager
def old_transaction(url: str, views: Sequence[str]) -> Iterator[psycopg.Connection[Any]]:
    """A reader that has left its transaction open."""
    with psycopg.connect(url, application_name=f"{_NAMED}old transaction") as session:
        session.execute("set local role dot_reader")
        for view in (_ALWAYS_READ, *views):
            session.execute(psycopg.sql.SQL("select * from dot.{} limit 1").format(psycopg.sql.Identifier(view)))
        yield session
