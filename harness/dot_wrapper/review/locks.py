"""What the statements of a traced migration keep others from, and for how long: rows of a table, and what is held to the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dot_wrapper.review.rehearsal import Step, Trace

# The strongest first. Reading and writing do not wait for the last four.
MODES: Final = {
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "RowShareLock": "ROW SHARE",
    "AccessShareLock": "ACCESS SHARE",
}
_RANK: Final = {mode: rank for rank, mode in enumerate(MODES)}
STOPS_READERS: Final = ("AccessExclusiveLock",)
STOPS_WRITERS: Final = (*STOPS_READERS, "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")

ENOUGH: Final = 100
"""Rows that a table must have, here or in the real database, for a scan of it to be worth a line."""

# The server looks for a deadlock after this time, in milliseconds: a migration that gives up sooner lets no client be its victim.
DEADLOCK_TIMEOUT: Final = 1000


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that stops readers or writers, rewrites, scans or fails.

    Attributes:
        number: its place among the statements of its revision.
        locks: by relation the strongest mode, and whether an earlier statement of the transaction took it.
        rewritten, scanned: tables.
    """

    number: str
    step: Step
    locks: dict[str, tuple[str, bool]]
    rewritten: list[str]
    scanned: list[str]

    @property
    def stops(self) -> str:
        """Whom it keeps waiting."""
        modes = {mode for mode, _ in self.locks.values()}
        if modes & set(STOPS_READERS):
            return "readers, writers"
        return "writers" if modes & set(STOPS_WRITERS) else "none"

    @property
    def grows(self) -> bool:
        """Whether it takes the longer the more rows there are."""
        return bool(self.rewritten or self.scanned)

    @property
    def is_red(self) -> bool:
        """Whether it keeps readers or writers waiting for as long as a table is large, or fails."""
        return self.step.error is not None or (self.grows and self.stops != "none")

    @property
    def replaces_views(self) -> bool:
        """Whether all it does is to lock views, for a moment."""
        kinds = {kind for name, kind, _ in self.step.locks if name in self.locks}
        return kinds == {"v"} and not self.grows and self.step.error is None


def statements(trace: Trace, rows: Mapping[str, int], stats: Mapping[str, int]) -> list[Statement]:
    """The statements that matter. One also pays under what earlier ones of its transaction hold: a constraint takes no new lock on a
    table that is locked already, and reads all of it."""
    found = []
    held: dict[str, str] = {}
    transaction = None
    for number, step in _numbered(trace.steps):
        if step.transaction != transaction:
            transaction, held = step.transaction, {}
        new = strongest(step)
        scanned = [
            table
            for table, tuples in step.scanned
            if table not in step.rewritten
            and tuples >= max(rows.get(table, 0), 1)
            and max(rows.get(table, 0), stats.get(table, 0)) >= ENOUGH
        ]
        pays = {
            table: (held[table], True)
            for table in (*new, *step.rewritten, *scanned)
            if table in held and (table not in new or _RANK[held[table]] < _RANK[new[table]])
        }
        for relation, mode in new.items():
            if relation not in held or _RANK[mode] < _RANK[held[relation]]:
                held[relation] = mode
        one = Statement(
            number, step, {**{name: (mode, False) for name, mode in new.items()}, **pays}, step.rewritten, scanned
        )
        if one.stops != "none" or one.grows or step.error is not None:
            found.append(one)
    return found


def strongest(step: Step) -> dict[str, str]:
    """By relation the strongest lock that a statement took, of those that make readers or writers wait. Alembic's own tables are left out."""
    found: dict[str, str] = {}
    for name, kind, mode in step.locks:
        known = found.get(name)
        if kind in "rpvm" and mode in STOPS_WRITERS and not name.startswith("alembic_version"):
            found[name] = mode if known is None or _RANK[mode] < _RANK[known] else known
    return found


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that a transaction keeps to its end.

    Attributes:
        number: the statement that took it.
        share: of the transaction's time, for which it was held in the rehearsal.
        passes: by table how often it was rewritten or read as a whole meanwhile: what grows with the table.
    """

    relation: str
    mode: str
    number: str
    share: float
    passes: Mapping[str, int]


def held_to_the_end(trace: Trace, matter: Sequence[Statement]) -> list[Held]:
    """The locks that are kept to the end of their transactions.

    Args:
        matter: the statements of the trace that rewrite or scan.
    """
    found: dict[tuple[str, str], Held] = {}
    numbered = list(_numbered(trace.steps))
    for place, (number, step) in enumerate(numbered):
        whole = sum(one.ms for _, one in numbered if one.transaction == step.transaction) or 1.0
        rest = {later: one.ms for later, one in numbered[place:] if one.transaction == step.transaction}
        passes = Counter(table for one in matter if one.number in rest for table in (*one.rewritten, *one.scanned))
        for relation, mode in strongest(step).items():
            known = found.get((relation, step.transaction))
            if known is None or _RANK[mode] < _RANK[known.mode]:
                share = sum(rest.values()) / whole
                found[relation, step.transaction] = Held(relation, mode, number, share, passes)
    return list(found.values())


def inner_first(trace: Trace, reads: Mapping[str, set[str]]) -> Iterator[tuple[Step, str, str]]:
    """Views that are taken after what they read, in one transaction: a reader, who takes the view first, and the migration then wait for
    each other. With the statement, the view and what it reads."""
    taken: dict[str, str] = {}
    for step in trace.steps:
        new = [name for name, mode in strongest(step).items() if mode in STOPS_READERS]
        for view in new:
            below = sorted(one for one in reads.get(view, ()) if taken.get(one) == step.transaction and one not in new)
            if below and taken.get(view) != step.transaction:
                yield step, view, below[0]
        taken.update(dict.fromkeys(new, step.transaction))


def milliseconds(setting: str) -> int:
    """A lock_timeout as PostgreSQL shows it; 0 is none."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h|)", setting).groups()  # type: ignore[union-attr]  # no other form is shown
    return int(number) * {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}[unit]


def _numbered(steps: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    counted: dict[str | None, int] = {}
    for step in steps:
        counted[step.revision] = counted.get(step.revision, 0) + 1
        yield f"{step.revision or 'env.py'}.{counted[step.revision]}", step
