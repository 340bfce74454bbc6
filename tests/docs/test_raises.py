"""The head of each API function names its errors: what its text raises, and whose errors it passes on."""

from __future__ import annotations

import re

import pytest

from dot_wrapper.files import ROOT
from support import Database, rows
from tools.reference import raised_by_itself

API = sorted((ROOT / "sql" / "functions" / "api").glob("*.sql"))
NOTED = ("40001", "40P01", "55P03")  # of the server, or without a constraint: said in words


def raises(text: str) -> dict[str, list[str]]:
    """The lines under ``Raises:``, by SQLSTATE; under ``what`` the functions whose errors are passed on."""
    head = text.partition("create or replace")[0]
    _, _, block = head.partition("-- Raises:\n")
    found: dict[str, list[str]] = {}
    for line in re.findall(r"--   (\S.*(?:\n--    +.*)*(?:\n--   (?!\d|what)\S.*)*)", block):
        kind, _, rest = " ".join(line.replace("\n--", " ").split()).partition(" ")
        found[kind] = re.findall(r"fn_\w+", rest) if kind == "what" else rest.split(", ")
    return found


def collapsed(errors: set[str], arguments: list[str]) -> set[str]:
    """Constraints of an argument as the heads write them, and any word in angle brackets as one."""
    names = "|".join(sorted(map(re.escape, arguments), key=len, reverse=True))
    found = {re.sub(rf"_({names})_(not_null|check)$", r"_<word>_\2", one) for one in errors} if names else errors
    return {re.sub(r"<\w+>", "<word>", one) for one in found}


def test_the_head_of_each_api_function_names_what_it_raises(db: Database, subtests: pytest.Subtests) -> None:
    facts = raised_by_itself(db.url_as("owner"))
    arguments = {
        one["name"]: [name.removeprefix("p_") for name in one["names"] or () if name.startswith("p_")]
        for one in rows(
            db.session("owner"),
            "select proname as name, proargnames as names from pg_proc where pronamespace = 'dot'::regnamespace",
        )
    }
    assert len(API) > 20
    for path in API:
        with subtests.test(function=path.stem):
            said = raises(path.read_text(encoding="utf-8"))
            constraints = {
                f"{code} {one}" for code, found in said.items() if code not in (*NOTED, "what") for one in found
            }
            errors, called = facts[path.stem]
            assert collapsed(constraints, []) == collapsed(errors, arguments[path.stem])
            passed_on = {name for name in called if facts[name][0]}
            assert passed_on <= set(said.get("what", ()))
            assert all((ROOT / "sql" / "functions" / "api" / f"{name}.sql").exists() for name in said.get("what", ()))
