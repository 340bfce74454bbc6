"""Where ``alembic.ini``, ``migrations/``, ``sql/`` and ``amendment/`` lie: in a checkout at its top, in a wheel inside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKED: Final = Path(__file__).parent / "_files"

CHECKOUT: Final = None if _PACKED.exists() else Path(__file__).resolve().parents[2]
"""The top of the checkout; None where the package was installed from a wheel."""

ROOT: Final = CHECKOUT or _PACKED
"""The folder that holds them."""
