"""How the page quotes. What comes from a change, its names, comments, messages, is hostile: it stays inside what it is quoted in."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dot_wrapper.text import escape_control_characters


@dataclass(frozen=True, slots=True)
class Long:
    """A part of the page that may be left out for its length: what stands there then."""

    whole: str
    short: str


Part = str | Long


def code(text: str | None, width: int = 400) -> str:
    """Inline code that the text cannot end; None is a word."""
    if text is None:
        return "nothing"
    line = shortened(escape_control_characters(" ".join(text.split())), width)
    fence = "`" * (_longest_run(line) + 1)
    edge = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{edge}{line}{edge}{fence}"


def plain(text: str, width: int = 400) -> str:
    """Text outside of code, for a heading or an HTML element: nothing in it is markup of Markdown or HTML."""
    line = shortened(escape_control_characters(" ".join(text.split())), width)
    return re.sub(r"([\\`*_{}\[\]()#+!|~$:@-])", r"\\\1", html.escape(line, quote=False))


def block(text: str, language: str = "") -> str:
    """A fenced block whose fence is longer than any run of backticks inside."""
    body = "\n".join(escape_control_characters(line, keep="\t") for line in text.rstrip().split("\n"))
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def fold(title: str, body: str) -> str:
    """Something that is opened on demand. The title is HTML: what it quotes went through ``markup``."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n"


def markup(text: str, width: int = 400) -> str:
    """Text inside an HTML element, where Markdown is not read."""
    return html.escape(shortened(escape_control_characters(" ".join(text.split())), width))


def shortened(text: str, width: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells may quote a bar."""
    cell: Callable[[str], str] = lambda text: text.replace("|", "\\|").replace("\n", " ")  # noqa: E731  used in one place
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
