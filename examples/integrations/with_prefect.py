"""A pair as a Prefect flow of two tasks with two logins: `python with_prefect.py CANDIDATE KEY OUTPUT`.

What Prefect tries again, or starts again with the same key, goes on where the run stood.
"""

import os
import sys
from pathlib import Path

from prefect import flow, task

from dot_wrapper import Ledger, Transient, caller_path, take_up

candidate, key, path = sys.argv[1:]
output = Path(path)
tried_again = task(retries=3, retry_condition_fn=lambda _task, _run, state: isinstance(state.data, Transient))


@tried_again
def produce() -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "prefect", "idempotency_key": key, "wait_seconds": 90}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options) as run:
        if run.needs("producer"):
            with run.part("producer") as part:
                output.write_text("1 2 3", encoding="utf-8")
                part.output_ref = output.as_uri()


@tried_again
def verify() -> bool:
    ledger = Ledger.pool(url=os.environ["VERIFIER_DATABASE_URL"])
    with ledger, take_up(ledger, candidate, key=key, actor="prefect_check", wait_seconds=90) as run:
        if run.needs("verifier"):
            with run.part("verifier") as part:
                part.input_ref = output.as_uri()
                part.passed = output.read_text(encoding="utf-8") == "1 2 3"
        return run.verdict().verified


@flow
def pair() -> bool:
    produce()
    return verify()


print("verified" if pair() else "not verified")
