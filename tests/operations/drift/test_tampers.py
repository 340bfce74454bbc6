"""Every tamper is told by its row and level, and what drift says to run puts it back; on each server the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from dot_wrapper.files import ROOT
from dot_wrapper.operations import drift
from dot_wrapper.operations.drift import Difference
from dot_wrapper.proving.databases import fresh_database, upgrade
from support.servers import server
from support.tampers import ALL, Tamper
from tools.scratch import VERSIONS


@contextmanager
def installed(version: int) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A server with head, a login of a stranger's, and its superuser."""
    with server(version) as url:
        head = fresh_database(url, "head")
        upgrade(head)
        with psycopg.connect(head, autocommit=True) as superuser:
            superuser.execute("create role eve login")
            yield superuser


def run(superuser: psycopg.Connection[tuple[object, ...]], cure: str) -> None:
    """Runs what drift prints as psql, or a shell, would."""
    if not cure.startswith("psql "):
        superuser.execute(cure.encode())
        return
    words = shlex.split(cure)
    assert words[2:4] == ["-Xv", "ON_ERROR_STOP=1"]
    for option, value in zip(words[4::2], words[5::2], strict=True):
        text = (ROOT / value).read_text(encoding="utf-8") if option == "-f" else value
        superuser.execute(text.encode())
    superuser.execute("reset role")


def graver(differences: tuple[Difference, ...]) -> list[str]:
    return [str(one) for one in differences if one.level != "info"]


def problem(superuser: psycopg.Connection[tuple[object, ...]], tamper: Tamper) -> str | None:
    """What drift did wrong about one tamper; None where nothing."""
    with superuser.transaction(force_rollback=True):
        superuser.execute(tamper.done.encode())
        told = drift.examine(superuser).differences
        if not tamper.told:
            return None if not graver(told) else f"told: {graver(told)}"
        mine = [one for one in told if f"{one.kind} {one.identity}: {one.property}".startswith(tamper.told)]
        if [one.level for one in mine][:1] != [tamper.level] or told[0].level != tamper.level:
            return f"told: {[(one.level, str(one)) for one in told]}"
        if tamper.level == "info":
            return None
        cures = list(dict.fromkeys(one.cure for one in told if one.cure))
        if not tamper.cured:
            return None
        try:
            superuser.execute("reset role")  # the look at the revision left one, for all of this is one transaction
            for cure in cures:
                run(superuser, cure)
        except psycopg.Error as error:
            return f"{error} by {cures}"
        left = graver(drift.examine(superuser).differences)
        return f"left: {left} by {cures}" if left else None


def of_each_kind(tampers: list[Tamper]) -> list[Tamper]:
    """Those that not every server knows, and one of each kind of row and level: what is compared is the same on each server, how
    a server tells of a kind of object is not."""
    kinds = {(tamper.told.split(" ")[0], tamper.level): tamper for tamper in reversed(tampers)}
    return [tamper for tamper in tampers if len(tamper.versions) < 4 or tamper in kinds.values()]


@pytest.mark.parametrize("version", [*VERSIONS, 17])
def test_every_tamper_is_told_and_put_back(version: int) -> None:
    with installed(version) as superuser:
        assert drift.examine(superuser).differences == ()
        tried = [tamper for tamper in ALL if version in tamper.versions]
        if version != 18:
            tried = of_each_kind(tried)
        problems = {tamper.name: found for tamper in tried if (found := problem(superuser, tamper)) is not None}
        assert problems == {}
        assert drift.examine(superuser).differences == ()
