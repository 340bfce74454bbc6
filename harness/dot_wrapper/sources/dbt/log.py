"""Reads the structured log of dbt, one event in JSON a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from dot_wrapper.sources.dbt.documents import LeaveOut, encoding_of, validated
from dot_wrapper.sources.dbt.results import (
    Command,
    Failures,
    Message,
    Reported,
    Result,
    StatusWord,
    Step,
    command_of,
    result_of,
    which_of,
)

_REPORTED: Final = {"NodeFinished", "MainReportArgs", "CommandCompleted"}


@dataclass(slots=True)
class _Info:
    name: str
    invocation_id: str | None = None


@dataclass(slots=True)
class _NodeInfo:
    unique_id: Annotated[str, Field(min_length=1)]


@dataclass(slots=True)
class _RunResult:
    status: StatusWord
    num_failures: Failures | None = None
    timing_info: list[Step] | None = None
    message: Message = None


@dataclass(slots=True)
class _FinishedNode:
    node_info: _NodeInfo
    run_result: _RunResult


@dataclass(slots=True)
class _Event:
    """An event. The data of a finished node that are not valid are read part by part, so that what is wrong is named."""

    info: _Info
    data: Annotated[_FinishedNode | Any, Field(union_mode="left_to_right")] = None


class _Finished(BaseModel):
    node_info: _NodeInfo
    run_result: dict[str, Any]


_EVENT: Final = TypeAdapter(_Event)


class Log:
    """The structured log in a file, which is read again each time that it is iterated.

    Attributes:
        commands: the command of each invocation that says it, as far as it was read.
        events: how many lines were events; none in a log of plain text.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.commands: dict[str, Command] = {}
        self.events = 0

    def results(self, leave_out: LeaveOut) -> Iterator[tuple[str, str, Result]]:
        """Place, invocation id and result of every finished node. Lines that are no event are left out, many in a row as one."""
        self.events, first, last = 0, 0, 0
        for number, line in self._lines():
            event = _event(line)
            if event is None:
                first, last = first or number, number
                continue
            if first:
                leave_out(*_no_event(first, last))
            self.events, first = self.events + 1, 0
            if event.info.name in _REPORTED:
                yield from self._reported(event, f"line {number}", leave_out)
        if first:
            leave_out(*_no_event(first, last))

    def _reported(self, event: _Event, place: str, leave_out: LeaveOut) -> Iterator[tuple[str, str, Result]]:
        invocation_id, data = event.info.invocation_id, event.data
        if event.info.name != "NodeFinished":
            self._command(invocation_id, data if isinstance(data, dict) else {})
        elif not invocation_id:
            leave_out(f"{place}: info.invocation_id", "it is missing")
        else:
            result = _result(data, place, leave_out)
            if result is not None:
                yield place, invocation_id, result

    def _command(self, invocation_id: str | None, data: dict[str, Any]) -> None:
        if invocation_id is None:
            return
        before = self.commands.get(invocation_id, Command())
        if isinstance(data.get("args"), dict):
            found = command_of(data["args"])
            self.commands[invocation_id] = Command(before.which or found.which, before.empty or found.empty)
        elif isinstance(data.get("command"), str):
            # What dbt says itself, for instance `dbt build`, `cli docs generate`.
            found_which = which_of(data["command"].split()[1:])
            self.commands[invocation_id] = Command(found_which or before.which, before.empty)

    def _lines(self) -> Iterator[tuple[int, str | bytes]]:
        """The lines that are not blank, by number."""
        with self._path.open("rb") as start:
            encoding = encoding_of(start.read(4))
        # UTF-8 stays bytes, of which JSON is read faster.
        text = None if encoding == "utf-8" else encoding
        with self._path.open("rb" if text is None else "r", encoding=text, errors=text and "replace") as lines:
            yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _event(line: str | bytes) -> _Event | None:
    try:
        return _EVENT.validate_json(line.strip())
    except ValidationError:
        return None


def _result(data: Any, place: str, leave_out: LeaveOut) -> Result | None:
    if isinstance(data, _FinishedNode):
        run = data.run_result
        return result_of(data.node_info.unique_id, run.status, run.num_failures, run.timing_info, run.message)
    finished = validated(_Finished, data if isinstance(data, dict) else {}, f"{place}: data", leave_out)
    if finished is None:
        return None
    names = {"status": "status", "failures": "num_failures", "timing": "timing_info", "message": "message"}
    given = {name: finished.run_result[key] for name, key in names.items() if key in finished.run_result}
    given["unique_id"] = finished.node_info.unique_id
    reported = validated(Reported, given, f"{place}: data.run_result", leave_out)
    return None if reported is None else result_of(**dict(reported))


def _no_event(first: int, last: int) -> tuple[str, str]:
    return (f"line {first}" if first == last else f"lines {first} to {last}"), "no event of dbt's structured log"
