"""Text that comes from outside, made safe to print."""

from __future__ import annotations


def escape_control_characters(text: str, keep: str = "") -> str:
    """Escapes the characters that a terminal would execute or not show, all but those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)
