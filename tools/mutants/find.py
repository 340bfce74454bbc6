"""Finds the mutants: every way in which one guard of the SQL may be missing or wrong.

Nothing here names a function, a view or a line. Bodies are taken from the files of ``sql/`` and changed in their parse tree;
tables, constraints, triggers, grants and the attributes of functions come from the catalog of an upgraded database. So what is
new is covered by itself. A mutant is known by its object, its operator and the text that it changes, and where several of an object
read the same by the text around it, not by a position: what is said of one is never taken for another.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from pglast import ast, parse_plpgsql, parse_sql
from pglast.enums import A_Expr_Kind, BoolExprType, BoolTestType, JoinType, SortByDir
from pglast.parser import scan
from pglast.stream import RawStream

from dot_wrapper.files import ROOT

# Attributes of an object and rights on it, which the catalog lint may kill: no behaviour shows them all.
ATTRIBUTES = frozenset(
    {
        "trigger dropped",
        "trigger event dropped",
        "trigger not always",
        "definer dropped",
        "setting dropped",
        "owner changed",
        "volatility changed",
        "made strict",
        "barrier dropped",
        "grant dropped",
        "granted to public",
        "default privilege restored",
    }
)


@dataclass(frozen=True)
class Mutant:
    """One change of one object, and the SQL that makes it in a database with the wrapper installed."""

    object: str
    operator: str
    change: str
    sql: str
    place: str = ""
    """The text around it, where several of the object read the same."""
    twin: int = 0
    """Which one it is of several in this place."""

    @property
    def id(self) -> str:
        """Stable for as long as neither the changed text nor, where that stands in several places, the text around it is edited."""
        text = "|".join((self.object, self.operator, self.change, f"{self.place}{self.twin}"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]


def find(url: str) -> list[Mutant]:
    """All mutants of this checkout, given the connection string of a database that it has been installed in."""
    found: list[tuple[str, str, str, str, str]] = []  # the last is the SQL of the object unchanged
    for path in sorted((ROOT / "sql").glob("[fv]*/**/*.sql")):
        found += [(path.stem, *changed) for changed in _of_file(path)]
    with psycopg.connect(url) as connection:
        found += [(*changed, "") for changed in _of_catalog(connection)]
    alike = Counter(item[:3] for item in found)
    seen: Counter[tuple[str, ...]] = Counter()
    mutants = []
    for name, operator, change, changed, original in found:
        place = _place(original, changed) if alike[name, operator, change] > 1 else ""
        mutants.append(Mutant(name, operator, change, changed, place, seen[name, operator, change, place]))
        seen[name, operator, change, place] += 1
    return mutants


def _place(original: str, changed: str) -> str:
    """What stands around the first difference."""
    at = next((at for at, (one, other) in enumerate(zip(original, changed, strict=False)) if one != other), 0)
    return " ".join(original[max(at - 80, 0) : at + 80].split())


def unchanged() -> list[str]:
    """Every function and view printed anew without a change: tests must not notice, or a mutant would be more than its edit."""
    return [_unchanged(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "sql").glob("[fv]*/**/*.sql"))]


def _unchanged(source: str) -> str:
    create, body = _definition(source)
    if body is None:
        return _text(create)
    printed = body
    for part in sorted(_parts(source, body), key=lambda part: part.start, reverse=True):
        printed = printed[: part.start] + part.changes()[0][2] + printed[part.end :]
    return _statement(source, body, printed)


# -- The parse tree of SQL ------------------------------------------------------------------------------------------------

# An operator, what it changes in words, and the whole text after the change.
Changed = tuple[str, str, str]
# An operator, what it changes in words, and the attributes of nodes that get a value.
Edit = tuple[str, str, list[tuple[ast.Node, str, Any]]]

MOVED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
AGGREGATES = {"max": "min", "min": "max", "bool_or": "bool_and", "bool_and": "bool_or"}
CLAUSES = {"distinctClause": "distinct dropped", "limitCount": "limit dropped", "lockingClause": "lock dropped"}


def _text(node: Any) -> str:
    return str(RawStream()(node))


def _expression(text: str) -> Any:
    select: Any = parse_sql(f"select {text}")[0].stmt
    return select.targetList[0].val


def _walk(value: object) -> Iterator[ast.Node]:
    if isinstance(value, tuple):
        for part in value:
            yield from _walk(part)
    elif isinstance(value, ast.Node):
        yield value
        for attribute in value:
            yield from _walk(getattr(value, attribute))


def _changes(root: ast.Node, render: Callable[[], str]) -> list[Changed]:
    """What a tree reads like after each edit alone."""
    changed = []
    for node in list(_walk(root)):
        for operator, change, values in list(_edits(node)):
            before = [(holder, attribute, getattr(holder, attribute)) for holder, attribute, _ in values]
            for holder, attribute, value in values:
                setattr(holder, attribute, value)
            changed.append((operator, change, render()))
            for holder, attribute, value in before:
                setattr(holder, attribute, value)
    return changed


def _without(values: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    for position, value in enumerate(values):
        yield value, values[:position] + values[position + 1 :]


def _negated(condition: Any) -> Any:
    if isinstance(condition, ast.BoolExpr) and condition.boolop == BoolExprType.NOT_EXPR:
        return condition.args[0]
    return _expression(f"not ({_text(condition)})")


def _joined(condition: object) -> bool:
    """Whether a condition is made of others, which are changed one by one."""
    return isinstance(condition, ast.BoolExpr) and condition.boolop != BoolExprType.NOT_EXPR


def _edits(node: Any) -> Iterator[Edit]:
    yield from _condition_edits(node)
    yield from _comparison_edits(node)
    yield from _query_edits(node)
    match node:
        case ast.A_Const(val=ast.Integer(ival=number)):
            for other in sorted({number + 1, max(number - 1, 0)} - {number}):
                yield "bound moved", f"{number} -> {other}", [(node, "val", _expression(str(other)).val)]
        case ast.A_Const(val=ast.String(sval=path)) if path.startswith("strict $"):
            for bound in re.finditer(r"\d{2,}", path):
                moved = f"{path[: bound.start()]}{int(bound[0]) + 1}{path[bound.end() :]}"
                yield "bound moved", f"{bound[0]} + 1", [(node, "val", ast.String(sval=moved))]
        case ast.A_Const(val=ast.Boolean(boolval=flag)):
            yield "flag turned", _text(node), [(node, "val", ast.Boolean(boolval=not flag))]
        case ast.CoalesceExpr(args=args) if len(args) > 1:
            yield "default dropped", _text(node), [(node, "args", args[:1])]
        case ast.A_ArrayExpr(elements=elements) if elements and len(elements) > 1:
            for dropped, rest in _without(elements):
                yield "element dropped", _text(dropped), [(node, "elements", rest)]
        case ast.FuncCall(funcname=names, args=args):
            name = names[-1].sval
            if name in AGGREGATES:
                yield "aggregate turned", _text(node), [(node, "funcname", (ast.String(sval=AGGREGATES[name]),))]
            if node.agg_distinct:
                yield "distinct dropped", _text(node), [(node, "agg_distinct", False)]
            if name == "jsonb_build_object":
                for at in range(0, len(args), 2):
                    yield "key dropped", _text(args[at]), [(node, "args", args[:at] + args[at + 2 :])]
        case ast.SQLValueFunction() if _text(node).lower() == "session_user":
            yield "login mistaken", _text(node), [(node, "op", _expression("current_user").op)]


def _condition_edits(node: Any) -> Iterator[Edit]:
    """Conditions dropped or turned, wherever one stands."""
    match node:
        case ast.BoolExpr(boolop=kind, args=args) if kind != BoolExprType.NOT_EXPR:
            word, other = ("conjunct", BoolExprType.OR_EXPR)
            if kind == BoolExprType.OR_EXPR:
                word, other = ("disjunct", BoolExprType.AND_EXPR)
            yield "and/or swapped", _text(node), [(node, "boolop", other)]
            for position, (dropped, rest) in enumerate(_without(args)):
                yield f"{word} dropped", _text(dropped), [(node, "args", rest)]
                yield from _let_through(dropped)
                if not _joined(dropped):
                    turned = (*args[:position], _negated(dropped), *args[position + 1 :])
                    yield f"{word} turned", _text(dropped), [(node, "args", turned)]
        case ast.CaseExpr(args=arms, arg=subject, defresult=default):
            for arm in arms:
                never = _expression("false" if subject is None else "null")
                yield "case arm dropped", _text(arm), [(arm, "expr", never)]
                if subject is None and not _joined(arm.expr):
                    yield "case arm turned", _text(arm), [(arm, "expr", _negated(arm.expr))]
            if len(arms) == 1:  # of several arms those before have taken NULL
                yield from _let_through(arms[0].expr)
            if default is not None:
                yield "else dropped", _text(node), [(node, "defresult", None)]
    for attribute in ("whereClause", "havingClause", "agg_filter", "quals", "raw_expr"):
        condition = getattr(node, attribute, None)
        if isinstance(condition, ast.Node) and not _joined(condition):
            nothing = _expression("true") if attribute in ("quals", "raw_expr") else None
            if _text(condition) != "TRUE":
                yield "condition dropped", _text(condition), [(node, attribute, nothing)]
            yield "condition turned", _text(condition), [(node, attribute, _negated(condition))]


def _let_through(condition: Any) -> Iterator[Edit]:
    """What `is not true` refuses and `not (...)` lets through."""
    if isinstance(condition, ast.BooleanTest) and condition.booltesttype == BoolTestType.IS_NOT_TRUE:
        yield "NULL let through", _text(condition), [(condition, "booltesttype", BoolTestType.IS_FALSE)]


def _comparison_edits(node: Any) -> Iterator[Edit]:
    if not isinstance(node, ast.A_Expr):
        return
    name, left, right = node.name[-1].sval, node.lexpr, node.rexpr
    match node.kind:
        case A_Expr_Kind.AEXPR_OP if name in MOVED:
            yield "bound moved", _text(node), [(node, "name", (ast.String(sval=MOVED[name]),))]
        case A_Expr_Kind.AEXPR_OP if name in ("~", "~*", "!~") and isinstance(right, ast.A_Const):
            pattern = right.val.sval
            if pattern.startswith("^"):
                yield "regex unanchored", f"start of {pattern}", [(right, "val", ast.String(sval=pattern[1:]))]
            if pattern.endswith("$"):
                yield "regex unanchored", f"end of {pattern}", [(right, "val", ast.String(sval=pattern[:-1]))]
        case A_Expr_Kind.AEXPR_DISTINCT | A_Expr_Kind.AEXPR_NOT_DISTINCT:
            plain = ast.String(sval="<>" if node.kind == A_Expr_Kind.AEXPR_DISTINCT else "=")
            yield "NULL let through", _text(node), [(node, "kind", A_Expr_Kind.AEXPR_OP), (node, "name", (plain,))]
        case A_Expr_Kind.AEXPR_IN if isinstance(right, tuple) and len(right) > 1:
            for dropped, rest in _without(right):
                yield "word dropped", f"{_text(dropped)} of {_text(node)}", [(node, "rexpr", rest)]
    if isinstance(left, ast.RowExpr) and isinstance(right, ast.RowExpr):
        for (dropped, lefts), (_, rights) in zip(_without(left.args), _without(right.args), strict=True):
            values = [(node, "lexpr", lefts[0]), (node, "rexpr", rights[0])]
            if len(lefts) > 1:
                values = [(left, "args", lefts), (right, "args", rights)]
            yield "field dropped", f"{_text(dropped)} of {_text(node)}", values


def _query_edits(node: Any) -> Iterator[Edit]:
    match node:
        case ast.SelectStmt():
            for attribute, operator in CLAUSES.items():
                if getattr(node, attribute):
                    yield operator, _text(node), [(node, attribute, None)]
        case ast.JoinExpr(jointype=JoinType.JOIN_LEFT):
            yield "join turned", _text(node), [(node, "jointype", JoinType.JOIN_INNER)]
        case ast.JoinExpr(jointype=JoinType.JOIN_INNER, quals=quals) if quals:
            yield "join turned", _text(node), [(node, "jointype", JoinType.JOIN_LEFT)]
        case ast.SortBy(sortby_dir=direction):
            down = direction == SortByDir.SORTBY_DESC
            turned = SortByDir.SORTBY_ASC if down else SortByDir.SORTBY_DESC
            yield "order turned", _text(node), [(node, "sortby_dir", turned)]
        case ast.InsertStmt(cols=columns, onConflictClause=clause, selectStmt=source):
            if clause:
                yield "on conflict dropped", "on conflict", [(node, "onConflictClause", None)]
            if isinstance(source, ast.SelectStmt) and source.valuesLists:
                lists = source.valuesLists
                for row, values in enumerate(lists):
                    of = node.relation.relname + (f", row {row + 1}" if len(lists) > 1 else "")
                    for at, column in enumerate(columns):
                        stored = (*values[:at], _expression("null"), *values[at + 1 :])
                        changed = (*lists[:row], stored, *lists[row + 1 :])
                        yield "value not stored", f"{column.name} of {of}", [(source, "valuesLists", changed)]
        case ast.UpdateStmt(targetList=targets) | ast.OnConflictClause(targetList=targets) if (
            targets and len(targets) > 1
        ):
            for target, rest in _without(targets):
                yield "value not stored", _text(target), [(node, "targetList", rest)]


# -- Files: views, and functions of SQL and PL/pgSQL -----------------------------------------------------------------------


def _of_file(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Each change, and after it the text that it is made in."""
    source = path.read_text(encoding="utf-8")
    create, body = _definition(source)
    if body is None:
        original = _text(create)
        yield from ((*changed, original) for changed in _changes(create, lambda: _text(create)))
    else:
        original = _statement(source, body, body)
        for operator, change, changed in _of_body(source, body):
            yield operator, change, _statement(source, body, changed), original


def _definition(source: str) -> tuple[Any, str | None]:
    """The statement that creates the file's object; and its body, where that is PL/pgSQL."""
    create: Any = next(
        one.stmt for one in parse_sql(source) if isinstance(one.stmt, ast.CreateFunctionStmt | ast.ViewStmt)
    )
    for option in getattr(create, "options", None) or ():
        if option.defname == "as":
            return create, option.arg[0].sval
    return create, None


def _statement(source: str, body: str, changed: str) -> str:
    create = source[source.index("create or replace") : source.index(body)]
    return f"{create}{changed}$function$"


# How PL/pgSQL's own parser, which keeps the text of each expression and the line of each statement, numbers what RAISE says.
DETAIL, CONSTRAINT = 2, 5
SIMPLE = {
    "PLpgSQL_stmt_perform",
    "PLpgSQL_stmt_raise",
    "PLpgSQL_stmt_assign",
    "PLpgSQL_stmt_execsql",
    "PLpgSQL_stmt_return",
}


@dataclass(frozen=True)
class _Part:
    """A piece of SQL inside a body."""

    start: int
    end: int
    kind: str
    """``condition`` of an IF, ``expression`` or whole ``statement``."""
    text: str
    into: str = ""
    """The INTO clause, which is not SQL and may stand at the end of the statement too."""

    def changes(self) -> list[Changed]:
        """What this piece reads like after each edit alone, and after none."""
        if self.kind == "statement":
            root = parse_sql(self.text)[0].stmt
            return self._changes(root, lambda: f"{_text(root)} {self.into}".rstrip())
        if self.kind == "condition":
            case = _expression(f"case when {self.text} then null end")
            return self._changes(case, lambda: f"({_text(case.args[0].expr)})")  # a bare THEN would end it
        select = parse_sql(f"select {self.text}")[0].stmt
        return self._changes(select, lambda: _text(select).removeprefix("SELECT "))

    def _changes(self, root: ast.Node, render: Callable[[], str]) -> list[Changed]:
        guard = {"case arm dropped": "guard deleted", "case arm turned": "guard turned"}
        found = _changes(root, render)
        if self.kind == "condition":
            # The IF was read as the CASE with one arm that it is: that arm's edits come first.
            first = 2 if found[1][0] == "case arm turned" else 1
            found = [(guard[word], self.text, text) for word, _, text in found[:first]] + found[first:]
        return [("", "", render()), *found]


def _of_body(source: str, body: str) -> Iterator[Changed]:
    for part in _parts(source, body):
        for operator, change, text in part.changes()[1:]:
            yield operator, change, body[: part.start] + text + body[part.end :]
    for operator, change, start, end, text in _of_statements(source, body):
        yield operator, change, body[:start] + text + body[end:]


def _nodes(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes of PL/pgSQL's tree, and of each its name."""
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)
    elif isinstance(tree, dict):
        for name, part in tree.items():
            if name.startswith("PLpgSQL_"):
                yield name, part
            yield from _nodes(part)


def _plpgsql(source: str, body: str) -> list[tuple[str, dict[str, Any]]]:
    # The parser has no catalog, so it knows no schema but its own, no row type but record, and no array of a domain.
    assert "pg_catalog." not in body
    create = re.sub(r"setof dot\.\w+", "setof record", _statement(source, body, body))
    create = re.sub(r"\bdot\.\w+\[\]", "text[]", create)
    return list(_nodes(parse_plpgsql(re.sub(r"\bdot\.", "pg_catalog.", create))))


def _line_start(body: str, line: int) -> int:
    return sum(map(len, body.splitlines(keepends=True)[: line - 1]))


def _located(body: str, node: dict[str, Any], line: int, kind: str) -> _Part:
    """Where the text of an expression stands in the body. The parser has put blanks for INTO, and SELECT for PERFORM."""
    text = node["PLpgSQL_expr"]["query"].replace("pg_catalog.", "dot.")
    if kind == "perform":
        text, kind = text.removeprefix("SELECT "), "expression"
    pattern = "".join("." if one.isspace() else re.escape(one) for one in text)
    found = re.compile(pattern, re.DOTALL).search(body, _line_start(body, line))
    assert found, text
    start, into = found.start(), ""
    if kind == "assignment":
        start, kind = body.index(":=", start) + 2, "expression"
        text = body[start : found.end()]
    elif kind == "statement":
        blanked = [at for at, one in enumerate(text) if one != found[0][at]]
        if blanked:
            into = " ".join(found[0][blanked[0] : blanked[-1] + 1].split())
    return _Part(start, found.end(), kind, text.strip() if kind != "statement" else text, into)


def _parts(source: str, body: str) -> Iterator[_Part]:
    """The pieces of SQL in a body, none inside another."""
    for name, node in _plpgsql(source, body):
        line = node.get("lineno", 0)
        match name:
            case "PLpgSQL_stmt_if" | "PLpgSQL_if_elsif":
                yield _located(body, node["cond"], line, "condition")
            case "PLpgSQL_var" if "default_val" in node:
                yield _located(body, node["default_val"], line, "expression")
            case "PLpgSQL_stmt_assign":
                yield _located(body, node["expr"], line, "assignment")
            case "PLpgSQL_stmt_perform":
                yield _located(body, node["expr"], line, "perform")
            case "PLpgSQL_stmt_execsql":
                yield _located(body, node["sqlstmt"], line, "statement")
            case "PLpgSQL_stmt_return_query":
                yield _located(body, node["query"], line, "statement")
            case "PLpgSQL_stmt_return" | "PLpgSQL_stmt_foreach_a" if "expr" in node:
                yield _located(body, node["expr"], line, "expression")
            case "PLpgSQL_stmt_raise":
                for option in node.get("options", ()):
                    if option["PLpgSQL_raise_option"]["opt_type"] == DETAIL:
                        yield _located(body, option["PLpgSQL_raise_option"]["expr"], line, "expression")


def _of_statements(source: str, body: str) -> Iterator[tuple[str, str, int, int, str]]:
    """Statements deleted, refusals renamed, handlers and arms that catch nothing: what to put between two positions."""
    tokens = scan(body)
    for name, node in _plpgsql(source, body):
        line = node.get("lineno", 0)
        start = _line_start(body, line)
        if name in SIMPLE and line and not (name == "PLpgSQL_stmt_return" and "expr" in node):
            first = next(at for at, token in enumerate(tokens) if token.start >= start)
            last = next(at for at in range(first, len(tokens)) if body[tokens[at].start] == ";")
            begin, end = tokens[first].start, tokens[last].end + 1
            yield "statement deleted", " ".join(body[begin:end].split()), begin, end, "null;"
        if name == "PLpgSQL_stmt_raise" and "condname" in node:
            refusal = body.index(node["condname"], start)
            yield "refusal renamed", node["condname"], refusal, refusal + len(node["condname"]), "raise_exception"
            for option in node.get("options", ()):
                if option["PLpgSQL_raise_option"]["opt_type"] == CONSTRAINT:
                    part = _located(body, option["PLpgSQL_raise_option"]["expr"], line, "expression")
                    yield "refusal renamed", part.text, part.start, part.end, "'mutant'"
        if name == "PLpgSQL_case_when":
            word = re.compile(r"'[^']*'").search(body, start)
            assert word
            yield "case arm dropped", word[0], word.start(), word.end(), "null"
        if name == "PLpgSQL_condition":
            handled = re.compile(rf"(?:(?<=\bwhen )|(?<=\bor )){node['condname']}(?= (?:or|then)\b)").search(body)
            assert handled
            yield "handler deleted", node["condname"], handled.start(), handled.end(), "division_by_zero"


# -- The catalog: tables, attributes and rights ----------------------------------------------------------------------------

_TABLES = "c.relnamespace = 'dot'::regnamespace and c.relkind = 'r' and c.relname <> 'alembic_version'"
_FUNCTIONS = "p.pronamespace = 'dot'::regnamespace"

# Object, operator, change, SQL. A primary key is NOT NULL by itself.
_CATALOG = f"""
select c.relname, 'NOT NULL dropped', a.attname, format('alter table %s alter %I drop not null', c.oid::regclass, a.attname)
from pg_class c join pg_attribute a on a.attrelid = c.oid
where {_TABLES} and a.attnum > 0 and a.attnotnull and a.attidentity = '' and not exists (
    select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p' and a.attnum = any (k.conkey))
union all
select c.relname, 'default dropped', a.attname, format('alter table %s alter %I drop default', c.oid::regclass, a.attname)
from pg_class c join pg_attribute a on a.attrelid = c.oid
where {_TABLES} and a.atthasdef and a.attgenerated = ''
union all
select c.relname,
    case k.contype when 'c' then 'CHECK' when 'p' then 'primary key' when 'u' then 'unique key' else 'foreign key' end
        || ' dropped',
    k.conname || ': ' || pg_get_constraintdef(k.oid),
    format('alter table %s drop constraint %I cascade', c.oid::regclass, k.conname)
from pg_class c join pg_constraint k on k.conrelid = c.oid
where {_TABLES} and k.contype in ('c', 'p', 'u', 'f')
union all
select t.typname, 'CHECK dropped', k.conname || ': ' || pg_get_constraintdef(k.oid),
    format('alter domain dot.%I drop constraint %I', t.typname, k.conname)
from pg_type t join pg_constraint k on k.contypid = t.oid where t.typnamespace = 'dot'::regnamespace and k.contype = 'c'
union all
select c.relname, 'unique index dropped', pg_get_indexdef(i.indexrelid), format('drop index %s', i.indexrelid::regclass)
from pg_class c join pg_index i on i.indrelid = c.oid
where {_TABLES} and i.indisunique and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
union all
select c.relname, 'trigger dropped', t.tgname, format('drop trigger %I on %s', t.tgname, c.oid::regclass)
from pg_class c join pg_trigger t on t.tgrelid = c.oid where {_TABLES} and not t.tgisinternal
union all
select c.relname, 'trigger not always', t.tgname, format('alter table %s enable trigger %I', c.oid::regclass, t.tgname)
from pg_class c join pg_trigger t on t.tgrelid = c.oid where {_TABLES} and t.tgenabled = 'A'
union all
select c.relname, 'trigger event dropped', left_event || ' of ' || t.tgname, format('drop trigger %I on %s; %s; alter table %2$s'
    ' enable always trigger %1$I', t.tgname, c.oid::regclass, replace(pg_get_triggerdef(t.oid), both_events, left_event))
from pg_class c join pg_trigger t on t.tgrelid = c.oid
cross join (values ('DELETE OR UPDATE', 'DELETE'), ('DELETE OR UPDATE', 'UPDATE')) as e (both_events, left_event)
where {_TABLES} and strpos(pg_get_triggerdef(t.oid), both_events) > 0
union all
select p.proname, 'definer dropped', 'security definer', format('alter function %s security invoker', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS} and p.prosecdef
union all
select p.proname, 'setting dropped', s, format('alter function %s reset %s', p.oid::regprocedure, split_part(s, '=', 1))
from pg_proc p cross join unnest(p.proconfig) as s where {_FUNCTIONS}
union all
select p.proname, 'setting dropped', 'pg_temp', format('alter function %s set search_path = pg_catalog', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS} and 'search_path=pg_catalog, pg_temp' = any (p.proconfig)
union all
select p.proname, 'owner changed', p.proowner::regrole::text, format('alter function %s owner to dot_owner', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS} and p.proowner <> 'dot_owner'::regrole
union all
select p.proname, 'volatility changed', 'volatile', format('alter function %s stable', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS} and p.provolatile = 'v'
union all
select p.proname, 'made strict', 'called on null input', format('alter function %s strict', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS} and p.pronargs > 0 and not p.proisstrict
union all
select p.proname, 'grant dropped', a.grantee::regrole::text,
    format('revoke execute on function %s from %s', p.oid::regprocedure, a.grantee::regrole)
from pg_proc p cross join aclexplode(p.proacl) as a where {_FUNCTIONS} and a.grantee not in (0, p.proowner)
union all
select p.proname, 'granted to public', 'execute', format('grant execute on function %s to public', p.oid::regprocedure)
from pg_proc p where {_FUNCTIONS}
union all
select c.relname, 'granted to public', 'select', format('grant select on %s to public', c.oid::regclass)
from pg_class c where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v')
union all
select c.relname, 'grant dropped', a.privilege_type || ' of ' || a.grantee::regrole,
    format('revoke %s on %s from %s', a.privilege_type, c.oid::regclass, a.grantee::regrole)
from pg_class c cross join aclexplode(c.relacl) as a
where c.relnamespace = 'dot'::regnamespace and c.relkind in ('r', 'v') and a.grantee not in (0, c.relowner)
union all
select c.relname, 'grant dropped', format('%s (%s) of %s', a.privilege_type, t.attname, a.grantee::regrole),
    format('revoke %s (%I) on %s from %s', a.privilege_type, t.attname, c.oid::regclass, a.grantee::regrole)
from pg_class c join pg_attribute t on t.attrelid = c.oid cross join aclexplode(t.attacl) as a
where c.relnamespace = 'dot'::regnamespace and a.grantee <> 0
union all
select 'schema', 'grant dropped', a.privilege_type || ' of ' || a.grantee::regrole,
    format('revoke %s on schema dot from %s', a.privilege_type, a.grantee::regrole)
from pg_namespace n cross join aclexplode(n.nspacl) as a where n.nspname = 'dot' and a.grantee not in (0, n.nspowner)
union all
select 'schema', 'granted to public', g, format('grant %s on schema dot to public', g) from unnest('{{usage,create}}'::text[]) as g
union all
select 'schema', 'default privilege restored', 'execute of public',
    format('alter default privileges for role %s grant execute on functions to public', d.defaclrole::regrole)
from pg_default_acl d where d.defaclobjtype = 'f'
union all
select c.relname, 'barrier dropped', 'security_barrier', format('alter view %s reset (security_barrier)', c.oid::regclass)
from pg_class c where c.relnamespace = 'dot'::regnamespace and 'security_barrier=true' = any (c.reloptions)
order by 1, 2, 3
"""

# What has a condition inside: table, how the definition is replaced, the definition.
_CONDITIONS = f"""
select c.relname, format('alter table %s drop constraint %I', c.oid::regclass, k.conname), k.conname,
    format('alter table %s add constraint %I %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
from pg_class c join pg_constraint k on k.conrelid = c.oid where {_TABLES} and k.contype = 'c'
union all
select c.relname, format('drop index %s', i.indexrelid::regclass), i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
from pg_class c join pg_index i on i.indrelid = c.oid
where {_TABLES} and i.indisunique and i.indpred is not null
union all
select t.typname, format('alter domain dot.%I drop constraint %I', t.typname, k.conname), k.conname,
    format('alter domain dot.%I add constraint %I %s', t.typname, k.conname, pg_get_constraintdef(k.oid))
from pg_type t join pg_constraint k on k.contypid = t.oid where t.typnamespace = 'dot'::regnamespace and k.contype = 'c'
order by 1, 3
"""

# Columns that are of a domain, and what is below it.
_DOMAINS = f"""
select c.relname, a.attname, t.typname,
    format('alter table %s alter %I type %s', c.oid::regclass, a.attname, t.typbasetype::regtype)
from pg_class c join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
where {_TABLES} and a.attnum > 0 and t.typtype = 'd'
order by 1, 2
"""


def _views() -> list[Path]:
    """The files of the views, each after those that it reads."""
    left = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "sql" / "views").glob("*.sql")}
    ordered: list[Path] = []
    while left:
        read = {
            name: [other for other in left if other != name and re.search(rf"\bdot\.{other}\b", text)]
            for name, text in left.items()
        }
        for name in sorted(name for name, others in read.items() if not others):
            ordered.append(ROOT / "sql" / "views" / f"{name}.sql")
            del left[name]
    return ordered


def _of_catalog(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str, str, str]]:
    yield from connection.execute(_CATALOG).fetchall()
    views = _views()  # a column that a view shows keeps its type: they are taken away, and made again
    names = ", ".join(f"dot.{path.stem}" for path in views)
    remade = "".join(path.read_text(encoding="utf-8") for path in views)
    for table, column, domain, retyped in connection.execute(_DOMAINS).fetchall():
        yield table, "domain dropped", f"{domain} of {column}", f"drop view {names}; {retyped}; {remade}"
    for table, drop, name, definition in connection.execute(_CONDITIONS).fetchall():
        root = parse_sql(definition)[0].stmt
        for operator, change, text in _changes(root, lambda root=root: _text(root)):  # type: ignore[misc]
            if operator != "condition dropped" or "index" in drop:  # a CHECK without a condition is one that is dropped
                yield table, operator, f"{name}: {change}", f"{drop}; {text}"
