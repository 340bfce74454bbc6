"""How long writers wait while the amendment is taken on tables of a million rows: ``python -m bench.amendment``.

Four sessions record headers as fast as they can. Measured is the longest call that overlaps each revision, in either direction;
one ADD CONSTRAINT that looks at every row at once, which is what the two revisions are there to avoid; and, as the noise of the
machine, two seconds of nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from rich.console import Console
from rich.table import Table

from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded

WRITERS = 4

FILL = """
select dot.fn_dot_tool_register(c) from (values ('bench.producer'), ('bench.verifier')) as v (c);
select dot.fn_process_candidate_define('bench.pair', 'bench.producer', 'bench.verifier', 'bench');
insert into dot.process_run_observation (process_run_id, observed_at, dry_run, process_candidate_code, dot_code, correlation_id,
    evidence_type, status, actor, session_actor, evidence_ref)
select gen_random_uuid(), clock_timestamp(), true, 'bench.pair', 'bench.producer', 'c', 'SIMULATED_DRY_RUN', 'started', 'bench',
    'bench', '{{"rows": 1}}'
from generate_series(1, {rows});
insert into dot.process_component_observation (process_run_id, observed_at, process_candidate_code, component_role, stage, dot_code,
    correlation_id, evidence_type, status, actor, session_actor, evidence_ref)
select process_run_id, clock_timestamp(), 'bench.pair', 'producer', 'ended', 'bench.producer', 'c', 'SIMULATED_DRY_RUN', 'step_completed',
    'bench', 'bench', '{{"rows": 1}}'
from dot.process_run_observation;
"""

OBSERVE = """
select dot.fn_process_run_observe('bench.pair', 'bench.producer', gen_random_uuid(), 'c', 'SIMULATED_DRY_RUN', true, 'started',
    'bench')
"""

# The constraints that are there, added anew under their names and at once.
ONE_STEP = """
do $one_step$
declare
    v_constraint record;
begin
    for v_constraint in
        select r.conrelid::regclass as relation, r.conname, pg_get_constraintdef(r.oid) as definition
        from pg_constraint r
        where r.conname in ('process_run_observation_status_check', 'process_component_observation_status_check')
        order by r.conname desc
    loop
        execute format('alter table %s drop constraint %I, add constraint %I %s', v_constraint.relation, v_constraint.conname,
            v_constraint.conname, v_constraint.definition);
    end loop;
end
$one_step$;
"""


class Writers:
    """Sessions that record one header after the other, and when each call began and ended."""

    def __init__(self, url: str) -> None:
        self._calls: list[list[tuple[float, float]]] = [[] for _ in range(WRITERS)]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(url, calls)) for calls in self._calls]

    def _write(self, url: str, calls: list[tuple[float, float]]) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not self._over.is_set():
                began = time.monotonic()
                connection.execute(OBSERVE, prepare=True)
                calls.append((began, time.monotonic()))

    def during(self, work: Callable[[], object]) -> tuple[float, float]:
        """How long the work takes, and the longest call that overlaps it, in milliseconds."""
        began = time.monotonic()
        work()
        ended = time.monotonic()
        time.sleep(0.5)  # so that a call that began meanwhile has ended
        calls = [end - start for calls in self._calls for start, end in calls if start < ended and end > began]
        return 1000 * (ended - began), 1000 * max(calls)

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def measure(url: str, rows: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Per way what ``Writers.during`` says, once per round."""
    main_line = Config(str(ROOT / "alembic.ini"))
    amendment = Config(str(ROOT / "alembic.ini"), ini_section="amendment")
    os.environ["DATABASE_URL"] = url
    command.upgrade(main_line, "head")
    found: dict[str, list[tuple[float, float]]] = {}
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(FILL.format(rows=rows).encode())
        admin.execute("vacuum analyze")
        ways: dict[str, Callable[[], object]] = {
            "nothing, for 2 s": lambda: time.sleep(2),
            "upgrade to a001": lambda: command.upgrade(amendment, "a001"),
            "upgrade to a002": lambda: command.upgrade(amendment, "head"),
            "downgrade to a001": lambda: command.downgrade(amendment, "a001"),
            "downgrade to base": lambda: command.downgrade(amendment, "base"),
            "one ADD CONSTRAINT": lambda: admin.execute(ONE_STEP),
        }
        for _ in range(rounds):
            for name, work in ways.items():
                with Writers(url) as writers:
                    found.setdefault(name, []).append(writers.during(work))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="amendment", description="How long writers wait for the amendment.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="headers, and as many components")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dotw"))
    folder.chmod(0o755)
    try:
        found = measure(embedded.start(18, folder), given.rows, given.rounds)
    finally:
        embedded.stop(18, folder)
        shutil.rmtree(folder, ignore_errors=True)
    table = Table("with four writers", "took, ms", "longest call, ms")
    for name, times in found.items():
        table.add_row(name, *(" / ".join(f"{one[part]:.0f}" for one in times) for part in (0, 1)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
