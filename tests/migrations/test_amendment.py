"""The optional amendment is taken, left and given back: by every kind of login, in either order with the main line, online and as
a script, stopped half-way, and beside writers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command

from dot_wrapper.deploy.frozen_sql import AMENDMENT, FrozenSql
from dot_wrapper.deploy.guards import ADVISORY_LOCK
from dot_wrapper.proving.databases import upgrade
from support import (
    Database,
    define_pair,
    observe_component,
    observe_run,
    refused,
    rows,
    value,
    wait_until,
    waiting,
)
from support.catalog import (
    HEAD,
    catalog,
    disagreements,
    downgrade,
    downgrade_script,
    finished,
    in_process,
    psql,
    query,
    server_errors,
    start_alembic,
    upgrade_script,
    version,
)
from support.clusters import EMPTIED, KINDS, Cluster, rows_of
from support.versions import ON_EACH_VERSION

TABLE = "alembic_version_amendment"
LATEST = "a002"


def take(url: str, revision: str = "head") -> None:
    upgrade(url, revision, "amendment")


def give_back(url: str, revision: str = "base") -> None:
    downgrade(url, revision, "amendment")


def everything(url: str) -> tuple[object, ...]:
    """What a refusal must leave as it was."""
    if not query(url, "select 1 from pg_namespace where nspname = 'dot'"):
        return ()
    return catalog(url), version(url), version(url, TABLE), rows_of(url)


@ON_EACH_VERSION
def test_every_kind_of_login_takes_it_and_gives_it_back_and_nothing_is_left(cluster: Cluster) -> None:
    with_it = None
    for kind in KINDS:
        cluster.clean()
        target = cluster.target(kind)
        granted = ["m_prepared"] if kind == "prepared" else []
        upgrade(target.url)
        without = catalog(target.admin)
        take(target.url)
        with_it = with_it or catalog(target.admin)
        assert (catalog(target.admin), version(target.admin, TABLE)) == (with_it, [LATEST]), kind
        assert in_process(command.current, target.url, "amendment") == f"{LATEST} (head)\n"
        assert cluster.owners() == granted, kind
        if kind == KINDS[-1]:
            take(target.url)
            upgrade(target.url)
            assert catalog(target.admin) == with_it, "a second upgrade changed something"
        give_back(target.url)
        assert catalog(target.admin) == without, kind
        assert cluster.owners() == granted, kind
        if kind == KINDS[-1]:
            take(target.url)
            assert catalog(target.admin) == with_it, "taken again"
            give_back(target.url)
        downgrade(target.url)
        assert catalog(target.admin) == EMPTIED, kind


def test_the_scripts_run_through_psql_give_the_catalog_of_the_online_commands(cluster: Cluster) -> None:
    online = cluster.database()
    upgrade(online)
    without = catalog(online)
    take(online)
    with_it = catalog(online)
    up, down = upgrade_script(section="amendment"), downgrade_script(section="amendment")
    each = ("BEGIN;", "COMMIT;", "set local search_path = pg_catalog, pg_temp;", "set local lock_timeout = '500ms';")
    assert [up.count(text) for text in each] == [2] * 4
    assert [down.count(text) for text in each] == [1] * 4
    for kind in ("superuser", "prepared"):
        cluster.clean()
        target = cluster.target(kind)
        upgrade(target.url)
        assert psql(target.url, up) == (0, ""), kind
        assert (catalog(target.admin), version(target.admin, TABLE)) == (with_it, [LATEST]), kind
        assert cluster.owners() == (["m_prepared"] if kind == "prepared" else []), kind
        assert psql(target.url, down) == (0, ""), kind
        assert catalog(target.admin) == without, kind


def test_it_is_refused_without_the_main_line_s_head_and_changes_nothing(cluster: Cluster) -> None:
    url = cluster.database()
    for revision in ("nothing", "0001", "0003"):
        if revision != "nothing":
            upgrade(url, revision)
        before = everything(url)
        with refused("55000", "amendment_main_line", saying="alembic upgrade head"), server_errors():
            take(url)
        status, printed = psql(url, upgrade_script(section="amendment"))
        assert (status, "55000" in printed, f"needs the main line at {HEAD}" in printed) == (3, True, True), printed
        assert everything(url) == before


def test_beneath_it_the_main_line_stays_where_it_is(cluster: Cluster) -> None:
    url = cluster.database()
    upgrade(url)
    take(url)
    before = everything(url)
    upgrade(url)  # nothing to do
    for revision in ("base", "0003"):
        with refused("55000", "amendment_is_on", saying="alembic -n amendment downgrade base"), server_errors():
            downgrade(url, revision)
    for script in (downgrade_script(), downgrade_script(f"{HEAD}:0003"), upgrade_script(f"0003:{HEAD}")):
        status, printed = psql(url, script)
        assert (status, "amendment is on" in printed) == (3, True), printed
    assert everything(url) == before
    give_back(url, "a001")
    with refused("55000", "amendment_is_on"), server_errors():
        downgrade(url)
    give_back(url)
    downgrade(url)
    assert catalog(url) == EMPTIED


def test_stopped_between_its_two_revisions_it_works_and_goes_on(db: Database) -> None:
    define_pair(db)
    writer, owner = db.session("writer"), db.session("owner")
    unvalidated = "select conname from pg_constraint where not convalidated order by conname"
    names = [
        "process_component_observation_blocked_check",
        "process_component_observation_status_check",
        "process_run_observation_blocked_check",
        "process_run_observation_status_check",
    ]
    observe_run(writer, status="prepared")
    take(db.url, "a001")
    assert [one["conname"] for one in rows(owner, unvalidated)] == names
    observe_run(writer, status="prepared")
    with refused("23514", "process_run_observation_blocked_check"):
        observe_run(writer, status="blocked")
    take(db.url)
    assert rows(owner, unvalidated) == []
    assert version(db.url_as("owner"), TABLE) == [LATEST]
    assert [
        one["status"] for one in rows(owner, "select status from dot.process_run_observation order by observed_at")
    ] == [
        "observed",
        "prepared",
    ]


def store_prepared(db: Database) -> None:
    observe_run(db.session("writer"), status="prepared")


def store_skipped(db: Database) -> None:
    observe_run(db.session("writer"), status="skipped")


def store_blocked(db: Database) -> None:
    observe_run(db.session("writer"), status="blocked", parent_run_id=uuid.uuid4(), error_ref="preflight_check")


def store_a_prepared_and_a_skipped_component(db: Database) -> None:
    run_id = observe_run(db.session("writer"))["process_run_id"]
    observe_component(db.session("writer"), run_id, "producer", status="prepared")
    observe_component(db.session("writer"), run_id, "producer", status="skipped")


@pytest.mark.usefixtures("client_programs")
@pytest.mark.parametrize(
    ("store", "counted"),
    [
        (store_prepared, "1 runs and 0 components"),
        (store_skipped, "1 runs and 0 components"),
        (store_blocked, "1 runs and 0 components"),
        (store_a_prepared_and_a_skipped_component, "0 runs and 2 components"),
    ],
)
def test_it_is_not_given_back_while_a_row_uses_a_word_of_it(
    db: Database, store: Callable[[Database], None], counted: str
) -> None:
    define_pair(db)
    take(db.url)
    store(db)
    owner = db.url_as("owner")
    before = everything(owner)
    for revision in ("base", "a001"):
        with refused("23001", "amendment_keeps_rows", saying=counted), server_errors():
            give_back(db.url, revision)
    status, printed = psql(db.url, downgrade_script(section="amendment"))
    assert (status, f"23001: {counted}" in printed) == (3, True), printed
    assert everything(owner) == before

    # From half-way, where the first refusal is over.
    query(owner, f"update dot.{TABLE} set version_num = 'a001'")
    with refused("23001", "amendment_keeps_rows", saying=counted), server_errors():
        give_back(db.url)


def test_rows_written_before_it_or_under_other_words_let_it_be_given_back(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    for status in ("prepared", "skipped"):
        observe_run(writer, status=status)
    take(db.url)
    run_id = observe_run(writer)["process_run_id"]
    observe_component(writer, run_id, "producer")
    give_back(db.url)
    observe_run(writer, status="prepared")
    assert value(db.session("reader"), "select count(*) from dot.v_process_run where end_state = 'prepared'") == 2


def test_a_write_in_flight_is_waited_for_before_it_is_given_back(db: Database) -> None:
    define_pair(db)
    take(db.url)
    writer = db.session("writer")
    writer.execute("begin")
    observe_run(writer, status="prepared")
    # The first revision counts what is committed, and passes; the second waits for the writer and counts again.
    running = start_alembic("-n", "amendment", "downgrade", "base", url=db.url)
    blocked = (
        "select exists (select from pg_locks where not granted and relation = 'dot.process_run_observation'::regclass)"
    )
    wait_until(
        lambda: value(db.session("owner"), blocked), unless=lambda: running.poll() is not None and finished(running)
    )
    writer.execute("commit")
    status, printed = finished(running)
    assert (status, "1 runs and 0 components" in printed) == (255, True), printed
    assert version(db.url_as("owner"), TABLE) == [LATEST], "it is taken back as a whole, or not at all"


def test_concurrent_commands_queue_up_and_one_that_was_overtaken_says_so(db: Database) -> None:
    running = [start_alembic("-n", "amendment", "upgrade", "head", url=db.url) for _ in range(3)]
    running.append(start_alembic("upgrade", "head", url=db.url))
    results = [finished(one) for one in running]
    failed = [printed for status, printed in results if status != 0]
    assert [printed for printed in failed if "another command has moved the amendment meanwhile" not in printed] == []
    assert len(failed) < 3
    assert version(db.url_as("owner"), TABLE) == [LATEST]


def test_a_command_that_was_overtaken_between_its_revisions_does_nothing_more_and_says_so(db: Database) -> None:
    """It has taken the first revision and waits for the lock again; meanwhile another one takes the second."""
    first, other, watcher = db.connect("creator"), db.connect("creator"), db.connect("creator")
    lock, unlock = f"select pg_advisory_lock({ADVISORY_LOCK})", f"select pg_advisory_unlock({ADVISORY_LOCK})"
    waiters = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = %s::oid"
    oid = value(watcher, "select oid from pg_database where datname = current_database()")

    def wait_for(number: int) -> None:
        wait_until(lambda: value(watcher, waiters, oid) >= number, 60)

    first.execute(lock)
    overtaken = start_alembic("-n", "amendment", "upgrade", "head", url=db.url)
    wait_for(1)
    with ThreadPoolExecutor(1) as pool:
        locked = pool.submit(other.execute, lock)  # the next in the queue
        wait_for(2)
        first.execute(unlock)
        locked.result()
    other.execute(upgrade_script("a001:a002", "amendment").encode())
    other.execute(unlock)
    status, printed = finished(overtaken)
    assert status != 0, printed
    assert "another command has moved the amendment meanwhile" in printed
    assert version(db.url_as("owner"), TABLE) == [LATEST]


LOCKS = """
select c.relname, l.mode from pg_locks l join pg_class c on c.oid = l.relation
where l.pid = %s and l.granted and c.relkind = 'r' and c.relname like 'process\\_%%'
order by 1, 2
"""


def test_validating_holds_no_lock_that_a_writer_waits_for(db: Database) -> None:
    """Its transaction is held open after the scan: a writer commits meanwhile."""
    define_pair(db)
    take(db.url, "a001")
    script = upgrade_script("a001:a002", "amendment")
    with psycopg.connect(db.url, autocommit=True) as deploy:
        deploy.execute(script.rpartition("COMMIT;")[0].encode())  # as alembic runs it, up to the end of the transaction
        held = query(db.url_as("owner"), LOCKS, deploy.info.backend_pid)
        writer = db.session("writer")
        writer.execute("set statement_timeout = '20s'")
        run_id = observe_run(writer, status="skipped")["process_run_id"]
        assert (
            value(db.session("reader"), "select count(*) from dot.v_process_run where process_run_id = %s", run_id) == 1
        )
        deploy.execute("commit")
    strongest = {one["relname"]: one["mode"] for one in held}
    assert strongest == {
        "process_component_observation": "ShareUpdateExclusiveLock",
        "process_run_observation": "ShareUpdateExclusiveLock",
    }


def test_the_words_come_under_a_short_exclusive_lock_that_a_long_transaction_cannot_hold_up_for_ever(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dot_wrapper.deploy.transaction.PATIENCE", 2.0)
    define_pair(db)
    script = upgrade_script("a001", "amendment")
    writer = db.session("writer")
    with psycopg.connect(db.url, autocommit=True) as deploy:
        deploy.execute(script.partition("COMMIT;")[0].encode())
        held = {one["mode"] for one in query(db.url_as("owner"), LOCKS, deploy.info.backend_pid)}
        assert "AccessExclusiveLock" in held
        with ThreadPoolExecutor(1) as pool:
            late = waiting(writer, lambda: observe_run(writer, status="prepared"), pool, db)
            deploy.execute("rollback")
            assert late.result()["created"]
    writer.execute("begin")
    observe_run(writer)
    with refused("55P03"), server_errors():
        take(db.url)
    writer.execute("commit")
    assert version(db.url_as("owner"), TABLE) == []


def test_the_catalog_guard_holds_with_it(db: Database) -> None:
    owner = db.url_as("owner")
    take(db.url)
    assert set(AMENDMENT.sources()) < set(FrozenSql().sources())
    assert disagreements(owner, FrozenSql(), AMENDMENT) == []
    query(owner, "comment on view dot.v_dot_funnel is 'x'")
    assert disagreements(owner, FrozenSql(), AMENDMENT) != []


def test_a_call_that_overlaps_the_switch_stores_one_of_the_two_words(db: Database) -> None:
    define_pair(db)
    writer = db.session("writer")
    with psycopg.connect(db.url, autocommit=True) as deploy, ThreadPoolExecutor(1) as pool:
        deploy.execute(upgrade_script("a001", "amendment").partition("COMMIT;")[0].encode())
        late = waiting(writer, lambda: observe_run(writer, status="skipped", idempotency_key="k"), pool, db)
        deploy.execute("commit")
        first = late.result()
    again = observe_run(writer, status="skipped", idempotency_key="k")
    assert (again["process_run_id"], again["created"]) == (first["process_run_id"], False)
    assert value(db.session("reader"), "select end_state from dot.v_process_run") == "skipped"
