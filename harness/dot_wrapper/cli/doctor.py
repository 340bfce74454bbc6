"""``doctor``: checks a database, and says what to do about each finding."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Final

import typer

from dot_wrapper.cli.exit_codes import FAILED, FOUND
from dot_wrapper.cli.output import Json, print_json, print_rows, say
from dot_wrapper.cli.session import connect
from dot_wrapper.client.errors import InputError
from dot_wrapper.operations.doctor import Limits, examine

app = typer.Typer()

_DEFAULT: Final = Limits()


@app.command()
def doctor(
    transaction: Annotated[
        int, typer.Option(min=0, help="Seconds that a transaction may be open.")
    ] = _DEFAULT.transaction,
    outbox_lag: Annotated[int, typer.Option(min=1, help="Seconds that an event may wait.")] = _DEFAULT.outbox_lag,
    outbox_depth: Annotated[int, typer.Option(min=1, help="Events that may wait.")] = _DEFAULT.outbox_depth,
    open_run: Annotated[int, typer.Option(min=0, help="Seconds that a run may be unfinished.")] = _DEFAULT.open_run,
    open_gate: Annotated[int, typer.Option(min=0, help="Seconds that a gate may be open.")] = _DEFAULT.open_gate,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="A check whose failure is known and accepted; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with the database: settings, guards, vacuum, gates, outbox, runs. Exit code 5 if a check failed.

    Example: dot-wrapper doctor --accept fsync --accept full_page_writes
    """
    limits = Limits(transaction, outbox_lag, outbox_depth, open_run, open_gate)
    with connect() as connection:
        examination = examine(connection, limits)
    findings = examination.findings
    unknown = set(accept or []) - {one.check for one in findings}
    if unknown:
        raise InputError(f"no check is called {', '.join(sorted(unknown))}: `dot-wrapper doctor` names them")
    failed = [one.check for one in findings if one.level == "fail" and one.check not in (accept or [])]
    if as_json:
        print_json({"failed": failed, "findings": [asdict(one) for one in findings]})
    else:
        rows = [
            asdict(one) | {"found": f"{one.figure}\n{one.advice}" if one.advice else one.figure} for one in findings
        ]
        print_rows(rows, {"level": "level", "check": "check", "found": "found, and what to do"})
        levels = Counter(one.level for one in findings)
        say(", ".join(f"{count} {level}" for level, count in levels.items()))
    if failed:
        raise typer.Exit(FOUND if examination.installed else FAILED)
