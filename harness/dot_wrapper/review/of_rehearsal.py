"""What the rehearsal found, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Key, Rows
from dot_wrapper.review import catalog
from dot_wrapper.review.findings import Finding
from dot_wrapper.review.locks import DEADLOCK_TIMEOUT, inner_first, milliseconds, statements
from dot_wrapper.review.quoting import code
from dot_wrapper.review.rehearsal import Rehearsal, Trace
from dot_wrapper.review.sides import Direction

LOCKS: Final = "3-locks"


def of_rehearsal(seen: Rehearsal, stats: Mapping[str, int]) -> Iterator[Finding]:
    """What does not go as it should, and what makes others wait."""
    yield from _of_ends(seen)
    for name, trace in (("upgrade", seen.upgrade), ("downgrade", seen.downgrade)):
        if trace is not None and trace.error is None and seen.made_up is None:
            yield from _of_locks(name, trace, seen, stats)
    for direction, beside in seen.beside.items():
        if beside.error is not None:
            yield _red("gave-up", direction, f"beside clients the {direction} failed: {code(beside.error)}")
        for kind, calls in beside.calls.items():
            for error in calls.errors[:3]:
                yield _red(
                    "client-failed", f"{direction} {kind}", f"a {kind} failed during the {direction}: {code(error)}"
                )
    if seen.behind is not None and seen.behind.error is not None:
        yield _red(
            "gave-up", "old transaction", f"behind an old transaction the upgrade failed: {code(seen.behind.error)}"
        )
    if seen.amendment:
        yield _red("amendment", seen.end, f"**the optional amendment cannot be had on B**: {code(seen.amendment)}")


def _of_ends(seen: Rehearsal) -> Iterator[Finding]:
    if seen.upgrade is None:
        return
    if seen.upgrade.error is not None:
        yield _red("upgrade-failed", seen.end, f"the upgrade failed in the rehearsal: {code(seen.upgrade.error)}")
        return
    differ = {direction: _named(catalog.differing(*rows)) for direction, rows in ends(seen).items()}
    if differ.get("upgrade"):
        yield _red("upgraded-differs", seen.end, f"**A upgraded is not B installed**: {differ['upgrade']}")
    for (direction, table), (before, after) in seen.lost.items():
        said = "no table" if after is None else f"{after:,}"
        text = (
            f"the {direction} loses rows of {code(table)}: {before:,} before the upgrade, {said} after the {direction}"
        )
        yield _red("rows-lost", f"{direction} {table}", text)
    if seen.downgrade is not None and seen.downgrade.error is not None:
        # By design a downgrade refuses to drop what is stored.
        refused = "(23001)" in seen.downgrade.error
        text = f"the downgrade from {seen.end} to {seen.start} {'refuses' if refused else '**fails**'}: {code(seen.downgrade.error)}"
        yield Finding("yellow" if refused else "red", "downgrade-failed", seen.end, text, LOCKS)
    elif differ.get("downgrade"):
        text = f"**the downgrade from {seen.end} to {seen.start} does not bring A back**: {differ['downgrade']}"
        yield _red("downgraded-differs", seen.end, text)


def ends(seen: Rehearsal) -> dict[Direction, tuple[Rows, Rows]]:
    """What should be there after a direction, and what is."""
    found: dict[Direction, tuple[Rows, Rows]] = {}
    if seen.upgraded is not None:
        found["upgrade"] = (catalog.without_versions(seen.target), catalog.without_versions(seen.upgraded))
    if seen.downgraded is not None:
        found["downgrade"] = (_of_schema(seen.before), _of_schema(seen.downgraded))
    return found


def _of_schema(rows: Rows) -> Rows:
    """Without what a downgrade leaves by design: roles, and what is around the schema."""
    kept = catalog.without_versions(rows)
    return {key: value for key, value in kept.items() if key[0] not in drift.AROUND and key[0] != "schema"}


def _named(keys: Sequence[Key]) -> str:
    named = [f"{kind} {identity}: {name}" for kind, identity, name in keys]
    return ", ".join(code(one) for one in named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")


def _of_locks(name: str, trace: Trace, seen: Rehearsal, stats: Mapping[str, int]) -> Iterator[Finding]:
    found = statements(trace, seen.rows, stats)
    red = [one for one in found if one.is_red]
    for rule, what in (("rewrite", "rewrites"), ("scan", "reads all of")):
        tables = {table for one in red for table in (one.rewritten if rule == "rewrite" else one.scanned)}
        for table in sorted(tables):
            text = f"the {name} {what} {code(table)} while it keeps others waiting"
            # A downgrade is for an hour in which others wait anyway.
            yield Finding("red" if name == "upgrade" else "yellow", rule, f"{name} {table}", text, LOCKS)
    if not red and any(one.stops != "none" for one in found):
        yield Finding("yellow", "locks", name, f"the {name} makes readers or writers wait, for moments", LOCKS)
    reads = catalog.reads(seen.before)
    after = catalog.reads(seen.target)
    both = {view: reads.get(view, set()) | after.get(view, set()) for view in reads.keys() | after.keys()}
    for step, view, below in inner_first(trace, both):
        patient = not 0 < milliseconds(step.lock_timeout) < DEADLOCK_TIMEOUT
        text = (
            f"the {name} takes {code(view)} after {code(below)}, which it reads: a reader takes the view first, and the two wait for each"
            " other"
        )
        text += (
            f". lock_timeout is {code(step.lock_timeout)}: **the server ends one of them**"
            if patient
            else ". The upgrade gives up first, and is repeated"
        )
        yield Finding("red" if patient else "yellow", "deadlock", f"{name} {view}", text, LOCKS)


def _red(rule: str, subject: str, text: str) -> Finding:
    return Finding("red", rule, subject, text, LOCKS)
