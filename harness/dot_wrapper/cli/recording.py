"""``import``, ``record`` and ``rehearse``: the commands that record runs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from dot_wrapper.cli.exit_codes import REFUSED
from dot_wrapper.cli.output import Json, byte_progress, print_error, print_json, print_rows, progress_bar, say
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.errors import InputError
from dot_wrapper.sources.dbt.reader import read_dbt
from dot_wrapper.sources.dbt.recorder import ACTOR, ImportSummary, import_dbt
from dot_wrapper.sources.ndjson.reader import json_schema
from dot_wrapper.sources.ndjson.recorder import RefusedLine, record

REFUSALS_IN_JSON: Final = 1000
"""Refused lines in the JSON summary. Standard error has all of them, and a file can have millions."""

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
    actor: Annotated[str, typer.Option(help="Who records this.")] = ACTOR,
    as_json: Json = False,
) -> None:
    """Record a dbt invocation: nodes as DOTs, tests and what they test as candidates, results as simulated runs.

    The input is read and checked whole before anything is stored. The same input again records nothing; a run that is recorded with
    other results is a conflict: it is named, the others are kept, and the exit code is 3.

    Example: dot-wrapper import dbt examples/dbt
    """
    given = read_dbt(target_dir, manifest=manifest, results=results)
    total = len(given.nodes) + len(given.pairs) + len(given.runs)
    with open_ledger() as ledger, progress_bar(total) as progress:
        summary = import_dbt(ledger, given, actor=actor, progress=progress)
    if as_json:
        print_json({**asdict(summary), "nothing_new": summary.nothing_new})
    else:
        _print_summary(summary)
    if summary.conflicts:
        raise typer.Exit(REFUSED)


def _print_summary(summary: ImportSummary) -> None:
    rows = [
        ("DOTs", summary.dots, _new(summary.dots_created, summary.dots_updated)),
        ("candidates", summary.candidates, _new(summary.candidates_created)),
        ("runs", summary.runs, _new(summary.runs_created)),
        (
            "  correlated pairs",
            summary.correlated_pairs,
            f"{summary.verifiers_passed} passed, {summary.verifiers_failed} failed"
            + (f", {summary.verifiers_skipped} skipped" if summary.verifiers_skipped else ""),
        ),
        ("  producer only", summary.producer_only, ""),
        ("  verifier only", summary.verifier_only, ""),
        ("candidates never observed", summary.never_observed, ""),
        ("results that belong to no pair", summary.unpaired_results, ""),
        ("tests on something that is no node", len(summary.sourceless_tests), ""),
    ]
    print_rows(
        [{"what": what, "found": found, "recorded": recorded} for what, found, recorded in rows],
        {"what": "import", "found": "found", "recorded": ""},
    )
    for unique_id in summary.paths_left_out:
        say(f"left out: the path of {unique_id} is not one line of printable ASCII of at most 1,024 bytes")
    for conflict in summary.conflicts:
        say(f"conflict: {conflict.what}: {conflict.reason}")
    if summary.nothing_new:
        say("nothing new")


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
        print_error(f"line {line.line}: {f'{line.field}: ' if line.field else ''}{line.reason}", style="red")
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
    if file == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed: name a file")
        yield sys.stdin.buffer, None
        return
    with ExitStack() as opened:
        try:
            stream = opened.enter_context(Path(file).open("rb"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
        status = os.fstat(stream.fileno())
        yield stream, status.st_size if stat.S_ISREG(status.st_mode) else None


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
