"""The main job, start to end, with every command it runs shown: ``make run``.

Upgrades the database, imports a dbt target directory, rehearses one pair and prints board, funnel and inventory. On a fresh
database the rehearsal is first refused by preflight: somebody has to attest that a snapshot exists. The demonstration does
that, for an hour, and logs it. A second run on the same data adds nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from dot_wrapper import cli
from dot_wrapper.cli.output import open_streams, say
from dot_wrapper.cli.session import database_url, open_ledger
from dot_wrapper.client.errors import DotWrapperError
from dot_wrapper.files import ROOT

KEY: Final = "demonstration"
ACTOR: Final = "demonstration"


def main() -> int:
    """Runs the demonstration; the exit code of the first command that failed."""
    parser = argparse.ArgumentParser(prog="make run", description="Run the main job on a dbt target directory.")
    parser.add_argument("input", nargs="?", type=Path, default=ROOT / "examples" / "dbt")
    target: Path = parser.parse_args().input
    code = _show("upgrade")
    if code == cli.DONE:
        os.environ["DATABASE_URL"] = database_url()  # so that only the first command names the embedded server
    code = code or _import(target) or _rehearse()
    for command in ("board", "funnel", "inventory"):
        code = code or _show(command)
    return code


def _import(target: Path) -> int:
    """A conflict is told and is no reason to stop: everything else was recorded."""
    code = _show("import", "dbt", _relative(target))
    return 0 if code == cli.REFUSED else code


def _rehearse() -> int:
    """Rehearses the first candidate; where preflight blocks, attests, logs that, and rehearses again."""
    try:
        with open_ledger() as ledger:
            found = ledger.select(
                "select process_candidate_code from dot.v_process_candidate order by process_candidate_code limit 1"
            )
    except DotWrapperError as error:
        say(f"error: {error.message}")
        return cli.FAILED
    if not found:
        say("\nNo candidate is defined: there is no pair to rehearse.")
        return cli.DONE
    rehearsal = ("rehearse", found[0]["process_candidate_code"], "--key", KEY, "--actor", ACTOR)
    code = _show(*rehearsal)
    if code != cli.REFUSED:
        return code
    with open_ledger() as ledger:
        blocked = [one["check_name"] for one in ledger.preflight() if one["verdict"] not in ("PASS", "WARN")]
        if blocked != ["fs_snapshot_present"]:
            return cli.REFUSED
        finding = "attested by the demonstration, nobody looked"
        attested = _show("preflight", "attest", "--actor", ACTOR, "--finding", finding)
        if attested == cli.DONE:
            ledger.log_command("dot_wrapper.preflight_attest", "apply", "completed", ACTOR, {"reason": "make run"})
    return attested or _show(*rehearsal)


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _show(*command: str) -> int:
    say(f"\n$ dot-wrapper {shlex.join(command)}", style="bold")
    sys.stdout.flush()
    return cli.run(command)


if __name__ == "__main__":
    open_streams()
    sys.exit(main())
