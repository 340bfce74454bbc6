"""A producer once a day and a verifier that takes what waits for it, with two logins: `python with_apscheduler.py CANDIDATE`.

The day is the key: however often the scheduler is started, the producer runs once a day.
"""

import os
import sys
from contextlib import suppress
from datetime import date, datetime

from apscheduler.schedulers.blocking import BlockingScheduler
from dots import produce, verify

from dot_wrapper import Ledger, PartFailed, caller_path, take_up

(candidate,) = sys.argv[1:]
scheduler = BlockingScheduler()


@scheduler.scheduled_job("cron", hour=0, next_run_time=datetime.now(), misfire_grace_time=None)
def produced() -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "nightly", "idempotency_key": f"{date.today()}"}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options, wait_seconds=90) as run:
        run.invoke("producer", produce)


@scheduler.scheduled_job("interval", seconds=5, next_run_time=datetime.now())
def verified() -> None:
    with Ledger(os.environ["VERIFIER_DATABASE_URL"]) as ledger:
        for waiting in ledger.awaiting_verifier(candidate):
            with take_up(ledger, candidate, run_id=waiting.process_run_id, actor="nightly_check") as run:
                with suppress(PartFailed):  # the verdict says so
                    run.invoke("verifier", verify)
                print("verified" if run.verdict().verified else "not verified", flush=True)


scheduler.start()
