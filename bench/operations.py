"""What is measured by server CPU: operations that a connection does a number of times, and their cost in interleaved rounds.

An operation is a plain function ``(connection, times)``. To measure another one, write it and name it in ``OPERATIONS``.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
from uuid_utils.compat import uuid7

from bench.server import Connection, connected, cpu_seconds
from dot_wrapper.client import calls
from dot_wrapper.client.calls import Role

SLICES = 4  # short turns within a round: what the machine does meanwhile falls on all alike

# The three statements of a pair. {run}, {correlation} and {key} are parameters here and expressions for pgbench.
OBSERVE_RUN = """
select process_run_id from dot.fn_process_run_observe(
    'bench.pair', 'bench.producer', {run}, {correlation}, 'SIMULATED_DRY_RUN', true, 'started', 'bench', {key},
    p_input_ref => 's3://bench/in', p_evidence_ref => '{{"n": 1}}')
"""
OBSERVE_COMPONENT = """
select component_id from dot.fn_process_component_observe(
    'bench.pair', 'bench.{role}', {run}, {correlation}, '{role}', 'completed', 'bench', {key},
    p_output_ref => 's3://bench/out', p_evidence_ref => '{{"n": 1}}')
"""
OBSERVE_PAIR = """
select process_run_id from dot.fn_process_pair_observe(
    'bench.pair', 'bench.producer', 'bench.verifier', {run}, {correlation}, 'SIMULATED_DRY_RUN', true, 'completed', 'completed',
    'bench', {key}, p_input_ref => 's3://bench/in', p_evidence_ref => '{{"n": 1}}', p_producer_output_ref => 's3://bench/out',
    p_producer_evidence_ref => '{{"n": 1}}', p_verifier_output_ref => 's3://bench/out', p_verifier_evidence_ref => '{{"n": 1}}')
"""
INSERT_FUNCTION = """
select process_run_id from bench.fn_insert(
    'bench.pair', 'bench.producer', {run}, {correlation}, 'SIMULATED_DRY_RUN', true, 'started', 'bench', {key},
    p_input_ref => 's3://bench/in', p_evidence_ref => '{{"n": 1}}')
"""
INSERT_RUN = """
insert into bench.process_run_observation (
    process_run_id, observed_at, dry_run, process_candidate_code, dot_code, correlation_id, evidence_type, status, actor,
    session_actor, idempotency_key, input_ref, evidence_ref)
values (
    {run}, clock_timestamp(), true, 'bench.pair', 'bench.producer', {correlation}, 'SIMULATED_DRY_RUN', 'started', 'bench',
    session_user, {key}, 's3://bench/in', '{{"n": 1}}')
"""
INSERT_COMPONENT = """
insert into bench.process_component_observation (
    process_run_id, observed_at, process_candidate_code, component_role, stage, dot_code, correlation_id, evidence_type, status, actor,
    session_actor, idempotency_key, output_ref, evidence_ref)
values (
    {run}, clock_timestamp(), 'bench.pair', '{role}', 'ended', 'bench.{role}', {correlation}, 'SIMULATED_DRY_RUN', 'step_completed',
    'bench', session_user, {key}, 's3://bench/out', '{{"n": 1}}')
"""
ROLES: tuple[Role, ...] = ("producer", "verifier")
BATCH_LINES = 1000
"""Observations of a batch: headers with producer and verifier, and one header without."""


def of_parameters(statement: str, role: str = "") -> bytes:
    """A statement with parameters (run, correlation, key), as bytes: psycopg takes composed text so."""
    return statement.format(run="%s::uuid", correlation="%s", key="%s", role=role).encode()


def _statement(text: str) -> Callable[[Connection, int], None]:
    """One prepared statement per operation, each a run of its own."""
    statement = of_parameters(text)

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            run_id = uuid7()
            connection.execute(statement, (run_id, str(run_id), f"run-{run_id}"), prepare=True)

    return run


def _three(header: str, component: str) -> Callable[[Connection, int], None]:
    """A pair in three statements, each a transaction of its own."""
    first = of_parameters(header)
    others = {role: of_parameters(component, role) for role in ROLES}

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            run_id = uuid7()
            connection.execute(first, (run_id, str(run_id), f"run-{run_id}"), prepare=True)
            for role, statement in others.items():
                key = f"run-{run_id}:{role}:completed"
                connection.execute(statement, (run_id, str(run_id), key), prepare=True)

    return run


REPLAYED = uuid.UUID("0198c0de-0000-7000-8000-000000000001")


def replay(connection: Connection, times: int) -> None:
    """The same call again, of a run that ``store_replayed`` has stored."""
    statement = of_parameters(OBSERVE_RUN)
    for _ in range(times):
        connection.execute(statement, (REPLAYED, str(REPLAYED), "replayed"), prepare=True)


def store_replayed(url: str) -> None:
    """Stores the run that ``replay`` repeats, and that the refusal of another payload is about."""
    with connected(url) as connection:
        replay(connection, 1)


def real_header(token: int) -> Callable[[Connection, int], None]:
    """Headers of real runs behind open gates, under a lease."""
    return _statement(
        OBSERVE_RUN.replace("'SIMULATED_DRY_RUN', true", "'REAL_RUN', false").replace(
            "p_input_ref =>", f"p_lease_token => {token}, p_input_ref =>"
        )
    )


def _refused(constraint: str, arguments: str) -> Callable[[Connection, int], None]:
    """Calls that the wrapper refuses under a constraint; one that it does not refuse so is an error of the benchmark."""
    statement = f"select dot.fn_process_run_observe({arguments})".encode()

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            try:
                connection.execute(statement, (uuid7(),), prepare=True)
            except psycopg.Error as error:
                if error.diag.constraint_name != constraint:
                    raise
            else:
                raise AssertionError(f"not refused: {arguments}")

    return run


REFUSALS: Mapping[str, Callable[[Connection, int], None]] = {
    f"refused: {what}": _refused(constraint, arguments)
    for what, constraint, arguments in (
        (
            "illegal actor",
            "process_run_observation_actor_check",
            "'bench.pair', 'bench.producer', %s, 'c', 'SIMULATED_DRY_RUN', true, 'started', 'no actor'",
        ),
        (
            "unknown DOT",
            "process_run_observation_dot_code_fkey",
            "'bench.pair', 'bench.unknown', %s, 'c', 'SIMULATED_DRY_RUN', true, 'started', 'bench'",
        ),
        (
            "unknown candidate",
            "process_run_observation_process_candidate_code_fkey",
            "'bench.unknown', 'bench.producer', %s, 'c', 'SIMULATED_DRY_RUN', true, 'started', 'bench'",
        ),
        (
            "closed gate",
            "gate_operator_runtime_enabled_check",
            "'bench.pair', 'bench.producer', %s, 'c', 'REAL_RUN', false, 'started', 'bench'",
        ),
        (
            "other payload",
            "idempotency_payload_mismatch",
            "'bench.pair', 'bench.producer', %s, 'c', 'SIMULATED_DRY_RUN', true, 'failed', 'bench', 'replayed'",
        ),
    )
}


def copy(connection: Connection, times: int) -> None:
    """The limit of a batch: its rows by COPY into the two tables, in one transaction."""
    copy_runs = (
        b"copy bench.process_run_observation (observed_at, dry_run, process_candidate_code, dot_code, evidence_type, status,"
        b" actor, session_actor, input_ref, evidence_ref, process_run_id, correlation_id, idempotency_key) from stdin"
    )
    copy_components = (
        b"copy bench.process_component_observation (observed_at, process_candidate_code, stage, evidence_type, status, actor,"
        b" session_actor, output_ref, evidence_ref, process_run_id, correlation_id, idempotency_key, component_role, dot_code)"
        b" from stdin"
    )
    simulated, evidence = "SIMULATED_DRY_RUN", '{"n": 1}'
    header = (
        "now",
        True,
        "bench.pair",
        "bench.producer",
        simulated,
        "started",
        "bench",
        "bench",
        "s3://bench/in",
        evidence,
    )
    component = "now", "bench.pair", "ended", simulated, "step_completed", "bench", "bench", "s3://bench/out", evidence
    for _ in range(times):
        runs = [uuid7() for _ in range(BATCH_LINES // 3 + 1)]
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(copy_runs) as rows:
                for run in runs:
                    rows.write_row((*header, run, str(run), f"run-{run}"))
            with cursor.copy(copy_components) as rows:
                for run in runs[: BATCH_LINES // 3]:
                    for role in ROLES:
                        key = f"run-{run}:{role}:completed"
                        rows.write_row((*component, run, str(run), key, role, f"bench.{role}"))


def batch_of(lines: int, candidates: int = 0) -> Callable[[Connection, int], None]:
    """Batches of so many lines: headers with producer and verifier, all of ``bench.pair`` and the rows of ``copy``; or each run of
    another one of so many candidates, ``bench.pair.0`` and on, which have DOTs of their own."""

    def run(connection: Connection, times: int) -> None:
        for _ in range(times):
            call = calls.batch(_lines(lines, candidates))
            told = call.answer(connection.execute(call.query, call.parameters, prepare=True).fetchall())
            assert all(isinstance(line.observed, calls.ObservedRun | calls.ObservedComponent) for line in told)

    return run


def _lines(count: int, candidates: int) -> list[calls.Observation]:
    lines: list[calls.Observation] = []
    for number in range(count // 3 + 1):
        run, of = uuid7(), f".{number % candidates}" if candidates else ""
        same: dict[str, Any] = {
            "process_candidate_code": f"bench.pair{of}",
            "process_run_id": run,
            "correlation_id": str(run),
            "actor": "bench",
            "evidence_ref": {"n": 1},
        }
        lines.append(
            calls.observe_run(
                **same,
                dot_code=f"bench.producer{of}",
                evidence_type="SIMULATED_DRY_RUN",
                status="started",
                idempotency_key=f"run-{run}",
                input_ref="s3://bench/in",
            )
        )
        for role in ROLES if number < count // 3 else ():
            key = f"run-{run}:{role}:completed"
            lines.append(
                calls.observe_component(
                    **same,
                    dot_code=f"bench.{role}{of}",
                    component_role=role,
                    status="completed",
                    idempotency_key=key,
                    output_ref="s3://bench/out",
                )
            )
    return lines


@dataclass(frozen=True)
class Operation:
    """Something that costs server CPU.

    Attributes:
        run: does it a number of times on a connection.
        rows: how many of what is counted one execution does; the cost is per one of them.
        url: its database, where it is not the one being measured: a peer has its own.
    """

    run: Callable[[Connection, int], None]
    rows: int = 1
    url: str | None = None


OPERATIONS: dict[str, Operation] = {
    "bare INSERT": Operation(_statement(INSERT_RUN)),
    "INSERT without CHECKs": Operation(
        _statement(INSERT_RUN.replace("bench.process_run_observation", "bench.unchecked"))
    ),
    "function that inserts": Operation(_statement(INSERT_FUNCTION)),
    "fn_process_run_observe": Operation(_statement(OBSERVE_RUN)),
    "replay": Operation(replay),
    "three bare INSERTs": Operation(_three(INSERT_RUN, INSERT_COMPONENT)),
    "three observe calls": Operation(_three(OBSERVE_RUN, OBSERVE_COMPONENT)),
    "fn_process_pair_observe": Operation(_statement(OBSERVE_PAIR)),
    "fn_process_observe_batch": Operation(batch_of(BATCH_LINES), rows=BATCH_LINES),
    "COPY": Operation(copy, rows=BATCH_LINES),
    **{what: Operation(run) for what, run in REFUSALS.items()},
}


def costs(
    url: str,
    operations: Mapping[str, Operation],
    *,
    rounds: int,
    calls: int,
    done: Callable[[str], None] = lambda _: None,
) -> dict[str, list[float]]:
    """Server CPU of each operation in microseconds, one figure per round.

    All operations take their turn in each slice of a round, in random order. One more round comes first, uncounted: it warms
    the caches and prepares the statements.
    """
    figures: dict[str, list[float]] = {name: [] for name in operations}
    store_replayed(url)
    with ExitStack() as stack:
        connections = {
            name: stack.enter_context(connected(operation.url or url, "dot_owner" if not operation.url else "postgres"))
            for name, operation in operations.items()
        }
        for number in range(rounds + 1):
            spent = dict.fromkeys(operations, 0.0)
            for _ in range(SLICES):
                for name in _shuffled(operations):
                    operation, connection = operations[name], connections[name]
                    times = max(1, calls // SLICES // operation.rows)
                    before = cpu_seconds(connection)
                    operation.run(connection, times)
                    spent[name] += (cpu_seconds(connection) - before) / times / operation.rows * 1e6 / SLICES
            if number > 0:
                for name, microseconds in spent.items():
                    figures[name].append(microseconds)
            done(f"round {number} of {rounds}")
    return figures


def _shuffled(names: Iterable[str]) -> list[str]:
    shuffled = list(names)
    random.shuffle(shuffled)
    return shuffled
