"""``require``: an exit code that says whether candidates are verified, for scripts and CI."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from dot_wrapper.cli.exit_codes import DONE, NOT_VERIFIED
from dot_wrapper.cli.ledgers import DatabaseUrls, LedgersFile, open_ledgers
from dot_wrapper.cli.output import Json, age, counted, print_error, print_json, say, stderr
from dot_wrapper.client.errors import InputError
from dot_wrapper.operations.require import Answer, Demand, assert_found, await_verdicts, examine

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}

app = typer.Typer()


@app.command()
def require(
    candidates: Annotated[list[str] | None, typer.Argument(help="Process candidates.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Each candidate that no other follows.")] = False,
    model: Annotated[
        str | None, typer.Option(help="With --all: those with this producer: its code, or its end.")
    ] = None,
    run: Annotated[UUID | None, typer.Option(help="Verified by this run, not by the latest real run.")] = None,
    max_age: Annotated[str | None, typer.Option(help="Verified no longer ago than this: 90s, 10m, 24h, 7d.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Without a caveat.")] = False,
    wait: Annotated[str | None, typer.Option(help="Wait at most so long for a run that is in flight: 10m.")] = None,
    database_urls: DatabaseUrls = None,
    ledgers_file: LedgersFile = None,
    as_json: Json = False,
) -> None:
    """Exit with 0 where each candidate is verified, else with 4 and one line for each that is not, with its reasons.

    A simulated run verifies nothing. A candidate that does not exist, or that has no run of the id of --run, is exit code 3, and a list without
    any is 2. A candidate that several ledgers have must be verified in each of them.

    Example: dot-wrapper require bakery.orders --max-age 24h --strict
    """
    if bool(candidates) == every or (model is not None and not every):
        raise InputError("name candidates, or --all, alone or with --model")
    demand = Demand(
        candidates=None if every else candidates,
        model=model,
        run=run,
        max_age=None if max_age is None else _duration("--max-age", max_age),
        strict=strict,
    )
    patience = timedelta() if wait is None else _duration("--wait", wait)
    with open_ledgers(database_urls, ledgers_file) as ledgers:

        def look() -> list[Answer]:
            found = ledgers.ask(lambda ledger: examine(ledger, demand))
            return [replace(one, ledger=name) for name, answers in found for one in answers]

        def hints(code: str) -> list[str | None]:
            return [hint for _, hint in ledgers.ask(lambda ledger: ledger.hint_of_unknown(code))]

        answers = await_verdicts(look, patience, _say_waiting)
        if not ledgers.failures:
            assert_found(demand, answers, hints)
    missing = [one for one in answers if one.missing]
    if as_json:
        print_json([_row(one) for one in answers] + ledgers.failed())
    else:
        for one in missing:
            of = f"{one.ledger}: " if one.ledger else ""
            instead = f" (require {one.superseded_by})" if one.superseded_by else ""
            since = f", verified {age(one.verified_at)}" if one.verified_at else ""
            say(f"{of}{one.candidate}: {', '.join(one.missing)}{instead}{since}")
        oldest = min((one.verified_at for one in answers if one.verified_at), default=None)
        say(
            f"{counted(len(answers), 'candidate')}, {len(answers) - len(missing)} verified"
            + (f", the oldest {age(oldest)}" if oldest and not missing else "")
        )
    ledgers.end(NOT_VERIFIED if missing else DONE)


def _row(answer: Answer) -> dict[str, object]:
    row = asdict(answer) | {"verified": not answer.missing}
    return {name: value for name, value in row.items() if name != "ledger" or value}


def _say_waiting(count: int) -> None:
    if stderr.is_terminal:
        print_error(f"waiting for a run of {counted(count, 'candidate')}")


def _duration(option: str, given: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,9})\s*(s|m|min|h|d)", given.strip())
    if found is None:
        raise InputError(f"{option}: {given!a} is no length of time; write for instance 90s, 10m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
