"""The facts in the reference of functions and views, which ``python -m tools.snapshot`` writes and its ``--check`` compares.

A page of ``docs`` has places for facts. What stands between the two comments is generated, what stands around them is written by hand:

    <!-- facts: fn_name -->      the signature, the roles that may call it, the locks and errors that the head of its file names
    <!-- facts: v_name -->       the columns with their comments, the roles that may read it
    <!-- facts: index -->        each chapter, and in one line what each function and view of it does
    <!-- facts: rules -->        the functions of sql/functions/rules in short; ``bridge`` does the same for sql/functions/bridge
    <!-- end -->

By hand each entry explains its arguments and returned columns, in tables headed ``argument | meaning`` and ``column | meaning``, and
``errors.md`` has a row for each SQLSTATE and constraint. ``missing`` tells what is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dot_wrapper.files import ROOT

DOCS = ROOT / "docs"
CHAPTERS = Path("reference/sql")
ERRORS = CHAPTERS / "errors.md"

_PLACE = re.compile(r"(?<=<!-- facts: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

_ROLES = """array(select coalesce(r.rolname, 'PUBLIC') from aclexplode({acl}) as a
    left join pg_roles r on r.oid = a.grantee
    where a.grantee <> {owner} and r.rolname not in ('dot_owner', 'dot_bridge') is not false order by 1) as roles"""

_FUNCTIONS = f"""
select p.proname as name, p.proargnames as names, p.proargmodes::text[] as modes, p.proretset as is_set,
    array(select format_type(t.oid, null)
          from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as t (oid, n) order by t.n) as types,
    array(select pg_get_function_arg_default(p.oid, n) from generate_series(1, p.pronargs) as n order by n) as defaults,
    format_type(p.prorettype, null) as result, obj_description(p.oid, 'pg_proc') as comment,
    {_ROLES.format(acl="coalesce(p.proacl, acldefault('f', p.proowner))", owner="p.proowner")}
from pg_proc p where p.pronamespace = 'dot'::regnamespace order by p.proname collate "C" """

_VIEWS = f"""
select c.relname as name, obj_description(c.oid, 'pg_class') as comment,
    array(select array[a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')]
          from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns,
    {_ROLES.format(acl="c.relacl", owner="c.relowner")}
from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind = 'v' order by c.relname collate "C" """


@dataclass(frozen=True)
class Function:
    """A function of schema ``dot``: what the catalog and the head of its file say."""

    name: str
    kind: str
    """The folder of its file: ``api``, ``rules`` or ``bridge``; ``api`` for one without a file."""
    arguments: list[str]
    """``p_name type``, with `` default ...`` where it has one."""
    columns: list[str]
    """``name type`` of each column that it returns; empty for a single value."""
    result: str
    is_set: bool
    roles: list[str]
    comment: str
    head: str
    """The comment that its file begins with, without ``--``."""


def pages(docs: Path, url: str) -> dict[Path, str]:
    """Each page with a place for facts, and the text that it has to have.

    Args:
        docs: the folder of the pages.
        url: a database at head.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(docs.rglob("*.md"))}
    facts = _facts(*_catalog(url), _chapters(docs))

    def filled(place: re.Match[str]) -> str:
        return f"{place[1]}{place[2]}{facts.get(place[1], '')}"

    return {path: _PLACE.sub(filled, text) for path, text in texts.items() if _PLACE.search(text)}


def missing(docs: Path, url: str) -> list[str]:
    """What is to be written or removed by hand, one line each.

    Args:
        docs: the folder of the pages.
        url: a database at head.
    """
    functions, views = _catalog(url)
    entries = {name: text for chapter in _chapters(docs).values() for name, text in chapter.items()}
    known = {one.name: one for one in functions if one.kind == "api"}
    expected = {*known, *(view["name"] for view in views if view["name"].startswith("v_"))}
    found = [f"write an entry: {name}" for name in sorted(expected - entries.keys())]
    found += [f"remove the entry: {name}" for name in sorted(entries.keys() - expected)]
    for name in sorted(known.keys() & entries.keys()):
        for kind, pairs in (("argument", known[name].arguments), ("column", known[name].columns)):
            explained, names = _explained(entries[name], kind), [pair.split()[0] for pair in pairs]
            found += [f"explain {kind} {one} of {name}" for one in names if one not in explained]
            found += [f"remove {kind} {one} of {name}" for one in explained if one not in names]
    table = _rows((docs / ERRORS).read_text(encoding="utf-8"), "SQLSTATE")
    said = {
        cells[1]: cells[0] for cells in table if len(cells) == 4
    }  # those without a constraint have a table of three
    raised = {one: code for function in functions for code, one in _constraints(function) if function.kind == "api"}
    covered: dict[str, str] = {}
    for one, code in raised.items():
        rows = [row for row in said if said[row] == code and _covers(row, one)]
        covered |= {one: min(rows, key=lambda row: row.count("<"))} if rows else {}
    found += [f"explain {raised[one]} {one} in {ERRORS}" for one in sorted(raised.keys() - covered.keys())]
    found += [f"remove {said[row]} {row} from {ERRORS}" for row in sorted(said.keys() - set(covered.values()))]
    return found


def raises(head: str) -> list[tuple[str, str]]:
    """The lines under ``Raises:`` of the head of a function, each as its SQLSTATE and what follows it; ``what`` for the errors of
    other functions that are passed on."""
    _, _, block = head.partition("Raises:\n")
    found = re.findall(r"^  (\S.*(?:\n   +.*)*(?:\n  (?!\d|what)\S.*)*)", block, re.MULTILINE)
    lines = (" ".join(one.split()).partition(" ") for one in found)
    return [(kind, text) for kind, _, text in lines]


def head(path: Path) -> str:
    """The comment that a file of ``sql/functions`` begins with, without ``--``; empty where there is no such file."""
    if not path.exists():
        return ""
    text, _, _ = path.read_text(encoding="utf-8").partition("create or replace")
    return "\n".join(line.removeprefix("--").removeprefix(" ") for line in text.splitlines() if line.startswith("--"))


def _catalog(url: str) -> tuple[list[Function], list[dict[str, Any]]]:
    files = {path.stem: path for path in (ROOT / "sql" / "functions").rglob("*.sql")}
    with psycopg.connect(url, row_factory=dict_row) as connection:
        described = connection.execute(_FUNCTIONS).fetchall()
        views = connection.execute(_VIEWS).fetchall()
    return [_function(one, files.get(one["name"], Path("api/none"))) for one in described], views


def _function(described: dict[str, Any], file: Path) -> Function:
    pairs = [f"{name} {kind}" for name, kind in zip(described["names"] or (), described["types"], strict=True)]
    modes = described["modes"] or ["i"] * len(pairs)
    given = [pair for pair, mode in zip(pairs, modes, strict=True) if mode == "i"]
    return Function(
        name=described["name"],
        kind=file.parent.name,
        arguments=[pair + _default(one) for pair, one in zip(given, described["defaults"], strict=True)],
        columns=[pair for pair, mode in zip(pairs, modes, strict=True) if mode != "i"],
        result=described["result"],
        is_set=described["is_set"],
        roles=described["roles"],
        comment=described["comment"] or "",
        head=head(file),
    )


def _default(expression: str | None) -> str:
    """A default as it is written in ``sql/``: ``null`` instead of ``NULL::text``."""
    return f" default {re.sub(r'::[a-z ]+$', '', expression).replace('NULL', 'null')}" if expression else ""


def _chapters(docs: Path) -> dict[str, dict[str, str]]:
    """Of each file of the reference its entries, in their order: name and text."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((docs / CHAPTERS).glob("*.md")):
        parts = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        entries = {heading: text for heading, _, text in (part.partition("\n") for part in parts)}
        found[path.name] = {name: text for name, text in entries.items() if f"<!-- facts: {name} -->\n" in text}
    return found


def _facts(
    functions: list[Function], views: list[dict[str, Any]], chapters: dict[str, dict[str, str]]
) -> dict[str, str]:
    """What each place is filled with."""
    where = {name: file for file, entries in chapters.items() for name in entries}
    facts = {one.name: _of_function(one, where) for one in functions} | {one["name"]: _of_view(one) for one in views}
    comments = {one.name: one.comment for one in functions} | {one["name"]: one["comment"] for one in views}
    for kind in ("rules", "bridge"):
        lines = (_in_short(one) for one in functions if one.kind == kind)
        facts[kind] = f"\n{''.join(lines)}\n"
    facts["index"] = "\n" + "".join(
        f"**[{file.removesuffix('.md')}]({file})**\n\n| | |\n|---|---|\n"
        + "".join(f"| [{name}]({file}#{name}) | {_cell(comments.get(name) or '')} |\n" for name in entries)
        + "\n"
        for file, entries in chapters.items()
        if entries
    )
    return facts


def _of_function(function: Function, where: dict[str, str]) -> str:
    def linked(text: str) -> str:
        return re.sub(r"\bfn_\w+", lambda name: f"[{name[0]}]({where.get(name[0], 'README.md')}#{name[0]})", text)

    parts = [f"```text\n{_signature(function)}\n```", _role(function.roles)]
    if locks := re.search(r"^.*?\bLocks(?::| are) (.*?)(?=\n\n|\nRaises:|\Z)", function.head, re.DOTALL):
        text = " ".join(locks[1].split())
        parts.append(f"**Locks.** {text[0].upper()}{text[1:].rstrip('.')}.")
    rows = []
    for kind, text in raises(function.head):
        if kind == "what":
            rows.append(f"| | {kind} {linked(text)} |")
        elif _is_constraints(text):
            rows.append(f"| {kind} | {', '.join(f'`{one}`' for one in text.split(', '))} |")
        else:
            rows.append(f"| {kind} | {linked(text)} |")
    if rows:
        parts.append("\n".join(["| SQLSTATE | constraint, or cause ([what to do](errors.md)) |", "|---|---|", *rows]))
    else:
        parts.append("It raises nothing of its own.")
    return "\n" + "\n\n".join(parts) + "\n\n"


def _signature(function: Function) -> str:
    """On one line where it fits, else a line for each argument and column."""
    what = f" returns {'setof ' if function.is_set else ''}"
    result = f"({', '.join(function.columns)})" if function.columns else function.result
    line = f"dot.{function.name}({', '.join(function.arguments)}){what}{result}"
    if len(line) <= 110:
        return line
    given = ",\n".join(f"    {one}" for one in function.arguments)
    if function.columns:
        result = "(\n" + ",\n".join(f"    {one}" for one in function.columns) + "\n)"
    return f"dot.{function.name}(\n{given}\n){what}{result}" if given else f"dot.{function.name}(){what}{result}"


def _role(roles: list[str]) -> str:
    return f"**Role.** {', '.join(f'`{role}`' for role in roles) or 'none'}."


def _of_view(view: dict[str, Any]) -> str:
    rows = "".join(f"| `{name}` | `{kind}` | {_cell(comment)} |\n" for name, kind, comment in view["columns"])
    return f"\n| column | type | meaning |\n|---|---|---|\n{rows}\n{_role(view['roles'])}\n\n"


def _in_short(function: Function) -> str:
    arguments = ", ".join(one.split()[0] for one in function.arguments)
    role = f" {_role(function.roles)}" if function.roles else ""
    return f"- `{function.name}({arguments})`: {function.comment}{role}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _is_constraints(text: str) -> bool:
    return bool(re.fullmatch(r"[\w<>]+(?:, [\w<>]+)*", text)) and "_" in text


def _constraints(function: Function) -> Iterator[tuple[str, str]]:
    for kind, text in raises(function.head):
        if kind != "what" and _is_constraints(text):
            yield from ((kind, one) for one in text.split(", "))


def _covers(row: str, constraint: str) -> bool:
    """Whether a row of ``errors.md`` stands for a constraint of a head: ``<word>`` of the row is any word, but ``<argument>`` is
    that of the head, so that a constraint with a name of its own needs a row of its own."""
    parts = re.split(r"(<(?!argument>)\w+>)", row)
    return bool(
        re.fullmatch("".join(r"[\w<>]+" if one in parts[1::2] else re.escape(one) for one in parts), constraint)
    )


def _explained(entry: str, kind: str) -> list[str]:
    return [cells[0] for cells in _rows(entry, kind) if len(cells) == 2]


def _rows(text: str, first: str) -> Iterator[list[str]]:
    """The cells of the rows of each table whose first column has this name; without backticks."""
    columns: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not columns:
            columns = cells
        elif columns[0] == first and set(line) - set("|-: "):
            yield cells
