"""How large the proofs are: the size of every push, and the large one of `make proof` (``DOT_PROOF=large``).

Of Hypothesis the first draws the same examples each time, and the large one many more from a seed; ``--hypothesis-profile=random``
is in between.
"""

from __future__ import annotations

import os

from hypothesis import settings

from dot_wrapper.proving.searching import COMMON

LARGE = os.environ.get("DOT_PROOF") == "large"


def size(ci: int, large: int) -> int:
    """How many rounds, examples or sessions: the first on every push, the second in the large run."""
    return large if LARGE else ci


settings.register_profile("fixed", derandomize=True, database=None, max_examples=50, **COMMON)
settings.register_profile("random", print_blob=True, max_examples=2000, **COMMON)
settings.register_profile("large", database=None, print_blob=True, max_examples=5000, **COMMON)

PROFILE = "large" if LARGE else "fixed"
