r"""What ``docs/sql-reference.md`` says of the catalog, against the catalog: ``python -m tools.snapshot --check``.

The page is written by hand. Its facts are read from its form, one entry per function and view under a heading of its name:

    ```text                                       the signature
    dot.fn_name(p_one text) returns text
    ```
    | argument | type | default | meaning |       the arguments of a function that a role may call
    | column | type | meaning |                   the columns that it returns, or that a view has
    | SQLSTATE | constraint | when | what to do |  what it raises under a constraint's name; ``<argument>`` stands for any
                                                  argument of the entry, another ``<word>`` for any word
    **Role.** `dot_writer`.                       who may execute or select

The same facts are read from the catalog, the errors from the functions' bodies. Each that one side has alone is a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dot_wrapper.files import ROOT

PAGE = ROOT / "docs" / "sql-reference.md"

ARGUMENTS, COLUMNS = ("argument", "type", "default", "meaning"), ("column", "type", "meaning")
ERRORS = ("SQLSTATE", "constraint", "when", "what to do")

_ROLES = """array(select coalesce(r.rolname, 'PUBLIC') from aclexplode({acl}) as a
    left join pg_roles r on r.oid = a.grantee where a.grantee <> {owner}) as roles"""

_FUNCTIONS = f"""
select p.proname as name, p.proargnames as names, p.proargmodes::text[] as modes, p.proretset as is_set,
    array(select format_type(t.oid, null)
          from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as t (oid, n) order by t.n) as types,
    array(select pg_get_function_arg_default(p.oid, n) from generate_series(1, p.pronargs) as n order by n) as defaults,
    format_type(p.prorettype, null) as result, pg_get_functiondef(p.oid) as definition,
    {_ROLES.format(acl="coalesce(p.proacl, acldefault('f', p.proowner))", owner="p.proowner")}
from pg_proc p where p.pronamespace = 'dot'::regnamespace"""

_VIEWS = f"""
select c.relname as name,
    array(select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as names,
    array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as types,
    {_ROLES.format(acl="c.relacl", owner="c.relowner")}
from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind in ('v', 'm')"""

# Roles that are nobody's: a function that only they may call is internal, and its entry is short.
_OWNERS = {"dot_owner", "dot_bridge"}

_RAISE = re.compile(
    r"raise (?!exception\b)(?P<condition>\w+) using\b(?:(?!\braise\b).)*?"
    r"\bconstraint = (?:format\()?(?:(?P<variable>\w+) \|\| )?'(?P<name>[^']+)'",
    re.DOTALL,
)
_INPUT = re.compile(r"(?<!constraint = )'(\w+_(?:not_null|check))'")
_CALL = re.compile(r"\bdot\.(fn_\w+)\(")


def drift(page: str, url: str) -> list[str]:
    """What to add to the page and to remove from it, one line each; empty where it says what the database has.

    Args:
        page: the text of ``docs/sql-reference.md``.
        url: a database at head.
    """
    written, found = set(_page_facts(page)), set(_catalog_facts(url))
    unwritten = {fact for fact in found - written if not any(_stands_for(other, fact) for other in written)}
    unfounded = {fact for fact in written - found if not any(_stands_for(fact, other) for other in found)}
    return [f"add: {fact}" for fact in sorted(unwritten)] + [f"remove: {fact}" for fact in sorted(unfounded)]


def _stands_for(written: str, found: str) -> bool:
    """Whether an error that the page names is one of the catalog's, where either has a word in angle brackets: ``<a|b>`` is one
    of these words, ``<word>`` any."""
    if "<" not in written + found:
        return False
    return bool(re.fullmatch(_pattern(written), re.sub(r"<\w+>", "x", found)) or re.fullmatch(_pattern(found), written))


def _pattern(fact: str) -> str:
    parts = re.split(r"<([\w|]+)>", fact)
    words = [f"(?:{word})" if "|" in word else r"\w+" for word in parts[1::2]]
    return "".join(re.escape(text) + word for text, word in zip(parts[::2], [*words, ""], strict=True))


def _page_facts(page: str) -> Iterator[str]:
    for entry in re.split(r"^#{1,3} ", page, flags=re.MULTILINE)[1:]:
        heading, _, text = entry.partition("\n")
        name = heading.strip("` ")
        if not re.fullmatch(r"(?:fn_|v_|gate_)\w+", name):
            continue
        yield name
        for signature in re.findall(rf"^```text\n(dot\.{name}\(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield f"{name}: {' '.join(signature.split()).replace('( ', '(').replace(' )', ')')}"
        arguments = []
        for columns, cells in _rows(text):
            if columns == ARGUMENTS:
                yield f"{name}: argument {cells[0]} {cells[1]}, {cells[2]}"
                arguments.append(cells[0].removeprefix("p_"))
            elif columns == COLUMNS:
                yield f"{name}: column {cells[0]} {cells[1]}"
            elif columns == ERRORS:
                constraints = cells[1].replace("<argument>", f"<{'|'.join(arguments)}>").split(", ")
                yield from (f"{name}: raises {cells[0]} {constraint}" for constraint in constraints if constraint)
        for roles in re.findall(r"\*\*Role\.\*\* (.*)$", text, re.MULTILINE):
            yield from (f"{name}: role {role}" for role in re.findall(r"`(\w+)`", roles.partition("**")[0]))


def _rows(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The rows of the tables of an entry, each with the names of its table's columns; without backticks."""
    columns: tuple[str, ...] = ()
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = ()
            continue
        cells = [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not columns:
            columns = tuple(cells)
        elif set(line) - set("|-: "):
            yield columns, cells


def _catalog_facts(url: str) -> Iterator[str]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        functions = {function["name"]: function for function in connection.execute(_FUNCTIONS)}
        views = connection.execute(_VIEWS).fetchall()
    for view in views:
        yield view["name"]
        yield from (f"{view['name']}: column {pair}" for pair in _pairs(view))
        yield from (f"{view['name']}: role {role}" for role in view["roles"])
    for name, function in functions.items():
        yield name
        yield from (f"{name}: role {role}" for role in function["roles"])
        yield from _signature_facts(function)
        if not name.startswith("fn_host_"):  # each raises the same, which their section says once
            yield from (f"{name}: raises {error}" for error in _errors(name, functions))


def _pairs(described: dict[str, Any]) -> list[str]:
    return [f"{name} {kind}" for name, kind in zip(described["names"] or (), described["types"], strict=True)]


def _signature_facts(function: dict[str, Any]) -> Iterator[str]:
    name, pairs = function["name"], _pairs(function)
    modes = function["modes"] or ["i"] * len(pairs)
    given = [pair for pair, mode in zip(pairs, modes, strict=True) if mode == "i"]
    returned = [pair for pair, mode in zip(pairs, modes, strict=True) if mode == "o"]
    defaults = [_default(expression) for expression in function["defaults"]]
    arguments = ", ".join(
        f"{pair}{default and ' default ' + default}" for pair, default in zip(given, defaults, strict=True)
    )
    result = f"({', '.join(returned)})" if returned else function["result"]
    yield f"{name}: dot.{name}({arguments}) returns {'setof ' if function['is_set'] else ''}{result}"
    if set(function["roles"]) - _OWNERS:
        yield from (
            f"{name}: argument {pair}, {default or 'required'}" for pair, default in zip(given, defaults, strict=True)
        )
        yield from (f"{name}: column {pair}" for pair in returned)


def _default(expression: str | None) -> str:
    """A default as it is written in ``sql/``: ``null`` instead of ``NULL::text``."""
    return re.sub(r"::[\w ]+$", "", expression or "").replace("NULL", "null")


def _errors(name: str, functions: dict[str, dict[str, Any]]) -> set[str]:
    """SQLSTATE and constraint of what a function raises, and of what the functions that it calls raise; the bridge aside.

    The observe functions have long entries of their own: an internal function that passes calls on to them names them.
    """
    return _raised(name, functions, () if set(functions[name]["roles"]) - _OWNERS else ("fn_process_",))


def raised_by_itself(url: str) -> dict[str, tuple[set[str], set[str]]]:
    """Of each function that a role may call: SQLSTATE and constraint of what it raises without the other functions that a role may
    call, and which of those it calls."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        functions = {function["name"]: function for function in connection.execute(_FUNCTIONS)}
    api = {name for name, function in functions.items() if set(function["roles"]) - _OWNERS}
    return {
        name: (
            _raised(name, functions, tuple(api - {name})),
            _closure(functions[name]["definition"], functions, lambda callee: callee in api) - {name},
        )
        for name in api
    }


def _raised(name: str, functions: dict[str, dict[str, Any]], apart: tuple[str, ...]) -> set[str]:
    definition = functions[name]["definition"]
    apart += ("fn_host_", "fn_input_refuse")
    called = _closure(definition, functions, lambda callee: not callee.startswith(apart))
    errors = set()
    for function in (functions[callee] for callee in {name, *called}):
        definition = function["definition"]
        for found in _RAISE.finditer(definition):
            constraint = ("%s" if found["variable"] else "") + found["name"]
            errors.add(f"{_sqlstate(found['condition'])} {constraint.replace('%s', '<word>')}")
        problems = set(_INPUT.findall(definition))
        arguments = tuple(argument.removeprefix("p_") for argument in function["names"] or ())
        for callee in _closure(definition, functions, lambda name: name.endswith("_input_problem")):
            shared = _INPUT.findall(functions[callee]["definition"])
            problems |= {problem for problem in shared if problem.startswith(arguments)}
        for table in set(re.findall(r"fn_input_refuse\('(\w+)'", definition)):
            errors |= {f"{'23502' if one.endswith('_not_null') else '23514'} {table}_{one}" for one in problems}
    return errors


def _closure(definition: str, functions: dict[str, dict[str, Any]], counts: Callable[[str], bool]) -> set[str]:
    """The functions that a definition calls, and those that they call, as far as they count."""
    called: set[str] = set()
    open_calls = {definition}
    while open_calls:
        new = {
            callee
            for text in open_calls
            for callee in _CALL.findall(text)
            if callee in functions and counts(callee) and callee not in called
        }
        called |= new
        open_calls = {functions[callee]["definition"] for callee in new}
    return called


def _sqlstate(condition: str) -> str:
    """The SQLSTATE of a condition name of PL/pgSQL."""
    found: type[psycopg.Error] = getattr(psycopg.errors, condition.title().replace("_", ""))
    return str(found.sqlstate)
