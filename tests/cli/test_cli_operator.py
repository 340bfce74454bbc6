"""The operator's commands end to end: runs, show, why of a run, leases, outbox, attest, version, completion, colour and width."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from dot_wrapper import cli
from dot_wrapper.client.caller_path import caller_path
from dot_wrapper.client.ledger import Ledger
from dot_wrapper.files import ROOT
from dot_wrapper.operations import embedded
from support import (
    AMENDED,
    GATES,
    PAIR,
    PRODUCER,
    VERIFIER,
    Connection,
    Database,
    DotWrapper,
    acquire,
    attest,
    call,
    define_pair,
    interruptible,
    observe_component,
    observe_run,
    poll_until,
    ready_for_real_runs,
    refused,
    rows,
    value,
    wait_until,
)
from support.catalog import HEAD

PROGRAM = Path(sys.executable).parent / "dot-wrapper"


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that dot-wrapper has, with its words."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


ALL = dict(commands(typer.main.get_group(cli.app)))


def real_run(ledger: Ledger, key: str = "today") -> uuid.UUID:
    with caller_path(ledger, ledger.pair(PAIR), evidence_type="REAL_RUN", actor="ci", idempotency_key=key) as run:
        run.producer("completed", output_ref="s3://out")
        run.verifier("completed")
    return run.process_run_id


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_an_example_and_if_it_prints_json(words: tuple[str, ...]) -> None:
    command = ALL[words]
    assert re.search(rf"Example: .*dot-wrapper {' '.join(words)}", command.help)
    assert ("--json" in {name for option in command.params for name in option.opts}) == (words != ("db", "psql"))


def example_of(text: str) -> str:
    """The example of a help text, as a shell reads it that it is pasted into: a backslash at the end of a line goes on in the next."""
    (found,) = re.findall(r"^ *Example: (.*?)$(?:\n *$|\Z)", text, re.DOTALL | re.MULTILINE)
    return str(re.sub(r"\\\n *", "", found))


def examples() -> dict[tuple[str, ...], str]:
    return {words: example_of(command.help) for words, command in ALL.items()}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_an_example_is_printed_in_80_columns_as_it_can_be_pasted(
    words: tuple[str, ...], dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = dot_wrapper(*words, "--help").out
    example = example_of(printed)
    assert "\n" not in example, "a shell would take the rest for another command"
    assert example == examples()[words]
    shown = " ".join(shlex.split(example))
    assert f"dot-wrapper {' '.join(words)}" in shown


def test_every_example_of_a_help_text_runs(
    db: Database, ledger: Ledger, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that gives each what it needs. Those of `db` run in the next test, that of `prove` on its page, that of `review` in tests/review, that of
    `adopt` in tests/adoption."""
    monkeypatch.chdir(ROOT)
    first = (("catalogue", "define"), ("record",), ("preflight", "attest"), ("outbox", "switch"))
    for words in (
        *first,
        *(words for words in ALL if words[0] not in ("db", "prove", "review", "adopt") and words not in first),
    ):
        example = examples()[words]
        if words == ("outbox", "ack"):
            failed = {"process_candidate_code": "bakery.orders", "dot_code": "bakery.load_orders", "status": "failed"}
            observe_run(db.connect("writer"), **failed)
            (event,) = poll_until(db.connect("relay"), 1)
            example = example.replace("1 1234 17", f"{event['epoch']} {event['xact_id']} {event['id']}")
        program, *arguments = shlex.split(example)
        if words == ("restored",):  # it takes a login that may act as dot_owner
            monkeypatch.setenv("DATABASE_URL", db.url)
        outcome = dot_wrapper(*arguments)
        expected = 4 if words == ("require",) else 0  # there is no real run yet
        assert (program, outcome.code) == ("dot-wrapper", expected), (example, outcome)
        monkeypatch.setenv("DATABASE_URL", db.url_as("operator"))


def test_every_example_of_the_embedded_server_runs(server_home: Path) -> None:
    environment = {key: said for key, said in os.environ.items() if key != "DATABASE_URL"}
    environment["DOT_WRAPPER_HOME"] = str(server_home)
    environment["PATH"] = f"{PROGRAM.parent}:{embedded.bin_folder()}:{environment['PATH']}"

    def run(example: str) -> None:
        done = subprocess.run(["bash", "-c", example], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (example, done.stdout, done.stderr)

    for words in (("db", "start"), ("db", "url"), ("db", "psql"), ("db", "stop")):
        if words == ("db", "psql"):
            run("dot-wrapper upgrade")
        run(examples()[words])
        if words == ("db", "psql"):
            run("dot-wrapper db psql -c 'create role checks login'")
            run(
                "test $(dot-wrapper db psql -U checks -d postgres -Atc 'select current_user || current_database()') = checkspostgres"
            )


def test_runs_are_listed_newest_first_and_filtered(db: Database, ledger: Ledger, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    define_pair(db, "other.pair", "dot.a", "dot.b")
    writer = db.connect("writer")
    failed = observe_run(writer, status="failed")["process_run_id"]
    prepared = observe_run(writer, status="prepared")["process_run_id"]
    other = observe_run(writer, process_candidate_code="other.pair", dot_code="dot.a")["process_run_id"]
    real = real_run(ledger)

    def listed(*arguments: str) -> list[uuid.UUID]:
        return [uuid.UUID(one["process_run_id"]) for one in dot_wrapper("runs", *arguments, "--json").json]

    assert listed() == [real, other, prepared, failed]
    assert listed("--candidate", PAIR) == [real, prepared, failed]
    assert listed("--state", "failed") == [failed]
    assert listed("--state", "open") == [other]
    assert listed("--evidence-type", "REAL_RUN") == [real]
    assert listed("--limit", "1") == [real]
    at = {
        one["process_run_id"]: one["observed_at"]
        for one in rows(db.connect("reader"), "select * from dot.v_process_run")
    }
    assert listed("--since", at[other].isoformat()) == [real, other]
    assert listed("--until", at[other].isoformat()) == [prepared, failed]
    assert listed("--since", "2999-01-01") == []
    shown = dot_wrapper("runs", "--limit", "4")
    assert f"and perhaps more: --after {failed}" in shown.out
    assert listed("--limit", "2") + listed("--limit", "2", "--after", str(other)) == listed()
    assert listed("--after", str(failed)) == []
    assert dot_wrapper("runs", "--after", str(uuid.uuid4())).code == cli.REFUSED
    child = observe_run(writer, parent_run_id=real, correlation_id="nightly")["process_run_id"]
    assert (listed("--parent", str(real)), listed("--correlation-id", "nightly")) == ([child], [child])
    for bad in (
        ("--since", "yesterday"),
        ("--since", "2026-13-01"),
        ("--since", "0001-01-01T00:00+23:59"),
        ("--state", "done"),
        ("--limit", "0"),
    ):
        assert dot_wrapper("runs", *bad).code == cli.BAD_INPUT, bad


def test_show_has_header_components_admission_and_timeline(
    db: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    ready_for_real_runs(db)
    run_id = str(real_run(ledger))
    shown = dot_wrapper("show", run_id).out
    for part in ("header", "producer", "verifier", "admission", "timeline", "fs_snapshot_present", "s3://out", "PASS"):
        assert part in shown
    as_json = dot_wrapper("show", run_id, "--json").json
    assert as_json["end_state"] == "completed"
    assert [one["component_role"] for one in as_json["component_rows"]] == ["producer", "verifier"]
    assert as_json["admission"]["gates"]
    simulated = str(observe_run(db.connect("writer"))["process_run_id"])
    assert "a simulated run needs no gate" in dot_wrapper("show", simulated).out
    for unknown in (str(uuid.uuid4()), "nonsense"):
        outcome = dot_wrapper("show", unknown)
        assert (outcome.code, "is no run" in outcome.err) == (cli.REFUSED, True)


def test_why_of_a_run_is_that_run_s_verdict(db: Database, ledger: Ledger, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    verified = str(real_run(ledger))
    writer = db.connect("writer")
    token = acquire(writer)
    half = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, half, "producer", lease_token=token)
    simulated = str(observe_run(writer)["process_run_id"])
    assert dot_wrapper("why", verified, "--json").json["verified"] is True
    explained = value(db.session("reader"), "select sentence from dot.v_process_reason where word = 'verifier_missing'")
    assert dot_wrapper("why", str(half), "--json").json["explanations"] == {"verifier_missing": explained}
    assert dot_wrapper("why", simulated, "--json").json["reasons"] == ["not_a_real_run"]
    assert f"run {simulated} of {PAIR}: not verified" in dot_wrapper("why", simulated).out
    assert dot_wrapper("why", PAIR, "--json").json["reasons"] == ["verifier_missing"]
    assert f"last verified run: {verified}" in dot_wrapper("why", PAIR).out


def test_a_run_id_of_two_candidates_asks_for_the_candidate(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    define_pair(db, "other.pair", "dot.a", "dot.b")
    writer = db.connect("writer")
    run_id = observe_run(writer)["process_run_id"]
    observe_run(writer, process_run_id=run_id, process_candidate_code="other.pair", dot_code="dot.a")
    for command in ("show", "why"):
        outcome = dot_wrapper(command, str(run_id))
        assert (outcome.code, "--candidate" in outcome.err) == (cli.BAD_INPUT, True)
        found = dot_wrapper(command, str(run_id), "--candidate", "other.pair", "--json").json
        assert found["process_candidate_code"] == "other.pair"


def test_what_a_verdict_leaves_open_is_told_wherever_it_is_shown(db: Database, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    writer, operator = db.connect("writer"), db.connect("operator")

    def verified(verifier: Connection, looked_at: str | None) -> str:
        token = acquire(writer)
        run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
        observe_component(writer, run_id, "producer", output_ref="s3://today", lease_token=token)
        if verifier is operator:
            writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
            token = acquire(operator)
        observe_component(verifier, run_id, "verifier", input_ref=looked_at, lease_token=token)
        if verifier is operator:
            operator.execute(
                "select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token)
            )
        return str(run_id)

    run_id = verified(operator, "s3://today")
    assert dot_wrapper("board", "--json").json[0]["independently_verified"] is True
    assert value(db.session("reader"), "select explanations from dot.v_process_board") == {}, (
        "nothing is to be explained"
    )
    assert "1 candidate, 1 verified, 1 of them independently" in dot_wrapper("board").out
    for subject in (PAIR, run_id):
        assert ": verified independently\n" in dot_wrapper("why", subject).out
    assert "\nverified independently\n" in dot_wrapper("show", run_id).out

    run_id = verified(writer, "s3://yesterday")
    expected = ["same_session_actor", "other_output"]
    (of_board,) = dot_wrapper("board", "--json").json
    of_why = [dot_wrapper("why", subject, "--json").json for subject in (PAIR, run_id)]
    of_show = dot_wrapper("show", run_id, "--json").json["verdict"]
    for told in (of_board, *of_why, of_show):
        assert (told["verified"], told["independently_verified"], told["caveats"]) == (True, False, expected)
    sentences = rows(
        db.connect("reader"), "select word, sentence from dot.v_process_reason where word = any (%s)", expected
    )
    assert of_why[0]["explanations"] == {one["word"]: one["sentence"] for one in sentences}
    assert "other_output" in dot_wrapper("board").out
    for subject in (PAIR, run_id):
        assert ": verified, with caveats\n" in dot_wrapper("why", subject).out
    assert "verified, with caveats: same_session_actor, other_output" in dot_wrapper("show", run_id).out


def test_a_superseded_candidate_says_by_which(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    asked = {"pins_output": True, "max_age": "7 days", "supersedes": PAIR, "verifier_role": "dot_relay"}
    with db.connect("cataloguer") as cataloguer:
        defined = {"code": "shop.next", "producer_dot_code": PRODUCER, "verifier_dot_code": VERIFIER, "actor": "ana"}
        call(cataloguer, "fn_process_candidate_define", defined, **asked)
    told = {
        one["process_candidate_code"]: one["superseded_by"]
        for one in dot_wrapper("board", "--superseded", "--json").json
    }
    assert told == {PAIR: "shop.next", "shop.next": None}
    assert "superseded by shop.next" in " ".join(dot_wrapper("board", "--superseded").out.split())
    assert "superseded by shop.next: it takes simulations only" in dot_wrapper("why", PAIR).out
    first, following = dot_wrapper("catalogue", "show", "--json").json["candidates"][::-1]
    assert first["superseded_by"] == "shop.next"
    assert {name: following[name] for name in asked} == asked
    shown = dot_wrapper("catalogue", "show").out
    for said in ("pins its output", "verified for 7", "supersedes", "verifier by"):
        assert said in shown


@pytest.mark.parametrize("max_age", ["290000 years", "101 years", "0", "-1 day"])
def test_no_max_age_breaks_the_verdicts_of_others(db: Database, dot_wrapper: DotWrapper, max_age: str) -> None:
    define_pair(db)
    defined = {"code": "shop.old", "producer_dot_code": PRODUCER, "verifier_dot_code": VERIFIER, "actor": "ana"}
    with db.connect("cataloguer") as cataloguer, refused("23514", "process_candidate_max_age_check"):
        call(cataloguer, "fn_process_candidate_define", defined, max_age=max_age)
    with db.connect("cataloguer") as cataloguer:
        call(cataloguer, "fn_process_candidate_define", defined, max_age="100 years")
    assert len(dot_wrapper("board", "--json").json) == 2


def test_runs_are_found_by_when_they_occurred(
    db: Database, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_pair(db)
    writer = db.connect("writer")
    observe_run(writer, idempotency_key="undated")
    for day in (1, 2, 3):
        at = datetime(2026, 11, day, 12, tzinfo=UTC)
        observe_run(writer, idempotency_key=f"day-{day}", occurred_at=at)

    def found(*options: str) -> list[str]:
        return [one["idempotency_key"] for one in dot_wrapper("runs", *options, "--json").json]

    assert found() == ["day-3", "day-2", "day-1", "undated"]
    assert found("--occurred-since", "2026-11-02T12:00Z") == ["day-3", "day-2"]
    assert found("--occurred-until", "2026-11-02T12:00Z") == ["day-1"]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert found("--occurred-since", "2026-11-02T12:00") == ["day-3", "day-2"]
    time.tzset()
    assert "A time without a zone is in UTC." in dot_wrapper("runs", "--help").out
    (one,) = dot_wrapper("runs", "--occurred-until", "2026-11-02T12:00Z", "--json").json
    assert one["occurred_at"] == "2026-11-01T12:00:00+00:00"
    assert "2026-11-01 12:00:00 UTC" in dot_wrapper("runs").out
    assert "2026-11-01 12:00:00 UTC" in dot_wrapper("show", one["process_run_id"]).out
    assert dot_wrapper("runs", "--occurred-since", "yesterday").code == cli.BAD_INPUT


def test_a_run_that_waits_for_its_verifier_is_listed_as_that(db: Database, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    writer = db.connect("writer")
    token = acquire(writer)
    run_id = observe_run(writer, evidence_type="REAL_RUN", lease_token=token)["process_run_id"]
    observe_component(writer, run_id, "producer", lease_token=token)
    writer.execute("select dot.fn_dot_iu_runtime_lease_release(%s, 'tester', %s)", (f"dot_exec:{PAIR}", token))
    (one,) = dot_wrapper("runs", "--state", "awaits_verifier", "--json").json
    assert one["process_run_id"] == str(run_id)
    table = dot_wrapper("runs").out
    assert "awaits_verifier" in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_gate_says_why_it_is_off_though_its_value_is_true(db: Database, dot_wrapper: DotWrapper) -> None:
    db.connect("owner").execute("update dot.dot_config set value = 'true' where key = %s", (GATES[0],))
    shown = next(one for one in dot_wrapper("gates", "show", "--json").json if one["key"] == GATES[0])
    assert (shown["is_open"], shown["off_because"]) == (False, "no gatekeeper opened it with fn_dot_config_set")
    assert f"{GATES[0]} is off: no gatekeeper opened it with fn_dot_config_set" in dot_wrapper("gates", "show").out


def test_who_holds_a_switch_up_is_named(db: Database, dot_wrapper: DotWrapper) -> None:
    ready_for_real_runs(db)
    assert "0 transactions to wait for" in dot_wrapper("gates", "holders").out
    writer = db.connect("writer")
    token = acquire(writer)
    with writer.transaction():
        observe_run(writer, evidence_type="REAL_RUN", lease_token=token)
        (one,) = dot_wrapper("gates", "holders", "--json").json
        assert (one["pid"], one["login"]) == (writer.info.backend_pid, db.login("writer"))
        assert f"backend {one['pid']}" in dot_wrapper("gates", "holders").out


def test_leases_show_who_has_what(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    writer = db.connect("writer")
    token = acquire(writer, holder="worker-1")
    define_pair(db, "over.pair")
    acquire(writer, "over.pair", holder="worker-2")
    writer.execute("select dot.fn_dot_iu_runtime_lease_release('dot_exec:over.pair', 'worker-2', 1)")
    found = {one["process_candidate_code"]: one for one in dot_wrapper("leases", "--json").json}
    assert (found[PAIR]["holder"], found[PAIR]["token"], found[PAIR]["is_live"]) == ("worker-1", token, True)
    assert found["over.pair"]["is_live"] is False
    assert [one["lease_key"] for one in dot_wrapper("leases", "--live", "--json").json] == [f"dot_exec:{PAIR}"]
    assert "2 leases, 1 live" in dot_wrapper("leases").out


def test_the_outbox_is_pruned_in_batches_and_says_how_far_it_is(
    db: Database, dot_wrapper: DotWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dot_wrapper.cli.outbox.REMOVED_AT_ONCE", 2)
    monkeypatch.setattr("dot_wrapper.cli.outbox.PROGRESS_EVERY", 4)
    owner = db.connect("owner")
    owner.execute("select dot.fn_outbox_epoch(true)")
    owner.execute(
        "insert into dot.event_outbox (epoch, created_at, aggregatetype, aggregateid, type, payload)"
        " select 1, clock_timestamp() - days * interval '1 day', 'process_run', 'x', 'process.run.started', '{}'"
        " from unnest(array[9, 9, 9, 8, 8, 1]) as days"
    )
    *_, last = poll_until(db.connect("relay"), 6)
    assert dot_wrapper("outbox", "prune").out == "removed: 0 events\n"
    assert dot_wrapper("outbox", "ack", *(str(last[one]) for one in ("epoch", "xact_id", "id"))).code == 0
    outcome = dot_wrapper("outbox", "prune", "--json")
    assert (outcome.code, outcome.json) == (0, {"removed": 5})
    assert outcome.err == "4 events removed so far\n"
    assert dot_wrapper("outbox", "prune").out == "removed: 0 events\n"


def test_the_outbox_is_switched_polled_and_acknowledged(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    switched = dot_wrapper("outbox", "switch", "process.run.started", "--on", "--actor", "ana", "--reason", "wanted")
    assert switched.out == "process.run.started: off -> on\n"
    writer = db.connect("writer")
    for _ in range(3):
        observe_run(writer)
    assert dot_wrapper("outbox", "show", "--json").json["depth"] == 3
    assert "waiting: 3 events" in dot_wrapper("outbox", "show").out
    poll_until(db.connect("relay"), 3)
    polled = dot_wrapper("outbox", "poll", "--limit", "2", "--json").json
    assert [event["type"] for event in polled] == ["process.run.started"] * 2
    assert "2 events" in dot_wrapper("outbox", "poll", "--limit", "2").out
    position = (str(polled[1]["epoch"]), str(polled[1]["xact_id"]), str(polled[1]["id"]))
    assert dot_wrapper("outbox", "ack", *position).code == 0
    again = dot_wrapper("outbox", "ack", *position)
    assert (again.code, "outbox_cursor_ahead_check" in again.err) == (cli.REFUSED, True)
    assert dot_wrapper("outbox", "show", "--json").json["depth"] == 1
    for bad in (
        ("1", "x", "1"),
        ("1", "-1", "1"),
        ("1", "-5", "1"),
        ("1", "18446744073709551616", "1"),
        ("1", "1", "99999999999999999999"),
        ("x", "1", "1"),
        ("-1", "1", "1"),
        ("2147483648", "1", "1"),
    ):
        outcome = dot_wrapper("outbox", "ack", "--", *bad)
        assert outcome.code == cli.BAD_INPUT, (bad, outcome)
        assert "Traceback" not in outcome.err
    largest = ("0", "18446744073709551615", "1")
    assert "outbox_cursor" in dot_wrapper("outbox", "ack", *largest).err
    unknown = dot_wrapper("outbox", "switch", "process.nonsense", "--on", "--actor", "ana", "--reason", "x")
    assert unknown.code == cli.REFUSED


def test_a_mechanism_is_attested_and_the_newest_attestation_stands(dot_wrapper: DotWrapper) -> None:
    def scheduler() -> dict[str, Any]:
        found = dot_wrapper("inventory", "--json").json
        return next(one for one in found if one["position"] == 5)

    before = scheduler()
    assert before["basis"] == "not observable"
    for flag, present in (("--present", True), ("--absent", False)):
        outcome = dot_wrapper(
            "attest", "scheduler", flag, "--actor", "ana", "--finding", "looked at both hosts", "--json"
        )
        assert (outcome.code, outcome.json["present"]) == (0, present)
        assert scheduler()["basis"] == "attested"
    assert dot_wrapper("attest", "cron", "--absent", "--actor", "a", "--finding", "b").code == cli.BAD_INPUT


@pytest.mark.usefixtures("client_programs")
def test_version_names_a_schema_version_mismatch(
    db: Database, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    assert dot_wrapper("version").out.splitlines()[-1] == "in step"
    owner = db.connect("owner")
    owner.execute("""
        create or replace function dot.fn_process_dot_runtime_execute_enabled() returns boolean
        language plpgsql stable security definer set search_path = pg_catalog, pg_temp as 'begin return true; end'
    """)
    owner.execute("drop view dot.v_dot_event_type")
    outcome = dot_wrapper("version", "--json")
    assert outcome.code == cli.FAILED
    assert outcome.json["differing"] == [
        "function dot.fn_process_dot_runtime_execute_enabled()",
        "view dot.v_dot_event_type",
    ]
    assert "`dot-wrapper drift` says how" in outcome.json["advice"]
    # The commands that drift prints mend it.
    shell = {**os.environ, "DATABASE_URL": db.url, "PATH": f"{embedded.bin_folder()}:{os.environ['PATH']}"}
    for one in dot_wrapper("drift", "--json").json["differences"]:
        if one["level"] == "info":
            assert one["cure"] is None
            continue
        subprocess.run(one["cure"], cwd=ROOT, check=True, shell=True, env=shell)  # noqa: S602  as a user does
    assert dot_wrapper("version", "--json").json["in_step"] is True
    for other, said in (("0003", f"needs {HEAD}. Run `dot-wrapper upgrade`"), ("9999", "does not know")):
        owner.execute("update dot.alembic_version set version_num = %s", (other,))
        outcome = dot_wrapper("version")
        assert (outcome.code, said in outcome.out) == (cli.FAILED, True), outcome


@AMENDED
def test_version_runs_and_funnel_know_the_optional_amendment(db: Database, dot_wrapper: DotWrapper) -> None:
    define_pair(db)
    assert dot_wrapper("version").out.splitlines()[-2:] == ["the optional amendment is on", "in step"]
    assert dot_wrapper("rehearse", PAIR, "--actor", "ci").code == cli.REFUSED
    (blocked,) = dot_wrapper("runs", "--state", "blocked", "--json").json
    assert (blocked["end_state"], blocked["evidence_type"]) == ("blocked", "SIMULATED_DRY_RUN")
    shown = dot_wrapper("funnel", "--json").json
    assert (shown["total"]["blocked_runs"], [one["blocked_runs"] for one in shown["dots"]]) == (1, [0, 1])
    assert "refused calls" in dot_wrapper("funnel").out
    assert "blocked" in dot_wrapper("funnel", "--dots").out

    owner = db.connect("owner")
    for sources, differing in (("sql", 1), ("amendment/sql", 0)):
        owner.execute((ROOT / sources / "functions" / "rules" / "fn_run_input_problem.sql").read_bytes())
        found = dot_wrapper("version", "--json").json
        assert (len(found["differing"]), found["amendment"]) == (differing, "on")
        cures = [one["cure"] for one in dot_wrapper("drift", "--json").json["differences"] if one["level"] == "drift"]
        assert ["-f amendment/sql/functions/rules/fn_run_input_problem.sql" in one for one in cures] == [
            True
        ] * differing


def test_a_database_that_cannot_serve_says_in_one_line_what_to_do(
    db: Database, empty_url: str, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    define_pair(db)

    def said(*command: str) -> str:
        outcome = dot_wrapper(*command)
        assert outcome.code == cli.FAILED, outcome
        first, *others = outcome.err.splitlines()
        assert first.startswith("error: ")
        return " ".join(one.removeprefix("next: ") for one in others if one.startswith("next: "))

    rehearse = ("rehearse", PAIR)
    owner = db.connect("owner")
    owner.execute("update dot.alembic_version set version_num = '0003'")
    assert (
        said(*rehearse) == f"The database is at revision 0003, this software needs {HEAD}. Run `dot-wrapper upgrade`."
    )
    owner.execute("update dot.alembic_version set version_num = '9999'")
    assert said(*rehearse).startswith(f"The database is at revision 9999, which this software ({HEAD}) does not know.")
    owner.execute("update dot.alembic_version set version_num = %s", (HEAD,))
    owner.execute("alter view dot.v_process_candidate rename to elsewhere")
    assert "v_process_candidate" in said(*rehearse)
    owner.execute("alter view dot.elsewhere rename to v_process_candidate")
    creator = db.connect("creator")
    name = value(creator, "select current_database()")
    creator.execute(f'alter database "{name}" set default_transaction_read_only = on')
    gate = ("gates", "set", "queue.worker.enabled", "true", "--actor", "a", "--reason", "b")
    assert said(*gate).startswith("Connect to the primary")
    assert dot_wrapper("gates", "show").code == 0  # reading is what a standby is for
    monkeypatch.setenv("DATABASE_URL", db.url_as("outsider"))
    assert "grant dot_reader to" in said("board")
    assert "grant dot_gatekeeper to" in said(*gate)
    monkeypatch.setenv("DATABASE_URL", empty_url)
    assert said("board") == (
        f"The wrapper is not installed in this database. Run `dot-wrapper upgrade` (to revision {HEAD})."
    )
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@/x?host=/nonexistent")
    assert said("board").startswith("Check DATABASE_URL and that the server runs")
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@/x?nonsense=1")
    assert said("board")


def in_terminal(*arguments: str, **environment: str) -> str:
    """What dot-wrapper prints where standard output and error are a terminal of 80 columns."""
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [PROGRAM, *arguments],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
    )
    os.close(terminal)
    said = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not part:
            break
        said += part
    child.wait()
    os.close(controller)
    return said.decode()


def test_colour_and_progress_are_for_terminals_and_no_colour_is_honoured(db: Database) -> None:
    url = db.url_as("operator")
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[38;")
    refusal = ("why", "not.known")
    assert colour.search(in_terminal(*refusal, DATABASE_URL=url))
    assert not colour.search(in_terminal(*refusal, DATABASE_URL=url, NO_COLOR="1"))
    assert "DOTs" in in_terminal("catalogue", "define", "examples/catalogue.yaml", "--actor", "a", DATABASE_URL=url)
    recording = in_terminal("record", "examples/observations.ndjson", DATABASE_URL=url)
    assert "━━" in recording
    assert "kB" in recording
    quiet = subprocess.run(
        [PROGRAM, "record", "examples/observations.ndjson"],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (quiet.returncode, quiet.stderr, "\x1b" in quiet.stdout) == (0, "", False)


@pytest.mark.parametrize("columns", ["0", "00", "²", "-1", ""])
def test_a_width_that_is_no_positive_number_counts_for_none(db: Database, columns: str) -> None:
    def printed(**environment: str) -> str:
        given = {name: said for name, said in os.environ.items() if name != "COLUMNS"} | environment
        done = subprocess.run([PROGRAM, "board"], env=given, capture_output=True, text=True, check=True)
        return done.stdout

    url = db.url_as("operator")
    assert "0 candidates" in printed(DATABASE_URL=url)
    assert printed(DATABASE_URL=url, COLUMNS=columns) == printed(DATABASE_URL=url)


def test_every_table_folds_at_80_columns_and_keeps_ids_whole(
    db: Database, ledger: Ledger, dot_wrapper: DotWrapper
) -> None:
    ready_for_real_runs(db)
    run_id = str(real_run(ledger))
    long = f"candidate.{'x' * 150}"
    define_pair(db, long, f"dot.{'y' * 150}", f"dot.{'z' * 150}")
    with db.connect("gatekeeper") as gatekeeper:
        gatekeeper.execute("select dot.fn_event_type_set('process.run.started', true, 'ana', 'wanted')")
    observe_run(db.connect("writer"), process_candidate_code=long, dot_code=f"dot.{'y' * 150}")
    for command in (
        ("board",),
        ("runs",),
        ("show", run_id),
        ("why", PAIR),
        ("why", long),
        ("leases",),
        ("outbox", "show"),
        ("outbox", "poll"),
        ("catalogue", "show"),
        ("inventory",),
        ("funnel",),
        ("funnel", "--dots"),
        ("gates", "show"),
        ("preflight", "show"),
    ):
        outcome = dot_wrapper(*command)
        assert outcome.code == 0, outcome
        tables = [line for line in outcome.out.splitlines() if line[:1] in "│┃┏┡├└"]
        assert max(map(len, tables), default=0) <= 80, command
        if command[0] in ("runs", "show"):
            assert run_id in outcome.out


@pytest.mark.parametrize(
    "url", ["postgresql://x@/x?host=/nonexistent", "garbage", "service=nope", "postgresql://x@/x?nonsense=1"]
)
def test_no_command_that_asks_the_database_ends_in_a_traceback(
    url: str, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.chdir(ROOT)
    for words in ALL:
        if words[0] not in ("db", "review") and words != ("upgrade",):  # a review asks none
            outcome = dot_wrapper(
                *shlex.split(examples()[words])[1:], *(() if "--json" in examples()[words] else ["--json"])
            )
            assert outcome.code == cli.FAILED, (words, outcome)
            assert outcome.err.startswith("error: ")
            assert outcome.json["error"]["kind"] == "error"


def test_a_refusal_is_told_to_programs_too(db: Database, dot_wrapper: DotWrapper) -> None:
    outcome = dot_wrapper("why", "not.known", "--json")
    assert outcome.code == cli.REFUSED
    assert outcome.json == {
        "error": {
            "kind": "refused",
            "message": "not.known is no process candidate and no run",
            "detail": None,
            "hint": "`dot-wrapper board` lists the candidates, `dot-wrapper runs` the runs.",
            "constraint": None,
            "sqlstate": None,
        }
    }
    define_pair(db)
    assert dot_wrapper("rehearse", PAIR, "--json").json["error"]["constraint"] == "preflight_check"


def test_version_does_not_say_in_step_where_it_may_not_look(
    db: Database, monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper
) -> None:
    for who in ("writer", "outsider"):
        monkeypatch.setenv("DATABASE_URL", db.url_as(who))
        outcome = dot_wrapper("version", "--json")
        assert outcome.code == cli.FAILED
        assert (outcome.json["revision_installed"], outcome.json["in_step"]) == ("unknown", False)
        assert "grants it dot_reader" in outcome.json["advice"]
    monkeypatch.setenv("DATABASE_URL", db.url_as("owner"))
    assert dot_wrapper("version", "--json").json["in_step"] is True


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_rehearsal_gives_its_lease_back_and_says_how_to_go_on(
    db: Database, sent: signal.Signals, code: int
) -> None:
    define_pair(db)
    attest(db)
    owner = db.connect("owner")
    owner.execute("begin; lock table dot.process_component_observation in exclusive mode")
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    with interruptible():
        child = subprocess.Popen(
            [PROGRAM, "rehearse", PAIR, "--key", "today"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # a test run under nohup ignores it
        )
    watcher = db.connect("owner")
    stuck = "select exists (select from pg_locks where relation = 'dot.process_component_observation'::regclass and not granted)"
    wait_until(lambda: value(watcher, stuck), unless=lambda: child.poll() is not None)
    assert value(watcher, "select count(*) from dot.v_dot_lease where is_live") == 1
    child.send_signal(sent)
    owner.execute("rollback")
    _, said = child.communicate(timeout=60)
    assert (child.returncode, "interrupted: what was committed stays" in said) == (code, True), said
    assert "Traceback" not in said
    assert value(watcher, "select count(*) from dot.v_dot_lease where is_live") == 0


def test_nothing_that_a_file_says_is_obeyed_by_the_terminal(
    db: Database, dot_wrapper: DotWrapper, tmp_path: Path
) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text('{"record": "run", "\\u001b[31mX\\nline 7: forged\\u001b]0;pwn\\u0007": 1}\n')
    outcome = dot_wrapper("record", str(file))
    assert outcome.code == cli.REFUSED
    assert "\x1b" not in outcome.err
    assert len(outcome.err.splitlines()) == 1
    db.connect("owner").execute("insert into dot.dot_tools (code, category) values ('dot.x', '\x1b]0;pwn\x07')")
    outcome = dot_wrapper("catalogue", "show")
    assert "pwn" in outcome.out
    assert "\x1b" not in outcome.out
    outcome = dot_wrapper("why", "\x1b]0;pwn\x07")
    assert outcome.code != cli.DONE
    assert "pwn" in outcome.err
    assert "\x1b" not in outcome.err


def test_the_embedded_server_s_commands_say_that_they_do_not_use_database_url(
    monkeypatch: pytest.MonkeyPatch, dot_wrapper: DotWrapper, server_home: Path
) -> None:
    monkeypatch.setenv("DOT_WRAPPER_HOME", str(server_home))
    outcome = dot_wrapper("db", "stop")
    assert (outcome.code, "DATABASE_URL is set" in outcome.err) == (0, True)


def test_a_closed_standard_input_is_bad_input(db: Database) -> None:
    environment = {**os.environ, "DATABASE_URL": db.url_as("operator")}
    done = subprocess.run(["bash", "-c", f"{PROGRAM} record <&-"], env=environment, capture_output=True, text=True)
    assert (done.returncode, "standard input is closed" in done.stderr) == (cli.BAD_INPUT, True), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_printed(shell: str) -> None:
    environment = {**os.environ, "_DOT_WRAPPER_COMPLETE": f"source_{shell}"}
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in done.stdout


def test_completion_knows_the_commands() -> None:
    environment = {
        **os.environ,
        "_DOT_WRAPPER_COMPLETE": "complete_bash",
        "COMP_WORDS": "dot-wrapper outbox ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["show", "poll", "ack", "prune", "switch"]
