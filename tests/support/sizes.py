"""How large the proofs are: the size of every push, and the large one of `make proof` (``DOT_PROOF=large``).

Of Hypothesis the first draws the same examples each time, and the large one many more from a seed; ``--hypothesis-profile=random``
is in between.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

LARGE = os.environ.get("DOT_PROOF") == "large"


def size(ci: int, large: int) -> int:
    """How many rounds, examples or sessions: the first on every push, the second in the large run."""
    return large if LARGE else ci


# A test's database lives for all its examples: each example uses names of its own, so none sees another's rows.
# A busy machine is no finding: how fast examples are drawn is not asked.
_common: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("fixed", derandomize=True, database=None, max_examples=50, **_common)
settings.register_profile("random", print_blob=True, max_examples=2000, **_common)
settings.register_profile("large", database=None, print_blob=True, max_examples=5000, **_common)

PROFILE = "large" if LARGE else "fixed"
