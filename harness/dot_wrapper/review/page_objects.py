"""The chapters of the page about rights and objects."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Key, Rows
from dot_wrapper.review import catalog, findings
from dot_wrapper.review.catalog import GRANTED, Change
from dot_wrapper.review.findings import SIGNS
from dot_wrapper.review.packet import Packet
from dot_wrapper.review.quoting import Long, Part, block, code, fold, markup, plain, table


def reasons(packet: Packet, chapter: str) -> str:
    """The reasons of a chapter that the top of the page does not say one by one."""
    mine = [one for one in packet.reasons[1] if one.chapter == chapter]
    return "\n".join(f"- {SIGNS[one.level]} {one.text} · `{one.rule}`" for one in mine)


def rights(packet: Packet) -> Iterator[Part]:
    yield "## 1. Rights"
    mine = [one for one in packet.findings if one.chapter == findings.RIGHTS]
    said = reasons(packet, findings.RIGHTS)
    if packet.first.is_empty:
        yield "All of it is new. Who may use what then:"
        yield _matrix(packet.after)
        yield said
        return
    if any(one.level != "note" for one in mine):
        yield said
        kept = {one.subject for one in mine if one.rule == "grant-not-in-file"}
        keys = findings.differing_rights(packet.before, packet.after)
        keys += [key for key in sorted(packet.after) if " ".join(key).replace(GRANTED, "") in kept and key not in keys]
        yield (
            compared(keys, ("A", packet.before), ("B", packet.after))
            if keys
            else "What changes is among the reasons at the top."
        )
    else:
        yield "No privilege, owner, definer, search_path, row security, trigger state, role or membership changes."
    if notes := [f"- {one.text}" for one in mine if one.level == "note"]:
        yield fold(f"{len(notes)} rights of new objects", "\n".join(notes))


def compared(keys: Sequence[Key], was: tuple[str, Rows], now: tuple[str, Rows]) -> Part:
    """Rows of the catalog on two sides, each with its name."""
    lines = [[code(" ".join(key[:2])), plain(key[2]), code(was[1].get(key)), code(now[1].get(key))] for key in keys]
    return Long(table(["object", "what", was[0], now[0]], lines), f"{len(keys)} rows, left out for their length.")


def _matrix(rows: Rows) -> str:
    """Who may call and read what, once all is installed."""
    granted: dict[str, set[str]] = {}
    for kind, identity, name in rows:
        if kind in ("function", "view") and name.startswith(GRANTED):
            granted.setdefault(catalog.name_of(identity), set()).add(name.removeprefix(GRANTED))
    roles = [role for role in ("PUBLIC", *drift.ROLES) if any(role in by for by in granted.values())]
    roles += sorted(set().union(*granted.values()) - set(roles))
    everything = {catalog.name_of(key[1]) for key in rows if key[0] in ("function", "view")}
    matrix = table(
        ["function or view", *(plain(role) for role in roles)],
        [[code(name), *("x" if role in by else "" for role in roles)] for name, by in sorted(granted.items())],
    )
    return f"{matrix}\n\n{len(everything - granted.keys())} more may be used by their owner alone."


def objects(packet: Packet) -> Iterator[Part]:
    yield "## 2. Objects"
    yield reasons(packet, findings.OBJECTS)
    if not packet.changes:
        yield "No object differs."
        return
    if packet.first.is_empty:
        for kind in dict.fromkeys(one.kind for one in packet.changes):
            names = [code(one.name) for one in packet.changes if one.kind == kind]
            yield f"- {plain(kind)}, {len(names)}: {', '.join(names)}"
        return
    used = catalog.users(packet.after)
    shown = [_object(one, packet, used.get(one.name, [])) for one in packet.changes]
    yield from shown
    if any("*" in (part if isinstance(part, str) else part.whole) for part in shown):
        yield "\\* names it in a body of PL/pgSQL; PostgreSQL records no such dependency."


def _object(one: Change, packet: Packet, users: Sequence[str]) -> Part:
    word = "new " if one.before is None else "gone " if one.after is None else ""
    name = f"{word}{one.kind} <code>{markup(one.identity)}</code>"
    if one.before == one.after:
        return f"- {name}: its rights alone, see [1](#{findings.RIGHTS})"
    was, now = _text(one, packet)
    # What a definer looks up is read in the whole of it.
    whole = any(rows.get((one.kind, one.identity, "security")) == "definer" for rows in (packet.before, packet.after))
    diff = list(difflib.unified_diff(was, now, lineterm="", n=max(len(was), len(now)) if whole else 2))[2:]
    added, taken = (sum(line[0] == sign for line in diff) for sign in "+-")
    title = f"{name} +{added} -{taken}"
    if one.before is not None and one.after is not None and _uncommented(was) == _uncommented(now):
        title += " · comments only"
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        title += f" · used by {', '.join(markup(user) for user in users[:5])}{more}"
    if added + taken == 1:
        return f"- {title}: {code(next(line for line in diff if line[0] in '+-'))}"
    short = f"- {title} · the diff is left out for its length"
    return Long(fold(title, block("\n".join(diff), "diff")), short)


def _text(one: Change, packet: Packet) -> tuple[list[str], list[str]]:
    """The lines of an object on both sides: of its file, which has the comments, and else of the catalog."""
    texts = [side.get(one.name) if one.kind in ("function", "view") else None for side in packet.texts]
    was = [] if one.before is None else texts[0] or list(one.before)
    now = [] if one.after is None else texts[1] or list(one.after)
    same_file = was == now or (
        (texts[0] is None) != (texts[1] is None) and one.before is not None and one.after is not None
    )
    return (list(one.before or ()), list(one.after or ())) if same_file else (was, now)


def _uncommented(lines: Sequence[str]) -> list[str]:
    return [
        line.partition("--")[0].rstrip() for line in lines if not line.lstrip().startswith(("--", "comment on", "'"))
    ]
