"""Loads the orders of a day and checks them, and records both as a real run."""

from __future__ import annotations

from collections.abc import Sequence

from dot_wrapper import Ledger, Run, caller_path


def load_and_check(ledger: Ledger, candidate: str, day: str, amounts: Sequence[int], expected: int) -> Run:
    """One real run: the producer loads the amounts, the verifier compares their sum.

    Raises:
        Refusal: a gate, preflight or the lease does not allow it; nothing was loaded.
    """
    pair = ledger.pair(candidate)
    with caller_path(ledger, pair, evidence_type="REAL_RUN", actor="shop", idempotency_key=day) as run:
        output = f"s3://shop/orders/{day}"
        run.producer("completed", output_ref=output)
        run.verifier("completed" if sum(amounts) == expected else "failed", input_ref=output)
    return run
