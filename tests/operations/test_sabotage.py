"""Each sabotage of a database that is in use is found: by drift, by the state of its rows, or by a promise that is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dot_wrapper import cli
from dot_wrapper.operations import drift
from support import Database, rows
from support.prove import proved
from support.sabotages import SABOTAGES
from support.sizes import LARGE

# Each breaks a promise, whatever drift says: `.ci/run` proves these.
EIGHT = (
    "function body emptied",
    "verdict view says verified",
    "unique index made plain",
    "rule that swallows rows",
    "host trigger rewrites the actor",
    "comparison changed",
    "operands swapped",
    "writer may write the ledger",
)


def test_there_are_at_least_thirty() -> None:
    assert len(SABOTAGES) >= 30
    assert set(EIGHT) < SABOTAGES.keys()


def test_drift_or_the_state_of_the_rows_tells_of_each(db: Database, subtests: pytest.Subtests) -> None:
    superuser = db.connect("superuser")
    for name, done in SABOTAGES.items():
        with subtests.test(sabotage=name), superuser.transaction(force_rollback=True):
            superuser.execute(done.encode())
            drifted = drift.examine(superuser).of("drift")
            superuser.execute("set local role dot_reader")
            assert drifted or rows(superuser, "select finding from dot.v_dot_state")


@pytest.mark.sabotage
@pytest.mark.usefixtures("client_programs")
@pytest.mark.parametrize("name", SABOTAGES if LARGE else EIGHT)
def test_prove_finds_it(name: str, db: Database, record_property: Callable[[str, object], None]) -> None:
    db.connect("superuser").execute(SABOTAGES[name].encode())
    code, told = proved(db.url, "--seed", "1", examples=20)
    assert code == cli.FOUND
    if name in EIGHT:
        assert any(one["holds"] is False for one in told["promises"]), "the suite alone finds these"
    record_property("found", found_by(told))


def found_by(told: dict[str, Any]) -> str:
    """What found it, and after how many seconds of the suite; or why the suite was not run."""
    ways = ["drift"] if told["drift"] else []
    ways += ["state"] if any(one["level"] == "fail" for one in told["state"]) else []
    failures = [(one["seconds"], promise["name"]) for promise in told["promises"] for one in promise["failures"]]
    ways += [f"{name} after {seconds:.0f} s" for seconds, name in sorted(failures)[:1]]
    if told["problem"]:
        ways.append(f"no copy: {told['problem']['message']}")
    return ", ".join(ways)
