"""Makes runs of pairs out of results that were reported node by node."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from dot_wrapper.sources.dbt.documents import DbtInputError
from dot_wrapper.sources.dbt.manifest import AttachedTest
from dot_wrapper.sources.dbt.names import CODE_BYTES, code_of
from dot_wrapper.sources.dbt.results import Result, outcome_of

_KEY_PREFIX: Final = "dbt:"
SHOWN: Final = 100
"""Nodes of each outcome that are kept to be shown."""
_canonical_json: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


@dataclass(frozen=True, slots=True)
class PairRun:
    """One invocation of a pair; at least one of `producer` and `verifier` finished, the other may be None."""

    pair: AttachedTest
    invocation_id: str
    producer: Result | None
    verifier: Result | None

    @property
    def correlation_id(self) -> str:
        """The invocation id where it is a legal code, else one made of it. The key derived from it is bound by the same limit."""
        return code_of(self.invocation_id, CODE_BYTES - len(_KEY_PREFIX))

    @property
    def idempotency_key(self) -> str:
        """The key of this run among those of its pair; the same invocation read again gives the same key."""
        return f"{_KEY_PREFIX}{self.correlation_id}"

    @property
    def result_digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of both results: unique_id, status, failures, but no times."""
        results = {
            role: result and [result.unique_id, result.status, result.failures]
            for role, result in (("producer", self.producer), ("verifier", self.verifier))
        }
        return hashlib.sha256(_canonical_json(results).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class PairRuns:
    """The runs in a file of results, in the order in which their invocations ended.

    Each iteration reads the results again and holds only the invocations that have not ended, so memory does not grow with the file.
    `len` gives the number of runs without reading.

    `last_results` maps each invocation that executed nodes to the position of its last result. Results appended since the first
    reading are ignored. Iterating raises DbtInputError when the file cannot be read any more or has changed. `outcomes` counts the
    nodes of the last iteration by `outcome_of`, also those that are in no pair; `unwell` has the first of those that did not pass.
    """

    pairs: tuple[AttachedTest, ...]
    results_path: Path | None
    read: Callable[[], Iterable[tuple[str, Result]]] = field(compare=False, repr=False)
    last_results: Mapping[str, int]
    number: int
    outcomes: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    unwell: dict[str, list[Result]] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[PairRun]:
        self.outcomes.clear()
        self.unwell.clear()
        unfinished: dict[str, dict[str, Result]] = {}
        ended, end = 0, max(self.last_results.values(), default=-1) + 1
        try:
            for number, (invocation_id, result) in enumerate(islice(self.read(), end)):
                last = self.last_results.get(invocation_id)
                if last is None:
                    continue
                unfinished.setdefault(invocation_id, {})[result.unique_id] = result
                if last == number:
                    ended += 1
                    finished = unfinished.pop(invocation_id)
                    self._count(finished.values())
                    yield from self._runs(invocation_id, finished)
        except OSError as error:
            raise DbtInputError(
                f"{self.results_path}: cannot be read any more, what was recorded stays: {error.strerror}"
            ) from error
        if unfinished or ended != len(self.last_results):
            raise DbtInputError(
                f"{self.results_path}: has changed since it was read; what was recorded stays, import it again"
            )

    def _count(self, finished: Iterable[Result]) -> None:
        for one in finished:
            outcome = outcome_of(one.status)
            self.outcomes[outcome] += 1
            if outcome != "passed":
                of_the_kind = self.unwell.setdefault(outcome, [])
                if len(of_the_kind) < SHOWN:
                    of_the_kind.append(one)

    def _runs(self, invocation_id: str, finished: Mapping[str, Result]) -> Iterator[PairRun]:
        for pair in self.pairs:
            if pair.producer in finished or pair.verifier in finished:
                yield PairRun(pair, invocation_id, finished.get(pair.producer), finished.get(pair.verifier))


@dataclass(slots=True)
class _Invocation:
    finished: bytearray
    last_result: int = 0
    results: int = 0
    unpaired: int = 0
    runs: int = 0


class Counted:
    """Counts results and runs without holding the results: one bit per invocation and node that may finish in it."""

    def __init__(self, pairs: Iterable[AttachedTest], kinds: Iterable[str]) -> None:
        self.invocations: dict[str, _Invocation] = {}
        self._read = 0
        self._numbers = {unique_id: number for number, unique_id in enumerate(kinds)}
        self._partners: dict[str, list[int]] = {}
        for pair in pairs:
            for one, other in ((pair.producer, pair.verifier), (pair.verifier, pair.producer)):
                self._partners.setdefault(one, []).append(self._numbers[other])

    def add(self, invocation_id: str, unique_id: str) -> None:
        counted = self.invocations.get(invocation_id)
        if counted is None:
            counted = self.invocations[invocation_id] = _Invocation(bytearray(len(self._numbers) // 8 + 1))
        counted.last_result = self._read
        self._read += 1
        number = self._numbers[unique_id]
        if _has(counted.finished, number):
            return
        counted.finished[number >> 3] |= 1 << (number & 7)
        counted.results += 1
        partners = self._partners.get(unique_id, ())
        counted.unpaired += not partners
        # The first node of a pair that finishes makes a run of the pair.
        counted.runs += sum(not _has(counted.finished, partner) for partner in partners)


def _has(bits: bytearray, number: int) -> bool:
    return bool(bits[number >> 3] >> (number & 7) & 1)
