"""Who may do what: the packaged tests, and that each message names what the role that is told may use."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from dot_wrapper.proving.suite.test_roles import *  # noqa: F403  pytest collects what it finds by name
from dot_wrapper.proving.suite.test_roles import MAY_EXECUTE, MAY_SELECT
from support import IN_BOTH_STATES, Connection, Database, rows
from support.hints import DEFINITIONS, problems_of

# A text of a body, and the names of functions and views in it. A name alone is no text: it is a constraint, a key, a settings' value.
TEXT = re.compile(r"'((?:[^']|'')*)'")
NAMED = re.compile(r"\b(?:fn|v)_[a-z0-9_]+\b")
TOLD = re.compile(r"\b[Aa] (writer|cataloguer|gatekeeper|relay|reader)\b|\bno (gatekeeper)\b")


def said_by(function: str, definitions: dict[str, str]) -> Iterator[str]:
    """The sentences that a caller of a function may be told: the texts of its body and of those that it calls, of
    fn_input_refuse what it tells of the arguments that they hand to it."""
    seen, open_calls = {function}, [function]
    while open_calls:
        definition = definitions[open_calls.pop()]
        calls = {name for name in re.findall(r"\bdot\.(fn_\w+)\(", definition) if name in definitions}
        open_calls += calls - seen - {"fn_input_refuse"}
        seen |= calls
        # Texts that follow each other on lines of their own are one.
        for text in TEXT.findall(re.sub(r"'\n\s*'", "", re.sub(r"--.*", "", definition))):
            if " " in text:
                yield from re.split(r"(?<=[.;:]) ", text)


@IN_BOTH_STATES
def test_what_a_message_or_hint_names_can_be_used_by_the_role_that_is_told(db: Database) -> None:
    owner = db.session("owner")
    definitions = {one["name"]: one["definition"] for one in rows(owner, DEFINITIONS)}
    readers = {role: its | MAY_EXECUTE[role] for role, its in MAY_SELECT.items()}
    useless, named = [], set()
    for role, functions in MAY_EXECUTE.items():
        for function in functions if role != "dot_reader" else ():
            for sentence in [*said_by(function, definitions), *told_of_arguments(owner, function, definitions)]:
                # A text that sends its reader to another role names it.
                told = TOLD.search(sentence)
                user = f"dot_{next(filter(None, told.groups()))}" if told else role
                for name in NAMED.findall(sentence):
                    named.add(name)
                    if name not in readers[user]:
                        useless.append((role, function, sentence))
    assert useless == []
    assert {"fn_dot_config_set", "fn_preflight_guard", "v_dot_lease", "v_process_candidate"} <= named


def told_of_arguments(owner: Connection, function: str, definitions: dict[str, str]) -> list[str]:
    """What fn_input_refuse tells of each argument that a function may refuse."""
    told = []
    for table, problem in sorted(problems_of(function, definitions)):
        with pytest.raises(psycopg.errors.IntegrityError) as caught:
            owner.execute("select dot.fn_input_refuse(%s, %s)", (table, problem))
        told += re.split(r"(?<=[.;:]) ", caught.value.diag.message_hint or "")
    return told
