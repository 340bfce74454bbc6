"""``catalogue``: the DOTs and candidates, and defining them from a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.catalogue import define, read_catalogue
from harness.cli.exit_codes import REFUSED
from harness.cli.output import Json, counted, print_json, print_rows, progress_bar, say
from harness.cli.session import open_ledger

catalogue = typer.Typer(
    no_args_is_help=True, help="What could be executed: DOTs, and candidates, which are pairs of them."
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(catalogue, name="catalogue")


@catalogue.command("show")
def catalogue_show(as_json: Json = False) -> None:
    """List the DOTs, and the candidates with their producer and verifier.

    Example: dot-wrapper catalogue show
    """
    with open_ledger() as ledger:
        dots = ledger.select("select * from dot.v_dot_tool order by dot_code")
        candidates = ledger.select("select * from dot.v_process_candidate order by process_candidate_code")
    if as_json:
        print_json({"dots": dots, "candidates": candidates})
        return
    for dot in dots:
        dot["path"] = dot["script_path"] or dot["file_path"]
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


@catalogue.command("define")
def catalogue_define(
    file: Annotated[
        Path, typer.Argument(help="A .yaml file with dots and candidates, or a .csv file of the one or the other.")
    ],
    actor: Annotated[str, typer.Option(help="Who defines them.")],
    as_json: Json = False,
) -> None:
    """Register DOTs and define candidates from a file.

    The file is checked whole before anything is stored. The same file again is nothing new. A candidate is never changed: a
    code that names another pair is a conflict, it is named, the others are kept, and the exit code is 3.

    Example: dot-wrapper catalogue define examples/catalogue.yaml --actor ana
    """
    given = read_catalogue(file)
    with open_ledger() as ledger, progress_bar(len(given.dots) + len(given.candidates)) as progress:
        summary = define(ledger, given, actor=actor, progress=progress)
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
    if summary.conflicts:
        raise typer.Exit(REFUSED)
