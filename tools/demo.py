"""What ``make run`` does.

Without an input it demonstrates the main job on the bundled dbt project, in a database of its own on the embedded server: the import;
a rehearsal that preflight refuses; the attestation that lets it in, which this program makes; the rehearsal; the board. With
``INPUT=`` it imports that dbt project into the database that ``dot-wrapper`` uses, and adds nothing else.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from dot_wrapper import cli
from dot_wrapper.cli.output import open_streams, print_error, say
from dot_wrapper.cli.session import database_url, open_ledger
from dot_wrapper.client import database
from dot_wrapper.client.errors import NoDatabase
from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded

EXAMPLE: Final = ROOT / "examples" / "dbt"
DATABASE: Final = "dot_wrapper_demonstration"
ACTOR: Final = "demonstration"

# How the candidates stand, and the one to look at first.
BOARD: Final = """
select count(*) as candidates, count(*) filter (where v3.verified) as verified,
    (array_agg(v3.process_candidate_code order by array_position('{failed,warned,skipped}', seen.outcome),
        v3.process_candidate_code))[1] as first
from dot.v_process_verification_v3 as v3
join dot.v_process_last_seen as seen on seen.process_candidate_code = v3.process_candidate_code
where v3.superseded_by is null
"""


def main() -> int:
    """Imports a project or demonstrates; the exit code of the first command that failed."""
    parser = argparse.ArgumentParser(prog="make run", description="Run the main job on a dbt target directory.")
    parser.add_argument(
        "input", nargs="?", type=Path, help="a dbt target directory; the demonstration where it is left out"
    )
    target: Path | None = parser.parse_args().input
    if os.environ.get("DATABASE_URL") is not None:
        try:
            database.conninfo()
        except NoDatabase as error:
            print_error(f"error: {error.message}")
            return cli.FAILED
    if target is not None:
        return project(target)
    try:
        url = own_database()
    except embedded.EmbeddedServerError as error:
        print_error(f"error: {error}")
        return cli.FAILED
    say(
        f"A demonstration, in database {DATABASE} of the embedded PostgreSQL. Your dbt project: make run INPUT=path/to/target"
    )
    return demonstrate(url)


def project(target: Path) -> int:
    """Imports a dbt project and shows how it is: the counts, what failed or warned first, and what to do next."""
    code = cli.run(("upgrade",))
    if code:
        return code
    os.environ["DATABASE_URL"] = database_url()  # so that the embedded server is named once
    code = cli.run(("import", "dbt", str(target)))
    if code not in (cli.DONE, cli.PARTLY):
        return code
    with open_ledger() as ledger:
        (board,) = ledger.select(BOARD)
    say(
        f"{board['verified']} of {board['candidates']} candidates are verified, by a real run of both parts\n\n"
        f"next: dot-wrapper why {board['first'] or 'CANDIDATE'}\n"
        "next: a pair becomes verified by a runner: docs/howto/dbt.md\n"
        "next: dot-wrapper board, dot-wrapper runs, dot-wrapper inventory"
    )
    return code


def own_database() -> str:
    """The connection string of the demonstration's database on the embedded server, made where it is missing."""
    server = embedded.start()
    with psycopg.connect(server, autocommit=True) as connection:
        if (
            connection.execute("select 1 from pg_catalog.pg_database where datname = %s", (DATABASE,)).fetchone()
            is None
        ):
            connection.execute(f'create database "{DATABASE}"')
    return make_conninfo(server, dbname=DATABASE)


def demonstrate(url: str) -> int:
    """Runs the demonstration on a database. A second time it adds nothing but an attestation, where the first has expired."""
    os.environ["DATABASE_URL"] = url
    code = _show("upgrade") or _show("import", "dbt", os.path.relpath(EXAMPLE))
    if code:
        return code
    with open_ledger() as ledger:
        (first,) = ledger.select("select process_candidate_code from dot.v_process_candidate order by 1 limit 1")
    candidate = first["process_candidate_code"]
    rehearsal = ("rehearse", candidate, "--key", ACTOR, "--actor", ACTOR)
    code = _show(*rehearsal)
    if code == cli.REFUSED:
        code = _attest() or _show(*rehearsal)
    return code or _show("board") or _show("funnel")


def _attest() -> int:
    """Attests that a snapshot exists, where that alone keeps the rehearsal out, and logs who did so."""
    with open_ledger() as ledger:
        blocked = [one["check_name"] for one in ledger.preflight() if one["verdict"] not in ("PASS", "WARN")]
        if blocked != ["fs_snapshot_present"]:
            return cli.REFUSED
        say("\nA person attests what SQL cannot see. Here the demonstration does, and says so:")
        finding = "attested by the demonstration: no person has looked"
        code = _show("preflight", "attest", "--actor", ACTOR, "--finding", finding)
        if code == cli.DONE:
            ledger.log_command("dot_wrapper.preflight_attest", "apply", "completed", ACTOR, {"reason": "make run"})
    return code


def _show(*command: str) -> int:
    say(f"\n$ dot-wrapper {shlex.join(command)}", style="bold")
    sys.stdout.flush()
    return cli.run(command)


if __name__ == "__main__":
    open_streams()
    sys.exit(main())
