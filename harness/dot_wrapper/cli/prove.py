"""``prove``: puts a copy of the live schema to the promises."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dot_wrapper.cli.exit_codes import FAILED, FOUND
from dot_wrapper.cli.output import Json, print_error, print_json, print_rows, say, stderr
from dot_wrapper.cli.session import database_url, given_url
from dot_wrapper.client.errors import DotWrapperError, InputError

if TYPE_CHECKING:
    from dot_wrapper.proving.run import Result, Verdict

app = typer.Typer()

EXAMPLES: Final = 100
QUICK: Final = 20

_HOLDS: Final = {True: "holds", False: "DOES NOT HOLD", None: "not proved"}


@app.command()
def prove(
    url: Annotated[
        str | None, typer.Option("--database-url", metavar="URL", help="The database, instead of DATABASE_URL.")
    ] = None,
    scratch: Annotated[
        str | None, typer.Option(metavar="URL", help="A database of another server, on which the copies are made.")
    ] = None,
    examples: Annotated[int, typer.Option(min=3, help="Examples of each property.")] = EXAMPLES,
    seed: Annotated[int | None, typer.Option(min=0, help="What they are drawn from; by default a random one.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK} examples: less than a minute.")] = False,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which it ends with exit code 1.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write each test's result as JUnit XML.", dir_okay=False)
    ] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what a prove has left that was killed.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the schema with this software's, then try to break each promise on a copy of it. Exit code 5 if one does not hold.

    Nothing is written in the database. The login takes CREATEDB, CREATEROLE, and the right to act as dot_owner.

    Example: dot-wrapper prove --quick
    """
    if quick and examples != EXAMPLES:
        raise InputError("--quick and --examples exclude each other")
    run = _suite()
    live = given_url(url, "--database-url") if url is not None else database_url()
    where = None if scratch is None else given_url(scratch, "--scratch")
    if clean:
        removed, held = run.clean(where or live)
        _tell_cleaned(removed, held, as_json)
        return
    size = run.Size(QUICK if quick else examples, secrets.randbelow(2**32) if seed is None else seed, time_limit)
    with _progress() as progress:
        verdict = run.prove(live, size, progress, scratch=where, junit=junit)
    if as_json:
        print_json(_document(verdict, size.seed, size.examples))
    else:
        _tell(verdict)
        say(f"{_HOLDS[verdict.holds]}, with --examples {size.examples} --seed {size.seed}")
    if verdict.problem:
        print_error(f"error: {verdict.problem.message}", style="bold red")
        if verdict.problem.hint:
            print_error(f"next: {verdict.problem.hint}")
    if verdict.holds is not True:
        raise typer.Exit(FAILED if verdict.holds is None else FOUND)


def _suite() -> ModuleType:
    try:
        from dot_wrapper.proving import run
    except ModuleNotFoundError as error:
        raise DotWrapperError(
            f"the suite is not installed: {error}", hint="pip install 'dot-wrapper[prove]'"
        ) from error
    return run


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """The test that runs, on a terminal; elsewhere a line for each promise that is begun."""
    if stderr.is_terminal:
        with stderr.status("drift and state") as status:
            yield lambda name, ended, total: status.update(f"{name}: test {ended + 1} of {total}")
        return
    told: list[str] = []

    def tell(name: str, ended: int, total: int) -> None:
        if name not in told:
            told.append(name)
            print_error(f"{name} ({ended} of {total} tests are done)")

    yield tell


def _tell(verdict: Verdict) -> None:
    drifted = verdict.drift.of("drift")
    rows = [_row("drift", f"the schema is that of {verdict.drift.against}", not drifted, "")]
    levels = {"ok": True, "fail": False}
    rows += [_row("state", one.figure, levels.get(one.level), one.advice or "") for one in verdict.state]
    rows += [_row(one.promise.name, one.promise.sentence, one.holds, _counts(one)) for one in verdict.results]
    print_rows(
        rows, {"name": "promise", "sentence": "what is promised", "holds": "", "tests": "tests"}, unfolded="holds"
    )
    for difference in drifted:
        say(f"drift: {difference}")
    failures = [(result, failure) for result in verdict.results for failure in result.failures]
    for result, failure in failures:
        say(f"\n{result.promise.name}: {failure.test}", style="bold")
        if failure.what != failure.test:
            say(f"{failure.what}:")
        if failure.model is not None:
            say(f"the model says: {failure.model}")
        say(f"the database says: {failure.database}")
    if failures:
        shortest = min((failure for _, failure in failures), key=lambda one: len(one.story))
        say(f"\nThe shortest story that breaks one, for psql: {shortest.test}\n", style="bold")
        say(shortest.story)


def _row(name: str, sentence: str, holds: bool | None, tests: str) -> dict[str, str]:
    return {"name": name, "sentence": sentence, "holds": _HOLDS[holds], "tests": tests}


def _counts(result: Result) -> str:
    counts = {
        "passed": result.passed,
        "failed": len(result.failures),
        "need a superuser": len(result.skipped),
        "not run": result.left,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _document(verdict: Verdict, seed: int, examples: int) -> dict[str, Any]:
    return {
        "holds": verdict.holds,
        "seed": seed,
        "examples": examples,
        "problem": verdict.problem and {"message": verdict.problem.message, "hint": verdict.problem.hint},
        "drift": [asdict(one) for one in verdict.drift.of("drift")],
        "state": [asdict(one) for one in verdict.state],
        "promises": [
            {
                "name": one.promise.name,
                "sentence": one.promise.sentence,
                "holds": one.holds,
                "passed": one.passed,
                "skipped": one.skipped,
                "not_run": one.left,
                "seconds": round(one.seconds, 1),
                "failures": [asdict(failure) for failure in one.failures],
            }
            for one in verdict.results
        ],
    }


def _tell_cleaned(removed: list[str], held: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"removed": removed, "held": held})
        return
    for name in removed:
        say(f"removed {name}")
    for name in held:
        say(f"left {name}: its prove is running")
    say(f"{len(removed)} removed, {len(held)} left")
