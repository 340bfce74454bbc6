"""What an import of dbt found and what it recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dot_wrapper.sources.dbt.documents import LeftOut
from dot_wrapper.sources.dbt.reader import DbtInput
from dot_wrapper.sources.dbt.results import outcome_of
from dot_wrapper.sources.dbt.runs import PairRun, PairRuns


@dataclass(frozen=True, slots=True)
class Conflict:
    """An item that was refused, why, and what to do; ``fields`` names the fields that differ from the stored payload."""

    what: str
    reason: str
    fields: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Successor:
    """A candidate that was defined because the test is of another node than the other candidates of its chain say.

    Attributes:
        supersedes: the candidate before it in the chain; None where all others are of newer manifests.
        superseded_by: the newest candidate of the chain; None where it is the newest itself.
    """

    test: str
    producer: str
    candidate: str
    supersedes: str | None
    superseded_by: str | None


@dataclass(frozen=True, slots=True)
class Unwell:
    """A node that failed, warned or was skipped: what dbt says of it, and of a test the node that it is of."""

    outcome: str
    unique_id: str
    producer: str | None
    failures: int
    finished_at: str | None
    message: str | None


@dataclass(slots=True)
class Outcomes:
    """How many nodes or verifiers ended in each way. A warning is no pass, and what was skipped was not tried."""

    passed: int = 0
    warned: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, outcome: str, count: int = 1) -> None:
        setattr(self, outcome, getattr(self, outcome) + count)

    def __str__(self) -> str:
        given = ((self.passed, "passed"), (self.warned, "warned"), (self.failed, "failed"), (self.skipped, "skipped"))
        return ", ".join(f"{count} {word}" for count, word in given if count)


@dataclass(slots=True)
class ImportSummary:
    """What an import found and what it recorded.

    Attributes:
        results, nodes: results of nodes in invocations that executed them, and how these ended; in a pair or not.
        correlated_pairs, verifiers: runs with a result of both, not skipped both, and how the verifiers ended.
        verifier_only, verifiers_alone: runs with a result of the verifier alone, and how these ended.
        executed_nothing: commands that report results and executed no node, for instance ``dbt compile``.
        several: tests over several nodes, of which none is known as the producer, with these nodes.
        renamed: names that are no legal code, by the code made of each.
        retired: codes of DOTs of the project that it does not have any more.
        left_out: what could not be used, the first of ``left_out_number``.
        unwell: nodes that failed, then those that warned, then those that were skipped, the first of each.
    """

    dots: int
    candidates: int
    runs: int
    never_observed: int
    results: int
    unpaired_results: int
    invocations: int
    text_log: str | None
    executed_nothing: tuple[str, ...]
    several: Mapping[str, tuple[str, ...]]
    sourceless_tests: tuple[str, ...]
    renamed: Mapping[str, str]
    left_out: tuple[LeftOut, ...]
    left_out_number: int
    nodes: Outcomes = field(default_factory=Outcomes)
    correlated_pairs: int = 0
    verifiers: Outcomes = field(default_factory=Outcomes)
    both_skipped: int = 0
    producer_only: int = 0
    verifier_only: int = 0
    verifiers_alone: Outcomes = field(default_factory=Outcomes)
    dots_created: int = 0
    dots_updated: int = 0
    dots_retired: int = 0
    candidates_created: int = 0
    runs_created: int = 0
    components_created: int = 0
    successors: list[Successor] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    unwell: list[Unwell] = field(default_factory=list)

    @classmethod
    def of(cls, given: DbtInput) -> ImportSummary:
        """What is known before anything is recorded."""
        return cls(
            dots=len(given.nodes),
            candidates=len(given.pairs),
            runs=len(given.runs),
            never_observed=len(given.pairs),
            results=given.results,
            unpaired_results=given.unpaired_results,
            invocations=len(given.invocation_ids),
            text_log=None if given.text_log is None else str(given.text_log),
            executed_nothing=given.executed_nothing,
            several=given.several,
            sourceless_tests=given.sourceless_tests,
            renamed={node.code: node.unique_id for node in given.nodes if node.code != node.unique_id},
            left_out=given.left_out,
            left_out_number=given.left_out_number,
        )

    def finish(self, runs: PairRuns) -> None:
        """Takes over what is known when all runs were read."""
        for outcome, count in runs.outcomes.items():
            self.nodes.add(outcome, count)
        producers = {pair.verifier: pair.producer for pair in runs.pairs}
        self.unwell = [
            Unwell(outcome, one.unique_id, producers.get(one.unique_id), one.failures, one.finished_at, one.message)
            for outcome in ("failed", "warned", "skipped")
            for one in runs.unwell.get(outcome, ())
        ]

    @property
    def nothing_new(self) -> bool:
        """Whether the database already held all of it."""
        dots = self.dots_created + self.dots_updated + self.dots_retired
        return dots + self.candidates_created + self.runs_created + self.components_created == 0 and not self.conflicts

    @property
    def never_correlated(self) -> bool:
        """Whether producers and verifiers have results, but no invocation has both of a pair, as where ``dbt run`` and ``dbt test`` ran."""
        return not self.correlated_pairs and self.producer_only + self.verifier_only > 0

    def counted(self, runs: Iterable[PairRun]) -> Iterator[PairRun]:
        """Yields the runs, and counts each."""
        observed: set[str] = set()
        for run in runs:
            if run.pair.code not in observed:
                observed.add(run.pair.code)
                self.never_observed -= 1
            self._count(run)
            yield run

    def _count(self, run: PairRun) -> None:
        producer, verifier = (None if one is None else outcome_of(one.status) for one in (run.producer, run.verifier))
        if verifier is None:
            self.producer_only += 1
        elif producer is None:
            self.verifier_only += 1
            self.verifiers_alone.add(verifier)
        elif producer == verifier == "skipped":
            self.both_skipped += 1
        else:
            self.correlated_pairs += 1
            self.verifiers.add(verifier)
