"""``drift``: compares the installed schema with this software's."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dot_wrapper.cli.exit_codes import FOUND
from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say
from dot_wrapper.cli.session import connect
from dot_wrapper.client.errors import InputError
from dot_wrapper.operations.drift import Report, beside, examine, line, parse, rows

app = typer.Typer()


@app.command()
def drift(
    against_beside: Annotated[
        bool, typer.Option("--beside", help="Compare with head installed beside it, which is rolled back.")
    ] = False,
    print_found: Annotated[bool, typer.Option("--rows", help="Print what is installed, one row per line.")] = False,
    expected: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with these rows instead of this software's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every definition, right and role of the schema with this software's. Exit code 5 if a guard differs.

    Example: dot-wrapper drift --json
    """
    if sum((against_beside, print_found, expected is not None)) > 1:
        raise InputError("--beside, --rows and --expected exclude each other")
    given = parse(_text(expected)) if expected else None
    with connect() as connection:
        if print_found:
            found = rows(connection)
            if as_json:
                print_json([[*key, found[key]] for key in sorted(found)])
            else:
                for key in sorted(found):
                    typer.echo(line(key, found[key]))
            return
        report = beside(connection) if against_beside else examine(connection, given)
    if as_json:
        print_json(asdict(report) | {"drift": len(report.of("drift"))})
    else:
        _tell(report)
    if report.of("drift"):
        raise typer.Exit(FOUND)


def _tell(report: Report) -> None:
    if report.differences:
        shown = [
            {
                "level": one.level,
                "what": f"{one.kind} {one.identity}\n{one.property}",
                "values": one.summary(),
            }
            for one in report.differences
        ]
        print_rows(shown, {"level": "level", "what": "what", "values": "expected, and found"}, lines=True)
    curable = [one for one in report.differences if one.cure and one.level != "info"]
    for heading, of_shell in (("As a superuser, in psql:", False), ("In a shell, in the checkout:", True)):
        chosen = list(dict.fromkeys(one.cure for one in curable if one.cure and one.is_cured_in_shell() == of_shell))
        if chosen:
            say(f"\n{heading}", style="bold")
            if not of_shell:
                say("set search_path = pg_catalog, pg_temp;")  # so that the statements find no objects of other schemas
            for cure in chosen:
                say(cure)
    counts = ", ".join(f"{len(report.of(level))} {level}" for level in ("drift", "warn", "info"))
    say(f"{counts}: {counted(report.rows, 'row')} compared with {report.against}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
