"""Reads what dbt reports of nodes: its status words, and the document ``run_results.json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from dot_wrapper.client.calls import Status
from dot_wrapper.sources.dbt.documents import LeaveOut, instant, parsed, validated

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

MESSAGE_LENGTH: Final = 200
"""Characters of what dbt says of a node."""

EXECUTING: Final = frozenset({"build", "retry", "run", "seed", "snapshot", "test"})
"""The commands of dbt, by `args.which`, that execute nodes. `compile`, `clone`, `generate`, `show` and others report results too."""


def outcome_of(status: str) -> str:
    """A status word of dbt as people count it: passed, warned, failed or skipped."""
    words = {"completed": "passed", "failed": "failed", "skipped": "skipped"}
    return "warned" if status == "warn" else words[WRAPPER_STATUS[status]]


@dataclass(frozen=True, slots=True)
class Command:
    """The command of an invocation by `args.which`, None where the file does not say; `empty` for one that read no rows."""

    which: str | None = None
    empty: bool = False

    @property
    def executes(self) -> bool | None:
        """Whether it executed its nodes; None where that is not known."""
        return False if self.empty else None if self.which is None else self.which in EXECUTING

    def __str__(self) -> str:
        if self.which is None and not self.empty:
            return "a command that compiles tests, as `dbt compile` does,"
        words = {None: "with", "generate": "docs generate", "freshness": "source freshness"}
        return f"dbt {words.get(self.which, self.which)}{' --empty' if self.empty else ''}"


def command_of(args: Mapping[str, Any]) -> Command:
    """The command that the arguments of an invocation are of, in `run_results.json` or in a log, whose values are text."""
    line, which = str(args.get("invocation_command") or ""), args.get("which")
    words = line.split()
    with suppress(ValueError):
        words = shlex.split(line)
    if not isinstance(which, str) and words and Path(words[0]).stem == "dbt":
        which = which_of(words[1:])
    return Command(
        which if isinstance(which, str) else None,
        "--empty" in words or str(args.get("empty")).lower() == "true",
    )


def which_of(words: list[str]) -> str | None:
    """The command among the words of a command line; None where there is none."""
    aliases = {"docs": "generate", "source": "freshness", "ls": "list", "run-operation": "run-operation"}
    commands = (*EXECUTING, "clean", "clone", "compile", "debug", "deps", "init", "list", "parse", "show")
    known = {**{name: name for name in commands}, **aliases}
    return next((known[word] for word in words if word in known), None)


def _is_status(word: str) -> str:
    if word not in WRAPPER_STATUS:
        raise ValueError(f"no known status of dbt: {', '.join(WRAPPER_STATUS)}")
    return word


def _canonical(text: str | None) -> str | None:
    """The same time in the same words, which a log may write with fewer digits; text that is no time with a zone stays."""
    time = instant(text)
    return text if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _count(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("expected a count of failures")  # noqa: TRY004  pydantic makes an error of a place of a ValueError only
    return value


Time = Annotated[str, StringConstraints(max_length=64, pattern=r"^[ -~]*$")]
StatusWord = Annotated[str, AfterValidator(_is_status)]
Failures = Annotated[
    int, BeforeValidator(_count), Field(ge=0, le=2**53 - 1)
]  # the wrapper's bound for integers in evidence


@dataclass(slots=True)
class Step:
    """When a step of a node began and ended, as dbt writes it."""

    started_at: Time | None = None
    completed_at: Time | None = None


def _message(value: object) -> str | None:
    """The first line of what dbt says, for people: it is shown, and not stored."""
    lines = value.strip().splitlines() if isinstance(value, str) else []
    return lines[0][:MESSAGE_LENGTH] if lines else None


Message = Annotated[str | None, BeforeValidator(_message)]


class Reported(BaseModel):
    """What dbt reports of one node."""

    unique_id: str = Field(min_length=1)
    status: StatusWord
    failures: Failures | None = None
    timing: list[Step] | None = None
    message: Message = None


@dataclass(frozen=True, slots=True)
class Result:
    """What dbt reported of one node in one invocation: its status word as dbt wrote it, its times in UTC. What it says in words differs
    between a log and run_results.json, and is no part of what is compared or stored."""

    unique_id: str
    status: str
    failures: int
    started_at: str | None
    finished_at: str | None
    message: str | None = field(default=None, compare=False)


def result_of(
    unique_id: str, status: str, failures: int | None, timing: Sequence[Step] | None, message: str | None = None
) -> Result:
    """The result of a node; its first step began it and its last one ended it."""
    steps = timing or ()
    return Result(
        unique_id=unique_id,
        status=status,
        failures=failures or 0,
        started_at=_canonical(next(filter(None, (step.started_at for step in steps)), None)),
        finished_at=_canonical(next(filter(None, (step.completed_at for step in reversed(steps))), None)),
        message=message,
    )


class _Metadata(BaseModel):
    invocation_id: str = Field(min_length=1)


class _RunResults(BaseModel):
    metadata: _Metadata
    results: list[Any]
    args: dict[str, Any] = {}


def read_run_results(path: Path, leave_out: LeaveOut) -> tuple[str, Command, list[tuple[str, Result]]]:
    """Invocation id, command, and the place and result of every node in a run_results document.

    Raises:
        DbtInputError: it is no such document.
    """
    document = parsed(_RunResults, path.read_bytes(), path, leave_out)
    results = []
    for index, entry in enumerate(document.results):
        place = f"results[{index}]"
        reported = validated(Reported, entry, place, leave_out)
        if reported is not None:
            results.append((place, result_of(**dict(reported))))
    return document.metadata.invocation_id, command_of(document.args), results
