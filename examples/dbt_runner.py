"""A runner for dbt, in the shape of examples/runner.py: the producer is a node of a dbt project, the verifier a test of it.

    python examples/dbt_runner.py CANDIDATE --project DIR --actor nightly --key 2026-11-26

The codes of the pair's DOTs are dbt's unique ids, and CANDIDATE is TEST@NODE, as `dot-wrapper import dbt` defines them. What is recorded
of either part is what the run_results.json says that dbt wrote in that invocation, into a folder that belongs to this part of this run.
dbt is started by the one call that stores the part's start, so it is never started twice for a run: where its answer was not recorded, the
next start under the same key reads the file, and records a failure where there is none. Exit codes: 0 verified, 1 not verified, 2 the
database or dbt cannot be used, 3 refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dot_wrapper import (
    DotWrapperError,
    InputError,
    LeaseNotLive,
    Ledger,
    Refs,
    Refusal,
    Role,
    Run,
    Status,
    caller_path,
)
from dot_wrapper.sources.dbt.results import WRAPPER_STATUS

COMMANDS: Final = {"model": "run", "seed": "seed", "snapshot": "snapshot", "test": "test"}
"""dbt's command for each kind of node."""


@dataclass(frozen=True)
class Dbt:
    """The dbt command, and the folder of the project that it works on."""

    program: str
    project: Path

    def folder(self, run: Run, role: Role) -> Path:
        """Where dbt writes what one part of one run produces."""
        return self.project / "target" / "dot" / str(run.process_run_id) / role

    def invoke(self, run: Run, role: Role, unique_id: str) -> None:
        """Runs one node and waits for it, for as long as the run has its lease."""
        folder = self.folder(run, role)
        folder.mkdir(parents=True)
        parsed = self.project / "target" / "partial_parse.msgpack"
        if parsed.exists():  # dbt then parses only what has changed since
            shutil.copy(parsed, folder)
        command = [self.program, *arguments(unique_id), "--target-path", str(folder), "--log-path", str(folder)]
        with subprocess.Popen(command, cwd=self.project, stdin=subprocess.DEVNULL, stdout=sys.stderr) as process:
            try:
                wait(run, process)
            except BaseException:
                process.kill()
                raise


def arguments(unique_id: str) -> list[str]:
    """What dbt is called with to run this node and no other.

    Raises:
        InputError: it is not the unique id of a node that dbt can run.
    """
    kind, *rest = unique_id.split(".")
    if kind not in COMMANDS or len(rest) < 2 or not all(re.fullmatch(r"\w[\w-]*", part) for part in rest):
        raise InputError(f"{unique_id}: not the unique id of a dbt {', '.join(COMMANDS)}")
    package, *name = rest
    if kind == "test":
        name = name[:1]  # what follows the name of a generic test is a hash that dbt selects nothing by
    selection = f"package:{package},{'.'.join(name)}"
    only = ["--indirect-selection", "empty"] if kind == "test" else []
    return [COMMANDS[kind], "--select", selection, *only, "--write-json"]


def wait(run: Run, process: subprocess.Popen[bytes]) -> None:
    """Waits for the process, for as long as the run may go on.

    Raises:
        LeaseNotLive: another start may have the pair from now on, or a gate was closed.
    """
    while not run.lost.is_set():
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            continue
        return
    raise LeaseNotLive(f"the run of {run.pair.code} was to end while dbt ran")


def outcome(folder: Path, unique_id: str) -> tuple[Status, Refs]:
    """How a part ended, by what dbt has written into its folder: completed where it ran this node, no other, and nothing failed."""
    error_ref = (folder / "dbt.log").as_uri()
    try:
        written = (folder / "run_results.json").read_bytes()
        document = json.loads(written)
    except (FileNotFoundError, json.JSONDecodeError):  # dbt was killed, or never came to run the node
        return "failed", {"error_ref": error_ref}
    results = {result["unique_id"]: result for result in document["results"]}
    ran = [one for one in results if not one.startswith("operation.")]  # an operation is a hook of the project
    completed = ran == [unique_id] and all(
        WRAPPER_STATUS.get(result["status"]) == "completed" for result in results.values()
    )
    invocation_id, result = document["metadata"]["invocation_id"], results.get(unique_id, {})
    refs: Refs = {
        "output_ref": f"dbt:{invocation_id}/{unique_id}",
        "evidence_ref": {
            "source": "dbt",
            "run_results_sha256": hashlib.sha256(written).hexdigest(),
            "status": result.get("status"),
            "failures": result.get("failures"),
            "relation": result.get("relation_name"),
        },
    }
    if not completed:
        refs["error_ref"] = error_ref
    return ("completed" if completed else "failed"), refs


def execute(ledger: Ledger, dbt: Dbt, candidate: str, actor: str, key: str) -> Run:
    """One real run of a pair. Under a known key it goes on where that run stood.

    Raises:
        Refusal: a gate, preflight, the lease or an argument does not allow it; dbt is not started for what would have come next.
        InputError: the DOTs of the pair are not nodes of dbt; nothing is recorded.
    """
    pair = ledger.pair(candidate)
    for unique_id in (pair.producer_dot_code, pair.verifier_dot_code):
        arguments(unique_id)
    with caller_path(ledger, pair, evidence_type="REAL_RUN", actor=actor, idempotency_key=key) as run:
        part(dbt, run, "producer", pair.producer_dot_code)
        part(dbt, run, "verifier", pair.verifier_dot_code)
    return run


def part(dbt: Dbt, run: Run, role: Role, unique_id: str) -> None:
    """Does one part of a run, where it is still to be done."""
    if not run.needs(role):
        return
    input_ref = run.output_ref if role == "verifier" else None
    record = run.producer if role == "producer" else run.verifier
    if record("started", input_ref=input_ref).created:
        dbt.invoke(run, role, unique_id)
    status, refs = outcome(dbt.folder(run, role), unique_id)
    refs["input_ref"] = input_ref
    record(status, **refs)


def main() -> int:
    """Runs one pair and prints its verdict; what dbt prints goes to standard error."""
    parser = argparse.ArgumentParser(description="Run a dbt node and then a test of it, as one real run of their pair.")
    parser.add_argument("candidate")
    parser.add_argument("--project", type=Path, required=True, help="the folder with dbt_project.yml")
    parser.add_argument("--actor", required=True)
    parser.add_argument("--key", required=True, help="the same key takes the same run up again")
    parser.add_argument("--dbt", default="dbt", help="the dbt command, where it is not on the PATH")
    given = parser.parse_args()
    program = shutil.which(given.dbt)
    if program is None or not (given.project / "dbt_project.yml").is_file():
        print(f"error: no program {given.dbt}" if program is None else f"error: no dbt_project.yml in {given.project}")
        return 2
    try:
        with Ledger() as ledger:
            dbt = Dbt(str(Path(program).absolute()), given.project.absolute())
            run = execute(ledger, dbt, given.candidate, given.actor, given.key)
            verdict = run.verdict()
    except Refusal as refusal:
        print(f"refused: {refusal.message}")
        return 3
    except (DotWrapperError, InputError, OSError) as error:
        print(f"error: {error}")
        return 2
    print("verified" if verdict.verified else f"not verified: {', '.join(verdict.reasons)}")
    return 0 if verdict.verified else 1


if __name__ == "__main__":
    sys.exit(main())
