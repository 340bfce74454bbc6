"""Many calls in few transactions: nothing waits for an answer that nobody needs yet, and one refusal costs nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from threading import Event
from typing import Any, Final, TypeVar

import psycopg

from dot_wrapper.client.calls import Call
from dot_wrapper.client.errors import Refusal

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
    for chunk in _chunks(items, CHUNK):
        for item, refusal in _refused(chunk, store):
            refused(item, refusal)
        yield len(chunk)


def side_by_side(
    items: Iterable[T],
    stores: Sequence[Callable[[Sequence[T]], None]],
    refused: Callable[[T, Refusal], None],
    *,
    size: int,
    cancel: Callable[[], None],
) -> Iterator[int]:
    """The same with each of several ``store`` in a thread of its own: while the server works on one chunk the client prepares
    another. As many chunks as there are of them are on their way, and one more waits.

    Args:
        cancel: ends what the stores wait for, when they are not waited for any more: after an error or an interrupt.
    """
    free: SimpleQueue[Callable[[Sequence[T]], None]] = SimpleQueue()
    for store in stores:
        free.put(store)

    failed = Event()

    def work(chunk: Sequence[T]) -> list[tuple[T, Refusal]]:
        store = free.get()
        try:
            # What comes after a chunk that failed is not begun, and nobody asks what became of it.
            return [] if failed.is_set() else _refused(chunk, store)
        except BaseException:
            failed.set()
            raise
        finally:
            free.put(store)

    def ended() -> int:
        chunk, result = going.popleft()
        for item, refusal in result.result():
            refused(item, refusal)
        return len(chunk)

    going: deque[tuple[Sequence[T], Future[list[tuple[T, Refusal]]]]] = deque()
    with ThreadPoolExecutor(len(stores)) as pool:
        try:
            for chunk in _chunks(items, size):
                going.append((chunk, pool.submit(work, chunk)))
                if len(going) > len(stores):
                    yield ended()
            while going:
                yield ended()
        except BaseException:
            failed.set()
            cancel()
            raise


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _refused(chunk: Sequence[T], store: Callable[[Sequence[T]], None]) -> list[tuple[T, Refusal]]:
    """Stores a chunk; what of it was refused alone."""
    try:
        store(chunk)
    except Refusal:
        refused: list[tuple[T, Refusal]] = []
        for item in chunk:
            try:
                store([item])
            except Refusal as refusal:
                refused.append((item, refusal))
        return refused
    return []
