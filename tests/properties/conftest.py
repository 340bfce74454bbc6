"""The seed of the large size: it is printed, and ``DOT_PROOF_SEED`` replays it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import is_hypothesis_test, seed

from support.sizes import LARGE

T = TypeVar("T")

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
