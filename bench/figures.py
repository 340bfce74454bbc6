"""Figures, and rows of the table that is printed: what was measured, beside its target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

MET, SO_FAR, MISSED, NO_TARGET, NOT_MEASURED, ERROR = "met", "met so far", "missed", "-", "not measured", "error"


@dataclass(frozen=True)
class Spread:
    """The median of a figure over the rounds, and how far it went."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """The spread of one figure per round."""
        return cls(statistics.median(figures), min(figures), max(figures), len(figures))

    @classmethod
    def ratio(cls, one: Sequence[float], other: Sequence[float]) -> Spread:
        """The spread of a ratio, taken round by round: what the machine did meanwhile fell on both."""
        return cls.of([a / b for a, b in zip(one, other, strict=True)])

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Row:
    """A row of the table. ``figures`` is what it was made from, for programs."""

    what: str
    target: str
    measured: str
    verdict: str
    figures: dict[str, object] = field(default_factory=dict)


def verdict(met: bool) -> str:
    """The word for a target that is met or missed."""
    return MET if met else MISSED


def ratio_row(
    what: str,
    one: Sequence[float],
    other: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str = "x",
) -> Row:
    """A row that compares two costs; the median counts. Without a bound it has no target."""
    spread = Spread.ratio(one, other)
    target, judged = "", NO_TARGET
    if at_most is not None:
        target, judged = f"at most {at_most:.2f} {unit}", verdict(spread.median <= at_most)
    if at_least is not None:
        target, judged = f"at least {at_least:.2f} {unit}", verdict(spread.median >= at_least)
    return Row(
        what,
        target,
        str(spread),
        judged,
        {"ratio": spread, "one_us": Spread.of(one), "other_us": Spread.of(other)},
    )
