"""A pair as a Prefect flow of two tasks with two logins: `python with_prefect.py CANDIDATE KEY`.

What Prefect tries again, or starts again with the same key, goes on where the run stood.
"""

import os
import sys

from dots import produce, verify
from prefect import flow, task

from dot_wrapper import Ledger, Transient, caller_path, take_up

candidate, key = sys.argv[1:]
tried_again = task(retries=3, retry_condition_fn=lambda _task, _run, state: isinstance(state.data, Transient))


@tried_again
def produced() -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "prefect", "idempotency_key": key, "wait_seconds": 90}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options) as run:
        run.invoke("producer", produce)


@tried_again
def verified() -> bool:
    ledger = Ledger(os.environ["VERIFIER_DATABASE_URL"])
    with ledger, take_up(ledger, candidate, key=key, actor="prefect_check", wait_seconds=90) as run:
        run.invoke("verifier", verify)
        return run.verdict().verified


@flow
def pair() -> bool:
    produced()
    return verified()


print("verified" if pair() else "not verified")
