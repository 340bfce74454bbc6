"""Each line of the verdict that the rehearsal decides: a revision of a few statements turns it, the mended one does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dot_wrapper.operations.scratch import scratch_server
from dot_wrapper.review import catalog, rehearsal
from dot_wrapper.review.findings import Finding
from dot_wrapper.review.of_rehearsal import of_rehearsal
from dot_wrapper.review.rehearsal import Rehearsal, Rehearsing, amended, installed
from dot_wrapper.review.sides import Side
from support.reviews import FIRST, checkout, revision

# A view is taken after what it reads. Between the two the revision waits, where clients are, for a reader who has the one and waits for the
# other; it begins again where the reader only wants the inner one.
INNER_FIRST = """
set local lock_timeout = '{timeout}';
alter view dot.v_process_run_verification_v3 owner to dot_owner;
do $$
declare
    v_clients boolean := exists (select from pg_stat_activity where application_name = 'dot-wrapper review: reader');
    v_has_outer boolean;
begin
    while v_clients and v_has_outer is null loop
        perform pg_sleep(0.001);
        select exists (
            select from pg_locks h
            where h.pid = w.pid and h.granted and h.relation = 'dot.v_process_verification_v3'::regclass
        )
        into v_has_outer
        from pg_locks w
        where not w.granted and w.relation = 'dot.v_process_run_verification_v3'::regclass;
    end loop;
    if not v_has_outer then
        raise lock_not_available using message = 'once more';
    end if;
end
$$;
alter view dot.v_process_verification_v3 owner to dot_owner;
"""
OUTER_FIRST = """
alter view dot.v_process_verification_v3 owner to dot_owner;
alter view dot.v_process_run_verification_v3 owner to dot_owner;
"""
NEVER_BESIDE_CLIENTS = """
do $$
begin
    if exists (select from pg_stat_activity where application_name = 'dot-wrapper review: reader') then
        raise lock_not_available using message = 'no lock';
    end if;
end
$$
"""
WIDENED = """
do $$
begin
    execute format('create or replace view dot.v_process_run_count as select w.*, 1 as made_up from (%s) w',
        rtrim(pg_get_viewdef('dot.v_process_run_count'::regclass), ';'));
end
$$
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with scratch_server(18) as url:
        yield url


@pytest.fixture(scope="module")
def start(server: str, tmp_path_factory: pytest.TempPathFactory) -> Side:
    """The made-up revision, installed on the server as ``first``."""
    side = Side("first", None, "9001", "alembic", checkout(tmp_path_factory.mktemp("first"), FIRST))
    installed(server, side, "first")
    return side


Rehearse = Callable[..., tuple[Rehearsal, list[Finding]]]


@pytest.fixture(scope="module")
def filled(server: str, start: Side) -> Rehearsal:
    """The rows that every rehearsal begins with."""
    rehearsing = Rehearsing(server, start, start, "first")
    rehearsing.fill()
    return rehearsing.result


@pytest.fixture
def rehearse(server: str, start: Side, filled: Rehearsal, tmp_path: Path) -> Rehearse:
    """Rehearses a revision after the made-up one; ``clients`` beside it too, ``fresh`` compared with a fresh installation."""

    def run(
        upgrade: str,
        downgrade: str = "",
        *,
        clients: bool = False,
        fresh: bool = False,
        stats: dict[str, int] | None = None,
    ) -> tuple[Rehearsal, list[Finding]]:
        end = side(tmp_path / str(len(list(tmp_path.iterdir()))), upgrade, downgrade)
        rehearsing = Rehearsing(server, start, end, "first")
        seen = rehearsing.result
        seen.rows, seen.before = filled.rows, filled.before
        rehearsing.traced()
        seen.target = catalog.read(installed(server, end, "second")) if fresh else dict(seen.upgraded or {})
        if clients:
            rehearsing.beside()
        return seen, list(of_rehearsal(seen, stats or {}))

    return run


def side(tree: Path, upgrade: str, downgrade: str = "") -> Side:
    """The made-up revision and one more."""
    revision(checkout(tree, FIRST), upgrade, downgrade)
    return Side("second", None, "9002", "alembic", tree)


def rules(found: list[Finding], level: str = "red") -> set[str]:
    return {one.rule for one in found if one.level == level}


def test_a_rewrite_and_scans_under_a_lock_that_an_earlier_statement_took(rehearse: Rehearse) -> None:
    add = "alter table dot.made_up_note add column a integer default 1; alter table dot.made_up_note add {}"
    drop = "alter table dot.made_up_note drop column a"
    _, found = rehearse(
        add.format("column b uuid default gen_random_uuid()"), f"{drop}; alter table dot.made_up_note drop b"
    )
    assert [(one.rule, one.subject) for one in found if one.level == "red"] == [("rewrite", "upgrade made_up_note")]
    _, found = rehearse(add.format("constraint c check (a > 0)"), drop)
    assert [(one.rule, one.subject) for one in found if one.level == "red"] == [("scan", "upgrade made_up_note")]
    _, found = rehearse(add.format("constraint c check (a > 0) not valid"), drop)
    assert (rules(found), rules(found, "yellow")) == (set(), {"locks"})


def test_a_downgrade_that_reads_all_is_for_a_person_to_decide(rehearse: Rehearse) -> None:
    added, dropped = "add constraint c check (body <> 'x')", "drop constraint c"
    _, found = rehearse(f"alter table dot.made_up_note {added} not valid", f"alter table dot.made_up_note {dropped}")
    assert (rules(found), rules(found, "yellow")) == (set(), {"locks"})
    upgrade = "alter table dot.made_up_note rename to other; alter table dot.other rename to made_up_note"
    _, found = rehearse(upgrade, f"alter table dot.made_up_note {added}; alter table dot.made_up_note {dropped}")
    assert (rules(found), rules(found, "yellow")) == (set(), {"locks", "scan"})


def test_a_scan_counts_where_the_real_table_is_large(rehearse: Rehearse) -> None:
    change = "alter table dot.dot_config add constraint c check (key <> '')"
    back = "alter table dot.dot_config drop constraint c"
    assert rules(rehearse(change, back)[1]) == set()
    assert rules(rehearse(change, back, stats={"dot_config": 12_000_000})[1]) == {"scan"}


def test_an_index_that_is_made_concurrently_is_seen_from_another_session_alone(rehearse: Rehearse) -> None:
    concurrently = """\
!with op.get_context().autocommit_block():
    execute("set role dot_owner")
    execute("insert into dot.made_up_note (code, body) select 'more.' || i, '' from generate_series(1, 200000) i")
    execute("create index concurrently made_up_note_code_idx on dot.made_up_note (code)")
    execute("reset role")
execute("set local role dot_owner")
"""
    seen, found = rehearse(concurrently, "drop index dot.made_up_note_code_idx")
    assert seen.upgrade is not None
    assert seen.upgrade.error is None
    assert ("made_up_note", "ShareUpdateExclusiveLock") in seen.upgrade.outside
    traced = {(name, mode) for step in seen.upgrade.steps for name, _, mode in step.locks}
    assert ("made_up_note", "ShareUpdateExclusiveLock") not in traced
    assert [one for one in found if one.subject.startswith("upgrade")] == []


def test_what_the_upgrade_makes_of_a_is_not_b(rehearse: Rehearse) -> None:
    depends = "do $$ begin {}; end $$"
    back = "comment on view dot.v_made_up_count is 'How many notes there are.'"
    said = "execute 'comment on view dot.v_made_up_count is ''other'''"
    where_used = f"if exists (select from dot.process_run_observation) then {said}; end if"
    assert rules(rehearse(depends.format(where_used), back, fresh=True)[1]) == {"upgraded-differs"}
    assert rules(rehearse(depends.format(said), back, fresh=True)[1]) == set()


def test_a_downgrade_that_does_not_bring_a_back_fails_or_refuses(rehearse: Rehearse) -> None:
    change, back = (
        "comment on view dot.v_made_up_count is 'other'",
        "comment on view dot.v_made_up_count is 'How many notes there are.'",
    )
    _, found = rehearse(change)
    assert [(one.rule, one.subject) for one in found if one.level == "red"] == [("downgraded-differs", "9002")]
    assert rules(rehearse(change, f"{back}; drop view dot.v_no")[1]) == {"downgrade-failed"}
    refuses = f"{back}; do $$ begin raise restrict_violation using message = 'rows are kept'; end $$"
    _, found = rehearse(change, refuses)
    assert (rules(found), rules(found, "yellow")) == (set(), {"downgrade-failed"})
    assert rules(rehearse(change, back)[1]) == set()


def test_an_upgrade_that_fails_on_rows_or_loses_them(rehearse: Rehearse) -> None:
    fails = "alter table dot.made_up_note add column a integer not null"
    assert rules(rehearse(fails)[1]) == {"upgrade-failed"}
    loses = "truncate dot.made_up_note"
    _, found = rehearse(loses)
    assert ("rows-lost", "upgrade made_up_note") in {(one.rule, one.subject) for one in found}


def test_a_downgrade_that_loses_rows(rehearse: Rehearse) -> None:
    _, found = rehearse("select 1", "delete from dot.made_up_note where note_id = 1")
    (one,) = (one for one in found if one.level == "red")
    assert (one.rule, one.subject) == ("rows-lost", "downgrade made_up_note")
    assert one.text.endswith("1,000 before the upgrade, 999 after the downgrade")
    assert rules(rehearse("select 1", "select 1")[1]) == set()


def test_views_that_are_taken_inner_first_are_told_and_kill_a_reader(rehearse: Rehearse) -> None:
    _, found = rehearse(INNER_FIRST.format(timeout="30s"), clients=True)
    assert rules(found) == {"deadlock", "client-failed"}
    assert "upgrade v_process_verification_v3" in {one.subject for one in found}
    assert any("deadlock detected" in one.text for one in found if one.rule == "client-failed"), found


def test_a_migration_that_gives_up_before_the_server_looks_for_a_deadlock_kills_nobody(rehearse: Rehearse) -> None:
    _, found = rehearse(INNER_FIRST.format(timeout="500ms"))
    assert (rules(found), rules(found, "yellow")) == (set(), {"locks", "deadlock"})
    _, found = rehearse(OUTER_FIRST, clients=True)
    assert (rules(found), rules(found, "yellow")) == (set(), {"locks"})


def test_a_migration_that_never_gets_its_locks_beside_clients_is_ended(
    rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "GIVEN_FOR_LOCKS", 2.0)
    seen, found = rehearse(NEVER_BESIDE_CLIENTS, clients=True)
    assert {(one.rule, one.subject) for one in found} == {("gave-up", "upgrade")}
    assert seen.beside["upgrade"].error == "it did not get its locks within 2 s"
    assert seen.beside["upgrade"].repeated > 0


def test_a_view_that_the_amendment_cannot_replace_any_more(server: str, start: Side, tmp_path: Path) -> None:
    assert amended(start, server, "first") == ""
    wider = side(tmp_path / "wider", WIDENED)
    seen = Rehearsal("9001", "9002", amendment=amended(wider, server, installed_as(server, wider, "wider")))
    (one,) = of_rehearsal(seen, {})
    assert (one.level, one.rule) == ("red", "amendment")
    assert "cannot drop columns from view" in one.text


def installed_as(server: str, wider: Side, name: str) -> str:
    installed(server, wider, name)
    return name
