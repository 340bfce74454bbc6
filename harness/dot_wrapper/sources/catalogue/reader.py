"""Reads DOTs and candidates from a YAML or CSV file; connects to no database.

A YAML file has the lists ``dots`` and ``candidates``. A CSV file has one of the two: candidates when its header has a column
``producer_dot_code``, DOTs otherwise. The fields are the arguments of ``fn_dot_tool_register`` and
``fn_process_candidate_define``, and the database checks their values.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.checked_file import Entry, Text, read_checked, read_yaml
from dot_wrapper.sources.ndjson.reader import Instant


class CatalogueFileError(InputError):
    """The file cannot be read or is not a valid catalogue file; the message names file, place and reason."""


Flag = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]  # an empty cell of a CSV file


class DotEntry(Entry):
    """A DOT: the arguments of ``fn_dot_tool_register``."""

    code: Text
    category: Text | None = None
    execution_engine: Text | None = None
    script_path: Text | None = None
    file_path: Text | None = None
    trigger_type: Text | None = None


class CandidateEntry(Entry):
    """A candidate: the arguments of ``fn_process_candidate_define``."""

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


class CatalogueFile(Entry):
    """The entries of a file."""

    dots: tuple[DotEntry, ...] = ()
    candidates: tuple[CandidateEntry, ...] = ()


def read_catalogue(path: Path) -> CatalogueFile:
    """Reads and checks a whole ``.yaml``, ``.yml`` or ``.csv`` file.

    Raises:
        CatalogueFileError: it cannot be read, or an entry is not valid.
    """
    readers: dict[str, Callable[[Path], object]] = {".yaml": read_yaml, ".yml": read_yaml, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CatalogueFileError(f"{path}: the name must end in .yaml, .yml or .csv")
    found = read_checked(path, CatalogueFile, reader, CatalogueFileError)
    if not found.dots and not found.candidates:
        raise CatalogueFileError(f"{path}: it defines nothing")
    return found


def _read_csv(path: Path) -> dict[str, list[dict[str, str | None]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True, restkey="a cell beyond the header")
        if not reader.fieldnames:
            raise csv.Error("it has no header")
        entries = [{name: cell or None for name, cell in row.items()} for row in reader]
        header = reader.fieldnames or []
    if len(set(header)) < len(header):
        raise csv.Error("duplicate column in the header")
    return {"candidates" if "producer_dot_code" in header else "dots": entries}
