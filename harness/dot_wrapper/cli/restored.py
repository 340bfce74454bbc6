"""``restored``: repairs a database after a restore, clone, promotion or cut-over."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from dot_wrapper.cli.exit_codes import FOUND
from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say
from dot_wrapper.cli.session import connect
from dot_wrapper.operations.restored import Report, restore

app = typer.Typer()


@app.command()
def restored(
    actor: Annotated[str, typer.Option(help="Who does it, for the audit.")],
    reason: Annotated[str, typer.Option(help="Which move it was, for the audit.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make a database safe that was restored, cloned, promoted or cut over to: owners, rights, gates, leases, attestations.

    It closes and ends, and opens nothing. A second run changes nothing. Exit code 5 where something is left that is not a
    restore's doing. docs/howto/moving.md has the procedures.

    \b
    Example: dot-wrapper restored --actor ana \\
        --reason 'dump of 2026-11-26 restored' --dry-run
    """
    with connect() as connection:
        report = restore(connection, actor=actor, reason=reason, dry_run=dry_run)
    drift = [one for one in report.left if one.level == "drift"]
    if as_json:
        print_json(asdict(report) | {"drift": len(drift)})
    else:
        _tell(report)
    if drift:
        raise typer.Exit(FOUND)


def _tell(report: Report) -> None:
    areas = Counter(one.area for one in report.changes)
    rights = areas.pop("rights", 0)
    rows = [asdict(one) for one in report.changes if one.area != "rights"]
    if rights:
        rows.insert(0, {"area": "rights", "what": f"{rights} owners, rights and trigger modes are put back"})
    if rows:
        print_rows(rows, {"area": "area", "what": "would be done" if report.dry_run else "done"})
    else:
        say("nothing to do")
    for one in report.left:
        say(f"left: {one}" + (f"\n    {one.cure}" if one.cure else ""))
    for mechanism in report.mechanisms:
        say(f"attested where it came from, see `dot-wrapper attest`: {mechanism}")
    if report.waiting:
        say(
            f"outbox: {counted(report.waiting, 'event')} not acknowledged. Where the database that this one was copied from goes"
            " on, its relay delivers them too."
        )
    if report.waiting is None:
        say(
            "Gates, leases, attestations and the outbox are unchanged: a definition differs from this software's, so calling the"
            " schema's functions might run foreign code. Restore what is left, then run this again.",
            style="bold red",
        )
    if report.dry_run:
        say("a dry run: nothing was changed")
