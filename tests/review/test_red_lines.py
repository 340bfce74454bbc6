"""Each line of the verdict that rights and objects decide: a change turns it, and undoing the change turns it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dot_wrapper.operations import drift
from dot_wrapper.review import catalog, findings
from dot_wrapper.review.findings import Finding
from support import Connection, Database
from support.reviews import FIRST

NOTE = "function dot.fn_made_up_note(text, text)"
SAME_TEXT = (
    "create or replace function dot.fn_made_up_note(p_code text, p_body text) returns bigint language plpgsql volatile"
)
SETTINGS = "set search_path = pg_catalog, pg_temp"

# By what it shows: the rule, its level, the change and what undoes it.
LINES = {
    "a right for everybody": (
        "wide-right",
        "red",
        "grant select on dot.v_made_up_note to public",
        "revoke select on dot.v_made_up_note from public",
    ),
    "a right for everybody on a new function": (
        "wide-right",
        "red",
        "create function dot.fn_new() returns integer language sql return 1",
        "drop function dot.fn_new()",
    ),
    "a right on a column": (
        "wide-right",
        "red",
        "grant update (body) on dot.made_up_note to dot_writer",
        "revoke update (body) on dot.made_up_note from dot_writer",
    ),
    "a right that may be passed on": (
        "wide-right",
        "red",
        "grant select on dot.v_made_up_note to dot_reader with grant option",
        "revoke grant option for select on dot.v_made_up_note from dot_reader",
    ),
    "a right of one role": (
        "right-gained",
        "yellow",
        f"grant execute on {NOTE} to dot_writer",
        f"revoke execute on {NOTE} from dot_writer",
    ),
    "a right that is taken": (
        "right-lost",
        "yellow",
        "revoke select on dot.v_made_up_note from dot_gatekeeper",
        "grant select on dot.v_made_up_note to dot_gatekeeper",
    ),
    "an owner": ("owner", "red", f"alter {NOTE} owner to current_user", f"alter {NOTE} owner to dot_owner"),
    "a definer that was none": (
        "definer",
        "red",
        "alter function dot.fn_made_up_refuse() security definer",
        "alter function dot.fn_made_up_refuse() security invoker",
    ),
    "a definer without a path": (
        "definer-without-path",
        "red",
        f"alter {NOTE} reset search_path",
        f"alter {NOTE} {SETTINGS}",
    ),
    "a path that does not end in pg_temp": (
        "definer-without-path",
        "red",
        f"alter {NOTE} set search_path = pg_catalog",
        f"alter {NOTE} {SETTINGS}",
    ),
    "a path": (
        "path",
        "red",
        f"alter {NOTE} set search_path = public, pg_catalog, pg_temp",
        f"alter {NOTE} {SETTINGS}",
    ),
    "another setting": (
        "settings",
        "yellow",
        f"alter {NOTE} set lock_timeout = '1s'",
        f"alter {NOTE} reset lock_timeout",
    ),
    "a function that tells what it sees": (
        "leakproof",
        "red",
        f"alter {NOTE} leakproof",
        f"alter {NOTE} not leakproof",
    ),
    "row security": (
        "row-security",
        "red",
        "alter table dot.made_up_note enable row level security",
        "alter table dot.made_up_note disable row level security",
    ),
    "a policy of a table that was there": (
        "row-security",
        "red",
        "create policy p on dot.made_up_note using (true)",
        "drop policy p on dot.made_up_note",
    ),
    "a trigger that fires no more": (
        "trigger-state",
        "red",
        "alter table dot.made_up_note disable trigger made_up_note_refuse",
        "alter table dot.made_up_note enable always trigger made_up_note_refuse",
    ),
    "a trigger that is gone": (
        "trigger-gone",
        "red",
        "drop trigger made_up_note_refuse on dot.made_up_note",
        "create trigger made_up_note_refuse before update on dot.made_up_note for each row execute function"
        " dot.fn_made_up_refuse(); alter table dot.made_up_note enable always trigger made_up_note_refuse",
    ),
    "a new trigger that a replica leaves out": (
        "trigger-state",
        "yellow",
        "create trigger t before update on dot.made_up_note for each row execute function dot.fn_made_up_refuse()",
        "drop trigger t on dot.made_up_note",
    ),
    "a barrier": (
        "barrier",
        "red",
        "alter view dot.v_made_up_note reset (security_barrier)",
        "alter view dot.v_made_up_note set (security_barrier = true)",
    ),
    "an attribute of a role": ("role", "red", "alter role dot_reader createdb", "alter role dot_reader nocreatedb"),
    "a member of the owner": ("member", "red", "grant dot_owner to dot_reader", "revoke dot_owner from dot_reader"),
    "a view without a column": (
        "view-column",
        "red",
        "drop view dot.v_made_up_count; create view dot.v_made_up_count as select count(*) as notes from dot.v_made_up_note;"
        " alter view dot.v_made_up_count owner to dot_owner; grant select on dot.v_made_up_count to dot_reader",
        "drop view dot.v_made_up_count; {views/v_made_up_count}",
    ),
    "a view whose column has another type": (
        "view-column",
        "red",
        "drop view dot.v_made_up_count; create view dot.v_made_up_count as select count(*)::text as notes, max(n.note_id)"
        " as newest from dot.v_made_up_note n",
        "drop view dot.v_made_up_count; {views/v_made_up_count}",
    ),
    "a view that is gone": ("view-column", "red", "drop view dot.v_made_up_count", "{views/v_made_up_count}"),
    "a view with another column": (
        "view-column-new",
        "yellow",
        "create or replace view dot.v_made_up_count as select count(*) as notes, max(n.note_id) as newest, 1 as other"
        " from dot.v_made_up_note n",
        "drop view dot.v_made_up_count; {views/v_made_up_count}",
    ),
    "a view whose columns have another order": (
        "view-column-moved",
        "yellow",
        "drop view dot.v_made_up_count; create view dot.v_made_up_count as select max(n.note_id) as newest, count(*) as"
        " notes from dot.v_made_up_note n; alter view dot.v_made_up_count owner to dot_owner;"
        " grant select on dot.v_made_up_count to dot_reader",
        "drop view dot.v_made_up_count; {views/v_made_up_count}",
    ),
    "other arguments": (
        "function-gone",
        "red",
        f"drop {NOTE}; create function dot.fn_made_up_note(p_code text) returns bigint language sql return 1",
        "drop function dot.fn_made_up_note(text); {functions/api/fn_made_up_note}",
    ),
    "another name of an argument": (
        "signature",
        "red",
        f"drop {NOTE}; create function dot.fn_made_up_note(p_other text, p_body text) returns bigint language sql return 1",
        f"drop {NOTE}; {{functions/api/fn_made_up_note}}",
    ),
    "a column that is dropped": (
        "stored-column",
        "red",
        "alter table dot.made_up_note drop column body cascade",
        "alter table dot.made_up_note add column body text not null default ''; alter table dot.made_up_note alter body"
        " drop default; {views/v_made_up_note}; {views/v_made_up_count}",
    ),
    "a column that a downgrade drops": (
        "downgrade-drops",
        "yellow",
        "alter table dot.made_up_note add column attempt integer",
        "alter table dot.made_up_note drop column attempt",
    ),
    "a constraint that is gone": (
        "constraint-gone",
        "yellow",
        "alter table dot.made_up_note drop constraint made_up_note_pkey",
        "alter table dot.made_up_note add constraint made_up_note_pkey primary key (note_id)",
    ),
    "a constraint that no row was held against": (
        "not-validated",
        "yellow",
        "alter table dot.made_up_note add constraint c check (body <> 'x') not valid",
        "alter table dot.made_up_note drop constraint c",
    ),
    "a body": (
        "text",
        "yellow",
        f"{SAME_TEXT} security definer {SETTINGS} as $$ begin return 2; end $$",
        "{functions/api/fn_made_up_note}",
    ),
}


@contextmanager
def with_notes(db: Database) -> Iterator[Connection]:
    """A transaction that has made the objects of the made-up revision, and is rolled back."""
    connection = db.connect("superuser")
    connection.execute("begin; set local search_path = pg_catalog, pg_temp; set local role dot_owner")
    connection.execute((FIRST / "migrations" / "versions" / "9001_made_up.sql").read_bytes())
    for name in ("functions/api/fn_made_up_note", "views/v_made_up_note", "views/v_made_up_count"):
        connection.execute(file(name).encode())
    connection.execute("reset role")
    yield connection
    connection.execute("rollback")


def file(name: str) -> str:
    return (FIRST / "migrations" / "frozen" / "9001" / f"{name}.sql").read_text(encoding="utf-8")


def execute(connection: psycopg.Connection[Any], text: str) -> None:
    """Executes a change; ``{name}`` stands for a file of the made-up revision, applied as its owner."""
    for name in ("functions/api/fn_made_up_note", "views/v_made_up_note", "views/v_made_up_count"):
        text = text.replace(f"{{{name}}}", f"set local role dot_owner; {file(name)} ; reset role")
    connection.execute(text.encode())


def found(before: drift.Rows, after: drift.Rows) -> list[Finding]:
    changes = catalog.changes(before, after)
    return [*findings.of_rights(before, after), *findings.of_objects(before, after, changes, first=False)]


@pytest.mark.parametrize("what", LINES)
def test_a_change_turns_the_verdict_and_undoing_it_turns_it_back(db: Database, what: str) -> None:
    rule, level, change, undo = LINES[what]
    with with_notes(db) as connection:
        before = drift.rows(connection)
        execute(connection, change)
        told = found(before, drift.rows(connection))
        assert (rule, level) in {(one.rule, one.level) for one in told}, told
        reds = {"red": "do not deploy", "yellow": "a person decides"}
        assert findings.verdict([one for one in told if one.rule == rule]) == reds[level]
        execute(connection, undo)
        assert found(before, drift.rows(connection)) == []


def test_a_grant_that_was_taken_out_of_a_file_and_not_revoked(db: Database) -> None:
    with with_notes(db) as connection:
        rows = drift.rows(connection)
    texts = {"v_made_up_note": file("views/v_made_up_note").splitlines()}
    assert list(findings.of_files(texts, rows, {"v_made_up_note"})) == []
    without = {"v_made_up_note": file("views/v_made_up_note").replace(", dot_gatekeeper;", ";").splitlines()}
    (one,) = findings.of_files(without, rows, {"v_made_up_note"})
    assert (one.level, one.rule, one.subject) == ("red", "grant-not-in-file", "view dot.v_made_up_note dot_gatekeeper")
    assert list(findings.of_files(without, rows, set())) == [], "what no change touched is not told"


def test_a_right_to_update_names_the_triggers_that_run_before(db: Database) -> None:
    for disabled, said in ((False, "`trigger made_up_note_refuse` (it fires always)"), (True, None)):
        with with_notes(db) as connection:
            if disabled:
                connection.execute("alter table dot.made_up_note disable trigger made_up_note_refuse")
            before = drift.rows(connection)
            connection.execute("grant update (body) on dot.made_up_note to dot_writer")
            (one,) = found(before, drift.rows(connection))
        assert one.text.partition("before an UPDATE there runs ")[2] == (said or "")


def test_what_a_new_table_brings_is_no_change_of_a_right(db: Database) -> None:
    with with_notes(db) as connection:
        before = drift.rows(connection)
        connection.execute(
            "create table dot.other (a integer); alter table dot.other owner to dot_owner; grant select (a) on dot.other to dot_bridge;"
            " alter table dot.other enable row level security; create policy p on dot.other using (true)"
        )
        assert {(one.rule, one.level) for one in found(before, drift.rows(connection)) if one.level == "red"} == set()


def test_a_declaration_names_rule_and_subject_and_counts_for_the_change_that_adds_it() -> None:
    before = "# why a change does what is red\npath function dot.f(text): it was wrong\n"
    after = before + "wide-right view dot.v PUBLIC: everybody reads it: asked by the DBA\nno reason view dot.v:\n"
    declared = findings.declarations(before, after)
    assert declared == {("wide-right", "view dot.v PUBLIC"): "everybody reads it: asked by the DBA"}
    red = Finding("red", "wide-right", "view dot.v PUBLIC", "", "1-rights")
    assert findings.verdict(findings.declare([red], declared)) == "a person decides"
    assert findings.verdict(findings.declare([red], findings.declarations(after, after))) == "do not deploy"
