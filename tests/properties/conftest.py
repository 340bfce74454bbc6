"""The seed of the large size: it is printed, and ``DOT_PROOF_SEED`` replays it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from dot_wrapper.proving.searching import draw_from, seeding
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
    return seeding(int(os.environ["DOT_PROOF_SEED"]) if LARGE else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the large size every property starts from the one seed."""
    if LARGE:
        draw_from(
            int(os.environ["DOT_PROOF_SEED"]), (item for item in items if Path(__file__).parent in item.path.parents)
        )
