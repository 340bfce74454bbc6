"""The packet as one page of Markdown. Everything that it quotes goes through ``quoting``."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Rows
from dot_wrapper.review import catalog, findings
from dot_wrapper.review.catalog import GRANTED, Change
from dot_wrapper.review.checks import Linted
from dot_wrapper.review.findings import Finding
from dot_wrapper.review.locks import (
    DEADLOCK_TIMEOUT,
    MODES,
    STOPS_READERS,
    Statement,
    held_to_the_end,
    milliseconds,
    statements,
    strongest,
)
from dot_wrapper.review.packet import DECLARED, Packet
from dot_wrapper.review.quoting import block, code, fold, markup, plain
from dot_wrapper.review.rehearsal import Beside, Rehearsal, Step, Trace
from dot_wrapper.review.sides import Direction

MARKER: Final = "<!-- dot-wrapper review -->"
"""The first line: by it a comment is found again."""

# A comment of GitHub's has at most 65,536 characters, a job's summary 1 MiB.
BRIEF: Final = 65_000
WHOLE: Final = 1_000_000

_SIGNS: Final = {"red": "🔴", "yellow": "🟡", "note": "⚪"}
_WORDS: Final = {
    "do not deploy": "🔴 do not deploy",
    "a person decides": "🟡 a person decides",
    "nothing to decide": "✅ nothing to decide",
}


@dataclass(frozen=True, slots=True)
class Long:
    """A part of the page that may be left out for its length: what stands there then."""

    whole: str
    short: str


Part = str | Long


def page(packet: Packet, names: Mapping[Direction, str], *, brief: bool = False) -> str:
    """The page.

    Args:
        names: the files beside the page that have the scripts.
        brief: it fits into a comment: no script is in it, and the longest diffs are left out.
    """
    parts = [
        *_verdict(packet),
        *_rights(packet),
        *_objects(packet),
        *_locks(packet),
        *_checkers(packet),
        *_suite(packet),
        *_scripts(packet, names, brief=brief),
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
    if packet.rehearsal and sum(packet.rehearsal.rows.values()):
        rows = packet.rehearsal.rows
        stored = (rows.get("process_run_observation", 0), rows.get("process_component_observation", 0))
        facts.append(f"rehearsed with {stored[0]:,} runs and {stored[1]:,} components stored")
    yield " · ".join(facts)
    yield f"A is {code(first.name)}, what is there; B is {code(second.name)}, what is proposed."
    reasons = [one for one in packet.findings if one.level != "note"]
    yield "\n".join(map(_reason, _gathered(reasons))) or "Both sides install the same."
    if kinds := _counts(packet.changes):
        yield kinds
    yield "\n".join(_proved(packet))
    if undeclared := [
        f"{one.rule} {one.subject}: " for one in packet.findings if one.level == "red" and not one.declared
    ]:
        said = f"A change may say why it does what is red: lines for <code>{DECLARED}</code>, each with its reason"
        yield fold(said, block("\n".join(undeclared)))


def _gathered(reasons: Sequence[Finding]) -> list[Finding]:
    """The reasons, those of one kind that are many as one."""
    found: list[Finding] = []
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in reasons:
        groups.setdefault((one.level, one.rule), []).append(one)
    for group in groups.values():
        if len(group) <= _MANY or (group[0].level == "red" and len(group) <= 2 * _MANY):
            found += group
        else:
            one = group[0]
            found += [
                Finding(
                    one.level,
                    one.rule,
                    "",
                    f"{len(group)} of the kind {code(one.rule)}, such as: {one.text}",
                    one.chapter,
                )
            ]
    return sorted(found, key=lambda one: one.level)


_MANY: Final = 4


def _reason(one: Finding) -> str:
    declared = f" · declared: {code(one.declared)}" if one.declared else ""
    return f"- {_SIGNS[one.level]} {one.text} · [{one.chapter[2:]}](#{one.chapter}){declared}"


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
        what = (
            f" The revision {code(seen.made_up)} was made up, because B has none of its own to rehearse."
            if seen.made_up
            else ""
        )
        proved = [] if "upgraded-differs" in rules else ["A upgraded is B installed, row for row of `sql/drift.sql`"]
        if seen.downgraded is not None and "downgraded-differs" not in rules:
            proved.append("the downgrade gives A")
        proved += [] if seen.lost else ["no row was lost on the way"]
        if seen.beside and not {"client-failed", "gave-up"} & rules:
            proved.append("no client failed beside it")
        yield f"Seen on scratch servers: {'; '.join(proved) or 'nothing that holds'}.{what}"
    if seen is not None and seen.amendment == "":
        yield "The optional amendment can be had on B, and taken back."
    not_run = (
        ["plpgsql_check (no server here has it: Debian's postgresql-15-plpgsql-check)"]
        if packet.checked is None
        else []
    )
    not_run += [] if packet.request.suite else ["the property suite"]
    if not_run:
        yield f"Not run: {', '.join(not_run)}."


# ----------------------------------------------------------------------------------------------------------- 1. rights


def _rights(packet: Packet) -> Iterator[Part]:
    yield "## 1. Rights"
    mine = [one for one in packet.findings if one.chapter == findings.RIGHTS and one.rule != "first-installation"]
    said = "\n".join(f"- {_SIGNS[one.level]} {one.text} `{one.rule}`" for one in mine if one.level != "note")
    if packet.first.is_empty:
        yield "All of it is new. Who may use what then:"
        yield _matrix(packet.after)
        yield said
        return
    yield said or "No privilege, owner, definer, search_path, row security, trigger state, role or membership changes."
    if notes := [f"- {one.text}" for one in mine if one.level == "note"]:
        yield fold(f"{len(notes)} rights of new objects", "\n".join(notes))


def _matrix(rows: Rows) -> str:
    """Who may call and read what, once all is installed."""
    granted: dict[str, set[str]] = {}
    for kind, identity, name in rows:
        if kind in ("function", "view") and name.startswith(GRANTED):
            granted.setdefault(catalog.name_of(identity), set()).add(name.removeprefix(GRANTED))
    roles = [role for role in ("PUBLIC", *drift.ROLES) if any(role in by for by in granted.values())]
    roles += sorted(set().union(*granted.values()) - set(roles))
    everything = {catalog.name_of(key[1]) for key in rows if key[0] in ("function", "view")}
    matrix = table(
        ["function or view", *(plain(role) for role in roles)],
        [[code(name), *("x" if role in by else "" for role in roles)] for name, by in sorted(granted.items())],
    )
    return f"{matrix}\n\n{len(everything - granted.keys())} more may be used by their owner alone."


# ---------------------------------------------------------------------------------------------------------- 2. objects


def _objects(packet: Packet) -> Iterator[Part]:
    yield "## 2. Objects"
    mine = [
        one for one in packet.findings if one.chapter == findings.OBJECTS and one.level != "note" and one.rule != "text"
    ]
    if mine:
        yield "\n".join(f"- {_SIGNS[one.level]} {one.text} `{one.rule}`" for one in mine)
    if not packet.changes:
        yield "No object differs."
        return
    if packet.first.is_empty:
        for kind in dict.fromkeys(one.kind for one in packet.changes):
            names = [code(one.name) for one in packet.changes if one.kind == kind]
            yield f"- {plain(kind)}, {len(names)}: {', '.join(names)}"
        return
    used = catalog.users(packet.after)
    shown = [_object(one, packet, used.get(one.name, [])) for one in packet.changes]
    yield from shown
    if any("*" in (part if isinstance(part, str) else part.whole) for part in shown):
        yield "\\* names it in a body of PL/pgSQL; PostgreSQL records no such dependency."


def _object(one: Change, packet: Packet, users: Sequence[str]) -> Part:
    word = "new " if one.before is None else "gone " if one.after is None else ""
    name = f"{word}{one.kind} <code>{markup(one.identity)}</code>"
    if one.before == one.after:
        return f"- {name}: its rights alone, see [1](#{findings.RIGHTS})"
    was, now = _text(one, packet)
    diff = list(difflib.unified_diff(was, now, lineterm="", n=2))[2:]
    added, taken = (sum(line[0] == sign for line in diff) for sign in "+-")
    title = f"{name} +{added} -{taken}"
    if one.before is not None and one.after is not None and _uncommented(was) == _uncommented(now):
        title += " · comments only"
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        title += f" · used by {', '.join(markup(user) for user in users[:5])}{more}"
    if added + taken == 1:
        return f"- {title}: {code(next(line for line in diff if line[0] in '+-'))}"
    short = f"- {title} · the diff is left out for its length"
    return Long(fold(title, block("\n".join(diff), "diff")), short)


def _text(one: Change, packet: Packet) -> tuple[list[str], list[str]]:
    """The lines of an object on both sides: of its file, which has the comments, and else of the catalog."""
    texts = [side.get(one.name) if one.kind in ("function", "view") else None for side in packet.texts]
    was = [] if one.before is None else texts[0] or list(one.before)
    now = [] if one.after is None else texts[1] or list(one.after)
    same_file = was == now or (
        (texts[0] is None) != (texts[1] is None) and one.before is not None and one.after is not None
    )
    return (list(one.before or ()), list(one.after or ())) if same_file else (was, now)


def _uncommented(lines: Sequence[str]) -> list[str]:
    return [
        line.partition("--")[0].rstrip() for line in lines if not line.lstrip().startswith(("--", "comment on", "'"))
    ]


# ------------------------------------------------------------------------------------------------------------ 3. locks


def _locks(packet: Packet) -> Iterator[Part]:
    yield "## 3. Locks"
    seen = packet.rehearsal
    if seen is None or seen.upgrade is None:
        yield "No upgrade leads from one side to the other: nothing was rehearsed."
        return
    mine = [
        one for one in packet.findings if one.chapter == LOCKS_CHAPTER and one.rule not in ("rewrite", "scan", "locks")
    ]
    if mine:
        yield "\n".join(f"- {_SIGNS[one.level]} {one.text} `{one.rule}`" for one in mine)
    for name, trace in (("Upgrade", seen.upgrade), ("Downgrade", seen.downgrade)):
        if trace is not None:
            yield from _traced(name, trace, seen, packet.request.stats)
    if seen.behind is not None:
        yield _behind(seen.behind)
    if empty := [table for table, rows in seen.rows.items() if not rows and table in _touched(seen)]:
        yield f"Empty in the rehearsal, so a scan of them is not seen: {', '.join(map(code, sorted(empty)))}."


LOCKS_CHAPTER: Final = "3-locks"


def _touched(seen: Rehearsal) -> set[str]:
    steps = [step for trace in (seen.upgrade, seen.downgrade) if trace for step in trace.steps]
    return {name for step in steps for name, kind, _ in step.locks if kind in "rp"}


def _traced(name: str, trace: Trace, seen: Rehearsal, stats: Mapping[str, int]) -> Iterator[Part]:
    mine = [step for step in trace.steps if step.revision is not None]
    transactions = len({step.transaction for step in mine})
    locking = [step for step in mine if strongest(step)]
    timeouts = ", ".join(sorted({step.lock_timeout for step in locking}))
    yield f"### {name}: {len(mine)} statements in {transactions} transaction{'s' * (transactions != 1)}, lock_timeout {timeouts or 'not asked for'}"
    matter = statements(trace, seen.rows, stats)
    if rows := [*_rows(matter, seen, stats)]:
        yield table(["#", "statement", "lock on what was there", "stops", "cost"], rows)
    others = len(mine) - sum(one.step.revision is not None for one in matter)
    yield f"{others} {'other ' if rows else ''}statements lock nothing that was there beyond plain reads and writes."
    if held := held_to_the_end(trace):
        said = [
            f"{MODES[mode]} on {code(relation)} from {number} ({share:.0%} of its transaction)"
            for relation, mode, number, share in held
            if ("view", f"dot.{relation}", "owner") not in seen.before
        ]
        views = [share for relation, _, _, share in held if ("view", f"dot.{relation}", "owner") in seen.before]
        said += [f"ACCESS EXCLUSIVE on {len(views)} views, the first for {max(views):.0%}"] if views else []
        yield f"Held until the commit, so that whoever is stopped waits until then: {'; '.join(said)}."
        if any(mode in STOPS_READERS for _, mode, _, _ in held):
            yield _waiting(locking)
    traced = {(relation, mode) for step in trace.steps for relation, _, mode in step.locks}
    stop = sorted(
        (relation, mode) for relation, mode in trace.outside - traced if mode in MODES and mode not in _HARMLESS
    )
    stop = [one for one in stop if not one[0].startswith("alembic_version") and one[0] in seen.rows]
    if stop:
        yield (
            "Seen from another session alone: "
            + ", ".join(f"{MODES[mode]} on {code(relation)}" for relation, mode in stop)
            + "."
        )
    direction: Direction = "upgrade" if name == "Upgrade" else "downgrade"
    if direction in seen.beside:
        yield _beside(seen.beside[direction])


def _waiting(steps: Sequence[Step]) -> str:
    """What it takes to get ACCESS EXCLUSIVE, which depends on how long the migration waits for it."""
    said = (
        "To get ACCESS EXCLUSIVE the migration waits for every open transaction that has used the relation, and new calls queue behind it"
        " meanwhile"
    )
    patient = [step for step in steps if not 0 < milliseconds(step.lock_timeout) < DEADLOCK_TIMEOUT]
    if patient:
        return f"{said}: **for as long as {code(patient[0].lock_timeout)}** (0 has no end), the lock_timeout of some statements."
    return f"{said}: at most lock_timeout, then it lets them go on and begins again."


_HARMLESS: Final = ("RowExclusiveLock", "RowShareLock", "AccessShareLock")


def _rows(matter: Sequence[Statement], seen: Rehearsal, stats: Mapping[str, int]) -> Iterator[list[str]]:
    """A row for each statement; replaced views, which are locked for a moment, are one row."""
    views = [one for one in matter if one.replaces_views]
    for one in matter:
        if one.replaces_views:
            if one is views[0]:
                numbers = ", ".join(view.number for view in views[:4]) + (", …" if len(views) > 4 else "")
                names = list(dict.fromkeys(name for view in views for name in view.locks))
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                on = f"ACCESS EXCLUSIVE on {', '.join(code(name) for name in names[:8])}{more}"
                yield [
                    f"🟡 {numbers}",
                    code(one.step.sql, 70) + (f" and the like: {len(views)}" if len(views) > 1 else ""),
                    on,
                    "readers, writers",
                    "catalog only",
                ]
            continue
        locks = [
            f"{MODES[mode]} on {code(name)}{' (held)' if held else ''}" for name, (mode, held) in one.locks.items()
        ]
        cost = [f"**rewrites {code(table)}**{_size(table, seen, stats)}" for table in one.rewritten]
        cost += [f"reads all of {code(table)}{_size(table, seen, stats)}" for table in one.scanned]
        cost += [f"**fails**: {code(one.step.error)}"] if one.step.error else []
        sign = "🔴" if one.is_red else "⚪" if one.stops == "nobody" else "🟡"
        yield [
            f"{sign} {one.number}",
            code(one.step.sql, 90),
            "<br>".join(locks),
            one.stops,
            "<br>".join(cost) or "catalog only",
        ]


def _size(table: str, seen: Rehearsal, stats: Mapping[str, int]) -> str:
    here, there = seen.rows.get(table, 0), stats.get(table)
    if there is None:
        return ""
    times = f", {there / here:,.0f} times as many as here" if here else ""
    return f" (yours has {there:,} rows{times})"


def _beside(seen: Beside) -> str:
    said = [
        f"longest {call} {seen.calls[kind].longest(seen.began) * 1000:.0f} ms (usually {seen.calls[kind].usual(seen.began) * 1000:.1f} ms)"
        for call, kind in (("write", "writer"), ("read", "reader"))
    ]
    errors = sum(len(calls.errors) for calls in seen.calls.values())
    return (
        f"Beside 2 writers and a reader: {', '.join(said)}, {f'{errors} kinds of failure' if errors else 'no failed call'}. "
        f"Waited: {_waits(seen)}. Milliseconds are of this machine and decide nothing."
    )


def _behind(seen: Beside) -> str:
    blocked = sorted(
        {relation for (who, relation, _), of in seen.waits.items() if who == "migration" and "old transaction" in of}
    )
    if not blocked:
        return "Behind an old transaction that has read the views: the upgrade did not wait for it."
    queued = sorted({who for (who, _, _), of in seen.waits.items() if who != "migration" and "migration" in of})
    longest = max(calls.longest(seen.began) for calls in seen.calls.values()) * 1000
    return (
        f"Behind an old transaction that has read the views: the upgrade waits for it at {', '.join(map(code, blocked))}, and goes on"
        f" when it ends. Behind the upgrade queued: {' and '.join(queued) or 'nobody'}; longest call {longest:.0f} ms."
    )


def _waits(seen: Beside) -> str:
    found = list(dict.fromkeys(f"{who} for {code(relation)}" for who, relation, _ in sorted(seen.waits)))
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "") or "nobody was seen to"


# -------------------------------------------------------------------------------------------- 4. checkers, 5. suite, 6.


def _checkers(packet: Packet) -> Iterator[Part]:
    yield "## 4. Checkers"
    for direction, linted in packet.linted.items():
        silenced = ", ".join(f"{code(rule)} {count} times" for rule, count in sorted(linted.silenced.items()))
        counted = f"{len(linted.found)} new" if linted.found else "nothing new"
        yield f"**squawk, {direction}**: {counted}{f'; newly silenced in the text: {silenced}' if silenced else ''}."
        if linted.found:
            yield _some(_alike(linted))
    if packet.checked is None:
        yield "**plpgsql_check**: not run."
    else:
        yield f"**plpgsql_check**: {len(packet.checked) or 'nothing'} new."
        if packet.checked:
            yield _some([f"- {code(name)}: {plain(level)}: {code(message)}" for name, level, message in packet.checked])


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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells may quote a bar."""
    cell: Callable[[str], str] = lambda text: text.replace("|", "\\|").replace("\n", " ")  # noqa: E731  used in one place
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
