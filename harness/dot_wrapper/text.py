"""Text that comes from outside: made safe to print, and whether it can be stored."""

from __future__ import annotations


def escape_control_characters(text: str, keep: str = "") -> str:
    """Escapes the characters that a terminal would execute or not show, all but those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes a text: one without NUL that can be encoded, so without half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text))
