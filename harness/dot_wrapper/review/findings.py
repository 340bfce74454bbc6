"""What a change means: a sentence each, as bad as it is. The worst one is the verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Key, Rows
from dot_wrapper.operations.drift_cures import parts
from dot_wrapper.review import catalog
from dot_wrapper.review.catalog import GRANTED, Change
from dot_wrapper.review.quoting import code, plain

Level = Literal["red", "yellow", "note"]
Verdict = Literal["nothing to decide", "a person decides", "do not deploy"]


SIGNS: Final[Mapping[Level, str]] = {"red": "🔴", "yellow": "🟡", "note": "⚪"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reviewer should know.

    Attributes:
        level: ``red`` must not be deployed, ``yellow`` a person decides, ``note`` is said and decides nothing.
        rule: the kind of finding, one word: with ``subject`` what a declaration names.
        subject: the object.
        text: a sentence in Markdown; what it quotes is escaped.
        chapter: where the page has more of it.
        declared: the reason that the change itself gives for a red one.
    """

    level: Level
    rule: str
    subject: str
    text: str
    chapter: str
    declared: str | None = None


def verdict(findings: Sequence[Finding]) -> Verdict:
    """What the findings come to. A red one whose reason the change declares is for a person to decide."""
    if any(one.level == "red" and one.declared is None for one in findings):
        return "do not deploy"
    return "a person decides" if any(one.level != "note" for one in findings) else "nothing to decide"


def declare(findings: Sequence[Finding], declared: Mapping[tuple[str, str], str]) -> list[Finding]:
    """The findings with the reasons that the change gives, by rule and subject."""
    return [
        replace(one, declared=declared.get((one.rule, one.subject))) if one.level == "red" else one for one in findings
    ]


MANY: Final = 4
"""So many reasons of one kind the top of the page says one by one; of red ones twice as many."""


def gathered(reasons: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """What the top of the page says, those of one kind that are too many as one; and those many, which their chapters say."""
    top: list[Finding] = []
    many: list[Finding] = []
    groups: dict[tuple[str, str, str | None], list[Finding]] = {}
    for one in reasons:
        groups.setdefault((one.level, one.rule, one.declared), []).append(one)
    for group in groups.values():
        one = group[0]
        if len(group) <= (2 * MANY if one.level == "red" else MANY):
            top += group
        else:
            top.append(replace(one, text=f"{len(group)} of this kind, such as: {one.text}"))
            many += group
    return sorted(top, key=lambda one: one.level), many


def declarations(before: str, after: str) -> dict[tuple[str, str], str]:
    """The reasons in the lines that a change adds to the file of declarations: ``rule subject: reason``."""
    found = {}
    for line in sorted(set(after.splitlines()) - set(before.splitlines())):
        if match := re.fullmatch(r"(?!#)(\S+) (\S.*?): (\S.*)", line.strip()):
            found[match[1], match[2]] = match[3]
    return found


# ---------------------------------------------------------------------------------------------------------------- rights

RIGHTS: Final = "1-rights"
OBJECTS: Final = "2-objects"

_ATTRIBUTES: Final = ("login", "superuser", "createrole", "createdb", "replication", "bypassrls")
# Properties that decide whose rights are used, and whether a guard works. A change of one needs a reason.
_GUARDS: Final = ("owner", "security", "leakproof", "row security", "row security forced", "enabled")


def of_rights(before: Rows, after: Rows, *, first: bool = False) -> Iterator[Finding]:
    """Privileges, owners, definers and their paths, row security, triggers, roles and memberships that differ.

    Args:
        first: nothing was installed before: what roles and new tables have is no change.
    """
    had, has = catalog.objects(before), catalog.objects(after)
    for key in catalog.differing(before, after):
        kind, identity, name = key
        was, now = before.get(key), after.get(key)
        subject = f"{kind} {identity}"
        if kind in drift.AROUND or kind == "default rights":
            yield from _around(key, was, now, is_new=key[:2] not in had, first=first)
        elif name.startswith(GRANTED):
            definer = (
                after.get((kind, identity, "owner")) if after.get((kind, identity, "security")) == "definer" else None
            )
            there = (_table_in(key, had), _table_in(key, has))
            runs = _before_update(after, identity) if "UPDATE" in (now or "") else ""
            yield from _granted(key, _privileges(was), _privileges(now), there, definer, runs)
        elif kind in ("policy", "rule") and name == "definition" and _table_in(key, had) and _table_in(key, has):
            yield _red("row-security", subject, f"{code(subject)}: {code(was)} → {code(now)}")
        elif key[:2] not in has:
            if kind == "trigger" and name == "definition" and _table_in(key, has):
                yield _red("trigger-gone", subject, f"{code(subject)} is gone: what it refused is not refused any more")
        elif key[:2] not in had:
            if name == "owner" and now not in drift.OWNERS:
                yield _red("owner", subject, f"new {code(subject)} belongs to {code(now)}")
            elif name == "enabled" and now != "always":
                yield Finding(
                    "yellow", "trigger-state", subject, f"new {code(subject)} fires {code(now)}, not always", RIGHTS
                )
        elif name in _GUARDS:
            rule = {"enabled": "trigger-state", "owner": "owner", "security": "definer", "leakproof": "leakproof"}
            yield _red(rule.get(name, "row-security"), subject, _moved(name, subject, was, now))
        elif name == "settings":
            moved = _path(was) != _path(now)
            yield Finding(
                "red" if moved else "yellow",
                "path" if moved else "settings",
                subject,
                _moved(name, subject, was, now),
                RIGHTS,
            )
        elif name == "option security_barrier":
            yield Finding(
                "red" if now is None else "yellow", "barrier", subject, _moved(name, subject, was, now), RIGHTS
            )
        elif name == "owner lacks":
            yield Finding("yellow", "owner-lacks", subject, _moved(name, subject, was, now), RIGHTS)
    yield from _definers(before, after)


def differing_rights(before: Rows, after: Rows) -> list[Key]:
    """The rows that differ and say who may do what, or with whose rights, of what is on both sides."""
    both = catalog.objects(before) & catalog.objects(after)
    names = (*_GUARDS, "settings", "option security_barrier")
    return [
        key
        for key in catalog.differing(before, after)
        if key[:2] in both and (catalog.is_right(key) or key[0] in drift.AROUND or key[2] in names)
    ]


def of_files(texts: Mapping[str, Sequence[str]], after: Rows, changed: set[str]) -> Iterator[Finding]:
    """Rights that an object has and its file does not give: a grant that was taken out of a file and not revoked.

    Args:
        texts: the file of each function and view.
        changed: the names of those whose file or whose rows changed.
    """
    for key in sorted(after):
        kind, identity, name = key
        if kind in ("function", "view") and name.startswith(GRANTED) and catalog.name_of(identity) in changed:
            role = name.removeprefix(GRANTED)
            lines = texts.get(catalog.name_of(identity))
            given = set(
                re.findall(r"\w+", " ".join(re.findall(r"(?ms)^grant [^;]*? to ([^;]*);", "\n".join(lines or []))))
            )
            if lines is not None and role.lower() not in given:
                subject = f"{kind} {identity}"
                text = (
                    f"the file of {code(subject)} no longer grants {code(after[key])} to {code(role)}, but no revision revokes it: a fresh"
                    " installation has it too"
                )
                yield _red("grant-not-in-file", f"{subject} {role}", text)


def _granted(
    key: Key, was: set[str], now: set[str], there: tuple[bool, bool], definer: str | None, runs: str
) -> Iterator[Finding]:
    kind, identity, name = key
    was_there, is_there = there
    role = name.removeprefix(GRANTED)
    subject = f"{kind} {identity}"
    wide = (
        (role == "PUBLIC" and kind != "type")
        or (kind == "column" and was_there)
        or any("*" in one for one in now - was)
    )
    for privilege in sorted(now - was) if is_there else ():
        level: Level = "red" if wide else "yellow" if was_there else "note"
        rule = "wide-right" if wide else "right-gained" if was_there else "right-of-new"
        said = f"{code(f'{role} {privilege}')} on {code(subject)}"
        said += f", which runs with the rights of {code(definer)}" if definer else ""
        said += f"; before an UPDATE there runs {runs}" if runs and privilege.startswith("UPDATE") else ""
        yield Finding(level, rule, f"{subject} {role}", f"**gained**: {said}" if was_there else f"new: {said}", RIGHTS)
    for privilege in sorted(was - now) if is_there else ():
        yield Finding(
            "yellow",
            "right-lost",
            f"{subject} {role}",
            f"lost: {code(f'{role} {privilege}')} on {code(subject)}",
            RIGHTS,
        )


def _before_update(rows: Rows, identity: str) -> str:
    """The triggers of a table, or of the table of a column, that run before an UPDATE."""
    table = parts(identity)[:2]
    return ", ".join(
        f"{code(f'trigger {parts(one)[2]}')} (it fires {rows[kind, one, 'enabled']})"
        for (kind, one, name), value in sorted(rows.items())
        if kind == "trigger" and name == "definition" and parts(one)[:2] == table
        if re.search(" BEFORE [A-Z ]*UPDATE ", value) and rows[kind, one, "enabled"] != "disabled"
    )


def _around(key: Key, was: str | None, now: str | None, *, is_new: bool, first: bool) -> Iterator[Finding]:
    kind, identity, name = key
    subject = f"{kind} {identity}"
    if kind == "role" and is_new:
        level: Level = (
            "red" if now == "true" and name in _ATTRIBUTES else "yellow" if name == "login" and not first else "note"
        )
        text = f"new {code(subject)}: {code(f'{name} {now}')}"
    else:
        worse = now is not None and drift.level(key, now) == "drift"
        level = "note" if first else "red" if worse or kind == "role" else "yellow"
        text = f"{code(f'{subject}, {name}')}: {code(was)} → {code(now)}"
    yield Finding(level, "role" if kind == "role" else kind.replace(" ", "-"), f"{subject} {name}", text, RIGHTS)


def _definers(before: Rows, after: Rows) -> Iterator[Finding]:
    for kind, identity in sorted({key[:2] for key in catalog.differing(before, after) if key[0] == "function"}):
        if after.get((kind, identity, "security")) != "definer":
            continue
        path = _path(after.get((kind, identity, "settings")))
        if path is None or not path.endswith("pg_temp"):
            owner = after.get((kind, identity, "owner"))
            yield _red(
                "definer-without-path",
                f"{kind} {identity}",
                f"{code(identity)} runs with the rights of {code(owner)} **without a fixed search_path** that ends in pg_temp: a login that"
                " creates objects where the caller looks names up may decide what it calls",
            )


def _path(settings: str | None) -> str | None:
    found = re.search(r"(?:^|; )search_path=([^;]*)", settings or "")
    return found and found[1].strip()


def _privileges(value: str | None) -> set[str]:
    return set(value.split(", ")) if value else set()


def _table_in(key: Key, there: set[catalog.Object]) -> bool:
    """Whether an object was there; of a part of a table, whether the table was."""
    kind, identity, _ = key
    if kind not in ("column", "trigger", "policy", "rule"):
        return (kind, identity) in there
    around = ".".join(parts(identity)[:2])
    return any((one, around) in there for one in ("table", "view", "materialized view", "foreign table"))


def _moved(name: str, subject: str, was: str | None, now: str | None) -> str:
    return f"{plain(name)} of {code(subject)}: {code(was)} → {code(now)}"


def _red(rule: str, subject: str, text: str) -> Finding:
    return Finding("red", rule, subject, text, RIGHTS)


# --------------------------------------------------------------------------------------------------------------- objects


def of_objects(before: Rows, after: Rows, changes: Sequence[Change], *, first: bool) -> Iterator[Finding]:
    """What callers lose, what stored rows lose, and that there is text to read.

    Args:
        first: nothing was installed before.
    """
    had, has = catalog.objects(before), catalog.objects(after)
    names = {catalog.name_of(identity) for kind, identity in has if kind == "function"}
    if first:
        yield Finding(
            "yellow",
            "first-installation",
            "schema dot",
            f"a first installation: {len(changes)} objects, who may use them is in the matrix",
            RIGHTS,
        )
        return
    for one in changes:
        subject = f"{one.kind} {one.identity}"
        if one.kind == "function" and one.after is None:
            how = "takes other arguments" if one.name in names else "is gone"
            yield Finding(
                "red",
                "function-gone",
                subject,
                f"{code(subject)} {how}: who calls it so{_holders(one, before)} fails",
                OBJECTS,
            )
        elif one.kind == "function" and one.before is not None:
            key = ("function", one.identity, "signature")
            if before.get(key) != after.get(key):
                yield Finding(
                    "red", "signature", subject, _moved("signature", subject, before.get(key), after.get(key)), OBJECTS
                )
        elif one.kind == "view":
            yield from _columns_of_view(one, before, after)
        elif one.kind == "table":
            yield from _columns_of_table(one, before, after)
    for kind, identity, name in catalog.differing(before, after):
        if kind == "constraint" and (kind, identity) in had - has and name == "definition":
            yield Finding(
                "yellow",
                "constraint-gone",
                f"{kind} {identity}",
                f"{code(identity)} is gone: {code(before[kind, identity, name])}",
                OBJECTS,
            )
        elif kind == "constraint" and name == "validated" and after.get((kind, identity, name)) == "false":
            yield Finding(
                "yellow",
                "not-validated",
                f"{kind} {identity}",
                f"{code(identity)} is not validated: rows that are stored are not checked",
                OBJECTS,
            )
    read = [
        one
        for one in changes
        if one.before != one.after and _without_comments(one.before) != _without_comments(one.after)
    ]
    if read:
        counts = [(sum(one.kind == kind for one in read), kind) for kind in dict.fromkeys(one.kind for one in read)]
        counted = ", ".join(f"{count} {kind}{'s' * (count != 1)}" for count, kind in counts)
        yield Finding("yellow", "text", "schema dot", f"read the diff of {counted}", OBJECTS)


def _holders(one: Change, rows: Rows) -> str:
    """Who could use an object, in parentheses."""
    roles = [
        code(name.removeprefix(GRANTED))
        for kind, identity, name in sorted(rows)
        if (kind, identity) == (one.kind, one.identity) and name.startswith(GRANTED)
    ]
    return f" ({', '.join(roles)})" if roles else ""


def _columns_of_table(one: Change, before: Rows, after: Rows) -> Iterator[Finding]:
    was, now = catalog.columns(before, one.identity), catalog.columns(after, one.identity)
    subject = f"{one.kind} {one.identity}"
    gone = ", ".join(code(column) for column in was if column not in now)
    kept = {column.partition(" ")[0] for column in now}
    if one.before is not None:
        dropped = [column for column in was if column.partition(" ")[0] not in kept]
        if dropped:
            yield Finding(
                "red",
                "stored-column",
                subject,
                f"{code(subject)} loses what is stored in {', '.join(map(code, dropped))}",
                OBJECTS,
            )
        elif gone:
            yield Finding("yellow", "column-type", subject, f"{code(subject)}: {gone} has another type", OBJECTS)
        added = [
            column.partition(" ")[0]
            for column in now
            if column.partition(" ")[0] not in {c.partition(" ")[0] for c in was}
        ]
        if added:
            yield Finding(
                "yellow",
                "downgrade-drops",
                subject,
                f"a downgrade drops what is stored in {', '.join(map(code, added))} of {code(subject)}",
                OBJECTS,
            )
    else:
        yield Finding(
            "yellow",
            "downgrade-drops",
            subject,
            f"a downgrade drops what is stored in {code(subject)}, or refuses",
            OBJECTS,
        )


def _columns_of_view(one: Change, before: Rows, after: Rows) -> Iterator[Finding]:
    was, now = catalog.columns(before, one.identity), catalog.columns(after, one.identity)
    subject = f"{one.kind} {one.identity}"
    changes = one.before is not None and one.after is not None
    if gone := ", ".join(code(column) for column in was if column not in now):
        said = f"{code(subject)} loses {gone}: who selects that{_holders(one, before)} fails"
        said += ", and `select *` has other columns" if changes else ""
        yield Finding("red", "view-column", subject, said, OBJECTS)
    if changes and (added := ", ".join(code(column) for column in now if column not in was)):
        said = f"{code(subject)} gains {added}: who may read the view{_holders(one, after)} reads that too, and `select *` has it"
        yield Finding("yellow", "view-column-new", subject, said, OBJECTS)
    names = [column.partition(" ")[0] for column in now]
    kept = [name for name in (column.partition(" ")[0] for column in was) if name in names]
    if changes and names[: len(kept)] != kept:
        said = f"{code(subject)} has its columns in another order: `select *` has them in that order"
        yield Finding("yellow", "view-column-moved", subject, said, OBJECTS)


def _without_comments(lines: Sequence[str] | None) -> list[str] | None:
    return None if lines is None else [line for line in lines if not re.match(r"comment: |.*, comment ", line)]
