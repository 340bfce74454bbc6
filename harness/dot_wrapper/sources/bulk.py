"""How everything that was read is stored: in chunks, each in one transaction and few statements. A refused item costs no other one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import psycopg

from dot_wrapper.client import calls
from dot_wrapper.client.calls import Call
from dot_wrapper.client.errors import Refusal
from dot_wrapper.client.ledger import Ledger

CHUNK: Final = 1000
"""Items in one transaction. An item has at most three observations, and the batch function takes 10,000."""

T = TypeVar("T")
Row = Mapping[str, object]
"""An observation, by the arguments of its function (``calls.batch_of_rows``)."""


@dataclass(slots=True)
class Stored(Generic[T]):
    """What became of some items.

    Attributes:
        items: how many there were.
        figures: how many of what were created, by the name of the figure in a summary.
        refused: the items that were refused, and why.
    """

    items: int
    figures: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[T, Refusal]] = field(default_factory=list)


Work = Callable[[psycopg.Connection[Any], Sequence[T]], Stored[T]]
"""Stores some items in an open transaction."""
Store = Callable[[Sequence[T]], Stored[T]]
"""Stores some items in one transaction. It raises a Refusal, and has stored nothing, where they are all or none or cannot be sent."""


def committing(ledger: Ledger, role: str, work: Work[T]) -> Store[T]:
    """Stores items by some work in a transaction of its own, which may be made twice."""
    return lambda items: ledger.transaction(role, lambda connection: work(connection, items), repeatable=True)


def stored(items: Iterable[T], store: Store[T], summary: object) -> Iterator[Stored[T]]:
    """Stores items in chunks, one after the other; yields what became of some, once they are stored.

    Where the store refuses a chunk it is given each half of it, and so on, so that an item is refused alone.

    Args:
        summary: what has the figures as attributes. They are added to it.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        for part in _in_halves(chunk, store):
            for figure, count in part.figures.items():
                setattr(summary, figure, getattr(summary, figure) + count)
            yield part


def _in_halves(items: Sequence[T], store: Store[T]) -> Iterator[Stored[T]]:
    try:
        yield store(items)
    except Refusal as refusal:
        if len(items) == 1:
            yield Stored(1, refused=[(items[0], refusal)])
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            yield from _in_halves(half, store)


def answers(connection: psycopg.Connection[Any], made: Sequence[Call[T]]) -> list[T]:
    """Makes calls of one function, sent together; returns their answers in order."""
    if not made:
        return []
    with connection.cursor() as cursor:
        cursor.executemany(made[0].query, [call.parameters for call in made], returning=True)
        return [call.answer(result.fetchall()) for call, result in zip(made, cursor.results(), strict=True)]


def observe(
    connection: psycopg.Connection[Any], rows: Sequence[Row], *, atomic: bool
) -> tuple[Counter[str], dict[int, Refusal | None]]:
    """Records observations by one call of the batch function; returns how many of each kind it created, and by the index of the others
    why they were refused, None for those that were stored before.

    Raises:
        psycopg.Error: with ``atomic`` the first refusal; without it any error but that.
    """
    call = calls.batch_of_rows(rows, atomic=atomic)
    others = call.answer(connection.execute(call.query, call.parameters).fetchall())
    created = (row for index, row in enumerate(rows) if index not in others)
    return Counter("components_created" if "component_role" in row else "runs_created" for row in created), others
