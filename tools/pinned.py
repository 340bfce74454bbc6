"""Checks that each transaction of a script pins the search_path before any name is looked up.

A database's owner may create functions, operators, types and tables of its own, and decide where an unqualified name is looked up
first. In a script that a DBA runs they would run with the DBA's rights.

    python -m tools.pinned FILE...        1 where a statement comes before the pin
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pglast import ast, parse_sql
from pglast.enums import TransactionStmtKind, VariableSetKind

PATH = ["pg_catalog", "pg_temp"]

_BEGINNINGS = (TransactionStmtKind.TRANS_STMT_BEGIN, TransactionStmtKind.TRANS_STMT_START)
_ENDS = (TransactionStmtKind.TRANS_STMT_COMMIT, TransactionStmtKind.TRANS_STMT_ROLLBACK)


def problems(script: str) -> list[str]:
    """One sentence for each statement that looks a name up where a stranger decides what it finds."""
    # psql's own commands are lines that begin with a backslash.
    text = re.sub(r"^\\.*$", "", script, flags=re.MULTILINE)
    return [f"line {line}: {what}" for line, what in _problems(text)]


def _problems(text: str) -> Iterator[tuple[int, str]]:
    pinned = False
    for raw in parse_sql(text):
        start = raw.stmt_location or 0
        line = text.count("\n", 0, start + _blank(text[start:])) + 1
        statement = raw.stmt
        if isinstance(statement, ast.TransactionStmt) and statement.kind in _BEGINNINGS + _ENDS:
            pinned = False
        elif isinstance(statement, ast.VariableSetStmt) and statement.name in ("search_path", None):  # None: RESET ALL
            pinned = _is_pin(statement)
        elif not pinned:
            names = dict.fromkeys(_looked_up(statement))
            if names:
                yield line, f"before the pin is looked up: {', '.join(names)}"
        else:
            for name in _chosen_by_a_literal(statement):
                yield line, f"{name} is chosen by the type of a literal: write the type, or its schema's owner chooses"


def _blank(text: str) -> int:
    """How many characters come before the first statement's first word: white space and comments."""
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*", text, re.DOTALL)
    return found.end() if found else 0


def _is_pin(statement: ast.VariableSetStmt) -> bool:
    return (
        statement.kind == VariableSetKind.VAR_SET_VALUE
        and statement.name == "search_path"
        and [value.val.sval for value in statement.args or ()] == PATH
    )


def _qualified(names: Sequence[ast.String]) -> tuple[str, ...]:
    return tuple(name.sval for name in names)


def _nodes(node: ast.Node) -> Iterator[ast.Node]:
    """A node and all below it."""
    yield node
    for name in node:
        value = getattr(node, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, ast.Node):
                yield from _nodes(one)


def _looked_up(statement: ast.Node) -> Iterator[str]:
    """What a statement makes the server look up by an unqualified name."""
    for node in _nodes(statement):
        match node:
            case ast.FuncCall():
                kind, names = "function", _qualified(node.funcname)
            case ast.A_Expr():
                kind, names = "operator", _qualified(node.name)
            case ast.SubLink() if node.testexpr is not None:
                kind, names = "operator", _qualified(node.operName or ()) or ("=",)
            case ast.CaseExpr(arg=ast.Node()) | ast.JoinExpr(usingClause=tuple()) | ast.JoinExpr(isNatural=True):
                kind, names = "operator", ("=",)
            case ast.TypeName():
                kind, names = "type", _qualified(node.names or ())
            case ast.RangeVar():
                kind, names = "relation", tuple(filter(None, (node.schemaname, node.relname)))
            case ast.DoStmt() | ast.CreateFunctionStmt() | ast.CopyStmt() | ast.CallStmt():
                kind, names = "whatever is named in", (type(node).__name__,)
            case _:
                continue
        if len(names) == 1:
            yield f"{kind} {names[0]}"


def _chosen_by_a_literal(statement: ast.Node) -> Iterator[str]:
    """Calls of functions outside pg_catalog whose overload a literal without a type decides."""
    for node in _nodes(statement):
        if isinstance(node, ast.FuncCall) and any(map(_untyped, node.args or ())):
            names = _qualified(node.funcname)
            if len(names) == 2 and names[0] != "pg_catalog":
                yield ".".join(names)


def _untyped(argument: ast.Node) -> bool:
    value = argument.arg if isinstance(argument, ast.NamedArgExpr) else argument
    return isinstance(value, ast.A_Const) and (value.isnull or isinstance(value.val, ast.String))


def main(arguments: Sequence[str]) -> int:
    """Command line: the files to check; 1 where there is something to mend, with a line for each."""
    found = [f"{name}: {one}" for name in arguments for one in problems(Path(name).read_text(encoding="utf-8"))]
    print("".join(f"{one}\n" for one in found), end="", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
