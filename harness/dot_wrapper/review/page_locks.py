"""The chapter of the page about locks: what the rehearsal saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from dot_wrapper.deploy.transaction import PATIENCE
from dot_wrapper.review import catalog
from dot_wrapper.review.clients import WRITTEN
from dot_wrapper.review.locks import (
    DEADLOCK_TIMEOUT,
    ENOUGH,
    MODES,
    STOPS_READERS,
    Held,
    Statement,
    held_to_the_end,
    milliseconds,
    statements,
    strongest,
)
from dot_wrapper.review.of_rehearsal import LOCKS, ends
from dot_wrapper.review.packet import Packet
from dot_wrapper.review.page_objects import compared, reasons
from dot_wrapper.review.quoting import Part, code, plain, table
from dot_wrapper.review.rehearsal import Beside, Rehearsal, Step, Trace
from dot_wrapper.review.sides import Direction


def locks(packet: Packet) -> Iterator[Part]:
    yield "## 3. Locks"
    seen = packet.rehearsal
    if seen is None or seen.upgrade is None:
        yield "No upgrade leads from one side to the other: nothing was rehearsed."
        return
    yield reasons(packet, LOCKS)
    if seen.beside:
        yield _clients(packet, seen.beside["upgrade"].views)
    for name, trace in (("Upgrade", seen.upgrade), ("Downgrade", seen.downgrade)):
        if trace is not None:
            yield from _traced(name, trace, seen, packet.request.stats)
    if any(mode in STOPS_READERS for step in _steps(seen) for mode in strongest(step).values()):
        yield "### How a migration gets a lock"
        yield _HAD
    if seen.behind is not None:
        yield "### Upgrade, behind a transaction that is left open"
        yield _behind(seen.behind)
    if empty := [table for table, rows in seen.rows.items() if not rows and table in _touched(seen)]:
        yield f"Empty in the rehearsal, so a scan of them is not seen: {', '.join(map(code, sorted(empty)))}."


def sizes(seen: Rehearsal, stats: Mapping[str, int]) -> str:
    """The rows of the tables that are rewritten or read as a whole, here and in the real database."""
    matter = [one for trace in (seen.upgrade, seen.downgrade) if trace for one in statements(trace, seen.rows, stats)]
    said = []
    for name in sorted({name for one in matter for name in (*one.rewritten, *one.scanned)}):
        here, there = seen.rows.get(name, 0), stats.get(name)
        said.append(f"{code(name)} {here:,} here")
        if there is not None:
            said[-1] += f", about {there:,} in the real database"
            said[-1] += f", about {there / here:,.0f} times as many" if here else ""
    return "; ".join(said)


def _steps(seen: Rehearsal) -> list[Step]:
    return [step for trace in (seen.upgrade, seen.downgrade) if trace for step in trace.steps]


def _touched(seen: Rehearsal) -> set[str]:
    return {name for step in _steps(seen) for name, kind, _ in step.locks if kind in "rp"}


_HAD: Final = (
    "To get ACCESS EXCLUSIVE a migration waits for every open transaction that has used the relation, and new calls queue behind it"
    " meanwhile: at most lock_timeout. Then it rolls its transaction back, and they go on. `alembic` and `dot-wrapper upgrade` begin the"
    f" transaction again and again, with pauses, for {PATIENCE:.0f} s, and then end with SQLSTATE 55P03; a script that psql runs with"
    " ON_ERROR_STOP ends the first time, and has to be run again. lock_timeout bounds the wait for the lock alone: once the migration"
    " has it, others wait until the commit."
)

_OF_A_REWRITE: Final = (
    "Not shown by the rehearsal: until the commit a table that is rewritten is on disk twice, and the new one goes through the WAL; readers"
    " on a hot standby wait too; after the commit a transaction whose snapshot is older sees the table empty."
)


def _traced(name: str, trace: Trace, seen: Rehearsal, stats: Mapping[str, int]) -> Iterator[Part]:
    mine = [step for step in trace.steps if step.revision is not None]
    transactions = len({step.transaction for step in mine})
    locking = [step for step in mine if strongest(step)]
    timeouts = ", ".join(sorted({step.lock_timeout for step in locking}))
    yield f"### {name}: {len(mine)} statements in {transactions} transaction{'s' * (transactions != 1)}, lock_timeout {timeouts or 'not asked for'}"
    matter = statements(trace, seen.rows, stats)
    if rows := [*_rows(matter)]:
        yield table(["#", "statement", "lock on what was there", "stops", "cost"], rows)
    others = len(mine) - sum(one.step.revision is not None for one in matter)
    yield (
        f"{others} {'other ' if rows else ''}statements take no lock on what was there that keeps readers or writers waiting, except where"
        " one is held already."
    )
    if any(one.rewritten and one.is_red for one in matter):
        yield _OF_A_REWRITE
    if held := held_to_the_end(trace, matter):
        views = [one for one in held if ("view", f"dot.{one.relation}", "owner") in seen.before]
        said = [
            f"{MODES[one.mode]} on {code(one.relation)} from {plain(one.number)}, {_while(one)}"
            for one in held
            if one not in views
        ]
        if views:
            first = max(views, key=lambda one: one.share)
            said.append(f"ACCESS EXCLUSIVE on {len(views)} views, the first {_while(first)}")
        yield f"Held until the commit, so that a call that is stopped waits until then: {'; '.join(said)}."
    if patient := [step for step in locking if not 0 < milliseconds(step.lock_timeout) < DEADLOCK_TIMEOUT]:
        yield f"**Some statements wait for a lock for as long as {code(patient[0].lock_timeout)}** (0 has no end)."
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
    expected, found = ends(seen).get(direction, ({}, {}))
    if differ := catalog.differing(expected, found):
        should = "B installed" if direction == "upgrade" else "A"
        yield f"What differs from {should} after the {direction}:"
        yield compared(differ, (should, expected), (f"after the {direction}", found))


def _while(one: Held) -> str:
    """For how long a lock is held: what grows with the tables, and the share in the rehearsal."""
    passes = [f"{count} pass{'es' * (count > 1)} over {code(table)}" for table, count in sorted(one.passes.items())]
    said = " and ".join(passes) or f"no pass over a table of {ENOUGH} rows or more"
    return f"during {said} ({one.share:.0%} of the transaction's time here)"


_HARMLESS: Final = ("RowExclusiveLock", "RowShareLock", "AccessShareLock")


def _rows(matter: Sequence[Statement]) -> Iterator[list[str]]:
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
        cost = [f"**rewrites {code(table)}**" for table in one.rewritten]
        cost += [f"reads all of {code(table)}" for table in one.scanned]
        cost += [f"**fails**: {code(one.step.error)}"] if one.step.error else []
        sign = "🔴" if one.is_red else "⚪" if one.stops == "none" else "🟡"
        yield [
            f"{sign} {plain(one.number)}",
            code(one.step.sql, 90),
            "<br>".join(locks),
            one.stops,
            "<br>".join(cost) or "catalog only",
        ]


def _clients(packet: Packet, views: Sequence[str]) -> str:
    """Which calls are made beside the migrations, and which functions and views that change are not among them."""
    missing = [
        code(one.name)
        for one in packet.changes
        if one.kind in ("function", "view") and one.before is not None and one.name not in (WRITTEN, *views)
    ]
    return (
        f"Beside the upgrade and the downgrade two writers called {code(WRITTEN)}, and a reader `select * ... limit 1` of {_listed(map(code, views))}."
        + (f" Changed, and called by none of them: {_listed(missing)}." if missing else "")
        + " Milliseconds are of this machine and decide nothing."
    )


def _beside(seen: Beside) -> str:
    said = [
        f"longest {call} {seen.calls[kind].longest(seen.began) * 1000:.0f} ms (usually {seen.calls[kind].usual(seen.began) * 1000:.1f} ms)"
        for call, kind in (("write", "writer"), ("read", "reader"))
    ]
    errors = sum(len(calls.errors) for calls in seen.calls.values())
    waited = list(dict.fromkeys(f"{who} for {code(relation)}" for who, relation, _ in sorted(seen.waits)))
    return (
        f"Beside those calls: {', '.join(said)}, {f'{errors} kinds of failure' if errors else 'none of them failed'}."
        f" Waited: {_listed(waited) or 'none was seen to'}. {_again(seen)}"
    )


def _behind(seen: Beside) -> str:
    """What the upgrade does behind a transaction that is left open, which ends once the waiting sessions were seen."""
    blocked = sorted(
        {relation for (who, relation, _), of in seen.waits.items() if who == "migration" and "old transaction" in of}
    )
    ended = f"**failed**: {code(seen.error)}" if seen.error else "went through"
    has_read = f"The transaction has read {_listed(map(code, seen.views))}, and stays open."
    if not blocked:
        return f"{has_read} The upgrade did not wait for it, and {ended}."
    queued = sorted({who for (who, _, _), of in seen.waits.items() if who != "migration" and "migration" in of})
    longest = max(calls.longest(seen.began) for calls in seen.calls.values()) * 1000
    return (
        f"{has_read} The upgrade waited for it at {_listed(map(code, blocked))}. Behind the upgrade queued: "
        f"{' and '.join(queued) or 'no call'}; longest call {longest:.0f} ms. {_again(seen)} Once the transaction had ended, the upgrade"
        f" {ended}."
    )


def _again(seen: Beside) -> str:
    """How often the migration gave up what it had locked, so that others could go on."""
    times = "once" if seen.repeated == 1 else f"{seen.repeated} times"
    return (
        f"The migration rolled back and began again {times}." if seen.repeated else "The migration did not begin again."
    )


def _listed(said: Iterable[str]) -> str:
    """The first of many."""
    every = list(said)
    return ", ".join(every[:6]) + (f" and {len(every) - 6} more" if len(every) > 6 else "")
