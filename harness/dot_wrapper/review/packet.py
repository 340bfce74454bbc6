"""Everything that a review looks at: both sides installed, compared, rehearsed and checked, and what follows from that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dot_wrapper.client.errors import InputError
from dot_wrapper.operations.drift import Rows
from dot_wrapper.operations.embedded import DEFAULT_VERSION
from dot_wrapper.operations.scratch import scratch_server
from dot_wrapper.review import catalog, checks, findings
from dot_wrapper.review.catalog import Change
from dot_wrapper.review.checks import Checked, Linted, Suite
from dot_wrapper.review.findings import OBJECTS, Finding, Verdict, verdict
from dot_wrapper.review.of_rehearsal import LOCKS, of_rehearsal
from dot_wrapper.review.quoting import code
from dot_wrapper.review.rehearsal import Rehearsal, Rehearsing, amended, installed
from dot_wrapper.review.sides import BASE, FIRST_WHOLE, Direction, Section, Side, laid_over, resolve, rewritten

Progress = Callable[[str], None]

CHECKERS: Final = "4-checkers"
SUITE: Final = "5-suite"

DECLARED: Final = "migrations/declared.txt"
"""Where a change says why it does what is red: ``rule subject: reason``, a line each. The lines that it adds count."""

_DIRECTIONS: Final[tuple[Direction, ...]] = ("upgrade", "downgrade")


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for.

    Attributes:
        stats: the rows of the tables of the real database.
        suite: the result of the property suite on B; None if it was not run.
        made_up: files of a revision to rehearse where B has none that A lacks.
    """

    names: tuple[str, str]
    section: Section = "alembic"
    repository: Path = field(default_factory=Path.cwd)
    stats: Mapping[str, int] = field(default_factory=dict)
    suite: Suite | None = None
    made_up: Path | None = None


@dataclass(slots=True)
class Packet:
    """What was found. ``scripts`` are those that a DBA would run from A to B; ``checked`` is None where plpgsql_check is not installed."""

    request: Request
    first: Side
    second: Side
    before: Rows = field(default_factory=dict)
    after: Rows = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    texts: tuple[dict[str, list[str]], dict[str, list[str]]] = field(default_factory=lambda: ({}, {}))
    rewritten: list[str] = field(default_factory=list)
    rehearsal: Rehearsal | None = None
    scripts: dict[Direction, str] = field(default_factory=dict)
    linted: dict[Direction, Linted] = field(default_factory=dict)
    checked: Checked | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What it comes to."""
        return verdict(self.findings)

    @property
    def reasons(self) -> tuple[list[Finding], list[Finding]]:
        """What the top of the page says, and what only the chapters say one by one."""
        return findings.gathered([one for one in self.findings if one.level != "note"])

    @property
    def nothing_differs(self) -> bool:
        """Whether both sides install the same, by the same revisions."""
        return not self.rewritten and self.first.revision == self.second.revision and self.before == self.after


def make(request: Request, progress: Progress = lambda _: None) -> Packet:
    """Makes the packet on scratch servers.

    Raises:
        InputError: a side is none, or B is before A.
        DotWrapperError: a tool is not installed, or a side cannot be installed afresh.
        EmbeddedServerError: the scratch servers do not start.
    """
    checks.need_tools()
    with ExitStack() as until:
        folder = Path(until.enter_context(tempfile.TemporaryDirectory(prefix="dotw")))
        folder.chmod(0o755)
        first, second = resolve(request.names, request.section, folder, request.repository)
        if _place(second) < _place(first):
            raise InputError(
                f"{second.name} is at revision {second.revision}, before {first.revision} of {first.name}: name the older side first, its"
                " packet has the downgrade too; of a branch that main has overtaken name where it left main (git merge-base)"
            )
        if first.is_unfinished and (first.revision != second.revision or request.made_up is not None):
            raise InputError(
                f"{first.name} is at revision {first.revision}, which is no whole installation: as its older side a review takes {BASE}, or a"
                f" revision from {FIRST_WHOLE} on"
            )
        packet = Packet(request, first, second)
        progress("scratch servers")
        servers = [until.enter_context(scratch_server(DEFAULT_VERSION)) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            _compare(packet, servers, pool, progress)
            checked = pool.submit(checks.plpgsql_check, first, second)
            _rehearse(packet, servers, folder, progress)
            progress("scripts, squawk and plpgsql_check")
            _scripts(packet, folder)
            packet.checked = checked.result()
        packet.findings = findings.declare(_order(_findings(packet)), _declarations(packet))
    return packet


def _compare(packet: Packet, servers: list[str], pool: ThreadPoolExecutor, progress: Progress) -> None:
    progress("both sides are installed and compared")
    urls = list(pool.map(installed, servers, (packet.first, packet.second), ("fresh", "fresh")))
    packet.before, packet.after = (catalog.without_versions(catalog.read(url)) for url in urls)
    packet.changes = catalog.changes(packet.before, packet.after)
    packet.texts = (packet.first.texts(), packet.second.texts())
    packet.rewritten = rewritten(packet.first, packet.second)


def _rehearse(packet: Packet, servers: list[str], folder: Path, progress: Progress) -> None:
    """A's rows go through B's migrations. Where the revisions that both have differ, B's own start stands for A: no upgrade leads from
    the one to the other."""
    first, second, made_up = packet.first, packet.second, packet.request.made_up
    if packet.nothing_differs and made_up is None:
        return
    server, start, end, filled_from, target = servers[0], first, second, "fresh", packet.after
    if packet.rewritten or first.revision == second.revision:
        server = servers[1]
        start = replace(second, revision=first.revision)
        filled_from = "start"
    if first.revision != second.revision:
        if server == servers[1]:
            installed(server, start, "start")
    elif made_up is not None:
        end, filled_from = laid_over(second, made_up, folder / "made_up"), "fresh"
        target = catalog.read(installed(server, end, "target"))
    if end.revision != start.revision:
        progress(f"the upgrade from {start.revision} to {end.revision} is rehearsed, and its downgrade")
        packet.rehearsal = Rehearsing(server, start, end, filled_from).run(dict(target))
        packet.rehearsal.made_up = made_up.name if end is not second and made_up else None
    if second.section == "alembic" and second.revision == second.revisions()[-1] and not packet.nothing_differs:
        progress("the amendment is upgraded on B")
        packet.rehearsal = packet.rehearsal or Rehearsal(start.revision, second.revision)
        packet.rehearsal.amendment = amended(second, servers[1], "fresh")


def _scripts(packet: Packet, folder: Path) -> None:
    first, second = packet.first, packet.second
    if packet.nothing_differs:
        return
    config = first.tree / "squawk.toml"
    for direction in _DIRECTIONS:
        if first.revision != second.revision:
            packet.scripts[direction] = second.script(direction, *_span(direction, first.revision, second.revision))
        # Squawk lets a statement do to a table of the same script what it must not do to one that has rows. So the script begins at A.
        found = checks.squawk(packet.scripts.get(direction, ""), config, folder)
        if packet.rewritten or first.revision == second.revision:
            # What was rewritten is in no script from A to B, but in the one from base.
            scripts = [
                "" if side.revision == BASE else side.script(direction, *_span(direction, BASE, side.revision))
                for side in (first, second)
            ]
            whole = [checks.squawk(script, config, folder) for script in scripts]
            found = checks.together(found, checks.only_new(*whole))
        packet.linted[direction] = found


def _span(direction: Direction, older: str, newer: str) -> tuple[str, str]:
    return (older, newer) if direction == "upgrade" else (newer, older)


def _findings(packet: Packet) -> Iterator[Finding]:
    before, after, first = packet.before, packet.after, packet.first
    yield from findings.of_rights(before, after, first=first.is_empty)
    named = {one.name for one in packet.changes}
    changed = named | {name for name, text in packet.texts[1].items() if packet.texts[0].get(name) != text}
    yield from findings.of_files(packet.texts[1], after, changed)
    yield from findings.of_objects(before, after, packet.changes, first=first.is_empty)
    if packet.rewritten or (first.revision == packet.second.revision and before != after):
        yield of_history(packet)
    if packet.rehearsal is not None:
        yield from of_rehearsal(packet.rehearsal, packet.request.stats)
    for direction, linted in packet.linted.items():
        if linted.found:
            yield Finding("yellow", "squawk", direction, f"squawk: {len(linted.found)} in the {direction}", CHECKERS)
    if packet.checked and packet.checked.found:
        text = f"plpgsql_check: {len(packet.checked.found)} new"
        yield Finding("yellow", "plpgsql-check", "functions", text, CHECKERS)
    yield from _suite(packet)


def of_history(packet: Packet) -> Finding:
    """That both sides have a revision with different text: yellow before it is released, red after."""
    named = packet.rewritten or [packet.first.revision]
    released = sorted(packet.first.released() & set(named))
    lead = (
        f"**rewritten after the release**: {', '.join(map(code, released))}"
        if released
        else (f"rewritten before the release: {', '.join(map(code, named))}")
    )
    text = f"{lead}. A database that has the revision gets nothing of this by an upgrade; compared are two fresh installations"
    return Finding("red" if released else "yellow", "rewritten", " ".join(released or named), text, OBJECTS)


def _suite(packet: Packet) -> Iterator[Finding]:
    result = packet.request.suite
    if result is not None and result.failed:
        text = f"**the property suite fails**: {len(result.failed)} of {result.tests}"
        yield Finding("red", "suite", "property suite", text, SUITE)
    elif result is None and not packet.nothing_differs:
        yield Finding("yellow", "suite-not-run", "property suite", "the property suite was not run on B", SUITE)


def _order(found: Iterator[Finding]) -> list[Finding]:
    """Red first, in the order of the page; a finding is said once."""
    order = ("red", "yellow", "note")
    chapters = (findings.RIGHTS, OBJECTS, LOCKS, CHECKERS, SUITE)
    once = list(dict.fromkeys(found))
    return sorted(once, key=lambda one: (order.index(one.level), chapters.index(one.chapter)))


def _declarations(packet: Packet) -> dict[tuple[str, str], str]:
    texts = []
    for side in (packet.first, packet.second):
        file = side.tree / DECLARED
        texts.append(file.read_text(encoding="utf-8") if file.exists() else "")
    if packet.first.tree == packet.second.tree:
        texts[0] = ""
    return findings.declarations(texts[0], texts[1])


def _place(side: Side) -> str:
    """Revisions in order: their ids have the order of their text, and base comes before them."""
    return "" if side.revision == BASE else side.revision
