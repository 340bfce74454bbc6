"""Reads the artifacts and structured logs of dbt runs; connects to no database.

A dbt node (model, seed, snapshot, test, ...) is a DOT. A dbt test is the verifier of the node it is attached
to, its producer. One invocation that finished at least one of the two is one run of that pair.
"""

from __future__ import annotations

import hashlib
import json
import os.path
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dot_wrapper.client.calls import Status
from dot_wrapper.client.errors import InputError

WRAPPER_STATUS: Final[Mapping[str, Status]] = {
    "success": "completed",
    "pass": "completed",
    "warn": "completed",
    "fail": "failed",
    "error": "failed",
    "runtime error": "failed",
    "partial success": "failed",
    "skipped": "skipped",
    "no-op": "skipped",
    "reused": "skipped",
}
"""Every status word of dbt, and the component status the wrapper records for it.

Only work done in this invocation is completed: `no-op` (nothing to execute) and `reused` (an earlier result
kept) count as skipped, and `partial success` (some batches failed) as failed.
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_NAME_BYTES = 200
_KEY_PREFIX = "dbt:"
_TIME = re.compile(r"[ -~]{1,64}")
# PostgreSQL text holds no NUL, UTF-8 no surrogate; both can be escaped in JSON.
_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MAX_FAILURES = 2**53 - 1  # the wrapper's bound for integers in evidence
# Results may name these too. They are not DOTs.
_OTHER_SECTIONS = (
    "exposures",
    "macros",
    "metrics",
    "saved_queries",
    "semantic_models",
    "sources",
    "unit_tests",
)


class DbtInputError(InputError):
    """The input cannot be imported; the message names the file, the place and, where useful, what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """An entry of the manifest's `nodes`; `path` is its `original_file_path`, relative to the dbt project."""

    unique_id: str
    resource_type: str
    path: str | None


@dataclass(frozen=True, slots=True)
class AttachedTest:
    """A test (verifier) and the node it is attached to (producer); `code` is the test's unique_id."""

    code: str
    producer: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Result:
    """What dbt reported of one node in one invocation, its status word and times as dbt wrote them."""

    unique_id: str
    status: str
    failures: int
    started_at: str | None
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class PairRun:
    """One invocation of a pair; at least one of `producer` and `verifier` finished, the other may be None."""

    pair: AttachedTest
    correlation_id: str
    producer: Result | None
    verifier: Result | None

    @property
    def idempotency_key(self) -> str:
        """The key of this run among those of its pair; the same invocation read again gives the same key."""
        return f"{_KEY_PREFIX}{self.correlation_id}"

    @property
    def result_digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of both results: unique_id, status, failures, but no times."""
        results = {
            role: result and [result.unique_id, result.status, result.failures]
            for role, result in (("producer", self.producer), ("verifier", self.verifier))
        }
        canonical = json.dumps(results, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class PairRuns:
    """The runs in a file of results, in the order in which their invocations ended.

    Each iteration reads the file again and holds only the invocations that have not ended, so memory does not grow with the file.
    `len` gives the number of runs without reading.

    `last_results` maps each invocation to the position of its last result in the file. Results appended since the first reading
    are ignored. Iterating raises DbtInputError when the file cannot be read any more or has changed.
    """

    pairs: tuple[AttachedTest, ...]
    results_path: Path | None
    read: Callable[[], Iterator[tuple[str, Result]]] = field(compare=False, repr=False)
    last_results: Mapping[str, int]
    number: int

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[PairRun]:
        unfinished: dict[str, dict[str, Result]] = {}
        number, last = -1, max(self.last_results.values(), default=-1)
        try:
            for number, (invocation_id, result) in enumerate(islice(self.read(), last + 1)):
                unfinished.setdefault(invocation_id, {})[result.unique_id] = result
                if self.last_results.get(invocation_id) == number:
                    yield from self._runs(invocation_id, unfinished.pop(invocation_id))
        except OSError as error:
            raise DbtInputError(
                f"{self.results_path}: cannot be read any more, what was recorded stays: {error.strerror}"
            ) from error
        if unfinished or number != last:
            raise DbtInputError(
                f"{self.results_path}: has changed since it was read; what was recorded stays, import it again"
            )

    def _runs(self, invocation_id: str, finished: Mapping[str, Result]) -> Iterator[PairRun]:
        for pair in self.pairs:
            if pair.producer in finished or pair.verifier in finished:
                yield PairRun(pair, invocation_id, finished.get(pair.producer), finished.get(pair.verifier))


@dataclass(frozen=True, slots=True)
class DbtInput:
    """A manifest and its results, checked completely.

    `invocation_ids` are those with a finished node, in the order read. `results` counts the finished nodes of
    every invocation, `unpaired_results` those among them that are in no pair. `sourceless_tests` have no
    producer: their parent is no node of the manifest, as for a test on a source.
    """

    nodes: tuple[Node, ...]
    pairs: tuple[AttachedTest, ...]
    runs: PairRuns
    invocation_ids: tuple[str, ...]
    results: int
    unpaired_results: int
    sourceless_tests: tuple[str, ...]
    manifest_path: Path
    results_path: Path | None


def read_dbt(target_dir: Path, *, manifest: Path | None = None, results: Path | None = None) -> DbtInput:
    """Reads and checks the whole input of a dbt project.

    `target_dir` is a dbt target directory or the project directory above it. The results are in
    `run_results.json` beside the manifest, else in a structured log, `dbt.jsonl` or `dbt.log`, in the
    project's `logs`; without any, nothing was observed. `manifest` and `results` name the files instead;
    whether `results` is a run_results document or a log is told by its content. Of a node that finished
    twice in an invocation the last result counts.

    Raises DbtInputError for a missing, unreadable or malformed file, a node the manifest does not have, an
    unknown status word, and results of a command that compiled tests without running them.
    """
    manifest_path = manifest or _find_manifest(target_dir)
    try:
        nodes, pairs, sourceless, kinds = _read_manifest(manifest_path)
        results_path = results or _find_results(target_dir, manifest_path, given=manifest is not None)
        read = _read_run_results
        if results_path and (_is_log(results_path) if results else results_path.name != "run_results.json"):
            read = _read_log

        def results_again() -> Iterator[tuple[str, Result]]:
            for where, invocation_id, result in read(results_path) if results_path else ():
                _check_ran(result, kinds, where, manifest_path)
                yield invocation_id, result

        counted = _Counted(pairs, kinds)
        for invocation_id, result in results_again():
            counted.add(invocation_id, result.unique_id)
    except OSError as error:
        raise DbtInputError(f"{error.filename or target_dir}: cannot be read: {error.strerror}") from error
    return DbtInput(
        nodes=nodes,
        pairs=pairs,
        runs=PairRuns(pairs, results_path, results_again, counted.last_results, counted.runs),
        invocation_ids=tuple(counted.last_results),
        results=counted.results,
        unpaired_results=counted.unpaired,
        sourceless_tests=sourceless,
        manifest_path=manifest_path,
        results_path=results_path,
    )


class _Counted:
    """Counts results and runs without holding the results: one bit per invocation and node that may finish in it."""

    def __init__(self, pairs: Iterable[AttachedTest], kinds: Iterable[str]) -> None:
        self.results = self.unpaired = self.runs = 0
        self.last_results: dict[str, int] = {}
        self._read = 0
        self._numbers = {unique_id: number for number, unique_id in enumerate(kinds)}
        self._finished: dict[str, bytearray] = {}
        self._partners: dict[str, list[int]] = {}
        for pair in pairs:
            for one, other in ((pair.producer, pair.verifier), (pair.verifier, pair.producer)):
                self._partners.setdefault(one, []).append(self._numbers[other])

    def add(self, invocation_id: str, unique_id: str) -> None:
        self.last_results[invocation_id] = self._read
        self._read += 1
        finished = self._finished.setdefault(invocation_id, bytearray(len(self._numbers) // 8 + 1))
        number = self._numbers[unique_id]
        if _has(finished, number):
            return
        finished[number >> 3] |= 1 << (number & 7)
        self.results += 1
        partners = self._partners.get(unique_id, ())
        self.unpaired += not partners
        # The first node of a pair that finishes makes a run of the pair.
        self.runs += sum(not _has(finished, partner) for partner in partners)


def _has(bits: bytearray, number: int) -> bool:
    return bool(bits[number >> 3] >> (number & 7) & 1)


def _find_manifest(target_dir: Path) -> Path:
    candidates = target_dir / "manifest.json", target_dir / "target" / "manifest.json"
    for path in candidates:
        if os.path.isfile(path):  # unlike Path.is_file, also False for a name too long for the file system
            return path
    raise DbtInputError(
        f"{target_dir}: no manifest; looked for {candidates[0]} and {candidates[1]}: "
        "run `dbt parse` in the project, or name the file with --manifest"
    )


def _find_results(target_dir: Path, manifest: Path, *, given: bool) -> Path | None:
    candidates = [manifest.parent / "run_results.json"]
    log_dirs = [target_dir / "logs"]
    if not given and manifest.parent == target_dir:  # target_dir is the target directory itself
        log_dirs.insert(0, Path(os.path.normpath(target_dir / "..")) / "logs")
    candidates += [logs / name for name in ("dbt.jsonl", "dbt.log") for logs in log_dirs]
    return next(filter(os.path.isfile, candidates), None)


def _read_manifest(
    path: Path,
) -> tuple[tuple[Node, ...], tuple[AttachedTest, ...], tuple[str, ...], dict[str, str]]:
    """Nodes, pairs, sourceless tests, and the kind of every unique_id that a result may name."""
    document = _object(_parse(path.read_bytes(), path), str(path))
    entries = _object(document.get("nodes"), f"{path}: nodes")
    if not entries:
        raise DbtInputError(f"{path}: nodes: empty; run `dbt parse` in a project with models")
    nodes, pairs, sourceless = [], [], []
    for key, entry in entries.items():
        unique_id = _name(key, f"{path}: nodes")
        where = f"{path}: nodes.{unique_id}"
        node = _object(entry, where)
        resource_type = _name(node.get("resource_type"), f"{where}.resource_type")
        nodes.append(Node(unique_id, resource_type, _file_path(node, where)))
        if resource_type != "test":
            continue
        parent = _parent(node, where)
        if parent == unique_id:
            raise DbtInputError(f"{where}: the test is attached to itself")
        if parent in entries:
            pairs.append(AttachedTest(code=unique_id, producer=parent, verifier=unique_id))
        else:
            sourceless.append(unique_id)
    kinds = {
        key: section for section in _OTHER_SECTIONS for key in _object(document.get(section, {}), f"{path}: {section}")
    }
    kinds |= {node.unique_id: node.resource_type for node in nodes}
    return tuple(nodes), tuple(pairs), tuple(sourceless), kinds


def _file_path(node: dict[str, Any], where: str) -> str | None:
    path = node.get("original_file_path")
    if path is not None and (not isinstance(path, str) or _UNSTORABLE.search(path)):
        raise DbtInputError(f"{where}.original_file_path: {_quoted(path)} is not a path")
    return path or None


def _parent(test: dict[str, Any], where: str) -> str:
    """The unique_id a test is attached to; empty when it depends on nothing."""
    parent = test.get("attached_node")
    if parent is None:  # before manifest v7, and for a test that is its own file
        depends_on = _object(test.get("depends_on", {}), f"{where}.depends_on")
        parent = ["", *_list(depends_on.get("nodes", []), f"{where}.depends_on.nodes")][-1]
    if not isinstance(parent, str):
        raise DbtInputError(f"{where}: attached to {_quoted(parent)}, which is no unique_id")
    return parent


def _is_log(path: Path) -> bool:
    with path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        head = json.loads(first)
    except (ValueError, RecursionError):
        return not first.lstrip().startswith(b"{")  # an indented document breaks its first line, a log never
    return not isinstance(head, dict) or head.keys().isdisjoint(("metadata", "results"))


def _read_run_results(path: Path) -> Iterator[tuple[str, str, Result]]:
    """Place, invocation id and result of every node in a run_results document."""
    document = _object(_parse(path.read_bytes(), path), str(path))
    metadata = _object(document.get("metadata"), f"{path}: metadata")
    invocation_id = _invocation_id(metadata, f"{path}: metadata")
    for index, entry in enumerate(_list(document.get("results"), f"{path}: results")):
        where = f"{path}: results[{index}]"
        run = _object(entry, where)
        unique_id = _name(run.get("unique_id"), f"{where}.unique_id")
        yield where, invocation_id, _result(unique_id, run, where, failures="failures", timing="timing")


def _read_log(path: Path) -> Iterator[tuple[str, str, Result]]:
    """Place, invocation id and result of every finished node in a structured log."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            if not line.lstrip().startswith(b"{"):
                raise DbtInputError(
                    f"{where}: not a JSON object: only a structured log holds results; run dbt with "
                    "`--log-format-file json` (for logs/dbt.log) or `--log-format json`, or name another "
                    "file with --results"
                )
            event = _object(_parse(line.rstrip(), path, number), where)
            info = _object(event.get("info"), f"{where}: info")
            name = info.get("name")
            if not isinstance(name, str):
                raise DbtInputError(f"{where}: info.name: expected an event's name, found {_quoted(name)}")
            if name != "NodeFinished":
                continue
            data = _object(event.get("data"), f"{where}: data")
            node = _object(data.get("node_info"), f"{where}: data.node_info")
            unique_id = _name(node.get("unique_id"), f"{where}: data.node_info.unique_id")
            place = f"{where}: data.run_result"
            run = _object(data.get("run_result"), place)
            result = _result(unique_id, run, place, failures="num_failures", timing="timing_info")
            yield where, _invocation_id(info, f"{where}: info"), result


def _check_ran(result: Result, kinds: Mapping[str, str], where: str, manifest: Path) -> None:
    kind = kinds.get(result.unique_id)
    if kind is None:
        raise DbtInputError(
            f"{where}: {result.unique_id} is not in {manifest}: "
            "results and manifest must be of the same state of the project"
        )
    if kind == "test" and result.status == "success":
        # A test that ran has status pass, warn, fail or error: counting this result would record a verification that did not happen.
        raise DbtInputError(
            f"{where}: {result.unique_id} has status 'success': it was compiled, not run, as by "
            "`dbt compile` or `dbt docs generate`; import the results of `dbt build` or `dbt test`"
        )


def _result(unique_id: str, run: dict[str, Any], where: str, *, failures: str, timing: str) -> Result:
    status = run.get("status")
    if not isinstance(status, str) or status not in WRAPPER_STATUS:
        raise DbtInputError(f"{where}.status: {_quoted(status)} is no known status of dbt: {', '.join(WRAPPER_STATUS)}")
    steps = [
        _object(step, f"{where}.{timing}[{index}]")
        for index, step in enumerate(_list(run.get(timing) or [], f"{where}.{timing}"))
    ]
    started = [_time(step, "started_at", f"{where}.{timing}") for step in steps]
    finished = [_time(step, "completed_at", f"{where}.{timing}") for step in steps]
    return Result(
        unique_id=unique_id,
        status=status,
        failures=_failures(run.get(failures), f"{where}.{failures}"),
        started_at=next(filter(None, started), None),
        finished_at=next(filter(None, reversed(finished)), None),
    )


def _failures(value: object, where: str) -> int:
    number = 0 if value is None else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if type(number) is not int or not 0 <= number <= _MAX_FAILURES:
        raise DbtInputError(f"{where}: expected a count of failures, found {_quoted(value)}")
    return number


def _time(step: dict[str, Any], key: str, where: str) -> str | None:
    value = step.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise DbtInputError(f"{where}: {key}: {_quoted(value)} is not a time")
    return value


def _invocation_id(holder: dict[str, Any], where: str) -> str:
    # The key derived from it is bound by the same limit.
    return _name(holder.get("invocation_id"), f"{where}.invocation_id", _NAME_BYTES - len(_KEY_PREFIX))


def _name(value: object, where: str, limit: int = _NAME_BYTES) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise DbtInputError(
            f"{where}: {_quoted(value)} is no usable name: letters, digits and . _ : / @ + - "
            "are allowed, a letter or digit first"
        )
    if len(value) > limit:
        raise DbtInputError(f"{where}: {_quoted(value)} is {len(value)} bytes long; {limit} are allowed")
    return value


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DbtInputError(f"{where}: expected an object, found {_found(value)}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DbtInputError(f"{where}: expected a list, found {_found(value)}")
    return value


def _found(value: object) -> str:
    return "nothing" if value is None else _quoted(value)


def _quoted(value: object) -> str:
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 120
    return shortened.repr(value)


def _parse(raw: bytes, path: Path, first_line: int = 1) -> object:
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        raise DbtInputError(f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8") from error
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DbtInputError(f"{path}: line {line} column {error.colno}: not JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise DbtInputError(f"{path}: line {first_line}: nested too deeply, or a number too long") from error
