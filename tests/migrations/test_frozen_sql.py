"""The guards of versioned SQL, each seen to fail on a copy of the tree that was tampered with, and a revision made as a
developer makes one."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from dot_wrapper.client.database import connect
from dot_wrapper.deploy.frozen_sql import AMENDMENT, MAIN_LINE, FrozenSql, statement
from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import owner_url, upgrade
from support import IN_BOTH_STATES, Database, rows, value
from support.catalog import (
    HEAD,
    NEXT,
    catalog,
    downgrade_script,
    finished,
    psql,
    query,
    start_alembic,
    upgrade_script,
    version,
)
from support.checkout import Checkout
from support.hosts import Host
from tools.frozen import FrozenSqlError, freeze, manifest, problems, release, released

NAME = "functions/rules/fn_is_ref"
OTHER = "functions/rules/fn_is_line"

# What a text of ours may hold and SQLAlchemy, psycopg or alembic could take for something else.
AWKWARD = """100%, %s, %(name)s, %%, ':1', '{"a":1}', array[1:2], ::text, :note, {braces}, \\restrict and a final ;"""


@pytest.fixture
def tree(tmp_path: Path) -> FrozenSql:
    """A copy of sql/ and migrations/ that a test may spoil, of which nothing is released yet."""
    for folder in ("sql", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    tree = FrozenSql(tmp_path)
    released(tree).write_text("# Nothing is released.\n", encoding="utf-8")
    return tree


def append(path: Path, text: str = "-- edited\n") -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_every_file_in_sql_equals_its_newest_frozen_copy_and_the_manifest_agrees() -> None:
    for tree in (MAIN_LINE, AMENDMENT):
        assert problems(tree) == []


def test_a_dba_can_check_the_frozen_copies_with_sha256sum(tree: FrozenSql) -> None:
    def check(folder: Path) -> int:
        return subprocess.run(
            ["sha256sum", "--check", "--strict", "MANIFEST.sha256"], cwd=folder, capture_output=True, check=False
        ).returncode

    assert check(ROOT / "migrations") == 0
    assert check(AMENDMENT.migrations) == 0
    append(tree.frozen / "0001" / f"{NAME}.sql")
    assert check(tree.migrations) == 1


def test_an_untouched_copy_of_the_tree_has_no_problem(tree: FrozenSql) -> None:
    assert problems(tree) == []


def test_a_file_edited_without_a_revision_is_reported(tree: FrozenSql) -> None:
    append(tree.sql / f"{NAME}.sql")
    assert problems(tree) == [f"sql/{NAME}.sql differs from its newest copy, frozen/0001/{NAME}.sql"]


def test_a_file_in_no_revision_is_reported(tree: FrozenSql) -> None:
    copied = (tree.sql / "views" / "v_dot_tool.sql").read_text(encoding="utf-8").replace("v_dot_tool", "v_new")
    (tree.sql / "views" / "v_new.sql").write_text(copied, encoding="utf-8")
    assert problems(tree) == ["sql/views/v_new.sql is in no revision: list it in APPLIES of one and run make freeze"]


@pytest.mark.parametrize(
    "name", ["functions/api/fn_dot_config_set", "functions/bridge/fn_host_gate_value", "views/v_dot_tool"]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"^revoke all on (function )?dot", r"-- \g<0>"),
        (r"from public, ", "from "),
        (r", dot_relay, dot_reader;", ", dot_reader;"),
        (r"dot_reader;$", "dot_reader, dot_owner, dot_bridge;"),
        (r"^(revoke all on (?:function )?dot[^;]*;)\n(grant [^;]*;)", r"\2\n\1"),
        (r"^(revoke all on (?:function )?dot\.)", r"\1x_"),
    ],
    ids=["no line", "not from PUBLIC", "a role left out", "the owner's own", "after the grant", "another object"],
)
def test_a_file_that_leaves_a_right_as_it_found_it_is_reported(
    tree: FrozenSql, name: str, before: str, after: str
) -> None:
    path = tree.sql / f"{name}.sql"
    text = path.read_text(encoding="utf-8")
    spoilt = re.sub(before, after, text, count=1, flags=re.MULTILINE)
    assert spoilt != text
    path.write_text(spoilt, encoding="utf-8")
    assert f"sql/{name}.sql does not say `revoke all on" in problems(tree)[0]


def granted_by(tree: FrozenSql) -> dict[str, set[str]]:
    """Per object the roles that its file grants something."""
    return {
        name.rpartition("/")[2]: {
            role
            for found in re.finditer(
                r"^grant (?:execute|select) on [^;]* to ([a-z_, ]+);",
                (tree.sql / f"{name}.sql").read_text(encoding="utf-8"),
                re.MULTILINE,
            )
            for role in found[1].split(", ")
        }
        for name in tree.sources()
    }


@IN_BOTH_STATES
def test_the_catalog_holds_the_grants_of_each_file_and_no_other(db: Database) -> None:
    written = granted_by(FrozenSql()) | (granted_by(AMENDMENT) if db.amended else {})
    held = rows(
        db.session("owner"),
        "select o.name, array(select coalesce(nullif(a.grantee, 0)::regrole::text, 'public') from aclexplode(o.acl) a"
        " where a.grantee <> o.owner) as roles from ("
        " select p.proname, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p"
        " where p.pronamespace = 'dot'::regnamespace"
        " union all select c.relname, c.relowner, coalesce(c.relacl, acldefault('r', c.relowner)) from pg_class c"
        " where c.relnamespace = 'dot'::regnamespace and c.relkind = 'v') o (name, owner, acl)",
    )
    assert {one["name"]: set(one["roles"]) for one in held} == written


def test_an_edited_frozen_copy_is_reported_by_text_and_manifest(tree: FrozenSql) -> None:
    append(tree.frozen / "0001" / f"{NAME}.sql")
    assert problems(tree) == [
        f"sql/{NAME}.sql differs from its newest copy, frozen/0001/{NAME}.sql",
        f"frozen/0001/{NAME}.sql was changed after it was frozen",
    ]


def test_a_frozen_copy_edited_together_with_its_source_is_reported(tree: FrozenSql) -> None:
    append(tree.frozen / "0001" / f"{NAME}.sql")
    append(tree.sql / f"{NAME}.sql")
    assert problems(tree) == [f"frozen/0001/{NAME}.sql was changed after it was frozen"]


def test_a_missing_copy_a_missing_line_an_extra_line_and_a_wrong_line_are_reported(tree: FrozenSql) -> None:
    lines = manifest(tree).read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.endswith(f"{NAME}.sql\n"))

    manifest(tree).write_text("".join(lines[:place] + lines[place + 1 :]))
    assert problems(tree) == [f"frozen/0001/{NAME}.sql is not in the manifest"]

    manifest(tree).write_text("".join(lines) + f"{'0' * 64}  frozen/0001/functions/rules/fn_gone.sql\n")
    assert problems(tree) == ["frozen/0001/functions/rules/fn_gone.sql is in the manifest and missing"]

    manifest(tree).write_text("".join([*lines[:place], "0" * 64 + lines[place][64:], *lines[place + 1 :]]))
    assert problems(tree) == [f"frozen/0001/{NAME}.sql was changed after it was frozen"]

    manifest(tree).write_text("".join(lines))
    (tree.frozen / "0001" / f"{NAME}.sql").unlink()
    assert f"frozen/0001/{NAME}.sql is in the manifest and missing" in problems(tree)


def test_a_file_that_was_not_frozen_is_reported(tree: FrozenSql) -> None:
    (tree.frozen / "0001" / "notes.txt").write_text("a note\n")
    assert problems(tree) == ["frozen/0001/notes.txt is not in the manifest"]


@pytest.mark.parametrize(
    "path",
    [f"frozen/0001/{NAME}.sql", "versions/0002_ledger.sql", "versions/0003_functions.py"],
    ids=["a copy", "tables", "a revision"],
)
@pytest.mark.parametrize("removed", [False, True], ids=["changed", "removed"])
def test_what_is_released_never_changes(tree: FrozenSql, path: str, removed: bool) -> None:
    release(tree)
    append(tree.sql / f"{NAME}.sql")
    freeze(tree, NEXT, [NAME])
    assert problems(tree) == [], "a later revision may be added"
    file = tree.migrations / path
    file.unlink() if removed else append(file)
    assert f"{path} is released and was {'removed' if removed else 'changed'}" in problems(tree)
    with pytest.raises(FrozenSqlError, match=path):
        release(tree)


def test_a_released_revision_is_not_frozen_anew(tree: FrozenSql) -> None:
    release(tree)
    append(tree.sql / f"{NAME}.sql")
    with pytest.raises(FrozenSqlError, match="revision 0001 is released"):
        freeze(tree, "0001", [NAME], force=True)
    assert (tree.frozen / "0001" / f"{NAME}.sql").read_bytes() != (tree.sql / f"{NAME}.sql").read_bytes()


def test_the_file_of_what_is_released_must_be_there(tree: FrozenSql) -> None:
    released(tree).unlink()
    assert problems(tree) == ["RELEASED.sha256 is missing: it holds what no revision may change any more"]


def test_freeze_keeps_the_files_of_a_revision_and_leaves_the_others_alone(tree: FrozenSql) -> None:
    before = manifest(tree).read_text()
    append(tree.sql / f"{NAME}.sql")
    freeze(tree, NEXT, [NAME])
    copy = tree.frozen / NEXT / f"{NAME}.sql"
    assert copy.read_bytes() == (tree.sql / f"{NAME}.sql").read_bytes()
    line = f"{hashlib.sha256(copy.read_bytes()).hexdigest()}  frozen/{NEXT}/{NAME}.sql\n"
    assert sorted(manifest(tree).read_text().splitlines()) == sorted((before + line).splitlines())
    assert problems(tree) == []
    assert tree.newest(NAME) == copy
    assert tree.newest(NAME, before=NEXT) == tree.frozen / "0001" / f"{NAME}.sql"


def test_freeze_refuses_a_frozen_revision_and_force_rewrites_it(tree: FrozenSql) -> None:
    append(tree.sql / f"{NAME}.sql")
    freeze(tree, NEXT, [NAME])
    before = manifest(tree).read_text()
    append(tree.sql / f"{NAME}.sql", "-- edited again\n")
    append(tree.sql / f"{OTHER}.sql")
    with pytest.raises(FrozenSqlError, match=f"revision {NEXT} is frozen"):
        freeze(tree, NEXT, [NAME, OTHER])
    assert manifest(tree).read_text() == before

    freeze(tree, NEXT, [NAME, OTHER], force=True)
    assert problems(tree) == []
    shutil.copy(tree.frozen / "0001" / f"{NAME}.sql", tree.sql / f"{NAME}.sql")
    freeze(tree, NEXT, [OTHER], force=True)
    assert problems(tree) == [], "a file that left the revision must leave its folder and the manifest"
    assert not (tree.frozen / NEXT / f"{NAME}.sql").exists()


@pytest.mark.parametrize(("text", "why"), [(None, "does not exist"), ("", "is empty"), (" \n\n", "is empty")])
def test_freeze_refuses_a_missing_or_empty_file_and_keeps_nothing(tree: FrozenSql, text: str | None, why: str) -> None:
    before = manifest(tree).read_text()
    path = tree.sql / "functions/rules/fn_new.sql"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FrozenSqlError, match=f"fn_new.sql {why}"):
        freeze(tree, NEXT, [NAME, "functions/rules/fn_new"])
    assert manifest(tree).read_text() == before
    assert not (tree.frozen / NEXT).exists()


def test_a_failed_forced_freeze_keeps_the_old_copies(tree: FrozenSql) -> None:
    (tree.sql / f"{NAME}.sql").write_text("")
    with pytest.raises(FrozenSqlError, match="is empty"):
        freeze(tree, "0001", [NAME], force=True)
    assert (tree.frozen / "0001" / f"{NAME}.sql").exists()


def test_a_statement_reaches_the_server_letter_by_letter(db: Database) -> None:
    quoted = AWKWARD.replace("'", "''")
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(db.url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(
            statement(
                f"create function public.awkward() returns text language sql return '{quoted}'; -- {AWKWARD}\n"
                f"comment on function public.awkward() is '{quoted}';\n"
            )
        )
        connection.commit()
    engine.dispose()
    creator = db.connect("creator")
    assert value(creator, "select obj_description('public.awkward'::regproc)") == AWKWARD
    assert value(creator, "select public.awkward()") == AWKWARD


def executed_texts(tree: FrozenSql) -> list[str]:
    """What the revisions themselves execute, as far as it is written out in them."""
    calls = [
        node
        for path in sorted((tree.migrations / "versions").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "execute"
    ]
    return [str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)]


@pytest.mark.parametrize(
    ("tree", "section", "copied", "written"), [(MAIN_LINE, "alembic", 60, 4), (AMENDMENT, "amendment", 5, 2)]
)
def test_the_scripts_hold_every_text_letter_by_letter(tree: FrozenSql, section: str, copied: int, written: int) -> None:
    copies = [copy.read_text(encoding="utf-8") for copy in tree.frozen.rglob("*.sql")]
    executed = executed_texts(tree)
    assert (len(copies) > copied, len(executed) > written) == (True, True)
    scripts = upgrade_script(section=section) + downgrade_script(section=section)
    roles = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8") if section == "alembic" else ""
    roles = roles.partition("pg_temp;\n")[2].removesuffix("\ncommit;\n")
    assert [text for text in [roles, *copies, *executed] if text.rstrip().removesuffix(";") not in scripts] == []


@pytest.mark.usefixtures("client_programs")
def test_a_new_revision_changes_a_function_and_its_downgrade_restores_the_old_body(
    empty_url: str, tmp_path: Path
) -> None:
    checkout = Checkout(tmp_path)
    upgrade(empty_url)
    owner = owner_url(empty_url)
    before = catalog(owner)

    source = checkout.tree.sql / f"{NAME}.sql"
    quoted = AWKWARD.replace("'", "''")
    changed = re.sub(
        "comment on function.*", "", source.read_text(encoding="utf-8").replace("1024", "512"), flags=re.DOTALL
    )
    source.write_text(f"{changed}\ncomment on function dot.fn_is_ref(text) is '{quoted}';\n", encoding="utf-8")
    assert problems(checkout.tree) != []
    checkout.revision(NEXT, NAME)
    assert checkout.frozen_sql("freeze", NEXT) == (0, "")
    assert problems(checkout.tree) == []

    checkout.alembic("upgrade", "head", url=empty_url)
    after = catalog(owner)
    definition = (
        "select pg_get_functiondef('dot.fn_is_ref'::regproc) as d, obj_description('dot.fn_is_ref'::regproc) as c"
    )
    (changed_row,) = query(owner, definition)
    assert (version(owner), "512" in changed_row["d"], changed_row["c"]) == ([NEXT], True, AWKWARD)

    checkout.alembic("downgrade", "-1", url=empty_url)
    assert (version(owner), catalog(owner)) == ([HEAD], before)

    script = checkout.alembic("upgrade", f"{HEAD}:{NEXT}", "--sql")
    assert source.read_text(encoding="utf-8").rstrip().removesuffix(";") in script
    assert psql(empty_url, script) == (0, "")
    assert catalog(owner) == after
    assert psql(empty_url, checkout.alembic("downgrade", f"{NEXT}:{HEAD}", "--sql")) == (0, "")
    assert catalog(owner) == before


@pytest.mark.parametrize(
    "name", [NAME, "functions/api/fn_dot_config_set", "functions/bridge/fn_host_gate_value", "views/v_dot_tool"]
)
@pytest.mark.usefixtures("client_programs")
def test_a_grant_that_a_revision_adds_or_takes_out_goes_and_comes_back_with_its_downgrade(
    empty_url: str, tmp_path: Path, name: str
) -> None:
    checkout = Checkout(tmp_path)
    upgrade(empty_url)
    owner = owner_url(empty_url)
    before = catalog(owner)
    source = checkout.tree.sql / f"{name}.sql"
    text = source.read_text(encoding="utf-8")
    revoked = re.search(r"^revoke all on ((?:function )?dot[^;]*?)\s+from [^;]*;\n", text, re.MULTILINE)
    assert revoked
    granted = f"grant {'select' if name.startswith('views/') else 'execute'} on {revoked[1]} to dot_relay;\n"
    others = re.sub(r"^grant (execute|select) on [^;]*;.*\n", "", text[revoked.end() :], flags=re.MULTILINE)
    source.write_text(text[: revoked.end()] + granted + others, encoding="utf-8")
    checkout.revision(NEXT, name)
    freeze(checkout.tree, NEXT, [name])

    checkout.alembic("upgrade", "head", url=empty_url)
    assert granted_by(checkout.tree)[name.rpartition("/")[2]] == {"dot_relay"}
    acl = (
        "select array(select grantee::regrole::text from pg_proc, aclexplode(proacl) where proname = %s and grantee <> proowner"
        " union all select grantee::regrole::text from pg_class, aclexplode(relacl) where relname = %s and grantee <> relowner) as roles"
    )
    relation = name.rpartition("/")[2]
    assert query(owner, acl, relation, relation) == [{"roles": ["dot_relay"]}]
    checkout.alembic("downgrade", "-1", url=empty_url)
    assert (version(owner), catalog(owner)) == ([HEAD], before)


@pytest.mark.parametrize(
    ("name", "says_so", "goes"),
    [(NAME, True, True), (NAME, False, False), (AMENDMENT.sources()[0], True, False)],
    ids=["says so", "does not say so", "has a copy in the amendment"],
)
def test_a_later_revision_goes_beneath_the_amendment_where_it_says_so_and_replaces_nothing_of_it(
    empty_url: str, tmp_path: Path, name: str, says_so: bool, goes: bool
) -> None:
    checkout = Checkout(tmp_path)
    upgrade(empty_url)
    upgrade(empty_url, section="amendment")
    append(checkout.tree.sql / f"{name}.sql")
    checkout.revision(NEXT, name)
    if says_so:
        append(tmp_path / "migrations" / "versions" / f"{NEXT}_change_a_function.py", "\nWITH_AMENDMENT = True\n")
    freeze(checkout.tree, NEXT, [name])
    online = finished(start_alembic("upgrade", "head", url=empty_url, root=tmp_path))
    script = checkout.alembic("upgrade", f"{HEAD}:{NEXT}", "--sql")
    owner = owner_url(empty_url)
    if goes:
        assert (online[0], version(owner)) == (0, [NEXT]), online
        assert "amendment is on" not in script
        checkout.alembic("downgrade", "-1", url=empty_url)
        assert psql(empty_url, script) == (0, "")
        assert version(owner) == [NEXT]
    else:
        assert (online[0], "the optional amendment is on" in online[1], version(owner)) == (255, True, [HEAD]), online
        status, printed = psql(empty_url, script)
        assert (status, "the optional amendment is on" in printed, version(owner)) == (3, True, [HEAD]), printed


@pytest.mark.parametrize("name", [NAME, "views/v_host_tool"])
@pytest.mark.usefixtures("client_programs")
def test_a_later_revision_that_replaces_a_seam_is_refused_while_the_database_is_adopted(
    db: Database, host: Host, tmp_path: Path, name: str
) -> None:
    assert host
    checkout = Checkout(tmp_path)
    append(checkout.tree.sql / f"{name}.sql")
    checkout.revision(NEXT, name)
    freeze(checkout.tree, NEXT, [name])
    online = finished(start_alembic("upgrade", "head", url=db.url, root=tmp_path))
    script = checkout.alembic("upgrade", f"{HEAD}:{NEXT}", "--sql")
    owner = db.url_as("owner")
    if name == NAME:
        assert (online[0], version(owner), "database is adopted" in script) == (0, [NEXT], False), online
    else:
        assert (online[0], "the database is adopted" in online[1], version(owner)) == (255, True, [HEAD]), online
        status, printed = psql(db.url, script)
        assert (status, "the database is adopted" in printed, version(owner)) == (3, True, [HEAD]), printed


def test_a_revision_that_was_not_frozen_installs_nothing(empty_url: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.revision(NEXT, NAME)
    status, printed = finished(start_alembic("upgrade", "head", url=empty_url, root=tmp_path))
    assert (status, f"frozen/{NEXT}/{NAME}.sql" in printed) == (1, True), printed
    assert query(empty_url, "select nspname from pg_namespace where nspname = 'dot'") == []


def test_freeze_says_in_one_line_that_a_revision_does_not_exist(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    for wrong in ("head", "0099"):
        status, printed = checkout.frozen_sql("freeze", wrong)
        assert (status, len(printed.splitlines()), wrong in printed) == (1, 1, True), printed
    assert problems(checkout.tree) == []


def test_freeze_with_force_rewrites_until_the_revision_is_released(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    append(checkout.tree.sql / f"{NAME}.sql")
    checkout.revision(NEXT, NAME)
    assert checkout.frozen_sql("freeze", NEXT) == (0, "")
    status, printed = checkout.frozen_sql("freeze", NEXT)
    assert (status, f"revision {NEXT} is frozen" in printed) == (1, True), printed
    assert checkout.frozen_sql("freeze", NEXT, "--force") == (0, ""), "not released yet"
    assert checkout.frozen_sql("release") == (0, "")
    assert f"revision {NEXT} is released" in checkout.frozen_sql("freeze", NEXT, "--force")[1]
    assert checkout.frozen_sql("check") == (0, "")

    append(checkout.tree.frozen / "0001" / f"{NAME}.sql")
    status, printed = checkout.frozen_sql("check")
    assert (status, f"frozen/0001/{NAME}.sql is released and was changed" in printed) == (1, True), printed
