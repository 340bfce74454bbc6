"""Reads DOTs and candidates from a YAML or CSV file, and defines them.

The file is read and checked whole before anything is stored. YAML has the lists ``dots`` and ``candidates``; a CSV file has
the one or the other, told by its header. The fields are the arguments of ``fn_dot_tool_register`` and
``fn_process_candidate_define``. What a field may hold is the database's to say.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from dot_wrapper.client import calls
from dot_wrapper.client.errors import DefinitionConflict, InputError, Refusal
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.sources.bulk import chunk_by_chunk, pipelined
from dot_wrapper.sources.ndjson.reader import Instant, printable

LIMIT: Final = 64 * 1024 * 1024  # bytes of a file: it is read whole


class CatalogueFileError(InputError):
    """The file cannot be read, or is no list of DOTs and candidates; the message names file, place and reason."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _storable(text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
        raise ValueError("it has a character that no database can store")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Flag = Annotated[bool, BeforeValidator(lambda said: False if said is None else said)]  # an empty cell is no


class DotEntry(_Entry):
    """A DOT, as ``fn_dot_tool_register`` takes it."""

    code: Text
    category: Text | None = None
    execution_engine: Text | None = None
    script_path: Text | None = None
    file_path: Text | None = None
    trigger_type: Text | None = None


class CandidateEntry(_Entry):
    """A candidate, as ``fn_process_candidate_define`` takes it."""

    code: Text
    producer_dot_code: Text
    verifier_dot_code: Text
    description: Text | None = None
    producer_role: Text | None = None
    verifier_role: Text | None = None
    pins_output: Flag = False
    max_age: Text | None = None
    supersedes: Text | None = None
    source_time: Instant | None = None


class Catalogue(_Entry):
    """What a file defines."""

    dots: tuple[DotEntry, ...] = ()
    candidates: tuple[CandidateEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """An entry that was not defined, and why; ``fields`` names what its code is defined with otherwise."""

    what: str
    reason: str
    sqlstate: str | None
    constraint: str | None
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class DefineSummary:
    """What became of the entries."""

    dots_created: int = 0
    dots_updated: int = 0
    dots_unchanged: int = 0
    candidates_created: int = 0
    candidates_unchanged: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def read_catalogue(path: Path) -> Catalogue:
    """Reads a ``.yaml``, ``.yml`` or ``.csv`` file.

    Raises:
        CatalogueFileError: it cannot be read, or something in it is no DOT and no candidate.
    """
    readers: dict[str, Callable[[Path], object]] = {".yaml": _read_yaml, ".yml": _read_yaml, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CatalogueFileError(f"{path}: the name must end in .yaml, .yml or .csv")
    try:
        if path.stat().st_size > LIMIT:
            raise CatalogueFileError(f"{path}: it is larger than {LIMIT} bytes")
        found = Catalogue.model_validate(reader(path))
    except OSError as error:
        raise CatalogueFileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CatalogueFileError(f"{path}: it is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except (yaml.YAMLError, csv.Error, RecursionError) as error:
        raise CatalogueFileError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = [_problem(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False)]
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CatalogueFileError("\n".join(f"{path}: {one}" for one in problems[:20]) + more) from error
    if not found.dots and not found.candidates:
        raise CatalogueFileError(f"{path}: it defines nothing")
    return found


def define(ledger: Ledger, catalogue: Catalogue, *, actor: str, progress: Callable[[str, int], None]) -> DefineSummary:
    """Registers the DOTs, then defines the candidates (role dot_cataloguer). The same again is nothing new.

    An entry that is refused, a code that is defined otherwise for instance, is a conflict: it is named, the others are kept.
    """
    summary = DefineSummary()

    def conflict(what: str, refusal: Refusal) -> None:
        fields = refusal.fields if isinstance(refusal, DefinitionConflict) else ()
        summary.conflicts.append(Conflict(what, refusal.reason, refusal.sqlstate, refusal.constraint, fields))

    def dots(some: Sequence[DotEntry]) -> None:
        def work(connection: psycopg.Connection[Any]) -> list[str]:
            return pipelined(connection, (calls.register_dot(**dict(dot)) for dot in some))

        outcomes = ledger.transaction("dot_cataloguer", work, repeatable=True)
        summary.dots_created += outcomes.count("created")
        summary.dots_updated += outcomes.count("updated")
        summary.dots_unchanged += outcomes.count("unchanged")

    def candidates(some: Sequence[CandidateEntry]) -> None:
        def work(connection: psycopg.Connection[Any]) -> list[bool]:
            return pipelined(connection, (calls.define_candidate(actor=actor, **dict(one)) for one in some))

        created = ledger.transaction("dot_cataloguer", work, repeatable=True)
        summary.candidates_created += created.count(True)
        summary.candidates_unchanged += created.count(False)

    for count in chunk_by_chunk(catalogue.dots, dots, lambda one, refusal: conflict(f"DOT {one.code}", refusal)):
        progress("DOTs", count)
    for count in chunk_by_chunk(
        catalogue.candidates, candidates, lambda one, refusal: conflict(f"candidate {one.code}", refusal)
    ):
        progress("candidates", count)
    return summary


class _Loader(yaml.BaseLoader):
    """YAML in which everything is text, as it is written: a code that looks like a date or a number is one too.

    No aliases, of which a few lines can stand for more than fits in memory, and no key twice.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read: write each entry out")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode) -> str | None:  # type: ignore[override]
        if node.style is None and node.value in ("", "~", "null"):
            return None
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {key.value!a} stands there a second time")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> object:
    return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506  it makes nothing but text


def _read_csv(path: Path) -> dict[str, list[dict[str, str | None]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True, restkey="a cell beyond the header")
        if not reader.fieldnames:
            raise csv.Error("it has no header")
        entries = [{name: cell or None for name, cell in row.items()} for row in reader]
        header = reader.fieldnames or []
    if len(set(header)) < len(header):
        raise csv.Error("a column stands twice in the header")
    return {"candidates" if "producer_dot_code" in header else "dots": entries}


def _problem(where: tuple[int | str, ...], reason: str) -> str:
    """For instance `candidates 3, producer_dot_code: Field required`; entries are counted from 1."""
    parts = [str(part + 1) if isinstance(part, int) else printable(part) for part in where]
    return f"{' '.join(parts[:2])}{''.join(f', {part}' for part in parts[2:])}: {reason}".lstrip(": ")
