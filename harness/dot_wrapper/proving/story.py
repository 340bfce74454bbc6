"""What a failing test did, as SQL for psql.

The connections of a test's database write down their statements here. Hypothesis plays the smallest example that fails last, so what
stands here then is that example.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from dot_wrapper.proving.prepared import LOGINS

ACTOR: Final = "prove_story_"
"""How the names of the logins in a printed story begin."""

HOW: Final = """\
-- Run it as a superuser, in an empty copy of the definitions, which it leaves dirty:
--   createdb prove_story && pg_dump --schema-only --schema=dot "$DATABASE_URL" | psql -X -q prove_story
--   pg_dump --data-only -t dot.dot_config -t dot.event_type -t dot.dot_iu_command_catalog "$DATABASE_URL" | psql -X -q prove_story
--   psql -X -c "insert into dot.outbox_cursor (epoch, xact_id, outbox_id) values (0, '0', 0)" prove_story
--   psql -X -f THIS_FILE prove_story; dropdb prove_story"""

_INTERLEAVED: Final = (
    "-- Two actors have a transaction open at once: give each actor a psql of its own, and run the lines in this order."
)


class Story:
    """The statements of one example, each with the actor that sent it.

    Attributes:
        prefix: how the names of the logins begin that sent them.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._kept: list[tuple[str, str]] = []
        self._lines: list[tuple[str, str]] = []
        self._keeps = self._is_silent = False

    def begin(self) -> None:
        """A new example begins: what the one before it did is forgotten, but for what it prepared."""
        self._lines.clear()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """What is done in the block is done for all examples of the test."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """What is done in the block only looks."""
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    def cursor_for(self, who: str) -> type[psycopg.Cursor[Any]]:
        """The class of cursor that writes down what an actor sends."""
        story = self

        class Recording(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                story.add(who, query, params, self.connection)
                return super().execute(query, params, **options)

        return Recording

    def add(self, who: str, query: Any, params: Any, connection: psycopg.Connection[Any]) -> None:
        """Writes a statement down."""
        if self._is_silent:
            return
        try:
            text = psycopg.ClientCursor(connection).mogrify(query, params)
        except (psycopg.Error, UnicodeError) as error:  # the client refuses it too, a NUL in a text for instance
            text = f"-- not sent: {error}"
        text = text.strip().rstrip(";").replace(f"{self.prefix}_", ACTOR)
        (self._kept if self._keeps else self._lines).append((who, text))

    def sql(self, head: str, look: str | None, said: list[str]) -> str:
        """The story as a script for psql, with one login per actor.

        Args:
            head: what it is the story of.
            look: a query whose result differs, which a reader sends at the end.
            said: comments on what it should be.
        """
        lines = [*self._kept, *self._lines, *([("reader", look)] if look else [])]
        actors = [who for who in LOGINS if any(who == actor for actor, _ in lines)]
        script = [f"-- {head}", HOW]
        for who in actors:
            script.append(f"create role {ACTOR}{who} login;")
            script += [f"grant dot_{role} to {ACTOR}{who};" for role in LOGINS[who]]
        if _interleaves(lines):
            script.append(_INTERLEAVED)
        before = None
        for who, text in lines:
            if who != before:
                script += ["reset role; reset session authorization;", *_become(who)]
                before = who
            script.append(text if text.startswith("--") else f"{text};")
        script += [*(one.replace(f"{self.prefix}_", ACTOR) for one in said), "reset role; reset session authorization;"]
        for who in actors:
            script.append(f"drop owned by {ACTOR}{who}; drop role {ACTOR}{who};")
        return "\n".join(script) + "\n"


def _become(who: str) -> list[str]:
    if who in LOGINS:
        return [f"set session authorization {ACTOR}{who};"]
    return ["set role dot_owner;"] if who == "owner" else []  # else the superuser that runs the script


def _interleaves(lines: list[tuple[str, str]]) -> bool:
    """Whether an actor sends a statement while another has a transaction open."""
    open_for: str | None = None
    for who, text in lines:
        if open_for not in (None, who):
            return True
        if text == "begin":
            open_for = who
        elif text in ("commit", "rollback"):
            open_for = None
    return False
