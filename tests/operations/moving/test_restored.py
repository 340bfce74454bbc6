"""`dot-wrapper restored` by itself: what it puts back, what it leaves alone, what it takes, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dot_wrapper import cli
from dot_wrapper.client import database
from dot_wrapper.client.errors import NotInstalled, NotPermitted
from dot_wrapper.operations import drift
from dot_wrapper.operations.restored import Report, restore
from dot_wrapper.proving.databases import fresh_database, upgrade
from support import (
    IN_BOTH_STATES,
    PAIR,
    Database,
    Outcome,
    acquire,
    define_pair,
    hosts,
    observe_run,
    ready_for_real_runs,
    refused,
    row,
    rows,
    set_gates,
    value,
)
from support.hosts import Host
from support.moved import OTHER_PAIR, Mover, Server, connect, copy, fill, findings, look, safe
from support.servers import server


def restored(url: str) -> Report:
    with database.connect(url) as connection:
        return restore(connection, actor="ana", reason="a dump was restored")


@pytest.fixture
def command(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs `dot-wrapper restored ARGUMENTS` as the login that made the database, or another."""

    def run(*arguments: str, who: str = "creator") -> Outcome:
        monkeypatch.setenv("DATABASE_URL", db.url if who == "creator" else db.url_as(who))
        capsys.readouterr()
        code = cli.run(("restored", "--actor", "ana", "--reason", "a dump was restored", *arguments))
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@IN_BOTH_STATES
def test_a_database_that_was_not_moved_is_left_as_it_is(db: Database, command: Callable[..., Outcome]) -> None:
    db.connect("superuser")
    before = look(db.url)
    outcome = command("--json")
    assert (outcome.code, outcome.json["changes"], outcome.json["left"]) == (0, [], [])
    assert look(db.url) == before
    assert value(db.connect("owner"), "select count(*) from dot.dot_iu_command_run") == 0


def test_the_worker_of_an_adopted_host_is_no_gate_that_is_closed_or_looked_after(
    db: Database, made: Callable[[Host], Host], command: Callable[..., Outcome]
) -> None:
    """fn_dot_config_set refuses to move it."""
    db.session("owner").execute("update dot.dot_config set value = 'true' where key = 'queue.worker.enabled'")
    assert findings(db.url)["gates"] == "fail"
    hosts.adopt(db.url, hosts.mapping_of(made("near")))
    hosts.switch(db.url, "near", "true", "queue.worker.enabled")
    assert findings(db.url).keys().isdisjoint({"gates", "state"})
    outcome = command("--json")
    assert (outcome.code, outcome.json["changes"]) == (0, [])


def test_it_ends_what_lets_a_run_in_and_audits_it(db: Database, command: Callable[..., Outcome]) -> None:
    db.connect("superuser")
    fill(db.url)
    before = look(db.url)
    assert command().code == 0
    assert look(db.url) == safe(before)
    owner = db.connect("owner")
    moves = rows(owner, "select key, new_value, actor, reason from dot.dot_config_audit order by audit_id desc limit 3")
    assert {(one["new_value"], one["actor"], one["reason"]) for one in moves} == {
        ("false", "ana", "a dump was restored")
    }
    newest = row(
        owner, "select verdict, actor, finding from dot.preflight_attestation order by attestation_id desc limit 1"
    )
    assert newest == {"verdict": "BLOCK", "actor": "ana", "finding": "a dump was restored"}
    logged = row(
        owner, "select command_name, mutating, run_mode, run_status, actor, detail from dot.dot_iu_command_run"
    )
    assert logged == {
        "command_name": "dot_wrapper.restored",
        "mutating": True,
        "run_mode": "apply",
        "run_status": "completed",
        "actor": "ana",
        "detail": {"reason": "a dump was restored", "changes": {"gates": 3, "leases": 2, "attestations": 1}},
    }
    again = command()
    assert (again.code, again.out.splitlines()[0]) == (0, "nothing to do")
    assert value(owner, "select count(*) from dot.dot_iu_command_run") == 1


def test_who_held_a_lease_writes_nothing_any_more_and_the_next_gets_a_higher_token(db: Database) -> None:
    db.connect("superuser")
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    restored(db.url)
    gatekeeper = db.connect("gatekeeper")
    for gate in (
        "iu_core.operator_runtime_enabled",
        "process_dot_runtime.execute_enabled",
        "process_dot_runtime.real_run_enabled",
    ):
        gatekeeper.execute("select dot.fn_dot_config_set(%s, 'true', 'ana', 'looked at')", (gate,))
    gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 60, 'ana', 'looked at')")
    with refused("23514", "lease_live_check"):
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
    assert acquire(writer) == 2_000_001


def test_a_lease_that_is_behind_its_runs_goes_on_after_them(db: Database) -> None:
    db.connect("superuser")
    ready_for_real_runs(db)
    define_pair(db, OTHER_PAIR)
    writer = db.connect("writer")
    for pair in (PAIR, OTHER_PAIR):
        for _ in range(3):
            token = acquire(writer, pair)
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token, process_candidate_code=pair)
    superuser = db.connect("superuser")
    superuser.execute("alter table dot.dot_iu_runtime_lease disable trigger all")
    superuser.execute("delete from dot.dot_iu_runtime_lease where lease_key = %s", (f"dot_exec:{PAIR}",))
    superuser.execute("update dot.dot_iu_runtime_lease set token = 1")
    report = restored(db.url)
    behind = {one.what for one in report.changes if "under which a run was stored" in one.what}
    assert behind == {
        f"dot_exec:{pair} goes on after token 3, under which a run was stored" for pair in (PAIR, OTHER_PAIR)
    }
    assert acquire(writer) == 2_000_001
    assert report.left == ()


def test_a_gate_that_is_missing_or_not_as_audited_is_closed(db: Database) -> None:
    superuser = db.connect("superuser")
    superuser.execute("delete from dot.dot_config where key = 'queue.worker.enabled'")
    superuser.execute("update dot.dot_config set value = 'TRUE' where key = 'process_dot_runtime.execute_enabled'")
    set_gates(db, "true", "process_dot_runtime.real_run_enabled")
    superuser.execute("update dot.dot_config set value = 'false' where key = 'process_dot_runtime.real_run_enabled'")
    report = restored(db.url)
    assert {one.what for one in report.changes} == {
        "queue.worker.enabled is closed, it was None",
        "process_dot_runtime.execute_enabled is closed, it was 'TRUE'",
        "process_dot_runtime.real_run_enabled is closed, it was 'false'",
    }
    assert value(superuser, "select bool_and(is_audited and value = 'false') from dot.v_dot_gate")


def test_an_identity_that_is_behind_its_table_goes_on_after_it_and_a_dry_run_moves_none(
    db: Database, command: Callable[..., Outcome]
) -> None:
    superuser = db.connect("superuser")
    queue = "insert into dot.job_queue (job_type, status) values ('nightly', 'done')"
    for _ in range(5):
        superuser.execute(queue)
    superuser.execute("alter table dot.job_queue alter job_id restart with 2")
    with refused("23505", "job_queue_pkey"):
        superuser.execute(queue)
    assert "state" in findings(db.url)
    planned = command("--dry-run", "--json").json["changes"]
    assert [one["area"] for one in planned] == ["identities"]
    with refused("23505", "job_queue_pkey"):
        superuser.execute(queue)
    assert command("--json").json["changes"] == [
        {"area": "identities", "what": "dot.job_queue.job_id goes on after 5, and not at 4"}
    ]
    superuser.execute(queue)


def test_an_attestation_that_was_made_elsewhere_counts_for_nothing_and_is_left(
    of: Server, owned: Callable[[str], str]
) -> None:
    owned("plain")
    assert look(of.url("shop")).attested
    assert not look(of.url("other")).attested
    areas = {one.area for one in restored(of.url("other")).changes}
    assert {"gates", "leases"} <= areas
    assert "attestations" not in areas


def test_an_attestation_that_has_run_out_or_blocks_is_left(db: Database) -> None:
    db.connect("superuser")
    gatekeeper = db.connect("gatekeeper")
    gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'PASS', 600, 'ana', 'good')")
    gatekeeper.execute("select dot.fn_preflight_attest('fs_snapshot_present', 'BLOCK', 600, 'ana', 'bad')")
    assert restored(db.url).changes == ()


TAMPERED = (
    "alter table dot.process_run_observation drop constraint process_run_observation_status_check",
    "create table dot.of_a_stranger (id integer)",
    "create or replace function dot.fn_is_ref(p_value text) returns boolean language sql immutable return true",
    "drop trigger event_outbox_append_only on dot.event_outbox",
    "create or replace function dot.fn_dot_config_set(p_key text, p_value text, p_actor text, p_reason text) returns text"
    " language sql as 'drop table dot.process_run_observation cascade; select null'",
)


@pytest.mark.parametrize("done", TAMPERED)
def test_what_is_no_restore_s_doing_is_left_and_told_and_nothing_of_it_is_called(
    db: Database, command: Callable[..., Outcome], done: str
) -> None:
    superuser = db.connect("superuser")
    fill(db.url)
    superuser.execute(done)
    before = look(db.url)
    with database.connect(db.url) as connection:
        installed = drift.rows(connection)
        told = command("--json")
        assert (told.code, told.json["changes"], told.json["waiting"]) == (5, [], None)
        assert told.json["left"]
        assert drift.rows(connection) == installed
    assert look(db.url) == before
    said = command().out
    assert "left: " in said
    assert "Gates, leases, attestations and the outbox are unchanged" in said


PUT_BACK = (
    "alter table dot.event_outbox disable trigger event_outbox_append_only",
    "grant update on dot.process_run_observation to dot_writer",
    "revoke execute on function dot.fn_dot_config_set(text, text, text, text) from dot_gatekeeper",
    "grant execute on function dot.fn_host_gate_set(text, text) to public",
    "alter view dot.v_dot_gate owner to dot_bridge",
    "alter domain dot.code owner to current_user",
    "alter default privileges for role dot_owner grant execute on functions to public",
    "revoke select on dot.dot_config from dot_bridge",
    "alter schema dot owner to current_user",
)


@pytest.mark.parametrize("done", PUT_BACK)
def test_rights_owners_and_triggers_are_put_back(db: Database, done: str) -> None:
    db.connect("superuser").execute(done)
    with database.connect(db.url) as connection:
        assert drift.examine(connection).of("drift")
    report = restored(db.url)
    assert {one.area for one in report.changes} == {"rights"}
    assert report.left == ()
    assert restored(db.url).changes == ()


def test_a_login_without_rights_is_told_which_it_takes(db: Database, command: Callable[..., Outcome]) -> None:
    before = look(db.url) if db.server.own else None
    for who in ("operator", "outsider"):
        outcome = command(who=who)
        assert outcome.code == 1
        assert "grant dot_owner to" in outcome.err
    if before:
        assert look(db.url) == before


def test_an_actor_or_reason_that_is_not_legal_is_refused_and_nothing_is_done(
    db: Database, command: Callable[..., Outcome]
) -> None:
    db.connect("superuser")
    for state in ("nothing to do", "filled"):
        if state == "filled":
            fill(db.url)
        before = look(db.url)
        for reason in ("two\nlines", " ", "x" * 1025):
            outcome = command("--reason", reason)
            assert (outcome.code, "reason is not legal" in outcome.err) == (3, True), (state, outcome)
            assert "dot_iu_command_run_reason_check" in outcome.err
        assert look(db.url) == before
    outcome = command("--actor", "a b")
    assert (outcome.code, "actor is not legal" in outcome.err) == (3, True)
    assert look(db.url) == before


def test_without_the_wrapper_it_says_so(empty_url: str) -> None:
    with pytest.raises(NotInstalled):
        restored(empty_url)


@pytest.fixture(scope="module", params=[15, 18])
def of(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a filled database ``shop``, and logins that are no superusers: one that may create roles, one that may not."""
    with server(request.param) as superuser:
        found = Server(request.param, superuser)
        upgrade(fresh_database(superuser, "shop"))
        fill(found.url("shop"))
        with connect(superuser) as session:
            session.execute("create role plain login; create role creator login createrole createdb")
        yield found


@pytest.fixture
def owned(of: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Restores ``shop`` as ``other`` by a login that owns the new database and is nothing else: all of it belongs to the login."""

    def restored_by(login: str) -> str:
        fresh_database(of.superuser, "other")
        with connect(of.superuser) as session:
            session.execute(f"alter database other owner to {login}")
        folder = tmp_path_factory.mktemp("dump")
        copy(Mover(of.url("shop"), of.url("other"), of.version, folder), login)
        return of.url("other", login)

    return restored_by


def test_what_belongs_to_a_login_is_handed_over_by_it_once_it_may_act_as_dot_owner(
    of: Server, owned: Callable[[str], str]
) -> None:
    url = owned("plain")
    assert set(look(of.url("other")).owners) == {"plain bridge", "plain other"}
    with pytest.raises(NotPermitted) as caught:
        restored(url)
    assert "grant dot_owner to plain" in str(caught.value.hint)
    with connect(of.superuser) as session:
        session.execute("grant dot_owner to plain" + (" with inherit false, set true" if of.version > 15 else ""))
        try:
            report = restored(url)
        finally:
            session.execute("revoke dot_owner from plain")
    assert [str(one.kind) for one in report.left if one.level == "drift"] == ["member"], "the grant that it was given"
    assert look(of.url("other")) == safe(look(of.url("shop")))


def test_what_belongs_to_another_login_takes_a_superuser(of: Server, owned: Callable[[str], str]) -> None:
    owned("plain")
    with connect(of.superuser) as session:
        session.execute("grant dot_owner to creator" + (" with inherit false, set true" if of.version > 15 else ""))
        try:
            with pytest.raises(NotPermitted) as caught:
                restored(of.url("other", "creator"))
        finally:
            session.execute("revoke dot_owner from creator")
    assert "A superuser runs it" in str(caught.value.hint)
    assert set(look(of.url("other")).owners) == {"plain bridge", "plain other"}, "nothing was done"
    assert not [one for one in restored(of.url("other")).left if one.level == "drift"]
    assert look(of.url("other")) == safe(look(of.url("shop")))


def test_a_login_with_createrole_needs_a_grant_from_16_on(of: Server, owned: Callable[[str], str]) -> None:
    url = owned("creator")
    if of.version > 15:
        with pytest.raises(NotPermitted):
            restored(url)
        return
    assert not [one for one in restored(url).left if one.level == "drift"], "it gave the membership back"
    assert look(of.url("other")) == safe(look(of.url("shop")))


def test_a_server_without_the_roles_is_told_what_to_run_first(
    of: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with server(of.version) as bare:
        url = fresh_database(bare, "shop")
        copy(Mover(of.url("shop"), url, of.version, tmp_path_factory.mktemp("dump")), with_roles=False)
        with pytest.raises(NotInstalled, match="lacks the roles dot_owner, dot_bridge, dot_writer") as caught:
            restored(url)
        assert "sql/roles.sql" in str(caught.value.hint)
