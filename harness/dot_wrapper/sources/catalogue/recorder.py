"""Registers the DOTs and defines the candidates that ``dot_wrapper.sources.catalogue.reader`` has read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from dot_wrapper.client import calls
from dot_wrapper.client.errors import DefinitionConflict, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import chunk_by_chunk, pipelined
from dot_wrapper.sources.catalogue.reader import CandidateEntry, CatalogueFile, DotEntry


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was refused, and why; ``fields`` names the fields that differ from the stored definition."""

    what: str
    reason: str
    sqlstate: str | None
    constraint: str | None
    fields: tuple[str, ...] = ()


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

    def store_dots(dots: Sequence[DotEntry]) -> None:
        def work(connection: psycopg.Connection[Any]) -> list[str]:
            return pipelined(connection, (calls.register_dot(**dict(dot)) for dot in dots))

        outcomes = ledger.transaction("dot_cataloguer", work, repeatable=True)
        summary.dots_created += outcomes.count("created")
        summary.dots_updated += outcomes.count("updated")
        summary.dots_unchanged += outcomes.count("unchanged")

    def store_candidates(candidates: Sequence[CandidateEntry]) -> None:
        def work(connection: psycopg.Connection[Any]) -> list[bool]:
            return pipelined(connection, (calls.define_candidate(actor=actor, **dict(one)) for one in candidates))

        created = ledger.transaction("dot_cataloguer", work, repeatable=True)
        summary.candidates_created += created.count(True)
        summary.candidates_unchanged += created.count(False)

    def refused(entry: DotEntry | CandidateEntry, refusal: Refusal) -> None:
        what = f"{'DOT' if isinstance(entry, DotEntry) else 'candidate'} {entry.code}"
        fields = refusal.fields if isinstance(refusal, DefinitionConflict) else ()
        summary.conflicts.append(RefusedEntry(what, refusal.reason, refusal.sqlstate, refusal.constraint, fields))

    for count in chunk_by_chunk(entries.dots, store_dots, refused):
        progress("DOTs", count)
    for count in chunk_by_chunk(entries.candidates, store_candidates, refused):
        progress("candidates", count)
    return summary
