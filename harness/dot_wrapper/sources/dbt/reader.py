"""Reads the artifacts and structured logs of dbt runs; connects to no database.

A dbt node (model, seed, source, test, ...) is a DOT. A dbt test is the verifier of the node it is of, its producer. One invocation
that finished at least one of the two is one run of that pair.
"""

from __future__ import annotations

import errno
import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from dot_wrapper.sources.dbt.documents import DbtInputError, LeftOut, LeftOutList, encoding_of
from dot_wrapper.sources.dbt.log import Log
from dot_wrapper.sources.dbt.manifest import TESTS, AttachedTest, Node, read_manifest
from dot_wrapper.sources.dbt.results import Command, Result, read_run_results
from dot_wrapper.sources.dbt.runs import Counted, PairRuns

HELD: Final = 10_000
"""Results of a log that are held, a few megabytes: those of one with more are read a second time, because it may not fit in memory."""
_HOW_TO_LOG = "run dbt with `--log-format-file json` (for logs/dbt.log) or `--log-format json`"


@dataclass(frozen=True, slots=True)
class DbtInput:
    """A manifest and its results.

    `invocation_ids` are those that executed nodes, in the order read; `executed_nothing` the commands of the others. `results` counts
    the finished nodes of every invocation that executed nodes, `unpaired_results` those among them that are in no pair. `several` are
    tests over several nodes of which none is known as their producer, each with these; `sourceless_tests` are of no node of the
    manifest. `known` has every name that the project has, `left_out` what could not be used, the first of `left_out_number`.
    `text_log` is a log of plain text that was found in place of results.
    """

    nodes: tuple[Node, ...]
    pairs: tuple[AttachedTest, ...]
    runs: PairRuns
    invocation_ids: tuple[str, ...]
    executed_nothing: tuple[str, ...]
    results: int
    unpaired_results: int
    several: Mapping[str, tuple[str, ...]]
    sourceless_tests: tuple[str, ...]
    known: frozenset[str]
    project: str | None
    generated_at: datetime | None
    manifest_path: Path
    results_path: Path | None
    text_log: Path | None
    left_out: tuple[LeftOut, ...]
    left_out_number: int


def read_dbt(
    target_dir: Path,
    *,
    manifest: Path | None = None,
    results: Path | None = None,
    producers: Mapping[str, str] | None = None,
    strict: bool = False,
) -> DbtInput:
    """Reads and checks the whole input of a dbt project.

    `target_dir` is a dbt target directory or the project directory above it. The results are in
    `run_results.json` beside the manifest, else in a structured log, `dbt.jsonl` or `dbt.log`, in the
    project's `logs`; without any, nothing was observed. `manifest` and `results` name the files instead;
    whether `results` is a run_results document or a log is told by its content. `producers` names the producer
    of tests, both by unique_id or name. Of a node that finished twice in an invocation the last result counts.

    What cannot be used is left out and listed, all else is read.

    Raises DbtInputError for a missing or unreadable file, a manifest or named file of results that is none, a name in `producers`
    that the manifest does not have, and with `strict` for anything that would be left out.
    """
    left_out = LeftOutList()
    try:
        manifest_path = manifest or _find_manifest(target_dir)
        found = read_manifest(manifest_path, producers or {}, left_out.of(manifest_path))
        path = results or _find_results(target_dir, manifest_path, given=manifest is not None)
        reported = _Reported(path, found.kinds, manifest_path, named=results is not None)
        counted = Counted(found.pairs, found.kinds)
        for invocation_id, result in reported.first(left_out):
            counted.add(invocation_id, result.unique_id)
    except OSError as error:
        raise DbtInputError(f"{error.filename or target_dir}: cannot be read: {error.strerror}") from error
    executing = {name: one for name, one in counted.invocations.items() if reported.executes(name)}
    for unusable in reported.unusable():
        left_out.extend(unusable)
    if strict and left_out.number:
        more = f"; {left_out.number} such places in all" if left_out.number > 1 else ""
        raise DbtInputError(f"{left_out.entries[0]}{more}")
    return DbtInput(
        nodes=found.nodes,
        pairs=found.pairs,
        runs=PairRuns(
            found.pairs,
            path,
            reported.again,
            {name: one.last_result for name, one in executing.items()},
            sum(one.runs for one in executing.values()),
        ),
        invocation_ids=tuple(executing),
        executed_nothing=tuple(reported.executed_nothing()),
        results=sum(one.results for one in executing.values()),
        unpaired_results=sum(one.unpaired for one in executing.values()),
        several=found.several,
        sourceless_tests=found.sourceless_tests,
        known=frozenset(found.kinds),
        project=found.project,
        generated_at=found.generated_at,
        manifest_path=manifest_path,
        results_path=path,
        text_log=reported.text_log,
        left_out=tuple(left_out.entries),
        left_out_number=left_out.number,
    )


class _Reported:
    """The results of nodes of the manifest."""

    def __init__(self, path: Path | None, kinds: Mapping[str, str], manifest: Path, *, named: bool) -> None:
        self._path = path
        self._kinds = kinds
        self._manifest = manifest
        self._named = named
        self._held: list[tuple[str, Result]] | None = []
        self._log: Log | None = None
        self._commands: dict[str, Command] = {}
        # By invocation: what is left out of it where it executed nodes, and whether it reports tests as compiled.
        self._unusable: dict[str, LeftOutList] = {}
        self._compiled: set[str] = set()
        self.text_log: Path | None = None

    def first(self, left_out: LeftOutList) -> Iterator[tuple[str, Result]]:
        """Invocation and result, in the order read."""
        if self._path is None:
            return
        if _is_log(self._path) if self._named else self._path.name != "run_results.json":
            yield from self._first_of_log(self._path, left_out)
            return
        leave_out = left_out.of(self._path)
        try:
            invocation_id, command, results = read_run_results(self._path, leave_out)
        except DbtInputError as error:
            if self._named:
                raise
            leave_out("", str(error).removeprefix(f"{self._path}: "))
            return
        self._commands[invocation_id] = command
        self._held = list(self._of_manifest(((place, invocation_id, one) for place, one in results), self._leave_out))
        yield from self._held

    def _first_of_log(self, path: Path, left_out: LeftOutList) -> Iterator[tuple[str, Result]]:
        self._log = Log(path)
        self._commands = self._log.commands
        lines = LeftOutList()
        held: list[tuple[str, Result]] = []
        for result in self._of_manifest(self._log.results(lines.of(path)), self._leave_out):
            if len(held) <= HELD:
                held.append(result)
            yield result
        self._held = held if len(held) <= HELD else None
        if self._log.events:
            left_out.extend(lines)
        elif self._named:
            said = f"{lines.entries[0].place}: not a structured log" if lines.number else "it is empty"
            raise DbtInputError(f"{path}: {said}; {_HOW_TO_LOG}")
        elif lines.number:
            self.text_log = path

    def again(self) -> Iterable[tuple[str, Result]]:
        """The same once more."""
        if self._held is not None or self._log is None:
            return self._held or ()
        return self._of_manifest(self._log.results(lambda *_: None), lambda *_: None)

    def executes(self, invocation_id: str) -> bool:
        """Whether an invocation executed its nodes. Where its command is not known, compiled tests say that it did not."""
        executes = self._commands.get(invocation_id, Command()).executes
        return invocation_id not in self._compiled if executes is None else executes

    def unusable(self) -> Iterator[LeftOutList]:
        """What is left out of the invocations that executed nodes."""
        return (one for invocation_id, one in self._unusable.items() if self.executes(invocation_id))

    def executed_nothing(self) -> list[str]:
        """The commands of the invocations that executed nothing, each once."""
        nothing = [one for one in (*self._commands, *self._compiled) if not self.executes(one)]
        return sorted({str(self._commands.get(one, Command())) for one in nothing})

    def _leave_out(self, invocation_id: str, place: str, reason: str) -> None:
        self._unusable.setdefault(invocation_id, LeftOutList()).of(self._path)(place, reason)

    def _of_manifest(
        self, results: Iterable[tuple[str, str, Result]], leave_out: Callable[[str, str, str], None]
    ) -> Iterator[tuple[str, Result]]:
        for place, invocation_id, result in results:
            name, kind = result.unique_id, self._kinds.get(result.unique_id)
            if kind is None:
                same = "results and manifest must be of the same state of the project"
                leave_out(invocation_id, place, f"{name} is not in {self._manifest}: {same}")
            elif kind in TESTS and result.status == "success":
                # A test that ran has status pass, warn, fail or error: counting this would record a verification that did not happen.
                self._compiled.add(invocation_id)
                leave_out(invocation_id, place, f"{name} has status 'success': the test was compiled, not run")
            else:
                yield invocation_id, result


def _find_manifest(target_dir: Path) -> Path:
    candidates = target_dir / "manifest.json", target_dir / "target" / "manifest.json"
    for path in candidates:
        if _is_there(path):
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
    return next(filter(_is_there, candidates), None)


def _is_there(path: Path) -> bool:
    """Whether there is anything under a name. What is no file is found too, so that reading it says what it is.

    Raises:
        OSError: that cannot be seen, as in a folder that this login may not enter.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        raise
    return True


def _is_log(path: Path) -> bool:
    with path.open("rb") as lines:
        encoding = encoding_of(lines.read(4))
    with path.open(encoding=encoding, errors="replace") as text:
        first = next((line for line in text if line.strip()), "")
    try:
        head = from_json(first)
    except ValueError:
        return not first.lstrip().startswith("{")  # an indented document breaks its first line, a log never
    return not isinstance(head, dict) or head.keys().isdisjoint(("metadata", "results"))
