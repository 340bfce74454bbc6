"""How Hypothesis searches: what its settings have in common, and from which seed it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, seed
from hypothesis import strategies as st

T = TypeVar("T")

ANY: Final = st.characters(exclude_categories=["Cs"])
"""Every character that has an encoding. ``codec="utf-8"`` has the same, and tries each of a million in every new process."""
STORABLE: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
"""Every character that a text of PostgreSQL's can hold."""

COMMON: Final[dict[str, Any]] = {
    # A test's database lives for all its examples: each example uses names of its own, so none sees another's rows.
    # A busy machine is no finding: how fast examples are drawn is not asked.
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def draw_from(number: int, items: Iterable[pytest.Item]) -> None:
    """Lets every property among the tests draw from this seed."""
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            seed(number)(item.obj)


def seeding(number: int | None) -> Callable[[type[T]], type[T]]:
    """The same for a state machine that a test makes, which is no item; with None it draws as its settings say."""
    return (lambda machine: machine) if number is None else seed(number)
