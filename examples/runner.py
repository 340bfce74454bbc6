"""A runner around the wrapper, complete but for what it runs: copy it, and put your DOTs where the two functions are.

    python examples/runner.py shop.orders --actor nightly --key 2026-11-21

The wrapper never executes a DOT. A runner does, between the calls that record it: after the header is stored the producer may
run, after the producer's end is stored the verifier may. Each call asks the gates and the lease anew, so a gate that is
closed in the middle stops the run at the next call. Exit codes: 0 verified, 1 not verified, 3 refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness.caller_path import Run, caller_path
from harness.errors import Refusal
from harness.ledger import Ledger


def produce(run: Run) -> Path:
    """Where the producer DOT is invoked. This one is harmless: it writes the numbers from 1 to 100 into a file of its own."""
    output = Path(tempfile.gettempdir()) / f"numbers-{run.process_run_id}.txt"
    output.write_text("\n".join(str(number) for number in range(1, 101)), encoding="utf-8")
    return output


def verify(output: Path) -> bool:
    """Where the verifier DOT is invoked. It looks at what this very run produced, and at nothing else."""
    return sum(int(line) for line in output.read_text(encoding="utf-8").splitlines()) == 5050


def execute(ledger: Ledger, candidate: str, actor: str, key: str) -> bool:
    """One real run of a pair: whether its verifier passed.

    Raises:
        Refusal: a gate, preflight, the lease or an argument does not allow it; the DOT that would have come next is not run.
    """
    pair = ledger.pair(candidate)
    with caller_path(ledger, pair, evidence_type="REAL_RUN", actor=actor, idempotency_key=key) as run:
        run.producer("started")
        try:
            output = produce(run)
        except Exception as error:
            run.producer("failed", error_ref=type(error).__name__)
            raise
        run.producer("completed", output_ref=output.as_uri())
        run.renew()  # a long DOT keeps its lease; where this is False somebody else has the pair, and the next call refuses
        passed = verify(output)
        run.verifier("completed" if passed else "failed", input_ref=output.as_uri())
        output.unlink()
    return passed


def main() -> int:
    """Runs one pair and prints its verdict."""
    parser = argparse.ArgumentParser(description="Run one pair for real.")
    parser.add_argument("candidate")
    parser.add_argument("--actor", required=True)
    parser.add_argument("--key", required=True, help="the same key takes the same run up again")
    arguments = parser.parse_args()
    with Ledger() as ledger:
        try:
            execute(ledger, arguments.candidate, arguments.actor, arguments.key)
        except Refusal as refusal:
            print(f"refused: {refusal.message}")
            return 3
        (verdict,) = ledger.select(
            "select verified, reasons from dot.v_process_verification_v3 where process_candidate_code = %s",
            (arguments.candidate,),
        )
    print("verified" if verdict["verified"] else f"not verified: {', '.join(verdict['reasons'])}")
    return 0 if verdict["verified"] else 1


if __name__ == "__main__":
    sys.exit(main())
