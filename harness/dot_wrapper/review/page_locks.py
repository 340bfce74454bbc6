"""The chapter of the page about locks: what the rehearsal saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dot_wrapper.review.findings import SIGNS
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
from dot_wrapper.review.of_rehearsal import LOCKS
from dot_wrapper.review.packet import Packet
from dot_wrapper.review.quoting import Part, code, plain, table
from dot_wrapper.review.rehearsal import Beside, Rehearsal, Step, Trace
from dot_wrapper.review.sides import Direction


def locks(packet: Packet) -> Iterator[Part]:
    yield "## 3. Locks"
    seen = packet.rehearsal
    if seen is None or seen.upgrade is None:
        yield "No upgrade leads from one side to the other: nothing was rehearsed."
        return
    mine = [one for one in packet.findings if one.chapter == LOCKS and one.rule not in ("rewrite", "scan", "locks")]
    if mine:
        yield "\n".join(f"- {SIGNS[one.level]} {one.text} `{one.rule}`" for one in mine)
    for name, trace in (("Upgrade", seen.upgrade), ("Downgrade", seen.downgrade)):
        if trace is not None:
            yield from _traced(name, trace, seen, packet.request.stats)
    if seen.behind is not None:
        yield _behind(seen.behind)
    if empty := [table for table, rows in seen.rows.items() if not rows and table in _touched(seen)]:
        yield f"Empty in the rehearsal, so a scan of them is not seen: {', '.join(map(code, sorted(empty)))}."


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
            f"{MODES[mode]} on {code(relation)} from {plain(number)} ({share:.0%} of its transaction)"
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
                numbers = ", ".join(plain(view.number) for view in views[:4]) + (", …" if len(views) > 4 else "")
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
            f"{sign} {plain(one.number)}",
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
        f"Waited: {_waits(seen)}. {_again(seen)}Milliseconds are of this machine and decide nothing."
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
        f" when it ends. Behind the upgrade queued: {' and '.join(queued) or 'nobody'}; longest call {longest:.0f} ms. {_again(seen)}"
    ).rstrip()


def _again(seen: Beside) -> str:
    """How often the migration gave up what it had locked, so that others could go on."""
    return f"It gave up and began again {seen.repeated} times. " if seen.repeated else ""


def _waits(seen: Beside) -> str:
    found = list(dict.fromkeys(f"{who} for {code(relation)}" for who, relation, _ in sorted(seen.waits)))
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "") or "nobody was seen to"
