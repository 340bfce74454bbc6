"""Upgrade and downgrade on every supported server, by every kind of login, online and as a script through psql."""

from __future__ import annotations

import psycopg
import pytest
from alembic import command

from dot_wrapper.proving.databases import database_url, upgrade
from dot_wrapper.proving.prepared import OWN_ROLES
from support import refused, wait_until
from support.catalog import (
    HEAD,
    catalog,
    downgrade,
    downgrade_script,
    finished,
    in_process,
    psql,
    psql_file,
    query,
    server_errors,
    start_alembic,
    upgrade_script,
    version,
)
from support.clusters import EMPTIED, KINDS, ROLES_DROP_SQL, ROLES_SQL, Cluster, rows_of
from support.versions import ON_EACH_VERSION


def physical(url: str) -> list[dict[str, object]]:
    """Identity and row version of each catalog row of the wrapper's: whatever is made anew or altered shows."""
    return query(
        url,
        "select p.oid, p.xmin from pg_proc p where p.pronamespace = 'dot'::regnamespace"
        " union all select c.oid, c.xmin from pg_class c where c.relnamespace = 'dot'::regnamespace"
        " union all select n.oid, n.xmin from pg_namespace n where n.nspname = 'dot'"
        " union all select a.oid, a.xmin from pg_authid a where a.rolname like 'dot\\_%' order by oid",
    )


def has_schema(url: str) -> bool:
    return query(url, "select nspname from pg_namespace where nspname = 'dot'") != []


@ON_EACH_VERSION
def test_every_kind_of_login_installs_takes_back_and_installs_again_the_same_catalog(cluster: Cluster) -> None:
    whole = None
    for kind in KINDS:
        cluster.clean()
        target = cluster.target(kind)
        granted = ["m_prepared"] if kind == "prepared" else []

        upgrade(target.url)
        whole = whole or catalog(target.admin)
        assert catalog(target.admin) == whole, kind
        assert version(target.admin) == [HEAD]
        assert cluster.owners() == granted, kind

        before = physical(target.admin)
        upgrade(target.url)
        assert physical(target.admin) == before, f"a second upgrade by {kind} changed something"

        downgrade(target.url)
        assert catalog(target.admin) == EMPTIED, kind
        assert version(target.admin) == []
        assert sorted(cluster.own_roles()) == sorted(OWN_ROLES)
        assert query(target.admin, "select defaclacl from pg_default_acl") == []
        assert cluster.owners() == granted, kind

        upgrade(target.url)
        assert catalog(target.admin) == whole, kind
        assert cluster.owners() == granted, kind


@ON_EACH_VERSION
def test_the_script_run_through_psql_gives_the_catalog_of_the_online_upgrade(cluster: Cluster) -> None:
    online = cluster.database()
    upgrade(online)
    whole = catalog(online)
    script = upgrade_script()
    for kind in KINDS:
        cluster.clean()
        target = cluster.target(kind)
        assert psql(target.url, script) == (0, ""), kind
        assert catalog(target.admin) == whole, kind
        assert version(target.admin) == [HEAD], kind
        assert cluster.owners() == (["m_prepared"] if kind == "prepared" else []), kind

        assert psql(target.url, downgrade_script()) == (0, ""), kind
        assert catalog(target.admin) == EMPTIED, kind
        upgrade(target.url)
        assert catalog(target.admin) == whole, kind


def test_each_revision_taken_back_gives_the_catalog_before_it(cluster: Cluster) -> None:
    url = cluster.database()
    going_up = {}
    for revision in ("0001", "0002", "0003", "0004", "0005"):
        upgrade(url, revision)
        going_up[revision] = catalog(url)
    assert version(url) == [HEAD], "a new revision belongs into this list"
    for revision in ("0004", "0003", "0002", "0001"):
        downgrade(url, revision)
        assert catalog(url) == going_up[revision], revision


@pytest.mark.parametrize("missing", ["the roles", "the grant of dot_owner", "create on the database"])
def test_a_login_without_rights_is_told_of_roles_sql_and_installs_nothing(cluster: Cluster, missing: str) -> None:
    admin = cluster.database()
    query(admin, "create role m_plain login")
    if missing != "the roles":
        assert psql_file(admin, ROLES_SQL) == (0, "")
    if missing == "create on the database":
        option = "" if cluster.version == 15 else " with inherit false, set true"
        query(admin, f"revoke create on database u_main from dot_owner; grant dot_owner to m_plain{option}")
    roles = cluster.own_roles()
    url = database_url(admin, "u_main", "m_plain")

    with refused("42501", saying="sql/roles.sql"), server_errors():
        upgrade(url)
    status, printed = psql(url, upgrade_script())
    assert (status, "42501" in printed, "sql/roles.sql" in printed) == (3, True, True), printed

    assert not has_schema(admin)
    assert cluster.own_roles() == roles


def test_a_creator_without_create_on_the_database_leaves_no_role_behind(cluster: Cluster) -> None:
    admin = cluster.database()
    query(admin, "create role m_creator login createrole")
    with refused("42501", saying="sql/roles.sql"), server_errors():
        upgrade(database_url(admin, "u_main", "m_creator"))
    assert cluster.own_roles() == []


def test_current_answers_who_may_set_dot_owner_and_writes_nothing(cluster: Cluster) -> None:
    for kind in KINDS:
        cluster.clean()
        target = cluster.target(kind)
        assert in_process(command.current, target.url) == "", f"{kind}: nothing is installed"
        assert not has_schema(target.admin)
        upgrade(target.url)
        before = physical(target.admin)
        assert in_process(command.current, target.url) == f"{HEAD} (head)\n", kind
        assert physical(target.admin) == before, kind


def test_concurrent_upgrades_of_many_databases_and_of_one_all_succeed(cluster: Cluster) -> None:
    urls = [cluster.database(f"u_{number}") for number in range(5)]
    running = [start_alembic("upgrade", "head", url=url) for url in urls[:4] * 2 + urls[4:] * 4]
    assert [result for result in map(finished, running) if result[0] != 0] == []
    assert {tuple(version(url)) for url in urls} == {(HEAD,)}
    assert len({catalog(url) for url in urls}) == 1


def test_concurrent_upgrades_by_one_creator_succeed_and_leave_no_member(cluster: Cluster) -> None:
    admins = [cluster.database(f"u_{number}") for number in range(2)]
    query(cluster.url, "create role m_creator login createrole")
    for number in range(2):
        query(cluster.url, f"grant create on database u_{number} to m_creator")
    urls = [database_url(cluster.url, f"u_{number}", "m_creator") for number in range(2)]
    running = [start_alembic("upgrade", "head", url=url) for url in urls * 2]
    assert [result for result in map(finished, running) if result[0] != 0] == []
    assert len({catalog(admin) for admin in admins}) == 1
    assert cluster.owners() == []


def test_roles_drop_after_downgrade_leaves_no_role_and_no_schema(cluster: Cluster) -> None:
    for kind in KINDS:
        cluster.clean()
        target = cluster.target(kind)
        upgrade(target.url)
        downgrade(target.url)
        by = target.admin if kind == "prepared" else target.url
        assert psql_file(by, ROLES_DROP_SQL) == (0, ""), kind
        assert cluster.own_roles() == [], kind
        assert not has_schema(target.admin), kind
        assert "dot_" not in str(query(target.admin, "select datacl::text from pg_database")), kind
        upgrade(cluster.database("u_again"))


def test_roles_drop_stops_where_the_wrapper_is_installed(cluster: Cluster) -> None:
    url = cluster.database()
    upgrade(url)
    before = catalog(url)
    status, printed = psql_file(url, ROLES_DROP_SQL)
    assert (status, "2BP01" in printed) == (3, True), printed
    assert (catalog(url), version(url)) == (before, [HEAD])


def test_roles_drop_keeps_the_roles_that_another_database_uses(cluster: Cluster) -> None:
    here, there = cluster.database("u_here"), cluster.database("u_there")
    upgrade(here)
    upgrade(there)
    before = catalog(there)
    downgrade(here)
    status, printed = psql_file(here, ROLES_DROP_SQL)
    assert (status, printed.count("objects in database u_there")) == (0, len(OWN_ROLES)), printed
    assert not has_schema(here)
    assert catalog(there) == before
    upgrade(here)
    assert catalog(here) == before


RUN = (
    "insert into dot.process_run_observation (process_run_id, observed_at, dry_run, process_candidate_code, dot_code,"
    " correlation_id, evidence_type, status, actor, session_actor, evidence_ref) values ('00000000-0000-7000-8000-000000000001',"
    " clock_timestamp(), true, 'c', 'p', 'x', 'SIMULATED_DRY_RUN', 'started', 'a', 's', '{}');"
)
COMPONENT = (
    "insert into dot.process_component_observation (process_run_id, observed_at, process_candidate_code, component_role,"
    " stage, dot_code, correlation_id, evidence_type, status, actor, session_actor, evidence_ref) values ("
    "'00000000-0000-7000-8000-000000000001', clock_timestamp(), 'c', 'producer', 'started', 'p', 'x', 'SIMULATED_DRY_RUN',"
    " 'step_started', 'a', 's', '{}');"
)

# One row more than the migrations seed, or one that differs, and the tables that hold it.
KEPT = {
    "a DOT": ("dot_tools", "insert into dot.dot_tools (code) values ('p')"),
    "a logged command": (
        "dot_iu_command_run",
        "insert into dot.dot_iu_command_run (mutating, command_name, run_mode, run_status, actor, session_actor)"
        " values (false, 'dot_wrapper.rehearse', 'plan', 'refused', 'a', 's')",
    ),
    "a lease": (
        "dot_iu_runtime_lease",
        "insert into dot.dot_iu_runtime_lease values (1, now(), now(), 'dot_exec:c', 'a', 's')",
    ),
    "a job": ("job_queue", "insert into dot.job_queue (job_type, status) values ('cut', 'done')"),
    "an event": (
        "event_outbox",
        "insert into dot.event_outbox (epoch, aggregatetype, aggregateid, type, payload)"
        " values (1, 'process_run', 'x', 'y', '{}')",
    ),
    "an edge": (
        "universal_edges",
        "insert into dot.universal_edges (from_code, to_code, edge_type) values ('a', 'b', 'feeds')",
    ),
    "a candidate": (
        "process_candidate",
        "insert into dot.process_candidate (defined_at, code, producer_dot_code, verifier_dot_code, chain, chain_position,"
        " pins_output, actor, session_actor) values (now(), 'c', 'p', 'v', 'c', 1, false, 'a', 's')",
    ),
    "a header": ("process_run_observation", RUN),
    "a header and a component": ("process_component_observation, dot.process_run_observation", RUN + COMPONENT),
    "a preflight attestation": (
        "preflight_attestation",
        "insert into dot.preflight_attestation (attestation_id, database_oid, attested_at, expires_at, check_name, verdict,"
        " finding, actor, session_actor) values (1, 1, now(), now() + interval '1 s', 'fs_snapshot_present', 'PASS', 'f', 'a', 's')",
    ),
    "an audited switch": (
        "dot_config_audit",
        "insert into dot.dot_config_audit (audit_id, changed_at, system_identifier, database_oid, key, new_value, actor,"
        " session_actor, reason) values (1, now(), 1, 1, 'k', 'false', 'a', 's', 'r')",
    ),
    "an attested mechanism": (
        "dot_mechanism_attestation",
        "insert into dot.dot_mechanism_attestation (attestation_id, attested_at, present, mechanism, finding, actor,"
        " session_actor) values (1, now(), false, 'scheduler', 'f', 'a', 's')",
    ),
    "an epoch": ("outbox_epoch", "insert into dot.outbox_epoch values (7, now(), 1, 16384)"),
    "a moved cursor": ("outbox_cursor", "update dot.outbox_cursor set outbox_id = 1, xact_id = '7'"),
    "an open gate": ("dot_config", "update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'"),
    "a gate without value": ("dot_config", "update dot.dot_config set value = null where key = 'queue.worker.enabled'"),
    "a setting of the host's": ("dot_config", "insert into dot.dot_config values ('host.setting', 'false')"),
    "a wanted event type": (
        "event_type",
        "update dot.event_type set active = true where event_type = 'process.run.failed'",
    ),
    "an event type of the host's": ("event_type", "insert into dot.event_type values ('host.thing.done', false)"),
    "a process event type of the host's": (
        "event_type",
        "insert into dot.event_type values ('process.host.done', false)",
    ),
    "a command of the host's": (
        "dot_iu_command_catalog",
        "insert into dot.dot_iu_command_catalog values ('cut', true, 'd')",
    ),
    "a command that became mutating": (
        "dot_iu_command_catalog",
        "update dot.dot_iu_command_catalog set mutating = true where command_name = 'dot_wrapper.rehearse'",
    ),
    "a command described anew": (
        "dot_iu_command_catalog",
        "update dot.dot_iu_command_catalog set description = 'ours' where command_name = 'dot_wrapper.rehearse'",
    ),
}


def test_downgrade_refuses_whatever_the_migrations_did_not_seed_naming_its_table(cluster: Cluster) -> None:
    url = cluster.database()
    upgrade(url)
    tables = {one["relname"] for one in query(url, "select relname from pg_class where relkind = 'r'"
                                              " and relnamespace = 'dot'::regnamespace")} - {"alembic_version"}  # fmt: skip
    assert tables == {named.split(",")[0] for named, _ in KEPT.values()}, "a table without a row in this test"
    script = downgrade_script().replace("COMMIT;", "ROLLBACK;")
    wrong = {}
    for what, (named, row) in KEPT.items():
        # The row and the script are one transaction, which is taken back.
        status, printed = psql(url, f"begin; set local role dot_owner; {row}; reset role; {script}")
        if (status, f"ERROR:  23001: the downgrade would drop rows of dot.{named}\n" in printed) != (3, True):
            wrong[what] = (status, printed)
    assert wrong == {}
    assert version(url) == [HEAD]


@pytest.mark.parametrize("what", ["a header and a component", "a DOT", "an open gate", "a wanted event type"])
def test_a_refused_downgrade_loses_nothing(cluster: Cluster, what: str) -> None:
    url = cluster.database()
    upgrade(url)
    named, row = KEPT[what]
    query(url, f"set role dot_owner; {row}")
    before = rows_of(url), catalog(url), version(url), physical(url)
    with refused("23001", "downgrade_keeps_rows", saying=f"dot.{named}"), server_errors():
        downgrade(url)
    status, printed = psql(url, downgrade_script())
    assert (status, "23001" in printed) == (3, True), printed
    assert (rows_of(url), catalog(url), version(url), physical(url)) == before


def test_downgrade_waits_for_a_write_in_flight_and_then_refuses(cluster: Cluster) -> None:
    url = cluster.database()
    upgrade(url)
    with psycopg.connect(url) as writer:
        writer.execute(f"set local role dot_owner; {RUN}")
        running = start_alembic("downgrade", "base", url=url)
        waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and %s = any (pg_blocking_pids(pid))"
        wait_until(
            lambda: query(url, waiting, writer.info.backend_pid),
            unless=lambda: running.poll() is not None and finished(running),
        )
        writer.commit()
    status, printed = finished(running)
    assert (status, "would drop rows of dot.process_run_observation" in printed) == (255, True), printed
    assert version(url) == [HEAD]
    assert rows_of(url)["process_run_observation"] == 1


def test_a_database_that_cannot_be_reached_is_one_line() -> None:
    code, printed = finished(start_alembic("upgrade", "head", url="postgresql://x@/x?host=/nonexistent"))
    assert code != 0
    assert "FAILED: the database cannot be reached" in printed
    assert "Traceback" not in printed
