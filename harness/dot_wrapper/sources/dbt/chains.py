"""Which candidate a pair of a test and its producer is recorded under, where the test had another producer before.

Candidates are insert-only. The first pair of a test has the test's code; a pair that differs from it is a successor in the same chain,
under a code of its own, ordered by the time of the manifests (``source_time``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from dot_wrapper.sources.dbt.manifest import AttachedTest
from dot_wrapper.sources.dbt.names import code_of


@dataclass(frozen=True, slots=True)
class Member:
    """A candidate that is defined, in the order of definition one of a chain."""

    code: str
    producer_code: str
    supersedes: str | None
    source_time: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """The candidate of a pair, and where it is not the first of its chain the one before it.

    ``is_defined`` says whether it was found.
    """

    code: str
    supersedes: str | None
    source_time: datetime | None
    is_defined: bool


def stored_chains(connection: psycopg.Connection[Any], tests: Iterable[AttachedTest]) -> Mapping[str, Sequence[Member]]:
    """The chain of each test that has one, by the test's code (role dot_cataloguer)."""
    rows = connection.execute(
        """
        select verifier_dot_code, process_candidate_code, producer_dot_code, supersedes, source_time
        from dot.v_process_candidate
        where verifier_dot_code = any (%s)
        order by defined_at
        """,
        ([test.verifier_code for test in tests],),
    ).fetchall()
    chains: dict[str, list[Member]] = {}
    for verifier, *row in rows:
        member = Member(*row)
        chain = chains.get(verifier, [])
        # Other candidates may have the same verifier.
        if member.code == verifier or member.supersedes in {one.code for one in chain}:
            chains[verifier] = [*chain, member]
    return chains


def place_in(chain: Sequence[Member], test: AttachedTest, time: datetime | None) -> Place:
    """Where a pair belongs in the chain of its test, read from a manifest of a time; None for a manifest that does not say its own."""
    if not chain:
        return Place(test.code, None, time, is_defined=False)
    found = _in_force(chain, test.producer_code, time)
    if found is not None:
        return Place(found.code, found.supersedes, found.source_time, is_defined=True)
    code, codes, number = code_of(f"{test.code}@{test.producer_code}"), {one.code for one in chain}, 1
    while code in codes:  # it had this producer before, and another one in between
        number += 1
        code = code_of(f"{test.code}@{test.producer_code}@{number}")
    times = [one.source_time for one in chain if one.source_time is not None]
    # Of the candidates of a chain all have a time or none has.
    return Place(code, chain[-1].code, (time or max(times)) if times else None, is_defined=False)


def _in_force(chain: Sequence[Member], producer_code: str, time: datetime | None) -> Member | None:
    """The candidate with this producer that was in force at a time, if one was."""
    timed = [(one.source_time, one) for one in chain if one.source_time is not None]
    if time is None or not timed:
        return next((one for one in reversed(chain) if one.producer_code == producer_code), None)
    timed.sort(key=lambda entry: entry[0])
    before = [one for at, one in timed if at <= time]
    after = [one for at, one in timed if at > time]
    # The time of a candidate is that of the first manifest that was imported: an older one may have had the same pair.
    candidates = [*(one for at, one in timed if at == time), *before[-1:], *after[:1]]
    return next((one for one in candidates if one.producer_code == producer_code), None)
