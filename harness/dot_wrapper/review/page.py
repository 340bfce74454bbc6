"""The packet as one page of Markdown. Everything that it quotes goes through ``quoting``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dot_wrapper.operations.embedded import DEFAULT_VERSION
from dot_wrapper.review.catalog import Change
from dot_wrapper.review.checks import Linted
from dot_wrapper.review.findings import SIGNS, Finding
from dot_wrapper.review.packet import DECLARED, Packet
from dot_wrapper.review.page_locks import locks, sizes
from dot_wrapper.review.page_objects import objects, rights
from dot_wrapper.review.quoting import Long, Part, block, code, fold, plain, table
from dot_wrapper.review.sides import Direction

MARKER: Final = "<!-- dot-wrapper review -->"
"""The first line: by it a comment is found again."""

# A comment of GitHub's has at most 65,536 characters, a job's summary 1 MiB.
BRIEF: Final = 65_000
WHOLE: Final = 1_000_000

_WORDS: Final = {
    "do not deploy": "🔴 do not deploy",
    "a person decides": "🟡 a person decides",
    "nothing to decide": "✅ nothing to decide",
}


_WITH_AMENDMENT: Final = (
    "Where the optional amendment is on, so that the words prepared, skipped and blocked may be stored, the upgrade and the downgrade are"
    " refused (SQLSTATE 55000, `amendment_is_on`). It can be taken back only while no row is stored under one of these words (else SQLSTATE"
    " 23001, `amendment_keeps_rows`), and put on again afterwards. Where it cannot be taken back, the database stays at its revision."
)


def page(packet: Packet, names: Mapping[Direction, str], *, brief: bool = False) -> str:
    """The page.

    Args:
        names: the files beside the page that have the scripts.
        brief: it fits into a comment: no script is in it, and the longest diffs are left out.
    """
    parts = [
        *_verdict(packet),
        *rights(packet),
        *objects(packet),
        *locks(packet),
        *_checkers(packet),
        *_suite(packet),
        *_scripts(packet, names, brief=brief),
        *_undeclared(packet),
    ]
    return _fitted(parts, BRIEF if brief else WHOLE)


def _fitted(parts: Sequence[Part], limit: int) -> str:
    """The parts, the longest ones shortened until the page is not too long."""
    shown = [part if isinstance(part, str) else part.whole for part in parts]
    longest = sorted((n for n, part in enumerate(parts) if isinstance(part, Long)), key=lambda n: len(shown[n]))
    while sum(len(part) + 2 for part in shown) > limit and longest:
        place = longest.pop()
        part = parts[place]
        shown[place] = part.short if isinstance(part, Long) else part
    text = "\n\n".join(part.strip("\n") for part in shown if part) + "\n"
    return text if len(text) <= limit else text[: limit - 200] + "\n\n**The page is cut here: it is too long.**\n"


def _verdict(packet: Packet) -> Iterator[Part]:
    first, second = packet.first, packet.second
    yield MARKER
    yield f"# Review: {plain(first.name)} → {plain(second.name)}"
    facts = [f"**{_WORDS[packet.verdict]}**", f"revision {first.revision} → {second.revision}"]
    if first.commit and second.commit:
        facts.append(f"commits {first.commit} → {second.commit}")
    if second.section == "amendment":
        facts.append("the optional amendment")
    facts.append(f"scratch servers of PostgreSQL {DEFAULT_VERSION}")
    if packet.rehearsal and sum(packet.rehearsal.rows.values()):
        rows = packet.rehearsal.rows
        stored = (rows.get("process_run_observation", 0), rows.get("process_component_observation", 0))
        facts.append(f"rehearsed with {stored[0]:,} runs and {stored[1]:,} components stored")
    yield " · ".join(facts)
    yield f"A is {code(first.name)}, what is there; B is {code(second.name)}, what is proposed."
    top, _ = packet.reasons
    yield "\n".join(map(_reason, top)) or "Both sides install the same."
    if top:
        yield f"The word before the link is the rule of a reason: `--json` and `{DECLARED}` name the reason by it and by its object."
    if kinds := _counts(packet.changes):
        yield kinds
    yield "\n".join(f"- {said}" for said in _proved(packet))


def _undeclared(packet: Packet) -> Iterator[Part]:
    if undeclared := [
        f"{one.rule} {one.subject}: " for one in packet.findings if one.level == "red" and not one.declared
    ]:
        said = (
            f"A change may say why it does what is red: lines for <code>{DECLARED}</code>, each with its reason. A line with a reason stays red"
            " on the page; where all have one, the verdict is: a person decides"
        )
        yield fold(said, block("\n".join(undeclared)))


def _reason(one: Finding) -> str:
    declared = f" · declared: {code(one.declared)}" if one.declared else ""
    return f"- {SIGNS[one.level]} {one.text}{declared} · `{one.rule}` · [{one.chapter[2:]}](#{one.chapter})"


def _counts(changes: Sequence[Change]) -> str:
    rows = []
    for kind in dict.fromkeys(one.kind for one in changes):
        of_kind = [one for one in changes if one.kind == kind]
        new, gone = (sum(getattr(one, side) is None for one in of_kind) for side in ("before", "after"))
        rows.append([kind, str(new), str(len(of_kind) - new - gone), str(gone)])
    return table(["objects", "new", "changed", "gone"], rows) if rows else ""


def _proved(packet: Packet) -> Iterator[str]:
    seen = packet.rehearsal
    rules = {one.rule for one in packet.findings}
    if seen is not None and seen.upgrade is not None and seen.upgrade.error is None:
        upgraded = "A upgraded is B installed"
        if seen.made_up is not None:
            upgraded = f"B upgraded by the revision of {code(seen.made_up)}, made up because B has none of its own, is both installed"
        elif packet.rewritten:
            upgraded = f"B's own {seen.start} upgraded is B installed"
        proved = [] if "upgraded-differs" in rules else [f"{upgraded}, row for row of `sql/drift.sql`"]
        if seen.downgraded is not None and "downgraded-differs" not in rules:
            proved.append("the downgrade gives back what was there")
        if seen.rows and not seen.lost:
            after = "the upgrade" if seen.downgraded is None else "the upgrade and after the downgrade"
            proved.append(f"after {after} no table has fewer rows (counted, contents not compared)")
        if seen.beside and not {"client-failed", "gave-up"} & rules:
            proved.append("none of the [calls made beside it](#3-locks) failed")
        yield f"Seen on scratch servers: {'; '.join(proved) or 'nothing that holds'}."
    if "amendment_is_on" in packet.scripts.get("upgrade", "") and not packet.first.is_empty:
        yield _WITH_AMENDMENT
    if seen is not None and seen.amendment == "":
        yield "On B, installed afresh and without any run, the optional amendment was put on, and taken back."
    not_run = (
        ["plpgsql_check (no server here has it: Debian's postgresql-15-plpgsql-check)"]
        if packet.checked is None
        else []
    )
    not_run += [] if packet.request.suite else ["the property suite"]
    if not_run:
        yield f"Not run: {', '.join(not_run)}."
    if seen is not None and (rows := sizes(seen, packet.request.stats)):
        yield f"Rows of the tables that are rewritten or read as a whole: {rows}."
    if seen is not None and seen.rows:
        yield (
            "Not seen: the roles, settings and objects outside of the schema that the real database has. Run `dot-wrapper drift` on it first."
        )
    if seen is not None and seen.rows and not packet.request.stats:
        yield "Not given: the rows of the tables of the real database (`--stats`)."


def _checkers(packet: Packet) -> Iterator[Part]:
    yield "## 4. Checkers"
    for direction, linted in packet.linted.items():
        silenced = ", ".join(f"{code(rule)} {count} times" for rule, count in sorted(linted.silenced.items()))
        rules = f"by A's `squawk.toml`, pg_version {code(linted.version)}"
        counted = f"{len(linted.found) or 'nothing'} found"
        yield f"**squawk, {direction}**, {rules}: {counted}{f'; silenced in the text: {silenced}' if silenced else ''}."
        if linted.found:
            yield _some(_alike(linted))
    if packet.checked is None:
        yield "**plpgsql_check**: not run."
    else:
        found = packet.checked.found
        yield f"**plpgsql_check**, on PostgreSQL {packet.checked.version}: {len(found) or 'nothing'} new."
        if found:
            yield _some([f"- {code(name)}: {plain(level)}: {code(message)}" for name, level, message in found])


def _alike(linted: Linted) -> list[str]:
    """A line for each rule, with how often it is meant and where first."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in linted.found:
        alike.setdefault((one.rule, one.message), []).append(one.line)
    return [
        f"- {code(rule)}{f', {len(at)} times' if len(at) > 1 else ''}: {code(at[0], 90)} {plain(message, 160)}"
        for (rule, message), at in alike.items()
    ]


def _suite(packet: Packet) -> Iterator[Part]:
    yield "## 5. Suite"
    result = packet.request.suite
    if result is None:
        yield "Not run. In a checkout of B: `pytest tests/properties --junitxml=FILE`, then `--suite FILE`."
        return
    yield f"{result.tests} property tests on B: {len(result.failed)} failed, {result.skipped} skipped."
    if result.failed:
        yield _some([f"- 🔴 {code(name, 160)}: {code(said, 160)}" for name, said in result.failed.items()], 4)


def _scripts(packet: Packet, names: Mapping[Direction, str], *, brief: bool) -> Iterator[Part]:
    yield "## 6. Scripts"
    if not packet.scripts:
        yield "No script leads from one side to the other."
    for direction, text in packet.scripts.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        lines = len(text.splitlines())
        where = f"{code(names[direction])}, " if direction in names else ""
        line = f"- {direction}: {where}{lines} lines, sha256 `{digest}`"
        if brief or packet.first.is_empty:
            yield line
        else:
            yield line
            yield Long(fold(f"the {direction}, {lines} lines", block(text, "sql")), "")


def _some(lines: Sequence[str], most: int = 20) -> str:
    more = [f"- and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([*lines[:most], *more])
