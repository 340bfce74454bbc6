"""What the wrapper costs, beside the physical limit: ``make bench``, or ``python -m bench``.

It starts a server of its own and prints one table, with target, measured and verdict per row. A target that is missed is a
result and no failure: the exit code is 1 only where a row could not be measured because of an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import ERROR, NOT_MEASURED, Row
from bench.rows import ROWS, Bench, Measurement
from bench.server import NotMeasured, Server, connected, one, running
from dot_wrapper.cli.output import print_error, progress_bar

MILLION = 1_000_000


def main() -> int:
    """Measures the selected rows and prints them."""
    given = _arguments().parse_args()
    selected = [ROWS[name] for name in given.only] if given.only else list(ROWS.values())
    began = time.monotonic()
    with running() as server, ExitStack() as stack:
        tell = stack.enter_context(progress_bar(len(selected)))
        bench = Bench(
            server=server,
            size=given.size,
            rounds=given.rounds,
            calls=given.calls,
            files={"message-db": given.message_db, "absurd": given.absurd},
            needed=[name for one in selected for name in one.operations],
            done=lambda what: tell(what, 0),
        )
        found: dict[str, list[Row]] = {}
        for measurement in selected:
            found[measurement.name] = _measured(measurement, bench)
            tell(measurement.name, 1)
        circumstances = _circumstances(server, bench, time.monotonic() - began)
        grown = bench.grown
    if given.json:
        given.json.write_text(
            json.dumps({**circumstances, "rows": found, "growth": grown}, indent=2, default=_jsonable), encoding="utf-8"
        )
    _print(found, circumstances)
    return 1 if any(row.verdict == ERROR for rows in found.values() for row in rows) else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--size", type=_number, default=_number(os.environ.get("SIZE") or "1M"), help="runs, for instance 10M"
    )
    parser.add_argument(
        "--rounds", type=int, default=6, help="interleaved rounds that count (default 6, at least 5 for a figure)"
    )
    parser.add_argument("--calls", type=int, default=1200, help="calls of each operation in a round (default 1200)")
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="ROW", help=f"one of: {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file, too")
    parser.add_argument(
        "--message-db", type=Path, metavar="FILE", help="SQL that makes message-db's schema message_store"
    )
    parser.add_argument("--absurd", type=Path, metavar="FILE", help="SQL that makes absurd's schema")
    return parser


def _number(text: str) -> int:
    found = re.fullmatch(r"(\d+)([kM]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: 10k, 1M, 250000")
    return int(found[1]) * {"": 1, "k": 1000, "M": MILLION}[found[2]]


def _measured(measurement: Measurement, bench: Bench) -> list[Row]:
    try:
        rows = measurement.measure(bench)
    except NotMeasured as reason:
        return [Row(measurement.what, "", f"not measured: {reason}", NOT_MEASURED)]
    except Exception as error:  # whatever it is, the other rows are measured
        print_error(traceback.format_exc())
        return [Row(measurement.what, "", f"error: {type(error).__name__}: {error}", ERROR)]
    return rows if isinstance(rows, list) else [rows]


def _circumstances(server: Server, bench: Bench, seconds: float) -> dict[str, object]:
    with connected(server.url, "postgres") as admin:
        version = one(admin, "show server_version")
    return {
        "postgresql": version,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "size": bench.size,
        "rounds": bench.rounds,
        "calls": bench.calls,
        "seconds": round(seconds),
    }


def _print(found: dict[str, list[Row]], circumstances: dict[str, object]) -> None:
    title = (
        f"PostgreSQL {circumstances['postgresql']}, {circumstances['processors']} processors,"
        f" {circumstances['size']:,} runs, {circumstances['rounds']} rounds, {circumstances['seconds']} s;"
        " ratios of server CPU: median (lowest to highest)"
    )
    table = Table("what", "target", "measured", "verdict", title=title, title_justify="left")
    for rows in found.values():
        for row in rows:
            table.add_row(row.what, row.target, row.measured, row.verdict)
    Console(markup=False, emoji=False, highlight=False).print(table)


def _jsonable(value: object) -> object:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


if __name__ == "__main__":
    sys.exit(main())
