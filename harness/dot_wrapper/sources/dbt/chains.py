"""Which candidate a test and its producer are recorded under, where the test had another producer before.

Candidates are insert-only. A test whose producer changes gets a successor in the same chain, ordered by the time of the manifests
(``source_time``). The code of each is made of its pair alone, so that no import decides what another one's candidate is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from dot_wrapper.sources.dbt.manifest import AttachedTest
from dot_wrapper.sources.dbt.names import candidate_code, code_of

_LOCK: Final = (0x646F74, 0x646274)
"""The advisory lock of an import that reads chains and adds to them."""


@dataclass(frozen=True, slots=True)
class Member:
    """A candidate that is defined, in the order of definition one of a chain."""

    code: str
    producer_code: str
    supersedes: str | None
    source_time: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """The candidate of a pair, and whether it is defined.

    Attributes:
        supersedes: the candidate before it in its chain; None for the oldest.
        superseded_by: the newest of its chain; None where it is the newest itself.
        source_time: the time of its manifest.
    """

    code: str
    is_defined: bool
    supersedes: str | None = None
    superseded_by: str | None = None
    source_time: datetime | None = None

    @property
    def joins(self) -> str | None:
        """A candidate of its chain, which its definition names; None where it begins one."""
        return self.supersedes or self.superseded_by


def stored_chains(connection: psycopg.Connection[Any], tests: Iterable[AttachedTest]) -> Mapping[str, Sequence[Member]]:
    """The chain of each test that has one, by the test's code (role dot_cataloguer). Until the transaction ends, another import waits
    here: of two that saw no chain each would begin one."""
    connection.execute("select pg_catalog.pg_advisory_xact_lock(%s, %s)", _LOCK)
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
        chain = chains.get(verifier)
        # Other candidates may have the same verifier.
        if _begins(member, verifier) if chain is None else member.supersedes in {one.code for one in chain}:
            chains.setdefault(verifier, []).append(member)
    return chains


def _begins(member: Member, verifier: str) -> bool:
    """Whether a candidate begins the chain of its test: it has the code of its pair, or that of the test, which release 0.1.0 gave it."""
    return member.code in (candidate_code(verifier, member.producer_code), verifier)


def place_in(chain: Sequence[Member], test: AttachedTest, time: datetime | None) -> Place:
    """Where a pair belongs in the chain of its test, read from a manifest of a time; None for a manifest that does not say its own."""
    found = _in_force(chain, test.producer_code, time)
    if found is not None:
        return Place(found.code, is_defined=True)
    code, codes, number = test.code, {one.code for one in chain}, 1
    while code in codes:  # it had this producer before, and another one in between
        number += 1
        code = code_of(f"{test.code}@{number}")
    if not chain:
        return Place(code, is_defined=False, source_time=time)
    timed = _by_time(chain)
    if not timed:
        return Place(code, is_defined=False, supersedes=chain[-1].code)
    latest, newest = timed[-1]
    time = time or latest
    before = [one for at, one in timed if at <= time]
    return Place(
        code,
        is_defined=False,
        supersedes=before[-1].code if before else None,
        superseded_by=newest.code if len(before) < len(timed) else None,
        source_time=time,
    )


def _in_force(chain: Sequence[Member], producer_code: str, time: datetime | None) -> Member | None:
    """The candidate with this producer that was in force at a time, if one was."""
    timed = _by_time(chain)
    if time is None or not timed:
        return next((one for one in reversed(chain) if one.producer_code == producer_code), None)
    before = [one for at, one in timed if at <= time]
    after = [one for at, one in timed if at > time]
    # The time of a candidate is that of the first manifest that was imported: an older one may have had the same pair.
    candidates = [*(one for at, one in timed if at == time), *before[-1:], *after[:1]]
    return next((one for one in candidates if one.producer_code == producer_code), None)


def _by_time(chain: Sequence[Member]) -> list[tuple[datetime, Member]]:
    """The candidates of a chain in the order of their times. Either all have one or none has, and then it is empty."""
    return sorted(((one.source_time, one) for one in chain if one.source_time is not None), key=lambda entry: entry[0])
