"""Runs the tests against each mutant of the SQL, and fails where one survives that is not known to be equivalent.

``make mutants`` runs all of them; ``--every 100`` a sample, chosen by the mutants' ids; ``--only WORD`` those of one object or
operator; ``--changed`` at most ``AT_MOST`` of those in files of ``sql/`` that differ from where the branch left main, or on main
from the parent commit, and where no file differs the sample of the tests. ``--keep`` writes into ``killers.json`` which test
killed each, and ``--survivors`` runs those alone that it does not name. The tests are collected once. Each mutant is made in a copy
of the upgraded template database; a forked child clones that for its tests, those first that are likeliest to notice, and stops at the
first that fails, or that twice does not end in its time. A mutant survives when none does. A kill is behaviour: the snapshot of the
schema is no test here, and the catalog lint is asked about attributes and rights alone.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from _pytest.runner import runtestprotocol  # nothing public runs one test of a session

from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import database_url, drop_database, fresh_database
from dot_wrapper.proving.prepared import PREPARED, Prepared, with_template
from tools.mutants.find import ATTRIBUTES, Mutant, find, unchanged

TESTS = ("tests/sql", "tests/security", "tests/races", "tests/properties")
LINT = "tests/security/test_catalog_lint.py"
RIGHTS = "tests/security/test_roles.py"
TABLES = "tests/sql/test_tables.py"
EQUIVALENT = ROOT / "tools" / "mutants" / "equivalent.toml"

# By test the ids of the mutants that it killed when they were last run: it is asked first. ``--keep`` writes it.
KILLERS = ROOT / "tools" / "mutants" / "killers.json"

# The sample that the tests run: one mutant of so many.
SAMPLE = 900

# How many mutants of changed files fit into three minutes of two processors.
AT_MOST = 200

# How many times as long a test may take that has not ended in its time, when it is asked again.
PATIENCE = 5


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    killer: str | None
    """The test that failed; None where none did."""
    tests: int
    """How many were run."""
    seconds: float
    how: str
    """``failed``, ``timeout``, ``not installable``, or ``survived``."""


@dataclass(frozen=True)
class Watched(Prepared):
    """A server that tells which functions each test has called."""

    called: set[str] = field(default_factory=set)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        with super().database(template) as url:
            yield url
            deadline = time.monotonic() + 2  # what a session has called shows when it has ended
            with psycopg.connect(url, autocommit=True) as watcher:
                others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                while watcher.execute(others).fetchone() != (0,) and time.monotonic() < deadline:
                    time.sleep(0.005)
                found = watcher.execute("select funcname from pg_stat_user_functions where schemaname = 'dot'")
                self.called.update(name for (name,) in found.fetchall())


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Run:
    """The pytest plugin that runs mutants where pytest would run tests."""

    every: int
    share: tuple[int, int]
    """Which of how many parts of the mutants are this process's."""
    at_most: int | None
    survivors: bool
    only: str
    result: Path | None
    known: Path | None
    objects: frozenset[str] | None = None
    """The functions and views whose mutants are run; None where it is those of all."""
    killers: dict[str, str] = field(default_factory=dict)
    """By the id of a mutant the test that killed it in an earlier run."""
    found: list[str] = field(default_factory=list)
    """The ids of all mutants, run or not."""
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many mutants with a trait a test has killed."""
    killed: Counter[str] = field(default_factory=Counter)
    """How many mutants with it all tests have killed."""
    seconds: dict[str, float] = field(default_factory=dict)
    failed: bool = False
    callers: dict[str, set[str]] = field(default_factory=dict)
    """By PL/pgSQL function the tests that call it, however indirectly: no other test can notice a change of its body."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the child: sees subtests, which fail on their own."""
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        items = [item for item in session.items if isinstance(item, pytest.Function) and "db" in item.fixturenames]
        server = with_template(session.config.stash[PREPARED])
        assert server.template
        self.killers = killers()
        if self.known:
            self._remember(self.known)
        mutants = find(database_url(server.url, server.template))
        self.found = [mutant.id for mutant in mutants]
        for mutant in mutants:
            self._count(mutant, self.killers.get(mutant.id))
        equivalent = equivalents()
        stale = equivalent.keys() - {mutant.id for mutant in mutants}
        chosen = [
            mutant
            for mutant in mutants
            if mutant.id not in equivalent
            and int(mutant.id, 16) % self.every == 0
            and int(mutant.id, 16) // self.every % self.share[1] == self.share[0]
            and not (self.survivors and mutant.id in self.killers)
            and self.only in f"{mutant.object} {mutant.operator} {mutant.id}"
            and (self.objects is None or mutant.object in self.objects)
        ]
        if self.objects is not None:
            chosen = sorted(chosen, key=lambda mutant: mutant.id)[: AT_MOST // self.share[1]]
        print(f"\n{len(mutants)} mutants, {len(equivalent)} of them equivalent; {len(chosen)} to run", flush=True)
        if self.every == 1 and self.objects is None and (self.known or not self.only):
            unknown = [item for item in items if item.nodeid not in self.seconds]
            if unknown:
                self._baseline(unknown, session.config, server)
        verdicts: dict[Mutant, Verdict] = {}
        try:
            for mutant in sorted(chosen, key=lambda mutant: mutant.id):  # so that a part of the run is a fair sample
                verdicts[mutant] = self._judged(mutant, items, session.config, server)
                if verdicts[mutant].how == "survived" or len(verdicts) % 25 == 0:
                    say(mutant, verdicts[mutant], len(verdicts), len(chosen))
                if self.result and len(verdicts) % 50 == 0:
                    self.result.write_text(self._learnt(verdicts), encoding="utf-8")
        finally:
            # Ctrl-C reaches each process, and the first process then ends the others: what they have is written all the same.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            session.testsfailed = report(verdicts, len(equivalent), sorted(stale))
            if self.result:
                self.result.write_text(self._learnt(verdicts), encoding="utf-8")
        return True

    def _remember(self, known: Path) -> None:
        """What an earlier run has learnt of the tests."""
        learnt = json.loads(known.read_text(encoding="utf-8"))
        self.seconds = learnt["seconds"]
        self.callers = {function: set(tests) for function, tests in learnt["callers"].items()}
        self.killers |= {one["id"]: one["killer"] for one in learnt["mutants"] if one["killer"]}

    def _count(self, mutant: Mutant, killer: str | None) -> None:
        if killer:
            for trait in _traits(mutant):
                self.kills[trait, killer] += 1
                self.killed[trait] += 1

    def _learnt(self, verdicts: dict[Mutant, Verdict]) -> str:
        mutants = [{"id": mutant.id, **asdict(mutant), **asdict(verdict)} for mutant, verdict in verdicts.items()]
        callers = {function: sorted(tests) for function, tests in self.callers.items()}
        learnt = {"mutants": mutants, "seconds": self.seconds, "callers": callers, "found": self.found}
        return json.dumps(learnt, indent=1) + "\n"

    def _baseline(self, items: list[pytest.Function], config: pytest.Config, server: Prepared) -> None:
        """These tests pass where the SQL is printed anew and not changed; how long each takes; and what it calls."""
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute("alter system set track_functions = 'pl'")
            admin.execute("select pg_reload_conf()")
        watched = Watched(**{one.name: getattr(server, one.name) for one in fields(server)})
        verdict = self._tested("\n;\n".join(unchanged()), items, config, watched, PATIENCE)
        if verdict.killer:
            raise pytest.UsageError(f"{verdict.killer} fails without a mutant")
        print(f"without a mutant all {verdict.tests} tests pass in {verdict.seconds:.0f} s", flush=True)

    def _judged(self, mutant: Mutant, items: list[pytest.Function], config: pytest.Config, server: Prepared) -> Verdict:
        asked = items
        if mutant.operator not in ATTRIBUTES:
            asked = [item for item in items if not item.nodeid.startswith(LINT) and self._may_notice(mutant, item)]
        verdict = self._certain(mutant.sql, self._ordered(mutant, asked)[: self.at_most], config, server)
        self._count(mutant, verdict.killer)
        return verdict

    def _may_notice(self, mutant: Mutant, item: pytest.Function) -> bool:
        """Only a test that calls a function notices a change of its body; only one that names a table, or a view that is made
        from it, or calls a function that reads it, a change of those. Asking fewer tests can make a mutant survive that another
        would kill, never the reverse."""
        if self.killers.get(mutant.id) == item.nodeid:
            return True
        if "alter domain" in mutant.sql:
            return True  # whatever stores a row asks the domains of its columns
        if mutant.object in self.callers:
            return item.nodeid in self.callers[mutant.object] or item.nodeid not in self.seconds
        names = {mutant.object} | readers(mutant.object)
        is_called = any(item.nodeid in self.callers.get(name, ()) for name in names)
        return mutant.object.startswith("fn_") or is_called or not names.isdisjoint(_words(_source(_written_in(item))))

    def _ordered(self, mutant: Mutant, items: list[pytest.Function]) -> list[pytest.Function]:
        """The likeliest to notice first: those that share rare words with the mutant, and that noticed others like it."""
        traits = _traits(mutant)
        words = _words(f"{mutant.object} {mutant.change}")
        sources = [_words(_source(item.function)) for item in items]
        rare = {word: 1 / (1 + sum(word in source for source in sources)) for word in words}

        def likely(position: int) -> float:
            item = items[position]
            shared = sum(rare[word] for word in words & sources[position])
            module = sum(rare[word] for word in words & _words(_source(_written_in(item))))
            known = sum(self.kills[trait, item.nodeid] / (1 + self.killed[trait]) for trait in traits)
            first = 2000 * (self.killers.get(mutant.id) == item.nodeid)
            first += 10 * (mutant.operator in ATTRIBUTES and item.nodeid.startswith((LINT, RIGHTS)))
            first += 10 * (not mutant.object.startswith(("fn_", "v_")) and item.nodeid.startswith(TABLES))
            # Last where the optional amendment is taken first, which a mutant may get in the way of.
            first -= 1000 * (hasattr(item, "callspec") and item.callspec.params.get("db") is True)
            return first + 2 * shared + module + 2 * known - 0.2 * self.seconds.get(item.nodeid, 0.3)

        return [items[position] for position in sorted(range(len(items)), key=likely, reverse=True)]

    def _certain(self, sql: str, items: Sequence[pytest.Function], config: pytest.Config, server: Prepared) -> Verdict:
        """What the tests find. One that has not ended in its time may only have been slow, on a machine that does other things
        too: it is asked again, alone and with more time. Where it passes then, those after it are asked."""
        verdict = self._tested(sql, items, config, server)
        if verdict.how != "timeout":
            return verdict
        late = next(position for position, item in enumerate(items) if item.nodeid == verdict.killer)
        asked = [verdict, self._tested(sql, items[late : late + 1], config, server, PATIENCE)]
        if not asked[-1].killer:
            asked.append(self._certain(sql, items[late + 1 :], config, server))
        return replace(asked[-1], tests=sum(one.tests for one in asked), seconds=sum(one.seconds for one in asked))

    def _tested(
        self, sql: str, items: Sequence[pytest.Function], config: pytest.Config, server: Prepared, patience: int = 1
    ) -> Verdict:
        started = time.monotonic()
        mutated = f"{server.prefix}_mutant"
        assert server.template
        url = fresh_database(server.url, mutated, server.template)
        try:
            with psycopg.connect(url) as connection:
                connection.execute(sql.encode())
        except psycopg.Error:
            return Verdict("its own installation", 0, time.monotonic() - started, "not installable")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            config.stash[PREPARED] = mutated_server = replace(server, template=mutated)
            self._until_one_fails(items, mutated_server, writing, patience)
        os.close(writing)
        with os.fdopen(reading) as lines:
            told = [json.loads(line) for line in lines]  # until the child ends
        _, status = os.waitpid(child, 0)
        spent = time.monotonic() - started
        finished = [one for one in told if "seconds" in one]
        for one in finished:
            self.seconds.setdefault(one["test"], one["seconds"])
            for function in one["called"]:
                self.callers.setdefault(function, set()).add(one["test"])
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGALRM, status
            self._remove_leftovers(server)
            return Verdict(told[-1]["test"], len(finished) + 1, spent, "timeout")
        assert os.WEXITSTATUS(status) == 0, "the child has failed"
        if finished and finished[-1]["failed"]:
            return Verdict(finished[-1]["test"], len(finished), spent, "failed")
        return Verdict(None, len(items), spent, "survived")

    def _until_one_fails(
        self, items: Sequence[pytest.Function], server: Prepared, report_to: int, patience: int
    ) -> None:
        """In the child: runs tests, tells of each that it starts and how it went, and ends the process."""
        code = 1
        try:
            with os.fdopen(report_to, "w") as lines:
                for item in items:
                    print(json.dumps({"test": item.nodeid}), file=lines, flush=True)
                    # A test that waits for ever has noticed too.
                    signal.alarm(patience * max(10, int(4 * self.seconds.get(item.nodeid, 1))))
                    started = time.monotonic()
                    reports = runtestprotocol(item, log=False, nextitem=None)
                    told = {
                        "test": item.nodeid,
                        "failed": self.failed or any(one.failed for one in reports),
                        "seconds": time.monotonic() - started,
                        "called": sorted(server.called) if isinstance(server, Watched) else [],
                    }
                    print(json.dumps(told), file=lines, flush=True)
                    if isinstance(server, Watched):
                        server.called.clear()
                    if told["failed"]:
                        break
            code = 0
        finally:
            os._exit(code)

    def _remove_leftovers(self, server: Prepared) -> None:
        with psycopg.connect(server.url, autocommit=True) as admin:
            names = admin.execute("select datname from pg_database where starts_with(datname, %s)", (server.prefix,))
            for (name,) in names.fetchall():
                if name != server.template:
                    drop_database(server.url, name)


def _traits(mutant: Mutant) -> frozenset[str]:
    """What a mutant may have in common with others: its object, its operator, and the words in what it changes."""
    return _words(mutant.change) | {mutant.object, mutant.operator}


def _written_in(item: pytest.Function) -> Any:
    """The module of a test: not the one that was collected, where that only imports it."""
    return sys.modules[item.function.__module__]


@cache
def _source(thing: Any) -> str:
    """The text of a test; or that of its file, with the helpers of other files that it imports."""
    if not inspect.ismodule(thing):
        return inspect.getsource(thing)
    helpers = [one for one in vars(thing).values() if inspect.isfunction(one) and one.__module__ != thing.__name__]
    ours = (ROOT / "tests", ROOT / "harness" / "dot_wrapper" / "proving")
    local = [one for one in helpers if any(Path(inspect.getfile(one)).is_relative_to(folder) for folder in ours)]
    return inspect.getsource(thing) + "".join(inspect.getsource(inspect.unwrap(one)) for one in local)


@cache
def readers(name: str) -> frozenset[str]:
    """The views and functions that read a view, and those that read these views, and so on."""
    if not name.startswith("v_"):
        return frozenset()
    found = [
        path.stem
        for path in (ROOT / "sql").glob("[fv]*/**/*.sql")
        if path.stem != name and re.search(rf"\bdot\.{name}\b", path.read_text(encoding="utf-8"))
    ]
    return frozenset(found).union(*map(readers, found))


@cache
def _words(text: str) -> frozenset[str]:
    """The words of a text, and the parts of those that have several."""
    words = re.findall(r"[a-z][a-z_0-9]{3,}", text.lower())
    return frozenset(words).union(part for word in words for part in word.split("_") if len(part) > 3)


def killers() -> dict[str, str]:
    """By the id of a mutant the test that ``killers.json`` says killed it."""
    told: dict[str, str] = json.loads(KILLERS.read_text(encoding="utf-8"))
    return {mutant: test for test, mutants in told.items() for mutant in mutants.split()}


def keep(verdicts: dict[Mutant, Verdict], found: Container[str]) -> None:
    """Writes ``killers.json`` anew: with what became of these mutants, and without those that are no mutants any more."""
    known = killers() | {mutant.id: verdict.killer for mutant, verdict in verdicts.items()}
    tests: dict[str, list[str]] = {}
    for mutant, test in sorted(known.items()):
        if test and mutant in found:
            tests.setdefault(test, []).append(mutant)
    lines = {test: " ".join(mutants) for test, mutants in sorted(tests.items())}
    KILLERS.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def equivalents() -> dict[str, str]:
    """The mutants that no test can kill, by id, and why."""
    return {one["id"]: one["reason"] for one in tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]}


def equivalent_table() -> str:
    """The table of ``docs/internals/proof.md``: why mutants cannot be killed, and of how many and of what that is said."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    reasons = Counter(one["reason"] for one in entries)
    rows = ["| why no test can kill it | mutants | of |", "|---|---|---|"]
    for reason, count in reasons.most_common():
        objects = sorted({f"`{one['object']}`" for one in entries if one["reason"] == reason})
        rows.append(f"| {reason} | {count} | {', '.join(objects)} |")
    return "\n".join(rows) + "\n"


def described(mutant: Mutant) -> str:
    """One line for people."""
    return f"{mutant.object}: {mutant.operator}: {' '.join(mutant.change.split())}"[:300]


def say(mutant: Mutant, verdict: Verdict, at: int, of: int) -> None:
    """One line of progress."""
    by = f" by {verdict.killer}" if verdict.killer else ""
    print(
        f"{at}/{of} {verdict.how}{by} in {verdict.tests} tests, {verdict.seconds:.1f} s: {mutant.id} {described(mutant)}",
        flush=True,
    )


def report(verdicts: dict[Mutant, Verdict], equivalent: int, stale: list[str]) -> int:
    """Prints the summary and returns how much is wrong."""
    table = Counter((mutant.operator, verdict.how) for mutant, verdict in verdicts.items())
    print(f"\n{'operator':28} {'mutants':>8} {'killed':>8} {'survived':>8}")
    for operator in [*sorted({operator for operator, _ in table}), None]:
        rows = {
            how: sum(n for (one, how_), n in table.items() if how_ == how and operator in (one, None))
            for _, how in table
        }
        survived = rows.get("survived", 0)
        print(f"{operator or 'all':28} {sum(rows.values()):8} {sum(rows.values()) - survived:8} {survived:8}")
    first = sum(verdict.tests <= 5 for verdict in verdicts.values())
    spent = sum(verdict.seconds for verdict in verdicts.values())
    if verdicts:
        print(f"{first} within five tests; {spent / len(verdicts):.2f} s per mutant; {equivalent} equivalent")
    survivors = [mutant for mutant, verdict in verdicts.items() if verdict.how == "survived"]
    for mutant in survivors:
        print(f"SURVIVED {mutant.id} {described(mutant)}")
    for one in stale:
        print(f"STALE {one} of {EQUIVALENT.name} is no mutant any more")
    return len(survivors) + len(stale)


def changed() -> frozenset[str]:
    """The functions and views whose files differ from where the branch left main, or on main from the parent commit. Edits that
    are not committed count."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return "" if done.returncode else done.stdout

    head = git("rev-parse", "HEAD")
    bases = (git("merge-base", "HEAD", main) for main in ("main", "origin/main"))
    base = next((one for one in bases if one not in ("", head)), None) or git("rev-parse", "--verify", "HEAD~1")
    if not base:
        return frozenset()
    folders = ("sql/functions", "sql/views")
    names = git("diff", "--name-only", base.strip(), "--", *folders)
    names += git("ls-files", "--others", "--exclude-standard", "--", *folders)
    return frozenset(Path(name).stem for name in names.splitlines())


def in_parallel(given: argparse.Namespace, arguments: list[str]) -> int:
    """Divides the mutants among processes, each with a server of its own, and reports on all of them."""
    command = [sys.executable, "-m", "tools.mutants.run", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        results = [Path(folder) / f"{number}.json" for number in range(given.workers)]
        workers = [
            subprocess.Popen([*command, "--result", str(result), "--share", f"{number}/{given.workers}"])
            for number, result in enumerate(results)
        ]
        try:
            codes = [worker.wait() for worker in workers]
        except KeyboardInterrupt:  # what they have is kept
            for worker in workers:
                worker.terminate()
            codes = [worker.wait() for worker in workers]
        learnt = [json.loads(result.read_text(encoding="utf-8")) for result in results if result.exists()]
    if len(learnt) < given.workers:
        print("a worker has ended without a result", file=sys.stderr)
        return 1
    merged = {
        "mutants": [mutant for part in learnt for mutant in part["mutants"]],
        "seconds": {test: seconds for part in learnt for test, seconds in part["seconds"].items()},
        "callers": {function: tests for part in learnt for function, tests in part["callers"].items()},
    }
    if given.result:
        given.result.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    verdicts = {
        Mutant(**{one.name: mutant[one.name] for one in fields(Mutant)}): Verdict(
            **{one.name: mutant[one.name] for one in fields(Verdict)}
        )
        for mutant in merged["mutants"]
    }
    if given.keep:
        keep(verdicts, {mutant for part in learnt for mutant in part["found"]})
    print("\nall workers:", end="")
    return report(verdicts, len(equivalents()), []) or max(codes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="one mutant of this many")
    parser.add_argument("--only", default="", help="mutants whose object, operator or id has this text")
    parser.add_argument("--changed", action="store_true", help="some of the files that the branch has changed")
    parser.add_argument(
        "--tests", type=int, help="ask the so many likeliest tests alone: a first look at who may survive"
    )
    parser.add_argument(
        "--known", type=Path, help="the JSON of an earlier run: only tests that it has not met are run first"
    )
    parser.add_argument("--survivors", action="store_true", help="only mutants that no earlier run has killed")
    parser.add_argument("--keep", action="store_true", help="write into killers.json which test killed each")
    parser.add_argument("--result", type=Path, help="where to write what became of each, as JSON")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that share the mutants")
    parser.add_argument(
        "--equivalent", action="store_true", help="print the table of docs/internals/proof.md, and run nothing"
    )
    parser.add_argument("--share", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.equivalent:
        print(equivalent_table(), end="")
        return 0
    os.environ.pop("DATABASE_URL", None)  # a server of its own: it is not a mutant's place elsewhere
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is ended early reports what it has
    if not given.share:
        return in_parallel(given, sys.argv[1:])
    share, shares = map(int, given.share.split("/"))
    objects = changed() if given.changed else None
    if given.changed and not objects:  # the sample
        objects, given.every = None, SAMPLE
    plugin = Run(
        given.every, (share, shares), given.tests, given.survivors, given.only, given.result, given.known, objects
    )
    return pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no", *TESTS], plugins=[plugin])


if __name__ == "__main__":
    sys.exit(main())
