"""``catalogue``: the DOTs and candidates, and defining them from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dot_wrapper.cli.exit_codes import REFUSED
from dot_wrapper.cli.output import Json, counted, next_steps, print_json, print_rows, progress_bar, say, utc
from dot_wrapper.cli.session import open_ledger
from dot_wrapper.sources.catalogue.reader import read_catalogue
from dot_wrapper.sources.catalogue.recorder import define as define_entries

app = typer.Typer()
commands = typer.Typer(
    no_args_is_help=True, help="What could be executed: DOTs, and candidates, which are pairs of them."
)
app.add_typer(commands, name="catalogue")


@commands.command("show")
def show(as_json: Json = False) -> None:
    """List the DOTs, and the candidates with their producer and verifier and what their definitions ask for.

    Example: dot-wrapper catalogue show
    """
    with open_ledger() as ledger:
        dots = ledger.select("select * from dot.v_dot_tool order by dot_code")
        # A definition may name any candidate of its chain. What is shown is the one before it, in the order of fn_candidate_newest.
        candidates = ledger.select(
            """
            select process_candidate_code, producer_dot_code, verifier_dot_code, producer_role, verifier_role, pins_output,
                max_age::text,
                lag(process_candidate_code) over (
                    partition by coalesce(superseded_by, process_candidate_code) order by source_time, defined_at
                ) as supersedes,
                superseded_by, source_time, description, defined_at, actor, session_actor
            from dot.v_process_candidate
            order by process_candidate_code
            """
        )
    if as_json:
        print_json({"dots": dots, "candidates": candidates})
        return
    for dot in dots:
        dot["path"] = dot["script_path"] or dot["file_path"]
    for candidate in candidates:
        candidate["description"] = "\n".join(_described(candidate))
    print_rows(dots, {"dot_code": "DOT", "category": "category", "execution_engine": "engine", "path": "path"})
    print_rows(
        candidates,
        {
            "process_candidate_code": "candidate",
            "producer_dot_code": "producer",
            "verifier_dot_code": "verifier",
            "description": "description",
        },
    )
    say(f"{counted(len(dots), 'DOT')}, {counted(len(candidates), 'candidate')}")


def _described(candidate: Mapping[str, Any]) -> Iterator[str]:
    """The description of a candidate and the options of its definition, a line each."""
    templates = {
        "description": "{}",
        "producer_role": "producer by {}",
        "verifier_role": "verifier by {}",
        "pins_output": "pins its output",
        "max_age": "verified for {}",
        "supersedes": "supersedes {}",
        "superseded_by": "superseded by {}",
        "source_time": "made of what is of {}",
    }
    for name, text in templates.items():
        if candidate[name]:
            value = candidate[name]
            yield text.format(utc(value) if name == "source_time" else value)


@commands.command("define")
def define(
    file: Annotated[
        Path, typer.Argument(help="A .yaml file with dots and candidates, or a .csv file of the one or the other.")
    ],
    actor: Annotated[str, typer.Option(help="Who defines them.")],
    as_json: Json = False,
) -> None:
    """Register DOTs and define candidates from a file.

    The file is checked whole before anything is stored. The same file again is nothing new. A candidate is never changed: a
    code that is defined otherwise is a conflict, it is named, the others are kept, and the exit code is 3.

    Beside its pair a candidate may have a description, producer_role, verifier_role, pins_output, max_age, supersedes, source_time.

    Example: dot-wrapper catalogue define examples/catalogue.yaml --actor ana
    """
    given = read_catalogue(file)
    with open_ledger() as ledger, progress_bar(len(given.dots) + len(given.candidates)) as progress:
        summary = define_entries(ledger, given, actor=actor, progress=progress)
    if as_json:
        print_json(asdict(summary))
    else:
        print_rows(
            [
                {
                    "what": "DOTs",
                    "new": summary.dots_created,
                    "updated": summary.dots_updated,
                    "unchanged": summary.dots_unchanged,
                },
                {
                    "what": "candidates",
                    "new": summary.candidates_created,
                    "updated": "",
                    "unchanged": summary.candidates_unchanged,
                },
            ],
            {"what": "define", "new": "new", "updated": "updated", "unchanged": "unchanged"},
        )
        for conflict in summary.conflicts:
            say(f"conflict: {conflict.what}: {conflict.reason}")
        for step in next_steps(one.hint for one in summary.conflicts):
            say(step)
    if summary.conflicts:
        raise typer.Exit(REFUSED)
