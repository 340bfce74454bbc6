"""Reads a dbt manifest: its nodes, and which node each test is of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field

from dot_wrapper.sources.dbt.documents import DbtInputError, LeaveOut, instant, parsed, quoted, validated
from dot_wrapper.sources.dbt.names import candidate_code, code_of
from dot_wrapper.sources.reasons import storable

PRODUCER: Final = "dot.producer"
"""The key of a test's meta that names its producer, where dbt itself does not say one."""
TESTS: Final = ("test", "unit_test")
"""The resource types that verify."""

_DOT_SECTIONS: Final = {"nodes": None, "sources": "source", "unit_tests": "unit_test"}
# Results may name these too. They are not DOTs.
_OTHER_SECTIONS: Final = ("exposures", "macros", "metrics", "saved_queries", "semantic_models")
_CALL = re.compile(r"\b(ref|source)\(([^()]*)\)")
_VERSION = re.compile(r"""\b(?:v|version)\s*=\s*['"]?([^'",\s]+)""")
_TEXT = re.compile(r"""['"]([^'"]*)['"]""")


class _Metadata(BaseModel):
    # DOTs of the project are looked up by it.
    project_name: Annotated[str, AfterValidator(storable)] | None = None
    generated_at: str | None = None


class _Document(BaseModel):
    metadata: _Metadata = _Metadata()
    nodes: dict[str, Any]
    sources: dict[str, Any] = {}
    unit_tests: dict[str, Any] = {}
    exposures: dict[str, Any] = {}
    macros: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    saved_queries: dict[str, Any] = {}
    semantic_models: dict[str, Any] = {}


class _Dependencies(BaseModel):
    nodes: list[str] | None = None


class _Config(BaseModel):
    meta: dict[str, Any] | None = None


class _Entry(BaseModel):
    """A node, source or unit test, as far as the wrapper needs it."""

    resource_type: str = Field(min_length=1)
    name: str | None = None
    package_name: str | None = None
    version: Any = None
    source_name: str | None = None
    original_file_path: str | None = None
    attached_node: str | None = None
    depends_on: _Dependencies | None = None
    test_metadata: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    config: _Config | None = None
    model: str | None = None  # of a unit test

    @property
    def producer(self) -> object:
        """What the test's meta says its producer is."""
        return {**(self.meta or {}), **((self.config and self.config.meta) or {})}.get(PRODUCER)


@dataclass(frozen=True, slots=True)
class Node:
    """A node, source or unit test; `path` is its `original_file_path`, relative to the dbt project."""

    unique_id: str
    resource_type: str
    path: str | None

    @property
    def code(self) -> str:
        """The code of its DOT."""
        return code_of(self.unique_id)


@dataclass(frozen=True, slots=True)
class AttachedTest:
    """A test (verifier) and the node it is of (producer), both by unique_id."""

    producer: str
    verifier: str

    @property
    def code(self) -> str:
        """The code of their candidate."""
        return candidate_code(self.verifier_code, self.producer_code)

    @property
    def producer_code(self) -> str:
        """The code of the DOT that produces."""
        return code_of(self.producer)

    @property
    def verifier_code(self) -> str:
        """The code of the DOT that verifies."""
        return code_of(self.verifier)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says.

    `several` are the tests over several nodes of which dbt names none as the one they are of, each with these nodes. `sourceless_tests`
    are of no node of the manifest at all. `kinds` has every unique_id that a result may name. `generated_at` is a time with a zone.
    """

    nodes: tuple[Node, ...]
    pairs: tuple[AttachedTest, ...]
    several: Mapping[str, tuple[str, ...]]
    sourceless_tests: tuple[str, ...]
    kinds: Mapping[str, str]
    project: str | None
    generated_at: datetime | None


def read_manifest(path: Path, producers: Mapping[str, str], leave_out: LeaveOut) -> Manifest:
    """Reads a manifest. `producers` names the producer of tests, both by unique_id or name.

    Raises:
        DbtInputError: it is no manifest, or `producers` names what is not in it.
    """
    document = parsed(_Document, path.read_bytes(), path, leave_out)
    if not document.nodes:
        leave_out("nodes", "empty; run `dbt parse` in a project with models")
    entries: dict[str, _Entry] = {}
    for section, kind in _DOT_SECTIONS.items():
        for unique_id, value in getattr(document, section).items():
            given = {"resource_type": kind, **value} if kind and isinstance(value, dict) else value
            entry = validated(_Entry, given, f"{section}.{unique_id}", leave_out)
            if entry is not None and unique_id.strip():
                entries[unique_id] = entry
    producer_of = _Producers(entries, producers)
    pairs, several, sourceless = [], {}, []
    for unique_id, entry in entries.items():
        if entry.resource_type not in TESTS:
            continue
        found = producer_of(unique_id, entry, leave_out)
        if len(found) == 1:
            pairs.append(AttachedTest(found[0], unique_id))
        elif found:
            several[unique_id] = found
        else:
            sourceless.append(unique_id)
    kinds = {unique_id: section for section in _OTHER_SECTIONS for unique_id in getattr(document, section)}
    # An entry that could not be used is in the project all the same: it has not left it.
    kinds |= {unique_id: "" for section in _DOT_SECTIONS for unique_id in getattr(document, section)}
    kinds |= {unique_id: entry.resource_type for unique_id, entry in entries.items()}
    return Manifest(
        nodes=tuple(
            Node(unique_id, entry.resource_type, entry.original_file_path or None)
            for unique_id, entry in entries.items()
        ),
        pairs=tuple(pairs),
        several=several,
        sourceless_tests=tuple(sourceless),
        kinds=kinds,
        project=document.metadata.project_name,
        generated_at=instant(document.metadata.generated_at),
    )


class _Producers:
    """Says which nodes a test may be of: one is its producer, several are a check over several, none is a test of no node."""

    def __init__(self, entries: Mapping[str, _Entry], chosen: Mapping[str, str]) -> None:
        self._entries = entries
        self._names: dict[str, list[str]] = {}
        for unique_id, entry in entries.items():
            for name in _names_of(unique_id, entry):
                self._names.setdefault(name, []).append(unique_id)
        self._chosen = {}
        for test, node in chosen.items():
            tests = [one for one in self._names.get(test, ()) if entries[one].resource_type in TESTS]
            nodes = [one for one in self._names.get(node, ()) if entries[one].resource_type not in TESTS]
            for what, name, found in (("test", test, tests), ("node", node, nodes)):
                if len(found) != 1:
                    which = f"names {len(found)} of them: give its unique_id" if found else "is none of this manifest"
                    raise DbtInputError(f"--producer {test}={node}: the {what} {quoted(name)} {which}")
            self._chosen[tests[0]] = nodes[0]

    def __call__(self, unique_id: str, test: _Entry, leave_out: LeaveOut) -> tuple[str, ...]:
        if unique_id in self._chosen:
            return (self._chosen[unique_id],)
        if test.producer is not None:
            named = self._names.get(test.producer, ()) if isinstance(test.producer, str) else ()
            if len(named) == 1 and named[0] != unique_id:
                return tuple(named)
            leave_out(f"{unique_id}: meta.{PRODUCER}", f"{quoted(test.producer)} names {len(named) or 'no'} nodes")
        if test.attached_node is not None:
            return (test.attached_node,) if self._is_node(test.attached_node, unique_id) else ()
        given = dict.fromkeys((test.depends_on and test.depends_on.nodes) or ())
        depends_on = tuple(one for one in given if self._is_node(one, unique_id))
        if test.resource_type == "unit_test":
            return tuple(one for one in depends_on if test.model in _names_of(one, self._entries[one])) or depends_on
        arguments = (test.test_metadata or {}).get("kwargs")
        model = arguments.get("model") if isinstance(arguments, dict) else None
        if isinstance(model, str):  # a generic test: of its own arguments, `model` is the node that it is of
            return tuple(one for one in depends_on if self._is_called(one, model)) or depends_on
        return depends_on

    def _is_node(self, unique_id: str, test: str) -> bool:
        return unique_id in self._entries and unique_id != test

    def _is_called(self, unique_id: str, text: str) -> bool:
        """Whether Jinja text has a ref() or source() of a node."""
        entry = self._entries[unique_id]
        package, name = entry.package_name or _part(unique_id, 1), _name_of(unique_id, entry)
        for function, arguments in _CALL.findall(text):
            version = _VERSION.search(arguments)
            words = _TEXT.findall(arguments[: version.start()] if version else arguments)
            if function == "source":
                if entry.resource_type == "source" and words == [entry.source_name or _part(unique_id, 2), name]:
                    return True
            elif (
                entry.resource_type != "source"
                and words[-1:] == [name]
                and (len(words) == 1 or words[0] == package)
                and (version is None or version[1] == str(entry.version))
            ):
                return True
        return False


def _name_of(unique_id: str, entry: _Entry) -> str:
    return entry.name or _part(unique_id, 3 if entry.resource_type == "source" else 2)


def _names_of(unique_id: str, entry: _Entry) -> set[str]:
    """The names by which a person may mean it; a source has the name of its group before its own."""
    name = _name_of(unique_id, entry)
    return {
        unique_id,
        f"{entry.source_name or _part(unique_id, 2)}.{name}" if entry.resource_type == "source" else name,
    }


def _part(unique_id: str, number: int) -> str:
    return ".".join(unique_id.split(".")[number : number + 1])
