"""Registers the DOTs and defines the candidates that ``dot_wrapper.sources.catalogue.reader`` has read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import psycopg

from dot_wrapper.client import calls
from dot_wrapper.client.errors import DefinitionConflict
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import Stored, Work, answers, committing, stored
from dot_wrapper.sources.catalogue.reader import CandidateEntry, CatalogueFile, DotEntry

# What PostgreSQL says of text that it cannot read as an interval. No other field is sent as text and read as anything else.
_NO_INTERVAL: Final = ("22007", "22008", "22015")

Entry = TypeVar("Entry", DotEntry, CandidateEntry)


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was refused, why, and what to do; ``fields`` names the fields that differ from the stored definition."""

    what: str
    reason: str
    sqlstate: str | None
    constraint: str | None
    fields: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(slots=True)
class DefineSummary:
    """How many entries were created, updated and unchanged, and which were refused."""

    dots_created: int = 0
    dots_updated: int = 0
    dots_unchanged: int = 0
    candidates_created: int = 0
    candidates_unchanged: int = 0
    conflicts: list[RefusedEntry] = field(default_factory=list)


def define(
    ledger: Ledger, entries: CatalogueFile, *, actor: str, progress: Callable[[str, int], None]
) -> DefineSummary:
    """Registers the DOTs, then defines the candidates (role dot_cataloguer). Defining the same entries again changes nothing.

    A refused entry, for instance a code that has another definition, is listed in ``conflicts``; the others are stored.

    Args:
        progress: called with what was stored and how many, after each chunk.
    """
    summary = DefineSummary()

    def store_dots(connection: psycopg.Connection[Any], dots: Sequence[DotEntry]) -> Stored[DotEntry]:
        outcomes = answers(connection, [calls.register_dot(**dict(dot)) for dot in dots])
        return Stored(len(dots), Counter(f"dots_{outcome}" for outcome in outcomes))

    def store_candidates(
        connection: psycopg.Connection[Any], candidates: Sequence[CandidateEntry]
    ) -> Stored[CandidateEntry]:
        created = answers(connection, [calls.define_candidate(actor=actor, **dict(one)) for one in candidates])
        figures = Counter(candidates_created=created.count(True), candidates_unchanged=created.count(False))
        return Stored(len(candidates), figures)

    def store(what: str, kind: str, some: Sequence[Entry], work: Work[Entry]) -> None:
        for part in stored(some, committing(ledger, "dot_cataloguer", work), summary):
            for entry, refusal in part.refused:
                fields = refusal.fields if isinstance(refusal, DefinitionConflict) else ()
                reason, hint = refusal.reason, refusal.hint
                if refusal.sqlstate in _NO_INTERVAL:
                    reason, hint = (
                        f"max_age: {reason}",
                        "Write an interval of PostgreSQL, for instance 7 days or 12:00.",
                    )
                summary.conflicts.append(
                    RefusedEntry(f"{kind} {entry.code}", reason, refusal.sqlstate, refusal.constraint, fields, hint)
                )
            progress(what, part.items)

    store("DOTs", "DOT", entries.dots, store_dots)
    store("candidates", "candidate", entries.candidates, store_candidates)
    return summary
