"""Hypothesis: the same examples on every run here; `--hypothesis-profile=random` searches for new ones and prints the seed."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

# A test's database lives for all its examples: each example uses names of its own, so none sees another's rows.
_common: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("fixed", derandomize=True, database=None, max_examples=150, **_common)
settings.register_profile("random", print_blob=True, max_examples=2000, **_common)
settings.load_profile("fixed")
