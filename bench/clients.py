"""What clients do: many at once, by pgbench, and what a call through ``Ledger`` costs the client beside psycopg alone."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo

from bench.operations import OBSERVE_COMPONENT, OBSERVE_PAIR, OBSERVE_RUN, ROLES
from bench.server import Server, next_multixact, open_gates
from dot_wrapper.client import calls as described
from dot_wrapper.client import database
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger

CLIENTS = (1, 4, 16)
HOT_CLIENTS = 8
SECONDS = 2
EVIDENCE_TYPES = ("SIMULATED_DRY_RUN", "DRY_RUN", "REAL_RUN")

_RUN_ID = "select gen_random_uuid() as run \\gset\n"


def _statement(statement: str, role: str = "") -> str:
    key = f":run::text || ':' || '{role}'"  # pgbench takes a colon before a word for a variable, inside quotes too
    return f"{statement.format(run=':run::uuid', correlation=':run::text', key=key, role=role)};\n"


ONE_CALL = "a header in one call"
THREE_CALLS = "a pair in three calls"
PAIR = "fn_process_pair_observe"
SCRIPTS = {
    ONE_CALL: _RUN_ID + _statement(OBSERVE_RUN),
    PAIR: _RUN_ID + _statement(OBSERVE_PAIR),
    THREE_CALLS: _RUN_ID + _statement(OBSERVE_RUN) + "".join(_statement(OBSERVE_COMPONENT, role) for role in ROLES),
}
"""What a client does in each of its transactions, by name."""


def per_second(server: Server, url: str, script: str, clients: int, *, durable: bool) -> float:
    """Transactions of one of the ``SCRIPTS`` per second."""
    printed = server.pgbench(
        f"{url} options='-c synchronous_commit={'on' if durable else 'off'}'",
        SCRIPTS[script],
        f"--client={clients}",
        f"--jobs={min(clients, 2)}",
        f"--time={SECONDS}",
    )
    found = re.search(r"^tps = ([0-9.]+)", printed, re.MULTILINE)
    assert found, printed
    return float(found[1])


def multixacts(server: Server, url: str, evidence_type: str, calls: int) -> int:
    """Multixacts that clients use who all record runs of one candidate and one DOT, under one lease, behind the same gates."""
    with open_gates(url) as token:
        call = (
            "select dot.fn_process_run_observe('bench.pair', 'bench.producer', gen_random_uuid(), 'hot',"
            f" '{evidence_type}', {evidence_type != 'REAL_RUN'}, 'started', 'bench', p_lease_token => {token});\n"
        )
        before = next_multixact(url)
        server.pgbench(
            f"{url} options='-c synchronous_commit=off'",
            call,
            f"--client={HOT_CLIENTS}",
            "--jobs=2",
            f"--transactions={calls // HOT_CLIENTS}",
        )
        return next_multixact(url) - before


def processor_of_the_client(server: Server, rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds of the client's processor: of a header by psycopg alone, by ``Ledger`` for a login that inherits the role, and for one
    that must set it; and of a whole run in one call and by ``caller_path``, both for the former."""
    url = server.database("client")
    urls = {name: make_conninfo(url, user=f"bench_{name}") for name in ("inherits", "sets")}
    with psycopg.connect(url, autocommit=True) as admin:
        for name, option in (("inherits", "inherit"), ("sets", "noinherit")):
            admin.execute(f"drop role if exists bench_{name}")
            admin.execute(f"create role bench_{name} login {option} in role dot_writer, dot_reader")
        admin.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 3600, 'bench', 'none is needed')")

    with (
        psycopg.connect(urls["inherits"], autocommit=True) as bare,
        Ledger(partial(database.connect, urls["inherits"])) as inherits,
        Ledger(partial(database.connect, urls["sets"])) as sets,
    ):

        def alone() -> None:
            call = _header()
            call.answer(bare.execute(call.query, call.parameters).fetchall())

        def path() -> None:
            with caller_path(inherits, _PAIR, evidence_type="SIMULATED_DRY_RUN", actor="bench") as run:
                run.producer("completed")
                run.verifier("completed")

        ways: dict[str, Callable[[], object]] = {
            "psycopg": alone,
            "inherits": lambda: inherits.run(_header()),
            "sets": lambda: sets.run(_header()),
            "pair": lambda: inherits.run(_whole_run()),
            "path": path,
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, make in ways.items():
                before = time.process_time()
                for _ in range(calls):
                    make()
                found[name].append((time.process_time() - before) / calls * 1e6)
    return {name: costs[1:] for name, costs in found.items()}  # the first round connects and prepares


_PAIR = described.Pair("bench.pair", "bench.producer", "bench.verifier")


def _header() -> described.Call[described.ObservedRun]:
    return described.observe_run(
        process_candidate_code=_PAIR.code,
        dot_code=_PAIR.producer_dot_code,
        process_run_id=uuid.uuid4(),
        correlation_id="bench",
        evidence_type="SIMULATED_DRY_RUN",
        status="started",
        actor="bench",
        idempotency_key=str(uuid.uuid4()),
    )


def _whole_run() -> described.Call[described.ObservedPair]:
    return described.observe_pair(
        process_candidate_code=_PAIR.code,
        producer_dot_code=_PAIR.producer_dot_code,
        verifier_dot_code=_PAIR.verifier_dot_code,
        process_run_id=uuid.uuid4(),
        correlation_id="bench",
        evidence_type="SIMULATED_DRY_RUN",
        producer_status="completed",
        verifier_status="completed",
        actor="bench",
    )
