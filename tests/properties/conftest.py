"""Hypothesis in two sizes. The one that is part of every run draws the same examples each time. ``DOT_PROOF=large`` draws many
more, from a seed that is printed; ``DOT_PROOF_SEED`` replays it. ``--hypothesis-profile=random`` is in between."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, seed, settings

from sizes import LARGE

T = TypeVar("T")

# A test's database lives for all its examples: each example uses names of its own, so none sees another's rows.
# A busy machine is no finding: how fast examples are drawn is not asked.
_common: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("fixed", derandomize=True, database=None, max_examples=150, **_common)
settings.register_profile("random", print_blob=True, max_examples=2000, **_common)
settings.register_profile("large", database=None, print_blob=True, max_examples=5000, **_common)

settings.load_profile("large" if LARGE else "fixed")
if LARGE:
    os.environ.setdefault("DOT_PROOF_SEED", str(secrets.randbelow(2**32)))  # xdist's workers inherit it


def pytest_report_header() -> str:
    """Says how to draw the same examples again."""
    return _replay()


@pytest.fixture(autouse=True)
def say_how_to_replay() -> None:
    """A test that fails shows what was printed before it: of a worker nothing else is seen."""
    print(_replay())


def _replay() -> str:
    return (
        f"DOT_PROOF=large DOT_PROOF_SEED={os.environ['DOT_PROOF_SEED']}" if LARGE else "DOT_PROOF: the fixed examples"
    )


@pytest.fixture
def seeded() -> Callable[[type[T]], type[T]]:
    """What pytest_collection_modifyitems cannot reach, a state machine that a test makes, gets the seed by this."""
    return seed(int(os.environ["DOT_PROOF_SEED"])) if LARGE else lambda machine: machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the large size every property starts from the one seed."""
    for item in items if LARGE else []:
        mine = Path(__file__).parent in item.path.parents
        if mine and isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            seed(int(os.environ["DOT_PROOF_SEED"]))(item.obj)
