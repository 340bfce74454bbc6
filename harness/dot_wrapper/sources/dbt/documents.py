"""What every file of dbt goes through: its encoding, its validation, and the list of what could not be used."""

from __future__ import annotations

import codecs
import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.reasons import reason_of

LISTED: Final = 1000
"""Entries that a list of what was left out holds. Beyond them it only counts: a log can have millions of bad lines."""

_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"{\0": "utf-16-le",
    b"\0{": "utf-16-be",
}
# Python writes such an escape for a byte of a file name that is not UTF-8; a JSON parser refuses it. The backslash must not be escaped.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)(?:(\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)

M = TypeVar("M", bound=BaseModel)
LeaveOut = Callable[[str, str], None]
"""Called with a place and a reason for each thing that cannot be used."""


class DbtInputError(InputError):
    """The input cannot be imported; the message names the file, the place and, where useful, what to do."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a file that could not be used; all else was."""

    file: str
    place: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.file, self.place, self.reason)))


@dataclass(slots=True)
class LeftOutList:
    """The first ``LISTED`` parts that were left out, and how many there are in all."""

    entries: list[LeftOut] = field(default_factory=list)
    number: int = 0

    def add(self, one: LeftOut) -> None:
        self.number += 1
        if len(self.entries) < LISTED:
            self.entries.append(one)

    def extend(self, others: LeftOutList) -> None:
        for one in others.entries:
            self.add(one)
        self.number += others.number - len(others.entries)

    def of(self, file: object) -> LeaveOut:
        return lambda place, reason: self.add(LeftOut(str(file), place, reason))


def encoding_of(head: bytes) -> str:
    """The encoding of a file by its first bytes: UTF-8, or what PowerShell writes."""
    return next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")


def parsed(model: type[M], raw: bytes, file: object, leave_out: LeaveOut) -> M:
    """The model of a whole document. Bytes that are no text are read as U+FFFD.

    Raises:
        DbtInputError: it is no JSON, or a field without a default is missing or not valid.
    """
    encoding = encoding_of(raw)
    try:
        text = raw.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        leave_out(f"line {line}", f"byte 0x{raw[error.start]:02x} is not {encoding.upper()}")
        text = raw.decode(encoding, errors="replace").encode()
    text = _LONE_SURROGATE.sub(lambda found: found[1] + (found[2] or rb"\ufffd"), text)
    try:
        return model.model_validate_json(text)
    except ValidationError:
        try:
            document = from_json(text)
        except ValueError as error:
            raise DbtInputError(f"{file}: not JSON: {error}") from error
    problems = LeftOutList()
    found = validated(model, document, "", problems.of(file))
    if found is None:
        raise DbtInputError(str(problems.entries[0]))
    for problem in problems.entries:
        leave_out(problem.place, problem.reason)
    return found


def validated(model: type[M], value: object, place: str, leave_out: LeaveOut) -> M | None:
    """The model of a value. A field that has a default and is not valid is left out alone; None where nothing can be used."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    for problem in problems:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        found = "" if problem["type"] == "missing" else f", found {quoted(problem['input'])}"
        leave_out((place + path).lstrip("."), f"{reason_of(problem)}{found}")
    unusable = {problem["loc"][0] for problem in problems if problem["loc"]}
    optional = {name for name, one in model.model_fields.items() if not one.is_required()}
    if not isinstance(value, dict) or not unusable or not unusable <= optional:
        return None
    return model.model_validate({name: one for name, one in value.items() if name not in unusable})


def instant(text: str | None) -> datetime | None:
    """The time that a text says with its zone; None for any other text."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.utcoffset() is None else time


def quoted(value: Any) -> str:
    """A value as Python writes it, shortened."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 120
    return shortened.repr(value)
