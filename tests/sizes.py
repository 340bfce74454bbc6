"""How large the proofs are: the size of every push, and the large one of `make proof` (``DOT_PROOF=large``)."""

from __future__ import annotations

import os

LARGE = os.environ.get("DOT_PROOF") == "large"


def size(ci: int, large: int) -> int:
    """How many rounds, examples or sessions: the first on every push, the second in the large run."""
    return large if LARGE else ci
