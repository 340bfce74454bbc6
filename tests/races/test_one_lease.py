"""One lease, many thieves (I17, I18): one wins each time, and tokens only grow.

The naive version, which looks first and writes then, gives the lease to both.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from support import PAIR, Connection, Database, acquire, define_pair, refused, rows, value, waiting
from support.sizes import size

THIEVES, ROUNDS = size(40, 40), size(50, 1000)
TAKE = "select dot.fn_dot_iu_runtime_lease_acquire('dot_exec:' || %s, %s, 600)"


def take(connection: Connection, holder: str) -> int | None:
    token: int | None = value(connection, TAKE, PAIR, holder)
    return token


def test_of_many_thieves_of_an_expired_lease_one_wins_and_the_token_grows_by_one(db: Database) -> None:
    define_pair(db)
    barrier = threading.Barrier(THIEVES, timeout=60)
    owner = db.connect("owner")
    first = acquire(owner)

    def expire() -> None:
        owner.execute("update dot.dot_iu_runtime_lease set expires_at = now() - interval '1 s'")

    expiring = threading.Barrier(THIEVES, action=expire, timeout=60)

    def steal(thief: Connection) -> list[int | None]:
        tokens = []
        for _ in range(ROUNDS):
            expiring.wait()
            tokens.append(take(thief, f"thief-{thief.info.backend_pid}"))
            barrier.wait()
        return tokens

    with ThreadPoolExecutor(THIEVES) as pool:
        of_thieves = list(pool.map(steal, [db.connect("writer") for _ in range(THIEVES)]))
    for number in range(ROUNDS):
        assert [tokens[number] for tokens in of_thieves if tokens[number] is not None] == [first + 1 + number]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_rival_of_an_acquisition_in_flight_never_gets_it_too(db: Database, level: str, end: str) -> None:
    """begin A; A acquires; B acquires: refused a lock or told no; A ends; B acquires again."""
    define_pair(db)
    first, second = db.connect("writer"), db.connect("writer")
    first.execute(f"begin isolation level {level}")
    assert take(first, "a") == 1
    with refused("55P03"):
        take(second, "b")  # the row does not exist for B yet: whose it will be is not decided
    first.execute(end)
    assert take(second, "b") == (None if end == "commit" else 1)


@pytest.mark.parametrize(("who", "holder"), [("writer", "b"), ("operator", "a")])
def test_of_two_holders_by_name_or_login_the_one_that_waited_is_told_no(db: Database, who: str, holder: str) -> None:
    """The lease is over. begin A; A acquires; B acquires and waits for A; A commits: B is told that A has it."""
    define_pair(db)
    owner, first, second = db.connect("owner"), db.connect("writer"), db.connect(who)
    acquire(owner)
    owner.execute("update dot.dot_iu_runtime_lease set expires_at = now() - interval '1 s'")
    first.execute("begin")
    assert take(first, "a") == 2
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(take, second, holder), pool, db)
        first.execute("commit")
        assert late.result() is None


def test_the_naive_version_gives_the_lease_to_both(db: Database) -> None:
    define_pair(db)
    """A looks: free; B looks: free; A takes it; B takes it."""
    first, second = db.connect("owner"), db.connect("owner")
    acquire(first)
    first.execute("update dot.dot_iu_runtime_lease set expires_at = now() - interval '1 s'")
    free = "select expires_at <= now() from dot.dot_iu_runtime_lease"
    taken = "update dot.dot_iu_runtime_lease set holder = '{0}', expires_at = now() + interval '1 h' returning holder"
    first.execute("begin")
    second.execute("begin")
    assert value(first, free) is True
    assert value(second, free) is True
    assert rows(first, taken.format("a")) == [{"holder": "a"}]
    with ThreadPoolExecutor(1) as pool:
        late = waiting(second, partial(rows, second, taken.format("b")), pool, db)
        first.execute("commit")
        assert late.result() == [{"holder": "b"}]
    second.execute("commit")
