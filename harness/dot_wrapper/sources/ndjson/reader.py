"""Reads one line of an NDJSON file for ``dot-wrapper record``. ``docs/reference/observation.schema.json`` is generated from it.

A line is a simulated observation: the content of a file is not evidence of a real run. The database checks the ledger's rules;
this module checks the form of a line, so that an error names its field.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from math import inf, isfinite
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from dot_wrapper.client import calls
from dot_wrapper.sources.reasons import TOO_DEEP, reason_of, storable
from dot_wrapper.text import escape_control_characters


class LineProblem(Exception):
    """A line is not a valid observation. ``field`` is the field at fault, None for the whole line; ``reason`` says why."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("a simulated run is a dry run")
    return value


# PostgreSQL takes no zone that is 16 hours from UTC or further.
_ZONE: Final = "(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])"
_INSTANT: Final = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,6}})?{_ZONE}$"


def _instant(value: object) -> object:
    """Parses a time of RFC 3339. A value that is not text is returned unchanged: the type check reports it."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(_INSTANT, value):
        raise ValueError("it is not a time with a zone; write for instance 2026-11-21T14:30:00Z")
    return datetime.fromisoformat(value)


Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time", "pattern": _INSTANT})
]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", max_length=200)]
Ref = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=1024)]
RunId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]


class _Line(BaseModel):
    """The fields that both kinds of line have: the inputs of document 03, and the state of the run or component."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("process_run_id", "idempotency_key")
            ]
        },
    )

    process_candidate_code: Code
    dot_code: Code
    process_run_id: RunId | None = Field(None, description="The run. Without it the run is found by idempotency_key.")
    idempotency_key: Code | None = Field(
        None, description="The run's key. A component is stored under <key>:<role>:<status>."
    )
    correlation_id: Code
    evidence_type: Literal["SIMULATED_DRY_RUN"]
    # Not Literal[True], which takes 1 for true.
    dry_run: Annotated[bool, AfterValidator(_true), WithJsonSchema({"const": True})]
    status: Literal["prepared", "started", "completed", "failed", "skipped"]
    actor: Code
    input_ref: Ref | None = None
    output_ref: Ref | None = None
    error_ref: Ref | None = None
    evidence_ref: Annotated[dict[str, JsonValue], AfterValidator(storable)] | None = Field(
        None, description="An object of at most 8 KB. Its key attempt, an object, is stored and not compared."
    )
    occurred_at: Instant | None = Field(None, description="When it happened, as the source says.")

    @model_validator(mode="after")
    def _names_its_run(self) -> Self:
        if self.process_run_id is None and self.idempotency_key is None:
            raise ValueError("process_run_id or idempotency_key is required: a restart would record the line twice")
        return self

    @property
    def run_key(self) -> str:
        """The run's idempotency key: the line's, else its run id, so that recording the file again is a replay."""
        return self.idempotency_key or str(self.process_run_id)

    def _row(self, run_id: str) -> dict[str, object]:
        return {
            "process_candidate_code": self.process_candidate_code,
            "dot_code": self.dot_code,
            "process_run_id": run_id,
            "correlation_id": self.correlation_id,
            "status": self.status,
            "actor": self.actor,
            "input_ref": self.input_ref,
            "output_ref": self.output_ref,
            "error_ref": self.error_ref,
            "evidence_ref": json.dumps(self.evidence_ref) if self.evidence_ref else "{}",
            "occurred_at": self.occurred_at,
        }


class RunLine(_Line):
    """The header of a run."""

    record: Literal["run"]
    parent_run_id: RunId | None = None
    role: None = None

    def row(self, run_id: str) -> dict[str, object]:
        """The header under a run id: the line's, if it has one."""
        return {
            **self._row(run_id),
            "evidence_type": self.evidence_type,
            "dry_run": True,
            "idempotency_key": self.run_key,
            "parent_run_id": self.parent_run_id,
        }


class ComponentLine(_Line):
    """The producer's or the verifier's part of a run. The line of its run must come before it."""

    record: Literal["component"]
    role: Literal["producer", "verifier"]
    parent_run_id: None = Field(None, description="The run has a parent, a component has none.")

    def row(self, run_id: str) -> dict[str, object]:
        """The component of a run: the line's, if it names one."""
        return {
            **self._row(run_id),
            "component_role": self.role,
            "idempotency_key": calls.component_key(self.run_key, self.role, self.status),
        }


Line = RunLine | ComponentLine
_KEY: Final = re.compile(rb'"\s*:')
"""The end of each key, and what looks like one within a text."""
_LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="record")])


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One observation, a line of the file that `dot-wrapper record` reads",
        **_LINE.json_schema(),
    }


def parse(line: bytes) -> Line:
    """Reads one line.

    Raises:
        LineProblem: it is not JSON, has a duplicate key or a number that would lose digits, or is not a valid observation.
    """
    with suppress(ValidationError):
        parsed = _LINE.validate_json(line)
        # Of a duplicate key it keeps the last value, and of a number as many digits as fit: json says whether there is one.
        if len(_KEY.findall(line)) == len(parsed.model_fields_set) + _keys(parsed.evidence_ref):
            return parsed
    return _parsed_exactly(line)


def _keys(value: JsonValue) -> float:
    """How many keys a value has in it; infinite where it has a number with a fraction."""
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    if isinstance(value, list):
        return sum(map(_keys, value))
    return inf if isinstance(value, float) else 0


def _parsed_exactly(line: bytes) -> Line:
    try:
        document = json.loads(
            line.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_float=_exact, parse_constant=_not_finite
        )
    except UnicodeDecodeError as error:
        raise LineProblem(None, f"it is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise LineProblem(None, f"it is not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise LineProblem(None, TOO_DEEP) from error
    except ValueError as error:
        raise LineProblem(None, str(error)) from error
    try:
        return _LINE.validate_python(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        # When the kind of the record is known, each path starts with it: run.actor, component.evidence_ref.a
        path = [str(part) for part in problem["loc"][1:]]
        if problem["type"] == "recursion_depth_exceeded":
            path = path[:1]  # the rest of it is as deep as the value
        if problem["type"] in ("union_tag_not_found", "union_tag_invalid"):
            raise LineProblem("record", "it must be run or component") from error
        raise LineProblem(printable(".".join(path)) or None, reason_of(problem)) from error


def printable(text: str) -> str:
    """The first 200 characters of a text, on one line, with control characters escaped."""
    return escape_control_characters(text[:200])


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
        raise ValueError(f"duplicate key {twice[:100]!a}")
    return found


def _exact(text: str) -> float:
    number = float(text)
    if not isfinite(number) or Decimal(repr(number)) != Decimal(text):
        raise ValueError(f"{text[:100]} has more digits than can be stored")
    return number


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
