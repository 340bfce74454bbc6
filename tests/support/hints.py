"""What the functions may say of their arguments, read from their bodies."""

from __future__ import annotations

import re

DEFINITIONS = (
    "select p.proname as name, pg_get_functiondef(p.oid) as definition from pg_proc p"
    " where p.pronamespace = 'dot'::regnamespace"
)

_PROBLEM = re.compile(r"(?<!constraint = )'(\w+_(?:not_null|check))'")
_ASKED = re.compile(r"\bdot\.(fn_\w+_input_problem)\(")


def problems_of(function: str, definitions: dict[str, str]) -> set[tuple[str, str]]:
    """Table and problem of each call of fn_input_refuse that a function may make, with those of the functions that look at the
    arguments for it, and of the functions that it hands them to."""
    found: set[tuple[str, str]] = set()
    seen, open_calls = {function}, [function]
    while open_calls:
        definition = definitions[open_calls.pop()]
        calls = {name for name in re.findall(r"\bdot\.(fn_\w+)\(", definition) if name in definitions} - seen
        seen |= calls
        open_calls += sorted(calls)
        tables = set(re.findall(r"fn_input_refuse\('(\w+)'", definition))
        found |= {(table, problem) for table in tables for problem in _problems(definition, definitions)}
    return found


def _problems(definition: str, definitions: dict[str, str]) -> set[str]:
    body = definition.partition("\n")[2]  # its first line has its own name
    asked = [_problems(definitions[name], definitions) for name in set(_ASKED.findall(body))]
    return set(_PROBLEM.findall(body)).union(*asked)
