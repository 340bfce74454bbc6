"""``prove``: a database that is in use is put to the promises, on a copy, and nothing of that stays."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dot_wrapper import cli
from dot_wrapper.operations import embedded
from dot_wrapper.proving import run
from dot_wrapper.proving.databases import database_url, upgrade
from dot_wrapper.proving.prepared import PREPARED
from dot_wrapper.proving.promises import PROMISES
from support import Database, interruptible, observe_run, ready_for_real_runs, rows, wait_until
from support.prove import proved, start
from support.servers import server
from support.tampers import FIRST
from support.versions import BEFORE_AND_AFTER_16

pytestmark = pytest.mark.usefixtures("client_programs")

LEFT = (
    "select datname as name from pg_database where datname like 'dot\\_prove\\_%'"
    " union all select rolname from pg_roles where rolname like 'dot\\_prove\\_%'"
)
EMPTIED = next(one for one in FIRST if one.name == "function body emptied")


@pytest.fixture(autouse=True)
def alone(pytestconfig: pytest.Config) -> None:
    """Another process of the tests may prove on the server of ``DATABASE_URL`` at the same time."""
    if not pytestconfig.stash[PREPARED].own:
        pytest.skip("needs a server of the tests' own: what is left on it is counted")


def left(db: Database) -> list[str]:
    return [one["name"] for one in rows(db.session("creator"), LEFT)]


def templates(db: Database) -> int:
    """How many proves have come as far as their copy."""
    return sum(one.endswith("_template") for one in left(db))


def what_stands(db: Database) -> list[dict[str, Any]]:
    """The rows of every table of the live database, and the transaction that wrote each."""
    owner = db.session("owner")
    tables = [one["name"] for one in rows(owner, "select relname as name from pg_class where relkind = 'r'"
        " and relnamespace = 'dot'::regnamespace order by 1")]  # fmt: skip
    return [one for table in tables for one in rows(owner, f"select xmin, ctid, t.* from dot.{table} as t")]


def test_a_database_in_use_is_proved_without_a_write_in_it(db: Database, tmp_path: Path) -> None:
    ready_for_real_runs(db)
    observe_run(db.connect("writer"), idempotency_key="key-1")
    before = what_stands(db)
    code, told = proved(db.url, "--seed", "1", "--junit", str(tmp_path / "prove.xml"))
    assert (code, told["holds"], told["seed"], told["problem"]) == (cli.DONE, True, 1, None), told
    assert [one["name"] for one in told["promises"]] == [one.name for one in PROMISES]
    assert [one["name"] for one in told["promises"]][:3] == ["idempotency", "fail-closed inputs", "REAL_RUN refusal"]
    assert all(one["holds"] and one["passed"] and not one["not_run"] for one in told["promises"])
    assert what_stands(db) == before
    assert left(db) == []
    assert '<testsuite name="dot-wrapper prove" errors="0" failures="0"' in (tmp_path / "prove.xml").read_text("utf-8")


def test_a_promise_that_is_broken_is_told_with_its_story_which_psql_plays(db: Database, tmp_path: Path) -> None:
    superuser = db.connect("superuser")
    sound = dump(db.url)
    superuser.execute(EMPTIED.done)
    code, told = proved(db.url, "--seed", "1")
    assert (code, told["holds"]) == (cli.FOUND, False)
    assert [one["identity"] for one in told["drift"]] == ["dot.fn_gates_assert(text, boolean)"]
    assert {one["name"]: one["holds"] for one in told["promises"]}["REAL_RUN refusal"] is False
    story = next(
        one["story"] for promise in told["promises"] for one in promise["failures"] if "v_process_run" in one["what"]
    )
    broken = play(db, dump(db.url), story)
    assert '"gates": {}' in broken
    assert "ERROR" not in broken
    assert '"gates": {"iu_core.operator_runtime_enabled": "true"' in play(db, sound, story)
    assert left(db) == []


def dump(url: str) -> str:
    """The definitions and the seed rows of a database, as the head of a story says."""
    program = str(embedded.bin_folder() / "pg_dump")
    seeds = [f"--table=dot.{one}" for one in ("dot_config", "event_type", "dot_iu_command_catalog")]
    return (
        "".join(
            subprocess.run([program, *options, url], capture_output=True, text=True, check=True).stdout
            for options in (["--schema-only", "--schema=dot"], ["--data-only", *seeds])
        )
        + "insert into dot.outbox_cursor (epoch, xact_id, outbox_id) values (0, '0', 0);\n"
    )


def play(db: Database, definitions: str, story: str) -> str:
    """What psql prints of a story in a database with these definitions."""
    with db.server.database() as url:
        psql = [str(embedded.bin_folder() / "psql"), "-X", "-q", "-d", url]
        subprocess.run(psql, input=definitions, text=True, check=True, capture_output=True)
        done = subprocess.run(psql, input=story, text=True, check=True, capture_output=True)
        return done.stdout + done.stderr


def test_what_the_host_added_in_a_schema_of_its_own_is_proved_on_another_server_too(
    db: Database, empty_url: str
) -> None:
    superuser = db.connect("superuser")
    superuser.execute(
        "create schema host; grant usage on schema host to public;"
        " create function host.rewrite() returns trigger language plpgsql as"
        " $$ begin new.actor := 'another'; return new; end $$;"
        " create trigger rewrite before insert on dot.process_run_observation for each row execute function host.rewrite()"
    )
    code, told = proved(db.url, "--scratch", empty_url)
    assert (code, told["problem"]) == (cli.FOUND, None)
    failures = [one["database"] for promise in told["promises"] for one in promise["failures"]]
    assert any("another" in one for one in failures), failures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_left(db: Database, number: signal.Signals) -> None:
    with interruptible():
        process = start(db.url)
    wait_until(lambda: templates(db) == 1, unless=lambda: process.poll() is not None)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    assert left(db) == []


def test_a_signal_while_it_cleans_does_not_stop_the_cleaning() -> None:
    with run._ending_early(None) as ended:
        with ended.not_after_this():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert ended.by == signal.SIGTERM
    with run._ending_early(None) as ended:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert ended.by == signal.SIGTERM


def test_what_a_killed_one_left_is_cleaned_and_a_running_one_is_left_alone(db: Database) -> None:
    killed = start(db.url)
    wait_until(lambda: templates(db) == 1, unless=lambda: killed.poll() is not None)
    killed.kill()
    killed.communicate()
    of_the_killed = left(db)
    running = start(db.url)
    wait_until(lambda: templates(db) == 2, unless=lambda: running.poll() is not None)
    code, told = proved(db.url, "--clean")
    assert code == cli.DONE
    assert sorted(told["removed"]) == sorted(of_the_killed)
    assert len(told["held"]) >= len(of_the_killed)
    running.terminate()
    running.communicate()
    assert left(db) == []


def test_time_that_is_over_is_no_proof(db: Database) -> None:
    code, told = proved(db.url, "--time-limit", "3")
    assert (code, told["holds"]) == (cli.FAILED, None)
    assert told["problem"]["message"] == "the time was over after 3 s"
    assert left(db) == []


def test_a_login_is_told_the_right_that_it_lacks(db: Database) -> None:
    code, told = proved(db.url_as("operator"))
    assert code == cli.FAILED
    assert f"a DBA runs: alter role {db.login('operator')} createdb createrole" in told["problem"]["message"]


@pytest.mark.parametrize("version", BEFORE_AND_AFTER_16)
def test_a_login_that_ran_the_upgrade_proves_it_and_keeps_no_right_of_the_proof(version: int) -> None:
    rights = "select roleid::regrole::text, member::regrole::text from pg_auth_members order by 1, 2"
    with server(version) as url, psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("create role deployer login createdb createrole")
        superuser.execute("create database live owner deployer")
        live = database_url(url, "live", "deployer")
        upgrade(live)
        before = superuser.execute(rights).fetchall()
        code, told = proved(live)
        assert (code, told["problem"]) == (cli.DONE, None), told
        needs = {why for promise in told["promises"] for why in promise["skipped"].values()}
        assert all("needs a superuser" in one for one in needs)
        assert superuser.execute(rights).fetchall() == before
        assert superuser.execute(LEFT).fetchall() == []


def test_without_the_wrapper_it_says_what_to_run(empty_url: str) -> None:
    code, told = proved(empty_url)
    assert (code, "dot-wrapper upgrade" in told["error"]["hint"]) == (cli.FAILED, True)
