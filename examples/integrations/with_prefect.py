"""A pair as a Prefect flow of two tasks with two logins: `python with_prefect.py CANDIDATE KEY OUTPUT`.

What Prefect tries again, or starts again with the same key, goes on where the run stood.
"""

import os
import sys
from pathlib import Path

from prefect import flow, task

from dot_wrapper import Ledger, Part, Run, Transient, caller_path, take_up

candidate, key, path = sys.argv[1:]
output = Path(path)
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


def produce(_run: Run) -> str:
    output.write_text("1 2 3", encoding="utf-8")
    return output.as_uri()


def verify(_run: Run, _produced: Part) -> bool:
    return output.read_text(encoding="utf-8") == "1 2 3"


@flow
def pair() -> bool:
    produced()
    return verified()


print("verified" if pair() else "not verified")
