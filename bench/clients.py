"""Many clients at once, by pgbench: transactions per second, and multixacts used on what all of them touch."""

from __future__ import annotations

import re

from bench.operations import OBSERVE_COMPONENT, OBSERVE_PAIR, OBSERVE_RUN, ROLES
from bench.server import Server, next_multixact, open_gates

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
