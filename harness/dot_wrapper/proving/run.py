"""Puts a live database to the promises: on a copy of its schema, with the tests of ``suite``.

Nothing is written in the live database. What is made on the server has names that begin with ``dot_prove_``, and goes when the run
ends, however it ends; after SIGKILL ``clean`` removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import Phase, Verbosity, settings
from hypothesis.internal.conjecture import engine
from psycopg import sql

from dot_wrapper.client import database
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.operations import doctor, drift, schema
from dot_wrapper.proving.copying import make, read
from dot_wrapper.proving.databases import connect, drop_database
from dot_wrapper.proving.prepared import Prepared, prepared
from dot_wrapper.proving.promises import PROMISES, Promise, promise_of
from dot_wrapper.proving.searching import COMMON, draw_from, seeding
from dot_wrapper.proving.story import Story
from dot_wrapper.proving.support import Database
from dot_wrapper.proving.twin import Differs

SUITE: Final = Path(__file__).parent / "suite"

SHRINKING: Final = 10
"""Seconds for which the smallest example that fails is looked for."""

_PREFIX: Final = "dot_prove_"
_NAME: Final = re.compile(rf"{_PREFIX}([0-9a-f]{{8}})_\w+")
_LOCK: Final = 0x646F7470
"""The first number of the advisory lock that a running prove holds; the second is its token."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is tried.

    Attributes:
        examples: of each property; the state machine tells two thirds as many stories.
        seed: what they are drawn from.
        seconds: after so many no test is begun, and the one that runs is ended; None for no limit.
    """

    examples: int
    seed: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that failed.

    Attributes:
        test: its name.
        what: what differs: a call, or what is shown.
        model, database: what each says; of a test without the model ``model`` is None and ``database`` what went wrong.
        story: the smallest example, as SQL for psql.
        seconds: how long after the first test it had failed.
    """

    test: str
    what: str
    model: str | None
    database: str
    story: str
    seconds: float


@dataclass(slots=True)
class Result:
    """What became of a promise.

    Attributes:
        passed: tests that passed.
        skipped: tests that could not be run, and why.
        failures: at most one: once a promise is broken, none of its other tests is run.
        left: tests that were not run.
    """

    promise: Promise
    passed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    left: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool | None:
        """Whether it holds; None where it was not tried to the end."""
        return False if self.failures else None if self.left or not self.passed else True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a proof.

    Attributes:
        drift: the comparison of the live schema with this software's.
        state: the findings about its rows.
        results: of each promise; none where the schema could not be copied.
        problem: why the promises were not tried, or not to the end; None where they were.
    """

    drift: drift.Report
    state: tuple[doctor.Finding, ...]
    results: tuple[Result, ...]
    problem: DotWrapperError | None

    @property
    def holds(self) -> bool | None:
        """Whether all holds; None where it was not tried to the end."""
        levels = {one.level for one in self.state}
        if "fail" in levels or self.drift.of("drift") or any(one.holds is False for one in self.results):
            return False
        whole = self.problem is None and "hidden" not in levels and all(one.holds for one in self.results)
        return True if whole else None


Progress = Callable[[str, int, int], None]
"""Is told the promise whose test is next, how many tests have ended, and of how many."""


def prove(
    url: str, size: Size, progress: Progress, *, scratch: str | None = None, junit: Path | None = None
) -> Verdict:
    """Compares a live database with this software, and puts a copy of its schema to the promises.

    Args:
        url: the live database.
        scratch: a database of the server on which the copies are made; the live one's by default.
        junit: where the tests' results are written, as JUnit XML.

    Raises:
        NotInstalled: the wrapper is not installed there, or is of another revision.
        DotWrapperError: the live database cannot be read.
        SystemExit: it was interrupted; nothing is left.
    """
    with database.connect(url, application_name="dot-wrapper prove") as connection:
        if connection.prepare_threshold is None:
            raise DotWrapperError(
                "a connection pooler is in between, which keeps no session",
                hint="Name the server itself with --database-url.",
            )
        difference = _without_own_right(drift.examine(connection), connection)
        amended = schema.state(connection).amendment != "off"
    state: tuple[doctor.Finding, ...] = ()
    tests = _Tests(size, progress, amended)
    problem: DotWrapperError | None = None
    with _ending_early(size.seconds) as ended:
        try:
            with _prepared(scratch or url) as server, ended.not_after_this():
                state = _state(url)
                tests.server = _with_copy(server, url, same_server=scratch is None)
                with closing(_Clones(tests.server)) as tests.clones:
                    _run(tests, junit)
        except KeyboardInterrupt:
            pass
        except DotWrapperError as error:
            problem = error
        except psycopg.Error as error:
            problem = DotWrapperError(f"the schema cannot be copied: {' '.join(str(error).split())}")
    if ended.by == "time":
        problem = DotWrapperError(f"the time was over after {size.seconds:g} s", hint="Give it a longer --time-limit.")
    elif ended.by:
        raise SystemExit(128 + int(ended.by))
    return Verdict(difference, state, tuple(tests.results.values()) if tests.collected else (), problem)


@dataclass(slots=True)
class _Ended:
    """By what a run was ended early: the number of a signal, ``time``, or nothing; and whether that raises KeyboardInterrupt."""

    by: int | str | None = None
    raises: bool = True

    @contextmanager
    def not_after_this(self) -> Iterator[None]:
        """What comes after the block is cleaning, and nothing stops it."""
        try:
            yield
        finally:
            self.raises = False


@contextmanager
def _ending_early(seconds: float | None) -> Iterator[_Ended]:
    """In the block the signals that end a process, and the end of its time, raise KeyboardInterrupt: once, so that a second one does
    not stop the cleaning. It is for the main thread."""
    ended = _Ended()

    def end(number: int, _frame: object) -> None:
        raises, ended.raises = ended.raises, False
        ended.by = ended.by or ("time" if number == alarm else number)
        if raises:
            raise KeyboardInterrupt

    alarm = getattr(signal, "SIGALRM", None)  # Windows has none: there the time has no limit
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in numbers if signal.getsignal(one) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, end)
        if seconds and alarm:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield ended
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_own_right(report: drift.Report, connection: psycopg.Connection[Any]) -> drift.Report:
    """The report without the right to act as dot_owner of the login that proves: it is what it proves with."""
    login = connection.info.user
    rest = [
        one for one in report.differences if (one.kind, one.identity, one.property) != ("member", "dot_owner", login)
    ]
    return replace(report, differences=tuple(rest))


def _state(url: str) -> tuple[doctor.Finding, ...]:
    """What is wrong with the rows of the live database that belong to the installation."""
    with database.connect(url, application_name="dot-wrapper prove") as connection:
        findings = doctor.examine(connection, role="dot_owner").findings
    return tuple(one for one in findings if one.check == "state")


@contextmanager
def _prepared(url: str) -> Iterator[Prepared]:
    """The server on which the copies are made, with the logins."""
    token = secrets.token_hex(4)
    # As long as this session is there, `clean` knows that the prove runs.
    with database.connect(url, application_name="dot-wrapper prove") as held:
        held.execute("select pg_catalog.pg_advisory_lock(%s, %s)", (_LOCK, _signed(token)))
        superuser = held.execute("select rolsuper from pg_catalog.pg_roles where rolname = current_user").fetchone()
        with prepared(
            url, own=False, superuser=superuser == (True,), installs=False, prefix=f"{_PREFIX}{token}"
        ) as server:
            yield server


def _with_copy(server: Prepared, url: str, *, same_server: bool) -> Prepared:
    """The server with a copy of the live schema as the template of the tests' databases."""
    live = read(url)
    template = f"{server.prefix}_template"
    make(server.url, template, live, same_server=same_server)
    # The copies need not survive a crash.
    return replace(server, template=template, settings={"synchronous_commit": "off", **live.settings})


def _signed(token: str) -> int:
    """Eight hexadecimal digits as an integer of four bytes."""
    return int.from_bytes(bytes.fromhex(token), signed=True)


def clean(url: str) -> tuple[list[str], list[str]]:
    """Removes what proves have left that were killed.

    Returns:
        The databases and logins that were removed, and those that a running prove holds.

    Raises:
        psycopg.Error: the login may not remove one of them, because another login made it for instance.
    """
    removed, held = [], []
    with connect(url) as admin:
        # pg_locks shows those of all databases; pg_try_advisory_lock would see this one's alone.
        locks = admin.execute(
            "select objid::bigint from pg_locks where locktype = 'advisory' and classid = %s and objsubid = 2", (_LOCK,)
        )
        running = {f"{number:08x}" for (number,) in locks.fetchall()}
        found = admin.execute(
            "select datname, true from pg_database where starts_with(datname, %(prefix)s)"
            " union all select rolname, false from pg_roles where starts_with(rolname, %(prefix)s) order by 2 desc, 1",
            {"prefix": _PREFIX},
        )
        for name, is_database in found.fetchall():
            of = _NAME.fullmatch(name)
            if of is None:
                continue
            if of[1] in running:
                held.append(name)
                continue
            if is_database:
                drop_database(url, name)
            else:
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
            removed.append(name)
    return removed, held


def _run(tests: _Tests, junit: Path | None) -> None:
    """Runs pytest in this process, with the packaged tests and nothing of this machine's configuration."""
    arguments = [str(SUITE), f"--rootdir={SUITE}", "--noconftest", "--import-mode=importlib", "-c", os.devnull]
    arguments += ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler", "-s"]
    if junit:
        arguments += [f"--junitxml={junit}", "-o", "junit_suite_name=dot-wrapper prove"]
    drawing = settings(
        **COMMON,
        database=None,
        derandomize=False,
        max_examples=tests.size.examples,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    with _set_for_the_run(drawing):
        code = pytest.main(arguments, plugins=[tests])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        raise DotWrapperError(f"the tests could not be run: {tests.internal or code}")


@contextmanager
def _set_for_the_run(drawing: settings) -> Iterator[None]:
    """What pytest and Hypothesis read from this process: no plugin of the machine, nothing written but into a folder that goes."""
    before = (
        dict(os.environ),
        sys.dont_write_bytecode,
        engine.MAX_SHRINKING_SECONDS,
        settings.get_current_profile_name(),
    )
    settings.register_profile("prove", drawing)
    settings.load_profile("prove")
    engine.MAX_SHRINKING_SECONDS = SHRINKING
    sys.dont_write_bytecode = True  # pytest would write what it makes of the tests beside them
    try:
        with tempfile.TemporaryDirectory(prefix="dot-prove-") as folder:
            os.environ |= {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "",
                "HYPOTHESIS_STORAGE_DIRECTORY": folder,
            }
            yield
    finally:
        environment, sys.dont_write_bytecode, engine.MAX_SHRINKING_SECONDS, profile = before
        os.environ.clear()
        os.environ |= environment
        settings.load_profile(profile)


class _Clones:
    """Clones of the copy. While a test runs, a thread makes the next one, and drops those before."""

    def __init__(self, server: Prepared) -> None:
        self._server = server
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(self._make)

    def _make(self) -> tuple[str, AbstractContextManager[str]]:
        clone = self._server.clone()
        return clone.__enter__(), clone

    @contextmanager
    def one(self) -> Iterator[str]:
        """A clone for the length of the block: its URL."""
        url, clone = self._next.result()
        self._next = self._thread.submit(self._make)
        try:
            yield url
        finally:
            self._thread.submit(clone.__exit__, None, None, None)

    def close(self) -> None:
        """Waits for what is under way. What is left goes with the server's logins."""
        self._thread.shutdown(cancel_futures=True)


class _Tests:
    """The pytest plugin that runs the suite on the copies, and keeps what became of it."""

    def __init__(self, size: Size, progress: Progress, amended: bool) -> None:
        self.size, self.progress, self.amended = size, progress, amended
        self.server: Prepared
        self.clones: _Clones
        self.results = {promise.name: Result(promise) for promise in PROMISES}
        self.story: Story | None = None
        self.collected = 0
        self.internal = ""
        self._ended = 0
        self._began = time.monotonic()
        self._by_id: dict[str, Result] = {}

    @pytest.fixture
    def db(self) -> Iterator[Database]:
        """A database of the test's own."""
        self.story = Story(self.server.prefix)
        with self.clones.one() as url:
            opened = Database(url, self.server, amended=self.amended, story=self.story)
            with closing(opened):
                yield opened

    @pytest.fixture
    def seeded(self) -> Callable[[type[Any]], type[Any]]:
        """What gives the seed to a state machine."""
        return seeding(self.size.seed)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps the tests for the state in which the live database is, in the order of the promises."""
        mine = [one for one in items if _parameters(one).get("db", self.amended) == self.amended]
        order = [one.name for one in PROMISES]
        items[:] = sorted(mine, key=lambda one: order.index(_promise(one).name))
        draw_from(self.size.seed, items)
        for one in items:
            self._by_id[one.nodeid] = self.results[_promise(one).name]
            self._by_id[one.nodeid].left += 1
            if hasattr(one.obj, "hypothesis"):  # type: ignore[attr-defined]
                one.obj.hypothesis.inner_test = self._telling(one.obj.hypothesis.inner_test)  # type: ignore[attr-defined]
        self.collected = len(items)
        self._began = time.monotonic()

    def _telling(self, test: Callable[..., None]) -> Callable[..., None]:
        """The test, with a story that begins anew with each example."""

        def example(*arguments: Any, **named: Any) -> None:
            if self.story:
                self.story.begin()
            test(*arguments, **named)

        return example

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Counts; a test of a promise that is broken is left out."""
        result = self.results[_promise(item).name]
        is_broken = bool(result.failures)
        self.progress(result.promise.name, self._ended, self.collected)
        started = time.monotonic()
        answer = yield
        result.seconds += time.monotonic() - started
        result.left -= not is_broken
        self._ended += 1
        return answer

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A promise is broken once."""
        if self.results[_promise(item).name].failures:
            pytest.skip("the promise is broken already")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
        """Keeps what became of a test, and for a failure its story."""
        report: Any = yield
        result = self.results[_promise(item).name]
        if report.failed and call.excinfo and not result.failures:
            seconds = round(time.monotonic() - self._began, 1)
            head = f"{result.promise.name}: {item.name}, with --examples {self.size.examples} --seed {self.size.seed}"
            result.failures.append(_failure(item, call.excinfo.value, self.story, seconds, head))
            report.sections.append(("the smallest story, for psql", result.failures[0].story))
        elif report.skipped and not result.failures:
            result.skipped[item.name] = str(call.excinfo.value) if call.excinfo else ""
        return report  # type: ignore[no-any-return]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts the tests that passed; a subtest is part of its test."""
        if report.passed and report.when == "call" and not isinstance(report, pytest.SubtestReport):
            self._by_id[report.nodeid].passed += 1

    def pytest_internalerror(self, excrepr: object) -> None:
        """Keeps it: no reporter is there to print it."""
        self.internal = str(excrepr)


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _promise(item: pytest.Item) -> Promise:
    return promise_of(item.path.stem, getattr(item, "originalname", item.name))


def _failure(item: pytest.Item, error: BaseException, story: Story | None, seconds: float, head: str) -> Failure:
    if isinstance(error, Differs):
        what, by_model, by_database = error.what, str(error.model), str(error.database)
        look = error.look
    else:
        what, by_model, look = item.name, None, None
        by_database = " ".join(str(error).split()) or type(error).__name__
    said = [f"-- {what}"]
    said += [f"-- the model says: {by_model}"] if by_model else []
    said += [f"-- the database says: {by_database}"]
    return Failure(item.name, what, by_model, by_database, story.sql(head, look, said) if story else "", seconds)
