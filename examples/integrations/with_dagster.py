"""A pair as a Dagster asset and its check, with two logins: `python with_dagster.py CANDIDATE DAY OUTPUT`.

The day, which is the asset's partition, is the key: what Dagster materializes again for a day goes on where the run stood.
"""

import os
import sys
from pathlib import Path

import dagster

from dot_wrapper import Ledger, caller_path, take_up

candidate, day, path = sys.argv[1:]
output = Path(path)


@dagster.asset(partitions_def=dagster.DailyPartitionsDefinition("2026-01-01"))
def numbers(context: dagster.AssetExecutionContext) -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "dagster", "idempotency_key": context.partition_key}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options, wait_seconds=90) as run:
        if run.needs("producer"):
            with run.part("producer") as part:
                output.write_text("1 2 3", encoding="utf-8")
                part.output_ref = output.as_uri()


@dagster.asset_check(asset=numbers)
def numbers_are_right(context: dagster.AssetCheckExecutionContext) -> dagster.AssetCheckResult:
    ledger = Ledger.pool(url=os.environ["VERIFIER_DATABASE_URL"])
    options = {"key": context.partition_key, "actor": "dagster_check", "wait_seconds": 90}
    with ledger, take_up(ledger, candidate, **options) as run:
        if run.needs("verifier"):
            with run.part("verifier") as part:
                part.input_ref = output.as_uri()
                part.passed = output.read_text(encoding="utf-8") == "1 2 3"
        verdict = run.verdict()
    return dagster.AssetCheckResult(passed=verdict.verified, metadata={"reasons": list(verdict.reasons)})


if __name__ == "__main__":
    done = dagster.materialize([numbers, numbers_are_right], partition_key=day)
    print("verified" if all(check.passed for check in done.get_asset_check_evaluations()) else "not verified")
