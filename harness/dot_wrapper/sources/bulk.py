"""Stores many items in few transactions. Pipelines calls; a refused item does not affect the others."""

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

CHUNK: Final = 250
"""Items in one transaction: enough to fill the pipeline, few enough to repeat one by one."""

T = TypeVar("T")


def pipelined(connection: psycopg.Connection[Any], made: Iterable[Call[T]]) -> list[T]:
    """Makes calls in the open transaction, in pipeline mode; returns their answers in order."""
    with connection.pipeline():
        sent = [(call, connection.execute(call.query, call.parameters, prepare=True)) for call in made]
        return [call.answer(cursor.fetchall()) for call, cursor in sent]


def chunk_by_chunk(
    items: Iterable[T], store: Callable[[Sequence[T]], None], refused: Callable[[T, Refusal], None]
) -> Iterator[int]:
    """Stores items in chunks, one after the other; yields the size of each chunk.

    Args:
        store: stores some items, all or none. When it raises a Refusal for a chunk, it is called again for each item of the
            chunk alone, so that the others are stored.
        refused: called with each item that was refused alone, and the refusal.
    """
    for chunk in _chunks(items, CHUNK):
        for item, refusal in _refused(chunk, store):
            refused(item, refusal)
        yield len(chunk)


def in_parallel(
    items: Iterable[T],
    stores: Sequence[Callable[[Sequence[T]], None]],
    refused: Callable[[T, Refusal], None],
    *,
    size: int,
    cancel: Callable[[], None],
) -> Iterator[int]:
    """``chunk_by_chunk`` with several stores, each in a thread of its own: while the server works on one chunk, the client
    prepares another. At most ``len(stores)`` chunks are stored at a time, and one more is prepared.

    Args:
        size: items in a chunk.
        cancel: cancels the running statements of all stores; called after an error or an interrupt.
    """
    free: SimpleQueue[Callable[[Sequence[T]], None]] = SimpleQueue()
    for store in stores:
        free.put(store)

    failed = Event()

    def work(chunk: Sequence[T]) -> list[tuple[T, Refusal]]:
        store = free.get()
        try:
            # After a failure no further chunk is begun: its result is not read.
            return [] if failed.is_set() else _refused(chunk, store)
        except BaseException:
            failed.set()
            raise
        finally:
            free.put(store)

    def ended() -> int:
        chunk, result = running.popleft()
        for item, refusal in result.result():
            refused(item, refusal)
        return len(chunk)

    running: deque[tuple[Sequence[T], Future[list[tuple[T, Refusal]]]]] = deque()
    with ThreadPoolExecutor(len(stores)) as pool:
        try:
            for chunk in _chunks(items, size):
                running.append((chunk, pool.submit(work, chunk)))
                if len(running) > len(stores):
                    yield ended()
            while running:
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
    """Stores a chunk; returns the items that were refused when stored alone."""
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
