"""The catalog guard and the snapshot guard: a database at head is what ``sql/`` says. Each is seen to fail."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dot_wrapper.deploy.frozen_sql import AMENDMENT, FrozenSql
from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import fresh_database, upgrade
from support import Database
from support.catalog import catalog, disagreements, finished, query, start_module
from support.servers import server
from tools.amendment_page import PAGE as AMENDMENT_PAGE
from tools.amendment_page import page as amendment_page
from tools.reference import CHAPTERS, DOCS
from tools.snapshot import SNAPSHOT, difference, dump, normalise, snapshot_of

pytestmark = pytest.mark.usefixtures("client_programs")

ORPHAN = """
set role dot_owner;
create function dot.fn_orphan() returns integer language sql return 1;
create view dot.v_orphan as select 1 as one;
"""


# What the catalog guard shows, and the row that differs. An additional grant it does not see: the snapshot does, and drift.
CHANGED_OBJECTS = [
    (
        "create or replace function dot.fn_is_ref(p_value text) returns boolean language sql immutable parallel safe"
        " return true",
        "function dot.fn_is_ref(text): source",
    ),
    (
        "alter function dot.fn_gates_assert(text, boolean) stable",
        "function dot.fn_gates_assert(text, boolean): volatility",
    ),
    (
        "comment on function dot.fn_gates_assert(text, boolean) is 'x'",
        "function dot.fn_gates_assert(text, boolean): comment",
    ),
    ("comment on view dot.v_process_run is null", "view dot.v_process_run: comment"),
    (
        "revoke select on dot.v_process_run from dot_reader",
        "view dot.v_process_run: granted to dot_reader",
    ),
    (
        "create or replace view dot.v_dot_funnel_total with (security_barrier = true) as select 0::bigint declared_dots,"
        " 0::bigint executed_dots, 0::bigint observed_dots, 0::bigint simulated_dots, 0::bigint verified_dots,"
        " 0::bigint backfilled_dots",
        "view dot.v_dot_funnel_total: definition",
    ),
    ("alter view dot.v_dot_outbox reset (security_barrier)", "view dot.v_dot_outbox: option security_barrier"),
]


# What the snapshot shows.
CHANGED_SCHEMA = [
    "alter table dot.process_candidate add column note text",
    "alter table dot.process_candidate alter column actor drop not null",
    "alter table dot.process_candidate drop constraint process_candidate_pair_check",
    "drop index dot.process_run_observation_above_simulation_idx",
    "alter table dot.event_outbox disable trigger event_outbox_append_only",
    "grant select on dot.process_candidate to dot_reader",
    "grant usage on schema dot to public",
    "comment on table dot.process_candidate is null",
    "alter function dot.fn_gates_assert(text, boolean) security definer",
    "grant execute on function dot.fn_gates_assert(text, boolean) to public",
    "grant execute on function dot.fn_gates_assert(text, boolean) to dot_writer",
    "alter default privileges for role dot_owner grant execute on functions to public",
    "grant create on schema dot to dot_bridge",
    "alter view dot.v_process_run owner to dot_bridge",
]


@pytest.fixture
def tree(tmp_path: Path) -> FrozenSql:
    """A copy of sql/ that a test may change."""
    shutil.copytree(ROOT / "sql", tmp_path / "sql")
    return FrozenSql(tmp_path)


def test_applying_sql_again_changes_nothing_and_every_object_has_a_file(db: Database) -> None:
    assert disagreements(db.url_as("owner"), FrozenSql()) == []


def test_an_object_without_a_file_and_a_file_without_an_object_are_reported(db: Database, tree: FrozenSql) -> None:
    query(db.url_as("owner"), ORPHAN)
    shutil.move(tree.sql / "functions/rules/fn_is_ref.sql", tree.sql / "functions/rules/fn_is_link.sql")
    assert disagreements(db.url_as("owner"), tree) == [
        "functions/fn_is_ref is in the database and has no file",
        "functions/fn_orphan is in the database and has no file",
        "views/v_orphan is in the database and has no file",
        "sql/functions/rules/fn_is_link.sql is in no database",
    ]


def test_an_object_changed_in_the_database_is_reported(db: Database) -> None:
    for change, shown in CHANGED_OBJECTS:
        query(db.url_as("owner"), f"set role dot_owner; {change}")
        found = disagreements(db.url_as("owner"), FrozenSql())  # which puts the object right
        assert found == [shown], change


def test_the_snapshot_is_the_schema_of_head(db: Database) -> None:
    if query(db.url_as("owner"), "show server_version_num")[0]["server_version_num"] < "180000":
        pytest.skip("the snapshot is that of PostgreSQL 18")
    assert difference(SNAPSHOT.read_text(encoding="utf-8"), snapshot_of(db.url_as("owner"))) == "", "run make snapshot"


def test_the_snapshot_command_writes_what_its_check_accepts_and_says_what_to_do_where_they_differ(
    tmp_path: Path,
) -> None:
    written, docs = tmp_path / "schema.snapshot.sql", tmp_path / "docs"
    amendment, chapter = docs / AMENDMENT_PAGE, docs / CHAPTERS / "catalogue.md"
    shutil.copytree(DOCS, docs)
    generated = re.compile(r"^```diff\n.*?^```\n|^\*\*Role\.\*\* .*?\n", re.MULTILINE | re.DOTALL)
    for page in (amendment, chapter):
        page.write_text(generated.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    files = ("--file", str(written), "--docs", str(docs))
    assert finished(start_module("tools.snapshot", *files)) == (0, "")
    assert written.read_text(encoding="utf-8") == SNAPSHOT.read_text(encoding="utf-8"), "run make snapshot"
    for page in (amendment, chapter):
        kept = DOCS / page.relative_to(docs)
        assert page.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "run make snapshot"
    written.write_text(written.read_text(encoding="utf-8").replace("ENABLE ALWAYS", "DISABLE"), encoding="utf-8")
    chapter.write_text(chapter.read_text(encoding="utf-8").replace("v_dot_tool", "v_dot_script"), encoding="utf-8")
    amendment.write_text(
        amendment.read_text(encoding="utf-8").replace("'blocked'::text", "'refused'::text"), encoding="utf-8"
    )
    status, printed = finished(start_module("tools.snapshot", "--check", *files))
    assert (status, "run make snapshot" in printed) == (1, True), printed
    for page in (amendment, chapter):
        assert f"{page} is not what head makes of it" in printed
    assert "\nwrite an entry: v_dot_tool\n" in printed
    assert "\nremove the entry: v_dot_script\n" in printed
    assert "-ALTER TABLE dot.event_outbox DISABLE TRIGGER event_outbox_append_only;" in printed
    assert "+ALTER TABLE dot.event_outbox ENABLE ALWAYS TRIGGER event_outbox_append_only;" in printed


def test_the_amendment_s_page_shows_what_it_changes(db: Database) -> None:
    if query(db.url_as("owner"), "show server_version_num")[0]["server_version_num"] < "180000":
        pytest.skip("the snapshot is that of PostgreSQL 18")
    without = snapshot_of(db.url_as("owner"))
    upgrade(db.url, section="amendment")
    shown = (DOCS / AMENDMENT_PAGE).read_text(encoding="utf-8")
    assert amendment_page(shown, without, snapshot_of(db.url_as("owner"))) == shown, "run make snapshot"
    for name in AMENDMENT.sources():
        assert f"+++ amendment/sql/{name}.sql" in shown


def test_the_snapshot_shows_a_change_of_the_schema(db: Database) -> None:
    before = snapshot_of(db.url_as("owner"))
    for change in CHANGED_SCHEMA:
        query(db.url_as("owner"), change)
        after = snapshot_of(db.url_as("owner"))
        assert difference(before, after) != "", change
        before = after


def test_the_snapshot_leaves_bodies_to_their_files(db: Database) -> None:
    before = snapshot_of(db.url_as("owner"))
    query(
        db.url_as("owner"),
        "set role dot_owner; create or replace function dot.fn_gates_assert(p_evidence_type text, p_held boolean)"
        " returns jsonb language plpgsql volatile as $$ begin return '{}'; end $$;"
        " create or replace view dot.v_process_run_component as select c.* from ("
        "select process_candidate_code::text, process_run_id::uuid, component_id, component_role::text, dot_code::text,"
        " correlation_id::text, evidence_type, status, occurred_at, observed_at, actor::text, session_actor, idempotency_key::text,"
        " input_ref::text, output_ref::text, error_ref::text, evidence_ref::jsonb, lease_token, admission"
        " from dot.process_component_observation) as c",
    )
    assert snapshot_of(db.url_as("owner")) == before
    for body in ("begin\n", "SELECT count(*)", "RETURN (", "$function$", "$$"):
        assert body not in before, body


def test_normalised_dumps_differ_by_version_lines_and_settings_alone(db: Database) -> None:
    """The normaliser drops nothing of the schema: every statement of the dump is in it, in some order."""
    dumped = dump(db.url_as("owner"))
    normalised = normalise(dumped)
    session = ("SET ", "SELECT pg_catalog.set_config", "\\restrict ", "\\unrestrict ", "--")
    kept = [line for line in dumped.splitlines() if line and not line.startswith(session)]
    assert sorted(line for line in normalised.splitlines() if line and not line.startswith("--")) == sorted(kept)


def test_a_body_that_looks_like_a_setting_is_compared(db: Database) -> None:
    texts = []
    for timeout in ("1s", "2s"):
        query(
            db.url_as("owner"),
            "set role dot_owner; create or replace function dot.fn_gates_assert(p_evidence_type text, p_held boolean)"
            f" returns jsonb language plpgsql as $$\nbegin\nSET lock_timeout = '{timeout}';\n-- {timeout}\nend\n$$",
        )
        texts.append(catalog(db.url_as("owner")))
    assert texts[0] != texts[1]


@pytest.mark.parametrize("version", [15, 16])
def test_the_catalog_guard_holds_on_older_servers(version: int) -> None:
    with server(version) as url:
        upgraded = fresh_database(url, "guard")
        upgrade(upgraded)
        assert disagreements(upgraded, FrozenSql()) == []
