"""A runner around the wrapper, complete but for what it runs: copy it, and put your DOTs where the two functions are.

    python examples/runner.py shop.orders --actor nightly --key 2026-11-21

The wrapper never executes a DOT: these two functions do, in this process, between the calls that record them. Each call asks the gates
and the lease anew, so a gate that is closed in the middle stops the run at the next call. The same key goes on where the run stood, and
invokes nothing again that has ended. Exit codes: 0 verified, 1 not verified, 2 the database cannot be used, 3 refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from dot_wrapper import DotWrapperError, Ledger, Part, Refusal, Run, run_pair


def produce(run: Run) -> str:
    """Where the producer DOT is invoked. This one is harmless: it writes the numbers from 1 to 100 into a file of its own."""
    output = Path(tempfile.gettempdir()) / f"numbers-{run.process_run_id}.txt"
    output.write_text("\n".join(str(number) for number in range(1, 101)), encoding="utf-8")
    return output.as_uri()


def verify(_run: Run, produced: Part) -> bool:
    """Where the verifier DOT is invoked. It looks at what this very run produced, and at nothing else."""
    output = Path(unquote(urlparse(produced.output_ref).path))
    return sum(int(line) for line in output.read_text(encoding="utf-8").splitlines()) == 5050


def main() -> int:
    """Runs one pair and prints its verdict."""
    parser = argparse.ArgumentParser(description="Run one pair for real.")
    parser.add_argument("candidate")
    parser.add_argument("--actor", required=True)
    parser.add_argument("--key", required=True, help="the same key takes the same run up again")
    given = parser.parse_args()
    try:
        with Ledger() as ledger:
            outcome = run_pair(
                ledger, given.candidate, produce=produce, verify=verify, actor=given.actor, key=given.key
            )
    except Refusal as refusal:
        print(f"refused: {refusal.message}")
        return 3
    except DotWrapperError as error:
        print(f"error: {error.message}")
        return 2
    print("verified" if outcome.verified else f"not verified: {', '.join(outcome.reasons)}")
    return 0 if outcome.verified else 1


if __name__ == "__main__":
    sys.exit(main())
