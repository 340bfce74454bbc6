"""A runner around the wrapper, complete but for what it runs: copy it, and put your DOTs where the two functions are.

    python examples/runner.py shop.orders --actor nightly --key 2026-11-21

The wrapper never executes a DOT. A runner does, between the calls that record it: after the header is stored the producer may
run, after the producer's end is stored the verifier may. Each call asks the gates and the lease anew, so a gate that is
closed in the middle stops the run at the next call. Exit codes: 0 verified, 1 not verified, 2 the database
cannot be used, 3 refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from dot_wrapper import DotWrapperError, LeaseNotLive, Ledger, Refusal, Run, caller_path


def produce(run: Run) -> Path:
    """Where the producer DOT is invoked. This one is harmless: it writes the numbers from 1 to 100 into a file of its own."""
    output = Path(tempfile.gettempdir()) / f"numbers-{run.process_run_id}.txt"
    output.write_text("\n".join(str(number) for number in range(1, 101)), encoding="utf-8")
    return output


def verify(output: Path) -> bool:
    """Where the verifier DOT is invoked. It looks at what this very run produced, and at nothing else."""
    return sum(int(line) for line in output.read_text(encoding="utf-8").splitlines()) == 5050


def execute(ledger: Ledger, candidate: str, actor: str, key: str) -> Run:
    """One real run of a pair. Under a known key it goes on where that run stood: a DOT that has ended is not invoked again.

    Raises:
        Refusal: a gate, preflight, the lease or an argument does not allow it; the DOT that would have come next is not run.
    """
    pair = ledger.pair(candidate)
    with caller_path(ledger, pair, evidence_type="REAL_RUN", actor=actor, idempotency_key=key) as run:
        ended = recorded_ends(ledger, run)
        if "producer" not in ended:
            run.producer("started")
            try:
                output = produce(run)
            except Exception as error:
                run.producer("failed", error_ref=type(error).__name__)
                raise
            run.producer("completed", output_ref=output.as_uri())
            ended["producer"] = output.as_uri()
        output_uri = ended["producer"]
        if output_uri is not None and "verifier" not in ended:
            # A long DOT keeps its lease. Where that is over, another process may have the pair: nothing more is invoked.
            if not run.renew():
                raise LeaseNotLive(f"the lease of {candidate} ran out before the verifier")
            passed = verify(Path(unquote(urlparse(output_uri).path)))
            run.verifier("completed" if passed else "failed", input_ref=output_uri)
    return run


def recorded_ends(ledger: Ledger, run: Run) -> dict[str, str | None]:
    """The roles of a run that have ended, with the output of those that completed."""
    rows = ledger.select(
        "select component_role, output_ref from dot.v_process_run_component where process_candidate_code = %s"
        " and process_run_id = %s and status in ('step_completed', 'failed', 'cancelled')",
        (run.pair.code, run.process_run_id),
    )
    return {row["component_role"]: row["output_ref"] for row in rows}


def verdict(ledger: Ledger, run: Run) -> tuple[bool, list[str]]:
    """Whether this very run is verified, and why not."""
    (row,) = ledger.select(
        "select verified, reasons from dot.v_process_run_verification_v3 where process_candidate_code = %s"
        " and process_run_id = %s",
        (run.pair.code, run.process_run_id),
    )
    return row["verified"], row["reasons"]


def main() -> int:
    """Runs one pair and prints its verdict."""
    parser = argparse.ArgumentParser(description="Run one pair for real.")
    parser.add_argument("candidate")
    parser.add_argument("--actor", required=True)
    parser.add_argument("--key", required=True, help="the same key takes the same run up again")
    arguments = parser.parse_args()
    try:
        with Ledger() as ledger:
            run = execute(ledger, arguments.candidate, arguments.actor, arguments.key)
            verified, reasons = verdict(ledger, run)
    except Refusal as refusal:
        print(f"refused: {refusal.message}")
        return 3
    except DotWrapperError as error:
        print(f"error: {error.message}")
        return 2
    print("verified" if verified else f"not verified: {', '.join(reasons)}")
    return 0 if verified else 1


if __name__ == "__main__":
    sys.exit(main())
