"""``import``, ``record`` and ``rehearse``: the commands that record runs."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from dot_wrapper.cli.exit_codes import PARTLY, REFUSED
from dot_wrapper.cli.output import (
    Json,
    byte_progress,
    counted,
    next_steps,
    print_error,
    print_json,
    print_rows,
    progress_bar,
    say,
    short_name,
)
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import ACTOR, import_dbt
from dot_wrapper.sources.dbt.summary import ImportSummary, Unwell
from dot_wrapper.sources.ndjson.reader import json_schema
from dot_wrapper.sources.ndjson.recorder import RefusedLine, record

REFUSALS_IN_JSON: Final = 1000
"""Refused lines in the JSON summary. Standard error has all of them, and a file can have millions."""
LINES_OF_A_KIND: Final = 20
UNWELL_LINES: Final = 5
WIDTH: Final = 80
"""Characters of a line of a terminal."""
"""Lines of one kind below the figures of an import. The JSON summary has all."""

app = typer.Typer()
imports = typer.Typer(no_args_is_help=True, help="Record what another tool ran, as simulated runs.")
app.add_typer(imports, name="import")


@imports.command("dbt")
def dbt(
    target_dir: Annotated[Path, typer.Argument(help="A dbt target directory, or the project directory above it.")],
    manifest: Annotated[Path | None, typer.Option(help="The manifest, where it lies elsewhere.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="run_results.json or a structured log, where it lies elsewhere.")
    ] = None,
    producer: Annotated[
        list[str] | None,
        typer.Option(metavar="TEST=NODE", help="Which node a test is of, where dbt does not say; may be given again."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Import nothing where a part of the input would be left out.")
    ] = False,
    actor: Annotated[str, typer.Option(help="Who records this.")] = ACTOR,
    as_json: Json = False,
) -> None:
    """Record a dbt invocation: nodes as DOTs, tests and what they test as candidates, results as simulated runs.

    The input is read whole before anything is stored. What cannot be used is left out and listed, the rest is imported, and the exit
    code is 8. The same input again records nothing; a run that is recorded with other results is a conflict: it is named, the others
    are kept, and the exit code is 3.

    A test over several nodes is of the one that --producer or the entry dot.producer of its meta names, else it is in no candidate.

    Example: dot-wrapper import dbt examples/dbt
    """
    given = read_dbt(
        target_dir, manifest=manifest, results=results, producers=_producers(producer or []), strict=strict
    )
    total = len(given.nodes) + len(given.pairs) + len(given.runs)
    with open_ledger() as ledger, progress_bar(total) as progress:
        summary = import_dbt(ledger, given, actor=actor, progress=progress)
    if as_json:
        print_json({**asdict(summary), "nothing_new": summary.nothing_new})
    else:
        _print_summary(summary)
    if summary.conflicts:
        raise typer.Exit(REFUSED)
    if summary.left_out_number:
        raise typer.Exit(PARTLY)


def _producers(options: list[str]) -> dict[str, str]:
    producers = {}
    for option in options:
        # A name may have the sign in it, for instance orders:id>=1; one of a node hardly does.
        test, sign, node = option.rpartition("=")
        if not sign or not test or not node:
            raise InputError(f"--producer {option}: give a test and its node as TEST=NODE")
        producers[test] = node
    return producers


def _print_summary(summary: ImportSummary) -> None:
    rows = [
        ("DOTs", summary.dots, _new(summary.dots_created, summary.dots_updated)),
        ("candidates", summary.candidates, _new(summary.candidates_created)),
        ("runs", summary.runs, _new(summary.runs_created)),
        ("  correlated pairs", summary.correlated_pairs, summary.verifiers),
        ("  both skipped", summary.both_skipped, ""),
        ("  producer only", summary.producer_only, ""),
        ("  verifier only", summary.verifier_only, summary.verifiers_alone),
        ("candidates never observed", summary.never_observed, ""),
        ("results of nodes", summary.results, summary.nodes),
        ("  that belong to no pair", summary.unpaired_results, ""),
        ("tests over several nodes", len(summary.several), ""),
        ("tests on something that is no node", len(summary.sourceless_tests), ""),
        ("DOTs that left the project", len(summary.retired), _new(summary.dots_retired) if summary.retired else ""),
    ]
    rare = {"  both skipped", "tests over several nodes", "DOTs that left the project"}
    print_rows(
        [
            {"what": what, "found": found, "recorded": recorded}
            for what, found, recorded in rows
            if found or what not in rare
        ],
        {"what": "import", "found": "found", "recorded": ""},
    )
    for line in _remarks(summary):
        say(line)
    if summary.nothing_new:
        say("nothing new")


def _remarks(summary: ImportSummary) -> Iterator[str]:
    """What the figures do not say."""
    if not (summary.results or summary.executed_nothing or summary.left_out_number):
        yield "no results yet: run `dbt build`" + (
            f"; {summary.text_log} is no structured log, which dbt writes with `--log-format-file json`"
            if summary.text_log
            else ""
        )
    for command in summary.executed_nothing:
        alone = "" if summary.invocations else ": the catalogue alone was imported"
        yield f"{command} executed nothing{alone}"
    if summary.nodes.failed:
        failed, skipped = summary.nodes.failed, summary.nodes.skipped
        yield f"dbt failed: {failed} of {counted(summary.results, 'node')} failed, {skipped} skipped"
    yield from _first(map(_unwell, summary.unwell), UNWELL_LINES)
    if summary.never_correlated:
        yield (
            "no invocation has both parts of a pair: `dbt run` and then `dbt test` are two; "
            "`dbt build`, or a runner, correlates them"
        )
    yield from _first(
        f"over several nodes: {test}: {', '.join(nodes)}; name the one with --producer or dot.producer in its meta"
        for test, nodes in summary.several.items()
    )
    for one in summary.successors:
        is_of, stands = (
            ("was of", f"is superseded by {one.superseded_by}")
            if one.superseded_by
            else ("is of", f"supersedes {one.supersedes}")
        )
        yield f"pair changed: {one.test} {is_of} {one.producer}: {one.candidate} {stands}"
    yield from _first(f"retired: {code} left the project" for code in summary.retired)
    yield from _first(f"renamed: {name} is {code}" for code, name in summary.renamed.items())
    for part in summary.left_out:
        yield f"left out: {part}"
    if summary.left_out_number > len(summary.left_out):
        yield f"left out: {summary.left_out_number - len(summary.left_out)} more"
    for conflict in summary.conflicts:
        yield f"conflict: {conflict.what}: {conflict.reason}"
    yield from next_steps(one.hint for one in summary.conflicts)


def _unwell(node: Unwell) -> str:
    """Lines of a terminal: what failed, of which node; then when, and what dbt says of it. A node that was skipped often has neither."""
    failures = f" ({node.failures})" if node.failures else ""
    of = f" of {short_name(node.producer)}" if node.producer else ""
    is_utc = node.finished_at is not None and node.finished_at.endswith("Z")
    time = f"{(node.finished_at or '')[:19].replace('T', ' ')} UTC: " if is_utc else ""
    lines = [f"{node.outcome}{failures}: {short_name(node.unique_id)}{of}"]
    if node.message or node.outcome != "skipped":
        lines.append(f"  {time}{node.message or 'dbt says nothing'}")
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines)


def _first(lines: Iterator[str], number: int = LINES_OF_A_KIND) -> Iterator[str]:
    yield from islice(lines, number)
    more = sum(1 for _ in lines)
    if more:
        yield f"and {more} more, see --json"


def _new(created: int, updated: int = 0) -> str:
    return f"{created} new" + (f", {updated} updated" if updated else "")


@app.command("record")
def record_lines(
    file: Annotated[str, typer.Argument(help="An NDJSON file, one observation per line; - is standard input.")] = "-",
    atomic: Annotated[bool, typer.Option("--atomic", help="All lines or none, in one transaction.")] = False,
    print_schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a line, and record nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Record observations from a file: one per line, simulated runs only.

    A refused line is reported with its number, field and reason, the others are recorded, and the exit code is 3. The same
    file again records nothing twice: one that was interrupted is simply recorded again.

    Example: dot-wrapper record examples/observations.ndjson
    """
    if print_schema:
        print_json(json_schema())
        return
    refusals: list[RefusedLine] = []

    def refused(line: RefusedLine) -> None:
        field, hint = line.field and f"{line.field}: ", line.hint and f"; next: {line.hint}"
        print_error(f"line {line.line}: {field or ''}{line.reason}{hint or ''}", style="red")
        if len(refusals) < REFUSALS_IN_JSON:
            refusals.append(line)

    by_line = attrgetter("line")
    with _opened(file) as (stream, size), open_ledger() as ledger, byte_progress(size) as progress:
        summary = record(ledger, stream, atomic=atomic, refused=refused, progress=progress)
    if as_json:
        print_json({**asdict(summary), "refusals": [asdict(line) for line in sorted(refusals, key=by_line)]})
    else:
        print_rows(
            [
                {"what": "lines", "count": summary.lines},
                {"what": "runs, new", "count": summary.runs_created},
                {"what": "components, new", "count": summary.components_created},
                {"what": "recorded before", "count": summary.recorded_before},
                {"what": "refused", "count": summary.refused},
            ],
            {"what": "record", "count": "lines"},
        )
        if summary.undone:
            say("nothing was recorded: with --atomic one refused line undoes all")
    if summary.refused:
        raise typer.Exit(REFUSED)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Yields the stream, and its size in bytes; None for a stream of unknown length."""
    if file == "-" and sys.stdin is None:
        raise InputError("standard input is closed: name a file")
    try:
        source = _Source(sys.stdin.fileno(), "standard input") if file == "-" else _Source(file, file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    with io.BufferedReader(source) as stream:
        status = os.fstat(stream.fileno())
        yield stream, status.st_size if stat.S_ISREG(status.st_mode) else None


class _Source(io.FileIO):
    """What is recorded. An error of the system while it is read has no name of a file, so it gets one here."""

    def __init__(self, file: str | int, called: str) -> None:
        super().__init__(file, "rb", closefd=not isinstance(file, int))
        self._called = called
        self._has_begun = False

    def readinto(self, buffer: Any) -> int | None:
        try:
            count = super().readinto(buffer)
        except OSError as error:
            when = " any more; without --atomic, what was recorded before stays" if self._has_begun else ""
            raise InputError(f"{self._called}: cannot be read{when}: {error.strerror}") from error
        self._has_begun = True
        return count


@app.command()
def rehearse(
    candidate: Annotated[str, typer.Argument(help="The process candidate to rehearse.")],
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key takes the same rehearsal up again.")
    ] = None,
    actor: Annotated[str, typer.Option(help="Who rehearses.")] = "operator",
    as_json: Json = False,
) -> None:
    """Walk the full caller path of a candidate without executing anything: gates, preflight, lease, header, components.

    Records one SIMULATED_DRY_RUN. Refused (exit code 3) while preflight blocks or another holder has the lease.

    Example: dot-wrapper rehearse bakery.orders --key rehearsal-1
    """
    with open_ledger() as ledger:
        pair = ledger.pair(candidate)
        with caller_path(ledger, pair, evidence_type="SIMULATED_DRY_RUN", actor=actor, idempotency_key=key) as run:
            # A runner invokes the DOTs here. The wrapper invokes nothing.
            run.producer("completed")
            run.verifier("completed")
    if as_json:
        print_json(
            {
                "process_candidate_code": pair.code,
                "process_run_id": run.process_run_id,
                "correlation_id": run.correlation_id,
                "evidence_type": run.evidence_type,
                "created": run.created,
                "steps": [asdict(step) for step in run.steps],
            }
        )
        return
    print_rows(
        [asdict(step) for step in run.steps], {"name": "step", "outcome": "outcome"}, title=f"rehearsal of {pair.code}"
    )
    say("recorded" if run.created else "nothing new: this key was rehearsed before")
