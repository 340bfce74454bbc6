"""An adoption comes and goes while writers record: no call of theirs fails, and none of them waits for long."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg

from dot_wrapper.client import database
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from support import Database, define_pair, observe_run, value, wait_until
from support.hosts import beside, mapping_of

ROUNDS = 6
WRITERS = 2


def test_writers_notice_nothing_of_an_adoption_and_the_way_back(near: Database) -> None:
    define_pair(near)
    ended = threading.Event()
    made = [0] * WRITERS

    def write(number: int) -> None:
        with near.connect("writer") as writer:
            while not ended.is_set():
                observe_run(writer)
                made[number] += 1

    def apply(script: str) -> None:
        """As the page says: what could not have a lock is run again."""
        with psycopg.connect(near.url, autocommit=True) as admin:
            while True:
                try:
                    admin.execute(script.encode())
                except psycopg.errors.LockNotAvailable:
                    admin.execute("rollback")
                else:
                    return

    def each_has_written() -> None:
        before = list(made)
        wait_until(
            lambda: all(now > then for now, then in zip(made, before, strict=True)), unless=lambda: broken(writers)
        )

    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        try:
            for _ in range(ROUNDS):
                with database.connect(near.url) as connection:
                    mapping = beside(mapping_of("near"))
                    apply(adopt_sql(connection, mapping, tables_of(connection, mapping)))
                    each_has_written()
                    apply(unadopt_sql(connection))
                    each_has_written()
        finally:
            ended.set()
        for writer in writers:
            writer.result()
    stored = value(near.connect("owner"), "select count(*) from dot.process_run_observation")
    assert stored == sum(made)


def broken(writers: list[Future[None]]) -> list[Future[None]]:
    """The writers that have ended, each by an error."""
    return [one for one in writers if one.done()]
