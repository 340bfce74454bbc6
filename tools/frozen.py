"""Freezes the SQL of a revision, compares ``sql/`` with its frozen copies, and declares a release.

``make freeze REV=0005`` copies the files that a revision lists in ``APPLIES`` to ``migrations/frozen/0005/`` and writes their hashes,
and that of the tables beside the revision (``versions/0005_*.sql``), into ``MANIFEST.sha256``. A DBA checks them by
``cd migrations && sha256sum -c MANIFEST.sha256``.

``RELEASED.sha256`` has the hashes of all that a release consists of: revisions, tables and copies. None of it ever changes again, and
``check`` fails where one did. Before the first release it holds a comment alone.

A file says all of what PUBLIC and the wrapper's roles may do with its object: it revokes everything from each of them, and then
grants. So a grant that is taken out of a file is gone, and one that a revision adds goes with its downgrade.

    python -m tools.frozen freeze 0005 [--force]
    python -m tools.frozen check
    python -m tools.frozen release
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dot_wrapper.deploy.frozen_sql import AMENDMENT, MAIN_LINE, FrozenSql, tree_of
from dot_wrapper.files import ROOT

GRANTEES = frozenset(
    ("public", "dot_owner", "dot_bridge", "dot_writer", "dot_cataloguer", "dot_gatekeeper", "dot_relay", "dot_reader")
)


class FrozenSqlError(Exception):
    """A revision cannot be frozen, or a release not be declared; the message says why and what to do."""


def freeze(tree: FrozenSql, revision: str, names: Sequence[str], *, force: bool = False) -> None:
    """Keeps a copy of each named file for a revision and records its hash.

    Raises:
        FrozenSqlError: the revision is released, or frozen and not forced, or a file does not exist or is empty.
    """
    target = tree.frozen / revision
    own = (f"frozen/{revision}/", f"versions/{revision}_")
    if any(path.startswith(own) for path in hashes(released(tree))):
        raise FrozenSqlError(f"revision {revision} is released: change the files in sql/ under a new revision")
    if target.exists() and not force:
        raise FrozenSqlError(
            f"revision {revision} is frozen: change the files in sql/ under a new revision"
            " (before it is released, FORCE=1 rewrites it)"
        )
    texts = {name: _read(tree, name) for name in names}
    for stale in sorted(target.rglob("*.sql")) if target.exists() else ():
        stale.unlink()
    for name, text in texts.items():
        copy = target / f"{name}.sql"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
    kept = {path: digest for path, digest in hashes(manifest(tree)).items() if not path.startswith(own)}
    added = {path: digest for path, digest in _present(tree).items() if path.startswith(own)}
    _write(manifest(tree), kept | added)


def problems(tree: FrozenSql) -> list[str]:
    """What does not agree, one sentence each; empty where all is well."""
    found = []
    for name in tree.sources():
        text = (tree.sql / f"{name}.sql").read_bytes()
        if missing := _not_revoked(name, text.decode("utf-8")):
            found.append(f"sql/{name}.sql does not say `revoke all on ... from {missing};` before it grants")
        copy = tree.newest(name)
        if copy is None:
            found.append(f"sql/{name}.sql is in no revision: list it in APPLIES of one and run make freeze")
        elif copy.read_bytes() != text:
            found.append(f"sql/{name}.sql differs from its newest copy, {copy.relative_to(tree.migrations)}")
    listed, present = hashes(manifest(tree)), _present(tree)
    for path in sorted(listed.keys() | present.keys()):
        if path not in present:
            found.append(f"{path} is in the manifest and missing")
        elif path not in listed:
            found.append(f"{path} is not in the manifest")
        elif present[path] != listed[path]:
            found.append(f"{path} was changed after it was frozen")
    if not released(tree).exists():
        return [*found, f"{released(tree).name} is missing: it holds what no revision may change any more"]
    present = _present(tree, "*.py")
    for path, digest in hashes(released(tree)).items():
        if present.get(path) != digest:
            found.append(f"{path} is released and was {'changed' if path in present else 'removed'}")
    return found


def release(tree: FrozenSql) -> None:
    """Declares today's revisions, tables and copies released.

    Raises:
        FrozenSqlError: something does not agree, see ``problems``.
    """
    if found := problems(tree):
        raise FrozenSqlError("\n".join(found))
    _write(released(tree), _present(tree, "*.py"))


def manifest(tree: FrozenSql) -> Path:
    """The file with the hashes of a tree's tables and frozen copies."""
    return tree.migrations / "MANIFEST.sha256"


def released(tree: FrozenSql) -> Path:
    """The file with the hashes of a tree's newest release."""
    return tree.migrations / "RELEASED.sha256"


def hashes(file: Path) -> dict[str, str]:
    """The hash of each path in a file that sha256sum reads; a comment begins with #."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = (line.split("  ", 1) for line in lines if not line.startswith("#"))
    return {path: digest for digest, path in pairs}


def _present(tree: FrozenSql, *more: str) -> dict[str, str]:
    """The hash of each frozen copy, of the tables beside the revisions, and of what else lies there, by its path in ``migrations/``."""
    versions = tree.migrations / "versions"
    found = [*tree.frozen.rglob("*"), *(path for kind in ("*.sql", *more) for path in versions.glob(kind))]
    return {
        str(path.relative_to(tree.migrations)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file()
    }


def _write(file: Path, digests: dict[str, str]) -> None:
    file.write_text("".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())), encoding="utf-8")


def _read(tree: FrozenSql, name: str) -> bytes:
    path = tree.sql / f"{name}.sql"
    if not path.exists():
        raise FrozenSqlError(f"sql/{name}.sql does not exist")
    text = path.read_bytes()
    if not text.strip():
        raise FrozenSqlError(f"sql/{name}.sql is empty")
    return text


def _not_revoked(name: str, text: str) -> str:
    """The roles from which a file has to revoke, as it has to name them; empty where it names all of them."""
    kind, *_, relation = name.split("/")
    owner = "dot_bridge" if relation.startswith("fn_host_") else "dot_owner"
    noun = r"function dot\.{}\([^;]*\)" if kind == "functions" else r"dot\.{}"
    before = text.partition("\ngrant execute on ")[0].partition("\ngrant select on ")[0]
    revoked = re.search(rf"^revoke all on {noun.format(relation)}\s+from ([a-z_, ]+);$", before, re.MULTILINE)
    named = set(revoked[1].split(", ")) if revoked else set()
    return "" if named == GRANTEES - {owner} else ", ".join(sorted(GRANTEES - {owner}))


def _applies(revision: str) -> tuple[str, ...]:
    """What a revision's module says it applies."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    if not re.fullmatch(r"a?\d+", revision):
        raise FrozenSqlError(f"{revision} is not a revision: four digits, or a and three for the amendment's")
    section = "amendment" if tree_of(revision) is AMENDMENT else "alembic"
    try:
        script = ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini"), ini_section=section)).get_revision(
            revision
        )
    except CommandError:
        script = None
    if script is None:
        raise FrozenSqlError(f"there is no revision {revision} in the section {section} of alembic.ini")
    names: tuple[str, ...] = script.module.APPLIES
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 1 where something does not agree."""
    parser = argparse.ArgumentParser(prog="frozen", description="Freeze the SQL of a revision, or check all copies.")
    commands = parser.add_subparsers(dest="command", required=True)
    freezing = commands.add_parser("freeze", help="copy the files that a revision applies")
    freezing.add_argument("revision", type=str, help="for instance 0005, or a003 of the amendment")
    freezing.add_argument("--force", action="store_true", help="rewrite a frozen revision that is not released")
    commands.add_parser("check", help="compare sql/, the copies, the manifest and what is released")
    commands.add_parser("release", help="declare today's revisions released")
    given = parser.parse_args(arguments)
    found: list[str] = []
    try:
        if given.command == "freeze":
            freeze(tree_of(given.revision), given.revision, _applies(given.revision), force=given.force)
        for tree in (MAIN_LINE, AMENDMENT):
            if given.command == "release":
                release(tree)
            if given.command == "check":
                found += [f"amendment: {problem}" if tree is AMENDMENT else problem for problem in problems(tree)]
    except FrozenSqlError as error:
        found = [str(error)]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
