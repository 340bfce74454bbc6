"""Reads the structured log of dbt, one event in JSON a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from dot_wrapper.sources.dbt.documents import LeaveOut, encoding_of, validated
from dot_wrapper.sources.dbt.results import Command, Reported, Result, command_of, result_of, which_of

_REPORTED: Final = {"NodeFinished", "MainReportArgs", "CommandCompleted"}


class _Info(BaseModel):
    name: str
    invocation_id: str | None = None


class _Event(BaseModel):
    info: _Info
    data: Any = None


class _NodeInfo(BaseModel):
    unique_id: str = Field(min_length=1)


class _Finished(BaseModel):
    node_info: _NodeInfo
    run_result: dict[str, Any]


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
        data = event.data if isinstance(event.data, dict) else {}
        if event.info.name != "NodeFinished":
            self._command(event.info.invocation_id, data)
            return
        if not event.info.invocation_id:
            leave_out(f"{place}: info.invocation_id", "it is missing")
            return
        finished = validated(_Finished, data, f"{place}: data", leave_out)
        if finished is None:
            return
        run = finished.run_result
        names = {"status": "status", "failures": "num_failures", "timing": "timing_info"}
        given = {name: run[key] for name, key in names.items() if key in run}
        given["unique_id"] = finished.node_info.unique_id
        reported = validated(Reported, given, f"{place}: data.run_result", leave_out)
        if reported is not None:
            yield place, event.info.invocation_id, result_of(reported)

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
        return _Event.model_validate_json(line.strip())
    except ValidationError:
        return None


def _no_event(first: int, last: int) -> tuple[str, str]:
    return (f"line {first}" if first == last else f"lines {first} to {last}"), "no event of dbt's structured log"
