"""Reads a file that people write, YAML or CSV, and checks it whole: what is wrong is told by file, place and reason."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.ndjson.reader import printable
from dot_wrapper.sources.reasons import TOO_DEEP, reason_of, storable

LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest file: a file is held in memory."""


class Entry(BaseModel):
    """A part of such a file: a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, AfterValidator(storable)]

Checked = TypeVar("Checked", bound=BaseModel)


def read_checked(
    path: Path, model: type[Checked], read: Callable[[Path], object], error_class: type[InputError]
) -> Checked:
    """Reads a whole file and checks it.

    Raises:
        InputError: of ``error_class``: it cannot be read, or is not valid; the message has a line for each of the first 20 problems.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise error_class(f"{path}: it is larger than {LIMIT} bytes")
        found = read(path)
        if found is None:
            raise error_class(f"{path}: it is empty")
        return model.model_validate(found)
    except OSError as error:
        raise error_class(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise error_class(f"{path}: it is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except RecursionError as error:
        raise error_class(f"{path}: {TOO_DEEP}") from error
    except (yaml.YAMLError, csv.Error) as error:
        raise error_class(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = [_problem(problem["loc"], reason_of(problem)) for problem in error.errors(include_url=False)]
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise error_class("\n".join(f"{path}: {one}" for one in problems[:20]) + more) from error


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


def read_yaml(path: Path) -> object:
    """What a YAML file holds: text, lists and mappings; a scalar that is written as nothing is None."""
    return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506  a BaseLoader, which constructs only text, lists and mappings


def _problem(where: tuple[int | str, ...], reason: str) -> str:
    """For instance `candidates 3, producer_dot_code: it is missing`; entries are counted from 1."""
    parts = [str(part + 1) if isinstance(part, int) else printable(part) for part in where]
    return f"{' '.join(parts[:2])}{''.join(f', {part}' for part in parts[2:])}: {reason}".lstrip(": ")
