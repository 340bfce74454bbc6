"""What a host's owner, or another login, changes after the adoption is named with its repair: by ``--check``, ``doctor`` and ``drift``."""

from __future__ import annotations

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.operations import doctor, drift
from dot_wrapper.operations.adoption.checking import Problem, check
from dot_wrapper.operations.adoption.host import tables_of
from dot_wrapper.operations.adoption.mapping import Mapping
from dot_wrapper.operations.adoption.scripts import adopt_sql
from support import Database, DotWrapper, attest, refused, rows, value
from support.catalog import psql
from support.hosts import adopt, mapping_of


@pytest.fixture
def adopted(near: Database) -> Database:
    """The near host, adopted, with a candidate of its DOTs."""
    adopt(near.url, mapping_of("near"))
    near.session("cataloguer").execute(
        "select dot.fn_process_candidate_define('host.pair', 'KG.001', 'KG.002', 'tester')"
    )
    attest(near)
    return near


def problems(db: Database, mapping: Mapping | None = None, who: str | None = None) -> list[Problem]:
    with database.connect(db.url_as(who) if who else db.url) as connection:
        return check(connection, mapping)[1]


def told(found: list[Problem]) -> list[str]:
    return [f"{one.level}: {one.object}: {one.text}" for one in found]


def as_app(db: Database, statement: str) -> None:
    with psycopg.connect(db.url, autocommit=True) as host:
        host.execute("set role host_app")
        host.execute(statement.encode())


def again(db: Database) -> tuple[int, str]:
    """adopt.sql, made anew and applied."""
    with database.connect(db.url) as connection:
        script = adopt_sql(connection, mapping_of("near"), tables_of(connection, mapping_of("near")))
    return psql(db.url, script)


def blocks(db: Database) -> dict[str, str]:
    """What the preflight says."""
    found = rows(db.session("writer"), "select check_name, verdict from dot.fn_preflight_guard()")
    return {one["check_name"]: one["verdict"] for one in found}


def test_an_adoption_that_nobody_changed_is_clean(adopted: Database) -> None:
    assert problems(adopted, mapping_of("near")) == []
    assert problems(adopted, who="reader") == []
    with database.connect(adopted.url_as("reader")) as connection:
        assert not [str(one) for one in drift.examine(connection).differences if one.level != "info"]
    with database.connect(adopted.url) as connection:
        assert not [str(one) for one in drift.beside(connection).differences]


# What was done by the host's owner, the problem, and the check of the preflight that blocks; None where calls are still taken.
CHANGES: dict[str, tuple[str, str, str | None]] = {
    "a right to a column is revoked": (
        "revoke select (code) on public.dot_tools from dot_owner",
        "fail: public.dot_tools: dot_owner may no longer read code",
        "catalogue_present",
    ),
    "a right to the switches is revoked": (
        "revoke select (value) on public.dot_config from dot_owner",
        "fail: public.dot_config: dot_owner may no longer read value",
        "gates_readable",
    ),
    "row security": (
        "alter table public.dot_tools enable row level security",
        "fail: public.dot_tools: it has row security since: what the wrapper reads of it is refused",
        "catalogue_present",
    ),
    "an index that runs code": (
        "create function public.spy(integer) returns boolean language plpgsql immutable as 'begin return true; end';"
        " create index spying on public.dot_tools (name) where public.spy(1)",
        "fail: host: index public.spying runs public.spy(integer), with the rights of the login that reads the table",
        None,
    ),
    "a renamed table": (
        "alter table public.dot_tools rename to tools",
        "fail: dot.v_host_tool: it was adopted from public.dot_tools, and reads public.tools",
        None,
    ),
    "a renamed column": (
        "alter table public.dot_tools rename category to family",
        "fail: dot.v_host_tool: its definition is not the one that was adopted: it was changed, or a column was renamed",
        None,
    ),
    "a switch that moved to another column": (
        "alter table public.dot_config rename value to old_value; alter table public.dot_config add value text default 'false'",
        "fail: dot.v_host_gate: its definition is not the one that was adopted: it was changed, or a column was renamed",
        None,
    ),
    "a table dropped with what stands on it": (
        "drop table public.dot_tools cascade",
        "fail: dot.v_host_tool: the view is gone: a table or column that it read was dropped with CASCADE",
        "catalogue_present",
    ),
    "a column dropped with what stands on it": (
        "alter table public.dot_config drop column value cascade",
        "fail: dot.v_host_gate: the view is gone: a table or column that it read was dropped with CASCADE",
        "gates_readable",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_host_changes_is_named_and_never_an_error(adopted: Database, what: str, as_dba: DotWrapper) -> None:
    done, problem, blocked = CHANGES[what]
    assert set(blocks(adopted).values()) == {"PASS"}
    as_app(adopted, done)
    assert problem in told(problems(adopted))
    assert problem in told(problems(adopted, who="reader"))
    verdicts = blocks(adopted)
    assert {name for name, verdict in verdicts.items() if verdict != "PASS"} == ({blocked} if blocked else set())
    assert as_dba("adopt", "--check").code == cli.FOUND
    with database.connect(adopted.url) as connection:
        assert drift.examine(connection).of("drift")
        findings = doctor.examine(connection).findings
    assert ("guards", "fail") in {(one.check, one.level) for one in findings}


@pytest.mark.parametrize(
    "what",
    ["a right to a column is revoked", "a right to the switches is revoked", "row security", "an index that runs code"],
)
def test_the_repair_repairs(adopted: Database, what: str) -> None:
    as_app(adopted, CHANGES[what][0])
    (found,) = [one for one in problems(adopted) if one.level == "fail" and one.text in CHANGES[what][1]]
    repair = found.repair
    if what == "row security":
        repair = repair.partition("; or its owner: ")[2]
    if what == "an index that runs code":
        repair = "drop index public.spying"
    as_app(adopted, repair)
    assert problems(adopted, mapping_of("near")) == []


def test_a_seam_that_was_dropped_is_made_again_by_the_script(adopted: Database) -> None:
    as_app(
        adopted, "alter table public.dot_config drop column value cascade; alter table public.dot_config add value text"
    )
    as_app(adopted, "update public.dot_config set value = 'false'")
    assert again(adopted)[0] == 0
    assert problems(adopted, mapping_of("near")) == []


@pytest.mark.parametrize("done", ["alter column category type text", "drop column trigger_type"])
def test_a_column_in_use_is_not_changed_beneath_the_wrapper(adopted: Database, done: str) -> None:
    with refused("0A000" if "type text" in done else "2BP01"):
        as_app(adopted, f"alter table public.dot_tools {done}")
    assert problems(adopted, mapping_of("near")) == []


# A plain UPDATE of the host's, the problem that the rows show, and how bad it is.
ROWS: dict[str, tuple[str, str]] = {
    "a code that stands twice": (
        "alter table public.dot_tools drop constraint dot_tools_code_key;"
        " insert into public.dot_tools (code, name) values ('KG.001', 'again')",
        "fail: catalogue: DOT KG.001 stands 2 times in the catalogue: calls for it are refused",
    ),
    "a code that changed": (
        "update public.dot_tools set code = 'KG.1' where code = 'KG.001'",
        "warn: catalogue: the host does not have a DOT of host.pair: no observation of them is taken, their verdicts stay",
    ),
    "a switch without a row": (
        "delete from public.dot_config where key = 'queue.worker.enabled'",
        "warn: queue.worker.enabled: the host governs it and has no value for it: it is closed",
    ),
    "a word that is none": (
        "update public.dot_config set value = 'on' where key = 'queue.worker.enabled'",
        "warn: queue.worker.enabled: the host says 'on': only the word true opens it",
    ),
}


@pytest.mark.parametrize("what", ROWS)
def test_what_the_rows_show_is_named(adopted: Database, what: str, dot_wrapper: DotWrapper) -> None:
    done, problem = ROWS[what]
    as_app(adopted, done)
    assert problem in told(problems(adopted, who="reader"))
    with database.connect(adopted.url_as("reader")) as connection:
        found = {(one.level, one.figure) for one in doctor.examine(connection).findings if one.check == "adoption"}
    level, _, text = problem.partition(": ")
    assert (level, text) in found
    if what.startswith("a code"):
        run = dot_wrapper("rehearse", "host.pair", "--actor", "ana", "--key", "k")
        assert (run.code, "It has to stand once in public.dot_tools" in run.err) == (cli.REFUSED, True), run.err


def test_an_index_that_is_gone_is_named_with_the_mapping(adopted: Database) -> None:
    as_app(adopted, "alter table public.dot_tools drop constraint dot_tools_code_key")
    (found,) = problems(adopted, mapping_of("near"))
    assert (found.level, found.text) == ("warn", "code is not unique: what stands twice is refused")
    as_app(adopted, found.repair)
    assert problems(adopted, mapping_of("near")) == []


def test_a_lying_seam_is_named_whoever_signs_it(adopted: Database) -> None:
    """Who may act as dot_owner can change the comment with the text. The mapping is a file, which such a login does not have."""
    owner = adopted.connect("owner")
    owner.execute(
        "create or replace view dot.v_host_gate with (security_barrier = true) as select g.key, 'true'::text as value"
        " from unnest(array['iu_core.operator_runtime_enabled', 'queue.worker.enabled']) as g (key)"
    )
    assert "fail: dot.v_host_gate: it was adopted from public.dot_config, and reads no table" in told(problems(adopted))
    owner.execute(
        "create or replace view dot.v_host_gate with (security_barrier = true) as select t.key, 'true'::text as value"
        " from public.dot_config as t"
    )
    problem = (
        "fail: dot.v_host_gate: its definition is not the one that was adopted: it was changed, or a column was renamed"
    )
    assert problem in told(problems(adopted))
    with database.connect(adopted.url_as("reader")) as connection:
        assert [one.identity for one in drift.examine(connection).of("drift")] == ["dot.v_host_gate"]
    owner.execute("set search_path = pg_catalog, pg_temp")
    comment = value(owner, "select obj_description('dot.v_host_gate'::regclass)")
    real = value(owner, "select md5(pg_get_viewdef('dot.v_host_gate'::regclass))")
    before, _, after = comment.partition(", definition ")
    owner.execute(f"comment on view dot.v_host_gate is '{before}, definition {real}{after[32:]}'")
    assert problems(adopted) == []
    assert told(problems(adopted, mapping_of("near"))) == [
        "fail: dot.v_host_gate: its definition is not what the mapping makes"
    ]
    hidden = told(problems(adopted, mapping_of("near"), "reader"))
    assert [one for one in hidden if "were not compared with the mapping" in one], hidden


def test_another_mapping_is_named(adopted: Database) -> None:
    other = mapping_of("near").model_copy(update={"ledgers": None})
    found = told(problems(adopted, other))
    assert "fail: dot.v_host_ledger: it is adopted, and the mapping has no section for it" in found
    assert sum("it was adopted by another mapping" in one for one in found) == 3


def test_a_database_that_is_not_adopted_is_told_so(near: Database, as_dba: DotWrapper) -> None:
    done = as_dba("adopt", "--check", "--json")
    assert (done.code, done.json["adopted"], done.json["failed"]) == (cli.FOUND, None, 1)
    with database.connect(near.url) as connection:
        (found,) = [one for one in doctor.examine(connection).findings if one.check == "adoption"]
    assert (found.level, found.figure) == ("ok", "nothing is adopted")


def test_rows_are_not_read_where_that_would_run_code(adopted: Database, as_dba: DotWrapper) -> None:
    as_app(
        adopted,
        "create sequence public.ran; grant usage on sequence public.ran to public;"
        " create function public.spy(integer) returns boolean language plpgsql immutable as"
        " $$ begin perform nextval('public.ran'); return true; end $$;"
        " create index spying on public.dot_tools (name) where public.spy(1); select setval('public.ran', 1, false)",
    )
    for command in (("adopt", "--check"), ("doctor",), ("drift",)):
        assert as_dba(*command).code == cli.FOUND
    assert value(adopted.connect("superuser"), "select is_called from public.ran") is False
    assert "warn: host: its rows were not read: that would run code of the host" in told(problems(adopted))


def test_bypassing_row_security_is_drift_where_nothing_is_adopted(own: Database) -> None:
    own.connect("superuser").execute("alter role dot_owner bypassrls")
    with database.connect(own.url) as connection:
        found = [(one.kind, one.identity, one.property) for one in drift.examine(connection).of("drift")]
    assert found == [("role", "dot_owner", "bypassrls")]


def test_other_rights_of_the_owner_outside_are_still_told(adopted: Database) -> None:
    as_app(adopted, "grant update on public.dot_config to dot_owner")
    with database.connect(adopted.url) as connection:
        found = [(one.kind, one.level) for one in drift.examine(connection).differences]
    assert ("right outside", "warn") in found
