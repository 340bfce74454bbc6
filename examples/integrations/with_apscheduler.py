"""A producer once a day and a verifier that takes what waits for it, with two logins: `python with_apscheduler.py CANDIDATE OUTPUT`.

The day is the key: however often the scheduler is started, the producer runs once a day.
"""

import os
import sys
from datetime import date, datetime
from pathlib import Path

from apscheduler.schedulers.blocking import BlockingScheduler

from dot_wrapper import Ledger, caller_path, take_up

candidate, path = sys.argv[1:]
output = Path(path)
scheduler = BlockingScheduler()


@scheduler.scheduled_job("cron", hour=0, next_run_time=datetime.now(), misfire_grace_time=None)
def produce() -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "nightly", "idempotency_key": f"{date.today()}"}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options, wait_seconds=90) as run:
        if run.needs("producer"):
            with run.part("producer") as part:
                output.write_text("1 2 3", encoding="utf-8")
                part.output_ref = output.as_uri()


@scheduler.scheduled_job("interval", seconds=5, next_run_time=datetime.now())
def verify() -> None:
    with Ledger.pool(url=os.environ["VERIFIER_DATABASE_URL"]) as ledger:
        for waiting in ledger.awaiting_verifier(candidate):
            with (
                take_up(ledger, candidate, run_id=waiting.process_run_id, actor="nightly_check") as run,
                run.part("verifier") as part,
            ):
                part.input_ref = run.output_ref
                part.passed = output.read_text(encoding="utf-8") == "1 2 3"
            print("verified" if run.verdict().verified else "not verified", flush=True)


scheduler.start()
