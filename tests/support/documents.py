r"""Documentation that is run: the fenced blocks of a Markdown page, in order, in one session per page.

====================  ==========================================================================================
```sql                run in one psql for the whole page (VERBOSITY default, no CONTEXT lines). A ```text block directly
                      below is what it prints; without one it must not fail.
```console            lines that begin with ``$ `` are commands (a trailing backslash continues one), the lines below each
                      are what it prints, standard output and error as they come; one bash per block, and all blocks in the
                      same folder. ``$ echo $?`` shows an exit code; a command without it that shows nothing, or ``...``,
                      must succeed.
```python             run by this interpreter in the same folder and environment; it must end with exit code 0. A ```text
                      block directly below is what it prints.
====================  ==========================================================================================

Other fences are shown and not run; they are named in ``SHOWN_ONLY``, so that a misspelt one is no way out of being run. The
one way out is a comment directly above the fence: ``<!-- not run: reason -->``.

What is printed must be what the page shows, exactly, once both are normalised: ``NORMALISED`` and uuids, see ``Session``. A
line ``...`` of the page stands for any number of lines.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from psycopg.conninfo import conninfo_to_dict

from dot_wrapper.operations import embedded

RUN = ("sql", "console", "python")
SHOWN_ONLY = ("text", "json", "yaml", "toml", "ini", "diff", "mermaid")
ANY_LINES = "..."
LOGIN = "operator"
"""What a page calls the login that runs it."""
TIMEOUT = 300.0
"""Seconds that one block may take."""

_TEMPORARY = "|".join(sorted({"/tmp", re.escape(tempfile.gettempdir())}))  # noqa: S108 (a pattern, no file)

NORMALISED: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "a point in time, as ISO, psql or the harness print it",
        re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?UTC|Z|[+-]\d\d(?::?\d\d)?)?"),
        "<time>",
    ),
    ("how long ago that is", re.compile(r"\b\d+ (?:s|min|h|d) ago\b"), "<age>"),
    ("a path in the temporary folder", re.compile(rf"(?:{_TEMPORARY})/[\w.@+/-]*"), "<temporary path>"),
    ("a port", re.compile(r"\b(port[= ]|localhost:|127\.0\.0\.1:)\d+"), r"\1<port>"),
    ("the width of a table's rule", re.compile(r"-{3,}"), "---"),
    ("the width of a drawn table's rule", re.compile(r"([\u2500-\u257f])\1+"), r"\1"),
    ("the padding of a table's columns", re.compile(r" {2,}"), " "),
    (
        "that it is the embedded server, which each command says",
        re.compile(r"^DATABASE_URL is not set: using the embedded PostgreSQL in .*\n?", re.MULTILINE),
        "",
    ),
    ("what no reader sees", re.compile(r"[ \t]+$", re.MULTILINE), ""),
)
"""What differs from run to run, or between terminals, and is no difference: what it is, its pattern, what stands for it."""

_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NOT_RUN = re.compile(r"<!--\s*not run:(?P<reason>.*?)-->\s*\Z", re.DOTALL)
_SQL_FAILED = re.compile(r"^(?:ERROR|FATAL|PANIC): |^invalid command |^no rows returned |^psql: ", re.MULTILINE)


class PageError(Exception):
    """The page cannot be read: a fence that does not end, that is of no known language, or that nothing compares."""


class Mismatch(AssertionError):
    """A page says something that is not so.

    Attributes:
        shown, printed: what the page shows and what was printed in its place; None where a block failed.
    """

    def __init__(self, message: str, shown: str | None = None, printed: str | None = None) -> None:
        super().__init__(message)
        self.shown = shown
        self.printed = printed


@dataclass(frozen=True)
class Block:
    """A fenced block. ``shown`` is the text block directly below it; ``not_run`` is the reason above it, if there is one."""

    language: str
    text: str
    line: int
    shown: str | None = None
    not_run: str | None = None


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are run, and those that a comment leaves out.

    Raises:
        PageError: a fence is not closed, or of a language that is neither run nor known as shown only.
    """
    found: list[Block] = []
    fences = list(_fences(page))
    for index, (line, language, text, above) in enumerate(fences):
        if language not in RUN + SHOWN_ONLY:
            raise PageError(f"line {line}: ```{language}: a fence is one of {', '.join(RUN + SHOWN_ONLY)}")
        if language in SHOWN_ONLY:
            continue
        shown = None
        if index + 1 < len(fences):
            _, next_language, next_text, between = fences[index + 1]
            if next_language == "text" and not between.strip():
                shown = next_text
        left_out = _NOT_RUN.search(above)
        found.append(Block(language, text, line, shown, left_out["reason"].strip() if left_out else None))
    return found


def _fences(page: str) -> Iterator[tuple[int, str, str, str]]:
    """Each fence: its line, language and text, and what stands between the fence before it and this one."""
    opened: re.Match[str] | None = None
    at = 0
    above: list[str] = []
    inside: list[str] = []
    for number, line in enumerate(page.splitlines(keepends=True), start=1):
        if opened is None:
            opened = re.match(r" *(?P<fence>`{3,})(?P<language>\w*)", line)
            if opened is None:
                above.append(line)
            at = number
        elif re.fullmatch(rf" *{opened['fence']}\s*", line):
            yield at, opened["language"], textwrap.dedent("".join(inside)), "".join(above)
            opened, above, inside = None, [], []
        else:
            inside.append(line)
    if opened is not None:
        raise PageError(f"line {at}: the fence is not closed")


def check(name: str, page: str, session: Session, differs: Callable[[str, str], None] | None = None) -> int:
    """Runs the blocks of a page and compares; returns how many were run.

    Args:
        differs: called with what the page shows and what was printed, instead of raising, where a block works and has no ``...``.

    Raises:
        Mismatch: a block does not do what the page shows.
        PageError: see ``blocks``.
    """
    to_run = [block for block in blocks(page) if block.not_run is None]
    # A uuid that the page's own code names is the same in every run: only the others are numbered.
    session.written.update(uuid for block in to_run for uuid in _UUID.findall(_code(block)))
    for block in to_run:
        try:
            session.run(block)
        except Mismatch as mismatch:
            if differs and mismatch.shown and mismatch.printed and ANY_LINES not in mismatch.shown.splitlines():
                differs(mismatch.shown, mismatch.printed)
                continue
            raise Mismatch(f"{name}:{block.line}: ```{block.language}\n{mismatch}") from None
    return len(to_run)


def _code(block: Block) -> str:
    """What of a block is run, and not output."""
    if block.language != "console":
        return block.text
    return "\n".join(command.text for command in _commands(block.text))


@dataclass
class Session:
    """One page's session: a database login, a folder, an environment.

    Uuids are compared by which are equal: the first one that the page shows stands for the first one that is printed, and so
    on, over the whole page. A uuid that the page's own code names is compared as it is.
    """

    url: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    _shown: dict[str, int] = field(default_factory=dict)
    _printed: dict[str, int] = field(default_factory=dict)
    _psql: subprocess.Popen[str] | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._psql is not None:
            with self._psql as psql:
                psql.kill()

    def run(self, block: Block) -> None:
        """Runs a block and compares.

        Raises:
            Mismatch: it fails, or prints something else than the page shows.
        """
        if block.language == "console":
            self._compare(block.text, self._program("bash", "-c", _transcript(block.text))[1])
        elif block.language == "python":
            code, printed = self._program(sys.executable, "-c", block.text)
            if code != 0:
                raise Mismatch(f"exit code {code}\n{printed}")
            if block.shown is not None:
                self._compare(block.shown, printed)
        else:
            printed = self._sql(block.text)
            if block.shown is not None:
                self._compare(block.shown, printed)
            elif _SQL_FAILED.search(printed):
                raise Mismatch(printed)

    def _program(self, *command: str) -> tuple[int, str]:
        """Exit code and output of a program, standard error among standard output as it comes."""
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired as expired:
            raise Mismatch(f"not done after {TIMEOUT:.0f} s\n{expired.output or ''}") from None
        return done.returncode, done.stdout

    def _environment(self) -> dict[str, str]:
        """Unbuffered, so that both streams come in order; a terminal of one width, so that tables do not fold."""
        return {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "80", "NO_COLOR": "1", **self.environment}

    def _sql(self, text: str) -> str:
        """What the page's psql prints for a block. It is asked for a mark afterwards: `;` ends a statement that the block left
        open, and `\\!` writes what psql has buffered before it runs."""
        mark = "-- the block ends here"
        psql = self._psql = self._psql or subprocess.Popen(
            [
                embedded.bin_folder() / "psql",
                "--no-psqlrc",
                "-v",
                "VERBOSITY=default",
                "-v",
                "SHOW_CONTEXT=never",
                self.url,
            ],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert psql.stdin is not None
        assert psql.stdout is not None
        try:
            psql.stdin.write(f"{text}\n;\n\\! echo '{mark}'\n")
            psql.stdin.flush()
        except BrokenPipeError:
            raise Mismatch("psql has ended") from None
        watch = threading.Timer(TIMEOUT, psql.kill)
        watch.start()
        try:
            printed: list[str] = []
            for line in psql.stdout:
                if line.rstrip("\n") == mark:
                    return "".join(printed)
                printed.append(line)
        finally:
            watch.cancel()
        raise Mismatch("".join(printed) + "psql has ended, or waited for the end of a statement")

    def _compare(self, shown: str, printed: str) -> None:
        printed = printed.replace(str(conninfo_to_dict(self.url).get("user")), LOGIN)
        left, right = _normalised(shown), _fold(_normalised(shown), _normalised(printed))
        left, right = self._numbered(left, self._shown), self._numbered(right, self._printed)
        if left != right:
            difference = difflib.unified_diff(left, right, "shown on the page", "printed", n=5, lineterm="")
            raise Mismatch("\n".join(difference), shown, printed)

    def _numbered(self, lines: Sequence[str], numbers: dict[str, int]) -> list[str]:
        def number(uuid: re.Match[str]) -> str:
            if uuid[0] in self.written:
                return uuid[0]
            return f"<uuid {numbers.setdefault(uuid[0], len(numbers) + 1)}>"

        return [_UUID.sub(number, line) for line in lines]


def _normalised(text: str) -> list[str]:
    """The lines of a text without what differs from run to run; blank lines at both ends do not count."""
    for _, pattern, replacement in NORMALISED:
        text = pattern.sub(replacement, text)
    return text.strip("\n").splitlines()


def _fold(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """The printed lines with those left out that a ``...`` of the page stands for; as they are where they do not fit."""

    def bare(lines: Sequence[str]) -> list[str]:
        return [_UUID.sub("<uuid>", line) for line in lines]

    pieces: list[list[str]] = [[]]
    for line in shown:
        if line == ANY_LINES:
            pieces.append([])
        else:
            pieces[-1].append(line)
    if len(pieces) == 1:
        return list(printed)
    folded: list[str] = []
    at = 0
    for index, piece in enumerate(pieces):
        last = len(printed) - len(piece)
        starts = range(at, last + 1)
        if index == 0:
            starts = range(min(1, last + 1))
        elif index == len(pieces) - 1:
            starts = range(max(at, last), last + 1)
        start = next((s for s in starts if bare(printed[s : s + len(piece)]) == bare(piece)), None)
        if start is None:
            return list(printed)
        folded += [*([ANY_LINES] if index else []), *printed[start : start + len(piece)]]
        at = start + len(piece)
    return folded


@dataclass(frozen=True)
class _Command:
    """A command of a console block: as it is shown, as bash gets it, and what the page shows of its output."""

    shown: str
    text: str
    output: str


def _commands(console: str) -> list[_Command]:
    parts = re.split(r"^(\$ (?:.*\\\n)*.*\n?)", console, flags=re.MULTILINE)
    if parts[0].strip():
        raise PageError(f"a console block begins with a command: {parts[0].strip()!r}")
    return [
        _Command(shown.rstrip("\n"), shown.removeprefix("$ "), output)
        for shown, output in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _transcript(console: str) -> str:
    """A script that prints each command of the block and then what the command prints: what the block has to be."""
    script = []
    commands = _commands(console)
    for index, command in enumerate(commands):
        # The exit code outlives the printing, so that `echo $?` shows it.
        script.append(f"_code=$?; printf '%s\\n' {shlex.quote(command.shown)}; (exit $_code)\n{command.text}")
        asked = index + 1 < len(commands) and commands[index + 1].text.strip() == "echo $?"
        if not asked and (not command.output.strip() or ANY_LINES in command.output.splitlines()):
            script.append('_code=$?; [ "$_code" -eq 0 ] || echo "(exit code $_code, and the page does not show it)"')
    return "\n".join(script)
