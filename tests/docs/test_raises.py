"""The head of each API function names its errors: what its text raises, and whose errors it passes on. The reference is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from dot_wrapper.files import ROOT
from support import Database, rows
from tools.reference import head, raises

API = sorted((ROOT / "sql" / "functions" / "api").glob("*.sql"))
NOTED = ("40001", "40P01", "55P03")  # of the server, or without a constraint: said in words

_RAISE = re.compile(
    r"raise (?!exception\b)(?P<condition>\w+) using\b(?:(?!\braise\b).)*?"
    r"\bconstraint = (?:format\()?(?:(?P<variable>\w+) \|\| )?'(?P<name>[^']+)'",
    re.DOTALL,
)
_INPUT = re.compile(r"(?<!constraint = )'(\w+_(?:not_null|check))'")
_CALL = re.compile(r"\bdot\.(fn_\w+)\(")


def said(text: str) -> dict[str, list[str]]:
    """The lines under ``Raises:``, by SQLSTATE; under ``what`` the functions whose errors are passed on."""
    return {kind: re.findall(r"fn_\w+", rest) if kind == "what" else rest.split(", ") for kind, rest in raises(text)}


def collapsed(errors: set[str], arguments: list[str]) -> set[str]:
    """Constraints of an argument as the heads write them, and any word in angle brackets as one."""
    names = "|".join(sorted(map(re.escape, arguments), key=len, reverse=True))
    found = {re.sub(rf"_({names})_(not_null|check)$", r"_<word>_\2", one) for one in errors} if names else errors
    return {re.sub(r"<\w+>", "<word>", one) for one in found}


def raised(name: str, functions: dict[str, dict[str, Any]], api: set[str]) -> set[str]:
    """SQLSTATE and constraint of what a function raises without the other functions that a role may call, the bridge aside."""
    apart = ("fn_host_", "fn_input_refuse", *(api - {name}))
    errors = set()
    for callee in {name, *closure(name, functions, lambda callee: not callee.startswith(apart))}:
        definition = functions[callee]["definition"]
        for found in _RAISE.finditer(definition):
            constraint = ("%s" if found["variable"] else "") + found["name"]
            errors.add(f"{sqlstate(found['condition'])} {constraint.replace('%s', '<word>')}")
        problems = set(_INPUT.findall(definition))
        arguments = tuple(argument.removeprefix("p_") for argument in functions[callee]["names"] or ())
        for checked in closure(callee, functions, lambda one: one.endswith("_input_problem")):
            shared = _INPUT.findall(functions[checked]["definition"])
            problems |= {problem for problem in shared if problem.startswith(arguments)}
        for table in set(re.findall(r"fn_input_refuse\('(\w+)'", definition)):
            errors |= {f"{'23502' if one.endswith('_not_null') else '23514'} {table}_{one}" for one in problems}
    return errors


def closure(name: str, functions: dict[str, dict[str, Any]], counts: Callable[[str], bool]) -> set[str]:
    """The functions that a function calls, and those that they call, as far as they count."""
    called: set[str] = set()
    new = {name}
    while new:
        calls = {callee for one in new for callee in _CALL.findall(functions[one]["definition"])}
        new = {callee for callee in calls if callee in functions and counts(callee)} - called
        called |= new
    return called


def sqlstate(condition: str) -> str:
    """The SQLSTATE of a condition name of PL/pgSQL."""
    found: type[psycopg.Error] = getattr(psycopg.errors, condition.title().replace("_", ""))
    return str(found.sqlstate)


def test_the_head_of_each_api_function_names_what_it_raises(db: Database, subtests: pytest.Subtests) -> None:
    functions = {
        one["name"]: one
        for one in rows(
            db.session("owner"),
            "select proname as name, proargnames as names, pg_get_functiondef(oid) as definition"
            " from pg_proc where pronamespace = 'dot'::regnamespace",
        )
    }
    api = {path.stem for path in API}
    assert len(api) > 20
    for path in API:
        with subtests.test(function=path.stem):
            found = said(head(path))
            constraints = {
                f"{code} {one}" for code, names in found.items() if code not in (*NOTED, "what") for one in names
            }
            arguments = [name.removeprefix("p_") for name in functions[path.stem]["names"] or ()]
            assert collapsed(constraints, []) == collapsed(raised(path.stem, functions, api), arguments)
            called = closure(path.stem, functions, lambda callee: callee in api) - {path.stem}
            passed_on = {name for name in called if raised(name, functions, api)}
            assert passed_on <= set(found.get("what", ()))
            assert set(found.get("what", ())) <= api
