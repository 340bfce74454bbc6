"""Reads DOTs and candidates from a YAML or CSV file; connects to no database.

A YAML file has the lists ``dots`` and ``candidates``. A CSV file has one of the two: candidates when its header has a column
``producer_dot_code``, DOTs otherwise. The fields are the arguments of ``fn_dot_tool_register`` and
``fn_process_candidate_define``, and the database checks their values.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.ndjson.reader import Instant, printable

LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest file: a file is held in memory."""


class CatalogueFileError(InputError):
    """The file cannot be read or is not a valid catalogue file; the message names file, place and reason."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _storable(text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
        raise ValueError("it has a character that no database can store")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Flag = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]  # an empty cell of a CSV file


class DotEntry(_Entry):
    """A DOT: the arguments of ``fn_dot_tool_register``."""

    code: Text
    category: Text | None = None
    execution_engine: Text | None = None
    script_path: Text | None = None
    file_path: Text | None = None
    trigger_type: Text | None = None


class CandidateEntry(_Entry):
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


class CatalogueFile(_Entry):
    """The entries of a file."""

    dots: tuple[DotEntry, ...] = ()
    candidates: tuple[CandidateEntry, ...] = ()


def read_catalogue(path: Path) -> CatalogueFile:
    """Reads and checks a whole ``.yaml``, ``.yml`` or ``.csv`` file.

    Raises:
        CatalogueFileError: it cannot be read, or an entry is not valid.
    """
    readers: dict[str, Callable[[Path], object]] = {".yaml": _read_yaml, ".yml": _read_yaml, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CatalogueFileError(f"{path}: the name must end in .yaml, .yml or .csv")
    try:
        if path.stat().st_size > LIMIT:
            raise CatalogueFileError(f"{path}: it is larger than {LIMIT} bytes")
        found = CatalogueFile.model_validate(reader(path))
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


class _Loader(yaml.BaseLoader):
    """Reads every scalar as text, so that a code that looks like a date or a number stays as written.

    Aliases are refused, because a few lines of them can expand to more than fits in memory; so are duplicate keys.
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
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: duplicate key {key.value!a}")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> object:
    return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506  a BaseLoader, which constructs only text, lists and mappings


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


def _problem(where: tuple[int | str, ...], reason: str) -> str:
    """For instance `candidates 3, producer_dot_code: Field required`; entries are counted from 1."""
    parts = [str(part + 1) if isinstance(part, int) else printable(part) for part in where]
    return f"{' '.join(parts[:2])}{''.join(f', {part}' for part in parts[2:])}: {reason}".lstrip(": ")
