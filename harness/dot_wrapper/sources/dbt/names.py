"""Legal codes for the names of dbt, which may be longer than the wrapper's and of any script."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Final

from dot_wrapper.text import escape_control_characters

CODE_BYTES: Final = 200
"""What ``dot.fn_is_code`` allows."""
LINE_BYTES: Final = 1024
"""What ``dot.fn_is_line`` allows."""
_LEGAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_DIGITS: Final = 16  # of a SHA-256, in hexadecimal


@lru_cache(maxsize=1 << 16)
def code_of(name: str, limit: int = CODE_BYTES) -> str:
    """The name itself where it is a legal code of at most ``limit`` bytes, else one made of it: its legal part, and a hash of all of it.

    The same name gives the same code on every machine.
    """
    if _LEGAL.fullmatch(name) and len(name) <= limit:
        return name
    unaccented = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    legal = re.sub(r"[^A-Za-z0-9._:/@+-]+", "_", unaccented).lstrip("._:/@+-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return "-".join(filter(None, (legal[: limit - _DIGITS - 1], digest)))


def candidate_code(verifier_code: str, producer_code: str) -> str:
    """The code of the candidate of a test and the node that it is of, by the codes of the two: the same whatever was imported before."""
    return code_of(f"{verifier_code}@{producer_code}")


def line_of(text: str | None) -> str | None:
    """A text as the catalogue keeps it (``dot.fn_is_line``): ASCII, other characters escaped; None where there is none."""
    line = escape_control_characters(text or "").encode("ascii", "backslashreplace").decode()[:LINE_BYTES]
    return line if line.strip() else None
