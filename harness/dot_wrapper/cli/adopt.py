"""``adopt``: the wrapper reads the catalogue, the gates and the ledgers of a database that had them before."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dot_wrapper.cli.exit_codes import FAILED, FOUND
from dot_wrapper.cli.output import Json, counted, print_json, print_rows, say
from dot_wrapper.cli.session import connect
from dot_wrapper.client.errors import InputError
from dot_wrapper.operations.adoption.checking import Adoption, Problem, check
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.inspection import NAMES, Inspection, comments, inspect
from dot_wrapper.operations.adoption.mapping import read_mapping, to_yaml
from dot_wrapper.operations.adoption.scripts import adopt_sql, unadopt_sql
from dot_wrapper.text import escape_control_characters

app = typer.Typer()


@app.command()
def adopt(
    host_schema: Annotated[
        str, typer.Option(help="The schema that has dot_tools, dot_config and the like.")
    ] = "public",
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TABLE", help="What --inspect and --draft find under another name; repeatable."),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(metavar="FILE", help="The reviewed mapping, YAML.")] = None,
    do_inspect: Annotated[bool, typer.Option("--inspect", help="Look at the host's schema, object by object.")] = False,
    draft: Annotated[bool, typer.Option("--draft", help="Print a first mapping, to be reviewed.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the transaction that adopts, for psql.")] = False,
    back: Annotated[bool, typer.Option("--unadopt-sql", help="Print the transaction that takes it back.")] = False,
    do_check: Annotated[
        bool, typer.Option("--check", help="Compare the database with its adoption, and with --mapping if it is given.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read the DOTs, gates and figures of tables that this database had before the wrapper. It writes nothing itself.

    Exit code 1 while --inspect finds something missing, 5 if --check finds what has changed since. docs/howto/adopt.md goes through all of it.

    Example: dot-wrapper adopt --host-schema public --inspect
    """
    ways = {"--inspect": do_inspect, "--draft": draft, "--sql": sql, "--unadopt-sql": back, "--check": do_check}
    if sum(ways.values()) != 1:
        raise InputError(f"choose one of {', '.join(ways)}")
    if as_json and not (do_inspect or do_check):
        (way,) = (name for name, chosen in ways.items() if chosen)
        raise InputError(f"{way} and --json exclude each other")
    if mapping is not None and not (sql or do_check):
        raise InputError("--mapping goes with --sql and --check: what is taken back is what this database has")
    if sql and mapping is None:
        raise InputError("--sql needs --mapping FILE: `dot-wrapper adopt --draft` prints a first one")
    called = _called(table or [])
    given = None if mapping is None else read_mapping(mapping)
    with connect() as connection:
        if do_inspect:
            _tell_inspection(inspect(connection, host_schema, called), as_json=as_json)
        elif draft:
            _print_draft(inspect(connection, host_schema, called))
        elif back:
            typer.echo(unadopt_sql(connection), nl=False)
        elif do_check:
            _tell_check(*check(connection, given), as_json=as_json)
        elif given is not None:
            typer.echo(adopt_sql(connection, given, tables_of(connection, given)), nl=False)


def _called(options: list[str]) -> dict[str, str]:
    """What tables are called, from NAME=TABLE."""
    called = dict(one.partition("=")[::2] for one in options)
    if wrong := [one for one in options if not all(one.partition("=")) or one.partition("=")[0] not in NAMES]:
        raise InputError(f"--table {wrong[0]}: NAME=TABLE, with a NAME of {', '.join(NAMES)}")
    return called


def _print_draft(found: Inspection) -> None:
    if found.mapping is None:
        missing = "; ".join(f"{one.object}: {one.text}" for one in found.of("missing"))
        raise InputError(f"nothing can be adopted: {missing}")
    for line in comments(found):
        typer.echo(f"# {escape_control_characters(line)}")
    typer.echo(to_yaml(found.mapping), nl=False)


def _tell_inspection(found: Inspection, *, as_json: bool) -> None:
    missing, decide = found.of("missing"), found.of("decide")
    if as_json:
        counts = {"missing": len(missing), "decide": len(decide)}
        print_json(counts | {"findings": [asdict(one) for one in found.findings]})
    else:
        rows = [
            {
                "object": one.object,
                "word": one.word,
                "text": f"{one.text}\n{one.statement}" if one.statement else one.text,
            }
            for one in found.findings
        ]
        print_rows(rows, {"object": "object", "word": "word", "text": "what was found, and the statement"})
        say(f"{len(missing)} missing, {len(decide)} to decide: {counted(len(rows), 'line')}. Nothing was written.")
    if missing:
        raise typer.Exit(FAILED)


def _tell_check(adoption: Adoption | None, problems: list[Problem], *, as_json: bool) -> None:
    failed = [one for one in problems if one.level == "fail"]
    if as_json:
        found = None if adoption is None else {"seams": adoption.seams, "tables": adoption.tables}
        print_json({"adopted": found, "failed": len(failed), "problems": [asdict(one) for one in problems]})
    else:
        if problems:
            rows = [asdict(one) | {"text": f"{one.text}\n{one.repair}"} for one in problems]
            print_rows(rows, {"level": "level", "object": "object", "text": "what has changed, and what repairs it"})
        if adoption is not None:
            say(f"adopted: {', '.join(adoption.tables)}, by mapping {', '.join(sorted(set(adoption.seams.values())))}")
        say(f"{len(failed)} failed, {len(problems) - len(failed)} to know")
    if failed:
        raise typer.Exit(FOUND)
