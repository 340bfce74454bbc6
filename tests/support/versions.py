"""What is run on which version of PostgreSQL, and why.

Every test is run on 18. ``make test`` runs on 15, and ``make versions`` on 16, again what the server itself decides: privileges, row
security, grants, catalog functions, locks, snapshots and plans. Those are the folders and files of ``BY_VERSION``, without
``NOT_BY_VERSION``. The other rules are decided by expressions that are the same on each; that each function is valid on 15,
plpgsql_check says in tests/tools.

A test that starts servers of its own runs on 15 and 18: from 16 on a grant of a role has the options INHERIT and SET, and
CREATEROLE alone lets no login act as another. Between 16 and 18 the catalog differs, and nothing that a command decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tools.scratch import VERSIONS

BEFORE_AND_AFTER_16 = (15, 18)


def first_on_15(name: str, cases: Iterable[str]) -> pytest.MarkDecorator:
    """Every case on 18, and the first on 15: what the cases vary is nothing that the server's version decides."""
    every = list(cases)
    pairs = [(18, case) for case in every] + [(15, every[0])]
    ids = [f"on {version}-{case}" for version, case in pairs]
    return pytest.mark.parametrize(("running", name), pairs, ids=ids, indirect=["running"])


ON_EACH_VERSION = pytest.mark.parametrize("running", VERSIONS, ids="on {}".format, indirect=True)

BY_VERSION = (
    "tests/adoption/test_adopting.py",  # grants, dumps
    "tests/adoption/test_check.py",  # the catalog, and definitions as it prints them
    "tests/adoption/test_refused.py",  # types, collations, dependencies in the catalog
    "tests/security",  # privileges, row security, settings, the catalog
    "tests/races",  # locks and snapshots
    "tests/sql/test_append_only.py",  # triggers and privileges
    "tests/sql/test_arguments.py",  # the types of each function's arguments
    "tests/sql/test_definitions.py",  # memberships of roles
    "tests/sql/test_gates.py",  # locks
    "tests/sql/test_lease_end.py",  # locks
    "tests/sql/test_leases.py",  # locks
    "tests/sql/test_observe_input.py",  # what JSON and numbers of a size cost
    "tests/sql/test_outbox",  # snapshots, epochs, the prune's trigger
    "tests/sql/test_plans.py",  # plans
    "tests/sql/test_preflight.py",  # settings and extensions of the server
    "tests/sql/test_tables.py",  # constraints as the catalog has them
)

NOT_BY_VERSION = ("tests/security/test_first_statement.py",)  # what our programs send, to a server of its own
