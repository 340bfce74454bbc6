"""``review``: one page for the DBA who says yes or no to a change of the SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dot_wrapper.cli.exit_codes import A_PERSON_DECIDES, DO_NOT_DEPLOY, DONE
from dot_wrapper.cli.output import Json, print_error, print_json, say, stderr
from dot_wrapper.client.errors import DotWrapperError, InputError

if TYPE_CHECKING:
    from dot_wrapper.review.packet import Packet

app = typer.Typer()

_CODES: Final = {"nothing to decide": DONE, "a person decides": A_PERSON_DECIDES, "do not deploy": DO_NOT_DEPLOY}


@app.command()
def review(
    first: Annotated[str, typer.Argument(metavar="A", help="A commit, a revision such as 0004, or commit:revision.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same: what is proposed.")],
    section: Annotated[
        str, typer.Option(help="alembic, or amendment: the optional one, on top of the main line.")
    ] = "alembic",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Write the page, and the scripts beside it.", dir_okay=False),
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="A page that fits into a comment: under 65,536 characters.")
    ] = False,
    stats: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV of relname, n_live_tup: the rows of the real database.")
    ] = None,
    suite: Annotated[Path | None, typer.Option(metavar="FILE", help="JUnit XML of the property suite on B.")] = None,
    made_up: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Files of a revision, to rehearse where B has none that A lacks.",
            file_okay=False,
            exists=True,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say on one page what a change of the SQL does: rights, objects, locks, checks. Exit code 0 nothing to decide, 6 a person decides,
    7 do not deploy.

    It runs the SQL of both sides on scratch servers of its own, and reaches no other database.

    Example: dot-wrapper review origin/main HEAD -o review.md
    """
    if section not in ("alembic", "amendment"):
        raise InputError(f"--section is alembic or amendment, not {section}")
    packets, pages, checks = _modules()
    request = packets.Request(
        (first, second),
        section,
        stats=checks.stats(stats) if stats else {},
        suite=checks.suite(suite) if suite else None,
        made_up=made_up and made_up.resolve(),
    )
    with _progress() as progress:
        packet: Packet = packets.make(request, progress)
    files = (
        {} if out is None else {direction: out.with_name(f"{out.stem}.{direction}.sql") for direction in packet.scripts}
    )
    text = pages.page(packet, {direction: file.name for direction, file in files.items()}, brief=brief)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        for direction, file in files.items():
            file.write_text(packet.scripts[direction], encoding="utf-8")
    if as_json:
        print_json(_document(packet, out))
    elif out is None:
        typer.echo(text, nl=False)
    else:
        for one in packet.findings:
            if one.level != "note":
                declared = f" (declared: {one.declared})" if one.declared else ""
                # One line: a line of its own could be a command of the CI.
                say(" ".join(f"{one.level}: {one.rule} {one.subject}{declared}".split()))
        say(f"{packet.verdict}: {out}", style="bold")
    if code := _CODES[packet.verdict]:
        raise typer.Exit(code)


def _modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Imported here, because importing alembic takes half a second."""
    try:
        from dot_wrapper.review import checks, packet, page
    except ModuleNotFoundError as error:
        raise DotWrapperError(f"not installed: {error.name}", hint="pip install 'dot-wrapper[review]'") from error
    return packet, page, checks


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is done now, on a terminal; elsewhere a line for each part."""
    if stderr.is_terminal:
        with stderr.status("both sides are unpacked") as status:
            yield status.update
        return
    yield print_error


def _document(packet: Packet, out: Path | None) -> dict[str, Any]:
    return {
        "verdict": packet.verdict,
        "from": {"commit": packet.first.commit, "revision": packet.first.revision},
        "to": {"commit": packet.second.commit, "revision": packet.second.revision},
        "page": out and str(out),
        "findings": [
            {"level": one.level, "rule": one.rule, "subject": one.subject, "declared": one.declared}
            for one in packet.findings
        ],
        "scripts": {
            direction: {"lines": len(text.splitlines()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
            for direction, text in packet.scripts.items()
        },
    }
