"""Many calls in few transactions: nothing waits for an answer that nobody needs yet, and one refusal costs nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import psycopg

from harness.calls import Call
from harness.errors import Refusal

CHUNK: Final = 250  # items in one transaction: large enough for the pipeline, small enough to do again

T = TypeVar("T")


def pipelined(connection: psycopg.Connection[Any], made: Iterable[Call[T]]) -> list[T]:
    """Makes calls in the transaction that is open, without waiting in between; their answers, in order."""
    with connection.pipeline():
        sent = [(call, connection.execute(call.query, call.parameters, prepare=True)) for call in made]
        return [call.answer(cursor.fetchall()) for call, cursor in sent]


def chunk_by_chunk(
    items: Iterable[T], store: Callable[[Sequence[T]], None], refused: Callable[[T, Refusal], None]
) -> Iterator[int]:
    """Stores items in chunks, and yields how many each chunk had.

    Args:
        store: stores some items, all or none. Where it raises a Refusal for a chunk, it is called again for each item of the
            chunk alone: the others are kept.
        refused: is told of an item that was refused alone.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        try:
            store(chunk)
        except Refusal:
            for item in chunk:
                try:
                    store([item])
                except Refusal as refusal:
                    refused(item, refusal)
        yield len(chunk)
