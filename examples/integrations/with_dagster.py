"""A pair as a Dagster asset and its check, with two logins: `python with_dagster.py CANDIDATE DAY`.

The day, which is the asset's partition, is the key: what Dagster materializes again for a day goes on where the run stood.
"""

import os
import sys
from contextlib import suppress

import dagster
from dots import produce, verify

from dot_wrapper import Ledger, PartFailed, caller_path, take_up

candidate, day = sys.argv[1:]


@dagster.asset(partitions_def=dagster.DailyPartitionsDefinition("2026-01-01"))
def numbers(context: dagster.AssetExecutionContext) -> None:
    options = {"evidence_type": "REAL_RUN", "actor": "dagster", "idempotency_key": context.partition_key}
    with Ledger() as ledger, caller_path(ledger, ledger.pair(candidate), **options, wait_seconds=90) as run:
        run.invoke("producer", produce)


@dagster.asset_check(asset=numbers)
def numbers_are_right(context: dagster.AssetCheckExecutionContext) -> dagster.AssetCheckResult:
    ledger = Ledger(os.environ["VERIFIER_DATABASE_URL"])
    options = {"key": context.partition_key, "actor": "dagster_check", "wait_seconds": 90}
    with ledger, take_up(ledger, candidate, **options) as run:
        with suppress(PartFailed):  # the result says so
            run.invoke("verifier", verify)
        verdict = run.verdict()
    return dagster.AssetCheckResult(passed=verdict.verified, metadata={"reasons": list(verdict.reasons)})


if __name__ == "__main__":
    done = dagster.materialize([numbers, numbers_are_right], partition_key=day)
    print("verified" if all(check.passed for check in done.get_asset_check_evaluations()) else "not verified")
