"""The mapping: which columns of the host's tables the three seam views read.

A value is a column, a constant, or a column with one of a few named conversions. There is no SQL in a mapping, so nothing in it can
be more than a name or a literal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.checked_file import Entry, Text, read_checked, read_yaml

GATES: Final = (
    "iu_core.operator_runtime_enabled",
    "process_dot_runtime.execute_enabled",
    "process_dot_runtime.real_run_enabled",
    "queue.worker.enabled",
)
MASTER: Final = GATES[0]
"""The gate that an adopted host always governs: without a row of the host's it is closed."""

OPTIONAL: Final = (
    "category",
    "execution_engine",
    "script_path",
    "file_path",
    "trigger_type",
    "usage_count",
    "last_executed",
)
"""The columns of the catalogue that a mapping may leave out: they are then NULL."""


class MappingError(InputError):
    """The mapping cannot be read, is not valid, or does not go with the database; the message names file, field and reason."""


class Value(Entry):
    """What a column of a seam is made of.

    Attributes:
        column: of the host's table; or ``constant``, a text.
        field: of the JSON object in the column.
        lower: in lower case.
        empty_is_null: NULL where the text is empty.
        time_zone: of a time that has none.
    """

    column: Text | None = None
    constant: Text | None = None
    field: Text | None = None
    lower: bool = False
    empty_is_null: bool = False
    time_zone: Text | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Value:
        if (self.column is None) == (self.constant is None):
            raise ValueError("either column or constant")
        if self.constant is not None and len(self.model_fields_set) > 1:
            raise ValueError("a constant has no conversion")
        return self


Texts = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Condition(Entry):
    """Which rows count: the column ``is`` one of some texts or null, or ``is_not``."""

    column: Text
    is_: Texts | None = Field(default=None, alias="is")
    is_not: Texts | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Condition:
        if len(self.model_fields_set) != 2 or self.texts == ():
            raise ValueError("either `is` or `is_not`: a text, a list of texts, or null")
        return self

    @property
    def negated(self) -> bool:
        """Whether the rows count for which it does not hold."""
        return "is_not" in self.model_fields_set

    @property
    def texts(self) -> tuple[str, ...] | None:
        """What the column is compared with; None for null."""
        return self.is_not if self.negated else self.is_


Source = Annotated[Value, BeforeValidator(lambda value: {"column": value} if isinstance(value, str) else value)]
Conditions = Annotated[
    tuple[Condition, ...], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
]


class Columns(Entry):
    """The catalogue's columns."""

    code: Source
    category: Source | None = None
    execution_engine: Source | None = None
    script_path: Source | None = None
    file_path: Source | None = None
    trigger_type: Source | None = None
    usage_count: Source | None = None
    last_executed: Source | None = None


class HostTable(Entry):
    """A table of the host's; names as the catalog has them, without quotes."""

    schema_: Text = Field(alias="schema")
    table: Text

    @property
    def key(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema_, self.table


class Catalogue(HostTable):
    """Where the DOTs stand; with ``beside: own`` the DOTs that the wrapper registered count too, unless the host has their code."""

    columns: Columns
    where: Conditions = ()
    beside: Literal["own"] | None = None


class Gates(HostTable):
    """Where the host's switches stand, and which gates they govern."""

    key_: Source = Field(alias="key")
    value: Source
    where: Conditions = ()
    governs: tuple[Literal[GATES], ...]  # type: ignore[valid-type]  # the literals are the tuple above

    @model_validator(mode="after")
    def _governs_the_master(self) -> Gates:
        if MASTER not in self.governs:
            raise ValueError(f"governs must name {MASTER}")
        if len(set(self.governs)) < len(self.governs):
            raise ValueError("governs names a gate twice")
        return self


class Ledger(HostTable):
    """A ledger that is counted: all rows, and those that were refused or planned, where the host says that."""

    refused: Conditions | None = None
    planned: Conditions | None = None


class Ledgers(Entry):
    """The ledgers of document 02 that are tables."""

    dot_iu_command_run: Ledger | None = None
    job_queue: Ledger | None = None


class Mapping(Entry):
    """What is adopted: each section is one seam view, and a section that is missing leaves that view as it is."""

    catalogue: Catalogue | None = None
    gates: Gates | None = None
    ledgers: Ledgers | None = None

    @model_validator(mode="after")
    def _adopts_something(self) -> Mapping:
        if not any((self.catalogue, self.gates, self.ledgers)):
            raise ValueError("it adopts nothing")
        return self

    @property
    def digest(self) -> str:
        """Of what it says, not of how it is written."""
        return hashlib.sha256(json.dumps(as_written(self), sort_keys=True).encode()).hexdigest()[:16]


def read_mapping(path: Path) -> Mapping:
    """Reads and checks a mapping.

    Raises:
        MappingError: it cannot be read, or is not valid.
    """
    return read_checked(path, Mapping, read_yaml, MappingError)


def sources(mapping: Mapping) -> Iterator[tuple[str, tuple[str, str], list[str]]]:
    """Seam, table and columns of each table that a mapping reads; a table may come twice."""
    if (one := mapping.catalogue) is not None:
        values = [one.columns.code, *(getattr(one.columns, name) for name in OPTIONAL)]
        yield "v_host_tool", one.key, _columns(values, one.where)
    if (gates := mapping.gates) is not None:
        yield "v_host_gate", gates.key, _columns([gates.key_, gates.value], gates.where)
    for ledger in ledgers(mapping).values():
        yield "v_host_ledger", ledger.key, _columns([], (*(ledger.refused or ()), *(ledger.planned or ())))


def ledgers(mapping: Mapping) -> dict[str, Ledger]:
    """The ledgers of a mapping by name."""
    found = mapping.ledgers
    named = {} if found is None else {"dot_iu_command_run": found.dot_iu_command_run, "job_queue": found.job_queue}
    return {name: one for name, one in named.items() if one is not None}


def _columns(values: list[Value | None], where: tuple[Condition, ...]) -> list[str]:
    named = [one.column for one in values if one is not None and one.column is not None]
    return list(dict.fromkeys([*named, *(one.column for one in where)]))


def as_written(one: Any) -> Any:
    """An entry as the file has it, without what is not set."""
    match one:
        case Condition():
            texts = one.texts
            shown = texts[0] if texts is not None and len(texts) == 1 else as_written(texts)
            return {"column": one.column, "is_not" if one.negated else "is": shown}
        case Value() if one.column is not None and one == Value(column=one.column):
            return one.column
        case Entry():
            fields = {field.alias or name: getattr(one, name) for name, field in type(one).model_fields.items()}
            return {name: as_written(value) for name, value in fields.items() if value not in (None, (), False)}
        case tuple():
            return [as_written(part) for part in one]
        case _:
            return one


def to_yaml(mapping: Mapping) -> str:
    """A mapping as a file."""
    text: str = yaml.safe_dump(as_written(mapping), sort_keys=False, width=120, allow_unicode=True)
    return text
